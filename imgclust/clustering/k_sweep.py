"""Fits over many k in one nested pass: each k starts from the best of k - 1."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.cluster_stats import Point, measured, spread_of
from imgclust.clustering.faiss_kmeans import Vectors, checked, means, refine
from imgclust.clustering.kmeans import all_distinct, fit
from imgclust.clustering.local_search import Division, Splitter, union_costs
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent

_UNIONS = 10  # tried for each k


def united(
    points: list[Point],
    vectors: Vectors,
    *,
    measure: Callable[[Vectors], Point],
    iterations: int,
    seed: int,
    gpu: bool,
    progress: Progress,
    stop: StopFlag | None,
) -> list[Point]:
    """The points of consecutive k, each by a union where that has less inertia.

    `vectors` (n, d) refine, `measure` judges. A union never goes below the inertia of k + 1.
    A stop keeps the rest as it is.
    """
    better = list(points)
    total = len(points) - 1
    for place in reversed(range(total)):
        if stop is not None and stop.is_set():
            break
        progress("sweep, back", total - 1 - place, total)
        above = better[place + 1]
        for start in _unions(above):
            refined, _ = refine(vectors, start, iterations=iterations, seed=seed, gpu=gpu)
            found = measure(refined)
            here = better[place]
            if found.k == here.k and above.inertia <= found.inertia < here.inertia:
                better[place] = found
        progress("sweep, back", total - place, total)
    return better


def _unions(point: Point) -> list[Vectors]:
    """Centroids (k - 1, d) after each of the cheapest unions."""
    sizes = np.bincount(point.assigned, minlength=point.k)
    costs = union_costs(point.centroids, sizes)
    costs[np.tril_indices(point.k)] = np.inf
    found = []
    for pair in np.argsort(costs, axis=None, kind="stable")[:_UNIONS]:
        first, second = divmod(int(pair), point.k)
        if not np.isfinite(costs[first, second]):
            break
        both = [first, second]
        start = point.centroids.copy()
        start[first] = np.average(point.centroids[both], axis=0, weights=sizes[both])
        found.append(np.delete(start, second, axis=0))
    return found


_REFINEMENTS = 4  # Lloyd iterations after each split
_THOROUGH_REFINEMENTS = 10
_STARTS, _STARTS_TO = 10, 16  # fresh starts at each k up to the second, where it is thorough
_AXES = 128  # principal axes that vectors of more than _LIFTED_FROM dimensions are searched on
_LIFTED_FROM = 512
_AXES_ROWS = 5_000
_SEEDS_APART = 100_003  # of fresh starts at the same k
_FRESH_EVERY = 1.5  # a fresh k-means++ start each time k has grown by this factor


@dataclass(frozen=True)
class Sweep:
    """Clusterings for consecutive k.

    Attributes
    ----------
    k
        The numbers of clusters, ascending by one.
    inertia
        For each k the sum of squared distances of all rows to the stored centroids, in
        float64; never increasing.
    centroids
        For each k, float32 (k, d).
    simplified_silhouette
        Mean of (b - a) / max(a, b) with the distances to the own (a) and the nearest other
        centroid (b) (Hruschka, de Castro and Campello 2004); NaN for k = 1.
    calinski_harabasz
        Ratio of the variances between and within (Calinski and Harabasz 1974); NaN for k = 1.
    bic
        Bayesian information criterion of spherical Gaussians of one variance (Pelleg and
        Moore 2000), larger is better.
    seconds
        Time the sweep took.
    complete
        False when it was stopped before the last k.
    notes
        What a person should know, a sentence each.
    """

    k: tuple[int, ...]
    inertia: tuple[float, ...]
    centroids: tuple[NDArray[np.float32], ...]
    simplified_silhouette: tuple[float, ...]
    calinski_harabasz: tuple[float, ...]
    bic: tuple[float, ...]
    seconds: float
    complete: bool
    notes: tuple[str, ...] = ()

    @property
    def criteria(self) -> dict[str, tuple[float, ...]]:
        """The criteria beside the inertia, by name: larger is better."""
        return {
            "simplified_silhouette": self.simplified_silhouette,
            "calinski_harabasz": self.calinski_harabasz,
            "bic": self.bic,
        }


def default_k_max(n: int) -> int:
    """Largest k of a sweep over n rows: 100 up to 20,000, then round(sqrt(n)); at most n."""
    return min(n, 100 if n <= 20_000 else round(math.sqrt(n)))


def sweep(
    vectors: NDArray[Any],
    *,
    k_min: int = 1,
    k_max: int | None = None,
    seed: int = 0,
    gpu: bool = False,
    max_points: int = 100_000,
    thorough: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Sweep:
    """Fit every k from `k_min` to `k_max`.

    k + 1 clusters start from those of k, the cluster whose division into two lowers the
    inertia most being divided, and are refined by a few FAISS iterations; now and then a fresh
    k-means++ start takes over where it wins. A k that would end above k - 1 after all takes
    the centroids of k - 1 and the row furthest from them, so the curve never rises.

    Parameters
    ----------
    vectors
        float32, shape (n, d).
    k_min, k_max
        Ends included; k_max defaults to `default_k_max(n)`. Both are cut to the number of rows.
    seed, gpu
        As in `fit`.
    max_points
        Refine on a random sample of at most this many rows; inertia is always over all rows.
    thorough
        For planes, where it is cheap and minima are poor: more iterations, several fresh starts
        at each small k, and a way back that unites two clusters of k + 1.
    progress, stop
        Once for each k. A stop keeps what is done.

    Raises
    ------
    ClusteringError
        For a wrong range, no rows, or NaN.
    StoppedError
        When `stop` was set before the first k was done.
    """
    began = time.monotonic()
    rows = checked(vectors)
    n = len(rows)
    last = min(default_k_max(n) if k_max is None else k_max, n)
    if not 1 <= k_min <= (k_max or last):
        raise ClusteringError(f"k from {k_min} to {k_max} is not a range; use 1 <= k-min <= k-max")
    notes = []
    if n > max_points:
        notes.append(f"refined on a sample of {max_points} of {n} rows, measured on all of them")
    points: list[Point] = []
    total = last - min(k_min, last) + 1
    progress("sweep", 0, total)
    lifted = rows.shape[1] > _LIFTED_FROM and n > _AXES and not thorough
    engine = _lifted if lifted else partial(_nested, thorough=thorough)
    for point in engine(rows, min(k_min, last), last, seed, gpu, max_points, stop):
        points.append(point)
        progress("sweep", len(points), total)
        if stop is not None and stop.is_set():
            break
    if thorough:
        points = united(
            points,
            rows[_sample(n, max_points, seed)],
            measure=partial(measured, rows, spread=spread_of(rows), gpu=gpu),
            iterations=_THOROUGH_REFINEMENTS,
            seed=seed,
            gpu=gpu,
            progress=progress,
            stop=stop,
        )
    stopped = stop is not None and stop.is_set()
    if points[-1].k < (k_max or last) and not stopped:
        notes.append(all_distinct(points[-1].k, k_max))
    return Sweep(
        k=tuple(point.k for point in points),
        inertia=tuple(point.inertia for point in points),
        centroids=tuple(point.centroids for point in points),
        simplified_silhouette=tuple(point.silhouette for point in points),
        calinski_harabasz=tuple(point.calinski_harabasz for point in points),
        bic=tuple(point.bic for point in points),
        seconds=time.monotonic() - began,
        complete=not stopped or len(points) == total,
        notes=tuple(notes),
    )


def _nested(
    rows: Vectors,
    k_min: int,
    k_max: int,
    seed: int,
    gpu: bool,
    max_points: int,
    stop: StopFlag | None,
    *,
    thorough: bool = False,
) -> Iterator[Point]:
    """Each k from the best of k - 1 by dividing one cluster, or afresh where that wins."""
    picked = _sample(len(rows), max_points, seed)
    used = rows if len(picked) == len(rows) else rows[picked]
    iterations = _THOROUGH_REFINEMENTS if thorough else _REFINEMENTS
    measure = partial(measured, rows, spread=spread_of(rows), gpu=gpu)
    point = measure(fit(used, k_min, seed=seed, gpu=gpu, stop=stop).centroids)
    yield point
    splitter = Splitter(used)
    fresh_at = math.ceil(point.k * _FRESH_EVERY)
    while point.k < k_max and point.squared.any():
        k = point.k + 1
        candidates = []
        found = splitter.best(point.assigned[picked], point.k)
        if found is not None:
            start = _divided(point.centroids, *found)
            refined, _ = refine(used, start, iterations=iterations, seed=seed, gpu=gpu)
            candidates.append(measure(refined))
        many = thorough and k <= _STARTS_TO
        if (many or k >= fresh_at) and k <= len(used):
            fresh_at = math.ceil(k * _FRESH_EVERY)
            for number in range(_STARTS if many else 1):
                fresh = fit(used, k, seed=seed + k + _SEEDS_APART * number, gpu=gpu)
                candidates.append(measure(fresh.centroids))
        candidates = [one for one in candidates if one.k == k and one.inertia <= point.inertia]
        if not candidates:
            candidates = [measure(_grown(rows, point))]
        point = min(candidates, key=lambda one: one.inertia)
        if point.k < k:
            return
        yield point


def _lifted(
    rows: Vectors,
    k_min: int,
    k_max: int,
    seed: int,
    gpu: bool,
    max_points: int,
    stop: StopFlag | None,
) -> Iterator[Point]:
    """The nested pass on the principal axes, each k then finished in all dimensions.

    k-means finds nearly the same clusters on the leading principal axes (Ding and He 2004) at
    a small part of the cost; centroids and inertia are those of all dimensions.
    """
    measure = partial(measured, rows, spread=spread_of(rows), gpu=gpu)
    reduced = _principal(rows, seed)
    point: Point | None = None
    for found in _nested(reduced, k_min, k_max, seed, gpu, max_points, stop):
        start = means(rows, found.assigned, found.k)
        refined, _ = refine(rows, start, iterations=1, seed=seed, gpu=gpu)
        finished = measure(refined)
        if point is not None and (finished.k < found.k or finished.inertia > point.inertia):
            finished = measure(_grown(rows, point))
        point = finished
        yield point
    while point is not None and point.k < k_max and point.squared.any():
        before = point.k  # rows that differ off the axes only
        point = measure(_grown(rows, point))
        if point.k == before:
            return
        yield point


def _sample(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Positions of at most `most` of n rows, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _principal(rows: Vectors, seed: int) -> Vectors:
    from sklearn.utils.extmath import randomized_svd

    sample = rows
    if len(rows) > _AXES_ROWS:
        picked = np.random.default_rng(seed).choice(len(rows), _AXES_ROWS, replace=False)
        sample = rows[np.sort(picked)]
    mean = sample.mean(axis=0)
    _, _, axes = randomized_svd(sample - mean, _AXES, n_iter=2, random_state=seed)
    return np.ascontiguousarray(rows @ axes.T - mean @ axes.T, dtype=np.float32)


def _grown(rows: Vectors, point: Point) -> Vectors:
    """One centroid more, on the row that lies furthest out: the inertia can only fall."""
    outermost = rows[int(np.argmax(point.squared))]
    return np.concatenate([point.centroids, outermost[np.newaxis]])


def _divided(centroids: Vectors, cluster: int, division: Division) -> Vectors:
    grown = np.concatenate([centroids, division.centroids[1:]])
    grown[cluster] = division.centroids[0]
    return grown
