"""t-SNE by openTSNE (Policar, Strazar and Zupan 2019), as an immutable value.

Initialised from PCA (Kobak and Berens 2019); neighbours are found by FAISS. Large maps take few
neighbours, all of one weight, which gives nearly the same map (Boehm, Berens and Kobak 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.devices import cpu_count
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.pca import PcaProjection, Turn, Vectors, checked, fit_pca, packed

_PLACING_NEIGHBOURS = 10
_PLACING_BLOCK = 10_000
_EARLY_ITERATIONS = 250
_ITERATIONS = 500
# For large maps: what these cost in trustworthiness is in docs/quality.md.
_LARGE_EARLY_ITERATIONS = 100
_LARGE_ITERATIONS = 300
_LARGE_NEIGHBOURS = 15
_CALLBACK_EVERY = 25
_ROWS_FOR_THREADS = 2_000  # with fewer, threads cost more in waiting than they bring
_MOST_ROWS = {2: 50_000, 3: 10_000}
LEAST_ROWS = 8  # below this t-SNE has no neighbourhoods to keep; PCA is the map

_PROBES = 8  # lists that are searched; on made-up features of 50 axes 94 % of the 15 nearest

_TRAINING = 64  # rows for each list, of which there are as many as the square root of n


@dataclass(frozen=True, eq=False)
class TsneProjection:
    """A t-SNE map that new vectors can be placed in.

    Attributes
    ----------
    pca
        The space that neighbours are found in.
    reference
        Training vectors in that space, float32, shape (n, q).
    coordinates
        Their positions in the map, float32, shape (n, dims).
    placed
        True for training rows that were placed by their neighbours' positions because the map
        was made from a sample (in 3-D, or by scikit-learn), bool (n,).
    """

    kind: ClassVar[str] = "tsne"

    pca: PcaProjection
    reference: NDArray[np.float32]
    coordinates: NDArray[np.float32]
    placed: NDArray[np.bool_]

    @property
    def dims(self) -> int:
        return int(self.coordinates.shape[1])

    def place(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Positions of new vectors (n, d) from their nearest neighbours': float32 (n, dims).

        A vector that is in the map already gets its position; another one a position where
        most of its 10 nearest neighbours lie together.
        """
        rows = self.pca.transform(vectors)
        return placed_among(rows, self.reference, self.coordinates)

    def transform(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """The same as `place`, so that both kinds of projection can be used alike."""
        return self.place(vectors)

    def turned(self, turn: Turn) -> TsneProjection:
        """The same map, turned."""
        return replace(self, coordinates=turn.apply(self.coordinates))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> TsneProjection:
        """The projection that consists of these arrays."""
        pca = PcaProjection.of(arrays)
        return cls(pca, arrays["reference"], arrays["coordinates"], arrays["placed"])

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        own = {
            "reference": self.reference,
            "coordinates": self.coordinates,
            "placed": self.placed,
        }
        return packed(self.kind, self.pca.arrays() | own)


def fit_tsne(
    vectors: NDArray[Any],
    *,
    dims: int = 2,
    pca_dims: int = 50,
    standardise: bool = False,
    seed: int = 0,
    perplexity: float = 30.0,
    max_points: int | None = None,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> TsneProjection:
    """Make a t-SNE map by openTSNE.

    Parameters
    ----------
    vectors
        float32, shape (n, d), n >= 1.
    dims
        2 or 3.
    pca_dims, standardise
        Principal axes that the vectors are reduced to first, and whether they are standardised
        before that.
    seed
        For the sample in 3-D; the start is PCA, so nothing else is drawn.
    perplexity
        Neighbours that count for each point; at most (n - 1) / 3 is used.
    max_points
        Above this many rows, by default 50,000, a map in 2-D is made with fewer and approximate
        neighbours, in fewer iterations, and `perplexity` does not count. In
        3-D, for which there is no interpolation by FFT, a random sample of so many (by default
        10,000) makes the map and the others are placed in it.
    progress, stop
        Every 25 iterations.

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
    pca = fit_pca(rows, dims=max(dims, pca_dims), standardise=standardise, seed=seed)
    reference = pca.transform(rows)
    n = len(reference)
    if n < LEAST_ROWS or not reference.any():
        flat = np.zeros((n, dims), dtype=np.float32)
        flat[:, : reference.shape[1]] = reference[:, :dims]
        return TsneProjection(pca, reference, flat, np.zeros(n, dtype=np.bool_))
    used = np.arange(n)
    most = _MOST_ROWS[dims] if max_points is None else max_points
    if dims == 3 and n > most:
        used = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    begin = _start(reference[used], dims)
    found = _optimised(
        np.ascontiguousarray(reference[used]),
        begin,
        perplexity,
        seed,
        progress,
        stop,
        large=dims == 2 and n > most,
    )
    coordinates = np.empty((n, dims), dtype=np.float32)
    coordinates[used] = found
    placed = np.ones(n, dtype=np.bool_)
    placed[used] = False
    if placed.any():
        coordinates[placed] = placed_among(reference[placed], reference[used], found)
    return TsneProjection(pca, reference, coordinates, placed)


def placed_among(rows: Vectors, reference: Vectors, coordinates: Vectors) -> Vectors:
    """Positions among the nearest neighbours', where most of them lie together.

    A mean of positions puts a row whose neighbours lie in two places between them, where
    nothing like it is. So the neighbour is taken that has most others about it, as t-SNE's own
    kernel counts them, and one step of mean shift is made from there. On made-up features the
    share of map neighbours of the same group was 0.38 this way, 0.16 by the weighted mean, 0.28
    by the median, 0.32 in a refit.
    """
    found = np.empty((len(rows), coordinates.shape[1]), dtype=np.float32)
    if len(rows) == 0:
        return found
    positions, squared = nearest(reference, rows, min(_PLACING_NEIGHBOURS, len(reference)))
    weight = 1 / np.maximum(squared, 1e-12 * max(float(squared.max()), 1e-30))
    weight /= weight.sum(axis=1, keepdims=True)
    for first in range(0, len(rows), _PLACING_BLOCK):
        part = slice(first, first + _PLACING_BLOCK)
        there = coordinates[positions[part]].astype(np.float64)
        apart = np.square(there[:, :, np.newaxis] - there[:, np.newaxis]).sum(axis=3)
        near = weight[part, np.newaxis] / (1 + apart)
        densest = near.sum(axis=2).argmax(axis=1)
        pull = near[np.arange(len(near)), densest]
        pull /= pull.sum(axis=1, keepdims=True)
        found[part] = np.einsum("ij,ijd->id", pull, there)
    return found


def _start(reference: Vectors, dims: int) -> NDArray[np.float64]:
    begin = reference[:, :dims].astype(np.float64)
    # t-SNE converges from a start of small spread (Kobak and Berens 2019).
    spread = float(begin[:, 0].std()) or 1.0
    return np.ascontiguousarray((begin - begin.mean(axis=0)) / spread * 1e-4)


def _optimised(
    reference: Vectors,
    begin: NDArray[np.float64],
    perplexity: float,
    seed: int,
    progress: Progress,
    stop: StopFlag | None,
    *,
    large: bool,
) -> Vectors:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN, Uniform
    from openTSNE.nearest_neighbors import KNNIndex

    # openTSNE has no types: to mypy its class is Any.
    class FaissNeighbors(KNNIndex):  # type: ignore[misc]
        """Neighbours by FAISS, which beats openTSNE's own search at these sizes."""

        VALID_METRICS: ClassVar[list[str]] = ["euclidean"]

        def build(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            return (nearby_others if large else nearest_others)(self.data, self.k)

        def query(self, query: Vectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            positions, squared = nearest(self.data, query, k)
            return positions, np.sqrt(squared)

    n = len(reference)
    perplexity = min(perplexity, (n - 1) / 3)
    early = _LARGE_EARLY_ITERATIONS if large else _EARLY_ITERATIONS
    late = _LARGE_ITERATIONS if large else _ITERATIONS
    total = early + late
    threads = cpu_count() if n >= _ROWS_FOR_THREADS else 1
    finished = 0

    def look(iteration: int, error: float, embedding: object) -> bool:
        progress("t-SNE", min(finished + iteration, total), total)
        return stop is not None and stop.is_set()

    progress("t-SNE", 0, total)
    if large:
        neighbours = FaissNeighbors(reference, k=min(_LARGE_NEIGHBOURS, n - 1))
        affinities = Uniform(knn_index=neighbours, symmetrize="mean", n_jobs=threads)
    else:
        neighbours = FaissNeighbors(reference, k=max(1, int(3 * perplexity)))
        affinities = PerplexityBasedNN(
            knn_index=neighbours, perplexity=perplexity, n_jobs=threads, random_state=seed
        )
    if stop is not None:
        stop.check()
    embedding = TSNEEmbedding(
        begin,
        affinities,
        random_state=seed,
        n_jobs=threads,
        learning_rate="auto",
        negative_gradient_method="bh" if begin.shape[1] == 3 or n < 10_000 else "fft",
        callbacks=look,
        callbacks_every_iters=_CALLBACK_EVERY,
    )
    embedding.optimize(early, exaggeration=12, momentum=0.8, inplace=True)
    finished = early
    if stop is not None:
        stop.check()
    embedding.optimize(late, momentum=0.8, inplace=True)
    if stop is not None:
        stop.check()
    progress("t-SNE", total, total)
    return np.asarray(embedding, dtype=np.float32)


def nearest(
    reference: Vectors, rows: Vectors, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest reference rows and squared distances, exact, each (n, count)."""
    import faiss

    index = faiss.IndexFlatL2(reference.shape[1])
    index.add(np.ascontiguousarray(reference))
    squared, positions = index.search(np.ascontiguousarray(rows), count)
    return positions, np.maximum(squared, 0).astype(np.float64)


def nearest_others(rows: Vectors, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row the nearest others and their distances, exact, each (n, count)."""
    return _without_itself(*nearest(rows, rows, count + 1))


def nearby_others(rows: Vectors, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same by an inverted file, which misses some: its cost is n^1.5, not n^2."""
    import faiss

    n, dims = rows.shape
    coarse = faiss.IndexFlatL2(dims)
    index = faiss.IndexIVFFlat(coarse, dims, max(1, round(n**0.5)))
    index.cp.max_points_per_centroid = _TRAINING
    index.cp.min_points_per_centroid = 1
    index.train(rows)
    index.add(rows)
    index.nprobe = _PROBES
    squared, positions = index.search(rows, count + 1)
    few = np.flatnonzero((positions < 0).any(axis=1))  # the lists searched held too little
    wide = np.maximum(squared, 0).astype(np.float64)
    if few.size:
        positions[few], wide[few] = nearest(rows, rows[few], count + 1)
    return _without_itself(positions, wide)


def _without_itself(
    positions: NDArray[np.int64], squared: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # The row itself is dropped wherever it stands: among duplicates it need not be first.
    own = positions == np.arange(len(positions))[:, np.newaxis]
    own[~own.any(axis=1), -1] = True
    shape = (len(positions), positions.shape[1] - 1)
    return positions[~own].reshape(shape), np.sqrt(squared[~own]).reshape(shape)
