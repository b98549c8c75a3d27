"""The link ledger kept in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from imgclust.catalog import Catalog
from imgclust.links import (
    Ledger,
    LedgerRow,
)


class CatalogLedger(Ledger):
    """The link ledger on the catalog's table."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def rows_of(self, images: Sequence[int]) -> list[LedgerRow]:
        """Rows of these images."""
        marks = ", ".join("?" * len(images))
        return self._rows(f"image IN ({marks}) ORDER BY folder, entry", *images)

    def rows_in(self, folder: bytes) -> list[LedgerRow]:
        """Rows of one folder."""
        return self._rows("folder = ? ORDER BY entry", folder)

    def row_at(self, folder: bytes, entry: bytes) -> LedgerRow | None:
        """The row with this key."""
        rows = self._rows("folder = ? AND entry = ?", folder, entry)
        return rows[0] if rows else None

    def all_rows(self) -> Iterable[LedgerRow]:
        """Every row."""
        return (_row(values) for values in self._catalog.ledger.all())

    def open_intents(self) -> list[LedgerRow]:
        """Rows whose state is `intent`."""
        return self._rows("state <> 'done' ORDER BY folder, entry")

    def intend(self, rows: Sequence[LedgerRow]) -> None:
        """Write intents."""
        self._put(rows)

    def done(self, rows: Sequence[LedgerRow]) -> None:
        """Write finished rows."""
        self._put(rows)

    def forget(self, rows: Sequence[LedgerRow]) -> None:
        """Delete the rows with these keys."""
        if rows:
            self._catalog.ledger.forget([(row.folder, row.entry) for row in rows])

    def _put(self, rows: Sequence[LedgerRow]) -> None:
        if rows:
            self._catalog.ledger.put(
                [
                    (
                        row.folder,
                        row.entry,
                        row.image,
                        row.target,
                        row.mode,
                        row.state,
                        row.device,
                        row.inode,
                        row.size,
                        row.mtime_ns,
                    )
                    for row in rows
                ]
            )

    def _rows(self, condition: str, *values: object) -> list[LedgerRow]:
        return [_row(found) for found in self._catalog.ledger.select(condition, *values)]


def _row(values: tuple[Any, ...]) -> LedgerRow:
    return LedgerRow(*values)
