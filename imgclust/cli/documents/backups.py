"""Documents about backups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, in_base64, loses, moment, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import Backup, Manifest, Restored


def backup(result: Backup) -> Document:
    """`backup`."""
    return {
        "collection": result.manifest.collection,
        **path_keys(result.path),
        "bytes": result.bytes,
        "sha256": result.sha256,
        "replaced": result.replaced,
        **_manifest(result.manifest),
    }


def restored(result: Restored) -> Document:
    """`restore`."""
    document: Document = {
        "collection": result.name,
        **path_keys(result.path),
        "links": text(os.fsencode(result.link_folder)),
        "links_moved": result.links_moved,
        "absent": [text(root) for root in result.absent],
        "dry_run": result.dry_run,
        **_manifest(result.manifest),
    }
    if any(loses(root) for root in result.absent):
        document["absent_bytes"] = [in_base64(root) for root in result.absent]
    return document


def _manifest(manifest: Manifest) -> Document:
    return {
        "made": moment(manifest.made),
        "schema": manifest.schema,
        "images": manifest.images,
        "distinct": manifest.distinct,
        "clusters": manifest.clusters,
        "names": manifest.names,
    }
