"""Routes that change something: at once, or as a job where it takes long."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from imgclust.collection import (
    ClusterRow,
    Collection,
    CollectionPlace,
    Dismissed,
    MissingImage,
    MovedRoot,
    Removed,
    RemovedRoot,
    StoredJob,
    create_collection,
)
from imgclust.collection.json_documents import Document, document
from imgclust.errors import UsageError
from imgclust.server.answers import Documents, answers
from imgclust.server.read_routes import Here, Name, Which
from imgclust.server.site import Site
from imgclust.wording import printable

router = APIRouter()

_JOB = {
    "id": 3,
    "command": "cluster",
    "arguments": {"k": "auto"},
    "state": "running",
    "begun": "2026-11-28T09:00:00+00:00",
    "ended": None,
    "result": None,
    "progress": {"step": "fitting", "done": 2, "total": 9},
}
_JOB_ANSWERS = answers(StoredJob, _JOB, also=(409,), code=202)
_Space = Literal["smoothed", "pca", "embedding", "tsne"]
_Count = Annotated[int, Field(ge=1, le=10**9)]


class Body(BaseModel):
    """What a command is given; nothing else is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _without_zero_bytes(cls, value: Any, info: ValidationInfo) -> Any:
        """No path has a zero byte; the system takes none. Names have a check of their own."""
        texts = value if isinstance(value, list) else [value]
        if info.field_name != "name" and any(isinstance(one, str) and "\0" in one for one in texts):
            raise ValueError("a zero byte is in it")
        return value


class DryRun(Body):
    """A command that can say what it would change."""

    dry_run: bool = Field(False, description="Say what would change, change nothing.")


class Sweep(Body):
    """As `imgclust sweep`."""

    k_min: _Count | None = Field(None, description="First k.")
    k_max: _Count | None = Field(None, description="Last k.", examples=[30])
    space: _Space | None = Field(None, description="What k-means runs in.")


class Cluster(DryRun):
    """As `imgclust cluster`."""

    k: _Count | Literal["auto"] | None = Field(
        None, description="How many; auto: the knee.", examples=[20]
    )
    space: _Space | None = Field(None, description="What k-means runs in, from now on.")
    seed: int | None = Field(None, ge=0, lt=1 << 31, description="Seed of the random choices.")
    fresh: bool = Field(False, description="Start from nothing; named clusters stay.")
    step: Literal["finer", "coarser"] | None = Field(
        None, description="One step more or fewer clusters; all others stay."
    )


class Split(DryRun):
    """As `imgclust clusters split`."""

    k: Annotated[int, Field(ge=2, le=10**9)] | Literal["auto"] = Field(
        "auto", description="How many parts; auto: the knee."
    )


class Merge(DryRun):
    """As `imgclust clusters merge`."""

    clusters: list[int | str] = Field(
        description="Ids or names of the clusters.",
        min_length=2,
        max_length=1000,
        examples=[[3, 9]],
    )
    name: str | None = Field(None, description="Name of the whole.", max_length=400)


class Naming(Body):
    """As `imgclust clusters name`."""

    name: str | None = Field(
        None,
        description="The new name; an empty one removes the name.",
        max_length=400,
        examples=["cats on sofas"],
    )
    release: bool = Field(False, description="Keep the name, and let its images move.")


class View(Body):
    """As `imgclust view`."""

    method: Literal["pca", "tsne"] | None = Field(None, description="Projection.")
    dims: Literal[2, 3] | None = Field(None, description="Dimensions of the map.")
    refit: bool = Field(False, description="Recompute the map.")


class Repair(Body):
    """As `imgclust doctor`."""

    repair: bool = Field(False, description="Repair what disagrees.")


class Paths(Body):
    """Files and folders of the machine that the service runs on."""

    paths: list[str] = Field(
        description="Absolute paths.",
        min_length=1,
        max_length=10_000,
        examples=[["/home/ann/Desktop/new.jpg"]],
    )


class Retry(Body):
    """As `imgclust quarantine retry`."""

    paths: list[str] = Field(
        default_factory=list, description="Files in quarantine; all without any.", max_length=10_000
    )


class Remove(DryRun):
    """As `imgclust remove`."""

    images: list[int | str] = Field(
        description="Ids or paths of images, folders, patterns.",
        min_length=1,
        max_length=10_000,
        examples=[[42, 43]],
    )
    copies: bool = Field(False, description="Take out all images with the same bytes.")


class Dismiss(Body):
    """As `imgclust duplicates dismiss`."""

    images: list[int] = Field(
        description="Ids of images.", min_length=1, max_length=1000, examples=[[12, 40]]
    )
    undo: bool = Field(False, description="Forget that they are not duplicates.")


class Duplicates(Body):
    """As `imgclust duplicates`."""

    min_score: float | None = Field(None, description="Least score of a near copy.")


class RootMove(DryRun):
    """As `imgclust roots move`."""

    old: str = Field(description="Where the images were.", examples=["/mnt/old"])
    new: str = Field(description="Where they are now.", examples=["/mnt/new"])


