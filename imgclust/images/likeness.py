"""Likeness: whether two pictures show the same pixels, whatever their size and encoding."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Cells on each side. With 16 a crop of a twentieth looks like a copy, with 64 a copy at a quarter
# of the size looks like a crop.
_GRID = 32
# Added to variances (grey levels squared), so that noise in plain areas is no difference.
_NOISE = 32.0
_COPY_SIDE = 2048


def cells(picture: bytes) -> NDArray[np.uint8]:
    """Mean colours on a grid of 32 x 32 cells, uint8 `(3072,)`, of an encoded picture.

    Raises
    ------
    OSError, ValueError
        When the bytes are no picture.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        small = opened.convert("RGB").resize((_GRID, _GRID), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).reshape(-1)


def likeness(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How well the cells `(m, 3072)` of two pictures agree: 1 for the same, about 0 for unrelated.

    Lin's concordance correlation coefficient (Biometrics 45, 1989) over the three colours, damped
    as in SSIM: other places, colours, brightness and contrast all lower it.
    """
    one = some.astype(np.float32).reshape(len(some), -1, 3)
    other = others.astype(np.float32).reshape(len(others), -1, 3)
    means = one.mean(axis=1), other.mean(axis=1)
    one -= means[0][:, None]
    other -= means[1][:, None]
    shared = (one * other).mean(axis=(1, 2))
    spread = np.square(one).mean(axis=(1, 2)) + np.square(other).mean(axis=(1, 2))
    apart = np.square(means[0] - means[1]).mean(axis=1)
    found: NDArray[np.float32] = (2 * shared + _NOISE) / (spread + apart + _NOISE)
    return found


def copies(content: bytes) -> list[bytes]:
    """Copies as people make them: JPEG at quality 60, WebP at 75, half the size as JPEG at 85.

    Raises
    ------
    OSError, ValueError, Image.DecompressionBombError
        When the bytes are no picture that Pillow reads.
    """
    with Image.open(io.BytesIO(content)) as opened:
        opened.draft("RGB", (_COPY_SIDE, _COPY_SIDE))
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    picture.thumbnail((_COPY_SIDE, _COPY_SIDE))
    half = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))
    return [
        _encoded(picture, "JPEG", quality=60),
        _encoded(picture, "WEBP", quality=75),
        _encoded(half, "JPEG", quality=85),
    ]


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
