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
_COARSE = 8
# Added to variances (grey levels squared), so that noise in plain areas does not count.
_NOISE = 32.0
_COPY_SIDE = 2048


def cells(picture: bytes) -> NDArray[np.uint8]:
    """Mean colours on a grid of 32 x 32 cells, uint8 `(3072,)`, of an encoded picture.

    Raises
    ------
    OSError, ValueError
        When the bytes are not a picture.
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


def outlines(found: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `most_likeness` needs of cells `(m, 3072)`, float32 `(m, 193)`.

    The mean colours of 8 x 8 larger cells, and how far the colours lie from their mean.
    """
    grid = found.reshape(-1, _COARSE, _GRID // _COARSE, _COARSE, _GRID // _COARSE, 3)
    coarse = grid.mean(axis=(2, 4), dtype=np.float32).reshape(len(found), 3 * _COARSE**2)
    spread = found.reshape(len(found), _GRID**2, 3).var(axis=1, dtype=np.float32).mean(axis=1)
    return np.hstack([coarse, spread[:, None]])


def most_likeness(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the likeness of two pictures with these outlines `(m, 193)` is at most.

    With the mean squared difference of all cells, d, the likeness is 1 - d / (spreads + squared
    difference of the means + damping); d is nowhere less than that of the larger cells.
    """
    difference = some[:, :-1] - others[:, :-1]
    apart = np.square(difference.reshape(len(some), _COARSE**2, 3).mean(axis=1)).mean(axis=1)
    whole = some[:, -1] + others[:, -1] + apart + _NOISE
    found: NDArray[np.float32] = 1 - np.square(difference).mean(axis=1) / whole
    return found


def copies(content: bytes) -> list[bytes]:
    """Copies as people make them: JPEG at quality 60, WebP at 75, half the size as JPEG at 85.

    Raises
    ------
    OSError, ValueError, Image.DecompressionBombError
        When the bytes are not a picture that Pillow reads.
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
