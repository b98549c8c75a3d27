"""The connection to the SQLite file: what it raises is said in our words, wherever it is read."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import apsw

from imgclust.errors import DISK_FULL, CatalogError, ImgclustError, StorageError

P = ParamSpec("P")
R = TypeVar("R")

# What a file is that SQLite cannot make sense of; we wrote no text that is not UTF-8. An SQLError
# is not among them: a fault of ours raises it as well, and `Catalog.explain` tells which it was.
DAMAGED = (apsw.NotADBError, apsw.CorruptError, UnicodeDecodeError)
# Another process that locks the catalog for this long is as good as a disk that refuses.
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


def _in_our_words(method: Callable[P, R]) -> Callable[P, R]:
    """A cursor's method that raises errors of ours for what SQLite raises."""

    @functools.wraps(method)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return method(*arguments, **options)
        except (*DAMAGED, *REFUSED) as error:
            cursor: Any = arguments[0]
            raise in_words(error, cursor.connection.filename) from error

    return called


class Cursor(apsw.Cursor):
    """A cursor that raises `StorageError` and `CatalogError` for what SQLite raises."""

    execute = _in_our_words(apsw.Cursor.execute)
    executemany = _in_our_words(apsw.Cursor.executemany)
    fetchone = _in_our_words(apsw.Cursor.fetchone)
    fetchall = _in_our_words(apsw.Cursor.fetchall)
    __next__ = _in_our_words(apsw.Cursor.__next__)

    @property
    def get(self) -> Any:
        """The first column of the only row, as `apsw.Cursor.get`."""
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


class Table:
    """What reads and writes some tables of a catalog; `Catalog` has one of each."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._executemany = connection.executemany

    def _parsed(self, text: str) -> Any:
        """What a JSON text of ours holds; a `CatalogError` when it is damaged."""
        return parsed(text, self._connection.filename)


def in_words(error: Exception, path: str) -> ImgclustError:
    """What SQLite raised, as an error of ours."""
    if isinstance(error, apsw.FullError):
        folder = os.path.dirname(path)
        return StorageError(f"{folder} cannot be written: {DISK_FULL}")
    if isinstance(error, REFUSED):
        return StorageError(f"the catalog {path} cannot be used: {error}")
    return damaged(path, str(error))


def damaged(path: object, why: str) -> CatalogError:
    """The error for a file that is not what we wrote."""
    more = "" if "not a database" in why else "imgclust doctor says more; "
    return CatalogError(
        f"the catalog {path} is damaged ({why}); {more}put the file back from a backup, or move it "
        "away to start over"
    )


def parsed(text: str, path: str) -> Any:
    """What a JSON text holds that we wrote into the catalog at `path`.

    Raises
    ------
    CatalogError
        When it is not JSON any more.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise damaged(path, "a stored text is not JSON") from None
