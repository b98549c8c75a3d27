"""The pages of the link folder, written when the links are in step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgclust.links import OUTLIERS
from imgclust.locks import FileLock
from imgclust.report import FolderPages

if TYPE_CHECKING:
    from imgclust.collection.context import Opened


def write(collection: Opened, *, budget_s: float | None = None) -> bool:
    """Make the pages again whose folders have changed; False when the time did not suffice.

    Raises
    ------
    LockedError
        When another process is at the links.
    OSError
        When the disk refuses.
    """
    with FileLock(collection.folders.lock("links"), purpose="syncing the links of"):
        pages = _pages(collection)  # under the lock, since the link folder may move until then
        rules = collection.link_rules
        if not rules.pages:
            pages.clear()
            return True
        folders = {
            cluster: os.fsencode(path.name)
            for cluster, path in collection.linking().folders().items()
        }
        return pages.write(
            folders,
            outliers=OUTLIERS if rules.outliers else None,
            budget_s=budget_s,
            progress=collection.progress,
            stop=collection.stop,
        )


def clear(collection: Opened) -> None:
    """Take the pages away; those that are made next are made whole."""
    _pages(collection).clear()
    collection.catalog.ledger.queue_all_pages()


def _pages(collection: Opened) -> FolderPages:
    return FolderPages(
        collection.catalog,
        root=collection.link_folder,
        thumbnails=collection.folders.thumbnails,
        collection=collection.name,
    )
