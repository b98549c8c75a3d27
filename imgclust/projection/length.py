"""Vectors at unit length: what is projected and clustered where values are not standardised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring vectors `(n, d)` to unit length where they lie; vectors of zeros stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), out=vectors)
