"""Cutting work into batches of a few shapes, and checking what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imgclust.embedding.recipe import Recipe
from imgclust.errors import EmbeddingError

# What a CPU computes at once: more than 8 was not measured to be faster, and takes a third of a
# gigabyte more. A batch is padded to the smallest that holds it; a new shape costs about 0.1 s
# once, and oneDNN keeps 1,024 compiled operations, which 6 shapes of this network stay below.
CPU_SHAPES = (1, 2, 3, 4, 6, 8)


def in_batches(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    shapes: Sequence[int],
    dimensions: int,
) -> NDArray[np.float32]:
    """Call `run` on batches whose lengths are all in `shapes`.

    Parameters
    ----------
    run
        Embeds one batch.
    pixels
        (n, side, side, 3); cut into batches of the largest shape, the last one padded with black
        to the smallest shape that holds it.
    shapes
        Allowed lengths, ascending.

    Returns
    -------
    array
        (n, dimensions) float32, without the padding.
    """
    largest = shapes[-1]
    found = np.empty((len(pixels), dimensions), np.float32)
    for start in range(0, len(pixels), largest):
        batch = pixels[start : start + largest]
        count = len(batch)
        length = next(shape for shape in shapes if shape >= count)
        if length != count:
            padding = np.zeros((length - count, *batch.shape[1:]), np.uint8)
            batch = np.concatenate([batch, padding])
        rows = run(batch)
        if rows.shape != (length, dimensions):
            raise EmbeddingError(
                f"the network returned {rows.shape} instead of {(length, dimensions)}"
            )
        found[start : start + count] = rows[:count]
    return found


def check_pixels(pixels: NDArray[np.uint8], recipe: Recipe) -> None:
    """Raise `EmbeddingError` unless pixels are (n, side, side, 3) uint8."""
    expected = (recipe.side, recipe.side, 3)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
        raise EmbeddingError(
            f"pixels are {pixels.dtype} {pixels.shape} instead of uint8 (n, {expected})"
        )


def check_embeddings(embeddings: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    """Return the embeddings; raise `EmbeddingError` when a value is not finite."""
    if not np.isfinite(embeddings).all():
        bad = int((~np.isfinite(embeddings).all(axis=1)).sum())
        raise EmbeddingError(
            f"the network returned values that are not finite for {bad} of {len(embeddings)} "
            f"images ({recipe.short}); try precision = float32"
        )
    return embeddings
