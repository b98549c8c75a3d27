"""Clusters by their members: medoid, coherence, criteria of each k, drift and outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import (
    Vectors,
    checked,
    nearest,
    squared_distances,
)
from imgclust.clustering.kmeans import fit, settle
from imgclust.vectors import Rows

_BLOCK = 5_000  # members at a time


def _directions(vectors: NDArray[Any]) -> tuple[Vectors, Vectors]:
    """Members at unit length and the unit vector of their mean (zero vectors stay zero)."""
    units = _units(checked(vectors).copy())
    return units, _direction(units.sum(axis=0, dtype=np.float64))


def _units(rows: Vectors) -> Vectors:
    """The rows at unit length, where they lie."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    np.divide(rows, np.where(lengths > 0, lengths, 1)[:, np.newaxis], out=rows)
    return rows


def _direction(total: NDArray[np.float64]) -> Vectors:
    return np.asarray(total / (float(np.linalg.norm(total)) or 1.0), dtype=np.float32)


def medoid(vectors: NDArray[Any]) -> int:
    """Row with the largest mean cosine to all members; ties go to the first.

    At unit length that mean is the dot product with the members' mean, so it costs one pass.

    Parameters
    ----------
    vectors
        Members of one cluster, float32, shape (n, d), n >= 1.
    """
    return medoid_and_coherence(vectors)[0]


def coherence(vectors: NDArray[Any]) -> float:
    """Mean cosine of the members to the direction of their mean; 1.0 when all are alike."""
    return medoid_and_coherence(vectors)[1]


def medoid_and_coherence(
    vectors: Rows, members: NDArray[np.int64] | None = None
) -> tuple[int, float]:
    """Both of them, of all rows or of those at `members`; the medoid is a place among these.

    Of a large cluster a block at a time is taken, twice.
    """
    where = np.arange(len(vectors)) if members is None else members
    # What is taken is checked: all rows would be for each cluster.
    blocks = [where[start : start + _BLOCK] for start in range(0, max(1, len(where)), _BLOCK)]
    total = np.zeros(vectors.shape[1])
    for block in blocks:
        units = _units(checked(vectors[block]))
        total += units.sum(axis=0, dtype=np.float64)
    centre = _direction(total)
    cosines = [(units if len(blocks) == 1 else _units(vectors[block])) @ centre for block in blocks]
    found = np.concatenate(cosines)
    return int(np.argmax(found)), float(min(1.0, found.mean(dtype=np.float64)))


def representatives(vectors: NDArray[Any], count: int = 9, *, seed: int = 0) -> tuple[int, ...]:
    """Rows that show what is in a cluster: the medoid, then one for each part of it.

    The members are divided by k-means into `count` parts; each part is shown by the member
    nearest its centroid, large parts first.

    Parameters
    ----------
    vectors
        Members of one cluster, float32, shape (n, d), n >= 1.
    count
        How many at most; fewer when there are fewer different members.
    """
    units, centre = _directions(vectors)
    first = int(np.argmax(units @ centre))
    if count == 1:
        return (first,)
    start = _apart(units, count, seed=seed)
    parts = fit(units, len(start), start=start, seed=seed)
    sizes = np.bincount(parts.assigned, minlength=parts.k)
    chosen = [first]
    for part in np.argsort(-sizes, kind="stable"):
        members = np.flatnonzero(parts.assigned == part)
        if first not in members:
            chosen.append(int(members[np.argmin(parts.distances[members])]))
    return tuple(chosen)


def _apart(units: Vectors, count: int, *, seed: int) -> Vectors:
    """Up to `count` different rows by k-means++ (Arthur and Vassilvitskii 2007), plain numpy.

    scikit-learn's takes longer to load than a cluster takes to describe.
    """
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(units)))]
    squared = np.full(len(units), np.inf)
    while True:
        last = ((units - units[chosen[-1]]) ** 2).sum(axis=1, dtype=np.float64)
        squared = np.minimum(squared, last)
        total = squared.sum()
        if len(chosen) == count or total <= 0:
            return units[chosen]
        chosen.append(int(random.choice(len(units), p=squared / total)))


def nearest_clusters(
    centroids: NDArray[Any], position: int, count: int = 5
) -> tuple[tuple[int, float], ...]:
    """Positions of and Euclidean distances to the centroids nearest to one of them."""
    centres = checked(centroids)
    distances = np.linalg.norm((centres - centres[position]).astype(np.float64), axis=1)
    order = [int(one) for one in np.argsort(distances, kind="stable") if one != position]
    return tuple((one, float(distances[one])) for one in order[:count])


@dataclass(frozen=True)
class Point:
    """Centroids (k, d), what they make of all rows (n,), and the criteria of `Sweep`."""

    k: int
    centroids: Vectors
    assigned: NDArray[np.int32]
    squared: NDArray[np.float64]
    inertia: float
    silhouette: float
    calinski_harabasz: float
    bic: float


def spread_of(rows: Vectors) -> float:
    """Sum of squared distances of rows (n, d) to their mean, in float64."""
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    nobody = np.zeros(len(rows), dtype=np.int32)
    return float(squared_distances(rows, mean[np.newaxis], nobody).sum())


