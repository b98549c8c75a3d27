"""How many groups there are: where k-means gains most, compared with data that have none.

The inertia of any data falls as k grows. So its fall (of the logarithm, from one cluster to k) is
divided by that of references without groups: Gaussian rows of exactly the same covariance, sent
through the same half whitening and brought to unit length alike. Where the ratio is largest is the
answer, and data whose largest ratio is near 1 have no clear structure. It is the comparison of the
gap statistic (Tibshirani, Walther and Hastie 2001) as a ratio: the difference, taken of real
pictures, rises to the end of every range.

The range of k is the function's own, and rows are sorted by their content key before anything is
drawn: neither a sweep's range nor the order of the rows has a say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.clustering.k_sweep import sweep
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.vectors import Rows, checked_rows

# On fewer axes groups lie over each other, on more the ratio is flat: chosen on four labelled sets.
_AXES = (16, 20, 24)
_ROWS = 2_000
_LARGEST = 150
_ROWS_PER_GROUP = 4
_LEAST_ROWS = 20
_STARTS, _REFERENCES = 3, 5
# The largest ratio of noise (uniform, Gaussian, correlated; from 300 rows) was 1.17, the smallest
# of four sets of pictures 1.65, of separated groups 2.
_CLEAR = 1.25
# On the plateau of real pictures the seed decides which is the largest, hardly where its ends are.
_AS_GOOD = 0.97
_LEAST_DEVIATION = 1e-3  # of the widest axis


@dataclass(frozen=True)
class GroupCount:
    """How many groups, and how clearly.

    Attributes
    ----------
    k
        The number of groups, or None where there is no clear structure.
    ratio
        How many times as much as in data without groups the inertia falls, where that is most.
    ratios
        The same for every k from 1.
    """

    k: int | None
    ratio: float
    ratios: tuple[float, ...]

    def clearly_better(self, current: int, *, share: float = 0.05) -> bool:
        """Whether the suggestion beats the current number of clusters by more than chance."""
        if self.k is None or self.k == current:
            return False
        now = self.ratios[min(current, len(self.ratios)) - 1]
        return self.ratio - 1 > (1 + share) * (now - 1)


def estimate_group_count(
    vectors: Rows,
    keys: NDArray[np.int64],
    *,
    rows: NDArray[np.int64] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> GroupCount:
    """How many groups the vectors have.

    Parameters
    ----------
    vectors
        Embeddings, shape (n, d).
    keys
        Of their contents, int64 (n,), drawn from a hash: the rows are those with the least keys,
        at most 2,000, so that few of them change when a collection grows.
    rows
        Positions of the rows that count, one of each burst group; all by default.
    seed
        For k-means and the references.
    progress, stop
        Once for each curve; a stop raises.

    Raises
    ------
    ClusteringError
        For NaN, no rows, or keys of another length.
    StoppedError
        When `stop` was set.
    """
    matrix = checked_rows(vectors, checked)
    if len(keys) != len(matrix):
        raise ClusteringError(f"{len(keys)} keys do not fit {len(matrix)} rows")
    used = np.arange(len(keys)) if rows is None else rows
    picked = used[np.argsort(keys[used], kind="stable")[:_ROWS]]
    last = min(_LARGEST, len(picked) // _ROWS_PER_GROUP)
    nothing = GroupCount(None, 1.0, (1.0,))
    if len(picked) < _LEAST_ROWS:
        return nothing
    scores = _principal_scores(matrix[picked], max(_AXES))
    if scores is None:
        return nothing
    random = np.random.default_rng(seed)
    widths = sorted({min(axes, scores.shape[1]) for axes in _AXES})
    total = len(widths) * (_STARTS + _REFERENCES)
    done = 0
    found: list[NDArray[np.float64]] = []

    def curve(points: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        nonlocal done
        if stop is not None:
            stop.check()
        progress("null model", done, total)
        done += 1
        return _falls(points, last, seed + number, stop)

    for width in widths:
        here = scores[:, :width]
        own = [curve(here, number) for number in range(_STARTS)]
        others = [curve(_without_groups(here, random), 1 + one) for one in range(_REFERENCES)]
        length = min(len(one) for one in own + others)
        fall = np.max([one[:length] for one in own], axis=0)
        expected = np.mean([one[:length] for one in others], axis=0)
        found.append(np.divide(fall, expected, out=np.ones(length), where=expected > 0))
    progress("null model", total, total)
    length = min(len(one) for one in found)
    if length < 2:
        return nothing
    ratios = np.mean([one[:length] for one in found], axis=0)
    best = float(ratios[1:].max())
    k = _middle(ratios) if best >= _CLEAR else None
    return GroupCount(k, best, tuple(float(one) for one in ratios))


def _middle(ratios: NDArray[np.float64]) -> int:
    """The geometric middle of the numbers that are as good as the best, or a sharp peak itself."""
    gains = ratios - 1
    gains[0] = -np.inf
    good = 1 + np.flatnonzero(gains >= _AS_GOOD * gains.max())
    best = 1 + int(gains.argmax())
    if good[0] == best:  # groups lie apart: one fewer would have been clearly worse
        return best
    return round(float(np.sqrt(good[0] * good[-1])))


def _principal_scores(rows: Vectors, axes: int) -> NDArray[np.float64] | None:
    """The rows on their principal axes, (n, q), or None where they do not differ."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    n, d = centred.shape
    if n <= d:
        _, left = np.linalg.eigh(centred @ centred.T)
        directions = centred.T @ left[:, ::-1][:, :axes]
        lengths = np.linalg.norm(directions, axis=0)
        directions = directions[:, lengths > 0] / lengths[lengths > 0]
    else:
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :axes]
    scores = centred @ directions
    deviations = scores.std(axis=0)
    if not deviations.size or deviations[0] <= 1e-6 * max(1.0, float(np.abs(rows).max())):
        return None
    kept = scores[:, deviations > _LEAST_DEVIATION * deviations[0]]
    return np.asarray(kept[:, : max(1, n // 2 - 1)])


def _without_groups(
    scores: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian rows of exactly the covariance of the scores, which is diagonal."""
    drawn = random.standard_normal(scores.shape)
    drawn -= drawn.mean(axis=0)
    factor = np.linalg.cholesky(drawn.T @ drawn / len(drawn))
    return np.asarray(np.linalg.solve(factor, drawn.T).T * scores.std(axis=0))


def _falls(
    scores: NDArray[np.float64], last: int, seed: int, stop: StopFlag | None
) -> NDArray[np.float64]:
    """How far the logarithm of the inertia falls from one cluster to each k."""
    white = scores / np.sqrt(scores.std(axis=0))
    lengths = np.linalg.norm(white, axis=1, keepdims=True)
    points = np.ascontiguousarray(white / np.where(lengths > 0, lengths, 1), dtype=np.float32)
    inertia = np.array(sweep(points, k_max=last, seed=seed, stop=stop).inertia)
    if stop is not None:
        stop.check()
    return np.asarray(np.log(inertia[0]) - np.log(np.maximum(inertia, 1e-9 * inertia[0])))
