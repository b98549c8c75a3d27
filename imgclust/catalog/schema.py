"""Whether a catalog is ours, of which version, and whether its tables are as we made them."""

from __future__ import annotations

import contextlib
import time

import apsw

from imgclust.catalog.copies import keep_before_upgrade
from imgclust.catalog.cursor import damaged
from imgclust.catalog.migrations import MIGRATIONS
from imgclust.errors import CatalogError
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
