"""Fits over many k in one nested pass: each k starts from the best of k - 1."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.fit import fit, settle
from imgclust.clustering.lloyd import Vectors, checked, nearest, refine, squared_distances
from imgclust.clustering.split import Division, Splitter
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent

_REFINEMENTS = 4  # Lloyd iterations after each split
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
        What a person should be told, a sentence each.
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
        raise ClusteringError(f"k from {k_min} to {k_max} is no range; use 1 <= k-min <= k-max")
    notes = []
    if k_max is not None and last < k_max:
        notes.append(f"k ends at {last}: there are only {n} embeddings")
    if n > max_points:
        notes.append(f"refined on a sample of {max_points} of {n} rows, measured on all of them")
    points: list[_Point] = []
    total = last - min(k_min, last) + 1
    progress("sweep", 0, total)
    for point in _nested(rows, min(k_min, last), last, seed, gpu, max_points, stop):
        points.append(point)
        progress("sweep", len(points), total)
        if stop is not None and stop.is_set():
            break
    if points[-1].k < last and not (stop is not None and stop.is_set()):
        notes.append(f"k ends at {points[-1].k}, the number of distinct embeddings")
    return Sweep(
        k=tuple(point.k for point in points),
        inertia=tuple(point.inertia for point in points),
        centroids=tuple(point.centroids for point in points),
        simplified_silhouette=tuple(point.silhouette for point in points),
        calinski_harabasz=tuple(point.calinski_harabasz for point in points),
        bic=tuple(point.bic for point in points),
        seconds=time.monotonic() - began,
        complete=not (stop is not None and stop.is_set()) or len(points) == total,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Point:
    k: int
    centroids: Vectors
    assigned: NDArray[np.int32]
    squared: NDArray[np.float64]
    inertia: float
    silhouette: float
    calinski_harabasz: float
    bic: float


def _nested(
    rows: Vectors,
    k_min: int,
    k_max: int,
    seed: int,
    gpu: bool,
    max_points: int,
    stop: StopFlag | None,
) -> Iterator[_Point]:
    n = len(rows)
    used = rows
    picked = np.arange(n)
    if n > max_points:
        picked = np.sort(np.random.default_rng(seed).choice(n, max_points, replace=False))
        used = np.ascontiguousarray(rows[picked])
    spread = float(np.square(rows - rows.mean(axis=0, dtype=np.float64)).sum())
    start = fit(used, k_min, seed=seed, gpu=gpu, stop=stop).centroids
    point = _measured(rows, start, spread, gpu)
    yield point
    splitter = Splitter(used)
    fresh_at = math.ceil(point.k * _FRESH_EVERY)
    while point.k < k_max and point.squared.any():
        if stop is not None and stop.is_set():
            return
        k = point.k + 1
        candidates = []
        found = splitter.best(point.assigned[picked], point.k)
        if found is not None:
            start = _divided(point.centroids, *found)
            refined, _ = refine(used, start, iterations=_REFINEMENTS, seed=seed, gpu=gpu)
            candidates.append(_measured(rows, refined, spread, gpu))
        if k >= fresh_at and k <= len(used):
            fresh_at = math.ceil(k * _FRESH_EVERY)
            fresh = fit(used, k, seed=seed + k, gpu=gpu)
            candidates.append(_measured(rows, fresh.centroids, spread, gpu))
        candidates = [one for one in candidates if one.k == k and one.inertia <= point.inertia]
        if not candidates:
            outermost = rows[int(np.argmax(point.squared))]
            grown = np.concatenate([point.centroids, outermost[np.newaxis]])
            candidates = [_measured(rows, grown, spread, gpu)]
        point = min(candidates, key=lambda one: one.inertia)
        if point.k < k:
            return
        yield point


def _divided(centroids: Vectors, cluster: int, division: Division) -> Vectors:
    grown = np.concatenate([centroids, division.centroids[1:]])
    grown[cluster] = division.centroids[0]
    return grown


def _measured(rows: Vectors, centroids: Vectors, spread: float, gpu: bool) -> _Point:
    """Inertia and the cheap criteria of these centroids over all rows."""
    positions, near = nearest(rows, centroids, count=min(2, len(centroids)), gpu=gpu)
    assigned = positions[:, 0].astype(np.int32)
    if len(np.unique(assigned)) < len(centroids):
        centroids, _, _ = settle(rows, centroids, gpu=gpu)
        positions, near = nearest(rows, centroids, count=min(2, len(centroids)), gpu=gpu)
        assigned = positions[:, 0].astype(np.int32)
    squared = squared_distances(rows, centroids, assigned)
    n, d = rows.shape
    k = len(centroids)
    inertia = float(squared.sum())
    silhouette = calinski_harabasz = math.nan
    if k > 1:
        own = np.sqrt(squared)
        other = np.maximum(np.sqrt(np.maximum(near[:, 1], 0)), own)
        silhouette = float(np.mean((other - own) / np.where(other > 0, other, 1)))
        within = inertia / (n - k) if n > k else 0.0
        between = max(spread - inertia, 0.0) / (k - 1)
        calinski_harabasz = between / within if within > 0 else math.inf
    return _Point(
        k=k,
        centroids=centroids,
        assigned=assigned,
        squared=squared,
        inertia=inertia,
        silhouette=silhouette,
        calinski_harabasz=calinski_harabasz,
        bic=_bic(np.bincount(assigned, minlength=k), inertia, d),
    )


def _bic(sizes: NDArray[np.int64], inertia: float, d: int) -> float:
    n, k = int(sizes.sum()), len(sizes)
    if n <= k or inertia <= 0:
        return math.inf
    variance = inertia / (d * (n - k))
    occupied = sizes[sizes > 0]
    likelihood = float((occupied * np.log(occupied)).sum()) - n * math.log(n)
    likelihood -= n * d / 2 * math.log(2 * math.pi * variance) + d * (n - k) / 2
    return likelihood - (k - 1 + d * k + 1) / 2 * math.log(n)
