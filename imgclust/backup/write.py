"""A backup written: beside its target under another name, and put in its place when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgclust.backup.file import APPLICATION_ID, Manifest, finish, not_a_file, read_manifest
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.copies import facts_of
from imgclust.errors import (
    BackupError,
    CatalogError,
    LockedError,
    NothingThereError,
    StorageError,
    UsageError,
    reason_of,
    writing,
)
from imgclust.failpoints import passing
from imgclust.fs import free_bytes, put_in_place
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import no_room, printable

# What the manifest needs beside the catalog, generously.
_MORE_BYTES = 1 << 20


@dataclass(frozen=True)
class Backup:
    """A backup that was written; `replaced` says that an older one stood there."""

    path: Path
    bytes: int
    sha256: str
    manifest: Manifest
    replaced: bool


def write_backup(
    catalog: Catalog,
    to: Path,
    *,
    collection: str,
    folder: Path,
    version: str,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Backup:
    """Write the collection as it is now into one file, while others continue to write to it.

    An older backup of the same collection is replaced, by a finished one only; what a kill leaves
    is a temporary file beside it, which the next backup to the same place clears away.

    Raises
    ------
    UsageError
        When something else exists at `to`, or its folder does not exist.
    LockedError
        When another process is writing the same backup.
    CatalogError
        When the catalog is damaged; an older backup stays.
    StorageError
        When the disk is full or refuses.
    """
    stop = stop or StopFlag()
    target = Path(os.path.realpath(to))
    if not target.parent.is_dir():
        raise UsageError(f"the folder {target.parent} does not exist; create it, or mount its disk")
    identity = _identity(catalog, folder)
    _check_target(target, identity)
    with writing(printable(target)), _temporary(target) as (stream, temporary):
        _require_space(catalog, target)
        catalog.copy_to(temporary, application_id=APPLICATION_ID, progress=progress, stop=stop)
        passing("backup.copied")
        try:
            facts = facts_of(temporary, progress=progress, stop=stop)
        except CatalogError as error:
            raise CatalogError(
                f"the catalog {catalog.path} is damaged ({error}) and was not backed up; keep your "
                "older backups, imgclust doctor says more"
            ) from error
        manifest = Manifest(
            id=identity,
            collection=collection,
            folder=os.fsencode(folder),
            made=time.time(),
            imgclust=version,
            schema=facts.version,
            images=facts.images,
            distinct=facts.distinct,
            clusters=facts.clusters,
            names=facts.names,
            roots=facts.roots,
        )
        digest = finish(stream, manifest, progress=progress, stop=stop)
        size = stream.tell()
        os.fsync(stream.fileno())
        passing("backup.written")
        replaced = _check_target(target, identity)
        put_in_place(temporary, target)
        passing("backup.renamed")
    return Backup(target, size, digest, manifest, replaced)


def _identity(catalog: Catalog, folder: Path) -> str:
    """The collection's identity; where none can be stored, that of its folder's path."""
    known = catalog.setting("id")
    if known is None and catalog.writable:
        with catalog.transaction():
            known = catalog.setting("id")
            if known is None:
                known = uuid.uuid4().hex
                catalog.store("id", known)
    return str(known or f"folder {hashlib.sha256(os.fsencode(folder)).hexdigest()}")


def _check_target(target: Path, identity: str) -> bool:
    """Whether an older backup of the same collection is there; anything else is refused."""
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{printable(target)} cannot be written: {reason_of(error)}") from None
    if not stat.S_ISREG(mode):
        raise not_a_file(target)
    try:
        there = read_manifest(target)
    except NothingThereError:
        return False
    except UsageError:
        raise UsageError(
            f"{printable(target)} exists and is not an imgclust backup; choose another name"
        ) from None
    except BackupError as error:
        raise UsageError(f"{error}, or move it away to write a new one there") from None
    if there.id != identity:
        raise UsageError(
            f"{printable(target)} is the backup of another collection ({there.collection}, in "
            f"{printable(there.folder)}); choose another name"
        )
    return True


def _require_space(catalog: Catalog, target: Path) -> None:
    needed = catalog.size_bytes + _MORE_BYTES
    free = free_bytes(target.parent)
    if free < needed:
        said = no_room("the backup", needed, target.parent, free)
        raise StorageError(f"{said}; free some space, or use another disk")


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """An empty file beside the target, of this process alone; gone unless it was renamed.

    Not `fs.replacing`: SQLite writes it by its path, and a lock on it keeps other processes away.
    """
    # Hidden, so that no watcher takes it in; of one length, however long the target's name is.
    mark = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    path = target.with_name(f".imgclust-backup-{mark}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            theirs = not _is_at(path, stream)
        except BlockingIOError:
            theirs = True
        if theirs:
            raise LockedError(
                f"another process is writing {printable(target)}; wait for it or stop it"
            )
        try:
            os.ftruncate(stream.fileno(), 0)  # what a killed backup has left
            yield stream, path
        finally:
            if _is_at(path, stream):
                path.unlink()


def _is_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
