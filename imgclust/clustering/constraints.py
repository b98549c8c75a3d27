"""Constraints of a fit: contents whose cluster is given, and a k-means that takes them as given.

Seeds that keep their label are Basu, Banerjee and Mooney 2002 ("Semi-supervised clustering by
seeding"); here the centroid of a given cluster stays the mean of its given members besides, so that
what joins it later does not pull it away from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked, squared_distances
from imgclust.clustering.kmeans import Fit, fit
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent

# Where a cluster lies that has no members and no known centroid: nothing is as far away.
NOWHERE = 1e6


@dataclass(frozen=True, eq=False)
class Constraints:
    """Contents whose cluster is given.

    Attributes
    ----------
    contents
        Keys, ascending, int64 (m,).
    clusters
        The id of the cluster that each of them belongs to, int64 (m,).
    kept
        Ids of clusters that every fit has, ascending, those without contents too; the clusters
        of all contents are among them.
    """

    contents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.contents) != len(self.clusters):
            raise ClusteringError("contents and clusters of constraints differ in length")
        if not np.isin(self.clusters, self.kept).all():
            raise ClusteringError("a content is given to a cluster that is not kept")

    @classmethod
    def none(cls) -> Self:
        """No constraints."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), ())

    def given(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """The place in `kept` of the cluster of each content, int32 (n,); -1 where it is free."""
        found = np.full(len(keys), -1, np.int32)
        if len(self.contents):
            places = np.searchsorted(self.contents, keys)
            places[places == len(self.contents)] = 0
            known = self.contents[places] == keys
            found[known] = np.searchsorted(self.kept, self.clusters[places[known]])
        return found


def nowhere(dims: int) -> NDArray[np.float32]:
    """The centroid of a cluster that lies nowhere, float32 (dims,)."""
    return np.full(dims, NOWHERE / np.sqrt(dims), np.float32)


def is_nowhere(centroid: NDArray[Any]) -> bool:
    """True for a centroid that `nowhere` has made."""
    return bool(np.linalg.norm(centroid.astype(np.float64)) > NOWHERE / 2)


def given_means(
    vectors: Vectors, given: NDArray[np.int32], anchors: NDArray[Any]
) -> NDArray[np.float32]:
    """Centroid of each given cluster, float32 (f, d): the mean of its rows, its anchor without."""
    centroids = np.array(anchors, dtype=np.float32)
    for place in range(len(centroids)):
        members = given == place
        if members.any():
            centroids[place] = vectors[members].mean(axis=0, dtype=np.float64)
    return centroids


def constrained_fit(
    vectors: NDArray[Any],
    k: int,
    *,
    given: NDArray[np.int32],
    anchors: NDArray[Any],
    seed: int = 0,
    gpu: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Fit:
    """Cluster vectors into k clusters of which the first f are given.

    The rows that are given stay in their clusters, whose centroids are the means of these rows;
    k-means fits the other k - f clusters to the free rows, beside those centroids. A free row
    joins the nearest of all clusters that are not empty: a given one without rows is left to what
    arrives later, unless there is no other. Without given clusters this is `fit`.

    Parameters
    ----------
    vectors
        float32, shape (n, d).
    k
        Number of clusters, the given ones included; at least f.
    given
        Position of the given cluster of each row, int32 (n,) in 0..f-1; -1 where it is free.
    anchors
        Centroids of given clusters without rows, float32 (f, d); those of the others are not
        looked at.
    seed, gpu, progress, stop
        As in `fit`.

    Raises
    ------
    ClusteringError
        For k < f, NaN, or arrays that do not fit each other.
    StoppedError
        When `stop` was set.
    """
    held = len(anchors)
    if not held:
        return fit(vectors, k, seed=seed, gpu=gpu, progress=progress, stop=stop)
    rows = checked(vectors)
    if len(given) != len(rows) or (len(given) and not -1 <= given.min() <= given.max() < held):
        raise ClusteringError(
            f"the given positions do not fit {len(rows)} rows and {held} clusters"
        )
    if k < held:
        raise ClusteringError(f"k = {k} is less than the {held} clusters that are given")
    centroids = given_means(rows, given, anchors)
    assigned = given.astype(np.int32)
    notes: tuple[str, ...] = ()
    free = np.flatnonzero(given < 0)
    if free.size:
        beside = np.flatnonzero(np.bincount(given[given >= 0], minlength=held))
        if not beside.size and k == held:
            beside = np.arange(held)
        found = fit(
            rows[free],
            k - held,
            fixed=centroids[beside] if beside.size else None,
            seed=seed,
            gpu=gpu,
            progress=progress,
            stop=stop,
        )
        places = np.concatenate([beside, held + np.arange(found.k - beside.size)])
        assigned[free] = places[found.assigned]
        centroids = np.concatenate([centroids, found.centroids[beside.size :]])
        if len(centroids) < k:
            notes = (f"k reduced from {k} to {len(centroids)}: no more distinct embeddings",)
    elif k > held:
        notes = (f"k reduced from {k} to {held}: there are no other images",)
    for place in range(held):
        members = assigned == place
        if is_nowhere(centroids[place]) and members.any():
            centroids[place] = rows[members].mean(axis=0, dtype=np.float64)
    squared = squared_distances(rows, centroids, assigned)
    return Fit(
        k=len(centroids),
        centroids=centroids,
        assigned=assigned,
        distances=np.sqrt(squared).astype(np.float32),
        inertia=float(squared.sum()),
        asked_k=k,
        notes=notes,
    )
