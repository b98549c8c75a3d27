"""The connection to the SQLite file: what it raises is said in our words, wherever it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import apsw

from imgclust.errors import CatalogError, ImgclustError, StorageError

# What a file is that SQLite cannot make sense of; a schema with a flipped letter is an SQLError, a
# text that is no UTF-8 any more a UnicodeDecodeError.
DAMAGED = (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, UnicodeDecodeError)
# Another process that holds the catalog for so long is as good as a disk that refuses.
REFUSED = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.LockedError,
    apsw.PermissionsError,
    apsw.AuthError,
)


class Cursor(apsw.Cursor):
    """A cursor that raises `StorageError` and `CatalogError` for what SQLite raises."""

    def execute(self, *arguments: Any, **options: Any) -> apsw.Cursor:
        """See `apsw.Cursor.execute`."""
        try:
            return super().execute(*arguments, **options)
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error

    def executemany(self, *arguments: Any, **options: Any) -> apsw.Cursor:
        """See `apsw.Cursor.executemany`."""
        try:
            return super().executemany(*arguments, **options)
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error

    def fetchone(self) -> Any:
        """See `apsw.Cursor.fetchone`."""
        try:
            return super().fetchone()
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error

    def fetchall(self) -> list[Any]:
        """See `apsw.Cursor.fetchall`."""
        try:
            return super().fetchall()
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error

    @property
    def get(self) -> Any:
        """See `apsw.Cursor.get`."""
        try:
            return super().get
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error

    # apsw's stub has it return the cursor, whose `__next__` is C: ours would run for each row.
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:  # no Python of ours between two rows: there may be a million
            yield from iter(super().__next__, None)
        except (*DAMAGED, *REFUSED) as error:
            raise in_words(error, self.connection.filename) from error


def in_words(error: Exception, path: str) -> ImgclustError:
    """What SQLite raised, as an error of ours."""
    if isinstance(error, apsw.FullError):
        folder = os.path.dirname(path)
        return StorageError(f"{folder} cannot be written: its disk is full; free some space")
    if isinstance(error, REFUSED):
        return StorageError(f"the catalog {path} cannot be used: {error}")
    return damaged(path, str(error))


def damaged(path: object, why: str) -> CatalogError:
    """The error for a file that is not what we wrote."""
    more = "" if "not a database" in why else "imgclust doctor says more; "
    return CatalogError(
        f"the catalog {path} is damaged ({why}); {more}put the file back from a backup, or move it "
        "away to begin anew"
    )


def parsed(text: str) -> Any:
    """What a JSON text holds that we wrote.

    Raises
    ------
    CatalogError
        When it is no JSON any more.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise damaged("catalog.sqlite3", "a stored text is no JSON") from None
