"""What comes into the index or is asked of it: checked, and at unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgclust.errors import EmbeddingError


def at_unit_length(vectors: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    """A float32 copy `(m, dimensions)` with each vector at unit length; zeros stay zeros.

    Raises
    ------
    EmbeddingError
        When shapes do not fit or a number is not finite.
    """
    with np.errstate(over="ignore"):  # what leaves float32's range is refused just below
        array = np.array(vectors, dtype=np.float32, ndmin=2, order="C")
    if array.ndim != 2 or array.shape[1] != dimensions:
        raise EmbeddingError(
            f"vectors of shape {array.shape} do not fit an index of {dimensions} numbers"
        )
    if not np.isfinite(array).all():
        raise EmbeddingError("a vector has a number that is not finite")
    # The largest value first: squares of very large or small numbers leave float32's range.
    array /= np.maximum(np.abs(array).max(axis=1, keepdims=True, initial=0), 1e-38)
    array /= np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-38)
    return array
