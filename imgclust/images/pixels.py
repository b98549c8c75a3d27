"""Pictures as arrays: reduced, upright, on a ground that shows them; the main one of a file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

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
