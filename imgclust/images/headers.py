"""Which files are images, and what their headers say; nothing is decoded."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from PIL import Image

from imgclust.images.filestat import suffix_of
from imgclust.numbers import is_digits

# Enough for every signature, for the brands of an ISO file, and to tell text from other bytes.
HEAD_BYTES = 1024

PICTURE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"),
    ]
)
RAW_SUFFIXES = frozenset([".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"])
RAW_FORMATS = frozenset(suffix[1:].upper() for suffix in RAW_SUFFIXES)

# What RAW files begin with that are not TIFF files by signature: RAF, ORF, RW2; CR3 from byte 4 on.
RAW_SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
CR3_SIGNATURE = b"ftypcrx "

# Kinds that no browser shows everywhere.
PREVIEWED_FORMATS = RAW_FORMATS | {"HEIC", "TIFF"}

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


def recognise(head: bytes, suffix: str) -> str | None:
    """Name the kind of image that starts with `head`.

    Parameters
    ----------
    head
        The first `HEAD_BYTES` bytes of the file (fewer when it is shorter).
    suffix
        Lower-case suffix with its dot. It matters for RAW files only: most of them are TIFF
        files by signature, and nothing but their name says that the picture is elsewhere inside.

    Returns
    -------
    str or None
        A format name (see `Decoded.format`), None for anything not on the list.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(TIFF_SIGNATURES):
        return suffix[1:].upper() if suffix in RAW_SUFFIXES else "TIFF"
    # Two letters alone would make images of text files; the size of the header that follows tells.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    # The same without the file header: only its name tells it from other bytes.
    if suffix == ".dib" and int.from_bytes(head[:4], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp" and (kind := _iso_format(head)):
        return kind
    return suffix[1:].upper() if suffix in RAW_SUFFIXES else None


def _iso_format(head: bytes) -> str | None:
    box = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
    brands = [box[at : at + 4] for at in range(0, len(box), 4) if at != 4]
    if not _AVIF_BRANDS.isdisjoint(brands):
        return "AVIF"
    if brands and (brands[0] in _HEIC_BRANDS):
        return "HEIC"
    return None


@functools.cache
def raw_installed() -> bool:
    """Whether RAW files can be read (the extra `raw`)."""
    return importlib.util.find_spec("rawpy") is not None


_MAKE, _MODEL, _EXIF = 0x010F, 0x0110, 0x8769
_EXPOSURE, _TAKEN, _DIGITISED = 0x829A, 0x9003, 0x9004
_TAKEN_OFFSET, _DIGITISED_OFFSET = 0x9011, 0x9012
_WRITTEN = re.compile(
    r"([0-9]{4})[:/.-]([0-9]{1,2})[:/.-]([0-9]{1,2})[ T]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
)
_SHIFT = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
# The first photograph; and clocks that were never set show years far away.
_FIRST_YEAR, _LAST_YEAR = 1826, 2199
_LONGEST = 80
# Kinds whose descriptions are found without reading the pixels, however large the file is.
_SEEKING = frozenset({"JPEG", "TIFF"})
_LOSSLESS = frozenset({"PNG", "BMP"})
_LOSSY = frozenset({"jpeg", "tiff_jpeg", "webp"})  # of TIFF
# A header is in the first bytes of what cameras write; larger files of other kinds are not read.
_MOST_BYTES = 64 << 20
# The box of a CR3 file that holds its EXIF data, as TIFF files: CMT1 the camera, CMT2 the exposure.
_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


@dataclass(frozen=True)
class Header:
    """`camera`: make, model or exposure are there; `taken` as EXIF writes it, "" if not there;
    `lossless`: nothing was lost when the file was written."""

    camera: bool = False
    taken: str = ""
    lossless: bool = False


@dataclass(frozen=True)
class Origin:
    """When a picture was taken (ISO 8601, an offset where it is known), and by which camera."""

    taken: str | None = None
    camera: str | None = None


def origin_of(exif: Image.Exif, details: Mapping[int, object] | None = None) -> Origin:
    """What EXIF data say; whatever is in them, this raises nothing and returns short text.

    `details` are the tags of the Exif part where that is a block of its own.
    """
    if details is None:
        details = {}
        with contextlib.suppress(Exception):
            details = exif.get_ifd(_EXIF)
    taken = None
    for tag, offset in ((_TAKEN, _TAKEN_OFFSET), (_DIGITISED, _DIGITISED_OFFSET)):
        taken = taken or _moment(_text(details, tag), _text(details, offset))
    return Origin(taken, _camera(_text(exif, _MAKE), _text(exif, _MODEL)))


def raw_origin(content: bytes) -> Origin:
    """What a RAW file says: most are TIFF files, some with another mark; CR3 has TIFFs in boxes."""
    if content[4:8] != b"ftyp":
        return origin_of(_tiff_tags(content))
    whole = memoryview(content)
    parts = {kind: box for kind, box in _boxes(whole) if kind == b"moov"}
    canon = [box for kind, box in _boxes(parts.get(b"moov", whole[:0])) if kind == b"uuid"]
    blocks = {
        kind: _tiff_tags(bytes(block))
        for box in canon
        if bytes(box[:16]) == _CANON
        for kind, block in _boxes(box[16:])
        if kind in {b"CMT1", b"CMT2"}
    }
    return origin_of(blocks.get(b"CMT1", Image.Exif()), blocks.get(b"CMT2", Image.Exif()))


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the boxes of an ISO base media file; a damaged size ends them."""
    start = 0
    while start + 8 <= len(content):
        head, size = 8, int.from_bytes(content[start : start + 4], "big")
        kind = content[start + 4 : start + 8]
        if size == 1:  # a large one: eight more bytes say how large
            head, size = 16, int.from_bytes(content[start + 8 : start + 16], "big")
        end = start + size if size else len(content)
        if end < start + head or end > len(content):
            return
        yield bytes(kind), content[start + head : end]
        start = end


def _tiff_tags(content: bytes) -> Image.Exif:
    """The tags of a TIFF file, whatever its mark."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        if content[:2] in {b"II", b"MM"}:
            order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
            exif.load(content[:2] + (42).to_bytes(2, order) + content[4:])
    return exif


def read_origin(path: bytes) -> Origin | None:
    """What the file at a path says; None where it cannot be read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        with open(os.open(path, flags), "rb") as file:
            there = os.fstat(file.fileno())
            if not stat.S_ISREG(there.st_mode):
                return None
            suffix = suffix_of(path)
            kind = recognise(file.read(HEAD_BYTES), suffix)
            file.seek(0)
            if kind in RAW_FORMATS:
                return raw_origin(file.read(_MOST_BYTES))
            if there.st_size > _MOST_BYTES and kind not in _SEEKING:
                return Origin()
            if kind == "HEIC":
                import pi_heif

                pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
            with Image.open(file) as opened:
                return origin_of(opened.getexif())
    except OSError as error:
        return Origin() if error.errno is None else None  # Pillow raises it for damage
    except Exception:  # damaged metadata raise nearly anything
        return Origin()


def _text(tags: Mapping[int, object], tag: int) -> str:
    """A tag as one line of at most `_LONGEST` characters that can be stored; "" for others."""
    value: object = ""
    with contextlib.suppress(Exception):
        value = tags.get(tag)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    shown = "".join(c if c.isprintable() else " " for c in value.partition("\0")[0][:1000])
    return " ".join(shown.split())[:_LONGEST].encode("utf-8", "replace").decode()


def _moment(text: str, offset: str) -> str | None:
    """The time that EXIF writes as 2024:05:01 12:00:00, if there is such a time."""
    found = _WRITTEN.match(text)
    if found is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    shift = _SHIFT.fullmatch(offset)
    known = shift is not None and int(shift[2]) <= 14 and int(shift[3]) < 60
    zone = f"{shift[1]}{shift[2]}:{shift[3]}" if shift is not None and known else ""
    return moment.isoformat(timespec="seconds") + ("+00:00" if offset == "Z" else zone)


def _camera(make: str, model: str) -> str | None:
    """Make and model, without the make where the model begins with it."""
    if not model or not make:
        return model or make or None
    first = make.split()[0].lower()
    return model if model.lower().startswith(first) else f"{make} {model}"[:_LONGEST]


def header(path: bytes) -> Header:
    """Read the EXIF data of a regular file; empty where there is none or it is damaged."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    # Damaged metadata raises nearly anything, and only costs the preference for this file.
    with contextlib.suppress(Exception), open(os.open(path, flags), "rb") as file:
        there = os.fstat(file.fileno())
        if not stat.S_ISREG(there.st_mode):
            return Header()
        head = file.read(HEAD_BYTES)
        kind = recognise(head, "")
        lossless = kind in _LOSSLESS or (kind == "WEBP" and b"VP8L" in head)
        if there.st_size > _MOST_BYTES and kind not in _SEEKING:
            return Header(lossless=lossless)
        file.seek(0)
        if kind == "HEIC":
            import pi_heif

            pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
        with Image.open(file) as opened:
            exif = opened.getexif()
            details = exif.get_ifd(_EXIF)
            if kind == "TIFF":
                lossless = opened.info.get("compression") not in _LOSSY
        camera = any(exif.get(tag) for tag in (_MAKE, _MODEL)) or bool(details.get(_EXPOSURE))
        taken = details.get(_TAKEN) or details.get(_DIGITISED)
        moment = taken if isinstance(taken, str) and is_digits(taken[:4]) else ""
        return Header(camera, moment, lossless)
    return Header()
