"""Volumes: which file system was at a root, or at a mount in it, when files there were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from imgclust.catalog.images import bounds_below
from imgclust.fs import is_below

_SELECT = "SELECT path, root, number, before, former FROM volumes"


@dataclass(frozen=True)
class Volume:
    """The file system at a root, or at a mount in it.

    `number` is one that no other file system has, 0 when none is known; images up to the id
    `before` may have been on another one; `former` is the number of that.
    """

    path: bytes
    root: int
    number: int
    before: int | None = None
    former: int = 0


class Volumes:
    """The table volumes; the caller of what writes holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def all(self) -> list[Volume]:
        """All volumes, by path."""
        return [Volume(*row) for row in self._connection.execute(f"{_SELECT} ORDER BY path")]

    def above(self, path: bytes, root: int) -> Volume | None:
        """The innermost volume of a root that a path is below."""
        rows = self._connection.execute(f"{_SELECT} WHERE root = ?", (root,))
        found = [Volume(*row) for row in rows if is_below(path, row[0])]
        return max(found, key=lambda one: len(one.path), default=None)

    def put(self, volume: Volume) -> None:
        """Remember which file system is at a folder."""
        self._connection.execute(
            "INSERT OR REPLACE INTO volumes VALUES (?, ?, ?, ?, ?)",
            (volume.path, volume.root, volume.number, volume.before, volume.former),
        )

    def forget(self, volumes: Sequence[Volume]) -> None:
        """Delete volumes."""
        self._connection.executemany(
            "DELETE FROM volumes WHERE path = ? AND root = ?",
            [(volume.path, volume.root) for volume in volumes],
        )

    def has_images(self, folder: bytes, root: int, *, until: int) -> bool:
        """True when a root has an image below a folder, with an id up to `until`."""
        row = self._connection.execute(
            "SELECT 1 FROM images WHERE path > ? AND path < ? AND root = ? AND id <= ? LIMIT 1",
            (*bounds_below(folder), root, until),
        ).fetchone()
        return row is not None

    def at_rest_below(self, folder: bytes, root: int) -> bool:
        """True when an image below a folder, no newer than all that were displaced from there, is
        where it was."""
        row = self._connection.execute(
            "SELECT 1 FROM images WHERE path > ?1 AND path < ?2 AND root = ?3 "
            "AND state = 'present' AND doubt = '' AND id < (SELECT max(id) FROM images "
            "INDEXED BY images_unsettled WHERE doubt <> '' AND doubt = 'displaced' "
            "AND former > ?1 AND former < ?2) LIMIT 1",
            (*bounds_below(folder), root),
        ).fetchone()
        return row is not None

    def kept(self) -> dict[tuple[bytes, int], int]:
        """Numbers of missing images that stay as another disk is there, by folder and root."""
        rows = self._connection.execute(
            "SELECT kept, root, count(*) FROM images WHERE state = 'missing' AND kept NOTNULL "
            "GROUP BY kept, root"
        )
        return {(bytes(folder), int(root)): int(count) for folder, root, count in rows}
