"""Burst groups: contents whose embeddings are nearly equal, and which one represents them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table


@dataclass(frozen=True)
class StoredBurstRule:
    """What decides the groups; `contents` are those that it was made from."""

    id: int
    recipe: str
    contents: int
    blob: bytes


class Bursts(Table):
    """The tables burst_rules and burst_groups.

    Groups are those of the current rule. A content that has no row is alone, as is one whose
    representative has left.
    """

    def current_id(self, recipe: str) -> int | None:
        """Number of the current rule, None where there is none for this recipe."""
        number = self._execute(
            "SELECT b.id FROM burst_rules b JOIN recipes r ON b.recipe = r.id "
            "WHERE b.current AND r.name = ?",
            (recipe,),
        ).get
        return None if number is None else int(number)

    def get(self, rule: int) -> StoredBurstRule:
        """One rule; it must exist."""
        row = self._execute(
            "SELECT b.id, r.name, b.contents, b.rule FROM burst_rules b "
            "JOIN recipes r ON b.recipe = r.id WHERE b.id = ?",
            (rule,),
        ).fetchone()
        if row is None:
            raise KeyError(rule)
        return StoredBurstRule(*row)

    def put(self, *, recipe: int, contents: int, blob: bytes) -> int:
        """Store a rule that is not the current one yet."""
        self._execute(
            "INSERT INTO burst_rules (recipe, contents, current, rule) VALUES (?, ?, 0, ?)",
            (recipe, contents, blob),
        )
        return self._connection.last_insert_rowid()

    def make_current(self, rule: int) -> None:
        """Use this rule, and its groups, from now on."""
        self._execute("UPDATE burst_rules SET current = (id = ?)", (rule,))

    def set_groups(self, rule: int, rows: Iterable[tuple[int, int, bytes | None]]) -> None:
        """Store (content, representative, place of a representative on the rule's axes) rows."""
        self._executemany(
            "INSERT OR REPLACE INTO burst_groups VALUES (?, ?, ?, ?)",
            ((rule, *row) for row in rows),
        )

    def groups(self, rule: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Contents `(n,)`, ascending, and the representative `(n,)` of each."""
        rows = self._execute(
            "SELECT content, representative FROM burst_groups WHERE rule = ? ORDER BY content",
            (rule,),
        ).fetchall()
        found = np.array(rows, np.int64).reshape(len(rows), 2)
        return found[:, 0].copy(), found[:, 1].copy()

    def representatives(self, rule: int) -> tuple[npt.NDArray[np.int64], list[bytes]]:
        """Contents `(n,)` that represent a group, and the place of each on the rule's axes."""
        rows: list[Any] = self._execute(
            "SELECT content, place FROM burst_groups WHERE rule = ? AND content = representative "
            "AND place IS NOT NULL",
            (rule,),
        ).fetchall()
        return np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]

    def followed(self, recipe: str, contents: Sequence[int]) -> dict[int, int]:
        """The representative of those of the contents that another one represents."""
        rule = self.current_id(recipe)
        if rule is None:
            return {}
        rows = self._executemany(
            "SELECT content, representative FROM burst_groups WHERE rule = ? AND content = ? "
            "AND content <> representative",
            [(rule, int(content)) for content in contents],
        )
        return {int(content): int(other) for content, other in rows}

    def represents(self, rule: int, content: int) -> bool:
        """Whether a content represents a group, be it of itself alone."""
        row = self._execute(
            "SELECT 1 FROM burst_groups WHERE rule = ? AND content = ? AND representative = ?",
            (rule, content, content),
        ).fetchone()
        return row is not None

    def missing(self, rule: int, recipe: str, since: int, limit: int) -> list[int]:
        """Some contents that came after change `since` and have no group by the rule."""
        rows = self._execute(
            "SELECT DISTINCT c.content FROM changes c JOIN embeddings e ON e.content = c.content "
            "AND e.recipe = (SELECT id FROM recipes WHERE name = ?) WHERE c.sequence > ? "
            "AND NOT EXISTS (SELECT 1 FROM burst_groups g WHERE g.rule = ? "
            "AND g.content = c.content) LIMIT ?",
            (recipe, since, rule, limit),
        )
        return [int(content) for (content,) in rows]

    def drop_old(self, *, rows: int) -> bool:
        """Delete so many groups of rules that are not current, then these; True at the end."""
        for (rule,) in self._execute("SELECT id FROM burst_rules WHERE NOT current").fetchall():
            self._execute(
                "DELETE FROM burst_groups WHERE rule = ? AND content IN "
                "(SELECT content FROM burst_groups WHERE rule = ? LIMIT ?)",
                (rule, rule, rows),
            )
            if self._connection.changes():
                return False
            self._execute("DELETE FROM burst_rules WHERE id = ?", (rule,))
        return True
