"""Embeddings that no clustering can be made of."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.errors import ClusteringError


def must_be_numbers(
    catalog: Catalog, keys: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]
) -> None:
    """Refuse embeddings `(n, d)` with NaN or infinity, and say whose they are.

    Raises
    ------
    ClusteringError
        Names the image.
    """
    bad = np.flatnonzero(~np.isfinite(vectors.sum(axis=1, dtype=np.float64)))
    if not bad.size:
        return
    images = catalog.images.with_content(int(keys[bad[0]]))
    which = ", ".join(f"{one.id} ({os.fsdecode(one.path)})" for one in images)
    more = f", and of {bad.size - 1} contents more," if bad.size > 1 else ""
    raise ClusteringError(
        f"the embedding of the image {which}{more} holds NaN or infinity; take it out with "
        "imgclust remove, and in again with imgclust add"
    )
