"""The link ledger kept in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imgclust.catalog import Catalog
from imgclust.links.ledger import Ledger, LedgerRow


class CatalogLedger(Ledger):
    """The link ledger on the catalog's table."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def rows_of(self, images: Sequence[int]) -> list[LedgerRow]:
        """Rows of these images."""
        return [LedgerRow(*values) for values in self._catalog.ledger.of_images(images)]

    def rows_in(self, folder: bytes) -> list[LedgerRow]:
        """Rows of one folder."""
        return [LedgerRow(*values) for values in self._catalog.ledger.in_folder(folder)]

    def row_at(self, folder: bytes, entry: bytes) -> LedgerRow | None:
        """The row with this key."""
        values = self._catalog.ledger.at(folder, entry)
        return None if values is None else LedgerRow(*values)

    def all_rows(self) -> Iterable[LedgerRow]:
        """Every row."""
        return (LedgerRow(*values) for values in self._catalog.ledger.all())

    def open_intents(self) -> list[LedgerRow]:
        """Rows whose state is `intent`."""
        return [LedgerRow(*values) for values in self._catalog.ledger.unfinished()]

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
