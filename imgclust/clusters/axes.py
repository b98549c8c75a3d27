"""Points on principal axes, and when the axes are carried on instead of being fitted anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.errors import ClusteringError
from imgclust.projection import PcaProjection, projection_from_bytes, refreshed

# Fewer contents are fitted anew in the same time, and then the axes depend on them alone.
LEAST_CONTENTS = 5_000
# With more new contents than this share, or so many, a new fit hardly takes longer
# (`scripts/bench cluster pca`); it needs no more for 100,000 contents than for 30,000.
FRESH_SHARE = 0.05
MOST_FRESH = 1_500
# Of what the axes stand for, the share that may have left.
GONE_SHARE = 0.05
# To so many times what they were fitted on they are carried on: so far they were seen to hold
# 99.9 % of what those of a new fit held (docs/how-it-decides.md).
MOST_GROWN = 1.5
# Leading numbers of embeddings that are compared first.
_HEAD = 8


def carried_on(
    catalog: Catalog,
    keys: npt.NDArray[np.int64],
    rows: npt.NDArray[np.float32],
    *,
    recipe: str,
    sequence: int,
    settings: Mapping[str, Any],
) -> PcaProjection | None:
    """The last PCA of a space after it learnt what came since.

    None where there is none, or a new fit is as cheap or better.

    Parameters
    ----------
    keys, rows
        Contents (n,), ascending, and what the axes are fitted on, float32 (n, d).
    sequence
        The last change that they hold.
    settings
        Of the space: only axes that were made with the same are carried on.
    """
    if len(keys) < LEAST_CONTENTS:
        return None
    last = catalog.projections.newest(kind="pca", purpose="space", recipe=recipe, settings=settings)
    if last is None:
        return None
    try:
        projection = projection_from_bytes(last.blob)
    except ClusteringError:  # damaged, or of a newer format: `cluster` replaces it
        return None
    if not isinstance(projection, PcaProjection) or projection.variances is None:
        return None
    fresh = np.isin(keys, catalog.contents.added_between(last.sequence, sequence))
    came = int(fresh.sum())
    learnt = projection.rows + came
    if (
        came > min(MOST_FRESH, FRESH_SHARE * len(keys))
        or learnt - len(keys) > GONE_SHARE * projection.rows
        or learnt > MOST_GROWN * projection.fitted
    ):
        return None
    return refreshed(projection, rows[fresh])


def alike(
    rows: npt.NDArray[np.float32], points: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Points of equal embeddings made equal: a matrix product differs in the last digit.

    Otherwise such embeddings would count as different ones. Changes `points` in place.
    """
    # The first numbers tell most embeddings apart: few are compared as a whole.
    _, group, sizes = np.unique(rows[:, :_HEAD], axis=0, return_inverse=True, return_counts=True)
    first: dict[bytes, int] = {}
    for row in np.flatnonzero(sizes[group.ravel()] > 1):
        points[row] = points[first.setdefault(rows[row].tobytes(), int(row))]
    return points
