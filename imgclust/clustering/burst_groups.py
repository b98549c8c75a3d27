"""Burst groups: embeddings so near each other that together they weigh as much as one.

Bursts, frames of a camera at rest and re-encodings of one picture fill a neighbourhood: without
groups they take the principal axes, each other's neighbours and the centroids for themselves.

The first of a group represents it (leader clustering, Hartigan 1975), so that nothing in a group
is further from its representative than the bound, however long the series is. A row joins the most
similar representative among the rows before it. What holds: groups depend on the order of the rows
alone; whether they come one by one or in batches of any size makes no difference, and no row ever
changes its group because of what comes later.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.errors import ClusteringError

# No pair below this cosine is near, in any collection.
_LOWEST = 0.98
# What is near is a question of the neighbourhood besides. Frames of one scene (shifted and cropped
# by up to 6 %, noise, JPEG 60 to 93) have cosines of .984 or more, but in small grey pictures of
# digits half of all pairs have .978. So a row's own distance to the fifth nearest of some different
# embeddings is the scale. Different are those of a sample that are not near each other: of a flood
# of near copies one is left, which moves nobody's fifth.
_SCALE_NEIGHBOUR = 5
_SHARE_OF_SCALE = 0.25
_SAMPLE = 500

_COARSE, _FINE = 64, 256  # axes on which pairs that cannot be near are left out, in two steps
_AXES_ROWS = 2_000
_BLOCK = 1_024
_REPRESENTATIVES = 16_384  # compared with a block at a time
_SLACK = 1e-5  # of squared distances in float32
_ROUGH = 2e-3  # of distances between places in float16
_CANDIDATES = 16  # of a row's representative, the nearest on few axes


@dataclass(frozen=True, eq=False)
class BurstRule:
    """How near embeddings must be to belong to one burst group, in this collection.

    Attributes
    ----------
    different
        Embeddings of the collection that are not near each other, float32, shape (m, d).
    axes
        Orthonormal rows on which representatives have their places, float32, shape (q, d).
    """

    different: NDArray[np.float32]
    axes: NDArray[np.float32]

    def bounds(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """The least cosine of each row (n, d) with a representative that it joins: (n,)."""
        rows = checked(vectors)
        place = min(_SCALE_NEIGHBOUR, len(self.different)) - 1
        scales = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            apart = 1 - rows[start : start + _BLOCK] @ self.different.T
            scales[start : start + _BLOCK] = np.partition(apart, place, axis=1)[:, place]
        # Rounded, so that the last digit of a product of matrices decides as little as it can.
        return np.maximum(_LOWEST, 1 - np.round(_SHARE_OF_SCALE * np.maximum(scales, 0), 5))

    def places(self, vectors: NDArray[Any]) -> NDArray[np.float16]:
        """Where rows (n, d) lie on the axes, float16 (n, q)."""
        return np.asarray(checked(vectors) @ self.axes.T, dtype=np.float16)

    def to_bytes(self) -> bytes:
        """The rule as an npz archive without pickled objects."""
        stream = io.BytesIO()
        np.savez(stream, different=self.different.astype(np.float16), axes=self.axes)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """What `to_bytes` has made.

        Raises
        ------
        ClusteringError
            When it is damaged.
        """
        try:
            with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
                return cls(stored["different"].astype(np.float32), stored["axes"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ClusteringError(f"the rule of the burst groups is damaged: {error}") from None


def burst_rule(vectors: NDArray[Any]) -> BurstRule:
    """The rule for a collection with these embeddings (n, d) of unit length.

    An even sample of them is looked at; keep the rule with the groups.
    """
    rows = checked(vectors)
    sample = rows[:: -(-len(rows) // _SAMPLE)]
    different = sample[np.unique(group_bursts(sample, bounds=_LOWEST))]
    # As it is stored, so that it says the same now and later.
    different = different.astype(np.float16).astype(np.float32)
    return BurstRule(different, _principal_axes(rows, _COARSE))


class Representatives:
    """Representatives of burst groups, by their places on the axes of a rule.

    Each row is compared with all of them on few axes, which misses none that is near enough: an
    orthogonal projection brings no two rows further apart.
    """

    def __init__(
        self, rule: BurstRule, keys: NDArray[np.int64], places: NDArray[np.float16]
    ) -> None:
        self._rule = rule
        self._count = len(keys)
        self._keys = keys.astype(np.int64)
        self._rows = np.empty((len(keys), len(rule.axes) + 1), np.float32)
        self._set(slice(0, len(keys)), places)

    def add(self, keys: NDArray[np.int64], places: NDArray[np.float16]) -> None:
        """More representatives."""
        until = self._count + len(keys)
        if until > len(self._rows):
            room = max(until, 1024, 2 * self._count)
            self._rows = np.resize(self._rows, (room, self._rows.shape[1]))
            self._keys = np.resize(self._keys, room)
        part = slice(self._count, until)
        self._keys[part] = keys
        self._set(part, places)
        self._count = until

    def _set(self, part: slice, places: NDArray[np.float16]) -> None:
        if len(places):
            self._rows[part, :-1] = places
            self._rows[part, -1] = np.einsum(
                "ij,ij->i", self._rows[part, :-1], self._rows[part, :-1]
            )

    def near(
        self, places: NDArray[np.float16], bounds: NDArray[np.float64]
    ) -> list[NDArray[np.int64]]:
        """For each row the keys of those that it may join, the nearest first, at most 16."""
        radius = np.sqrt(2 * (1 - bounds)) + _ROUGH
        own = places.astype(np.float32)
        lengths = np.einsum("ij,ij->i", own, own)
        # |a - b|^2 as one product: (-2 a, 1) with (b, |b|^2), and |a|^2.
        asked = np.concatenate([-2 * own, np.ones((len(own), 1), np.float32)], axis=1)
        most = (radius**2 - lengths).astype(np.float32)
        found: list[list[tuple[float, int]]] = [[] for _ in range(len(own))]
        for start in range(0, self._count, _REPRESENTATIVES):
            apart = asked @ self._rows[start : min(start + _REPRESENTATIVES, self._count)].T
            for row, place in zip(*np.nonzero(apart <= most[:, np.newaxis]), strict=True):
                found[row].append((float(apart[row, place]), int(self._keys[start + place])))
        return [np.array([key for _, key in sorted(one)[:_CANDIDATES]], np.int64) for one in found]


def group_bursts(
    vectors: NDArray[Any],
    *,
    bounds: NDArray[np.float64] | float,
    known: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The representative of each row's group, int64 (n,); a representative's is itself.

    Parameters
    ----------
    vectors
        float32, shape (n, d), of unit length, in the order in which they came.
    bounds
        The least cosine of each row with the representative that it joins, (n,) or one for all;
        `BurstRule.bounds` gives it.
    known
        Groups that the first rows have, int64 (m,), m <= n; they stay. -1 for a row that has
        none, such as one whose representative is gone.

    Raises
    ------
    ClusteringError
        For NaN, a bound that is not a cosine, or groups that have no representative.
    """
    rows = checked(vectors)
    n = len(rows)
    least = np.broadcast_to(np.asarray(bounds, np.float64), (n,))
    if not ((least >= -1) & (least <= 1)).all():
        raise ClusteringError("a bound of a burst group is not a cosine; use -1 to 1")
    found = np.full(n, -1, np.int64)
    if known is not None:
        found[: len(known)] = known
        grouped = found[found >= 0]
        if grouped.size and (grouped.max() >= n or (found[grouped] != grouped).any()):
            raise ClusteringError("a burst group has no representative; make the groups again")
    waiting = np.flatnonzero(found < 0)
    standing = np.unique(found[found >= 0])
    pairs = _Pairs(rows, least)
    for start in range(0, len(waiting), _BLOCK):
        block = waiting[start : start + _BLOCK]
        best = np.full(len(block), -np.inf)
        chosen = np.full(len(block), -1, np.int64)
        for first in range(0, len(standing), _REPRESENTATIVES):
            places, others = pairs.near(block, standing[first : first + _REPRESENTATIVES])
            _take(rows, block, places, others, best, chosen)
        firsts, laters = pairs.near(block, block)
        laters = np.searchsorted(block, laters)
        firsts, laters = laters[laters < firsts], firsts[laters < firsts]
        order = np.argsort(firsts, kind="stable")
        firsts, laters = firsts[order], laters[order]
        ends = np.searchsorted(firsts, np.arange(len(block) + 1))
        fresh = []
        for place, row in enumerate(block):
            if best[place] >= least[row]:
                found[row] = chosen[place]
                continue
            found[row] = row
            fresh.append(row)
            later = laters[ends[place] : ends[place + 1]]
            if later.size:
                _take(rows, block, later, np.full(len(later), row), best, chosen)
        standing = np.concatenate([standing, np.array(fresh, np.int64)])
    return found


