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

import contextlib
import functools
import io
import zipfile
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from imgclust import devices
from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.errors import ClusteringError
from imgclust.vectors import Rows, checked_rows

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

_PLACE = 64  # axes on which a representative has its stored place
_LEADING = 16  # of them, on which it is compared with arrivals first
# Axes on which pairs that cannot be near are left out, in two steps: all pairs on a few of them,
# as many as cost least, and what is left on all.
_COARSE, _FINE = (16, 24, 32, 48, 64, 96, 128), 128
# A pair that is left costs as much as the comparison of so many axes of all.
_PAIR_AXES = 20_000
_SAMPLED = 256, 2_000  # pairs by which the number is chosen
_AXES_ROWS = 2_000
_WORTH_THREADS = 500_000_000  # multiplications of what finds the axes
_BLOCK = 1_024
_REPRESENTATIVES = 16_384  # compared with a block at a time
_PAIRS, _TAKEN = 128, 512  # pairs compared in full at a time, and rows taken for that
_BESIDE = 2_048  # the same on a few axes: products that stay in the processor's cache
_SLACK = 1e-5  # of squared distances in float32
_ROUGH = 2e-3  # of distances between places in float16
# Of more rows only those of cells within reach are compared; the cost of fewer is small.
_CELL_ROWS = 20_000
_CELLS = 128
_NEAREST_CELLS = 4  # whose borders are looked at
_CANDIDATES = 16  # of a row's representative, the nearest on few axes
_MANY = 0.5  # pairs for each representative, above which a product costs less than differences


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

    def bounds(self, vectors: Rows) -> NDArray[np.float64]:
        """The least cosine of each row (n, d) with a representative that it joins: (n,)."""
        rows = checked_rows(vectors, checked)
        place = min(_SCALE_NEIGHBOUR, len(self.different)) - 1
        scales = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            apart = 1 - rows[start : start + _BLOCK] @ self.different.T
            scales[start : start + _BLOCK] = np.partition(apart, place, axis=1)[:, place]
        # Rounded, so that the last digit of a product of matrices decides as little as it can.
        return np.maximum(_LOWEST, 1 - np.round(_SHARE_OF_SCALE * np.maximum(scales, 0), 5))

    def on_axes(self, vectors: Rows) -> NDArray[np.float32]:
        """Where rows (n, d) lie on the axes, float32 (n, q)."""
        return _projected(checked_rows(vectors, checked), self.axes)

    def places(self, vectors: Rows) -> NDArray[np.float16]:
        """The same as it is stored, float16 (n, q)."""
        return self.on_axes(vectors).astype(np.float16)

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


