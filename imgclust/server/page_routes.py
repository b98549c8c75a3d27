"""The pages of the gallery, one function each."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from imgclust.collection import ClusterRow, News, RootRow, SweepCurve, effective_settings
from imgclust.collection.json_documents import document
from imgclust.errors import NothingThereError
from imgclust.server.answers import Documents, answers
from imgclust.server.health import Health
from imgclust.server.read_routes import MOST_ASKED, Here, Image, Name, Which
from imgclust.server.site import Site, selection, slow
from imgclust.wording import BEST_COPY, NEXT_STEP, READABLE_STEP, loses, minute, path_text, size

router = APIRouter(include_in_schema=False)
news = APIRouter()

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "gallery.css": "text/css",
    "gallery.js": "text/javascript",
    "activity.js": "text/javascript",
    "duplicates.js": "text/javascript",
    "k.js": "text/javascript",
    "map.js": "text/javascript",
    "review.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
# The pages of a collection in the order of their links: template, address, words.
_PAGES = (
    ("wall", "", "Clusters"),
    ("search", "search", "Search"),
    ("review", "review", "Review"),
    ("k", "k", "Choose k"),
    ("duplicates", "duplicates", "Duplicates"),
    ("map", "map", "Map"),
    ("activity", "activity", "Activity"),
    ("settings", "settings", "Settings"),
)
_ORDERS = (
    ("distance", "from the centre outwards"),
    ("newest", "newest first"),
    ("oldest", "oldest first"),
    ("taken", "by date taken"),
    ("name", "by name"),
)
_FIRST = 200
# Width and height of the elbow curve, in units of its own.
_BOX = (600.0, 200.0)
_SIMILAR, _FOUND = 12, 40
# Images that were searched by, by name.
_NAMED = 6
_NONE: list[int] = []
# Rows of a list of files, of jobs, and groups of copies on one page.
_ROWS, _JOBS, _GROUPS = 200, 8, 50

_pages = Environment(
    loader=PackageLoader("imgclust.server", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
# What a job does, in words; the scripts take them from the page.
_pages.globals["steps"] = {
    "sweep": "trying numbers of clusters",
    "sweep, back": "trying numbers of clusters, from the largest",
    "null model": "comparing with chance",
    "k-means": "making clusters",
    "t-SNE": "placing the images",
    "reading embeddings": "reading the images",
    "smoothing": "comparing the images with each other",
    "measuring similarity": "comparing the images with each other",
    "t-SNE by scikit-learn": "placing the images",
}
_pages.filters["name"] = lambda path: path_text(os.path.basename(path))
_pages.filters["whole"] = path_text
_pages.filters["loses"] = loses
_pages.filters["time"] = minute
_pages.filters["size"] = size
_pages.filters["folder"] = lambda path: path_text(os.path.dirname(path))
_pages.filters["setting"] = lambda value: json.dumps(value, ensure_ascii=False)
_pages.filters["next_step"] = lambda root: _next_step(root)


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page; everything in it is escaped."""
    text = _pages.get_template(template).render(**values)
    headers = {"cache-control": "no-store"}
    return Response(
        text.encode("utf-8", "replace"), status, headers, media_type="text/html; charset=utf-8"
    )


def _common(site: Site, name: str, which: str, last: str) -> dict[str, Any]:
    return {
        "collection": name,
        "collections": site.names(),
        "page": which,
        "pages": _PAGES,
        "last": last,
        "api": f"/api/v1/collections/{name}",
    }


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file that the pages load."""
    if name not in _FILES:
        raise NothingThereError(f"there is no file {name}")
    headers = {"cache-control": "no-cache"}
    return FileResponse(_STATIC / name, media_type=_FILES[name], headers=headers)


@router.get("/")
def start(site: Here) -> Response:
    """The clusters of the collection that is shown first."""
    names = site.names()
    if not names:
        raise NothingThereError("there is no collection yet; imgclust watch FOLDER makes one")
    name = site.default if site.default in names else names[0]
    return RedirectResponse(f"/c/{name}/", status_code=303)


@router.get("/c/{name}/")
def wall(site: Here, name: Name) -> Response:
    """The clusters, each with some of its pictures."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        shown = collection.standing()
        rows = [one for one in collection.service.wall() if one.size or one.name]
        before = collection.service.clusters_before()
    return page(
        "wall.html",
        rows=rows,
        before=before,
        images=shown.images,
        pending=shown.pending,
        **_common(site, name, "wall", last),
    )


