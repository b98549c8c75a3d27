"""What a person decided: contents that were taken out, and pairs that are not duplicates."""

from __future__ import annotations

import time
from collections.abc import Iterable

from imgclust.catalog.cursor import Table


class Removals(Table):
    """The tables removals and removals_unread."""

    def put(self, sha256: bytes, path: bytes, inode: int) -> None:
        """A file of this content was taken out, or stays out as others of its content were."""
        self._execute(
            "INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?)",
            (sha256, inode, path, time.time()),
        )

    def forget(self, sha256: bytes) -> None:
        """Files of this content come in again."""
        self._execute("DELETE FROM removals WHERE sha256 = ?", (sha256,))

    def among(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the SHA-256 whose content was taken out."""
        rows = self._executemany(
            "SELECT sha256 FROM removals WHERE sha256 = ? LIMIT 1", [(one,) for one in digests]
        )
        return {bytes(sha256) for (sha256,) in rows}

    def files(self, sha256: bytes) -> list[tuple[bytes, int]]:
        """The files of a content that are out, as last seen: path and inode."""
        rows = self._execute("SELECT path, inode FROM removals WHERE sha256 = ?", (sha256,))
        return [(bytes(path), int(inode)) for path, inode in rows]

    def unread(self) -> list[bytes]:
        """Paths that an older version took out without noting their content."""
        rows = self._execute("SELECT path FROM removals_unread ORDER BY path")
        return [bytes(path) for (path,) in rows]

    def read(self, path: bytes) -> None:
        """The content of such a path is noted, or the file is another one now."""
        self._execute("DELETE FROM removals_unread WHERE path = ?", (path,))


class Dismissals(Table):
    """The table dismissed: pairs of contents, the smaller key first."""

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents (a content with itself: its copies) are not duplicates."""
        self._executemany(
            "INSERT OR IGNORE INTO dismissed VALUES (?, ?)", [_ordered(pair) for pair in pairs]
        )

    def remove(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents may be duplicates again."""
        self._executemany(
            "DELETE FROM dismissed WHERE content = ? AND other = ?",
            [_ordered(pair) for pair in pairs],
        )

    def pairs(self) -> set[tuple[int, int]]:
        """The pairs of contents that are not duplicates, the smaller key first."""
        rows = self._execute("SELECT content, other FROM dismissed")
        return {(int(content), int(other)) for content, other in rows}


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)
