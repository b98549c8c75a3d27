"""Files of several pictures: which one of them a file is known by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from PIL import Image, ImageFile

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
