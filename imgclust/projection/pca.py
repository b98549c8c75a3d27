"""PCA by scikit-learn, as an immutable value; turns of coordinates; projections as bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.vectors import require_finite

_FORMAT = 1

Vectors = NDArray[np.float32]

# The axes of more rows are hardly others (docs/how-it-decides.md), and a centred copy of all would
# double the memory of a clustering.
MAX_ROWS = 30_000
# SciPy's SVD, exact and quick for few rows, lets no other thread run: a watcher stops for
# 0.2 s at 245 rows of 2048 values and 1.9 s at 1,000.
_FULL = 400
# Few axes of many are found by random projections (Halko, Martinsson and Tropp 2011, algorithms
# 4.4 and 5.1; scikit-learn's `randomized`), in an eighth of the time or less that all 2048 axes
# take. With these two numbers 64 axes of 1,000 rows hold 99.98 % of the variance that the exact
# ones hold, of 5,000 rows 99.99 %.
_POWER, _OVERSAMPLES = 5, 32
_SHARE = 4  # at most one axis in four: of more, the exact solver is the cheaper one
_NARROW = 512  # values, of which all axes are found in a tenth of a second
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
    variances
        Of each value, float64 (d,), which `refreshed` needs; None where it cannot be carried on.
    rows, fitted
        How many rows the axes stand for, since gone ones included, and how many of them were
        fitted together.
    """

    kind: ClassVar[str] = "pca"

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    explained: NDArray[np.float32]
    scale: NDArray[np.float32] | None = None
    variances: NDArray[np.float64] | None = None
    rows: int = 0
    fitted: int = 0

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

    def inverse(self, coordinates: NDArray[Any]) -> NDArray[np.float32]:
        """Vectors (n, d) in the plane of the axes that have these coordinates (n, dims)."""
        rows = np.asarray(coordinates, np.float32) @ self.components
        return np.asarray(self.mean + (rows if self.scale is None else rows * self.scale))

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
        found: dict[str, NDArray[Any]] = {
            "mean": self.mean,
            "components": self.components,
            "explained": self.explained,
        }
        if self.scale is not None:
            found["scale"] = self.scale
        if self.variances is not None:
            learnt = np.array([self.rows, self.fitted])
            found |= {"variances": self.variances, "learnt": learnt}
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> PcaProjection:
        """The projection that consists of these arrays."""
        rows, fitted = arrays.get("learnt", (0, 0))
        return cls(
            arrays["mean"],
            arrays["components"],
            arrays["explained"],
            arrays.get("scale"),
            arrays.get("variances"),
            int(rows),
            int(fitted),
        )

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())


def fit_pca(
    vectors: NDArray[Any],
    *,
    dims: int,
    standardise: bool = False,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
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
        Of the sample, and of the random projections that find few axes of many rows.
    max_rows
        The axes are those of a sample of so many rows where there are more; mean and standard
        deviations are of all.

    Raises
    ------
    ClusteringError
        For no rows, NaN or dims < 1.
    """
    from sklearn.decomposition import PCA

    rows = checked(vectors)
    d = rows.shape[1]
    if dims < 1:
        raise ClusteringError(f"dims = {dims} leaves nothing; use 1 or more")
    dims = min(dims, d)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = None
    if standardise:
        squares = sum(
            np.square(part).sum(axis=0, dtype=np.float64) for part in _centred(rows, mean)
        )
        deviation = np.sqrt(squares / len(rows))
        scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
    if len(rows) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(rows), max_rows, replace=False)
        centred = rows[np.sort(chosen)]
    else:
        centred = rows.copy()
    centred -= mean
    if scale is not None:
        centred /= scale
    variances = np.einsum("ij,ij->j", centred, centred, dtype=np.float64) / len(centred)
    axes, share = np.empty((0, d), np.float32), np.empty(0)
    count = min(dims, len(centred) - 1)
    if count and centred.any():
        solver = "covariance_eigh"
        if len(centred) < _FULL:
            solver = "full"
        elif d > _NARROW and _SHARE * count <= min(centred.shape):
            solver = "randomized"
        pca = PCA(
            count,
            copy=False,
            svd_solver=solver,
            iterated_power=_POWER,
            n_oversamples=_OVERSAMPLES,
            random_state=seed,
        ).fit(centred)
        axes, share = pca.components_, pca.explained_variance_ratio_
    components, explained = real_axes(axes, share, dims)
    if scale is not None:
        return PcaProjection(mean, components, explained, scale)
    n = len(rows)
    return PcaProjection(mean, components, explained, variances=variances, rows=n, fitted=n)


def real_axes(
    axes: NDArray[Any], share: NDArray[Any], dims: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Axes (dims, d) and their shares, zeros for those without variance.

    Such axes are arbitrary, and differ from machine to machine.
    """
    components = np.zeros((dims, axes.shape[1]), dtype=np.float32)
    explained = np.zeros(dims, dtype=np.float32)
    real = share > 1e-10
    components[: len(axes)][real] = axes[real]
    explained[: len(axes)][real] = share[real]
    return components, explained


def _centred(
    rows: Vectors, mean: NDArray[np.float32], scale: NDArray[np.float32] | None = None
) -> Iterator[Vectors]:
    """Rows less their mean, some at a time: a copy of all would double a collection's memory."""
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK] - mean
        if scale is not None:
            part /= scale
        yield part


