"""Drift and outliers: distances to centroids, as a fit left them and as arrivals have them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import checked, nearest

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
