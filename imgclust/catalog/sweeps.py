"""Stored sweeps and their fits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table


@dataclass(frozen=True)
class StoredSweep:
    """A stored sweep; `summary` holds the curves, `settings` what they were made with."""

    id: int
    created: float
    space: str
    projection: int | None
    recipe: str
    seed: int
    sequence: int
    contents: int
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]


class Sweeps(Table):
    """The tables sweeps and sweep_fits."""

    def put(
        self,
        *,
        space: str,
        projection: int | None,
        recipe: int,
        seed: int,
        sequence: int,
        contents: int,
        settings: Mapping[str, Any],
        summary: Mapping[str, Any],
    ) -> int:
        """Store a sweep in place of the last one, without its fits; returns its number."""
        self._execute("DELETE FROM sweeps WHERE space = ?", (space,))
        self._execute(
            "INSERT INTO sweeps (created, space, projection, recipe, seed, sequence, contents, "
            "settings, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                time.time(),
                space,
                projection,
                recipe,
                seed,
                sequence,
                contents,
                json.dumps(settings, sort_keys=True),
                json.dumps(summary),
            ),
        )
        return self._connection.last_insert_rowid()

    def put_fits(
        self, sweep: int, fits: Iterable[tuple[int, float, npt.NDArray[np.float32]]]
    ) -> None:
        """Store fits (k, inertia, centroids) of a sweep; one that does not exist is created."""
        self._executemany(
            "INSERT INTO sweep_fits VALUES (?, ?, ?, ?, ?)",
            (
                (
                    sweep,
                    k,
                    inertia,
                    centroids.shape[1],
                    np.ascontiguousarray(centroids, "<f4").tobytes(),
                )
                for k, inertia, centroids in fits
            ),
        )

    def newest(self, space: str | None = None) -> StoredSweep | None:
        """The stored sweep of a space (of any, the newest)."""
        found = [one for one in self.all() if space in {None, one.space}]
        return found[0] if found else None

    def all(self) -> list[StoredSweep]:
        """The stored sweeps, one for each space, the newest first."""
        rows: list[Any] = self._execute(
            "SELECT s.id, s.created, s.space, s.projection, r.name, s.seed, s.sequence, "
            "s.contents, s.settings, s.summary FROM sweeps s JOIN recipes r ON s.recipe = r.id "
            "ORDER BY s.id DESC"
        ).fetchall()
        found = []
        for row in rows:
            facts: list[Any] = [
                *row[:8],
                self._parsed(row[8]),
                self._parsed(row[9]),
            ]
            found.append(StoredSweep(*facts))
        return found

    def fit_bytes(self, sweep: int) -> dict[int, int]:
        """Bytes of the centroids of each k that is stored."""
        rows = self._execute(
            "SELECT k, length(centroids) FROM sweep_fits WHERE sweep = ?", (sweep,)
        )
        return {int(k): int(size) for k, size in rows}

    def drop_fits(self, sweep: int, k: Iterable[int]) -> None:
        """Delete some fits of a sweep."""
        self._executemany(
            "DELETE FROM sweep_fits WHERE sweep = ? AND k = ?", [(sweep, one) for one in k]
        )

    def fit(self, sweep: int, k: int) -> npt.NDArray[np.float32] | None:
        """Centroids `(k, d)` of one fit of a sweep."""
        row = self._execute(
            "SELECT dims, centroids FROM sweep_fits WHERE sweep = ? AND k = ?", (sweep, k)
        ).fetchone()
        return None if row is None else np.frombuffer(row[1], "<f4").reshape(-1, row[0]).copy()

    def drop_other(self, recipe: str) -> None:
        """Delete sweeps by other recipes."""
        self._execute(
            "DELETE FROM sweeps WHERE recipe <> (SELECT id FROM recipes WHERE name = ?)", (recipe,)
        )
