"""Whether two pictures show the same pixels, whatever their size and encoding.

`likeness` compares means over the whole picture; `sameness` tests every place, for pictures that
differ only by encoding and size. A small change, such as a digit in a screenshot, is invisible in
means over the whole picture. So differences are averaged over small windows, and the largest of
them decides. Encoding with loss changes busy places more than plain ones: each window is allowed a
share of its own contrast.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Cells on each side. With 16 a crop of a twentieth looks like a copy, with 64 a copy at a quarter
# of the size looks like a crop.
_GRID = 32
_COARSE = 8
# Cells in each of the larger cells of an outline: so many times a mean colour is a whole number.
OUTLINE_CELLS = (_GRID // _COARSE) ** 2
# Added to variances (grey levels squared), so that noise in plain areas does not count.
_NOISE = 32.0
_COPY_SIDE = 2048


def cells(picture: bytes) -> NDArray[np.uint8]:
    """Mean colours on a grid of 32 x 32 cells, uint8 `(3072,)`, of an encoded picture.

    Raises
    ------
    OSError, ValueError
        When the bytes are not a picture, or one that would fill the memory.
    """
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            small = opened.convert("RGB").resize((_GRID, _GRID), Image.Resampling.BOX)
    except (Image.DecompressionBombError, SyntaxError) as error:  # Pillow's for a broken PNG
        raise ValueError(str(error)) from None
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
    # Whole numbers, and one axis at a time: a fifth of the time that means over two axes take.
    side, count = _GRID // _COARSE, _GRID**2
    bands = found.reshape(-1, _COARSE, side, 3 * _GRID).sum(axis=2, dtype=np.uint16)
    sums = bands.reshape(-1, _COARSE**2, side, 3).sum(axis=2, dtype=np.uint16)
    numbers = found.astype(np.int32)
    squares = np.einsum("ij,ij->i", numbers, numbers).astype(np.int64)
    totals = sums.sum(axis=1, dtype=np.int64)
    spread = (count * squares - np.square(totals).sum(axis=1)) / (3 * count**2)
    coarse = sums.reshape(len(found), 3 * _COARSE**2) / np.float32(OUTLINE_CELLS)
    return np.hstack([coarse, spread[:, None].astype(np.float32)])


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


Floats = NDArray[np.float32]

# Side of the windows in which lightness and alpha are averaged, and of the blocks that have a
# contrast and a colour each.
_WINDOW = 5
_BLOCK = 4
# What encoding explains, in levels of 255: so much anywhere, and a share of the local contrast;
# of the mean difference in a window, of its root mean square, and of the mean colour.
_LEVELS, _SHARE = 4.0, 0.2
_TEXTURE_LEVELS, _TEXTURE_SHARE = 6.0, 0.3
_COLOUR_LEVELS, _COLOUR_SHARE = 3.0, 0.3
# The largest difference of a copy, as a multiple of that (docs/duplicates.md). The strokes of
# another digit cancel out in the mean, but not in the root mean square.
MOST, MOST_TEXTURE, MOST_COLOUR = 1.5, 2.7, 1.9
# In small pictures a few pixels are a letter's only difference from another.
SMALL_SIDE, MOST_SMALL = 48, 0.7
# Compared in bands of rows, so that different pictures are left early; with rows around each.
_BAND, _MARGIN = 512, 8
# Pictures of so many pixels a side are compared at a quarter of the size first.
_COARSE_SIDE, _REDUCTION = 256, 4
# The larger picture holds more when the smaller one, enlarged in any of the usual ways, differs
# from it by more (RMS) than so many times what encoding has changed, with so many levels more; of a
# difference that can be seen (levels), fewer times are enough. Of 2,200 copies of the sample
# photos that were enlarged and encoded again none did, of 1,700 originals of smaller ones all but
# one.
_DETAIL, _DETAIL_LEVELS = 1.03, 0.5
_SEEN, _DETAIL_SEEN = 3.0, 0.92
_LARGER = 1.1
_ENLARGED = (
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BILINEAR,
    Image.Resampling.NEAREST,
    Image.Resampling.BOX,
)
# Levels by which a drawing must differ from the ground that its flattened copy is on.
_SHOWN = 32


class Sameness(enum.Enum):
    """What two pictures are to each other; `FIRST` and `SECOND`: the same, and that holds more."""

    OTHER = "other"
    SAME = "same"
    FIRST = "first"
    SECOND = "second"


def sameness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Sameness:
    """Compare two whole pictures `(h, w, 3 or 4)` of the same ratio (see `whole_picture`).

    They are the same when they agree in every window at the smaller one's size. The larger one
    holds more where it has detail that the smaller one lacks, and a transparent one holds more
    than its flattened copy. If both hold more than the other, they are not the same.
    """
    if one.shape[2] != other.shape[2]:
        transparent = one if one.shape[2] == 4 else other
        flat = other if one.shape[2] == 4 else one
        if not any(_agree(drawn, flat) for drawn in _flattened(transparent)):
            return Sameness.OTHER
        if _holds_more(flat, transparent[..., :3]):
            return Sameness.OTHER
        return Sameness.FIRST if one.shape[2] == 4 else Sameness.SECOND
    if not _agree(one, other):
        return Sameness.OTHER
    if _holds_more(one, other):
        return Sameness.FIRST
    return Sameness.SECOND if _holds_more(other, one) else Sameness.SAME


@dataclass(frozen=True)
class Difference:
    """How far two pictures differ at most in any block, as multiples of what encoding explains.

    Attributes
    ----------
    light, texture
        Lightness or alpha: the mean in a window, and the root mean square.
    colour
        The mean colour.
    side
        The shorter side in pixels at which they were compared.
    """

    light: float
    texture: float
    colour: float
    side: int

    def passes(self) -> bool:
        """Whether encoding and size explain it."""
        return (
            self.light <= (MOST if self.side > SMALL_SIDE else MOST_SMALL)
            and self.texture <= MOST_TEXTURE
            and self.colour <= MOST_COLOUR
        )


def difference(
    one: NDArray[np.uint8], other: NDArray[np.uint8], *, early: bool = False
) -> Difference:
    """Compare two pictures of the same number of channels at the smaller one's size.

    `early` stops at the first rows that do not pass.
    """
    one, other = _at_one_size(one, other)
    found = Difference(0.0, 0.0, 0.0, min(one.shape[:2]))
    for top in range(0, len(one), _BAND):
        rows = slice(max(0, top - _MARGIN), min(len(one), top + _BAND + _MARGIN))
        if np.array_equal(one[rows], other[rows]):
            continue
        light, texture, colour = _differences(_planes(one[rows]), _planes(other[rows]))
        found = Difference(
            max(found.light, light),
            max(found.texture, texture),
            max(found.colour, colour),
            found.side,
        )
        if early and not found.passes():
            break
    return found


def _agree(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    one, other = _at_one_size(one, other)
    if min(one.shape[:2]) >= _COARSE_SIDE and one.shape[2] == 3:
        small = [np.asarray(Image.fromarray(part).reduce(_REDUCTION)) for part in (one, other)]
        if not difference(small[0], small[1], early=True).passes():
            return False
    return difference(one, other, early=True).passes()


def _differences(one: list[Floats], other: list[Floats]) -> tuple[float, float, float]:
    """The largest in any block: lightness or alpha, their texture, colour."""
    shapes = [_shape(one[place], other[place]) for place in (0, 3) if place < len(one)]
    colours = [_colour(one[place], other[place]) for place in (1, 2)]
    return max(mean for mean, _ in shapes), max(square for _, square in shapes), max(colours)


def _shape(one: Floats, other: Floats) -> tuple[float, float]:
    from scipy.ndimage import uniform_filter

    contrast = np.minimum(_contrast(one), _contrast(other))
    apart = one - other
    mean = _blocks(np.abs(uniform_filter(apart, _WINDOW))).max(axis=(1, 3))
    square = _blocks(uniform_filter(apart * apart, _WINDOW)).max(axis=(1, 3))
    light = mean / (_LEVELS + _SHARE * contrast)
    texture = np.sqrt(np.maximum(square, 0)) / (_TEXTURE_LEVELS + _TEXTURE_SHARE * contrast)
    return float(light.max()), float(texture.max())


def _contrast(plane: Floats) -> Floats:
    """Standard deviation in the 3 x 3 blocks around each block."""
    from scipy.ndimage import uniform_filter

    means = uniform_filter(_blocks(plane).mean(axis=(1, 3)), 3)
    squares = uniform_filter(_blocks(plane * plane).mean(axis=(1, 3)), 3)
    found: Floats = np.sqrt(np.maximum(squares - means * means, 0))
    return found


def _colour(one: Floats, other: Floats) -> float:
    """Of mean colours in 2 x 2 blocks, as encoders keep little more of colours."""
    from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

    means = [_blocks(plane).mean(axis=(1, 3)) for plane in (one, other)]
    apart = np.abs(uniform_filter(means[0] - means[1], 2))
    spread = [maximum_filter(mean, 3) - minimum_filter(mean, 3) for mean in means]
    return float((apart / (_COLOUR_LEVELS + _COLOUR_SHARE * np.minimum(*spread) / 2)).max())


def _blocks(plane: Floats) -> Floats:
    """Blocks of 4 x 4, `(rows, 4, columns, 4)`; the last ones are filled up with their edge."""
    height, width = plane.shape
    plane = np.pad(plane, ((0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge")
    return plane.reshape(plane.shape[0] // _BLOCK, _BLOCK, -1, _BLOCK)


def _planes(pixels: NDArray[np.uint8]) -> list[Floats]:
    """Lightness, two colour differences (ITU-R BT.601), and alpha; transparent: as on black."""
    alpha = []
    if pixels.shape[2] == 4:
        alpha = [pixels[..., 3].astype(np.float32)]
        pixels = (pixels[..., :3] * (alpha[0][..., None] / 255)).round().astype(np.uint8)
    planes = np.asarray(Image.fromarray(pixels).convert("YCbCr"), np.float32)
    return [*(np.ascontiguousarray(planes[..., place]) for place in range(3)), *alpha]


def _at_one_size(
    one: NDArray[np.uint8], other: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if one.shape[0] * one.shape[1] > other.shape[0] * other.shape[1]:
        other, one = _at_one_size(other, one)
        return one, other
    return one, _resized(other, (one.shape[1], one.shape[0]))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """At width and height `size`; transparent colours count by their alpha."""
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _holds_more(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether `one` is larger, and is not just the other enlarged."""
    if one.shape[0] * one.shape[1] <= _LARGER * other.shape[0] * other.shape[1]:
        return False
    whole, part = (Image.fromarray(pixels[..., :3]).convert("L") for pixels in (one, other))
    encoding = min(_apart(whole.resize(part.size, way), part) for way in _ENLARGED)
    lost = min(_apart(whole, part.resize(whole.size, way)) for way in _ENLARGED)
    times = _DETAIL_SEEN if lost > _SEEN else _DETAIL
    return lost > times * (encoding + _DETAIL_LEVELS)


def _apart(one: Image.Image, other: Image.Image) -> float:
    """Root mean square of the difference between two pictures of one size."""
    difference = np.asarray(one, np.float32) - np.asarray(other, np.float32)
    return float(np.sqrt(np.square(difference).mean()))


def _flattened(transparent: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The picture on white and on black, where it differs from that ground."""
    alpha = transparent[..., 3:].astype(np.float32) / 255
    for ground in (255, 0):
        flat = transparent[..., :3] * alpha + ground * (1 - alpha)
        if np.abs(flat - ground).max() >= _SHOWN:
            yield flat.round().astype(np.uint8)
