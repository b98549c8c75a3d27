"""What the rest of imgclust asks of whatever turns images into embeddings."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imgclust.embedding.recipe import Recipe


class Embedder(Protocol):
    """Turns decoded images into embeddings of one recipe."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of all embeddings that this embedder makes."""
        ...

    @property
    def provenance(self) -> str:
        """Engine, its version, device and precision: recorded, never compared."""
        ...

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed `pixels` (n, side, side, 3), RGB 0..255, as (n, dimensions) float32.

        Any n, 0 included; the embedder divides and pads as it needs.

        Raises
        ------
        EmbeddingError
            For pixels of another shape or type, and when the network returns values that are
            not finite.
        """
        ...
