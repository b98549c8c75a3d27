"""PCA, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.storage import packed
from imgclust.projection.turn import Turn

Vectors = NDArray[np.float32]

# Rows that are centred at a time.
_BLOCK = 2000
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
        coordinates = np.empty((len(rows), self.dims), np.float32)
        start = 0
        for centred in _centred(rows, self.mean, self.scale):
            until = start + len(centred)
            few = len(rows) <= _FEW
            coordinates[start:until] = self._of_few(centred) if few else centred @ self.components.T
            start = until
        return coordinates

    def _of_few(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """Multiply so little at a time that BLAS starts no threads."""
        at_once = max(1, _THREADED // self.components.size)
        coordinates = np.empty((len(centred), self.dims), np.float32)
        for start in range(0, len(centred), at_once):
            part = slice(start, start + at_once)
            np.matmul(centred[part], self.components.T, out=coordinates[part])
        return coordinates

    def residuals(self, vectors: NDArray[Any], within: NDArray[Any]) -> NDArray[np.float64]:
        """Distance of each of the vectors (n, d) from the plane of the axes: float64 (n,).

        Standardised like the coordinates, where they are; `within` are theirs, (n, dims).
        """
        rows = checked(vectors, dims=len(self.mean), least=0) - self.mean
        if self.scale is not None:
            rows /= self.scale
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
    """Principal component analysis, with the axes and signs of scikit-learn's `PCA`.

    Beside the vectors it holds a block of them and the covariance, whatever their number.

    Parameters
    ----------
    vectors
        float32, shape (n, d), n >= 1.
    dims
        Axes to keep; at most d. Where the rows span fewer, the rest are zeros.
    standardise
        Divide each value by its standard deviation first (scikit-learn's StandardScaler).
    seed
        Kept for repeatability; both ways are exact.

    Raises
    ------
    ClusteringError
        For no rows, NaN or dims < 1.
    """
    rows = checked(vectors)
    n, d = rows.shape
    if dims < 1:
        raise ClusteringError(f"dims = {dims} leaves nothing; use 1 or more")
    dims = min(dims, d)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = sum(np.square(part).sum(axis=0, dtype=np.float64) for part in _centred(rows, mean))
    scale = None
    if standardise:
        deviation = np.sqrt(squares / n)
        scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
    components = np.zeros((dims, d), dtype=np.float32)
    explained = np.zeros(dims, dtype=np.float32)
    count = min(dims, n - 1)
    if count and np.any(squares):
        solve = _of_covariance if n >= d else _of_rows
        axes, shares = solve(rows, mean, scale, count)
        largest = np.abs(axes).argmax(axis=1)[:, None]
        axes = axes * np.sign(np.take_along_axis(axes, largest, axis=1))
        # Axes without variance are arbitrary, and differ from machine to machine.
        real = shares > 1e-10
        components[:count][real] = axes[real]
        explained[:count][real] = shares[real]
    return PcaProjection(mean, components, explained, scale)


def _centred(
    rows: Vectors, mean: NDArray[np.float32], scale: NDArray[np.float32] | None = None
) -> Iterator[Vectors]:
    """Rows less their mean, some at a time: a copy of all would double a collection's memory."""
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK] - mean
        if scale is not None:
            part /= scale
        yield part


# Both by numpy: SciPy's (and so scikit-learn's) let no other thread run meanwhile, and a watcher
# would stand still.


def _of_rows(
    rows: Vectors, mean: NDArray[np.float32], scale: NDArray[np.float32] | None, count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The first axes `(count, d)` and their shares of the variance, of fewer rows than columns."""
    centred = np.concatenate(list(_centred(rows, mean, scale)))
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    values = np.square(lengths, dtype=np.float64)
    return axes[:count], values[:count] / values.sum()


def _of_covariance(
    rows: Vectors, mean: NDArray[np.float32], scale: NDArray[np.float32] | None, count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same of many rows: what scikit-learn's `covariance_eigh` does, without a copy of them."""
    d = rows.shape[1]
    covariance = np.zeros((d, d))
    for part in _centred(rows, mean, scale):
        covariance += part.T @ part
    values, vectors = np.linalg.eigh(covariance.astype(np.float32))
    values = np.maximum(values[::-1][:count], 0)
    return vectors.T[::-1][:count], values / np.trace(covariance)


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
