"""Pictures as arrays: samples of any depth as 8 bits, reduced, upright, on a ground."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile

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


# Alpha below this everywhere shows nothing.
_VISIBLE = 8
# A drawing that differs by so many levels in such a share of its pixels shows on white.
_LEVELS, _SHARE = 32, 0.01
# One that shows so much more on black than on white is a white drawing.
_RATIO = 8.0


def shows(image: Image.Image) -> bool:
    """False for a picture that is transparent everywhere."""
    return image.mode != "RGBA" or int(np.asarray(image.getchannel("A")).max(initial=0)) >= _VISIBLE


def without_hiding_alpha(image: Image.Image) -> Image.Image:
    """The picture without an alpha that hides all of it: programs leave that behind unasked."""
    return image if shows(image) else image.convert("RGB")


def on_ground(image: Image.Image) -> Image.Image:
    """RGB: a transparent picture on white, or on black where it is a white drawing."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "black" if _is_white(image) else "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _is_white(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    alpha = pixels[..., 3].astype(np.float32) / 255
    if alpha.min() > 0.99:
        return False  # no ground shows
    on_white = (255 - pixels[..., :3].min(axis=2)) * alpha
    on_black = pixels[..., :3].max(axis=2) * alpha
    drawn = int((alpha > 0.05).sum())
    if int((on_white > _LEVELS).sum()) >= max(1.0, _SHARE * drawn):
        return False
    return float(on_black.sum()) > _RATIO * float(on_white.sum())


_SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES = 254, 255, 330
# More pages are not looked at; a scanned book has hundreds of one size.
_MOST_PAGES = 64
# Without a tag that says so, a first page is a thumbnail when it is small, and another page of
# the same ratio has so many times its pixels.
_THUMBNAIL_PX, _TIMES, _RATIO_ERROR = 512, 9, 0.03
# Frames that are looked at until one shows something.
_MOST_FRAMES = 500


def main_page(image: Image.Image) -> Image.Image:
    """The page of a TIFF to take: the first, or where that is a thumbnail, the largest."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return image
    flagged = bool(_whole(tags.get(_SUBFILE)) & 1) or _whole(tags.get(_OLD_SUBFILE)) == 2
    count = getattr(image, "n_frames", 1)
    if count == 1:
        if flagged and _SUB_DIRECTORIES in tags and isinstance(image, ImageFile.ImageFile):
            with contextlib.suppress(Exception):  # what cannot be read there is not taken
                every: list[Image.Image] = [image, *image.get_child_images()]
                return max(every, key=lambda one: one.width * one.height)
        return image
    first = image.size
    sizes = dict(_sizes(image, min(count, _MOST_PAGES)))
    largest = max(sizes, key=lambda number: (sizes[number][0] * sizes[number][1], -number))
    thumbnail = flagged or (max(first) <= _THUMBNAIL_PX and _is_reduced(first, sizes[largest]))
    image.seek(largest if thumbnail else 0)
    return image


def next_that_shows(image: Image.Image) -> bool:
    """Seek the next frame; False when there is none that may be looked at."""
    with contextlib.suppress(EOFError):
        if image.tell() < _MOST_FRAMES:
            image.seek(image.tell() + 1)
            return True
    return False


def _sizes(image: Image.Image, count: int) -> Iterator[tuple[int, tuple[int, int]]]:
    for number in range(count):
        try:
            image.seek(number)
        except Exception:  # a page that cannot be read is not taken
            if number == 0:
                raise
            return
        yield number, image.size


def _is_reduced(small: tuple[int, int], large: tuple[int, int]) -> bool:
    ratio = (small[0] * large[1]) / max(1, small[1] * large[0])
    rounding = _RATIO_ERROR + 1 / max(1, min(small))
    return abs(ratio - 1) <= rounding and large[0] * large[1] >= _TIMES * small[0] * small[1]


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _SIGNS = 258, 259, 262, 284, 339
# Least and largest value of the samples (TIFF 6.0, sections 8 and 20): those of `S...` first.
_RANGES = ((340, 341), (280, 281))
# How many bits cameras, scanners and microscopes store in wider samples.
_DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16)
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def plain(
    image: Image.Image, packing: str, reopen: Callable[[], ImageFile.ImageFile]
) -> Image.Image:
    """A loaded picture as 8-bit L, RGB or RGBA.

    Parameters
    ----------
    packing
        What `packing_of` said before it was loaded.
    reopen
        Opens the same picture again: Pillow keeps only the upper half of 16-bit colours.

    Raises
    ------
    OSError
        For samples that Pillow reads as something else.
    """
    _refuse_misread(image)
    image = _signed_bytes(image)
    mode = image.mode
    if mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.uint16), image)
    if mode == "I":
        return _eight_bits(_wide_samples(*_integers(image)))
    if mode == "F":
        return _eight_bits(_wide_samples(np.asarray(image, dtype=np.float32)))
    if ";16" in packing and mode in {"RGB", "RGBA"}:
        image = _deep_colours(image, packing, reopen)
    if mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if mode in {"1", "L"}:
        return image.convert("L")
    if mode == "LAB":
        return from_lab(image)
    # Pillow takes every CMYK JPEG for one of Adobe's, whose ink is stored upside down.
    if mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        return ImageChops.invert(image).convert("RGB")
    return image.convert("RGB")


def _refuse_misread(image: Image.Image) -> None:
    """Refuse what Pillow reads wrong without a word (TIFF 6.0, sections 8 and 19)."""
    tags = getattr(image, "tag_v2", {})
    bits = _number(tags.get(_BITS)) or 1
    if _number(tags.get(_SIGNS)) == 2 and bits not in {8, 16, 32}:
        raise OSError(f"signed samples of {bits} bits are not supported")
    if tags.get(_PLANES) == 2 and tags.get(_COMPRESSION) == 1 and bits > 8:
        raise OSError(f"{bits}-bit colours in separate planes are not supported uncompressed")


def _signed_bytes(image: Image.Image) -> Image.Image:
    """Samples of 8 bits that are marked as signed, with black at 0.

    Many such files hold plain bytes under a wrong mark, and Pillow reads all of them so. The
    wrong reading of a picture has jumps of 255 between neighbours: the smoother one is right.
    """
    tags = getattr(image, "tag_v2", {})
    if _number(tags.get(_SIGNS)) != 2 or (_number(tags.get(_BITS)) or 1) != 8:
        return image
    if image.mode not in {"L", "RGB"}:
        return image
    stored = np.asarray(image)
    shifted = stored ^ np.uint8(0x80)
    return Image.fromarray(shifted) if _jumps(shifted) < _jumps(stored) else image


def _jumps(samples: NDArray[np.uint8]) -> int:
    steps = [np.abs(np.diff(samples.astype(np.int16), axis=axis)) for axis in (0, 1)]
    return sum(int(step.sum(dtype=np.int64)) for step in steps)


def _integers(image: Image.Image) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    """The samples of a mode I picture, and what else their white may be.

    Pillow has 32 bits with a sign, whatever the file has.
    """
    tags = getattr(image, "tag_v2", {})
    samples, bits = np.asarray(image), _number(tags.get(_BITS))
    if bits == 32 and _number(tags.get(_SIGNS)) in {None, 1}:
        samples = samples.view(np.uint32)
    white = (32767.0,) if bits == 16 and _number(tags.get(_SIGNS)) == 2 else ()
    return samples.astype(np.float32), white


def packing_of(image: Image.Image) -> str:
    """How the samples of a picture that is not loaded yet are stored, as Pillow calls it."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def significant(samples: NDArray[np.uint16]) -> int:
    """How many bits of 16-bit samples are used."""
    top = int(samples.max(initial=0))
    return next(depth for depth in _DEPTHS if top < 1 << depth)


def _grey(samples: NDArray[np.uint16], image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})
    least, most = _range(tags, samples)
    if most:
        span = (samples.astype(np.float32) - least) * np.float32(255.0 / (most - least))
        grey = span.clip(0, 255).astype(np.uint8)
    else:
        told = _number(tags.get(_BITS)) or _significant_bits(image)
        if told and told < 16 and int(samples.max(initial=0)) < 1 << told:
            grey = _shifted(samples, told)
        else:
            grey = _shifted(samples, significant(samples))
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds with 8 bits only
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):  # PNG: one grey is transparent
        alpha = np.where(samples == key, 0, 255).astype(np.uint8)
        return Image.merge("LA", [_eight_bits(grey), _eight_bits(alpha)]).convert("RGBA")
    return _eight_bits(grey)


