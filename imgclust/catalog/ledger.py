"""The link ledger: every entry that we made in the link folder, or are about to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import apsw

# folder, entry, image, target, mode, state, device, inode, size, mtime_ns
LedgerValues = tuple[bytes, bytes, int, bytes, str, str, int, int, int, int]

_COLUMNS = "folder, entry, image, target, mode, state, device, inode, size, mtime_ns"


class LinkLedger:
    """The table link_ledger; each writing method is one durable transaction."""

    def __init__(
        self,
        connection: apsw.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._transaction = transaction

    def select(self, condition: str, *values: object) -> list[LedgerValues]:
        """Rows that meet an SQL condition."""
        rows: list[Any] = self._connection.execute(
            f"SELECT {_COLUMNS} FROM link_ledger WHERE {condition}", tuple(values)
        ).fetchall()
        return rows

    def all(self) -> Iterator[LedgerValues]:
        """All rows, by folder and entry."""
        yield from self.select("1 ORDER BY folder, entry")

    def folders(self) -> list[bytes]:
        """Folders that hold an entry of ours."""
        rows = self._connection.execute("SELECT DISTINCT folder FROM link_ledger ORDER BY folder")
        return [bytes(folder) for (folder,) in rows]

    def orphans(self) -> list[int]:
        """Images that have an entry and are not in the catalog any more."""
        rows = self._connection.execute(
            "SELECT DISTINCT image FROM link_ledger WHERE NOT EXISTS "
            "(SELECT 1 FROM images WHERE id = image) ORDER BY image"
        )
        return [int(image) for (image,) in rows]

    def put(self, rows: Sequence[LedgerValues]) -> None:
        """Insert or replace rows."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO link_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def forget(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Delete rows by (folder, entry)."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM link_ledger WHERE folder = ? AND entry = ?", entries
            )

    def count(self) -> int:
        """Number of entries that are made."""
        return int(
            self._connection.execute("SELECT count(*) FROM link_ledger WHERE state = 'done'").get
        )
