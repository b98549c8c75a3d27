"""A collection made from a backup, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgclust.backup.file import Manifest, extract, read_manifest, verify
from imgclust.catalog import connection, copies
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.copies import facts_of
from imgclust.errors import BackupError, CatalogError, StorageError, UsageError, reason_of
from imgclust.failpoints import passing
from imgclust.fs import free_bytes, sync_file, sync_folder
from imgclust.locks import FileLock
from imgclust.paths import CATALOG, collections_in
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import minute, no_room, printable

# What is being restored lies here, in an index folder; collections lie one folder higher.
RESTORING = ".restoring"
_LOCK = "lock"
# For what the first steps write beside the catalog.
_MORE_BYTES = 16 << 20


@dataclass(frozen=True)
class Restored:
    """A collection that was made from a backup.

    Attributes
    ----------
    name, path
        Its name and folder.
    link_folder
        Where its links will be.
    links_moved
        That this is not where they were, since another collection has its links there.
    absent
        Watched folders that are not on this machine.
    manifest
        What the backup says about itself.
    dry_run
        Only the backup was verified.
    """

    name: str
    path: Path
    link_folder: Path
    links_moved: bool
    absent: tuple[bytes, ...]
    manifest: Manifest
    dry_run: bool


def restore_into(
    file: Path,
    folder: Path,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Restored:
    """Make the collection `folder`, which does not exist, from a backup.

    All is verified and prepared in a folder that no command looks into, then renamed.

    Raises
    ------
    NothingThereError, UsageError, BackupError
        When the file is absent, no backup, damaged, or of a newer version.
    StorageError
        When there is no room, or the disk refuses.
    LockedError
        When another process restores into the same index folder.
    """
    stop = stop or StopFlag()
    manifest = read_manifest(file)
    with _reporting(folder.parent):
        if dry_run:
            verify(file, progress=progress, stop=stop)
            return _restored(folder, folder / "links", False, manifest, dry_run=True)
        with _workplace(folder.parent) as work:
            half = work / folder.name
            half.mkdir(mode=0o700)
            _require_space(file, half)
            extract(file, half / CATALOG, progress=progress, stop=stop)
            passing("restore.copied")
            try:
                facts_of(half / CATALOG, progress=progress, stop=stop)
            except CatalogError as error:
                raise BackupError(
                    f"the catalog in {printable(file)} is damaged ({error})"
                ) from None
            copies.mark(half / CATALOG, connection.APPLICATION_ID)
            link_folder, moved = _prepare(half / CATALOG, manifest, folder)
            sync_file(half / CATALOG)
            sync_folder(half)
            passing("restore.prepared")
            stop.check()
            try:
                os.rename(half, folder)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise
                raise UsageError(
                    f"{folder.name!r} is taken in the index folder {folder.parent}; choose another "
                    "name with --collection NAME"
                ) from None
            passing("restore.renamed")
            sync_folder(folder.parent)
    return _restored(folder, link_folder, moved, manifest, dry_run=False)


def _restored(
    folder: Path, links: Path, moved: bool, manifest: Manifest, *, dry_run: bool
) -> Restored:
    return Restored(
        name=folder.name,
        path=folder,
        link_folder=links,
        links_moved=moved,
        absent=tuple(root for root in manifest.roots if not os.path.isdir(root)),
        manifest=manifest,
        dry_run=dry_run,
    )


def _prepare(path: Path, manifest: Manifest, folder: Path) -> tuple[Path, bool]:
    """Bring the catalog up to date, and have all links looked at; returns where they will be."""
    with Catalog(path) as catalog:
        kept = catalog.setting("link_folder")
        given = None if not kept else Path(os.fsdecode(bytes.fromhex(kept)))
        before = Path(os.fsdecode(manifest.folder))
        moved = False
        if given is not None and given.is_absolute():
            if given.is_relative_to(before):  # it goes along with the collection
                given = given.relative_to(before)
            elif _has_links_at(given, manifest, folder):
                given, moved = None, True
        with catalog.transaction():
            catalog.store("link_folder", None if given is None else os.fsencode(given).hex())
            # What the ledger says is there may not be; a look at each link makes it so. Nor does
            # it know the links that were made since, and who moved others.
            catalog.store("links_restored", time.time())
            catalog.store("link_disk", None)
            catalog.store("link_tree_read", False)
            catalog.ledger.queue_review(None)
            catalog.ledger.queue_links(catalog.ledger.orphans())
            when = minute(manifest.made)
            catalog.event(
                "restore", f"restored from a backup of {when} by imgclust {manifest.imgclust}"
            )
        catalog.ledger.queue_all_pages()
    return folder / (given or "links"), moved


def _has_links_at(links: Path, manifest: Manifest, folder: Path) -> bool:
    """Whether another collection of this machine has its links there, such as the original one."""
    before = Path(os.fsdecode(manifest.folder)).parent
    for index in dict.fromkeys((before, folder.parent)):
        for name in collections_in(index):
            try:
                with Catalog(index / name / CATALOG) as other:
                    kept = other.setting("link_folder")
            except (CatalogError, StorageError):
                return True  # nobody can tell
            if kept and os.path.realpath(index / name / os.fsdecode(bytes.fromhex(kept))) == (
                os.path.realpath(links)
            ):
                return True
    return False


def _require_space(file: Path, folder: Path) -> None:
    needed = file.stat().st_size + _MORE_BYTES
    free = free_bytes(folder)
    if free < needed:
        said = no_room("the collection", needed, folder.parents[1], free)
        raise StorageError(f"{said}; free some space, or use another disk")


@contextlib.contextmanager
def _workplace(index: Path) -> Iterator[Path]:
    """An empty folder in the index folder, of this process alone, gone at the end."""
    work = index / RESTORING
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(work / _LOCK, purpose="restoring"):
        _clear(work)
        try:
            yield work
        finally:
            _clear(work)
            with contextlib.suppress(OSError):
                (work / _LOCK).unlink()
                work.rmdir()


def _clear(work: Path) -> None:
    """Remove what a restore has left, a killed one included."""
    for child in _others(work):
        shutil.rmtree(child, ignore_errors=True)


def _others(work: Path) -> Sequence[Path]:
    return [child for child in work.iterdir() if child.name != _LOCK]


@contextlib.contextmanager
def _reporting(index: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = index if error.filename is None else error.filename
        raise StorageError(f"{where} cannot be written: {reason_of(error)}") from None
