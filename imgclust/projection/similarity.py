"""Similarity: the cosine after half whitening, and how rare it is among pairs of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.half_white import HalfWhiteProjection, fit_half_white
from imgclust.projection.pca import checked, packed

AXES = 512
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
    vectors: NDArray[Any],
    *,
    rows: NDArray[np.int64] | None = None,
    half: HalfWhiteProjection | None = None,
    seed: int = 0,
) -> SimilarityProjection:
    """Half whitening of different images, and the similarities of their pairs.

    Parameters
    ----------
    vectors
        float32, shape (n, d), of unit length, one of each group of near copies.
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
    matrix = checked(vectors)
    picked = np.arange(len(matrix)) if rows is None else np.asarray(rows, np.int64)
    if len(picked) < LEAST_DIFFERENT:
        raise ClusteringError(f"{len(picked)} images are too few to measure similarity")
    dims = min(AXES, len(picked) // _ROWS_AN_AXIS)
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
