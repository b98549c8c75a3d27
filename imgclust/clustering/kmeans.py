"""One clustering for one k: k-means++ seeding, FAISS k-means, empty clusters repaired."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import (
    Vectors,
    checked,
    gpu_complaint,
    nearest,
    refine,
    squared_distances,
)
from imgclust.clustering.local_search import swapped
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent


def assign(
    vectors: NDArray[Any], centroids: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Assign each vector to its nearest centroid.

    Parameters
    ----------
    vectors
        float32, shape (n, d); n may be 0.
    centroids
        float32, shape (k, d).

    Returns
    -------
    tuple
        Positions of the centroids, int32 (n,), and Euclidean distances, float32 (n,).

    Raises
    ------
    ClusteringError
        For NaN or infinity, or when the dimensions differ.
    """
    centres = checked(centroids)
    rows = np.asarray(vectors)
    if rows.ndim != 2 or rows.shape[1] != centres.shape[1]:
        raise ClusteringError(
            f"vectors of shape {rows.shape} do not fit centroids of {centres.shape[1]} dimensions"
        )
    if rows.shape[0] == 0:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    rows = checked(rows)
    positions, _ = nearest(rows, centres)
    assigned = positions[:, 0].astype(np.int32)
    distances = np.sqrt(squared_distances(rows, centres, assigned)).astype(np.float32)
    return assigned, distances


_ROUND = 10  # iterations between two looks at progress, convergence and the stop flag
_MOST_ROUNDS = 10
_TOLERANCE = 1e-4
_DISTINCT = "distinct embedding", "distinct embeddings"
_SEEDING_ROWS = 20_000
# Of more rows, and more for each cluster, a sample comes first.
_SAMPLE_ROWS, _SAMPLE_SHARE = 20_000, 200
_REPAIRS = 20


@dataclass(frozen=True)
class Fit:
    """A finished k-means.

    Attributes
    ----------
    k
        Number of clusters, all of them occupied; fewer than `asked_k` when there are fewer
        distinct rows (`sentence` says so).
    centroids
        float32, shape (k, d).
    assigned
        Position of each row's nearest centroid, int32, shape (n,).
    distances
        Euclidean distance of each row to that centroid, float32, shape (n,).
    inertia
        Sum of squared distances over all rows, summed in float64.
    asked_k
        The k that was asked for.
    notes
        What a person should know, a sentence each.
    """

    k: int
    centroids: NDArray[np.float32]
    assigned: NDArray[np.int32]
    distances: NDArray[np.float32]
    inertia: float
    asked_k: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        centroids: NDArray[np.float32],
        assigned: NDArray[np.int32],
        squared: NDArray[np.float64],
        *,
        asked_k: int,
        notes: tuple[str, ...] = (),
    ) -> Self:
        """A fit by the squared distance of each row, float64 (n,), to its centroid."""
        distances = np.sqrt(squared).astype(np.float32)
        inertia = float(squared.sum())
        return cls(len(centroids), centroids, assigned, distances, inertia, asked_k, notes)

    @property
    def sentence(self) -> str:
        """How many clusters there are and why, where a number was asked for."""
        if self.k == self.asked_k:
            return f"k = {self.k:,} as asked"
        return all_distinct(self.k, self.asked_k)


