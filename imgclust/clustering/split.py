"""Which cluster to divide next: every candidate is scored by its exact drop in inertia."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors

_ROWS = 5_000  # rows of a cluster that the division itself looks at; its gain is over all
_TURNS = 10
_STALE_SHARE = 0.1


@dataclass(frozen=True)
class Division:
    """Two centroids in place of one, float32 (2, d), and the drop in inertia they bring."""

    gain: float
    centroids: NDArray[np.float32]


class Splitter:
    """Scores divisions of clusters, again only for those whose members have changed.

    Parameters
    ----------
    vectors
        float32, shape (n, d); the rows that every later assignment is about.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._scored_as = np.full(len(vectors), -1, dtype=np.int64)
        self._divisions: list[Division | None] = []

    def best(
        self, assigned: NDArray[np.int32], k: int, *, fixed: int = 0
    ) -> tuple[int, Division] | None:
        """The cluster whose division gains most, or None when none can be divided.

        The first `fixed` clusters are not looked at.
        """
        del self._divisions[k:]
        self._divisions.extend([None] * (k - len(self._divisions)))
        sizes = np.bincount(assigned, minlength=k)
        moved = assigned != self._scored_as
        left = self._scored_as[moved]
        strangers = np.bincount(assigned[moved], minlength=k)
        strangers += np.bincount(left[(left >= 0) & (left < k)], minlength=k)
        order = np.argsort(assigned, kind="stable")
        ends = np.cumsum(sizes)
        for cluster in range(fixed, k):
            if (
                self._divisions[cluster] is None
                or strangers[cluster] > _STALE_SHARE * sizes[cluster]
            ):
                members = order[ends[cluster] - sizes[cluster] : ends[cluster]]
                self._divisions[cluster] = divide(self._vectors[members])
                self._scored_as[members] = cluster
        gains = [division.gain if division else 0.0 for division in self._divisions]
        winner = int(np.argmax(gains))
        division = self._divisions[winner]
        if division is None or division.gain <= 0:
            return None
        self._divisions[winner] = None  # it is about to be divided: score its halves afresh
        return winner, division


def divide(members: Vectors) -> Division:
    """Divide one cluster in two: 2-means started along its principal direction.

    Parameters
    ----------
    members
        float32, shape (m, d).
    """
    m = len(members)
    centre = members.mean(axis=0, dtype=np.float64).astype(np.float32)
    nothing = Division(0.0, np.stack([centre, centre]))
    if m < 2:
        return nothing
    centred = members - centre
    seen = centred if m <= _ROWS else centred[:: -(-m // _ROWS)]
    direction = seen[int(np.argmax(np.einsum("ij,ij->i", seen, seen)))]
    for _ in range(3):
        direction = (seen @ direction) @ seen
        length = float(np.linalg.norm(direction))
        if length == 0:
            return nothing
        direction = direction / length
    offset = 0.0
    for _ in range(_TURNS):
        side = seen @ direction > offset
        count = int(side.sum())
        if count in (0, len(seen)):
            break
        first, second = _means(seen, side)
        turned = first - second
        moved = float((first @ first - second @ second) / 2)
        same = moved == offset and np.array_equal(turned, direction)
        direction, offset = turned, moved
        if same:
            break
    side = centred @ direction > offset
    count = int(side.sum())
    if count in (0, m):
        return nothing
    first, second = _means(centred, side)
    between = (first - second).astype(np.float64)
    gain = count * (m - count) / m * float(between @ between)
    return Division(gain, np.stack([first + centre, second + centre]))


def _means(rows: Vectors, side: NDArray[np.bool_]) -> tuple[Vectors, Vectors]:
    """Means of the rows on the one side and on the other (the rows' mean need not be 0)."""
    weight = side.astype(np.float32)
    count = float(weight.sum())
    first = weight @ rows
    second = (1 - weight) @ rows
    return first / count, second / (len(rows) - count)
