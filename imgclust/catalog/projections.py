"""Stored projections and their coordinates; stored sweeps and their fits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table

_PIECE = 1 << 20  # of a blob, written at once


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
class PlottedImages:
    """Images `(n,)` by id, their coordinates `(n, 2)`, clusters (-1 for none), and three marks."""

    images: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.float32]
    clusters: npt.NDArray[np.int64]
    missing: npt.NDArray[np.uint8]
    placed: npt.NDArray[np.uint8]
    corrected: npt.NDArray[np.uint8]


class Projections(Table):
    """The tables projections and coordinates."""

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
        self._execute(
            "INSERT INTO projections (kind, purpose, recipe, sequence, created, settings, "
            "contents, blob) VALUES (?, ?, ?, ?, ?, ?, ?, zeroblob(?))",
            (
                kind,
                purpose,
                recipe,
                sequence,
                time.time(),
                json.dumps(settings, sort_keys=True),
                contents,
                len(blob),
            ),
        )
        number = self._connection.last_insert_rowid()
        # A blob that is bound is in memory twice more: 200 MB for 100,000 contents.
        with self._connection.blob_open("main", "projections", "blob", number, True) as stream:
            for start in range(0, len(blob), _PIECE):
                stream.write(blob[start : start + _PIECE])
        return number

    def get(self, projection: int) -> StoredProjection:
        """One projection; it must exist."""
        row = self._execute(
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
            self._parsed(settings),
            contents,
            blob,
        )

    def newest(
        self,
        *,
        kind: str,
        purpose: str,
        recipe: str,
        settings: Mapping[str, Any],
        sequence: int | None = None,
    ) -> StoredProjection | None:
        """The newest projection made with these settings, `sequence`: and at that change."""
        number = self._execute(
            "SELECT p.id FROM projections p JOIN recipes r ON p.recipe = r.id WHERE p.kind = ?1 "
            "AND p.purpose = ?2 AND r.name = ?3 AND p.settings = ?4 "
            "AND (?5 IS NULL OR p.sequence = ?5) ORDER BY p.id DESC LIMIT 1",
            (kind, purpose, recipe, json.dumps(settings, sort_keys=True), sequence),
        ).get
        return None if number is None else self.get(int(number))

    def newest_map(self, recipe: str, *, dims: int | None = None) -> tuple[int, int] | None:
        """Number and dimensions of the map that was made last, None before the first.

        `dims`: only maps of so many dimensions count.
        """
        row = self._execute(
            "SELECT p.id, (SELECT z FROM coordinates WHERE projection = p.id LIMIT 1) AS z "
            "FROM projections p JOIN recipes r ON p.recipe = r.id "
            "WHERE p.purpose = 'map' AND r.name = ?1 AND (?2 IS NULL OR ?2 = iif(z IS NULL, 2, 3)) "
            "ORDER BY p.id DESC LIMIT 1",
            (recipe, dims),
        ).fetchone()
        return None if row is None else (int(row[0]), 2 if row[1] is None else 3)

    def drop(self, projection: int) -> None:
        """Delete a projection and its coordinates."""
        self._execute("DELETE FROM projections WHERE id = ?", (projection,))

    def drop_other(self, recipe: str) -> None:
        """Delete maps by other recipes; spaces leave with their clusterings."""
        self._execute(
            "DELETE FROM projections WHERE purpose = 'map' "
            "AND recipe <> (SELECT id FROM recipes WHERE name = ?)",
            (recipe,),
        )

    def drop_unused_spaces(self) -> None:
        """Delete the spaces that no clustering and no sweep refers to."""
        self._execute(
            "DELETE FROM projections WHERE purpose = 'space' AND id NOT IN "
            "(SELECT projection FROM clusterings WHERE projection IS NOT NULL UNION "
            "SELECT similarity FROM clusterings WHERE similarity IS NOT NULL UNION "
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
        self._executemany(
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
        rows = self._execute(
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

    def absent(self, projection: int, recipe: str) -> list[int]:
        """Contents embedded by `recipe` that a projection has no coordinates of."""
        # EXCEPT walks both indexes side by side.
        rows = self._execute(
            "SELECT content FROM embeddings WHERE recipe = "
            "(SELECT id FROM recipes WHERE name = ?) "
            "EXCEPT SELECT content FROM coordinates WHERE projection = ? ORDER BY 1",
            (recipe, projection),
        )
        return [int(content) for (content,) in rows]

    def plotted(self, projection: int, *, after: int, clustering: int | None) -> PlottedImages:
        """Images with an id above `after` that are in a map of two dimensions, by id."""
        rows = self._execute(
            "SELECT i.id, p.x, p.y, coalesce(a.cluster, -1), i.state = 'missing', p.placed, "
            "i.content IN (SELECT content FROM corrections WHERE ended IS NULL UNION ALL "
            "SELECT other FROM corrections WHERE ended IS NULL AND other IS NOT NULL) "
            "FROM images i JOIN coordinates p ON p.projection = ?1 AND p.content = i.content "
            "LEFT JOIN assignments a ON a.clustering = ?2 AND a.content = i.content "
            "WHERE i.id > ?3 ORDER BY i.id",
            (projection, clustering, after),
        ).fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * 7
        return PlottedImages(
            images=np.array(columns[0], np.int64),
            coordinates=np.array(columns[1:3], np.float32).T,
            clusters=np.array(columns[3], np.int64),
            missing=np.array(columns[4], np.uint8),
            placed=np.array(columns[5], np.uint8),
            corrected=np.array(columns[6], np.uint8),
        )


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