class _Pairs:
    """Finds the pairs of rows that may be near, by distances on few axes.

    A projection onto orthonormal axes brings no two rows further apart: none is missed.
    """

    def __init__(self, rows: Vectors, least: NDArray[np.float64]) -> None:
        self._fine = _projected(rows)
        self._radius = (2 * (1 - least) + _SLACK).astype(np.float32)
        # |a - b|^2 - r of a pair as one product: (-2 a, 1, |a|^2 - r) with (b, |b|^2, 1).
        coarse = self._fine[:, :_COARSE]
        lengths = np.einsum("ij,ij->i", coarse, coarse)[:, np.newaxis]
        self._coarse = np.concatenate([coarse, lengths, np.ones_like(lengths)], axis=1)

    def near(
        self, block: NDArray[np.int64], others: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in the block and rows of `others` that may be as near as the former ask."""
        asked = -2 * self._coarse[block]
        asked[:, -2] = 1
        asked[:, -1] = self._coarse[block, -2] - self._radius[block]
        places, positions = np.nonzero(asked @ self._coarse[others].T <= 0)
        kept = [np.empty(0, np.bool_)]
        for start in range(0, len(places), _REPRESENTATIVES):
            part = slice(start, start + _REPRESENTATIVES)
            mine = block[places[part]]
            difference = self._fine[mine] - self._fine[others[positions[part]]]
            squared = np.einsum("ij,ij->i", difference, difference)
            kept.append(squared <= self._radius[mine])
        near = np.concatenate(kept)
        return places[near], others[positions[near]]


def _take(
    rows: Vectors,
    block: NDArray[np.int64],
    places: NDArray[np.int64],
    representatives: NDArray[np.int64],
    best: NDArray[np.float64],
    chosen: NDArray[np.int64],
) -> None:
    """Note each representative that is more similar to a row of the block than its best so far."""
    for start in range(0, len(places), _BLOCK):
        part = slice(start, start + _BLOCK)
        # A pair's cosine must not depend on what it is computed beside, as it does in a product of
        # matrices: groups would depend on batches.
        products = rows[block[places[part]]].astype(np.float64) * rows[representatives[part]]
        for place, representative, cosine in zip(
            places[part], representatives[part], products.sum(axis=1), strict=True
        ):
            if cosine > best[place]:
                best[place], chosen[place] = cosine, representative


def _projected(rows: Vectors) -> Vectors:
    """The rows on principal axes of a sample, the widest first, float32 (n, q)."""
    return np.ascontiguousarray(rows @ _principal_axes(rows, _FINE).T, dtype=np.float32)


def _principal_axes(rows: Vectors, count: int) -> NDArray[np.float32]:
    from sklearn.utils.extmath import randomized_svd

    sample = rows[:: -(-len(rows) // _AXES_ROWS)]
    count = min(count, *sample.shape)
    _, _, axes = randomized_svd(sample - sample.mean(axis=0), count, n_iter=1, random_state=0)
    return np.asarray(axes, dtype=np.float32)
