"""What the link folder needs to remember, and who remembers it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from imgclust.catalog.catalog import Catalog

Mode = Literal["symlink", "hardlink", "copy"]


@dataclass(frozen=True)
class LedgerRow:
    """One entry that is ours, or that we were about to make.

    Attributes
    ----------
    folder, entry
        Where it is: the name of the cluster's folder below the link folder, and its own name.
        The two together are the row's key.
    image
        Id of the image that it represents.
    target
        Absolute path of the original.
    mode
        How it was made; in an intent, how it was asked for.
    state
        `intent` before it is made, `done` afterwards.
    device, inode, size, mtime_ns
        Identity: of the entry once it is done, of the original (or, in a move, of the entry that
        moves) in an intent; zeros where the original was absent.
    """

    folder: bytes
    entry: bytes
    image: int
    target: bytes
    mode: Mode
    state: Literal["intent", "done"]
    device: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True)
class Wanted:
    """A link that should be there.

    Attributes
    ----------
    image
        Id of the image.
    folder
        Name of its cluster's folder below the link folder.
    name
        The name it would like to have there: the original's base name.
    target
        Absolute path of the original.
    """

    image: int
    folder: bytes
    name: bytes
    target: bytes


class Ledger(Protocol):
    """Where the rows are kept.

    Every method is one transaction, durable when it returns; an empty sequence does nothing.
    """

    def rows_of(self, images: Sequence[int]) -> list[LedgerRow]:
        """Rows of these images (at most 500 are asked for at once)."""
        ...

    def rows_in(self, folder: bytes) -> list[LedgerRow]:
        """Rows of one folder."""
        ...

    def row_at(self, folder: bytes, entry: bytes) -> LedgerRow | None:
        """The row with this key."""
        ...

    def all_rows(self) -> Iterable[LedgerRow]:
        """Every row."""
        ...

    def open_intents(self) -> list[LedgerRow]:
        """Rows whose state is `intent`."""
        ...

    def intend(self, rows: Sequence[LedgerRow]) -> None:
        """Write intents; their keys are free."""
        ...

    def done(self, rows: Sequence[LedgerRow]) -> None:
        """Write finished rows, each in place of the row with the same key."""
        ...

    def forget(self, rows: Sequence[LedgerRow]) -> None:
        """Delete the rows with these keys; one that is not there is no error."""
        ...


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
