"""Stored projections, their coordinates, and sweeps."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from imgclust.catalog.connection import parsed


@dataclass(frozen=True)
class StoredProjection:
    """An immutable projection as stored; `settings` says how it was made."""

    id: int
    kind: str
    recipe: str
    sequence: int
    created: float
    settings: Mapping[str, Any]
    contents: int
    blob: bytes


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


class Projections:
    """The tables projections, coordinates, sweeps and sweep_fits."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def put(
        self,
        *,
        kind: str,
        purpose: str,
        recipe: int,
        sequence: int,
        settings: Mapping[str, Any],
        contents: int,
        blob: bytes,
    ) -> int:
        """Store a projection (`purpose` "space" or "map")."""
        self._connection.execute(
            "INSERT INTO projections (kind, purpose, recipe, sequence, created, settings, "
            "contents, blob) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                kind,
                purpose,
                recipe,
                sequence,
                time.time(),
                json.dumps(settings, sort_keys=True),
                contents,
                blob,
            ),
        )
        return self._connection.last_insert_rowid()

    def get(self, projection: int) -> StoredProjection:
        """One projection; it must exist."""
        row = self._connection.execute(
            "SELECT p.id, p.kind, r.name, p.sequence, p.created, p.settings, p.contents, p.blob "
            "FROM projections p JOIN recipes r ON p.recipe = r.id WHERE p.id = ?",
            (projection,),
        ).fetchone()
        if row is None:
            raise KeyError(projection)
        number, kind, recipe, sequence, created, settings, contents, blob = row
        return StoredProjection(
            number,
            kind,
            recipe,
            sequence,
            created,
            parsed(settings, self._connection.filename),
            contents,
            blob,
        )

    def newest(
        self, *, kind: str, purpose: str, recipe: str, settings: Mapping[str, Any]
    ) -> StoredProjection | None:
        """The newest projection made with these settings."""
        number = self._connection.execute(
            "SELECT p.id FROM projections p JOIN recipes r ON p.recipe = r.id WHERE p.kind = ? "
            "AND p.purpose = ? AND r.name = ? AND p.settings = ? ORDER BY p.id DESC LIMIT 1",
            (kind, purpose, recipe, json.dumps(settings, sort_keys=True)),
        ).get
        return None if number is None else self.get(int(number))

    def newest_map(self, recipe: str) -> tuple[int, int] | None:
        """Number and dimensions of the map that was made last, None before the first."""
        row = self._connection.execute(
            "SELECT p.id, (SELECT z FROM coordinates WHERE projection = p.id LIMIT 1) "
            "FROM projections p JOIN recipes r ON p.recipe = r.id "
            "WHERE p.purpose = 'map' AND r.name = ? ORDER BY p.id DESC LIMIT 1",
            (recipe,),
        ).fetchone()
        return None if row is None else (int(row[0]), 2 if row[1] is None else 3)

    def drop(self, projection: int) -> None:
        """Delete a projection and its coordinates."""
        self._connection.execute("DELETE FROM projections WHERE id = ?", (projection,))

    def drop_other(self, recipe: str) -> None:
        """Delete maps and sweeps by other recipes; spaces leave with their clusterings."""
        other = "recipe <> (SELECT id FROM recipes WHERE name = ?)"
        self._connection.execute(
            f"DELETE FROM projections WHERE purpose = 'map' AND {other}", (recipe,)
        )
        self._connection.execute(f"DELETE FROM sweeps WHERE {other}", (recipe,))

    def drop_unused_spaces(self) -> None:
        """Delete the spaces that no clustering and no sweep refers to."""
        self._connection.execute(
            "DELETE FROM projections WHERE purpose = 'space' AND id NOT IN "
            "(SELECT projection FROM clusterings WHERE projection IS NOT NULL UNION "
            "SELECT projection FROM sweeps WHERE projection IS NOT NULL)"
        )

    def put_coordinates(
        self,
        projection: int,
        contents: Sequence[int] | npt.NDArray[np.int64],
        coordinates: npt.NDArray[np.floating],
        *,
        placed: bool,
    ) -> None:
        """Store coordinates `(n, 2 or 3)` of contents; placed ones came after the fit."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO coordinates VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    projection,
                    int(content),
                    float(row[0]),
                    float(row[1]),
                    float(row[2]) if len(row) > 2 else None,
                    int(placed),
                )
                for content, row in zip(contents, coordinates, strict=True)
            ),
        )

    def coordinates(
        self, projection: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Contents `(n,)` ascending, coordinates `(n, 2 or 3)`, and whether each was placed."""
        rows = self._connection.execute(
            "SELECT content, x, y, z, placed FROM coordinates WHERE projection = ? "
            "ORDER BY content",
            (projection,),
        ).fetchall()
        dims = 3 if rows and rows[0][3] is not None else 2
        return (
            np.fromiter((row[0] for row in rows), np.int64, len(rows)),
            np.array([row[1 : 1 + dims] for row in rows], np.float32).reshape(-1, dims),
            np.fromiter((row[4] for row in rows), bool, len(rows)),
        )

    # Sweeps

    def put_sweep(
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
        self._connection.execute("DELETE FROM sweeps WHERE space = ?", (space,))
        self._connection.execute(
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

    def put_sweep_fits(
        self, sweep: int, fits: Iterable[tuple[int, float, npt.NDArray[np.float32]]]
    ) -> None:
        """Store fits (k, inertia, centroids) of a sweep; one that is not there is made anew."""
        self._connection.executemany(
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

    def newest_sweep(self, space: str | None = None) -> StoredSweep | None:
        """The stored sweep of a space (of any, the newest)."""
        row: Any = self._connection.execute(
            "SELECT s.id, s.created, s.space, s.projection, r.name, s.seed, s.sequence, "
            "s.contents, s.settings, s.summary FROM sweeps s JOIN recipes r ON s.recipe = r.id "
            "WHERE ? IS NULL OR s.space = ? ORDER BY s.id DESC LIMIT 1",
            (space, space),
        ).fetchone()
        if row is None:
            return None
        facts: list[Any] = [
            *row[:8],
            parsed(row[8], self._connection.filename),
            parsed(row[9], self._connection.filename),
        ]
        return StoredSweep(*facts)

    def sweep_fit(self, sweep: int, k: int) -> npt.NDArray[np.float32] | None:
        """Centroids `(k, d)` of one fit of a sweep."""
        row = self._connection.execute(
            "SELECT dims, centroids FROM sweep_fits WHERE sweep = ? AND k = ?", (sweep, k)
        ).fetchone()
        return None if row is None else np.frombuffer(row[1], "<f4").reshape(-1, row[0]).copy()
