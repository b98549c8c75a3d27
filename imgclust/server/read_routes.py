"""Routes that read: the document of each command that shows something."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from imgclust.collection import (
    ClusterDetails,
    ClusterLife,
    ClusterRow,
    CollectionRow,
    DamagedImage,
    DuplicatesResult,
    EffectiveSettings,
    ImageDetails,
    ImagePage,
    LinksResult,
    Listed,
    MissingImage,
    PastClustering,
    Quarantined,
    QueryResult,
    RootRow,
    Selection,
    Status,
    StoredJob,
    effective_settings,
    list_collections,
    list_weights,
)
from imgclust.collection.json_documents import document
from imgclust.server.answers import Documents, answers
from imgclust.server.site import Site, selection, slow

router = APIRouter()

# Images that a query is by, at most: their ids are in its address.
MOST_ASKED = 1000


def site_of(request: Request) -> Site:
    """The site that the application serves."""
    site: Site = request.app.state.site
    return site


Here = Annotated[Site, Depends(site_of)]
Name = Annotated[str, Path(description="Name of the collection.", examples=["default"])]
Which = Annotated[
    str, Path(description="Id or name of the cluster; digits alone are an id.", examples=["7"])
]
Image = Annotated[int, Path(description="Id of the image.", examples=[42])]
Since = Annotated[
    str | None,
    Query(description="Taken then or later: 2024, 2024-05, 2024-05-31.", examples=["2024-05"]),
]
Until = Annotated[str | None, Query(description="Taken then or earlier; all of that day counts.")]
Camera = Annotated[str | None, Query(description="Only by cameras with this in their name.")]


async def chosen_images(
    since: Since = None, until: Until = None, camera: Camera = None
) -> Selection | None:
    """The images of these dates and cameras; None for all."""
    return selection(since, until, camera)


Chosen = Annotated[Selection | None, Depends(chosen_images)]

IMAGE_EXAMPLE = {
    "id": 42,
    "path": "/home/ann/Pictures/cat.jpg",
    "missing": False,
    "taken": "2024-05-31T18:30:00",
    "taken_from": "exif",
    "camera": "NIKON D90",
    "damage": None,
    "added": "2026-11-28T09:00:00+00:00",
    "width": 4288,
    "height": 2848,
    "format": "JPEG",
    "bytes": 5012345,
    "sha256": "0f" * 32,
    "cluster": 7,
    "name": "cats on sofas",
    "distance": 0.21,
    "copies": [],
}
_CLUSTER = {
    "id": 7,
    "name": "cats on sofas",
    "size": 31,
    "coherence": 0.81,
    "medoid": 42,
    "outliers": 1,
    "arrivals": 2,
    "drift": None,
    "drift_high": False,
    "frozen": True,
    "folder": "/home/ann/index/default/links/007-cats on sofas",
    "medoid_path": "/home/ann/Pictures/cat.jpg",
}


@router.get("/collections", responses=answers(rows="collections", kind=CollectionRow))
def collections(site: Here) -> Response:
    """List the collections, with sizes and folders; as `imgclust collections`."""
    return Documents(document(list_collections(site.index)))


@router.get("/weights", responses=answers(Listed, rows="weights"))
def weights(site: Here) -> Response:
    """List the weights that this machine has; as `imgclust weights`."""
    return Documents(document(list_weights(), rows="weights"))


@router.get("/collections/{name}/status", responses=answers(Status))
def status(site: Here, name: Name) -> Response:
    """Show the status of the collection; as `imgclust status`."""
    with site.open(name) as collection:
        return Documents(document(collection.status()))


@router.get("/collections/{name}/config", responses=answers(EffectiveSettings))
def settings(site: Here, name: Name) -> Response:
    """Show every setting with its value and origin; as `imgclust config show`."""
    return Documents(document(effective_settings(site.index, name, effective=site.settings())))


@router.get(
    "/collections/{name}/clusters",
    responses=answers(ClusterRow, {"clusters": [_CLUSTER]}, rows="clusters"),
)
def clusters(site: Here, name: Name) -> Response:
    """List the clusters; as `imgclust clusters`."""
    with site.open(name) as collection:
        suggested = document(collection.standing().suggestions, rows="suggestions")
        return Documents(document(collection.clusters(), rows="clusters") | suggested)


@router.get("/collections/{name}/clusters/{cluster}", responses=answers(ClusterDetails))
@slow
def cluster(site: Here, name: Name, cluster: Which, chosen: Chosen) -> Response:
    """Show a cluster and all its images, from the centre outwards; as `imgclust clusters show`.

    No contact sheet is drawn: `sheet` is null.
    """
    with site.open(name) as collection:
        found = collection.service.cluster_details(cluster, selection=chosen)
        return Documents(document(found))


@router.get("/collections/{name}/clusters/{cluster}/images", responses=answers(ImagePage))
def members(
    site: Here,
    name: Name,
    cluster: Which,
    chosen: Chosen,
    order: Annotated[
        Literal["distance", "newest", "oldest", "taken", "name"],
        Query(description="From the centre outwards, by arrival, by date taken, or by path."),
    ] = "distance",
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many to leave out first.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
) -> Response:
    """Show a page of a cluster's images."""
    with site.ready(name) as collection:
        page = collection.service.members(
            cluster, order=order, selection=chosen, offset=offset, limit=limit
        )
        return Documents(document(page))


