"""Pictures as arrays: reduced, upright, whole with their alpha; colours that Pillow lacks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# All of a 4K screenshot; an A4 page of 290 dpi, where a digit is 40 pixels high.
WHOLE_PX = 8_500_000
_OPAQUE = 255


def reduced(size: tuple[int, int], most_px: int) -> tuple[int, int]:
    """The same ratio with at most about `most_px` pixels; never larger."""
    width, height = size
    scale = min(1.0, math.sqrt(most_px / (width * height)))
    return max(1, round(scale * width)), max(1, round(scale * height))


def is_series(image: Image.Image) -> bool:
    """Whether a file holds further pictures that can differ: an animation, several pages.

    The second picture of a JPEG (MPO) is a preview or a depth map of the first.
    """
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def whole_picture(
    plain: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None,
    upright: Image.Transpose | None,
) -> NDArray[np.uint8]:
    """The picture at `size`, then turned upright: uint8 `(h, w, 3)`.

    `(h, w, 4)` when a pixel is transparent, the colours not multiplied with alpha.

    Parameters
    ----------
    plain
        L, RGB or RGBA.
    size
        Width and height before it is turned.
    box
        The part of `plain` that holds the picture, None for all.
    """
    if plain.mode == "RGBA" and plain.getchannel("A").getextrema()[0] == _OPAQUE:
        plain = plain.convert("RGB")
    if plain.mode not in {"RGB", "RGBA"}:
        plain = plain.convert("RGB")
    if plain.size != size or box is not None:
        plain = plain.resize(size, Image.Resampling.BOX, box=box, reducing_gap=3.0)
    if upright is not None:
        plain = plain.transpose(upright)
    return np.asarray(plain)


def from_lab(image: Image.Image) -> Image.Image:
    """A picture in the colours L*a*b* as RGB."""
    from PIL import ImageCms

    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("no conversion")
    return converted
