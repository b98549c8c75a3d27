"""PCA by scikit-learn, as an immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.storage import packed
from imgclust.projection.turn import Turn

Vectors = NDArray[np.float32]

# So many rows are multiplied without threads: beside a network that keeps all processors busy they
# wait for each other, which was seen to take 50 ms for 32 rows instead of 0.3.
_FEW = 64
# Multiply-adds from which OpenBLAS starts threads (SMP_THRESHOLD_MIN * GEMM_MULTITHREAD_THRESHOLD
# in its interface/gemm.c).
_THREADED = 262_144


@dataclass(frozen=True, eq=False)
class PcaProjection:
    """A linear projection onto principal axes.

    Attributes
    ----------
    mean
        float32, shape (d,).
    components
        Orthonormal rows, float32, shape (dims, d); rows of zeros where the training vectors
        had fewer dimensions than asked for.
    explained
        Share of the variance on each axis, float32, shape (dims,).
    scale
        Standard deviations that values are divided by first, float32 (d,), or None.
    """

    kind: ClassVar[str] = "pca"

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    explained: NDArray[np.float32]
    scale: NDArray[np.float32] | None = None

    @property
    def dims(self) -> int:
        return int(self.components.shape[0])

    def transform(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Coordinates of vectors (n, d): float32, shape (n, dims)."""
        rows = checked(vectors, dims=len(self.mean), least=0)
        centred = rows - self.mean
        if self.scale is not None:
            centred /= self.scale
        if len(rows) <= _FEW:
            return self._of_few(centred)
        return np.ascontiguousarray(centred @ self.components.T, dtype=np.float32)

    def _of_few(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """Multiply so little at a time that BLAS starts no threads."""
        at_once = max(1, _THREADED // self.components.size)
        coordinates = np.empty((len(centred), self.dims), np.float32)
        for start in range(0, len(centred), at_once):
            part = slice(start, start + at_once)
            np.matmul(centred[part], self.components.T, out=coordinates[part])
        return coordinates

    def residuals(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """Distance of each of the vectors (n, d) from the plane of the axes: float64 (n,).

        Standardised like the coordinates, where they are.
        """
        rows = checked(vectors, dims=len(self.mean), least=0) - self.mean
        if self.scale is not None:
            rows /= self.scale
        within = self.transform(vectors)
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        squares -= np.einsum("ij,ij->i", within, within, dtype=np.float64)
        return np.asarray(np.sqrt(np.maximum(squares, 0)))

    def turned(self, turn: Turn) -> PcaProjection:
        """The projection whose coordinates are those of this one, turned."""
        rotation = turn.rotation.astype(np.float32)
        components = rotation.T @ self.components
        # The shift becomes part of the mean, which needs orthonormal rows; rows of zeros (no
        # such axis) cannot carry it.
        back = turn.shift.astype(np.float32) @ components
        mean = self.mean - (back if self.scale is None else back * self.scale)
        explained = np.square(rotation).T @ self.explained
        return PcaProjection(mean, components, explained, self.scale)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the projection consists of, by name."""
        found = {"mean": self.mean, "components": self.components, "explained": self.explained}
        return found if self.scale is None else found | {"scale": self.scale}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> PcaProjection:
        """The projection that consists of these arrays."""
        return cls(arrays["mean"], arrays["components"], arrays["explained"], arrays.get("scale"))

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())


def fit_pca(
    vectors: NDArray[Any], *, dims: int, standardise: bool = False, seed: int = 0
) -> PcaProjection:
    """Principal component analysis by scikit-learn.

    Parameters
    ----------
    vectors
        float32, shape (n, d), n >= 1.
    dims
        Axes to keep; at most d. Where the rows span fewer, the rest are zeros.
    standardise
        Divide each value by its standard deviation first (scikit-learn's StandardScaler).
    seed
        Kept for repeatability; both solvers used are exact.

    Raises
    ------
    ClusteringError
        For no rows, NaN or dims < 1.
    """
    from sklearn.decomposition import PCA

    rows = checked(vectors)
    n, d = rows.shape
    if dims < 1:
        raise ClusteringError(f"dims = {dims} leaves nothing; use 1 or more")
    dims = min(dims, d)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    scale = None
    if standardise:
        deviation = centred.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
        centred /= scale
    components = np.zeros((dims, d), dtype=np.float32)
    explained = np.zeros(dims, dtype=np.float32)
    count = min(dims, n - 1)
    if count and centred.any():
        solver = "covariance_eigh" if n >= d else "full"
        pca = PCA(count, svd_solver=solver, random_state=seed).fit(centred)
        # Axes without variance are arbitrary, and differ from machine to machine.
        real = pca.explained_variance_ratio_ > 1e-10
        components[:count][real] = pca.components_[real]
        explained[:count][real] = pca.explained_variance_ratio_[real]
    return PcaProjection(mean, components, explained, scale)


def checked(vectors: NDArray[Any], *, dims: int | None = None, least: int = 1) -> Vectors:
    """The vectors as contiguous float32 (n, d); `ClusteringError` for another shape or NaN."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or len(rows) < least or (dims is not None and rows.shape[1] != dims):
        wanted = "(n, d)" if dims is None else f"(n, {dims})"
        raise ClusteringError(f"vectors of shape {rows.shape} cannot be projected; need {wanted}")
    bad = np.flatnonzero(~np.isfinite(rows.sum(axis=1, dtype=np.float64)))
    if bad.size:
        raise ClusteringError(
            f"{bad.size} of {len(rows)} embeddings hold NaN or infinity (the first is row "
            f"{bad[0]}); embed these images again"
        )
    return rows
