"""Documents about the folders that images come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, in_base64, loses, moment, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import MovedRoot, RemovedRoot, RootRow


def roots(rows: Sequence[RootRow]) -> Document:
    """`roots`."""
    return {
        "roots": [
            {
                **path_keys(row.path),
                "kind": row.kind,
                "state": row.state,
                "reason": row.reason,
                "images": row.images,
                "missing": row.missing,
                "scanned": None if row.scanned is None else moment(row.scanned),
                "device": None
                if row.device is None
                else f"{os.major(row.device)}:{os.minor(row.device)}",
            }
            for row in rows
        ]
    }


def root_moved(result: MovedRoot) -> Document:
    """`roots move`."""
    document: Document = {
        "old": text(result.old),
        "new": text(result.new),
        "images": result.images,
        "compared": result.compared,
        "absent": result.absent,
        "doubled": result.doubled,
        "already": result.already,
        "dry_run": result.dry_run,
    }
    for name, path in (("old", result.old), ("new", result.new)):
        if loses(path):
            document[f"{name}_bytes"] = in_base64(path)
    return document


def root_removed(result: RemovedRoot) -> Document:
    """`roots remove`."""
    return {
        **path_keys(result.path),
        "watched": result.watched,
        "images": result.images,
        "images_removed": result.images_removed,
        "dry_run": result.dry_run,
    }