def burst_rule(vectors: Rows) -> BurstRule:
    """The rule for a collection with these embeddings (n, d) of unit length.

    An even sample of them is looked at; keep the rule with the groups.
    """
    rows = checked_rows(vectors, checked)
    sample = rows[:: -(-len(rows) // _SAMPLE)]
    axes = _principal_axes(rows, _PLACE)
    leaders = group_bursts(sample, bounds=_LOWEST, on_axes=sample @ axes.T)
    different = sample[np.unique(leaders)]
    # As it is stored, so that it says the same now and later.
    different = different.astype(np.float16).astype(np.float32)
    return BurstRule(different, axes)


def sampled_rule(sample: NDArray[np.float32]) -> BurstRule:
    """The rule of a small sample, kept for the next time that it is asked for.

    A correction needs it, and most of the time that a correction takes is spent on it.
    """
    return _rule_of(sample.tobytes(), sample.shape[1])


@functools.lru_cache(maxsize=2)
def _rule_of(content: bytes, dims: int) -> BurstRule:
    return burst_rule(np.frombuffer(content, np.float32).reshape(-1, dims))


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
        self._places = np.empty((len(keys), len(rule.axes)), np.float16)
        # On a few axes, and the square of that: all of it is read for each arrival.
        self._few = min(_LEADING, len(rule.axes))
        self._leading = np.empty((len(keys), self._few + 1), np.float32)
        self._set(slice(0, len(keys)), places)

    def add(self, keys: NDArray[np.int64], places: NDArray[np.float16]) -> None:
        """More representatives."""
        until = self._count + len(keys)
        if until > len(self._keys):
            room = max(until, 1024, 2 * self._count)
            self._places = np.resize(self._places, (room, self._places.shape[1]))
            self._leading = np.resize(self._leading, (room, self._leading.shape[1]))
            self._keys = np.resize(self._keys, room)
        part = slice(self._count, until)
        self._keys[part] = keys
        self._set(part, places)
        self._count = until

    def _set(self, part: slice, places: NDArray[np.float16]) -> None:
        if len(places):
            leading = places[:, : self._few].astype(np.float32)
            self._places[part] = places
            self._leading[part, :-1], self._leading[part, -1] = leading, _squares(leading)

    def near(
        self, places: NDArray[np.float16], bounds: NDArray[np.float64]
    ) -> list[NDArray[np.int64]]:
        """For each row the keys of those that it may join, the nearest first, at most 16."""
        reach = ((np.sqrt(2 * (1 - bounds)) + _ROUGH) ** 2).astype(np.float32)
        own = places.astype(np.float32)
        leading = own[:, : self._few]
        # |a - b|^2 as one product: (-2 a, 1) with (b, |b|^2), and |a|^2.
        asked = np.concatenate([-2 * leading, np.ones((len(own), 1), np.float32)], axis=1)
        most = (reach - _squares(leading))[:, np.newaxis]
        found: list[list[tuple[float, int]]] = [[] for _ in range(len(own))]
        for start in range(0, self._count, _REPRESENTATIVES):
            there = slice(start, min(start + _REPRESENTATIVES, self._count))
            left = asked @ self._leading[there].T <= most
            # Of one kind few pairs are left; of another kind than what is there it may be most.
            many = np.count_nonzero(left) > _MANY * left.shape[1]
            apart = _apart(own, self._places[there].astype(np.float32)) if many else None
            for row in np.flatnonzero(left.any(axis=1)):
                others = np.flatnonzero(left[row])
                if apart is not None and len(others) > _CANDIDATES:
                    ours = apart[row, others]
                    furthest = np.partition(ours, _CANDIDATES - 1)[_CANDIDATES - 1]
                    others = others[ours <= furthest + _SLACK]
                # As differences, so that the nearest do not depend on what came beside them.
                others += start
                squares = _squares(own[row] - self._places[others])
                near = squares <= reach[row]
                keys = self._keys[others[near]].tolist()
                found[row] += zip(squares[near].tolist(), keys, strict=True)
        return [np.array([key for _, key in sorted(one)[:_CANDIDATES]], np.int64) for one in found]


def group_bursts(
    vectors: Rows,
    *,
    bounds: NDArray[np.float64] | float,
    known: NDArray[np.int64] | None = None,
    on_axes: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """The representative of each row's group, int64 (n,); a representative's is itself.

    Parameters
    ----------
    vectors
        Of unit length, shape (n, d), in the order in which they came.
    bounds
        The least cosine of each row with the representative that it joins, (n,) or one for all;
        `BurstRule.bounds` gives it.
    known
        Groups that the first rows have, int64 (m,), m <= n; they stay. -1 for a row that has
        none, such as one whose representative is gone.
    on_axes
        Where the rows lie on some orthonormal axes, float32 (n, q), as `BurstRule.on_axes` gives
        it: then no axes are searched for here. Groups do not depend on it.

    Raises
    ------
    ClusteringError
        For NaN, a bound that is not a cosine, or groups that have no representative.
    """
    rows = checked_rows(vectors, checked)
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
    if on_axes is None:
        on_axes = _projected(rows, _principal_axes(rows, _FINE))
    pairs = _Pairs(rows, least, on_axes)
    pairs.add(np.unique(found[found >= 0]))
    for start in range(0, len(waiting), _BLOCK):
        block = waiting[start : start + _BLOCK]
        pairs.take(block)
        best, chosen = _best(len(block), *pairs.near(block))
        later, starts = pairs.inside(block)
        for place, row in enumerate(block):
            if best[place] > -np.inf:
                found[row] = chosen[place]
                continue
            found[row] = row
            if starts[place] < starts[place + 1]:
                ours, _, cosines = pairs.in_full(
                    block, later[starts[place] : starts[place + 1]], row
                )
                better = cosines > best[ours]
                best[ours[better]], chosen[ours[better]] = cosines[better], row
        pairs.add(block[found[block] == block])
    return found


def _best(
    count: int,
    places: NDArray[np.int64],
    others: NDArray[np.int64],
    cosines: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The largest cosine of each place, (count,), and with which row; of equal ones the first."""
    best, chosen = np.full(count, -np.inf), np.full(count, -1, np.int64)
    order = np.lexsort((others, -cosines, places))
    ours, first = np.unique(places[order], return_index=True)
    best[ours], chosen[ours] = cosines[order][first], others[order][first]
    return best, chosen


class _Pairs:
    """Finds the pairs of rows that are near: by distances on a few axes, then in full.

    A projection onto orthonormal axes brings no two rows further apart: none is missed.
    """

    def __init__(self, rows: Rows, least: NDArray[np.float64], fine: Vectors) -> None:
        self._rows = rows
        self._least = least
        self._fine = fine
        self._radius = (2 * (1 - least) + _SLACK).astype(np.float32)
        self._axes = self._cheapest()
        self._cells = _Cells(self._fine)
        self._cell = self._cells.of(self._fine)
        sizes = np.bincount(self._cell, minlength=self._cells.count)
        # Representatives of one cell stand together, in places that are kept for its rows.
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._ends = self._starts.copy()
        self._standing = np.empty(len(rows), np.int64)
        self._coarse = np.empty((len(rows), self._axes + 2), np.float32)
        self._reach = np.empty((_BLOCK, _BESIDE), np.float32)

    def add(self, rows: NDArray[np.int64]) -> None:
        """Representatives that are compared with from now on, ascending."""
        rows = rows[np.argsort(self._cell[rows], kind="stable")]
        cells = self._cell[rows]
        places = self._ends[cells] + np.arange(len(rows)) - np.searchsorted(cells, cells)
        coarse = self._fine[rows, : self._axes]
        self._standing[places], self._coarse[places] = rows, _beside(coarse, _squares(coarse), 1)
        self._ends += np.bincount(cells, minlength=self._cells.count)

    def take(self, block: NDArray[np.int64]) -> None:
        """The block whose rows are looked at from now on."""
        self._mine = self._rows[block]

    def near(
        self, block: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Places in the block, representatives near to them, and the cosines of these pairs."""
        coarse = self._fine[block, : self._axes]
        # r - |a - b|^2 of a pair as one product: (2 a, -1, r - |a|^2) with (b, |b|^2, 1).
        asked = _beside(2 * coarse, -1, self._radius[block] - _squares(coarse))
        reached = self._cells.reached(self._fine[block], np.sqrt(self._radius[block]))
        places, positions = [], []
        for cell in np.flatnonzero(self._ends > self._starts):
            asking = np.flatnonzero(reached[:, cell])
            mine = asked[asking]
            for start in range(self._starts[cell], self._ends[cell], _BESIDE):
                others = self._coarse[start : min(start + _BESIDE, self._ends[cell])]
                reach = self._reach[: len(mine), : len(others)]
                np.matmul(mine, others.T, out=reach)
                rows, columns = np.divmod(np.flatnonzero(reach >= 0), len(others))
                places.append(asking[rows])
                positions.append(start + columns)
        if not places:
            return block[:0], block[:0], np.empty(0)
        return self.in_full(
            block, np.concatenate(places), self._standing[np.concatenate(positions)]
        )

    def inside(self, block: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
        """The later places in the block that may be near to each place, as they ask.

        Those of the first place, then of the second, ...; and where those of each begin.
        """
        coarse = self._fine[block, : self._axes]
        squares = _squares(coarse)
        reach = coarse @ coarse.T
        reach *= 2
        reach += self._radius[block] - squares
        reach -= squares[:, np.newaxis]
        earlier, later = np.divmod(np.flatnonzero(reach >= 0), len(block))
        earlier, later = earlier[later > earlier], later[later > earlier]
        return later, np.searchsorted(earlier, np.arange(len(block) + 1)).tolist()

    def in_full(
        self,
        block: NDArray[np.int64],
        places: NDArray[np.int64],
        others: NDArray[np.int64] | np.int64,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Of pairs of a place in the block and a row those that are near, with their cosines."""
        others = np.broadcast_to(others, places.shape)
        left = np.empty(len(places), np.bool_)
        for start in range(0, len(places), _REPRESENTATIVES):
            part = slice(start, start + _REPRESENTATIVES)
            mine = block[places[part]]
            apart = _squares(self._fine[mine] - self._fine[others[part]])
            left[part] = apart <= self._radius[mine]
        return self._cosines(block, places[left], others[left])

    def _cosines(
        self, block: NDArray[np.int64], places: NDArray[np.int64], others: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        # By the other row, so that each of these is taken once.
        order = np.argsort(others, kind="stable")
        places, others = places[order], others[order]
        once, starts, again = np.unique(others, return_index=True, return_inverse=True)
        starts = np.append(starts, len(others))
        least = self._least[block[places]]
        found = np.full(len(places), -np.inf)
        for first in range(0, len(once), _TAKEN):
            taken = self._rows[once[first : first + _TAKEN]]
            until = starts[min(first + _TAKEN, len(once))]
            for start in range(starts[first], until, _PAIRS):
                pairs = np.arange(start, min(start + _PAIRS, until))
                mine, theirs = self._mine[places[pairs]], taken[again[pairs] - first]
                likely = np.einsum("ij,ij->i", mine, theirs) >= least[pairs] - _SLACK
                # A pair's cosine must not depend on what it is computed beside, as it does in a
                # product of matrices: groups would depend on batches.
                cosines = (mine[likely].astype(np.float64) * theirs[likely]).sum(axis=1)
                found[pairs[likely]] = cosines
        near = found >= least
        return places[near], others[near], found[near]

    def _cheapest(self) -> int:
        """On how many axes all pairs are compared: the more, the fewer are left to compare more."""
        mine, theirs = (
            np.unique(np.linspace(0, len(self._fine) - 1, count).astype(np.int64))
            for count in _SAMPLED
        )
        apart = np.zeros((len(mine), len(theirs)), np.float32)
        reach = self._radius[mine][:, np.newaxis]
        costs: dict[int, float] = {}
        done = 0
        for axes in sorted({min(one, self._fine.shape[1]) for one in _COARSE}):
            ours, others = self._fine[mine, done:axes], self._fine[theirs, done:axes]
            apart += _squares(ours)[:, np.newaxis] + _squares(others) - 2 * ours @ others.T
            costs[axes] = axes + _PAIR_AXES * float((apart <= reach).mean())
            done = axes
        return min(costs, key=lambda axes: (costs[axes], axes))


class _Cells:
    """Parts of the space, each nearest to one of some centres: one part where rows are few.

    Where a row lies so far on its own side of the border between its cell and another that its
    radius does not reach across, nothing in that cell is near it.
    """

    def __init__(self, rows: Vectors) -> None:
        import faiss

        if len(rows) <= _CELL_ROWS:
            self._centres = np.zeros((1, rows.shape[1]), np.float32)
        else:
            kmeans = faiss.Kmeans(rows.shape[1], _CELLS, niter=4, max_points_per_centroid=64)
            kmeans.train(rows)
            self._centres = np.asarray(kmeans.centroids, np.float32)
        self.count = len(self._centres)
        self._squares = _squares(self._centres) / 2
        wide = self._centres.astype(np.float64)
        self._apart = np.linalg.norm(wide[:, np.newaxis] - wide, axis=2)

    def of(self, rows: Vectors) -> NDArray[np.int64]:
        """The cell of each row (n, q): (n,)."""
        found = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = self._nearness(rows[part]).argmax(axis=1)
        return found

    def reached(self, rows: Vectors, radius: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether what is within its radius of each row may lie in each cell, (n, cells)."""
        nearness = self._nearness(rows)
        found = np.ones(nearness.shape, np.bool_)
        # (|x - b|^2 - |x - a|^2) / 2 |a - b| is how far x is from the border of the cells a and b.
        nearest = np.argsort(-nearness, axis=1)[:, :_NEAREST_CELLS]
        for cells in nearest.T if self.count > 1 else ():
            ahead = np.take_along_axis(nearness, cells[:, np.newaxis], axis=1) - nearness
            found &= ahead <= radius[:, np.newaxis] * self._apart[cells] + _SLACK
        return found

    def _nearness(self, rows: Vectors) -> NDArray[np.float32]:
        """The larger the nearer: (|x|^2 - |x - a|^2) / 2."""
        return np.asarray(rows @ self._centres.T - self._squares)


def _squares(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _apart(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances of all pairs, (n, m)."""
    found = rows @ others.T
    found *= -2
    found += _squares(rows)[:, np.newaxis]
    found += _squares(others)
    return np.asarray(found)


def _beside(
    rows: NDArray[np.float32],
    first: NDArray[np.float32] | float,
    second: NDArray[np.float32] | float,
) -> NDArray[np.float32]:
    """The rows with two more columns."""
    found = np.empty((len(rows), rows.shape[1] + 2), np.float32)
    found[:, :-2], found[:, -2], found[:, -1] = rows, first, second
    return found


def _projected(rows: Rows, axes: NDArray[np.float32]) -> Vectors:
    """The rows on axes, float32 (n, q)."""
    found = np.empty((len(rows), len(axes)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        np.matmul(rows[part], axes.T, out=found[part])
    return found


def _principal_axes(rows: Rows, count: int) -> NDArray[np.float32]:
    """Principal axes of a sample, the widest first, orthonormal rows (q, d)."""
    from sklearn.utils.extmath import randomized_svd

    sample = rows[:: -(-len(rows) // _AXES_ROWS)]
    count = min(count, *sample.shape)
    # Threads of OpenBLAS wait for each other for longer than so little work takes.
    small = sample.size * count < _WORTH_THREADS
    with devices.one_blas_thread if small else contextlib.nullcontext():
        _, _, axes = randomized_svd(sample - sample.mean(axis=0), count, n_iter=1, random_state=0)
    return np.asarray(axes, dtype=np.float32)
