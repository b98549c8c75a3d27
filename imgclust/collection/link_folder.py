"""The link folder: brought up to date after a command, its pages, where it is; room given back."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import paths
from imgclust.errors import LockedError, StoppedError, StorageError, UsageError
from imgclust.locks import FileLock
from imgclust.wording import counted, printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.links.syncer import LinksResult
    from imgclust.report.link_pages import FolderPages

# How often, and for how long in all, finished work checks whether it may update the links.
_LINKS_WAIT_S = 0.2
_LINKS_PATIENCE_S = 300.0
_FOLDERS = 3  # that are named where links were moved just now
# A larger catalog is not copied to make it smaller: not where a watcher has to wait for that, and
# not where it takes a minute.
_MOST_BESIDE_BYTES, _MOST_BYTES = 256 << 20, 2 << 30


def update(context: Context, *, dry_run: bool = False, check: bool = False) -> LinksResult:
    """See `Collection.links`."""
    link_syncer = context.link_syncer()
    if check:
        return link_syncer.check(progress=context.progress, stop=context.stop)
    if dry_run:
        return link_syncer.dry_run()
    result = link_syncer.sync(whole=True, progress=context.progress, stop=context.stop)
    context.keep()
    if context.catalog.checking.unpublished():  # what a full disk has left of a clustering
        context.recluster().drop_unfinished()
    if context.link_rules.pages:
        from imgclust.collection.images import make_previews  # which finishes links itself

        make_previews(context)
    context.catalog.ledger.queue_all_pages()
    finish_pages(context)
    _say_young(context)
    return result


def _say_young(context: Context) -> None:
    """Say what was moved too short ago to count: a watcher looks again by itself, this does not."""
    young = context.catalog.link_tree.moves("young")
    if not young:
        return
    folders = sorted({one.folder for one in young})
    named = ", ".join(map(printable, folders[:_FOLDERS]))
    more = f" and {len(folders) - _FOLDERS:,} more" if len(folders) > _FOLDERS else ""
    links = counted(len(young), "link was", "links were")
    they = "it counts" if len(young) == 1 else "they count"
    rest_s = 2 * context.settings.watch.settle_s
    context.say(
        f"{links} moved to {named}{more} just now; {they} from the next sync on, after {rest_s:g} "
        "s at rest (imgclust links)"
    )


def sync(context: Context) -> LinksResult:
    """See `Collection.sync_links`."""
    return context.link_syncer().sync(progress=context.progress, stop=context.stop)


def finish_links(context: Context) -> None:
    """Update the links after work that has succeeded.

    Another process may be at them: it takes what is queued too, or lets us. When neither happens
    in some minutes, or the person asks to stop, that is said and the links stay queued.

    Raises
    ------
    StorageError
        When the disk refuses; it says that the work itself is done.
    """
    from imgclust.links.inspect import LinksOfflineError

    deadline = time.monotonic() + _LINKS_PATIENCE_S
    link_syncer = context.link_syncer()
    outdated = link_syncer.counts_images
    while outdated or link_syncer.queued:
        try:
            link_syncer.sync(wait_s=0.0, progress=context.progress, stop=context.stop)
            outdated = False
        except LockedError as error:
            if time.monotonic() < deadline and not context.stop.wait(_LINKS_WAIT_S):
                continue
            context.say(f"{error}; the links follow later, or with imgclust links")
            return
        except StoppedError:
            context.say("the links are not all up to date yet; run imgclust links to finish")
            return
        except LinksOfflineError as error:
            context.say(str(error))
            return
        except StorageError as error:
            raise StorageError(f"what was asked for is done, but {error}") from error
        # What people are moving just now is looked at again when it is at rest.
        if link_syncer.queued and (
            time.monotonic() >= deadline or context.stop.wait(_LINKS_WAIT_S)
        ):
            break
    finish_pages(context)


def finish_space(context: Context) -> None:
    """Give space that the catalog no longer needs back to the disk, if that takes moments."""
    most = _MOST_BESIDE_BYTES if context.is_watching else _MOST_BYTES
    with contextlib.suppress(OSError):
        context.catalog.shrink(most_bytes=most)


def finish_pages(context: Context) -> None:
    """Make the pages of the link folder again; they are an aid, so that nothing fails for them."""
    try:
        write(context)
    except LockedError:
        return  # whoever is at the links makes them
    except StoppedError:
        context.say("the pages of the link folder are not all made; run imgclust links to finish")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        context.say(f"the pages of the link folder are made later: {error}")


def choose_links(context: Context, links: Path | None, roots: Sequence[bytes]) -> None:
    """Keep the link folder that a new collection is given; the caller holds the transaction."""
    from imgclust.links.inspect import LinkDisk

    if links is None:
        return
    wanted = Path(os.path.abspath(links.expanduser()))
    catalog = context.catalog
    if catalog.setting("link_folder") is None and not catalog.images.count():
        keep_apart(wanted, [*roots, *(known.path for known in catalog.roots.all())])
        catalog.store("link_folder", os.fsencode(wanted).hex())
        LinkDisk(catalog, wanted).note()  # before the first sync: it may go until then
    elif wanted != context.link_folder:
        raise UsageError(
            f"the links of this collection are in {context.link_folder}; "
            f"imgclust links --links {links} moves them"
        )


def move_links(context: Context, to: Path) -> LinksResult:
    """See `Collection.move_links`."""
    catalog = context.catalog
    wanted = Path(os.path.abspath(to.expanduser()))
    keep_apart(wanted, [root.path for root in catalog.roots.all()])
    # Held throughout: a sync in between would make the links again where nobody looks for them.
    lock = FileLock(context.folders.lock("links"), purpose="syncing the links of", wait_s=10.0)
    with lock:
        if wanted == context.link_folder:
            _take_disk(context)
        else:
            context.link_syncer().clear(progress=context.progress, stop=context.stop)
            clear(context)
            with catalog.transaction():
                catalog.store("link_folder", os.fsencode(wanted).hex())
                catalog.store("link_folders", {})
    return update(context)


def _take_disk(context: Context) -> None:
    """A person says that the links belong where they are said to be, whatever is mounted there."""
    from imgclust.links.inspect import LinkDisk

    if context.link_syncer().offline is not None:
        with context.catalog.transaction():
            LinkDisk(context.catalog, context.link_folder).forget()


def keep_apart(links: Path, roots: Iterable[bytes]) -> None:
    """Refuse a link folder in one of these folders, or around one."""
    for root in roots:
        if paths.overlaps(os.fsencode(links), root):
            raise UsageError(
                f"the link folder {links} and the images in {printable(root)} lie inside each "
                "other; choose another place with --links DIR"
            )


def write(context: Context, *, budget_s: float | None = None) -> bool:
    """Make the pages again whose folders have changed; False when the time did not suffice.

    Raises
    ------
    LockedError
        When another process is at the links.
    OSError
        When the disk refuses.
    """
    from imgclust.links.names import OUTLIERS

    with FileLock(context.folders.lock("links"), purpose="syncing the links of"):
        if context.link_syncer().offline is not None:
            return True
        pages = _pages(context)  # under the lock, since the link folder may move until then
        rules = context.link_rules
        if not rules.pages:
            pages.clear()
            return True
        names = {
            cluster: os.fsencode(path.name)
            for cluster, path in context.link_syncer().folders().items()
        }
        return pages.write(
            names,
            outliers=OUTLIERS if rules.outliers else None,
            budget_s=budget_s,
            progress=context.progress,
            stop=context.stop,
        )


def clear(context: Context) -> None:
    """Remove the pages; those that are made next are made whole."""
    if context.link_syncer().offline is None:
        _pages(context).clear()
    context.catalog.ledger.queue_all_pages()


def _pages(context: Context) -> FolderPages:
    from imgclust.report.link_pages import FolderPages

    return FolderPages(
        context.catalog,
        root=context.link_folder,
        thumbnails=context.folders.thumbnails,
        collection=context.name,
        order=context.link_rules.page_order,
    )
