"""The space `smoothed`: burst groups, half whitening, and averages over the nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clustering.kmeans import assign
from imgclust.clustering.pair_choice import carried
from imgclust.clustering.smoother import (
    NEIGHBOURS,
    Smoothed,
    placed,
    smooth,
    smooth_in_place,
    without_own,
)
from imgclust.progress import Progress, StopFlag
from imgclust.projection.half_white import (
    AXES as SMOOTHED_AXES,
)
from imgclust.projection.half_white import (
    SIMILARITY_AXES,
    HalfWhiteProjection,
    SmoothedProjection,
    fit_half_white,
)
from imgclust.vectors import Rows, to_unit_length

Vectors = npt.NDArray[np.float32]

# Of more contents an even sample is kept to place arrivals by. Of half of them 88 of 100 arrivals
# join the cluster that they join by all.
_REFERENCE = 100_000
_BLOCK = 5_000
_COLUMNS = 32
_SMALL_BLOCK = 1_000  # of rows with the places of all their neighbours
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
    leaders
        The row that represents each row's burst group, int64 (n,).
    half
        What the projection half-whitens with, and further axes that similarity is measured on.
    """

    projection: SmoothedProjection
    points: Vectors
    leaders: npt.NDArray[np.int64]
    half: HalfWhiteProjection


def fit_smoothed(
    rows: Rows,
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
    wide = fit_half_white(rows, dims=max(SMOOTHED_AXES, SIMILARITY_AXES), rows=chosen, seed=seed)
    half = wide.leading(SMOOTHED_AXES)
    # Those of all rows in the end; a second array would be 100 MB of 100,000 contents.
    all_points = np.empty((len(rows), half.dims), np.float32)
    points = all_points[: len(chosen)]
    for start in range(0, len(chosen), _BLOCK):
        part = slice(start, start + _BLOCK)
        points[part] = half.transform(rows[chosen[part]])
    now_at(2)
    few = slice(None, None, -(-len(points) // _REFERENCE))
    before = points[few].astype(np.float16)
    around: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None
    if together:
        pairs = [(int(group[one]), int(group[other])) for one, other in together]
        found = smooth(points)
        points[:] = found.drawn(carried(found.smoothed, clusters, pairs)).smoothed
        around = found.around
        del found
    else:
        around = smooth_in_place(points)
    now_at(3)
    near = None if len(before) < len(points) or around is None else around[1].astype(np.int32)
    projection = SmoothedProjection(
        half,
        before,
        points[few].astype(np.float16),
        NEIGHBOURS,
        None if near is None or around is None else (around[0], near),
    )
    if len(chosen) < len(rows):
        for start in range(0, half.dims, _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            all_points[:, columns] = points[:, columns][group]
    return SmoothedSpace(projection, all_points, leaders, wide)


def stored_points(projection: SmoothedProjection, leaders: npt.NDArray[np.int64]) -> Vectors | None:
    """The points (n, q) of rows whose burst groups, (n,), are those that the space was made from.

    None where the projection holds a sample of them alone.
    """
    group = _group(projection, leaders)
    if group is None:
        return None
    found = np.empty((len(leaders), projection.dims), np.float32)
    for start in range(0, len(leaders), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = projection.smoothed[group[part]]
    return to_unit_length(found)


def distances_alone(
    projection: SmoothedProjection,
    rows: Rows,
    centroids: Vectors,
    *,
    leaders: npt.NDArray[np.int64] | None,
) -> npt.NDArray[np.float64]:
    """How far embeddings (n, d) would be from the nearest centroid had they come later, (n,).

    `leaders` are the burst groups of the rows, (n,), where the space was made from all of them.
    """
    group = None if leaders is None else _group(projection, leaders)
    if group is None or projection.around is None:
        found = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = assign(place(projection, rows[part], alone=True), centroids)[1]
        return found
    apart = np.empty(len(projection.points))
    for start in range(0, len(apart), _SMALL_BLOCK):
        part = slice(start, start + _SMALL_BLOCK)
        cosines, near = projection.around[0][part], projection.around[1][part]
        points = to_unit_length(projection.points[part].astype(np.float32))
        others, positions = np.unique(near, return_inverse=True)
        smoothed = to_unit_length(projection.smoothed[others].astype(np.float32))
        positions = positions.reshape(near.shape)
        apart[part] = assign(placed(points, smoothed, without_own(cosines), positions), centroids)[
            1
        ]
    return apart[group]


def _group(
    projection: SmoothedProjection, leaders: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """The place of each row's burst group in the reference, None where it does not hold all."""
    chosen, group = np.unique(leaders, return_inverse=True)
    if projection.around is None or len(chosen) != len(projection.points):
        return None
    return group


# Arrivals come a few at a time, and an index over the reference takes longer than they do.
_loaded: WeakKeyDictionary[SmoothedProjection, Smoothed] = WeakKeyDictionary()


def loaded(projection: SmoothedProjection) -> bool:
    """Whether arrivals can be placed at once."""
    return projection in _loaded


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
