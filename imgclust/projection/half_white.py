"""Half whitening, and similarity: the cosine after it, and how rare that is in a collection.

Also the smoothed space: half-whitened directions averaged over their neighbours, which places
arrivals among them. And every kind of projection as it is read back from bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.pca import PcaProjection, checked, packed, unpacked
from imgclust.projection.tsne import TsneProjection
from imgclust.vectors import Rows, checked_rows, to_unit_length

AXES = 256
# The axes of more rows are hardly others.
MAX_ROWS = 20_000
# Products of float32 are exact to seven digits: an axis with less of the variance of the widest
# one is rounding.
_LEAST_VARIANCE = 1e-6
_BLOCK = 2000


@dataclass(frozen=True, eq=False)
class HalfWhiteProjection:
    """Principal axes, each divided by the square root of its standard deviation.

    Attributes
    ----------
    mean
        float32, shape (d,).
    axes
        Orthogonal rows, already divided, float32, shape (q, d); one row of zeros where the
        training vectors do not differ.
    rows
        How many rows the axes were fitted on.
    """

    kind: ClassVar[str] = "half_white"

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    rows: int = 0

    @property
    def dims(self) -> int:
        return int(self.axes.shape[0])

    def transform(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Directions of vectors (n, d) from the mean: float32 (n, dims), of unit length.

        A vector that lies at the mean stays a vector of zeros.
        """
        rows = checked(vectors, dims=len(self.mean), least=0)
        found = np.empty((len(rows), self.dims), np.float32)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            np.matmul(rows[part] - self.mean, self.axes.T, out=found[part])
        # What is left of the mean itself is rounding, and no direction.
        lengths = np.linalg.norm(found, axis=1)
        found[lengths <= 1e-6 * np.linalg.norm(self.axes) * max(1.0, _largest(self.mean))] = 0
        return to_unit_length(found)

    def leading(self, dims: int) -> HalfWhiteProjection:
        """The same with its widest axes alone; all of them where there are no more than `dims`."""
        return HalfWhiteProjection(self.mean, self.axes[:dims], self.rows)

    def inverse(self, directions: NDArray[Any]) -> NDArray[np.float32]:
        """Vectors (n, d) that lie in directions (n, dims), at the usual distance from the mean."""
        lengths = np.einsum("ij,ij->i", self.axes, self.axes, dtype=np.float64)
        real = np.where(lengths > 0, lengths, np.inf)
        radius = np.sqrt((1 / real).sum())
        rows = np.asarray(directions, np.float64) / real * radius
        return np.asarray(self.mean + rows @ self.axes, dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the projection consists of, by name."""
        return {"mean": self.mean, "axes": self.axes, "learnt": np.array([self.rows])}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> HalfWhiteProjection:
        """The projection that consists of these arrays."""
        return cls(arrays["mean"], arrays["axes"], int(arrays["learnt"][0]))

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())


def fit_half_white(
    vectors: Rows,
    *,
    dims: int = AXES,
    rows: NDArray[np.int64] | None = None,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
) -> HalfWhiteProjection:
    """Half whitening of vectors, from the rows that count.

    No copy of the vectors is made: covariances are summed over blocks, in float64 and always in
    the same order.

    Parameters
    ----------
    vectors
        Shape (n, d).
    dims
        Axes to keep; at most half the number of rows that count, and d.
    rows
        Positions of the rows that count, ascending; all by default. One of each group of near
        copies is meant.
    seed
        Of the sample.
    max_rows
        The axes are those of a sample of so many of them.

    Raises
    ------
    ClusteringError
        For no rows, NaN or dims < 1.
    """
    matrix = checked_rows(vectors, checked)
    if dims < 1:
        raise ClusteringError(f"dims = {dims} leaves nothing; use 1 or more")
    used = np.arange(len(matrix)) if rows is None else np.asarray(rows, np.int64)
    if not len(used):
        raise ClusteringError("no row counts; a projection needs one or more")
    sampled = len(used) > max_rows
    if sampled:
        picked = np.random.default_rng(seed).choice(len(used), max_rows, replace=False)
        used = used[np.sort(picked)]
    n, d = len(used), matrix.shape[1]
    total = np.zeros(d)
    for part in _blocks(used):
        total += matrix[part].sum(axis=0, dtype=np.float64)
    mean = (total / n).astype(np.float32)
    count = min(dims, max(1, n // 2), d)
    if n <= d:
        variances, axes = _by_rows(matrix, used, mean, count)
    else:
        variances, axes = _by_values(matrix, used, mean, count, single=sampled)
    variances, axes = variances[:count], axes[:count]
    real = variances > max(_LEAST_VARIANCE * float(variances[0]), 1e-12)
    if not real.any():
        return HalfWhiteProjection(mean, np.zeros((1, d), np.float32), n)
    divided = axes[real] / variances[real, np.newaxis] ** 0.25
    return HalfWhiteProjection(mean, divided.astype(np.float32), n)


def _by_values(
    matrix: Rows,
    used: NDArray[np.int64],
    mean: NDArray[np.float32],
    count: int,
    *,
    single: bool,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Variances, largest first, and axes, from the covariance of the values (d, d).

    In single precision they are found in half the time, and good enough for a sample: cosines
    differ by 2e-6.
    """
    from scipy.linalg import eigh

    covariance = np.zeros((len(mean), len(mean)))
    for part in _blocks(used):
        centred = matrix[part] - mean
        covariance += centred.T @ centred
    d = len(mean)
    covariance /= len(used)
    kind = np.float32 if single else np.float64
    variances, axes = eigh(covariance.astype(kind, copy=False), subset_by_index=(d - count, d - 1))
    return variances[::-1], axes.T[::-1]


def _by_rows(
    matrix: Rows, used: NDArray[np.int64], mean: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same from the products of the rows (n, n), which are fewer."""
    from scipy.linalg import eigh

    centred = (matrix[used] - mean).astype(np.float64)
    n = len(used)
    squares, left = eigh(centred @ centred.T / n, subset_by_index=(n - count, n - 1))
    squares, left = squares[::-1], left.T[::-1]
    axes = left @ centred
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return squares, np.divide(axes, lengths, out=np.zeros_like(axes), where=lengths > 0)


def _blocks(used: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(used), _BLOCK):
        yield used[start : start + _BLOCK]


def _largest(values: NDArray[np.float32]) -> float:
    return float(np.abs(values).max(initial=0))


@dataclass(frozen=True, eq=False)
class SmoothedProjection:
    """A space in which points were averaged over their nearest neighbours.

    The reference is two numbers of 2 bytes for each axis: 1 kB a row at 256 axes. `around` is
    80 bytes a row.

    Attributes
    ----------
    half
        What brings embeddings to the points before smoothing.
    points, smoothed
        The reference before and after smoothing, float16, shape (m, q).
    neighbours
        How many points each was averaged with, itself included.
    around
        Cosines, float32 (m, c), and positions, int32 (m, c), of the neighbours of each point, where
        they are known: not where the reference is a sample.
    """

    kind: ClassVar[str] = "smoothed"

    half: HalfWhiteProjection
    points: NDArray[np.float16]
    smoothed: NDArray[np.float16]
    neighbours: int
    around: tuple[NDArray[np.float32], NDArray[np.int32]] | None = None

    @property
    def dims(self) -> int:
        return self.half.dims

    def reference(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The reference before and after smoothing, float32 (m, q), at unit length."""
        before, after = self.points.astype(np.float32), self.smoothed.astype(np.float32)
        return to_unit_length(before), to_unit_length(after)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the projection consists of, by name."""
        own = {
            "points": self.points,
            "smoothed": self.smoothed,
            "neighbours": np.array([self.neighbours]),
        }
        if self.around is not None:
            own |= {"cosines": self.around[0], "near": self.around[1]}
        return self.half.arrays() | own

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> SmoothedProjection:
        """The projection that consists of these arrays."""
        half = HalfWhiteProjection.of(arrays)
        around = (arrays["cosines"], arrays["near"]) if "near" in arrays else None
        return cls(half, arrays["points"], arrays["smoothed"], int(arrays["neighbours"][0]), around)

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())


SIMILARITY_AXES = 512
# Different images from which on there is something to measure.
LEAST_DIFFERENT = 20
# Of fewer rows for each axis the last axes are noise, and half whitening gives noise weight: with
# two rows the ten nearest of the 245 sample photos are worse than by the raw cosine, with four
# they are better (docs/quality.md).
_ROWS_AN_AXIS = 4
_RARITIES = (2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
# Rows whose pairs are compared: 2 million pairs.
_PAIRED = 2_000
# Pairs that must be that similar before "1 in N" is said: the fewer, the more chance decides.
_PAIRS_BEHIND = 10
_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class SimilarityProjection:
    """What makes similarities of embeddings, and says how rare they are.

    Attributes
    ----------
    half
        What brings embeddings of unit length to directions.
    limits
        The similarity that one in 2, 5, 10, ..., 10,000 pairs of different images reaches,
        ascending, float32; those that enough pairs were compared for.
    """

    kind: ClassVar[str] = "similarity"

    half: HalfWhiteProjection
    limits: NDArray[np.float32]

    def similarities(
        self, first: NDArray[np.float32], second: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Similarities of vectors (n, d), or one (1, d), to vectors (n, d): float32 (n,).

        All are of unit length.
        """
        products = self.half.transform(first) * self.half.transform(second)
        found = products.sum(axis=1, dtype=np.float64)
        return np.asarray(np.clip(np.round(found, _DECIMALS), -1.0, 1.0), np.float32)

    def rarities(self, similarities: NDArray[np.float32]) -> NDArray[np.int64]:
        """For each the largest N such that at most one in N pairs is as similar; 1 without any."""
        counts = np.searchsorted(self.limits, similarities, side="right")
        return np.array([1, *_RARITIES], np.int64)[counts]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the projection consists of, by name; half precision does for axes."""
        return self.half.arrays() | {
            "axes": self.half.axes.astype(np.float16),
            "limits": self.limits,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> SimilarityProjection:
        """The projection that consists of these arrays."""
        half = HalfWhiteProjection.of({**arrays, "axes": arrays["axes"].astype(np.float32)})
        return cls(half, arrays["limits"])

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())


def fit_similarity(
    vectors: Rows,
    *,
    rows: NDArray[np.int64] | None = None,
    half: HalfWhiteProjection | None = None,
    seed: int = 0,
) -> SimilarityProjection:
    """Half whitening of different images, and the similarities of their pairs.

    Parameters
    ----------
    vectors
        Of unit length, shape (n, d), one of each group of near copies.
    rows
        Positions of the rows that count, ascending; all by default.
    half
        Half whitening of these rows where it is at hand; its widest axes serve.
    seed
        Of the sample whose pairs are compared.

    Raises
    ------
    ClusteringError
        For fewer than 20 rows, or NaN.
    """
    matrix = checked_rows(vectors, checked)
    picked = np.arange(len(matrix)) if rows is None else np.asarray(rows, np.int64)
    if len(picked) < LEAST_DIFFERENT:
        raise ClusteringError(f"{len(picked)} images are too few to measure similarity")
    dims = min(SIMILARITY_AXES, len(picked) // _ROWS_AN_AXIS)
    half = fit_half_white(matrix, dims=dims, rows=picked) if half is None else half.leading(dims)
    # Pairs are measured with the axes that are stored.
    half = HalfWhiteProjection(
        half.mean, half.axes.astype(np.float16).astype(np.float32), half.rows
    )
    if len(picked) > _PAIRED:
        some = np.random.default_rng(seed).choice(len(picked), _PAIRED, replace=False)
        picked = picked[np.sort(some)]
    points = half.transform(matrix[picked])
    pairs = np.sort((points @ points.T)[np.triu_indices(len(points), 1)])
    said = [n for n in _RARITIES if len(pairs) >= _PAIRS_BEHIND * n]
    # At most one pair in n is above.
    limits = [pairs[len(pairs) - len(pairs) // n] for n in said]
    return SimilarityProjection(half, np.array(limits, np.float32))


def projection_from_bytes(blob: bytes) -> PcaProjection | SmoothedProjection | TsneProjection:
    """Read what `to_bytes` wrote; nothing is unpickled.

    Raises
    ------
    ClusteringError
        When the bytes are not a projection, damaged, or of a newer format.
    """
    kind, arrays = unpacked(blob)
    try:
        if kind == PcaProjection.kind:
            return PcaProjection.of(arrays)
        if kind == TsneProjection.kind:
            return TsneProjection.of(arrays)
        if kind == SmoothedProjection.kind:
            return SmoothedProjection.of(arrays)
    except KeyError as problem:
        raise ClusteringError(
            f"the stored projection lacks {problem}; cluster again to replace it"
        ) from problem
    raise ClusteringError(f"the stored projection is of unknown kind {kind!r}; update imgclust")


def similarity_from_bytes(blob: bytes) -> SimilarityProjection:
    """Read what a `SimilarityProjection` wrote; raises as `projection_from_bytes`."""
    kind, arrays = unpacked(blob)
    if kind != SimilarityProjection.kind or not {"mean", "axes", "learnt", "limits"} <= set(arrays):
        raise ClusteringError("the stored similarity is damaged; cluster again to replace it")
    return SimilarityProjection.of(arrays)
