"""What a file's header says of where the picture comes from; nothing is decoded."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass

from PIL import Image

from imgclust.images.formats import HEAD_BYTES, recognise
from imgclust.numbers import is_digits

_MAKE, _MODEL, _EXIF = 0x010F, 0x0110, 0x8769
_EXPOSURE, _TAKEN, _DIGITISED = 0x829A, 0x9003, 0x9004
# A header is in the first bytes of what cameras write; larger files of other kinds are not read.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Header:
    """`camera`: make, model or exposure are there; `taken` as EXIF writes it, "" if not there."""

    camera: bool = False
    taken: str = ""


def header(path: bytes) -> Header:
    """Read the EXIF data of a regular file; empty where there is none or it is damaged."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    # Damaged metadata raises nearly anything, and only costs the preference for this file.
    with contextlib.suppress(Exception), open(os.open(path, flags), "rb") as file:
        there = os.fstat(file.fileno())
        if not stat.S_ISREG(there.st_mode) or there.st_size > _MOST_BYTES:
            return Header()
        kind = recognise(file.read(HEAD_BYTES), "")
        file.seek(0)
        if kind == "HEIC":
            import pi_heif

            pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
        with Image.open(file) as opened:
            exif = opened.getexif()
            details = exif.get_ifd(_EXIF)
        camera = any(exif.get(tag) for tag in (_MAKE, _MODEL)) or bool(details.get(_EXPOSURE))
        taken = details.get(_TAKEN) or details.get(_DIGITISED)
        return Header(camera, taken if isinstance(taken, str) and is_digits(taken[:4]) else "")
    return Header()
