"""Assignment of vectors to the nearest stored centroid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import checked, nearest, squared_distances
from imgclust.errors import ClusteringError


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
