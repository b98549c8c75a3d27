"""Copies of a catalog: one consistent file while others write, and what such a file holds."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import apsw

from imgclust.catalog.cursor import DAMAGED, REFUSED, damaged
from imgclust.errors import DISK_FULL, CatalogError, StorageError, reason_of
from imgclust.failpoints import passing
from imgclust.fs import free_bytes, put_in_place, sync_file, sync_folder
from imgclust.numbers import is_digits
from imgclust.paths import ASIDE
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import no_room

# Pages copied between two looks at the stop flag: 8 MB.
_PAGES = 2000
# Steps of SQLite's machine between two looks at it while a copy is checked.
_STEPS = 1_000_000
# Where the header of a database file has what is set in a copy, and what says that nobody needs a
# write-ahead log to read it: https://sqlite.org/fileformat2.html#the_database_header
_JOURNAL_AT, _NO_LOG = 18, b"\x01\x01"
_APPLICATION_AT = 68

_KEPT = "catalog-v{}.sqlite3"

# In the words of every version of the tables.
_COUNTS = {
    "version": "PRAGMA user_version",
    "images": "SELECT count(*) FROM images",
    "distinct": "SELECT count(*) FROM contents",
    "clusters": "SELECT count(*) FROM clustering_clusters WHERE clustering = "
    "(SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_clustering')",
    "names": "SELECT count(*) FROM clusters WHERE name IS NOT NULL",
}


@dataclass(frozen=True)
class CatalogFacts:
    """What a copy of a catalog holds; `names` counts the clusters of all times that have one."""

    version: int
    images: int
    distinct: int
    clusters: int
    names: int
    roots: tuple[bytes, ...]


@dataclass(frozen=True)
class KeptCatalog:
    """A catalog as it was before a newer imgclust brought it up to date."""

    version: int
    path: Path
    bytes: int


def size_of(connection: apsw.Connection) -> int:
    """Bytes that a copy of the catalog takes."""
    pages, page = (connection.execute(f"PRAGMA {one}").get for one in ("page_count", "page_size"))
    return int(pages) * int(page)


def copy_into(
    source: apsw.Connection,
    target: Path,
    *,
    application_id: int,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> None:
    """Copy a catalog as it is now into `target`, an empty file that nobody else uses.

    One read transaction holds the state, so that writers neither wait nor make it begin again.
    The caller syncs the file.

    Raises
    ------
    CatalogError
        When the source is damaged.
    StorageError
        When the target cannot be written, a full disk included.
    StoppedError
        When the person asked to stop.
    """
    stop = stop or StopFlag()
    # Nobody else has the file: SQLite's locks are left away, as not every disk has them.
    address = f"{target.absolute().as_uri()}?nolock=1"
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    try:
        with contextlib.closing(apsw.Connection(address, flags=flags)) as made:
            made.execute("PRAGMA journal_mode = OFF").fetchall()
            made.execute("PRAGMA synchronous = OFF")
            source.execute("BEGIN")
            try:
                source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
                with made.backup("main", source, "main") as copying:
                    while not copying.done:
                        stop.check()
                        copying.step(_PAGES)
                        total = copying.page_count
                        progress("copying the catalog", total - copying.remaining, total)
            finally:
                if source.in_transaction:
                    source.execute("ROLLBACK")
    except DAMAGED as error:
        raise damaged(source.filename, str(error)) from error
    except REFUSED as error:
        why = DISK_FULL if isinstance(error, apsw.FullError) else error
        raise StorageError(f"{target.parent} cannot be written: {why}") from error
    mark(target, application_id)


def mark(file: Path, application_id: int) -> None:
    """Say in the header of a database whose it is, and that it has no write-ahead log."""
    with file.open("r+b") as stream:
        stream.seek(_JOURNAL_AT)
        stream.write(_NO_LOG)
        stream.seek(_APPLICATION_AT)
        stream.write(application_id.to_bytes(4, "big"))


def marked(start: bytes, application_id: int) -> bool:
    """Whether the first bytes of a file are those of a database with this mark."""
    end = _APPLICATION_AT + 4
    mark = application_id.to_bytes(4, "big")
    return start.startswith(b"SQLite format 3\0") and start[_APPLICATION_AT:end] == mark


def facts_of(
    file: Path, *, progress: Progress = silent, stop: StopFlag | None = None
) -> CatalogFacts:
    """Check a copy that nobody writes, of any version, and say what it holds.

    Raises
    ------
    CatalogError
        When it is damaged.
    StoppedError
        When the person asked to stop.
    """
    stop = stop or StopFlag()
    progress("checking the copy", 0, None)
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        with contextlib.closing(apsw.Connection(address, flags=flags)) as copy:
            copy.set_progress_handler(stop.is_set, _STEPS)
            found = str(copy.execute("PRAGMA integrity_check(1)").get)
            if found != "ok":
                raise CatalogError(found)
            counts = {name: int(copy.execute(query).get) for name, query in _COUNTS.items()}
            watched = copy.execute("SELECT path FROM roots WHERE kind = 'watched' ORDER BY id")
            return CatalogFacts(**counts, roots=tuple(bytes(path) for (path,) in watched))
    except apsw.InterruptError:
        stop.check()
        raise
    except (*DAMAGED, apsw.SQLError) as error:
        raise CatalogError(str(error)) from error


def keep_before_upgrade(connection: apsw.Connection, version: int) -> Path | None:
    """Keep the catalog as it is, before it is brought up to date; None when it holds nothing.

    The caller holds the write lock. One copy is kept of each version, in the folder `set-aside`
    beside the catalog; it is whole, or the one before it is.

    Raises
    ------
    StorageError
        When there is no room for it, or the disk refuses; nothing has changed then.
    """
    held = "SELECT EXISTS (SELECT 1 FROM images) + EXISTS (SELECT 1 FROM roots)"
    if not connection.execute(held).get:
        return None
    path = Path(connection.filename)
    folder, needed = path.parent / ASIDE, size_of(connection)
    kept = folder / _KEPT.format(version)
    temporary = folder / f".{kept.name}.part"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        temporary.unlink(missing_ok=True)
        free = free_bytes(folder)
        if free < needed:
            said = no_room("that", needed, folder, free)
            raise StorageError(
                f"the catalog {path} is of version {version} and is copied before it is brought "
                f"up to date: {said}; free some space"
            )
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # Not `fs.replacing`: SQLite writes the copy by its path.
        # SQLite copies no connection that writes; another one sees what this one has locked.
        with contextlib.closing(
            apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        ) as reader:
            application = int(connection.execute("PRAGMA application_id").get)
            copy_into(reader, temporary, application_id=application)
        passing("upgrade.copied")
        sync_file(temporary)
        put_in_place(temporary, kept)
        passing("upgrade.kept")
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {reason_of(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return kept


def kept_catalogs(folder: Path) -> list[KeptCatalog]:
    """The catalogs that are kept from before upgrades, by version."""
    found = []
    for file in folder.glob(_KEPT.format("*")):
        version = file.name.removeprefix("catalog-v").removesuffix(".sqlite3")
        if is_digits(version):
            found.append(KeptCatalog(int(version), file, file.stat().st_size))
    return sorted(found, key=lambda one: one.version)
