"""Connections to a catalog: whether it is ours, of which version, and brought up to date."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from imgclust.catalog.copies import keep_before_upgrade
from imgclust.catalog.cursor import damaged
from imgclust.catalog.migrations import MIGRATIONS
from imgclust.errors import DISK_FULL, CatalogError, StorageError
from imgclust.failpoints import passing

# "imgc": marks the file as ours, so that a foreign database is never changed.
APPLICATION_ID = 0x696D6763

VERSION = len(MIGRATIONS)


def migrate(connection: apsw.Connection) -> None:
    """Bring the catalog up to date in one transaction; what it was before is kept beside it.

    Raises
    ------
    CatalogError
        When the file belongs to another program, or a newer imgclust wrote it.
    StorageError
        When there is no room for the copy that is kept; nothing has changed then.
    """
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    if version == VERSION and application == APPLICATION_ID:
        return
    _known(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _known(connection)
        kept = keep_before_upgrade(connection, version) if version else None
        for step in MIGRATIONS[version:]:
            try:
                connection.execute(step)
            except apsw.SQLError as error:
                found = differences(connection, version)
                if found:
                    raise damaged(connection.filename, found[0]) from error
                raise
        if kept is not None:
            connection.execute(
                "INSERT INTO events (at, kind, sentence) VALUES (?, 'upgrade', ?)",
                (
                    time.time(),
                    f"the catalog was brought from version {version} to {VERSION}; as it was "
                    f"before, it is kept in {kept}",
                ),
            )
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        passing("upgrade.commit")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def differences(connection: apsw.Connection, version: int = VERSION) -> list[str]:
    """What of a catalog's tables and indexes is not as its version has them, a line each."""
    with contextlib.closing(apsw.Connection(":memory:")) as made:
        for step in MIGRATIONS[:version]:
            made.execute(step)
        expected, found = _schema(made), _schema(connection)
    return [
        f"{name} is not as it was made"
        for name in sorted(expected)
        if found.get(name) != expected[name]
    ]


def _schema(connection: apsw.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT type || ' ' || name, sql FROM sqlite_schema")
    return {str(name): str(sql) for name, sql in rows}


def _known(connection: apsw.Connection) -> int:
    """The version of a catalog that this imgclust can bring up to date."""
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if (version or tables) and _pragma(connection, "application_id") != APPLICATION_ID:
        raise CatalogError(f"{connection.filename} is not an imgclust catalog; move it away")
    if version > VERSION:
        raise CatalogError(
            f"the catalog {connection.filename} is of version {version}, and this imgclust knows "
            f"up to {VERSION}; upgrade imgclust"
        )
    return version


def _pragma(connection: apsw.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").get)


# A commit of ours is short; whoever waits longer than this waits for something that hangs.
_BUSY_S = 30.0
# How often a writer that waits for another one looks again: SQLite's own waits grow to a tenth of
# a second.
_LOOK_S = 0.005
# Keys are hashes, so that a batch touches pages all over the file, and each goes into the log
# whole: small pages make a commit cheap. An embedding of 4 KiB fills one overflow page.
_PAGE_BYTES = 4096
# The inner pages of all tables, and the leaves that a batch comes back to, at 10^6 images.
_CACHE_KIB = 16 * 1024
# Pages in the log before it is moved into the file: a batch writes about 200, of which the next
# ones write many again. A tenth of a second's reading when a catalog is opened after a crash.
_LOG_PAGES = 4000
# SQLite needs so much beside the file before it reads one: its shared memory.
_LEAST_BYTES = 64 * 1024

_REFUSED = (apsw.CantOpenError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError)


def connect(path: Path) -> tuple[apsw.Connection, str]:
    """An open connection, and why nothing can be written through it: empty where it can.

    Raises
    ------
    apsw.Error
        When the file can be neither written nor read.
    CatalogError
        When it is foreign or from a newer version.
    """
    try:
        return _for_writing(path), ""
    except _REFUSED:
        why = why_not_writable(path.parent)
        if not why or not path.is_file():
            raise
        log = path.with_name(f"{path.name}-wal")
        # Who has the catalog open has made SQLite's shared memory beside it, by which another
        # process reads it too. Where that cannot be had nobody has it open.
        for immutable in (False, True):
            with contextlib.suppress(*_REFUSED):
                if not (immutable and log.exists() and log.stat().st_size):
                    return _for_reading(path, why, immutable=immutable), why
        raise


def why_not_writable(folder: Path) -> str:
    """Why nothing can be written into a folder, and the cure; empty where the system sees none."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return error.strerror or str(error)
    if disk.f_flag & os.ST_RDONLY:
        return "its file system is read-only; mount it for writing, or use another place"
    if disk.f_bavail * disk.f_frsize < _LEAST_BYTES:
        return DISK_FULL
    if not os.access(folder, os.W_OK):
        return "its permissions forbid it; correct them, or use another place"
    return ""


def _for_writing(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_handler(_patience())
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        if connection.execute("PRAGMA journal_mode = WAL").get != "wal":
            raise CatalogError(
                f"SQLite refuses its write-ahead log in {path.parent}; "
                "use an index folder on a local disk"
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _for_reading(path: Path, why: str, *, immutable: bool) -> apsw.Connection:
    """A connection that only reads; an immutable file's needs nothing beside it."""
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    connection = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        connection.set_busy_handler(_patience())
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        migrate(connection)
    except apsw.ReadOnlyError:
        connection.close()
        raise StorageError(
            f"the catalog {path} is of an older version and has to be brought up to date first, "
            f"but it cannot be written: {why}"
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _patience() -> Callable[[int], bool]:
    """Waits for other writers; SQLite calls it with the number of tries so far."""
    until = 0.0

    def wait(tries: int) -> bool:
        nonlocal until
        now = time.monotonic()
        if tries == 0:
            until = now + _BUSY_S
        time.sleep(_LOOK_S)
        return now < until

    return wait
