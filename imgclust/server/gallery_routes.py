"""Routes that the pages need beside the commands: the clusters of a k before they are made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from imgclust.collection import SweepCurve, SweepPreview
from imgclust.collection.json_documents import document
from imgclust.server.answers import Documents, answers
from imgclust.server.read_routes import Here, Name

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


@router.get("/collections/{name}/sweep", responses=answers(SweepCurve, _CURVE))
def curve(site: Here, name: Name) -> Response:
    """Show the elbow curve of the last sweep; 404 before the first one.

    `kept` are the k whose clusters can be previewed. `current` is false when images came or left
    since.
    """
    with site.open(name) as collection:
        return Documents(document(collection.service.sweep_curve()))


@router.get("/collections/{name}/sweep/{k}", responses=answers(SweepPreview, _PREVIEW))
def preview(
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
        return Documents(document(collection.service.sweep_preview(k)))
