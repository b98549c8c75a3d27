"""The pages of the gallery: clusters, one cluster, one image, search by a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from imgclust.collection import News, SweepCurve
from imgclust.collection.json_documents import document
from imgclust.errors import NothingThereError
from imgclust.server.answers import Documents, answers
from imgclust.server.read_routes import Here, Image, Name, Which
from imgclust.server.site import Site, selection
from imgclust.wording import path_text

router = APIRouter(include_in_schema=False)
news = APIRouter()

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "gallery.css": "text/css",
    "gallery.js": "text/javascript",
    "k.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
# The pages of a collection in the order of their links: template, address, words.
_PAGES = (
    ("wall", "", "Clusters"),
    ("search", "search", "Search"),
    ("k", "k", "Choose k"),
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
_SIMILAR = 12

_pages = Environment(
    loader=PackageLoader("imgclust.server", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_pages.filters["name"] = lambda path: path_text(os.path.basename(path))
_pages.filters["whole"] = path_text


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
        rows = collection.service.wall()
    return page(
        "wall.html",
        rows=rows,
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
    row = next(one for one in rows if str(one.id) == cluster or one.name == cluster)
    return page(
        "cluster.html",
        row=row,
        title=row.name or f"Cluster {row.id}",
        page_of=shown,
        others=[one for one in rows if one is not row],
        orders=_ORDERS,
        order=order,
        since=since,
        until=until,
        **_common(site, name, "cluster", last),
    )


@router.get("/c/{name}/images/{image}")
def image(site: Here, name: Name, image: Image) -> Response:
    """One image with what is known of it, and the most similar ones."""
    with site.ready(name) as collection:
        last = collection.service.changes().last
        shown = collection.service.image(image)
        found = collection.query(image, n=_SIMILAR)
    return page(
        "image.html",
        image=shown,
        neighbours=found.neighbours,
        **_common(site, name, "image", last),
    )


@router.get("/c/{name}/search")
def search(site: Here, name: Name) -> Response:
    """Search by a picture."""
    with site.open(name) as collection:
        last = collection.service.changes().last
    return page("search.html", **_common(site, name, "search", last))


@router.get("/c/{name}/k")
def choice_of_k(site: Here, name: Name) -> Response:
    """The elbow curve, and the clusters of every k of it."""
    with site.open(name) as collection:
        last = collection.service.changes().last
        shown = collection.standing()
        try:
            curve = collection.service.sweep_curve()
        except NothingThereError:
            curve = None
    return page(
        "k.html",
        curve=curve,
        drawn=None if curve is None else _drawn(curve),
        images=shown.images,
        clusters=shown.clusters,
        **_common(site, name, "k", last),
    )


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
