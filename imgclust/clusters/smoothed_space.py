"""The space `smoothed`: burst groups, half whitening, and averages over the nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from imgclust.clustering import Smoothed, burst_rule, carried, group_bursts, smooth
from imgclust.progress import Progress, StopFlag
from imgclust.projection import SmoothedProjection, fit_half_white

Vectors = npt.NDArray[np.float32]

# Of more contents an even sample is kept to place arrivals by. Of half of them 88 of 100 arrivals
# join the cluster that they join by all.
_REFERENCE = 100_000
_BLOCK = 5_000
# Points that stand for a place in the space.
_NEAR = 10


@dataclass(frozen=True, eq=False)
class SmoothedSpace:
    """Contents in the smoothed space.

    Attributes
    ----------
    projection
        What places others among them.
    points
        float32 (n, q); those of a burst group are one point.
    alone
        Where each would lie as an arrival, float32 (n, q).
    leaders
        The row that represents each row's burst group, int64 (n,).
    """

    projection: SmoothedProjection
    points: Vectors
    alone: Vectors
    leaders: npt.NDArray[np.int64]


def fit_smoothed(
    rows: Vectors,
    *,
    seed: int,
    leaders: npt.NDArray[np.int64] | None = None,
    together: Sequence[tuple[int, int]] = (),
    clusters: int = 1,
    progress: Progress,
    stop: StopFlag | None,
) -> SmoothedSpace:
    """Bring embeddings (n, d) of unit length into a smoothed space of their own.

    Parameters
    ----------
    leaders
        The rows that represent their burst groups (n,), where these are known.
    together
        Pairs of rows that a person wants together: they and the rows around them are drawn closer.
    clusters
        How many there are now; it decides how many rows are around one.
    """

    def now_at(number: int) -> None:
        if stop is not None:
            stop.check()
        progress("smoothing", number, 3)

    now_at(0)
    if leaders is None:
        leaders = group_bursts(rows, bounds=burst_rule(rows).bounds(rows))
    chosen, group = np.unique(leaders, return_inverse=True)
    now_at(1)
    half = fit_half_white(rows, rows=chosen, seed=seed)
    points = np.empty((len(chosen), half.dims), np.float32)
    for start in range(0, len(chosen), _BLOCK):
        part = slice(start, start + _BLOCK)
        points[part] = half.transform(rows[chosen[part]])
    now_at(2)
    found = smooth(points)
    if together:
        pairs = [(int(group[one]), int(group[other])) for one, other in together]
        found = found.drawn(carried(found.smoothed, clusters, pairs))
    now_at(3)
    kept = found
    if len(points) > _REFERENCE:
        few = slice(None, None, -(-len(points) // _REFERENCE))
        kept = Smoothed(found.points[few], found.smoothed[few], found.neighbours)
    projection = SmoothedProjection(
        half, kept.points.astype(np.float16), kept.smoothed.astype(np.float16), kept.neighbours
    )
    alone = found.alone() if kept is found else kept.place(found.points, alone=True)
    smoothed = found.smoothed
    if len(chosen) < len(rows):
        del found, kept, points  # each is 100 MB of 100,000 contents
        alone = alone[group]
        smoothed = smoothed[group]
    return SmoothedSpace(projection, smoothed, alone, leaders)


# Arrivals come a few at a time, and an index over the reference takes longer than they do.
_loaded: WeakKeyDictionary[SmoothedProjection, Smoothed] = WeakKeyDictionary()


def load(projection: SmoothedProjection) -> Smoothed:
    """Make ready what places arrivals, once: for 100,000 contents it takes two seconds."""
    if projection not in _loaded:
        space = Smoothed(*projection.reference(), projection.neighbours)
        space.place(space.points[:1])
        _loaded[projection] = space
    return _loaded[projection]


def place(projection: SmoothedProjection, rows: Vectors, *, alone: bool = False) -> Vectors:
    """Embeddings (n, d) in a smoothed space, float32 (n, q).

    One that the space was made from has its own place, unless `alone`.
    """
    found = np.empty((len(rows), projection.dims), np.float32)
    space = load(projection)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = space.place(projection.half.transform(rows[part]), alone=alone)
    return found


def embeddings_at(projection: SmoothedProjection, points: Vectors) -> Vectors:
    """Embeddings (n, d) whose place is near to points (n, q): by the ten nearest references."""
    before, after = projection.reference()
    means = np.empty((len(points), projection.dims), np.float32)
    for row, point in enumerate(points):
        apart = ((after - point) ** 2).sum(axis=1)
        means[row] = before[np.argsort(apart, kind="stable")[:_NEAR]].mean(axis=0)
    return projection.half.inverse(means)