def fit(
    vectors: NDArray[Any],
    k: int,
    *,
    seed: int = 0,
    gpu: bool = False,
    start: NDArray[Any] | None = None,
    fixed: NDArray[Any] | None = None,
    max_points: int | None = None,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Fit:
    """Cluster vectors into k clusters by k-means.

    Seeding is k-means++ with greedy candidates (Arthur and Vassilvitskii 2007, by
    scikit-learn); the iterations are FAISS's over all rows; then centroids are moved from where
    two share a group to where one has two (see `local_search.swapped`).

    Parameters
    ----------
    vectors
        float32, shape (n, d).
    k
        Number of clusters, at least 1 (0 beside `fixed` ones); reduced to the number of distinct
        rows.
    seed
        Same seed, same rows, same machine: same result.
    gpu
        Use the GPUs that FAISS sees (checked, see `faiss_kmeans.refine`).
    start
        Initial centroids, shape (k, d), instead of seeding.
    fixed
        Centroids (f, d) of clusters beside the k, which rows may join and which stay where they
        are: positions 0 to f - 1 of the fit. Unlike the others they may stay without rows.
    max_points
        Iterate on a random sample of at most this many rows; the final assignment and the
        inertia are over all rows in any case.
    progress, stop
        Called, and looked at, every few iterations.

    Raises
    ------
    ClusteringError
        For k < 1, no rows, NaN, or a start of another shape.
    StoppedError
        When `stop` was set.
    """
    rows = checked(vectors)
    n = rows.shape[0]
    given = np.empty((0, rows.shape[1]), np.float32) if fixed is None else checked(fixed)
    if k < 1 and not (k == 0 and len(given)):
        raise ClusteringError(f"k = {k} is not a number of clusters; use 1 or more")
    if given.shape[1] != rows.shape[1]:
        raise ClusteringError(f"fixed has shape {given.shape}, not (f, {rows.shape[1]})")
    notes: list[str] = []
    used = rows
    if max_points is not None and n > max(max_points, k):
        picked = np.random.default_rng(seed).choice(n, max(max_points, k), replace=False)
        used = np.ascontiguousarray(rows[np.sort(picked)])
        notes.append(f"iterated on a sample of {len(used)} of {n} rows, assigned all of them")
    if start is not None:
        centroids = checked(start)
        if centroids.shape != (k, rows.shape[1]):
            raise ClusteringError(f"start has shape {centroids.shape}, not ({k}, {rows.shape[1]})")
        centroids = centroids[: min(k, n)]
    else:
        centroids = seeding(used, min(k, n), seed=seed, beside=given)
    held = len(given)
    centroids = np.concatenate([given, centroids])
    # Of many rows a sample says where the centroids belong; all of them where exactly.
    most = max(_SAMPLE_ROWS, _SAMPLE_SHARE * len(centroids))
    some = used
    if start is None and len(used) > most:
        picked = np.random.default_rng(seed).choice(len(used), most, replace=False)
        some = np.ascontiguousarray(used[np.sort(picked)])
    if k:
        centroids = _iterate(
            some, centroids, seed=seed, gpu=gpu, fixed=held, progress=progress, stop=stop
        )
    if start is None:
        centroids = swapped(
            some, centroids, iterations=_ROUND, seed=seed, gpu=gpu, stop=stop, fixed=held
        )
    if k and some is not used:
        centroids = _iterate(
            used, centroids, seed=seed, gpu=gpu, fixed=held, progress=silent, stop=stop
        )
    centroids, assigned, squared = settle(rows, centroids, gpu=gpu, fixed=held)
    return Fit.of(centroids, assigned, squared, asked_k=held + k, notes=tuple(notes))


def all_distinct(k: int, asked: int | None, group: tuple[str, str] = _DISTINCT) -> str:
    """Why k is no larger, for people; `asked` is what a person asked for.

    `group` is what there are k of, one and many.
    """
    there = f"is only 1 {group[0]}" if k == 1 else f"are only {k:,} {group[1]}"
    more = "" if asked is None else f"; {asked:,} was asked"
    return f"k = {k:,}: there {there}{more}"


def seeding(vectors: Vectors, k: int, *, seed: int, beside: Vectors | None = None) -> Vectors:
    """Initial centroids by greedy k-means++, float32 (k, d), from at most 20,000 rows.

    Centroids (f, d) that are there already count as drawn before.
    """
    from sklearn.cluster import kmeans_plusplus

    there = beside is not None and len(beside) > 0
    if k == 1 and not there:
        mean = vectors.mean(axis=0, dtype=np.float64)[np.newaxis]
        return np.asarray(mean, dtype=np.float32)
    most = max(_SEEDING_ROWS, 20 * k)
    rows = vectors
    if len(rows) > most:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]
    if beside is not None and there:
        return _drawn_beside(rows, k, beside, seed=seed)
    if not rows.any() or (rows == rows[0]).all():  # scikit-learn divides by the potential
        return np.repeat(rows[:1], k, axis=0)
    centroids, _ = kmeans_plusplus(rows, k, random_state=seed)
    return np.ascontiguousarray(centroids, dtype=np.float32)