@router.get("/collections/{name}/history", responses=answers(PastClustering, rows="clusterings"))
def history(site: Here, name: Name) -> Response:
    """Show what every clustering did; as `imgclust clusters history`."""
    with site.open(name) as collection:
        return Documents(document(collection.history(), rows="clusterings"))


@router.get("/collections/{name}/clusters/{cluster}/history", responses=answers(ClusterLife))
def life(site: Here, name: Name, cluster: Which) -> Response:
    """Show the life of one cluster, gone ones too; as `imgclust clusters history CLUSTER`."""
    with site.open(name) as collection:
        return Documents(document(collection.cluster_life(cluster)))


@router.get("/collections/{name}/images/{image}", responses=answers(ImageDetails, IMAGE_EXAMPLE))
def image(site: Here, name: Name, image: Image) -> Response:
    """Show one image with all that is known of it."""
    with site.open(name) as collection:
        return Documents(document(collection.service.image(image)))


@router.get("/collections/{name}/query", responses=answers(QueryResult))
async def query(
    site: Here,
    name: Name,
    image: Annotated[
        list[int],
        Query(
            description="Ids of images; several by their mean.",
            min_length=1,
            max_length=MOST_ASKED,
        ),
    ],
    chosen: Chosen,
    n: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 10,
    min_score: Annotated[float | None, Query(description="Leave out those below.")] = None,
    min_similarity: Annotated[
        float | None, Query(description="Leave out those whose similarity is below.")
    ] = None,
    cluster: Annotated[str | None, Query(description="Only images of this cluster.")] = None,
    include_self: Annotated[bool, Query(description="Show the images asked for too.")] = False,
    copies: Annotated[bool, Query(description="A row for each copy, exact or near.")] = False,
) -> Response:
    """Find the images most similar to images of the collection; as `imgclust query ID...`."""

    def find() -> Response:
        with site.ready(name) as collection:
            found = collection.query(
                image,
                n=n,
                min_score=min_score,
                min_similarity=min_similarity,
                cluster=cluster,
                selection=chosen,
                include_self=include_self,
                copies=copies,
            )
            return Documents(document(found))

    return await site.few_at_once(find)


@router.get("/collections/{name}/duplicates", responses=answers(DuplicatesResult))
@slow
def duplicates(
    site: Here,
    name: Name,
    min_score: Annotated[
        float | None, Query(description="Least score of a near copy; by recipe without it.")
    ] = None,
) -> Response:
    """Find exact and near duplicates; as `imgclust duplicates`. Minutes the first time."""
    with site.open(name) as collection:
        return Documents(document(collection.duplicates(min_score=min_score)))


@router.get("/collections/{name}/quarantine", responses=answers(Quarantined, rows="quarantined"))
def quarantine(site: Here, name: Name) -> Response:
    """Show files that could not be read; as `imgclust quarantine`."""
    with site.open(name) as collection:
        return Documents(document(collection.quarantine(), rows="quarantined"))


@router.get("/collections/{name}/damaged", responses=answers(DamagedImage, rows="damaged"))
def damaged(site: Here, name: Name) -> Response:
    """Show images that are in although their file is damaged; `imgclust quarantine --damaged`."""
    with site.open(name) as collection:
        return Documents(document(collection.damaged(), rows="damaged"))


@router.get("/collections/{name}/missing", responses=answers(MissingImage, rows="missing"))
@slow
def missing(site: Here, name: Name, chosen: Chosen) -> Response:
    """Show images that are not where they were; as `imgclust missing`."""
    with site.open(name) as collection:
        return Documents(document(collection.missing(selection=chosen), rows="missing"))


@router.get("/collections/{name}/roots", responses=answers(RootRow, rows="roots"))
def roots(site: Here, name: Name) -> Response:
    """List the folders that images come from; as `imgclust roots`."""
    with site.open(name) as collection:
        return Documents(document(collection.roots(), rows="roots"))


@router.get("/collections/{name}/links", responses=answers(LinksResult))
@slow
def links(site: Here, name: Name) -> Response:
    """Say how far off the link folder is; as `imgclust links --check`."""
    with site.open(name) as collection:
        return Documents(document(collection.links(check=True)))


@router.get("/collections/{name}/jobs", responses=answers(StoredJob, rows="jobs"))
def jobs(site: Here, name: Name) -> Response:
    """List the jobs that are kept, newest first."""
    return Documents({"jobs": site.jobs.documents(name)})


@router.get("/collections/{name}/jobs/{job}", responses=answers(StoredJob))
def job(
    site: Here, name: Name, job: Annotated[int, Path(description="Id of the job.", examples=[3])]
) -> Response:
    """Show one job: its state, its progress, and in the end its result."""
    return Documents(site.jobs.document(name, job))
