"""Embeddings that nothing can be reckoned with: damage, since none such is ever stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust.errors import ClusteringError
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.catalog.catalog import Catalog


def finite(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of the embeddings `(n, d)` hold neither NaN nor infinity, `(n,)`."""
    return np.asarray(np.isfinite(vectors.sum(axis=1, dtype=np.float64)))


def must_be_numbers(
    catalog: Catalog, keys: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]
) -> None:
    """Refuse embeddings `(n, d)` with NaN or infinity, and say whose they are.

    Raises
    ------
    ClusteringError
        Names the image.
    """
    bad = np.flatnonzero(~finite(vectors))
    if not bad.size:
        return
    images = catalog.images.with_content(int(keys[bad[0]]))
    which = ", ".join(f"{one.id} ({printable(one.path)})" for one in images)
    more = f", and of {bad.size - 1} contents more," if bad.size > 1 else ""
    raise ClusteringError(
        f"the embedding of the image {which}{more} holds NaN or infinity; take it out with "
        "imgclust remove, and in again with imgclust add"
    )


def damaged_embeddings(catalog: Catalog, recipe: str) -> list[int]:
    """Keys of the contents whose embedding by a recipe holds NaN or infinity; reads them all."""
    contents = catalog.contents
    return [
        int(key)
        for keys, vectors in contents.embedding_parts(contents.embedded(recipe), recipe)
        for key in keys[~finite(vectors)]
    ]
