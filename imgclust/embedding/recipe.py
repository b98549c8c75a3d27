"""The recipe: everything that decides what an embedding is; batches and their checks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import EmbeddingError, RecipeError
from imgclust.weights.loader import Weights

_SIDE = 299  # pixels; InceptionV3's input


@dataclass(frozen=True)
class Recipe:
    """Two embeddings may be compared only when their recipes are equal.

    Attributes
    ----------
    backbone
        The network, "inception_v3".
    weights_sha256
        Digest (hex) of the weights file.
    layers
        Where the values are taken, in this order.
    dimensions
        Length of an embedding.
    preprocessing
        What happens to pixel values x of 0..255: "x/255" or "x/127.5-1".
    pooling
        "average" over all positions of a layer.
    square_root
        Whether the square root of each pooled value (all are >= 0) is taken.
    normalisation
        "parts+whole" (each layer's part to unit length, then all), "whole" or "none".
    numerical_class
        "float": float32, bfloat16 or float16 on any engine that passes the agreement check.
    """

    backbone: str
    weights_sha256: str
    layers: tuple[str, ...]
    dimensions: int
    preprocessing: str
    pooling: str
    square_root: bool
    normalisation: str
    numerical_class: str = "float"

    @property
    def name(self) -> str:
        """Canonical JSON: what the catalog stores and compares."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def short(self) -> str:
        """One line for people, e.g. "inception_v3 mixed6+mixed8, weights 0123abcd"."""
        raw = "" if self.square_root else ", raw"
        layers = "+".join(self.layers)
        return f"{self.backbone} {layers}{raw}, weights {self.weights_sha256[:8]}"

    @property
    def side(self) -> int:
        """Pixels on each side of the square images that `embed` takes."""
        return _SIDE

    @classmethod
    def parse(cls, name: str) -> Recipe:
        """Read back what `name` wrote.

        Raises
        ------
        RecipeError
            When the text is not such a name, or has fields that this version does not know.
        """
        try:
            fields = json.loads(name)
            recipe = cls(**{**fields, "layers": tuple(fields["layers"])})
        except (ValueError, TypeError, KeyError) as error:
            raise RecipeError(
                f"not a recipe of this version: {name[:200]!r}; upgrade imgclust"
            ) from error
        return recipe


def recipe_of(weights: Weights, *, raw: bool = False) -> Recipe:
    """Recipe that goes with `weights`.

    Parameters
    ----------
    raw
        The pooled values as they are, as the ancestor had them: no square root, no unit length.
    """
    trunk = weights.structure == "trunk"
    unit_length = "parts+whole" if trunk else "whole"
    return Recipe(
        backbone="inception_v3",
        weights_sha256=weights.sha256,
        layers=("mixed6", "mixed8") if trunk else ("mixed10",),
        dimensions=2048,
        preprocessing="x/255" if trunk else "x/127.5-1",
        pooling="average",
        square_root=not raw,
        normalisation="none" if raw else unit_length,
    )


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
