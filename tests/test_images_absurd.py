"""Headers and metadata with absurd numbers: a picture or a reason, never an exception."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from imgclust.images.reader import Decoded, Unreadable, claim
from tests.pictures import encoded, photo

PHOTO = photo(24, 16, 1)


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, *more: bytes) -> bytes:
    rows = zlib.compress(b"".join(b"\0" + b"\x50" * 3 * 4 for _ in range(4)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), *more, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    body = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]
    return b"II*\0" + struct.pack("<I", 8) + body + b"\0\0\0\0"


def with_exif(exif: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(encoded(PHOTO, "JPEG"))).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


MOST = b"\xff\xff\xff\xff"
PICTURES = {
    "rationals.jpg": with_exif(
        b"Exif\0\0" + tiff((0x011A, 5, 1, b"\x1a\0\0\0"), (0x9003, 2, 9, MOST)) + b"\0" * 40
    ),
    "orientation.jpg": with_exif(b"Exif\0\0" + tiff((0x0112, 4, 1, MOST))),
    "counts.jpg": with_exif(b"Exif\0\0" + tiff(*((tag, 5, 2**32 - 1, MOST) for tag in range(99)))),
    "text.png": png(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (32 << 20)))),
}
NONE = {
    "width.png": png(0, 4),
    "height.png": png(4, 0),
    "both.png": png(2**31 - 1, 2**31 - 1),
    "negative.png": png(2**32 - 1, 4),
    "text.png": png(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (65 << 20)))),
    "chunk.png": b"\x89PNG\r\n\x1a\n" + MOST + b"IHDR",
    "frames.gif": b"GIF89a\0\0\0\0\x80\0\0" + b"!\xff\x0bNETSCAPE2.0\x03\x01\xff\xff\0;",
    "tags.tiff": tiff(*((tag, 12, 2**32 - 1, MOST) for tag in range(256, 300))),
    "size.tiff": tiff((256, 4, 1, MOST), (257, 4, 1, MOST), (258, 3, 1, b"\xff\xff")),
    "loop.tiff": b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8),
    "size.bmp": b"BM" + MOST + b"\0" * 4 + MOST + struct.pack("<Iii", 40, -(2**31), 2**31 - 1)
    + struct.pack("<HHIIiiII", 1, 24, 0, 0, 0, 0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_metadata_that_make_no_sense_lose_no_picture(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PICTURES[name])
    assert isinstance(claim(os.fsencode(tmp_path / name)), Decoded)


@pytest.mark.parametrize("name", NONE)
def test_numbers_that_no_picture_has_are_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(NONE[name])
    got = claim(os.fsencode(tmp_path / name))
    assert isinstance(got, Unreadable)
    assert got.reason
    assert "\n" not in got.reason