def checked(vectors: NDArray[Any], *, dims: int | None = None, least: int = 1) -> Vectors:
    """The vectors as contiguous float32 (n, d); `ClusteringError` for another shape or NaN."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or len(rows) < least or (dims is not None and rows.shape[1] != dims):
        wanted = "(n, d)" if dims is None else f"(n, {dims})"
        raise ClusteringError(f"vectors of shape {rows.shape} cannot be projected; need {wanted}")
    require_finite(np.isfinite(rows.sum(axis=1, dtype=np.float64)))
    return rows


# Rows that are learnt at a time when axes are carried on: the SVD of many more takes longer for
# each, and lets no other thread run meanwhile.
_AT_ONCE = 200


def refreshed(projection: PcaProjection, fresh: NDArray[Any]) -> PcaProjection:
    """The axes of what a projection was fitted on and of fresh rows together.

    By scikit-learn's IncrementalPCA (Ross, Lim, Lin and Yang 2008), which keeps no more of the
    old rows than their axes: what lay across those is forgotten, and what has left since stays
    in. Carried on ten times by a twentieth of 12,000 rows, 64 axes held 99.99 % of the variance
    that a new fit held.

    Parameters
    ----------
    projection
        What `fit_pca` or `refreshed` made, not standardised and not turned; it stays as it is.
    fresh
        Further rows, float32, shape (n, d).

    Raises
    ------
    ClusteringError
        For NaN, another d, or a projection that cannot be carried on.
    """
    from sklearn.decomposition import IncrementalPCA

    if projection.variances is None:
        raise ClusteringError("this projection cannot be updated; fit it again")
    rows = checked(fresh, dims=len(projection.mean), least=0)
    if not len(rows):
        return projection
    # scikit-learn continues from what it would have kept itself.
    squares = projection.explained * projection.variances.sum() * projection.rows
    model = IncrementalPCA(projection.dims)
    model.components_ = projection.components
    model.singular_values_ = np.sqrt(squares).astype(np.float32)
    model.mean_ = projection.mean.astype(np.float64)
    model.var_ = projection.variances
    model.n_samples_seen_ = np.int64(projection.rows)
    with np.errstate(invalid="ignore"):  # where all rows are equal it divides 0 by 0
        for start in range(0, len(rows), _AT_ONCE):
            model.partial_fit(rows[start : start + _AT_ONCE])
    components, explained = real_axes(
        model.components_, model.explained_variance_ratio_, projection.dims
    )
    return PcaProjection(
        np.asarray(model.mean_, dtype=np.float32),
        components,
        explained,
        variances=np.asarray(model.var_, dtype=np.float64),
        rows=int(model.n_samples_seen_),
        fitted=projection.fitted,
    )


def packed(kind: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays and what they are; the same arrays give the same bytes."""
    stream = io.BytesIO()
    everything: dict[str, Any] = {**arrays, "kind": np.array(kind), "format": np.array(_FORMAT)}
    np.savez(stream, **everything)
    return stream.getvalue()


def unpacked(blob: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """What `packed` was given.

    Raises
    ------
    ClusteringError
        When the bytes are not a projection, damaged, or of a newer format.
    """
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        kind, version = str(arrays.pop("kind")), int(arrays.pop("format"))
    except (KeyError, ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile) as problem:
        raise ClusteringError(
            f"the stored projection cannot be read ({problem}); cluster again to replace it"
        ) from problem
    if version > _FORMAT:
        raise ClusteringError(
            f"the stored projection has format {version}, newer than {_FORMAT}; update imgclust"
        )
    return kind, arrays


@dataclass(frozen=True, eq=False)
class Turn:
    """A rigid motion of coordinates: `coordinates @ rotation + shift`.

    Attributes
    ----------
    rotation
        Orthogonal, a mirror allowed, float64, shape (dims, dims).
    shift
        float64, shape (dims,).
    """

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def apply(self, coordinates: NDArray[Any]) -> NDArray[np.float32]:
        """Turned coordinates, float32, shape (n, dims)."""
        moved = np.asarray(coordinates, dtype=np.float64) @ self.rotation + self.shift
        return moved.astype(np.float32)


def align(new: NDArray[Any], old: NDArray[Any]) -> Turn:
    """The turn that lays new coordinates over old ones (orthogonal Procrustes, Schoenemann 1966).

    Parameters
    ----------
    new, old
        Coordinates of the same rows, shape (n, dims); a row with NaN in either is left out.
    """
    from scipy.linalg import orthogonal_procrustes

    fresh = np.asarray(new, dtype=np.float64)
    before = np.asarray(old, dtype=np.float64)
    known = np.isfinite(fresh).all(axis=1) & np.isfinite(before).all(axis=1)
    dims = fresh.shape[1]
    if known.sum() < 2:
        return Turn(np.eye(dims), np.zeros(dims))
    fresh, before = fresh[known], before[known]
    rotation, _ = orthogonal_procrustes(fresh - fresh.mean(axis=0), before - before.mean(axis=0))
    return Turn(rotation, before.mean(axis=0) - fresh.mean(axis=0) @ rotation)
