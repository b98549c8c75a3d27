"""Pairs of contents that a person said are not duplicates."""

from __future__ import annotations

from collections.abc import Iterable

import apsw


class Dismissals:
    """The table dismissed: pairs of contents, the smaller key first."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents (a content with itself: its copies) are not duplicates."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO dismissed VALUES (?, ?)", [_ordered(pair) for pair in pairs]
        )

    def remove(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents may be duplicates again."""
        self._connection.executemany(
            "DELETE FROM dismissed WHERE content = ? AND other = ?",
            [_ordered(pair) for pair in pairs],
        )

    def pairs(self) -> set[tuple[int, int]]:
        """The pairs of contents that are not duplicates, the smaller key first."""
        rows = self._connection.execute("SELECT content, other FROM dismissed")
        return {(int(content), int(other)) for content, other in rows}


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)
