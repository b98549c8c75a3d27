"""t-SNE as image_clustering made it: StandardScaler, PCA and TSNE of scikit-learn.

t-SNE is chaotic: a difference in the last digit of its input, or another order of its rows, ends
in another map. So these steps use scikit-learn throughout, with no arithmetic of ours between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.pca import PcaProjection, Vectors, checked
from imgclust.projection.tsne import LEAST_ROWS, TsneProjection, fit_tsne, placed_among

Result = TypeVar("Result")

_LOOK_S = 0.2


def fit_classic(
    vectors: NDArray[Any],
    *,
    dims: int = 2,
    pca_dims: int = 50,
    standardise: bool = True,
    seed: int = 0,
    perplexity: float = 30.0,
    order: NDArray[Any] | None = None,
    max_points: int = 50_000,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> TsneProjection:
    """Make a t-SNE map by scikit-learn.

    Parameters
    ----------
    vectors
        float32, shape (n, d), n >= 1.
    dims
        2 or 3.
    pca_dims, standardise
        As in `fit_tsne`.
    seed
        `random_state` of PCA and of TSNE.
    perplexity
        scikit-learn's; (n - 1) / 3 where there are not so many rows.
    order
        Positions in which the rows are given to scikit-learn, a permutation (n,).
    max_points
        Above this many rows a random sample makes the map and the others are placed in it.
    progress, stop
        scikit-learn can be neither watched nor stopped: progress has no total, and a stop leaves
        its thread behind, which ends with the process.

    Raises
    ------
    ClusteringError
        For no rows, NaN, or other dims.
    StoppedError
        When `stop` was set.
    """
    if dims not in (2, 3):
        raise ClusteringError(f"a t-SNE map has 2 or 3 dimensions, not {dims}")
    rows = checked(vectors)
    n = len(rows)
    if n < LEAST_ROWS or bool((rows == rows[0]).all()):
        return fit_tsne(rows, dims=dims, pca_dims=pca_dims, standardise=standardise, seed=seed)
    used = np.arange(n) if order is None else np.asarray(order)
    if n > max_points:
        used = used[np.sort(np.random.default_rng(seed).choice(n, max_points, replace=False))]
    progress("t-SNE by scikit-learn", 0, None)
    pca, found = _in_thread(
        lambda: _steps(rows[used], dims, max(dims, pca_dims), standardise, seed, perplexity), stop
    )
    reference = pca.transform(rows)
    coordinates = np.empty((n, dims), np.float32)
    coordinates[used] = found
    placed = np.ones(n, np.bool_)
    placed[used] = False
    if placed.any():
        coordinates[placed] = placed_among(reference[placed], reference[used], found)
    return TsneProjection(pca, reference, coordinates, placed)


def _steps(
    rows: Vectors, dims: int, pca_dims: int, standardise: bool, seed: int, perplexity: float
) -> tuple[PcaProjection, Vectors]:
    """The steps themselves, and the PCA by which new vectors follow them."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    n, d = rows.shape
    scaler = StandardScaler(with_mean=standardise, with_std=standardise)
    scaled = scaler.fit_transform(rows)
    pca = PCA(min(pca_dims, n, d), random_state=seed)
    reduced = pca.fit_transform(scaled)
    nearby = perplexity if perplexity < n else (n - 1) / 3
    found = TSNE(dims, perplexity=nearby, random_state=seed).fit_transform(reduced)
    scale = scaler.scale_ if standardise else None
    mean = pca.mean_ * scale + scaler.mean_ if standardise else pca.mean_
    projection = PcaProjection(
        np.asarray(mean, np.float32),
        np.asarray(pca.components_, np.float32),
        np.asarray(pca.explained_variance_ratio_, np.float32),
        None if scale is None else np.asarray(scale, np.float32),
    )
    return projection, np.asarray(found, np.float32)


def _in_thread(work: Callable[[], Result], stop: StopFlag | None) -> Result:
    """Do the work in a thread, and leave it there when asked to stop."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="t-SNE", daemon=True)
    thread.start()
    while thread.is_alive():
        if stop is not None:
            stop.check()
        thread.join(_LOOK_S)
    if failures:
        raise failures[0]
    return results[0]
