"""Smoothing: each row is averaged with its nearest neighbours, so that groups draw together.

A row is replaced by the mean of its nearest neighbours, itself among them, weighted by their cosine
where it is positive, at unit length; a few rounds of it. A random walk on the neighbour graph of a
few steps does the same to labels (Zhou et al. 2004); a row without neighbours stays where it is.
Rows that a person wants together can be drawn to their mean besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked, means, threads_for
from imgclust.errors import ClusteringError

ROUNDS = 3
NEIGHBOURS = 10  # the row itself among them
# More rows than this are searched by lists of rows that lie near each other; the cost is n^1.5.
EXACT_ROWS = 20_000
_PROBES = 24  # lists that an arrival is compared with, of n^.5
_TRAINING = 64  # rows for each list
# The same of all rows among themselves: of more and shorter lists, so that fewer rows are compared.
_LISTS = 1.5  # times n^.5
_TURNS = 4
_PROBES_AMONG = 14  # with 4, which miss a sixth of the neighbours, AMI falls (docs/speed.md)
_TOGETHER = 300_000  # candidates that are sorted at once
_PRODUCTS = 1 << 18  # cosines in memory at once
_BLOCK = 4_096
_COLUMNS = 32
_Candidates = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
# What the mean of its camp weighs for a row, where a neighbour weighs its cosine (docs/quality.md).
CAMP_WEIGHT = 3.0
_SAME = 1e-5  # of a cosine, to which positions in float16 are known


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Rows and what smoothing made of them.

    Attributes
    ----------
    points
        The rows before, of unit length or zeros, float32, shape (n, q).
    smoothed
        The rows after the last round, float32, shape (n, q).
    neighbours
        How many neighbours each was averaged with, itself included.
    around
        Cosines and positions of the neighbours of each row, (n, c), where they are known.
    """

    points: NDArray[np.float32]
    smoothed: NDArray[np.float32]
    neighbours: int
    around: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None

    def drawn(self, camps: NDArray[np.int64], *, weight: float = CAMP_WEIGHT) -> Smoothed:
        """The same with rows of one camp (n,) drawn together in each round; -1 for no camp."""
        if self.around is None or not (camps >= 0).any():
            return self
        return replace(
            self, smoothed=_rounds(self.points, *self.around, ROUNDS, camps=camps, weight=weight)
        )

    @cached_property
    def _searched(self) -> _Searched:
        return _Searched(self.points)

    def place(self, arrivals: NDArray[Any], *, alone: bool = False) -> NDArray[np.float32]:
        """Smoothed positions of rows (m, q): float32 (m, q).

        One that is among the points has its position there, or with `alone` that of an arrival.
        An arrival is averaged once with the smoothed positions of its nearest points. These stay
        as they are, so that the order of arrivals does not matter. The nearest centroid is then
        the same as after smoothing with all of them for 95 of 100 arrivals or more
        (docs/quality.md).
        """
        rows = checked(arrivals) if len(arrivals) else np.empty_like(self.points[:0])
        if rows.shape[1] != self.points.shape[1]:
            raise ClusteringError(
                f"rows of {rows.shape[1]} values do not fit points of {self.points.shape[1]}"
            )
        if not len(rows) or not len(self.points):
            return rows.copy()
        cosines, positions = self._searched.nearest(rows, self.neighbours)
        same = cosines >= 1 - _SAME
        known = same.any(axis=1)
        cosines[same] = 0
        cosines[~known, self.neighbours - 1 :] = 0
        found = np.empty_like(rows)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = placed(rows[part], self.smoothed, cosines[part], positions[part])
        if not alone:
            found[known] = self.smoothed[positions[known, same[known].argmax(axis=1)]]
        return found


