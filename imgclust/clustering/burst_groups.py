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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.errors import ClusteringError

# Frames of one scene (shifted and cropped by up to 6 %, noise, JPEG 60 to 93) have cosines of .984
# or more. But what is near is a question of the collection: in one of small grey digits half of all
# pairs have .978. So the distance allowed is a share of that of unrelated pairs. Their upper decile
# represents them, which near copies do not move until they are nine in ten.
_LOWEST = 0.98
_SHARE_OF_UNRELATED = 0.11
_SAMPLE = 2_000

_AXES = 64
_AXES_ROWS = 2_000
_BLOCK = 1_024
_REPRESENTATIVES = 16_384  # compared with a block at a time
_SLACK = 1e-5  # of squared distances in float32


def burst_bound(vectors: NDArray[Any]) -> float:
    """The cosine from which embeddings of this collection belong to one burst group.

    Parameters
    ----------
    vectors
        float32, shape (n, d), of unit length; an even sample of them is looked at.
    """
    rows = checked(vectors)
    sample = rows[:: -(-len(rows) // _SAMPLE)]
    if len(sample) < 2:
        return _LOWEST
    cosines = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    unrelated = 1 - float(np.quantile(cosines, 0.1))
    return max(_LOWEST, 1 - _SHARE_OF_UNRELATED * max(unrelated, 0.0))


def burst_groups(
    vectors: NDArray[Any], *, bound: float, known: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The representative of each row's group, int64 (n,); representatives stand for themselves.

    Parameters
    ----------
    vectors
        float32, shape (n, d), of unit length, in the order in which they came.
    bound
        The least cosine of a row with its representative.
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
    if not -1 <= bound <= 1:
        raise ClusteringError(f"{bound} is not a cosine; use a bound from -1 to 1")
    found = np.full(n, -1, np.int64)
    if known is not None:
        found[: len(known)] = known
        grouped = found[found >= 0]
        if grouped.size and (grouped.max() >= n or (found[grouped] != grouped).any()):
            raise ClusteringError("a burst group has no representative; make the groups again")
    waiting = np.flatnonzero(found < 0)
    standing = np.unique(found[found >= 0])
    projected = _projected(rows)
    lengths = np.einsum("ij,ij->i", projected, projected)
    # A projection onto orthonormal axes brings no two rows further apart: none is missed.
    radius = 2 * (1 - bound) + _SLACK

    def close(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        apart = (
            lengths[some, np.newaxis]
            + lengths[others]
            - 2 * (projected[some] @ projected[others].T)
        )
        return np.asarray(apart <= radius)

    for start in range(0, len(waiting), _BLOCK):
        block = waiting[start : start + _BLOCK]
        best = np.full(len(block), -np.inf)
        chosen = np.full(len(block), -1, np.int64)
        for first in range(0, len(standing), _REPRESENTATIVES):
            some = standing[first : first + _REPRESENTATIVES]
            places, others = np.nonzero(close(block, some))
            _take(rows, block, places, some[others], best, chosen)
        among = close(block, block)
        fresh = []
        for place, row in enumerate(block):
            if best[place] >= bound:
                found[row] = chosen[place]
                continue
            found[row] = row
            fresh.append(row)
            later = place + 1 + np.flatnonzero(among[place, place + 1 :])
            _take(rows, block, later, np.full(len(later), row), best, chosen)
        standing = np.concatenate([standing, np.array(fresh, np.int64)])
    return found


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
    """The rows on principal axes of a sample, float32 (n, q); the rows where they are narrow."""
    if rows.shape[1] <= 2 * _AXES:
        return rows
    from sklearn.utils.extmath import randomized_svd

    sample = rows[:: -(-len(rows) // _AXES_ROWS)]
    count = min(_AXES, len(sample))
    _, _, axes = randomized_svd(sample - sample.mean(axis=0), count, n_iter=1, random_state=0)
    return np.ascontiguousarray(rows @ axes.T, dtype=np.float32)
