"""The way back of a sweep: k clusters from k + 1 by uniting two of them.

Each k of a nested sweep starts from k - 1, so a poor local minimum is handed on to the next k. The
unions come upon each k from the other side; the cheapest are tried (Ward 1963).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imgclust.clustering.criteria import Point
from imgclust.clustering.faiss_kmeans import Vectors, refine
from imgclust.clustering.local_search import union_costs
from imgclust.progress import Progress, StopFlag

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
