"""Documents about duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, path_keys

if TYPE_CHECKING:
    from imgclust.collection import Dismissed, Duplicate, DuplicateGroup, DuplicatesResult


def duplicates(result: DuplicatesResult) -> Document:
    """`duplicates`."""
    return {
        "groups": _groups(result.groups),
        "similar": _groups(result.similar),
        "thresholds": {"near": result.thresholds.near, "similar": result.thresholds.similar},
        "images": result.images,
        "unseen": result.unseen,
        "hard_links": result.hard_links,
    }


def dismissed(result: Dismissed) -> Document:
    """`duplicates dismiss`."""
    return {"images": list(result.images), "dismissed": not result.undone}


def _groups(groups: Sequence[DuplicateGroup]) -> list[Document]:
    return [
        {
            "kind": group.kind,
            "images": [_image(one) for one in group.images],
            "reason": group.reason or None,
            "beside": None if group.beside is None else _image(group.beside),
        }
        for group in groups
    ]


def _image(one: Duplicate) -> Document:
    return {
        "id": one.id,
        **path_keys(one.path),
        "score": round(one.score, 6),
        "width": one.width,
        "height": one.height,
        "bytes": one.bytes,
        "hard_links": [path_keys(path) for path in one.hard_links],
        "relation": one.relation,
    }
