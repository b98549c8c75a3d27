"""Lloyd iterations by FAISS, on the CPU or a GPU that is checked before it is believed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.vectors import require_finite

Vectors = NDArray[np.float32]

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_CHECKED_ROWS = 1_000
_LARGEST_SHARE = 0.5
# Below so many multiplications in a search, OpenMP's waiting costs more than a second thread
# brings: 10,000 x 64 with k = 1..100 took 6 s of processor time on one thread, 23 s on two.
_WORTH_THREADS = 200_000_000


def checked(vectors: NDArray[Any]) -> Vectors:
    """The vectors as contiguous float32, shape (n, d), when k-means can use them.

    Raises
    ------
    ClusteringError
        When there is no row, the array is not two-dimensional, or a value is NaN or infinite.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] == 0:
        raise ClusteringError(f"vectors of shape {rows.shape} cannot be clustered; need (n, d)")
    # A sum over each row is finite only if its values are: one pass, no boolean copy.
    require_finite(np.isfinite(rows.sum(axis=1, dtype=np.float64)))
    return rows


def squared_distances(
    vectors: Vectors, centroids: Vectors, assigned: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Squared Euclidean distance of each row to its own centroid, to be summed in float64: (n,).

    Differences are taken before squaring, so that tight clusters far from the origin keep
    their digits (the expansion of the square that matrix products use would lose them).
    """
    n, d = vectors.shape
    squared = np.empty(n, dtype=np.float64)
    step = max(1, _BLOCK_BYTES // (4 * d))
    for first in range(0, n, step):
        part = slice(first, first + step)
        difference = vectors[part] - centroids[assigned[part]]
        squared[part] = np.einsum("ij,ij->i", difference, difference)
    return squared


@contextmanager
def threads_for(work: int) -> Iterator[None]:
    """One OpenMP thread for small work; the setting belongs to the calling thread alone."""
    import faiss

    if work >= _WORTH_THREADS:
        yield
        return
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def nearest(
    vectors: Vectors, centroids: Vectors, *, count: int = 1, gpu: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions of the `count` nearest centroids and squared distances, both (n, count)."""
    import faiss

    index: Any = faiss.IndexFlatL2(centroids.shape[1])
    if gpu:
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(np.ascontiguousarray(centroids))
    with threads_for(vectors.size * len(centroids)):
        squared, positions = index.search(vectors, count)
    return positions, squared


def refine(
    vectors: Vectors,
    start: Vectors,
    *,
    iterations: int,
    seed: int = 0,
    gpu: bool = False,
    fixed: int = 0,
) -> tuple[Vectors, NDArray[np.float64]]:
    """Run FAISS k-means from `start`, all rows used.

    Parameters
    ----------
    vectors
        float32, shape (n, d).
    start
        Initial centroids, float32, shape (k, d), with k <= n.
    iterations
        Lloyd iterations.
    seed
        For FAISS's own splitting of clusters that run empty.
    gpu
        Search on the GPUs that FAISS sees. The result is believed only when a sample of rows,
        assigned on the CPU as well, agrees and no cluster has swallowed most of the rows
        (FAISS's GPU k-means has been seen to do that at 2048 dimensions); otherwise the CPU
        does the work again, with a warning in the log.
    fixed
        The first so many centroids stay where they are; rows may join them.

    Returns
    -------
    tuple
        Centroids float32 (k, d) and the objective before each iteration, float64.
    """
    train = partial(_train_beside, fixed=fixed) if fixed else partial(_train, seed=seed)
    if gpu:
        centroids, objective = train(vectors, start, iterations=iterations, gpu=True)
        complaint = gpu_complaint(vectors, centroids)
        if complaint is None:
            return centroids, objective
        _log.warning("k-means on the GPU is unreliable here (%s); using the CPU", complaint)
    return train(vectors, start, iterations=iterations, gpu=False)


def _train_beside(
    vectors: Vectors, start: Vectors, *, iterations: int, gpu: bool, fixed: int
) -> tuple[Vectors, NDArray[np.float64]]:
    """Lloyd iterations with FAISS's search; an empty cluster keeps its centroid."""
    centroids = start.copy()
    objective = []
    for _ in range(iterations):
        positions, squared = nearest(vectors, centroids, gpu=gpu)
        objective.append(float(squared.sum(dtype=np.float64)))
        assigned = positions[:, 0].astype(np.int32)
        moving = np.bincount(assigned, minlength=len(centroids)) > 0
        moving[:fixed] = False
        centroids[moving] = means(vectors, assigned, len(centroids))[moving]
    return centroids, np.array(objective, dtype=np.float64)


def means(vectors: Vectors, assigned: NDArray[np.int32], k: int) -> Vectors:
    """Mean of the rows of each cluster, float32 (k, d); zeros where there is none."""
    from scipy.sparse import csr_array

    sizes = np.bincount(assigned, minlength=k)
    order = np.argsort(assigned, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    weights = np.repeat(1 / np.maximum(sizes, 1), sizes).astype(np.float32)
    return np.asarray(csr_array((weights, order, starts), (k, len(vectors))) @ vectors)


def gpu_complaint(vectors: Vectors, centroids: Vectors) -> str | None:
    """What is wrong with centroids made on a GPU, or None: a sample is verified on the CPU."""
    if not np.isfinite(centroids).all():
        return "centroids that are not finite"
    step = max(1, vectors.shape[0] // _CHECKED_ROWS)
    sample = np.ascontiguousarray(vectors[::step])
    here, near = nearest(sample, centroids)
    _, there = nearest(sample, centroids, gpu=True)
    scale = float(near.mean()) or 1.0
    if float(np.abs(there - near).max()) > 1e-2 * scale:
        return "distances that differ from the CPU's"
    largest = np.bincount(here[:, 0], minlength=len(centroids)).max() / len(sample)
    if len(centroids) >= 4 and largest > _LARGEST_SHARE:
        return f"one cluster holds {largest:.0%} of the rows"
    return None


def _train(
    vectors: Vectors, start: Vectors, *, iterations: int, seed: int, gpu: bool
) -> tuple[Vectors, NDArray[np.float64]]:
    import faiss

    kmeans = faiss.Kmeans(
        vectors.shape[1],
        start.shape[0],
        niter=iterations,
        seed=seed,
        gpu=gpu,
        min_points_per_centroid=1,
        max_points_per_centroid=vectors.shape[0],
    )
    with threads_for(vectors.size * len(start)):
        kmeans.train(vectors, init_centroids=np.ascontiguousarray(start))
    return np.array(kmeans.centroids, dtype=np.float32), np.asarray(kmeans.obj, dtype=np.float64)
