"""Rows of unit length: made so where they lie, or kept as they are stored and taken in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError

_BLOCK = 500
_IN_CACHE = 1 << 17  # numbers
# Of a half: exponents of infinity and NaN, without the sign. A float32 has the sign, three more
# bits of exponent, and 13 more of the fraction behind; its exponent counts from 112 further down.
_SPECIAL = np.uint16(0xF800)
_FRACTION, _SIGN_AND_HALF, _FROM_112 = 13, np.int32(-0x70002000), np.float32(2.0**112)


def to_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring vectors `(n, d)` to unit length where they lie; vectors of zeros stay."""
    return np.divide(vectors, _divisors(vectors)[:, np.newaxis], out=vectors)


def widened(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers `(n, d)` as float32.

    By whole numbers, many at once: NumPy's conversion does one after another, in four times the
    time, and a clustering converts all embeddings several times.
    """
    found = np.empty(halves.shape, np.float32)
    rows = max(1, _IN_CACHE // max(1, halves.shape[1]))
    for start in range(0, len(halves), rows):
        part = halves[start : start + rows]
        if (part.view(np.uint16) << 1).max(initial=0) >= _SPECIAL:
            found[start : start + rows] = part
            continue
        bits = found[start : start + rows].view(np.int32)
        bits[...] = part.view(np.int16)
        bits <<= _FRACTION
        bits &= _SIGN_AND_HALF
        found[start : start + rows] *= _FROM_112
    return found


class UnitRows:
    """Embeddings (n, d) as they are stored, in half precision; blocks of them are taken.

    What is taken is float32, of unit length: all rows so would need twice the memory, 800 MB for
    100,000 with 2,048 values.
    """

    def __init__(self, stored: NDArray[np.float16]) -> None:
        """Keep these rows, without a copy."""
        self._stored = stored
        self._divisors = np.empty(len(stored), np.float32)
        for start in range(0, len(stored), _BLOCK):
            part = slice(start, start + _BLOCK)
            self._divisors[part] = _divisors(widened(stored[part]))
        #: Whether each row is free of NaN and infinity, (n,).
        self.finite = np.isfinite(self._divisors)

    @property
    def shape(self) -> tuple[int, int]:
        rows, values = self._stored.shape
        return rows, values

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[np.float32]:
        """Some of the rows, a copy."""
        found = widened(self._stored[rows])
        return np.divide(found, self._divisors[rows][:, np.newaxis], out=found)


Rows = NDArray[Any] | UnitRows


def checked_rows(vectors: Rows, check: Callable[[NDArray[Any]], NDArray[np.float32]]) -> Rows:
    """Rows of which blocks are taken, (n, d), when they can be used; an array as `check` gives it.

    Raises
    ------
    ClusteringError
        When there is no row, or a value is NaN or infinite.
    """
    if not isinstance(vectors, UnitRows):
        return check(vectors)
    if not len(vectors):
        raise ClusteringError(f"there are no embeddings in vectors of shape {vectors.shape}")
    require_finite(vectors.finite)
    return vectors


def require_finite(finite: NDArray[np.bool_]) -> None:
    """Raise a `ClusteringError` unless every row holds numbers alone, (n,)."""
    bad = np.flatnonzero(~finite)
    if bad.size:
        raise ClusteringError(
            f"{bad.size} of {len(finite)} embeddings hold NaN or infinity (the first is row "
            f"{bad[0]}); embed these images again"
        )


def _divisors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lengths, 1 where that is zero, (n,)."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return np.where(lengths == 0, np.float32(1), lengths)
