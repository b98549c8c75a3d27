"""The link folder as it was read last, and links that people have moved in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw


class ReadFolder(NamedTuple):
    """A folder when it was read: `read_ns` is a wall clock before that."""

    inode: int
    mtime_ns: int
    read_ns: int


class LinkMove(NamedTuple):
    """A link of an image that is at another place than we put it; see the table link_moves."""

    image: int
    folder: bytes
    entry: bytes
    seen: float
    state: str


class LinkTree:
    """The tables link_folders_read and link_moves; who writes holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def folders(self) -> dict[bytes, ReadFolder]:
        """The folders that were read, by name."""
        rows = self._connection.execute(
            "SELECT folder, inode, mtime_ns, read_ns FROM link_folders_read"
        )
        return {bytes(name): ReadFolder(*values) for name, *values in rows}

    def note(self, read: dict[bytes, ReadFolder], *, gone: Iterable[bytes]) -> None:
        """These folders were read, those are not there."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO link_folders_read VALUES (?, ?, ?, ?)",
            [(name, *values) for name, values in read.items()],
        )
        self._connection.executemany(
            "DELETE FROM link_folders_read WHERE folder = ?", [(name,) for name in gone]
        )

    def entries(self, folder: bytes) -> dict[bytes, int]:
        """Entries of ours in a folder with their inodes, those that are about to be made too."""
        rows = self._connection.execute(
            "SELECT entry, inode FROM link_ledger WHERE folder = ?", (folder,)
        )
        return {bytes(entry): int(inode) for entry, inode in rows}

    def rename(self, old: bytes, new: bytes) -> None:
        """A person has given a folder of ours another name."""
        for table in ("link_ledger", "link_moves", "link_folders_read"):
            self._connection.execute(f"DELETE FROM {table} WHERE folder = ?", (new,))
            self._connection.execute(f"UPDATE {table} SET folder = ? WHERE folder = ?", (new, old))

    def replace(self, old: tuple[bytes, bytes], row: tuple[Any, ...]) -> None:
        """An entry of ours, a ledger row, has come to another place."""
        self._connection.execute("DELETE FROM link_ledger WHERE folder = ? AND entry = ?", old)
        self._connection.execute(
            "INSERT OR REPLACE INTO link_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
        )

    def moves(self, state: str | None = None) -> list[LinkMove]:
        """Links that wait, or are young, or both, by image."""
        rows: list[Any] = self._connection.execute(
            "SELECT image, folder, entry, seen, state FROM link_moves "
            "WHERE ?1 IS NULL OR state = ?1 ORDER BY image",
            (state,),
        ).fetchall()
        return [LinkMove(*row) for row in rows]

    def put(self, moves: Iterable[LinkMove]) -> None:
        """Note links that wait, or are young."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO link_moves VALUES (?, ?, ?, ?, ?)", list(moves)
        )

    def drop(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Entries of ours, by folder and name, are gone."""
        self._connection.executemany(
            "DELETE FROM link_ledger WHERE folder = ? AND entry = ?", list(entries)
        )

    def read_again(self, folders: Iterable[bytes]) -> None:
        """These folders are to be read, whatever their time of change says."""
        self._connection.executemany(
            "UPDATE link_folders_read SET read_ns = 0 WHERE folder = ?",
            [(folder,) for folder in folders],
        )

    def prune(self) -> None:
        """Forget the links of images that have left."""
        self._connection.execute(
            "DELETE FROM link_moves WHERE image NOT IN (SELECT id FROM images)"
        )

    def forget(self, images: Iterable[int]) -> None:
        """The links of these images are where they belong, or will be."""
        self._connection.executemany(
            "DELETE FROM link_moves WHERE image = ?", [(image,) for image in images]
        )