def _range(tags: object, samples: NDArray[np.uint16]) -> tuple[int, int]:
    """What the file says that black and white are; (0, 0) where it says nothing that fits."""
    for low, high in _RANGES:
        values = [_number(getattr(tags, "get", lambda _: None)(tag)) for tag in (low, high)]
        least, most = values[0] or 0, values[1]
        fits = most is not None and least < most and int(samples.max(initial=0)) <= most
        if most is not None and fits and (least, most) != (0, 65535):
            return least, most
    return 0, 0


def _number(value: object) -> int | None:
    """A tag's value as an integer; of several the largest."""
    many = value if isinstance(value, tuple) else (value,)
    numbers = [int(one) for one in many if isinstance(one, int | float) and abs(one) < 1 << 32]
    return max(numbers) if numbers and len(numbers) == len(many) else None


def _significant_bits(image: Image.Image) -> int | None:
    """What the chunk sBIT of a PNG says of grey (PNG specification, 11.3.2.7)."""
    found = image.info.get("sbit")
    return found if isinstance(found, int) else None


def _shifted(samples: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    if bits >= 8:
        return (samples >> (bits - 8)).astype(np.uint8)
    return (samples * (255 // ((1 << bits) - 1))).astype(np.uint8)


def _deep_colours(
    image: Image.Image, packing: str, reopen: Callable[[], ImageFile.ImageFile]
) -> Image.Image:
    """16-bit colours whose upper half is nearly black: the lower half is read too."""
    upper = np.asarray(image)
    if int(upper[..., :3].max(initial=0)) >= 64 or packing[-1] not in _SWAPPED:
        return image
    again = reopen()
    swapped = packing[:-1] + _SWAPPED[packing[-1]]
    again.tile = [
        tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped)
        for tile in again.tile
    ]
    try:
        again.load()
    except (OSError, ValueError):  # this packing is not known in the other order
        return image
    samples = upper.astype(np.uint16) << 8 | np.asarray(again)
    colours = _shifted(samples[..., :3], significant(samples[..., :3]))
    if samples.shape[2] == 3:
        return Image.fromarray(colours)
    alpha = _shifted(samples[..., 3], significant(samples[..., 3]))
    return Image.fromarray(np.dstack([colours, alpha]))


def _wide_samples(
    samples: NDArray[np.float32], whites: tuple[float, ...] = ()
) -> NDArray[np.float32]:
    """Bring 32-bit samples, whose scale no format states, to 0..255.

    0..1 counts as a floating-point picture, up to 65535 for widened integers of so many bits,
    and anything else is stretched from its least to its greatest value. `whites` are more values
    that white may have.
    """
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    least, greatest = float(finite.min()), float(finite.max())
    if least >= 0:
        for white in sorted((*_WHITES, *whites)):
            if greatest <= white:
                return finite * np.float32(255.0 / white)
    return (finite - np.float32(least)) * np.float32(255.0 / (greatest - least or 1.0))


def _eight_bits(samples: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(samples.astype(np.uint8))
