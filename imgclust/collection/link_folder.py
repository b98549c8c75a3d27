"""The pages of the link folder, written when the links are up to date."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgclust.links import OUTLIERS
from imgclust.locks import FileLock
from imgclust.report import FolderPages
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import paths
from imgclust.collection import link_folder
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
import contextlib
import time
from typing import TYPE_CHECKING

from imgclust.errors import LockedError, StoppedError

if TYPE_CHECKING:
    from imgclust.collection.context import Opened


# How often, and for how long in all, finished work checks whether it may update the links.
_LINKS_WAIT_S = 0.2
_LINKS_PATIENCE_S = 300.0
# A larger catalog is not copied to make it smaller: not where a watcher has to wait for that, and
# not where it takes a minute.
_MOST_BESIDE_BYTES, _MOST_BYTES = 256 << 20, 2 << 30


def finish_links(collection: Opened) -> None:
    """Update the links after work that has succeeded.

    Another process may be at them: it takes what is queued too, or lets us. When neither happens
    in some minutes, or the person asks to stop, that is said and the links stay queued.
    """
    deadline = time.monotonic() + _LINKS_PATIENCE_S
    linking = collection.linking()
    outdated = linking.counts_images
    while outdated or linking.queued:
        try:
            linking.sync(wait_s=0.0, progress=collection.progress, stop=collection.stop)
            outdated = False
        except LockedError as error:
            if time.monotonic() < deadline and not collection.stop.wait(_LINKS_WAIT_S):
                continue
            collection.say(f"{error}; the links follow later, or with imgclust links")
            return
        except StoppedError:
            collection.say("the links are not all up to date yet; run imgclust links to finish")
            return
    finish_pages(collection)


def finish_space(collection: Opened) -> None:
    """Give space that the catalog no longer needs back to the disk, if that takes moments."""
    most = _MOST_BESIDE_BYTES if collection.is_watching else _MOST_BYTES
    with contextlib.suppress(OSError):
        collection.catalog.shrink(most_bytes=most)


def finish_pages(collection: Opened) -> None:
    """Make the pages of the link folder again; they are an aid, so that nothing fails for them."""
    try:
        link_folder.write(collection)
    except LockedError:
        return  # whoever is at the links makes them
    except StoppedError:
        collection.say(
            "the pages of the link folder are not all made; run imgclust links to finish"
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        collection.say(f"the pages of the link folder are made later: {error}")


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
        if paths.overlaps(os.fsencode(links), root):
            raise UsageError(
                f"the link folder {links} and the images in {printable(root)} lie inside each "
                "other; choose another place with --links DIR"
            )


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
