"""Routes that the pages need beside the commands: previews of k, activity, copies, the map."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from imgclust.collection import Activity, FoundDuplicates, MapOverview, SweepCurve, SweepPreview
from imgclust.collection.json_documents import document
from imgclust.server.answers import Documents, answers, failures
from imgclust.server.read_routes import Here, Name
from imgclust.server.site import slow

router = APIRouter()

_CURVE = {
    "space": "smoothed",
    "distinct": 245,
    "k": [1, 2, 3],
    "inertia": [101.5, 80.2, 70.9],
    "knee": 3,
    "chosen": 3,
    "sentence": "k = 3: the knee of the elbow curve",
    "complete": True,
    "created": "2026-11-28T09:00:00+00:00",
    "kept": [1, 2, 3],
    "current": True,
    "clusters": 3,
}
_PREVIEW = {
    "k": 3,
    "sampled": 245,
    "distinct": 245,
    "clusters": [
        {
            "images": 120,
            "representatives": [42, 7, 19, 3],
            "cluster": 7,
            "name": "cats on sofas",
            "share": 0.91,
        }
    ],
}
_ACTIVITY = {
    "pending": 3,
    "oldest_pending_s": 1.2,
    "waiting": ["/home/ann/Pictures/new.jpg"],
    "watching": True,
    "changes": [
        {
            "event": "image_added",
            "time": "2026-11-28T09:00:00+00:00",
            "image": 42,
            "path": "/home/ann/Pictures/cat.jpg",
            "cluster": 7,
            "name": "cats on sofas",
            "message": None,
            "count": 1,
        }
    ],
    "suggestions": [],
}
_FOUND = {
    "time": "2026-11-28T09:00:00+00:00",
    "total": 1,
    "offset": 0,
    "copies": 1,
    "freed": 81234,
    "groups": [
        {
            "kind": "near",
            "reason": "pixels",
            "images": [
                {
                    "id": 42,
                    "path": "/home/ann/Pictures/cat.jpg",
                    "width": 4288,
                    "height": 2848,
                    "bytes": 5012345,
                    "relation": "best",
                    "freed": 5012345,
                },
                {
                    "id": 43,
                    "path": "/home/ann/Pictures/cat small.jpg",
                    "width": 800,
                    "height": 531,
                    "bytes": 81234,
                    "relation": "near",
                    "freed": 81234,
                },
            ],
        }
    ],
}
_MAP = {
    "map": 5,
    "method": "tsne",
    "created": "2026-11-28T09:00:00+00:00",
    "distinct": 245,
    "absent": 0,
    "clusters": [
        {
            "id": 7,
            "name": "cats on sofas",
            "size": 31,
            "colour": "#d60000",
            "on_dark": "#d60000",
            "shape": "square",
        }
    ],
}
_POINTS = """\
Little-endian columns, one after the other: four bytes `IMGP`, and as uint32 the version 1, the
number n of points and the id of the newest image; then n ids as uint32, n x and n y as float32,
n cluster ids as int32 (-1 for none), and n bytes of flags (1: missing, 2: placed after the map was
made, 4: a person said something about it). Points are ordered by id."""
_LIST = "ls -ld -- \\\n'/home/ann/Pictures/cat small.jpg'\n"


@router.get("/collections/{name}/sweep", responses=answers(SweepCurve, _CURVE))
def sweep_curve(site: Here, name: Name) -> Response:
    """Show the elbow curve of the last sweep; 404 before the first one.

    `kept` are the k whose clusters can be previewed. `current` is false when images came or left
    since.
    """
    with site.open(name) as collection:
        return Documents(document(collection.service.gallery.sweep_curve()))


@router.get("/collections/{name}/sweep/{k}", responses=answers(SweepPreview, _PREVIEW))
@slow
def sweep_preview(
    site: Here,
    name: Name,
    k: Annotated[int, Path(ge=1, le=10**9, description="How many clusters.", examples=[20])],
) -> Response:
    """Show the clusters that the last sweep has found for a k; nothing is changed.

    They are made from nothing. `imgclust cluster -k K` improves the current clusters instead, and
    leaves named ones as they are. `cluster` is the current cluster that most of the images are in,
    `share` how many of them.
    """
    with site.ready(name) as collection:
        return Documents(document(collection.service.gallery.sweep_preview(k)))


@router.get("/collections/{name}/activity", responses=answers(Activity, _ACTIVITY))
def activity(
    site: Here,
    name: Name,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many changes.")] = 60,
) -> Response:
    """Show what waits to be read and the newest changes, newest first, with paths and names.

    `count` equal changes followed each other.
    """
    with site.open(name) as collection:
        return Documents(document(collection.service.gallery.activity(limit=limit)))


@router.get("/collections/{name}/duplicates/found", responses=answers(FoundDuplicates, _FOUND))
@slow
def found_duplicates(
    site: Here,
    name: Name,
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many to leave out first.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many groups.")] = 50,
) -> Response:
    """Show groups of copies that the last job `duplicates` has found; 404 before the first one.

    What has left, has changed or was dismissed since is left out. Similar images are not shown.
    """
    with site.open(name) as collection:
        found = collection.service.gallery.found_duplicates(offset=offset, limit=limit)
        return Documents(document(found))


@router.get(
    "/collections/{name}/duplicates/list",
    responses={
        200: {
            "description": "The command, or nothing where there are no copies.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _LIST}},
        },
        **failures(),
    },
)
@slow
def list_for_the_shell(site: Here, name: Name) -> Response:
    """Show all copies but the best of each group, as a command of a shell that only lists them."""
    with site.open(name) as collection:
        text = collection.service.gallery.duplicates_list()
    return Response(text.encode(), media_type="text/plain; charset=utf-8")


@router.get("/collections/{name}/map", responses=answers(MapOverview, _MAP))
@slow
def map_overview(site: Here, name: Name) -> Response:
    """Show the newest map of two dimensions: its clusters, colours and shapes; 404 without one.

    `absent` contents are newer than the map and have no place in it yet.
    """
    with site.open(name) as collection:
        return Documents(document(collection.service.gallery.map_overview()))


@router.get(
    "/collections/{name}/map/points",
    responses={
        200: {
            "description": _POINTS,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        **failures(),
    },
)
@slow
def map_points(
    site: Here,
    name: Name,
    after: Annotated[
        int, Query(ge=0, lt=1 << 32, description="Only images with an id above this.")
    ] = 0,
) -> Response:
    """Send where each image lies in the map, in columns; new images are placed in it first."""
    with site.open(name) as collection:
        content = collection.service.gallery.map_points(after=after)
    return Response(content, media_type="application/octet-stream")