@router.get("/c/{name}/clusters/{cluster}")
def cluster(
    site: Here,
    name: Name,
    cluster: Which,
    order: Literal["distance", "newest", "oldest", "taken", "name"] = "distance",
    since: str | None = None,
    until: str | None = None,
) -> Response:
    """One cluster with its pictures."""
    chosen = selection(since or None, until or None, None)
    with site.open(name) as collection:
        last = collection.service.changes().last
        shown = collection.service.members(cluster, order=order, selection=chosen, limit=_FIRST)
        rows = sorted(collection.clusters(), key=lambda one: -one.size)
        number = collection.service.cluster_id(cluster)
    row = next((one for one in rows if one.id == number), None)
    if row is None:  # another clustering has come in between
        raise NothingThereError(f"there is no cluster {number} now; look again")
    at = rows.index(row)
    return page(
        "cluster.html",
        row=row,
        previous=rows[at - 1] if at else None,
        next=rows[at + 1] if at + 1 < len(rows) else None,
        title=row.name or f"Cluster {row.id}",
        page_of=shown,
        others=_targets(rows, but=number),
        orders=_ORDERS,
        order=order,
        since=since,
        until=until,
        **_common(site, name, "cluster", last),
    )


def _targets(rows: Iterable[ClusterRow], *, but: int | None = None) -> list[ClusterRow]:
    """Clusters that images can be moved to: one without images and name is what an undo left."""
    return [one for one in rows if one.id != but and (one.size or one.name)]


@router.get("/c/{name}/images/{image}")
async def image(site: Here, name: Name, image: Image) -> Response:
    """One image with what is known of it, and the most similar ones."""
    return await site.few_at_once(partial(_image, site, name, image))


def _image(site: Site, name: str, image: int) -> Response:
    with site.ready(name) as collection:
        last = collection.service.changes().last
        shown = collection.service.image(image)
        found = collection.query(image, n=_SIMILAR)
        said = collection.service.gallery.said_of(image)
        rows = [] if shown.cluster is None else list(collection.clusters())
    near = Counter(one.cluster for one in found.neighbours)
    rows = sorted(rows, key=lambda one: -near[one.id])  # where similar images are comes first
    return page(
        "image.html",
        image=shown,
        names={one.id: one.name or f"Cluster {one.id}" for one in rows},
        neighbours=found.neighbours,
        said=said,
        others=_targets(rows, but=shown.cluster),
        **_common(site, name, "image", last),
    )


