"""The place of the link folder: chosen for a new collection, changed for another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.collection import folders, link_folder
from imgclust.errors import UsageError
from imgclust.locks import FileLock

if TYPE_CHECKING:
    from imgclust.collection.context import Opened


def choose_links(collection: Opened, links: Path | None, roots: Sequence[bytes]) -> None:
    """Keep the link folder that a new collection is given; the caller holds the transaction."""
    if links is None:
        return
    wanted = Path(os.path.abspath(links.expanduser()))
    catalog = collection.catalog
    if catalog.setting("link_folder") is None and not catalog.images.count():
        _keep_apart(wanted, [*roots, *(known.path for known in catalog.roots.all())])
        catalog.store("link_folder", os.fsencode(wanted).hex())
    elif wanted != collection.link_folder:
        raise UsageError(
            f"the links of this collection are in {collection.link_folder}; "
            f"imgclust links --links {links} moves them"
        )


def move_links(collection: Opened, to: Path) -> None:
    """See `Collection.move_links`."""
    catalog = collection.catalog
    wanted = Path(os.path.abspath(to.expanduser()))
    _keep_apart(wanted, [root.path for root in catalog.roots.all()])
    # Held throughout: a sync in between would make the links again where nobody looks for them.
    lock = FileLock(collection.folders.lock("links"), purpose="syncing the links of", wait_s=10.0)
    with lock:
        if wanted == collection.link_folder:
            return
        collection.linking().clear(progress=collection.progress, stop=collection.stop)
        link_folder.clear(collection)
        with catalog.transaction():
            catalog.store("link_folder", os.fsencode(wanted).hex())
            catalog.store("link_folders", {})


def _keep_apart(links: Path, roots: Iterable[bytes]) -> None:
    for root in roots:
        if folders.overlaps(os.fsencode(links), root):
            raise UsageError(
                f"the link folder {links} and the images in {os.fsdecode(root)} lie inside each "
                "other; choose another place with --links DIR"
            )