def _drawn_beside(rows: Vectors, k: int, beside: Vectors, *, seed: int) -> Vectors:
    """k of the rows by greedy k-means++ beside centroids; scikit-learn's starts from none."""
    random = np.random.default_rng(seed)
    _, squared = nearest(rows, beside)
    closest = np.maximum(squared[:, 0], 0).astype(np.float64)
    norms = np.einsum("ij,ij->i", rows, rows)
    tries = 2 + int(math.log(max(k, 1)))
    chosen: list[int] = []
    while len(chosen) < k:
        total = closest.sum()
        if total <= 0:  # no row is left that lies anywhere else
            chosen += [0] * (k - len(chosen))
            break
        drawn = np.searchsorted(np.cumsum(closest), random.random(tries) * total)
        drawn = np.minimum(drawn, len(rows) - 1)
        apart = norms + norms[drawn, np.newaxis] - 2 * (rows[drawn] @ rows.T)
        nearer = np.minimum(closest, np.maximum(apart, 0))
        best = int(np.argmin(nearer.sum(axis=1)))
        chosen.append(int(drawn[best]))
        closest = nearer[best]
        closest[chosen[-1]] = 0
    return np.ascontiguousarray(rows[chosen])


def _iterate(
    vectors: Vectors,
    centroids: Vectors,
    *,
    seed: int,
    gpu: bool,
    fixed: int,
    progress: Progress,
    stop: StopFlag | None,
) -> Vectors:
    progress("k-means", 0, _MOST_ROUNDS * _ROUND)
    for done in range(1, _MOST_ROUNDS + 1):
        if stop is not None:
            stop.check()
        centroids, objective = refine(
            vectors, centroids, iterations=_ROUND, seed=seed, gpu=gpu, fixed=fixed
        )
        progress("k-means", done * _ROUND, _MOST_ROUNDS * _ROUND)
        if objective.size < 2 or objective[-2] - objective[-1] <= _TOLERANCE * objective[-1]:
            break
    progress("k-means", _MOST_ROUNDS * _ROUND, _MOST_ROUNDS * _ROUND)
    return centroids


def settle(
    vectors: Vectors, centroids: Vectors, *, gpu: bool = False, fixed: int = 0
) -> tuple[Vectors, NDArray[np.int32], NDArray[np.float64]]:
    """Assign every row, give empty clusters the rows that lie furthest out, drop the rest.

    The first `fixed` clusters may be empty. Returns centroids (k', d), positions int32 (n,) and
    squared distances float64 (n,); k' < k only when no row is left at any distance from its
    centroid.
    """
    centroids = centroids.copy()
    # `refine` has said so already; what it did not believe is not believed here either.
    gpu = gpu and gpu_complaint(vectors, centroids) is None
    for last in (False,) * _REPAIRS + (True,):
        positions, _ = nearest(vectors, centroids, gpu=gpu)
        assigned = positions[:, 0].astype(np.int32)
        squared = squared_distances(vectors, centroids, assigned)
        sizes = np.bincount(assigned, minlength=len(centroids))
        empty = fixed + np.flatnonzero(sizes[fixed:] == 0)
        if empty.size == 0:
            return centroids, assigned, squared
        outermost = _distinct_outermost(vectors, squared, empty.size)
        if last or len(outermost) == 0:
            break
        if len(outermost) < empty.size:
            centroids = np.delete(centroids, empty[len(outermost) :], axis=0)
            empty = empty[: len(outermost)]
        centroids[empty] = vectors[outermost]
    return _dropped(centroids, assigned, squared, sizes, fixed)


def _distinct_outermost(
    vectors: Vectors, squared: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Up to `count` rows, all different, by falling distance from their centroid."""
    chosen: list[int] = []
    seen: set[bytes] = set()
    for row in np.argsort(-squared, kind="stable"):
        if squared[row] <= 0 or len(chosen) == count:
            break
        content = vectors[row].tobytes()
        if content not in seen:
            seen.add(content)
            chosen.append(int(row))
    return np.array(chosen, dtype=np.int64)


def _dropped(
    centroids: Vectors,
    assigned: NDArray[np.int32],
    squared: NDArray[np.float64],
    sizes: NDArray[np.int64],
    fixed: int,
) -> tuple[Vectors, NDArray[np.int32], NDArray[np.float64]]:
    kept = sizes > 0
    kept[:fixed] = True
    position = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    return centroids[kept], position[assigned], squared