class RootRemoval(DryRun):
    """As `imgclust roots remove`."""

    folder: str = Field(description="The folder.", examples=["/home/ann/Downloads"])
    remove_images: bool = Field(False, description="Take its images out of the collection too.")


class NewCollection(Body):
    """As `imgclust collections create`."""

    name: str = Field(
        description="Name of the collection.", min_length=1, max_length=400, examples=["holidays"]
    )


class Nothing(Body):
    """No arguments."""


def _job(
    site: Site,
    name: str,
    command: str,
    body: Body,
    work: Callable[[Collection], Any],
    *,
    flags: dict[str, Any] | None = None,
) -> Response:
    """Start a job; where it can be asked about is in the header Location."""

    def run(collection: Collection) -> Document:
        return document(work(collection))

    arguments = body.model_dump(exclude_defaults=True)
    started = site.jobs.start(name, command, arguments, run, flags=flags)
    where = f"/api/v1/collections/{name}/jobs/{started['id']}"
    return Documents(started, status_code=202, headers={"location": where})


def _files(site: Site, collection: Collection, given: list[str]) -> list[str]:
    """Paths that may be read: absolute ones, and from another machine only watched ones."""
    if any(not path.startswith("/") or "\0" in path for path in given):
        raise UsageError("a path is not absolute; begin it with /")
    if site.remote:
        roots = [os.fsencode(one) for one in collection.status().roots]
        for path in given:
            real = os.path.realpath(os.fsencode(path))
            if not any(real == root or real.startswith(root + b"/") for root in roots):
                raise UsageError(
                    f"{printable(path)} is not in a watched folder; from another machine only "
                    "files in watched folders can be added"
                )
    return given


@router.post("/collections", responses=answers(CollectionPlace))
def create(site: Here, body: NewCollection) -> Response:
    """Make an empty collection; as `imgclust collections create`."""
    made = create_collection(body.name, site.index, effective=site.settings())
    return Documents(document(made))


@router.post("/collections/{name}/sweep", status_code=202, responses=_JOB_ANSWERS)
def sweep(site: Here, name: Name, body: Sweep) -> Response:
    """Try every k and find the knee, as a job; as `imgclust sweep`."""
    given = body.model_dump()
    return _job(site, name, "sweep", body, lambda collection: collection.sweep(**given))


@router.post("/collections/{name}/cluster", status_code=202, responses=_JOB_ANSWERS)
def cluster(site: Here, name: Name, body: Cluster) -> Response:
    """Improve the clusters, as a job; as `imgclust cluster`."""
    given = body.model_dump()
    given["k"] = None if body.k is None else str(body.k)
    flags = {"clustering.space": body.space} if body.space and not body.dry_run else None
    return _job(
        site, name, "cluster", body, lambda collection: collection.cluster(**given), flags=flags
    )


@router.post("/collections/{name}/undo", status_code=202, responses=_JOB_ANSWERS)
def undo(site: Here, name: Name, body: Nothing) -> Response:
    """Go back to the clustering before, as a job; as `imgclust cluster --undo`."""
    return _job(site, name, "undo", body, lambda collection: collection.undo())


@router.post(
    "/collections/{name}/clusters/{cluster}/split", status_code=202, responses=_JOB_ANSWERS
)
def split(site: Here, name: Name, cluster: Which, body: Split) -> Response:
    """Divide one cluster, as a job; as `imgclust clusters split`."""
    return _job(
        site,
        name,
        "split",
        body,
        lambda collection: collection.split_cluster(cluster, k=str(body.k), dry_run=body.dry_run),
    )


@router.post("/collections/{name}/merge", status_code=202, responses=_JOB_ANSWERS)
def merge(site: Here, name: Name, body: Merge) -> Response:
    """Put clusters together into the largest, as a job; as `imgclust clusters merge`."""
    return _job(
        site,
        name,
        "merge",
        body,
        lambda collection: collection.merge_clusters(
            body.clusters, name=body.name, dry_run=body.dry_run
        ),
    )


@router.post("/collections/{name}/view", status_code=202, responses=_JOB_ANSWERS)
def view(site: Here, name: Name, body: View) -> Response:
    """Draw the map, as a job; as `imgclust view`."""
    given = body.model_dump()
    return _job(site, name, "view", body, lambda collection: collection.view(**given))


@router.post("/collections/{name}/report", status_code=202, responses=_JOB_ANSWERS)
def report(site: Here, name: Name, body: Nothing) -> Response:
    """Write the collection as one HTML page beside the charts, as a job; as `imgclust report`."""
    return _job(site, name, "report", body, lambda collection: collection.report())


@router.post("/collections/{name}/doctor", status_code=202, responses=_JOB_ANSWERS)
def doctor(site: Here, name: Name, body: Repair) -> Response:
    """Check that disk, catalog, index and links agree, as a job; as `imgclust doctor`."""
    return _job(
        site, name, "doctor", body, lambda collection: collection.doctor(repair=body.repair)
    )


