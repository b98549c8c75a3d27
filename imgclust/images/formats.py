"""Which files are images: signatures, suffixes, and which are RAW."""

from __future__ import annotations

import functools
import importlib.util

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
