"""Pairs to ask a person about, "the same group?", and what an answer says of other rows.

Rows are divided into small local groups. A pair of images is a question about two groups, and the
nearest groups come first, whatever cluster they are in. What follows from earlier answers is not
asked: those that are together are one camp, and a camp that is apart from another is so with all
of its groups (Van Craenendonck et al. 2018, "COBRAS"). There are few groups at first, so that an
answer tells of many images, and more where all pairs are known (A3S, arXiv 2407.10196, chooses the
level so).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors
from imgclust.clustering.kmeans import fit

Pair = tuple[int, int]

# Local groups for each cluster at first, and the rows that each holds on average at least, at first
# and at last. Pairs of groups are compared, so there are so many at most.
_GROUPS_PER_CLUSTER = 4
_LEAST_ROWS, _LEAST_ROWS_LAST = 5, 3
_MOST_GROUPS = 1_000


def group_counts(rows: int, clusters: int) -> list[int]:
    """Numbers of local groups to ask about, one after the other."""
    most = max(1, min(_MOST_GROUPS, rows // _LEAST_ROWS_LAST))
    first = min(_GROUPS_PER_CLUSTER * max(1, clusters), rows // _LEAST_ROWS, most)
    counts = [max(1, first)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return counts


def carried(
    points: NDArray[Any], clusters: int, together: Sequence[Pair], *, seed: int = 0
) -> NDArray[np.int64]:
    """The camp of each row, int64 (n,), by what a person said of some; -1 where nothing was.

    A row of a pair takes its local group along; of several in one group each takes the rows that
    are nearest to it.

    Parameters
    ----------
    points
        float32, shape (n, d).
    clusters
        How many there are; it decides how large the local groups are.
    together
        Pairs of rows that belong together. Rows that are linked by such pairs are one camp.
    seed
        Of the local groups.
    """
    camps = _Camps(len(points), together)
    found = np.full(len(points), -1, np.int64)
    said = np.array(sorted({row for pair in together for row in pair}), np.int64)
    if not said.size:
        return found
    group = fit(points, group_counts(len(points), clusters)[0], seed=seed).assigned
    for number in np.unique(group[said]).tolist():
        members = np.flatnonzero(group == number)
        leads = said[group[said] == number]
        nearest = _squared(points[members], points[leads]).argmin(axis=1)
        found[members] = [camps.of(int(row)) for row in leads[nearest]]
    found[said] = [camps.of(int(row)) for row in said]
    return found


@dataclass(frozen=True, eq=False)
class Known:
    """What is known about rows.

    Attributes
    ----------
    together, apart
        Pairs of rows.
    fixed
        A number for rows whose cluster is given, int (n,); those of one number are together,
        those of two are apart. -1 where it is free.
    skipped
        Pairs that are not asked about, whatever else.
    """

    together: Sequence[Pair]
    apart: Sequence[Pair]
    fixed: NDArray[np.integer[Any]]
    skipped: Sequence[Pair] = ()


class PairChoice:
    """Chooses the pairs of rows to ask about.

    Parameters
    ----------
    points
        float32, shape (n, d).
    clusters
        How many there are.
    allowed
        Rows that can be asked about, bool (n,); None for all.
    seed
        Of the local groups.
    """

    def __init__(
        self,
        points: Vectors,
        clusters: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        seed: int = 0,
    ) -> None:
        self._points = points
        self._allowed = np.ones(len(points), np.bool_) if allowed is None else allowed
        self._counts = group_counts(len(points), clusters)
        self._seed = seed
        self._levels: dict[int, tuple[NDArray[np.int32], Vectors]] = {}

    def pairs(self, count: int, known: Known) -> list[Pair]:
        """At most `count` pairs, the most telling first.

        No pair follows from others that are answered with yes.
        """
        camps = _Camps(len(self._points), known.together)
        fixed = np.asarray(known.fixed)
        camps.join_equal(fixed)
        given = {camps.of(row) for row in np.flatnonzero(fixed >= 0).tolist()}
        apart = (*known.apart, *known.skipped)
        said = (*known.together, *apart)
        asked = {row for pair in said for row in pair}
        found: list[Pair] = []
        for number in self._counts:
            leads = self._leads(number, asked)
            camp, closed = camps.settled(leads, apart, given)
            apart_from = _squared(self._points[leads], self._points[leads])
            apart_from[np.tril_indices(len(leads))] = np.inf
            apart_from[closed] = np.inf
            while len(found) < count and apart_from.size:
                pair = divmod(int(np.argmin(apart_from)), len(leads))
                if not np.isfinite(apart_from[pair]):
                    break
                one, other = (int(leads[place]) for place in pair)
                found.append((min(one, other), max(one, other)))
                camps.join(one, other)
                # From now on they are one camp, which is apart from what one of them was.
                joined = (camp == camp[pair[0]]) | (camp == camp[pair[1]])
                camp[joined] = camp[pair[0]]
                known_now = closed[joined].any(axis=0) | joined
                closed[joined] |= known_now
                closed[:, joined] |= known_now[:, np.newaxis]
                apart_from[joined] = np.where(closed[joined], np.inf, apart_from[joined])
                apart_from[:, joined] = np.where(closed[:, joined], np.inf, apart_from[:, joined])
        return found

    def _level(self, number: int) -> tuple[NDArray[np.int32], Vectors]:
        if number not in self._levels:
            made = fit(self._points, number, seed=self._seed)
            self._levels[number] = made.assigned, made.centroids
        return self._levels[number]

    def _leads(self, number: int, said: Iterable[int]) -> NDArray[np.int64]:
        """The row that represents each group: the most central, first of those asked about."""
        group, centroids = self._level(number)
        known = np.zeros(len(group), np.bool_)
        known[list(said)] = True
        rows = np.flatnonzero(self._allowed)
        apart = np.square(self._points[rows] - centroids[group[rows]]).sum(axis=1)
        order = np.lexsort((apart, ~known[rows], group[rows]))
        _, first = np.unique(group[rows][order], return_index=True)
        return rows[order[first]]


class _Camps:
    """Rows that are together, by union and find."""

    def __init__(self, rows: int, together: Iterable[Pair]) -> None:
        self._parent = list(range(rows))
        for one, other in together:
            self.join(one, other)

    def of(self, row: int) -> int:
        """The row that names the camp."""
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        self._parent[second] = first

    def join_equal(self, fixed: NDArray[np.integer[Any]]) -> None:
        """Rows of one number are one camp."""
        _, first = np.unique(fixed, return_index=True)
        lead = {int(fixed[row]): int(row) for row in first}
        for row in np.flatnonzero(fixed >= 0).tolist():
            self.join(lead[int(fixed[row])], row)

    def settled(
        self, rows: NDArray[np.int64], apart: Iterable[Pair], given: Collection[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The camps of rows (m,), and which of them are of one camp or known to be apart (m, m).

        The `given` camps are all apart from each other.
        """
        camps = np.array([self.of(row) for row in rows.tolist()], np.int64)
        places: dict[int, list[int]] = {}
        for place, camp in enumerate(camps.tolist()):
            places.setdefault(camp, []).append(place)
        found = np.equal.outer(camps, camps)
        held = {self.of(row) for row in given}
        fixed = np.array([camp in held for camp in camps.tolist()], np.bool_)
        found |= np.logical_and.outer(fixed, fixed)
        for pair in {(self.of(one), self.of(other)) for one, other in apart}:
            first, second = (places.get(camp, []) for camp in pair)
            if first and second:
                found[np.ix_(first, second)] = found[np.ix_(second, first)] = True
        return camps, found


def _squared(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Squared distances, (n, m)."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    found = np.square(first).sum(axis=1)[:, np.newaxis] + np.square(second).sum(axis=1)
    return np.asarray(np.maximum(found - 2 * first @ second.T, 0))