@router.post("/collections/{name}/links", status_code=202, responses=_JOB_ANSWERS)
def links(site: Here, name: Name, body: DryRun) -> Response:
    """Update the whole link folder, as a job; as `imgclust links`."""
    return _job(
        site, name, "links", body, lambda collection: collection.links(dry_run=body.dry_run)
    )


@router.post("/collections/{name}/duplicates", status_code=202, responses=_JOB_ANSWERS)
def duplicates(site: Here, name: Name, body: Duplicates) -> Response:
    """Find exact and near duplicates, as a job; as `imgclust duplicates`."""
    return _job(
        site,
        name,
        "duplicates",
        body,
        lambda collection: collection.duplicates(min_score=body.min_score),
    )


@router.post("/collections/{name}/reembed", status_code=202, responses=_JOB_ANSWERS)
def reembed(site: Here, name: Name, body: DryRun) -> Response:
    """Embed all images again by the weights that the settings say; as `imgclust reembed`."""
    return _job(
        site, name, "reembed", body, lambda collection: collection.reembed(dry_run=body.dry_run)
    )


@router.post("/collections/{name}/add", status_code=202, responses=_JOB_ANSWERS)
def add(site: Here, name: Name, body: Paths) -> Response:
    """Ingest files and folders once, as a job; as `imgclust add`. The watcher takes them."""
    with site.open(name) as collection:
        wanted = _files(site, collection, body.paths)
    return _job(site, name, "add", body, lambda collection: collection.add(wanted))


@router.post("/collections/{name}/quarantine/retry", status_code=202, responses=_JOB_ANSWERS)
def retry(site: Here, name: Name, body: Retry) -> Response:
    """Read files in quarantine again, as a job; as `imgclust quarantine retry`."""
    return _job(site, name, "retry", body, lambda collection: collection.retry(body.paths))


@router.post(
    "/collections/{name}/jobs/{job}/cancel", status_code=202, responses=answers(StoredJob, code=202)
)
def cancel(
    site: Here, name: Name, job: Annotated[int, Path(description="Id of the job.", examples=[3])]
) -> Response:
    """Ask a job to stop; what it has finished is kept."""
    return Documents(site.jobs.cancel(name, job), status_code=202)


@router.post(
    "/collections/{name}/clusters/{cluster}/name", responses=answers(ClusterRow, also=(409,))
)
def name_cluster(site: Here, name: Name, cluster: Which, body: Naming) -> Response:
    """Name a cluster, which freezes it; as `imgclust clusters name`."""
    if body.name is None and not body.release:
        raise UsageError("no name given; an empty one removes the name")
    with site.open(name) as collection:
        found = collection.name_cluster(cluster, body.name, release=body.release)
        return Documents(document(found))


@router.post("/collections/{name}/remove", responses=answers(Removed, rows="removed"))
def remove(site: Here, name: Name, body: Remove) -> Response:
    """Take images out of the collection; their files stay. As `imgclust remove -y`."""
    for one in body.images:
        if isinstance(one, str) and not one.startswith("/") and not one.isdigit():
            raise UsageError("an image is an id or an absolute path; begin paths with /")
    with site.open(name) as collection:
        found = collection.remove_all(body.images, copies=body.copies, dry_run=body.dry_run)
        return Documents(document(found, rows="removed"))


@router.post("/collections/{name}/missing/accept", responses=answers(MissingImage, rows="accepted"))
def accept(site: Here, name: Name, body: DryRun) -> Response:
    """Take all missing images out of the collection; as `imgclust missing accept -y`."""
    with site.open(name) as collection:
        found = collection.missing() if body.dry_run else collection.accept_missing()
        return Documents(document(found, rows="accepted"))


@router.post("/collections/{name}/duplicates/dismiss", responses=answers(Dismissed))
def dismiss(site: Here, name: Name, body: Dismiss) -> Response:
    """Remember that images are not duplicates; as `imgclust duplicates dismiss`."""
    with site.open(name) as collection:
        return Documents(document(collection.dismiss_duplicates(body.images, undo=body.undo)))


@router.post("/collections/{name}/roots/move", responses=answers(MovedRoot, also=(409,)))
def move_root(site: Here, name: Name, body: RootMove) -> Response:
    """Say that a folder has moved: its images keep ids and clusters; as `imgclust roots move`."""
    with site.open(name) as collection:
        return Documents(document(collection.move_root(body.old, body.new, dry_run=body.dry_run)))


@router.post("/collections/{name}/roots/remove", responses=answers(RemovedRoot, also=(409,)))
def remove_root(site: Here, name: Name, body: RootRemoval) -> Response:
    """Watch a folder no more; as `imgclust roots remove -y`."""
    with site.open(name) as collection:
        found = collection.remove_root(
            body.folder, remove_images=body.remove_images, dry_run=body.dry_run
        )
        return Documents(document(found))