def without_own(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines with neighbours (m, c) without those of a row with itself and its equals."""
    return np.where(cosines >= 1 - _SAME, np.float32(0), cosines)


def placed(
    rows: NDArray[np.float32],
    smoothed: NDArray[np.float32],
    cosines: NDArray[np.float32],
    positions: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Smoothed positions of rows (m, q) whose neighbours among the stored rows are known.

    Parameters
    ----------
    rows
        The arrivals before smoothing, of unit length, float32, shape (m, q).
    smoothed
        The smoothed positions of what is stored, float32, shape (n, q).
    cosines, positions
        Of the neighbours of each arrival, without itself, float32 and int64, shape (m, c);
        -1 where there is none.
    """
    weights = np.where(positions >= 0, np.maximum(cosines, 0), 0).astype(np.float32)
    around = np.einsum("mc,mcq->mq", weights, smoothed[positions])
    return _unit(rows + around)


def smooth(points: NDArray[Any], *, rounds: int = ROUNDS, neighbours: int = NEIGHBOURS) -> Smoothed:
    """Smooth rows over their nearest neighbours, which are those before the first round.

    Parameters
    ----------
    points
        float32, shape (n, q), of unit length; a row of zeros stays one.
    rounds
        How often each row is averaged.
    neighbours
        How many rows each is averaged with, itself included.

    Raises
    ------
    ClusteringError
        For no rows, NaN or infinity, or fewer than 0 rounds or 1 neighbour.
    """
    rows = checked(points)
    around = _neighbours(rows, rounds, neighbours)
    if around is None:
        return Smoothed(rows, rows.copy(), neighbours)
    return Smoothed(rows, _rounds(rows, *around, rounds), neighbours, around)


def smooth_in_place(
    points: Vectors,
) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """Smooth rows (n, q) as `smooth` does, without another copy of them.

    Returns cosines and positions of the neighbours of each row, None of a single one.
    """
    rows = checked(points)
    around = _neighbours(rows, ROUNDS, NEIGHBOURS)
    if around is not None:
        _rounds(rows, *around, ROUNDS, out=points)
    return around


def _neighbours(
    rows: Vectors, rounds: int, neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """What smoothing averages each row with; None where there is nothing to average."""
    if rounds < 0 or neighbours < 1:
        raise ClusteringError(
            f"{rounds} rounds over {neighbours} neighbours cannot be done; use 0 or more over 1 "
            "or more"
        )
    if not rounds or neighbours == 1 or len(rows) == 1:
        return None
    return _around(rows, neighbours)


def _rounds(
    rows: Vectors,
    cosines: NDArray[np.float32],
    positions: NDArray[np.int64],
    rounds: int,
    *,
    camps: NDArray[np.int64] | None = None,
    weight: float = 0.0,
    out: Vectors | None = None,
) -> Vectors:
    """The rows after so many averages with their neighbours, and with the mean of their camp."""
    weights = _weights(np.maximum(cosines, 0), positions)
    among = np.flatnonzero(camps >= 0) if camps is not None else np.empty(0, np.int64)
    camp = np.empty(0, np.int32)
    if camps is not None and among.size:
        camp = np.unique(camps[among], return_inverse=True)[1].astype(np.int32)
    smoothed = rows.copy() if out is None else out
    for _ in range(rounds):
        # Some columns at a time, so that a second copy of all is not needed.
        for start in range(0, rows.shape[1], _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            before = np.ascontiguousarray(smoothed[:, columns])
            averaged = weights @ before
            if among.size:
                centres = means(before[among], camp, int(camp.max()) + 1)
                averaged[among] += weight * centres[camp]
            smoothed[:, columns] = averaged
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            smoothed[part] = _unit(smoothed[part])
    return smoothed


def _weights(cosines: NDArray[np.float32], positions: NDArray[np.int64]) -> Any:
    """The weight of each row's neighbours as a sparse matrix (m, n)."""
    from scipy.sparse import csr_array

    m, count = cosines.shape
    ends = np.arange(0, m * count + 1, count)
    return csr_array((cosines.ravel(), positions.ravel(), ends), (m, m))


class _Searched:
    """Finds the nearest of some points: exactly, or of many by FAISS's inverted file.

    The inverted file misses a few.
    """

    def __init__(self, points: Vectors) -> None:
        import faiss

        dims = points.shape[1]
        self._count = self._compared = len(points)
        self._index: Any = faiss.IndexFlatIP(dims)
        if len(points) > EXACT_ROWS:
            lists = max(1, round(len(points) ** 0.5))
            self._lists = self._index
            self._index = faiss.IndexIVFFlat(self._lists, dims, lists, faiss.METRIC_INNER_PRODUCT)
            self._index.cp.min_points_per_centroid = 1
            self._index.cp.max_points_per_centroid = _TRAINING
            self._index.cp.spherical = True  # see `_nearest_lists`
            self._index.train(points)
            self._index.nprobe = _PROBES
            self._compared = lists + _PROBES * len(points) // lists
        self._index.add(np.ascontiguousarray(points))

    def nearest(
        self, rows: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Cosines and positions of the points nearest to each row, (m, count); -1 for none.

        Fewer columns where there are fewer points.
        """
        wanted = max(0, min(count, self._count))
        with threads_for(rows.size * self._compared):
            cosines, positions = self._index.search(np.ascontiguousarray(rows), wanted)
        return cosines, positions


def _around(rows: Vectors, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Neighbours of the rows among themselves; each row is its own first neighbour."""
    count = min(count, len(rows))
    if len(rows) > EXACT_ROWS:
        cosines, positions = _by_lists(rows, count)
    else:
        cosines, positions = _Searched(rows).nearest(rows, count)
    # Among equal rows the row itself need not be found: it takes the place of the last one.
    own = np.arange(len(rows))
    lost = ~(positions == own[:, np.newaxis]).any(axis=1)
    positions[lost, -1] = own[lost]
    cosines[lost, -1] = np.einsum("ij,ij->i", rows[lost], rows[lost])
    cosines[positions < 0] = 0
    positions[positions < 0] = 0
    return cosines, positions


def _by_lists(rows: Vectors, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Neighbours of many rows among themselves, most of them: (n, count), -1 for none.

    Each row is compared with those of the lists nearest to it, as in FAISS's inverted file, but
    list by list: with all rows that ask for a list in one product of matrices. A cosine serves
    both of its rows. What is not nearer than the neighbours that a row has is left out at once.
    """
    n = len(rows)
    near = _nearest_lists(rows)
    own = near[:, 0].copy()
    order = np.argsort(own, kind="stable").astype(np.int32)
    lists = int(near.max()) + 1
    bounds = np.searchsorted(own[order], np.arange(lists + 1))
    cosines = np.full((n, count), -2, np.float32)
    positions = np.full((n, count), -1, np.int32)
    for number in range(lists):
        mine = order[bounds[number] : bounds[number + 1]]
        if not mine.size:
            continue
        kept = min(count, len(mine))
        others = rows[mine].T
        for part in _parts(mine, len(mine)):
            products = rows[part] @ others
            best = np.argpartition(-products, kept - 1, axis=1)[:, :kept]
            cosines[part, :kept] = np.take_along_axis(products, best, axis=1)
            positions[part, :kept] = mine[best]
    least = cosines.min(axis=1)
    by_list = np.argsort(near[:, 1:], axis=None, kind="stable")
    starts = np.searchsorted(near[:, 1:].ravel()[by_list], np.arange(lists + 1))
    asking = (by_list // max(1, near.shape[1] - 1)).astype(np.int32)
    del by_list
    waiting: list[_Candidates] = []
    candidates = 0
    for number in range(lists):
        theirs = order[bounds[number] : bounds[number + 1]]
        others = np.ascontiguousarray(rows[theirs].T)
        for part in _parts(asking[starts[number] : starts[number + 1]], len(theirs)):
            products = rows[part] @ others
            first, second, values = _chosen(products, least[part, np.newaxis])
            waiting.append((part[first], theirs[second], values))
            first, second, values = _chosen(products, least[theirs])
            askers, answerers = part[first], theirs[second]
            # A row that asks for the other's list too is compared with it there.
            new = (near[answerers, 1:] != own[askers, np.newaxis]).all(axis=1)
            waiting.append((answerers[new], askers[new], values[new]))
            candidates += len(waiting[-2][0]) + len(waiting[-1][0])
        if waiting and (candidates > _TOGETHER or number == lists - 1):
            asked, found, values = (np.concatenate(one) for one in zip(*waiting, strict=True))
            _merge(cosines, positions, asked, found, values)
            least[asked] = cosines[asked, -1]
            waiting.clear()
            candidates = 0
    return cosines, positions.astype(np.int64)


def _chosen(
    products: NDArray[np.float32], least: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows and columns of the products that are larger than the least, and these."""
    found = np.flatnonzero(products > least)
    first, second = np.divmod(found, max(1, products.shape[1]))
    return first, second, products.ravel()[found]


def _parts(rows: NDArray[np.int32], others: int) -> Iterator[NDArray[np.int32]]:
    """So many of the rows at a time that their products with the others take little memory."""
    at_once = max(1, _PRODUCTS // max(1, others))
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once]


def _nearest_lists(rows: Vectors) -> NDArray[np.int16]:
    """The lists nearest to each row, its own first, (n, 14) or fewer."""
    import faiss

    lists = max(1, round(_LISTS * len(rows) ** 0.5))
    kmeans = faiss.Kmeans(
        rows.shape[1],
        lists,
        niter=_TURNS,
        # Otherwise a few lists near the mean hold most of the rows.
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=_TRAINING,
    )
    kmeans.train(rows)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(kmeans.centroids)
    found = index.search(rows, min(_PROBES_AMONG, lists))[1]
    return np.asarray(found, np.int16)


def _merge(
    cosines: NDArray[np.float32],
    positions: NDArray[np.int32],
    asked: NDArray[np.int32],
    found: NDArray[np.int32],
    products: NDArray[np.float32],
) -> None:
    """Take candidates (row, position, cosine) in where they are among the best of their row.

    The best of these rows are sorted then, the nearest first.
    """
    some, own = np.unique(asked, return_inverse=True)
    count = cosines.shape[1]
    owners = np.concatenate([np.repeat(np.arange(len(some)), count), own])
    values = np.concatenate([cosines[some].ravel(), products])
    places = np.concatenate([positions[some].ravel(), found])
    # The bits of floats as integers of the same order: one number is sorted faster than two.
    bits = values.view(np.int32)
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    order = np.argsort((owners << 32) - rising, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(some)))
    best = order[starts[:, np.newaxis] + np.arange(count)]
    cosines[some], positions[some] = values[best], places[best]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
