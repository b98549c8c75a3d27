"""The pixels of a JPEG, and whether its data are damaged.

libjpeg continues after damage: what follows is shifted, or of another colour. Pillow does not tell.
simplejpeg gives the same pixels, from the same library, and tells what libjpeg has noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

# What libjpeg says of coded data; its other warnings are about headers.
_DAMAGE = re.compile(r"corrupt jpeg data|inconsistent progression|premature end", re.IGNORECASE)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
# Cameras leave a few bytes behind the data, or fill up with zeros.
_FEW = 8
_PADDING = b"\0\xff"
# Segments that say nothing of how the pixels are coded, unlike those of JFIF and Adobe.
_DESCRIPTIONS = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
_START_OF_SCAN = 0xDA
# Frames whose first scan has all of the picture, coded by Huffman's tables.
_SEQUENTIAL, _TABLES = frozenset({0xC0, 0xC1}), 0xC4
# Zeros that libjpeg decodes without a word, where no picture has them; more data follow.
_ZEROS = bytes(64)
_HOLE = re.compile(rb"\0{64}\0*(?!\xff[^\0])[^\0]")
_NEXT = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")
_REASON = "its data are damaged: a part of the picture is wrong or lost"


def without_descriptions(content: bytes) -> bytes:
    """The file without EXIF and other descriptions, over which Pillow stumbles when damaged."""
    parts, at = [content[:2]], 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == _START_OF_SCAN:
            break
        until = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker not in _DESCRIPTIONS:
            parts.append(content[at:until])
        at = until
    return b"".join([*parts, content[at:]])


def with_end(content: bytes) -> bytes:
    """The file with the marker that ends it, where that alone is missing; else as it is.

    Of a file in several scans (progressive) nothing tells whether the last ones are missing too.
    """
    if not _in_one_scan(content):
        return content
    whole = content.removesuffix(b"\xff") + b"\xff\xd9"
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY")  # strictly: no pixel is made up
    except ValueError:
        return content
    return whole


def _in_one_scan(content: bytes) -> bool:
    """Whether the frame is sequential, and its first scan has all of its components."""
    components, at = b"", 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker = content[at + 1]
        if marker in _SEQUENTIAL:
            components = content[at + 9 : at + 10]
        elif marker == _START_OF_SCAN:
            return bool(components) and content[at + 4 : at + 5] == components
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False


def pixels_of(
    content: bytes, image: Image.Image, scale: int
) -> tuple[NDArray[np.uint8] | None, str]:
    """The pixels of an opened JPEG at 1/`scale` of its sides, and what is damaged about it.

    None where Pillow has to decode it: it is in other colours, or damaged.
    """
    if image.mode not in {"L", "RGB"}:
        return None, ""
    decode: Callable[..., NDArray[np.uint8]] = simplejpeg.decode_jpeg
    width, height = image.size
    try:
        pixels = decode(
            content,
            colorspace="GRAY" if image.mode == "L" else "RGB",
            min_factor=scale,
            min_width=width,
            min_height=height,
        )
    except ValueError as error:
        return None, _damage(str(error), content)
    if pixels.shape[:2] != (height, width):
        return None, ""
    return (pixels[..., 0] if image.mode == "L" else pixels), _REASON if _hole(content) else ""


def _hole(content: bytes) -> bool:
    """True where zeros lie inside of coded data that can have none.

    Where the code of zeros alone means a coefficient of brightness, and not the end of a block, so
    many zeros are blocks of equal coefficients only: no picture has them, but a file with a hole.
    """
    if _ZEROS not in content:
        return False
    first_of: dict[int, int] = {}
    sequential, at = False, 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker, until = content[at + 1], at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        part = content[at + 4 : until]
        sequential |= marker in _SEQUENTIAL
        if marker == _TABLES:
            while len(part) > 17:  # a number, how many codes of each length, their meanings
                first_of[part[0]] = part[17]
                part = part[17 + sum(part[1:17]) :]
        elif marker == _START_OF_SCAN:
            if not sequential or len(part) < 3:
                return False
            meaning = first_of.get(0x10 | part[2] & 0x0F, 0)
            end = _NEXT.search(content, until)
            scan = content[until : end.start() if end else len(content)]
            return bool(meaning & 0x0F) and _HOLE.search(scan) is not None
        at = until
    return False


def _damage(warning: str, content: bytes) -> str:
    if not _DAMAGE.search(warning):
        return ""
    try:
        simplejpeg.decode_jpeg_header(content)
    except ValueError:  # the same is noticed without the data: a description is wrong
        return ""
    extraneous = _EXTRANEOUS.search(warning)
    if extraneous is not None:
        count, marker = int(extraneous[1]), extraneous[2]
        end = content.rfind(b"\xff\xd9")
        if count <= _FEW or (
            marker == "d9" and end > 0 and not content[max(0, end - count) : end].strip(_PADDING)
        ):
            return ""
    return _REASON