def measured(rows: Vectors, centroids: Vectors, *, spread: float, gpu: bool) -> Point:
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
    return Point(
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


# With fewer arrivals the mean of skewed distances is not near enough to normal for a test.
LEAST_ARRIVALS = 30
# Over 10^5 arrivals any difference is significant, and a person may look every day: only one that
# matters counts as well. 5 % more distance is 10 % more inertia.
LEAST_RATIO = 1.05
# The share of stationary collections that may seem to drift.
_LEVEL = 0.001
# From here on a cluster's own median and deviation say what is far from it.
_LEAST_MEMBERS = 10
# Iglewicz and Hoaglin 1993, "How to detect and handle outliers": modified z-scores above 3.5.
_FAR = 3.5
_DEVIATION_OF_NORMAL = 1.4826  # standard deviation / median absolute deviation of a normal


@dataclass(frozen=True)
class Spread:
    """How many distances, their mean and their standard deviation."""

    count: int
    mean: float
    deviation: float


@dataclass(frozen=True)
class Drift:
    """How far arrivals lie from their centroids.

    Attributes
    ----------
    arrivals
        How many there are.
    ratio
        Their mean distance by that of the fit; None without arrivals, or where the fit has none.
    high
        The difference is larger than chance and large enough to matter.
    """

    arrivals: int
    ratio: float | None
    high: bool


def left_out(
    vectors: NDArray[Any],
    centroids: NDArray[Any],
    assigned: NDArray[np.int32],
    distances: NDArray[Any],
) -> NDArray[np.float64]:
    """Distances that the rows of a fit would have had as arrivals, float64 (n,).

    Each member pulls its centroid towards itself: without it, the mean of m members lies
    m / (m - 1) times as far away (the leave-one-out identity of a mean; Hastie, Tibshirani and
    Friedman 2009, section 7.10). The row joins the nearest of that and the other centroids.
    Compared with the plain distances of a fit, every arrival would seem to have drifted.

    Parameters
    ----------
    vectors, centroids
        float32, shapes (n, d) and (k, d).
    assigned, distances
        Each row's centroid and its distance to it, shape (n,).
    """
    sizes = np.bincount(assigned, minlength=len(centroids))[assigned]
    own = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), np.inf)
    with np.errstate(invalid="ignore"):  # inf * 0: a row that is a cluster of its own
        without = np.nan_to_num(own * distances.astype(np.float64), nan=np.inf, posinf=np.inf)
    if len(centroids) > 1:
        positions, squared = nearest(checked(vectors), checked(centroids), count=2)
        other = np.where(positions[:, 0] == assigned, squared[:, 1], squared[:, 0])
        without = np.minimum(without, np.sqrt(np.maximum(other, 0).astype(np.float64)))
    return np.where(np.isfinite(without), without, 0.0)


def spread(distances: NDArray[Any]) -> Spread:
    """Number, mean and standard deviation of distances (n,), n >= 1."""
    return Spread(len(distances), float(np.mean(distances)), float(np.std(distances)))


def pooled(spreads: Sequence[Spread]) -> Spread:
    """The spread of all distances together."""
    count = sum(one.count for one in spreads)
    if not count:
        return Spread(0, 0.0, 0.0)
    mean = sum(one.count * one.mean for one in spreads) / count
    variance = (
        sum(one.count * (one.deviation**2 + (one.mean - mean) ** 2) for one in spreads) / count
    )
    return Spread(count, mean, math.sqrt(variance))


def drift(fitted: Spread, arrivals: Spread, *, comparisons: int = 1) -> Drift:
    """Compare the distances of arrivals with those of the fit.

    Drift is high when there are at least 30 arrivals, their mean is at least 5 % larger, and
    the difference of the means passes a one-sided test (Welch 1947) at 0.001, divided by the
    number of comparisons (Bonferroni).

    Parameters
    ----------
    fitted
        Distances of the fit as `left_out` gives them.
    comparisons
        How many clusters are looked at together.
    """
    ratio = arrivals.mean / fitted.mean if arrivals.count and fitted.mean > 0 else None
    difference = arrivals.mean - fitted.mean
    error = math.sqrt(
        arrivals.deviation**2 / max(arrivals.count, 1) + fitted.deviation**2 / max(fitted.count, 1)
    )
    critical = NormalDist().inv_cdf(1 - _LEVEL / max(comparisons, 1))
    high = (
        arrivals.count >= LEAST_ARRIVALS
        and fitted.count > 0
        and arrivals.mean >= LEAST_RATIO * fitted.mean
        and difference > critical * error
    )
    return Drift(arrivals.count, ratio, high)


def outlier_limits(
    distances: NDArray[Any], assigned: NDArray[np.int32], k: int
) -> NDArray[np.float64]:
    """The distance of each cluster beyond which an image is an outlier, float64 (k,).

    Median + 3.5 * 1.4826 * median absolute deviation (Iglewicz and Hoaglin 1993): unlike mean
    and standard deviation, these are not moved by the outliers themselves. Clusters with fewer
    than 10 members, or with half their members at one distance, take the deviation of all
    members from their own clusters' medians; where that is 0 too there is no limit (infinity).

    Parameters
    ----------
    distances
        Distances of a fit as `left_out` gives them, shape (n,).
    assigned
        Position of each row's centroid, int32 (n,).
    """
    order = np.argsort(assigned, kind="stable")
    bounds = np.searchsorted(assigned[order], np.arange(k + 1))
    medians, deviations = np.zeros(k), np.zeros(k)
    away = np.zeros(len(distances))
    for position in range(k):
        members = order[bounds[position] : bounds[position + 1]]
        if not len(members):
            continue
        medians[position] = np.median(distances[members])
        away[members] = np.abs(distances[members] - medians[position])
        if len(members) >= _LEAST_MEMBERS:
            deviations[position] = np.median(away[members])
    everywhere = float(np.median(away)) if len(away) else 0.0
    deviations[deviations == 0] = everywhere or np.inf
    return np.asarray(medians + _FAR * _DEVIATION_OF_NORMAL * deviations)