@router.get("/c/{name}/search")
async def search(
    site: Here,
    name: Name,
    image: Annotated[list[int], Query(max_length=MOST_ASKED)] = _NONE,
    of: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """Search by pictures that are sent, or by images of the collection: these `of` so many."""

    def found() -> Response:
        with site.ready(name) as collection:
            last = collection.service.changes().last
            asked = [collection.service.image(one) for one in image[:_NAMED]]
            neighbours = collection.query(image, n=_FOUND).neighbours if image else ()
        return page(
            "search.html",
            asked=asked,
            further=len(image) - len(asked),
            part=len(image) if of > len(image) else 0,
            selected=of,
            neighbours=neighbours,
            **_common(site, name, "search", last),
        )

    return await site.few_at_once(found)


@router.get("/c/{name}/review")
@slow
def review(site: Here, name: Name) -> Response:
    """Two pictures, and the question whether they are of the same group."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        clusters = collection.standing().clusters
    return page("review.html", clusters=clusters, **_common(site, name, "review", last))


@router.get("/c/{name}/k")
@slow
def choice_of_k(site: Here, name: Name) -> Response:
    """The elbow curve, and the clusters of every k of it."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        shown = collection.standing()
        try:
            curve = collection.service.gallery.sweep_curve()
        except NothingThereError:
            curve = None
        before = collection.service.clusters_before()
    return page(
        "k.html",
        before=before,
        curve=curve,
        drawn=None if curve is None else _drawn(curve),
        images=shown.images,
        clusters=shown.clusters,
        **_common(site, name, "k", last),
    )


@router.get("/c/{name}/duplicates")
@slow
def duplicates(
    site: Here,
    name: Name,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """The copies of each picture, and which of them is the best."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        images = collection.standing().images
        try:
            found = collection.service.gallery.found_duplicates(offset=offset, limit=_GROUPS)
        except NothingThereError:
            found = None
    return page(
        "duplicates.html",
        found=found,
        images=images,
        step=_GROUPS,
        reasons=BEST_COPY,
        **_common(site, name, "duplicates", last),
    )


@router.get("/c/{name}/map")
@slow
def map_of_images(site: Here, name: Name) -> Response:
    """The map: every image as a point, thumbnails where there is room."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        shown = collection.standing()
        rows = sorted(collection.clusters(), key=lambda one: -one.size) if shown.clusters else []
        try:
            overview = collection.service.gallery.map_overview()
        except NothingThereError:
            overview = None
    return page(
        "map.html",
        overview=overview,
        images=shown.images,
        others=_targets(rows),
        **_common(site, name, "map", last),
    )


@router.get("/c/{name}/settings")
def settings(site: Here, name: Name) -> Response:
    """Every setting with its value and where it comes from."""
    with site.open(name) as collection:
        last = collection.service.changes().last
    found = effective_settings(site.index, name, effective=site.settings())
    return page("settings.html", found=found, **_common(site, name, "settings", last))


@router.get("/c/{name}/activity")
def activity(site: Here, name: Name, request: Request) -> Response:
    """What happens now, what waits, and what a person should look at."""
    health: Health = request.app.state.health
    found = health.readiness()
    with site.open(name) as collection:
        last = collection.service.changes().last
        happens = collection.service.gallery.activity()
        standing = collection.standing()
        roots = collection.roots()
        files = collection.service.gallery.file_troubles(limit=_ROWS)
    return page(
        "activity.html",
        happens=happens,
        standing=standing,
        troubles=found.troubles,
        roots=roots,
        files=files,
        jobs=site.jobs.documents(name)[:_JOBS],
        **_common(site, name, "activity", last),
    )


def _next_step(root: RootRow) -> str:
    """What to do about a folder; empty where all is well."""
    if root.state == "held":
        return f"{root.reason}: {NEXT_STEP}"
    if root.state == "unreadable":
        return f"{root.reason}: {READABLE_STEP}"
    if root.state in {"offline", "missing"}:
        return (
            "connect its disk again; its images are kept. If it has moved: imgclust roots move "
            "OLD NEW"
        )
    return ""


def _drawn(curve: SweepCurve) -> list[tuple[int, float, float]]:
    """The points (k, x, y) of an elbow curve in a box of the size `_BOX`."""
    known = [(k, one) for k, one in zip(curve.k, curve.inertia, strict=True) if one is not None]
    first, last = min(curve.k), max(curve.k)
    most = max((one for _, one in known), default=0.0) or 1.0
    width, height = _BOX
    return [
        (
            k,
            round((k - first) / max(1, last - first) * width, 1),
            round(height * (1 - one / most), 1),
        )
        for k, one in known
    ]


@news.get("/collections/{name}/news", responses=answers(News))
def arrived(
    site: Here,
    name: Name,
    after: Annotated[int, Query(ge=0, le=1 << 62, description="Id of an image.")] = 0,
) -> Response:
    """Count the images of each cluster with an id above this one; `last` is the newest id."""
    with site.open(name) as collection:
        return Documents(document(collection.service.news(after)))


def refused(status: int, message: str) -> Response:
    """A page that says why another one cannot be shown."""
    return page("failure.html", status=status, message=message)
