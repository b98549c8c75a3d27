"""What can come of one claim: six frozen results, each with its path first."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imgclust.images.filestat import FileStat
from imgclust.images.headers import Origin

# Why a file is not read that belongs to another user, or was closed.
NO_PERMISSION = "no permission to read it"


@dataclass(frozen=True)
class Decoded:
    """An image, read whole and decoded.

    Attributes
    ----------
    path
        Where it was read.
    stat
        The file's stat, the same before and after the read.
    sha256
        Digest of the bytes that were decoded (32 bytes).
    width, height
        Size of the original in pixels, after orientation.
    format
        "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC" or a RAW kind ("NEF").
    pixels
        uint8 (side, side, 3): the whole picture in RGB, squeezed to a square; or what
        `whole_picture` returns.
    thumbnail
        WebP bytes, aspect kept; None when thumbnails are off.
    decode_s
        Seconds that decoding took (reading not included).
    damage
        What is wrong with the file although there is a picture; empty when nothing was found.
    origin
        When and by what it was taken, as the file says.
    preview
        WebP bytes of a kind that browsers do not show; None for others, and when it is off.
    """

    path: bytes
    stat: FileStat
    sha256: bytes
    width: int
    height: int
    format: str
    pixels: NDArray[np.uint8] = field(repr=False)
    thumbnail: bytes | None = field(repr=False)
    decode_s: float
    damage: str = ""
    origin: Origin = Origin()
    preview: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Skipped:
    """No image: to be remembered by `stat` and counted by `suffix`.

    `raw` says that it is a camera's RAW file and that the package to read it is not installed.
    """

    path: bytes
    stat: FileStat
    suffix: str
    raw: bool = False


@dataclass(frozen=True)
class Again:
    """Nothing can be said yet: it changed, has a writer, vanished, or the system is short."""

    path: bytes
    reason: str


@dataclass(frozen=True)
class Unreadable:
    """A candidate image that does not decode; `sha256` is None where it was not read whole."""

    path: bytes
    stat: FileStat
    sha256: bytes | None
    reason: str
    empty: bool = False


@dataclass(frozen=True)
class Died:
    """Its worker was killed, hung, or ran out of memory: this costs the file one try."""

    path: bytes
    stat: FileStat | None
    reason: str


@dataclass(frozen=True)
class ReadFailed:
    """The system fails to read it: a fault of the file, or of the whole disk that it lies on."""

    path: bytes
    reason: str


Outcome = Decoded | Skipped | Again | Unreadable | Died | ReadFailed
