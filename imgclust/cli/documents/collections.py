"""Documents about collections side by side, and about settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, in_base64, loses, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import (
        CollectionList,
        CollectionPlace,
        CollectionRow,
        Deleted,
        EffectiveSettings,
    )


def collections(result: CollectionList) -> Document:
    """`collections`."""
    return {
        "index": text(os.fsencode(result.index.path)),
        "collections": [collection_row(row) for row in result.collections],
    }


def collection_place(result: CollectionPlace) -> Document:
    """`collections create` and `collections rename`."""
    return {"collection": result.name, **path_keys(result.path)}


def collection_deleted(result: Deleted) -> Document:
    """`collections delete`."""
    return {
        "collection": result.name,
        **path_keys(result.path),
        "links": result.links,
        "kept": [path_keys(path) for path in result.kept],
    }


def settings(result: EffectiveSettings, *, changed: bool) -> Document:
    """`config show`."""
    return {
        "index": text(os.fsencode(result.index.path)),
        "collection": result.collection,
        "cache": text(os.fsencode(result.cache)),
        "settings": [
            {"key": row.key, "value": row.value, "default": row.default, "from": row.origin}
            for row in result.settings
            if row.changed or not changed
        ],
    }


def collection_row(row: CollectionRow) -> Document:
    """A line of `collections`, and `collections delete --dry-run`."""
    document: Document = {
        "name": row.name,
        "images": row.images,
        "distinct": row.distinct,
        "bytes": row.size_bytes,
        "roots": [text(root) for root in row.roots],
        "watching": row.watching,
        "trouble": row.trouble,
    }
    if any(loses(root) for root in row.roots):
        document["roots_bytes"] = [in_base64(root) for root in row.roots]
    return document
