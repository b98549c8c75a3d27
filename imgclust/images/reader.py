"""One claim, and what can come of it: open a path without trusting it, read it once, decode it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imgclust.failpoints import passing
from imgclust.fs import NotAFileError, open_regular
from imgclust.images.decoder import PIXEL_CAP, SIDE, THUMBNAIL_PX, Region, Undecodable, decode
from imgclust.images.filestat import FileStat, file_stat, stat_of, suffix_of
from imgclust.images.headers import (
    HEAD_BYTES,
    PICTURE_SUFFIXES,
    RAW_FORMATS,
    RAW_SUFFIXES,
    Origin,
    raw_installed,
    recognise,
)
from imgclust.images.thumbnails import with_outline

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


SIZE_CAP_BYTES = 512 * 2**20

_CHUNK_BYTES = 16 * 2**20
_REASONS = {
    errno.ENOENT: "it is no longer there",
    errno.ENOTDIR: "it is no longer there",
    errno.ELOOP: "it is a symbolic link now",
    errno.ENXIO: "it is not a regular file",
    errno.ENODEV: "it is not a regular file",
}
# What passes: the path has changed, or the system is short of something.
_PASSING = {
    *_REASONS,
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETXTBSY,
}


def claim(
    path: bytes,
    *,
    side: int = SIDE,
    thumbnail_px: int = THUMBNAIL_PX,
    size_cap_bytes: int = SIZE_CAP_BYTES,
    pixel_cap: int = PIXEL_CAP,
    region: Region | None = None,
    whole_px: int = 0,
    preview_px: int = 0,
    outline: bool = False,
) -> Outcome:
    """Read and decode the file at `path`, or say why not.

    The path is opened as `open_regular` does (a FIFO or a device does no harm), without following
    links, must be a file without a writer where the system can tell, and is read once
    while hashing. Any difference between the stats before and after means `Again`.

    Parameters
    ----------
    path
        A file name as the system has it.
    side, thumbnail_px, pixel_cap, region, whole_px, preview_px
        See `decode`.
    size_cap_bytes
        A candidate image of more bytes is `Unreadable` and is not read.
    outline
        The thumbnail has its outline behind it, as it is kept: see `with_outline`.

    Raises
    ------
    MemoryError
        When decoding needs more memory than the process may have.
    UsageError
        When the region has no pixel of the picture.
    """
    suffix = suffix_of(path)
    try:
        descriptor = open_regular(path, follow=False)
    except PermissionError as error:
        return _forbidden(path, suffix, error)
    except OSError as error:
        return _failed(path, error)
    try:
        before = os.fstat(descriptor)
        if _has_writer(descriptor):
            return Again(path, "another program has it open for writing")
        passing("claimed")
        found = file_stat(before)
        early = _without_reading(descriptor, path, suffix, found, size_cap_bytes)
        if early is not None:
            return early
        content, sha256 = _read(descriptor, found.size)
        passing("read")
        if file_stat(os.fstat(descriptor)) != found or len(content) != found.size:
            return Again(path, "it changed while it was read")
        now = stat_of(path)
        if now is None or now[:2] != found[:2]:
            return Again(path, "it was replaced while it was read")
    except OSError as error:
        return _failed(path, error)
    finally:
        os.close(descriptor)

    started = time.perf_counter()
    picture = decode(
        content,
        suffix=suffix,
        side=side,
        thumbnail_px=thumbnail_px,
        pixel_cap=pixel_cap,
        region=region,
        whole_px=whole_px,
        preview_px=preview_px,
    )
    took = time.perf_counter() - started
    try:
        passing("decoded")
    except OSError as error:
        return _failed(path, error)
    if isinstance(picture, Undecodable):
        return Unreadable(path, found, sha256, picture.reason, picture.empty)
    thumbnail = picture.thumbnail
    if outline and thumbnail is not None:
        thumbnail = with_outline(thumbnail)
    return Decoded(
        path,
        found,
        sha256,
        picture.width,
        picture.height,
        picture.format,
        picture.pixels,
        thumbnail,
        took,
        picture.damage,
        picture.origin,
        picture.preview,
    )


def digest(path: bytes) -> tuple[FileStat, bytes] | None:
    """Stat and SHA-256 of the regular file `path`; None when it cannot be read, or changes."""
    try:
        descriptor = open_regular(path, follow=False)
    except OSError:
        return None
    try:
        found = file_stat(os.fstat(descriptor))
        _, sha256 = _read(descriptor, found.size, keep=False)
        return (found, sha256) if file_stat(os.fstat(descriptor)) == found else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _has_writer(descriptor: int) -> bool:
    """Whether the system knows of an open writer: it then refuses a read lease with EAGAIN.

    The lease is given back at once. Should a writer open the file in between, the signal of the
    broken lease is SIGURG, which a process ignores unless it asked for it (SIGIO would end it).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # Other refusals (not the owner, no leases on this file system) tell nothing.
        return error.errno == errno.EAGAIN
    return False


def _without_reading(
    descriptor: int, path: bytes, suffix: str, found: FileStat, size_cap_bytes: int
) -> Outcome | None:
    """Decide by the first bytes and the size alone; None when the file must be read."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    kind = recognise(head, suffix)
    if kind in RAW_FORMATS and not raw_installed():
        return Skipped(path, found, suffix, raw=True)
    if kind is None and suffix not in PICTURE_SUFFIXES:
        return Skipped(path, found, suffix)
    if found.size > size_cap_bytes:
        size, cap = found.size / 2**20, size_cap_bytes / 2**20
        reason = f"too large: {size:,.0f} MiB is over the limit of {cap:,.0f} MiB"
        return Unreadable(path, found, None, reason)
    return None


def _read(descriptor: int, size: int, *, keep: bool = True) -> tuple[bytes, bytes]:
    """All bytes of the file (`keep`) and their SHA-256; stops early when it outgrows `size`."""
    hashed = hashlib.sha256()
    parts: list[bytes] = []
    total = 0
    while total <= size:
        part = os.read(descriptor, min(size + 1 - total, _CHUNK_BYTES))
        if not part:
            break
        hashed.update(part)
        if keep:
            parts.append(part)
        total += len(part)
    return b"".join(parts), hashed.digest()


def _forbidden(path: bytes, suffix: str, error: OSError) -> Outcome:
    try:
        found = stat_of(path)
    except OSError:
        found = None
    if found is None:
        return Again(path, _plain(error))
    if suffix in PICTURE_SUFFIXES or (suffix in RAW_SUFFIXES and raw_installed()):
        return Unreadable(path, found, None, NO_PERMISSION)
    return Skipped(path, found, suffix)


def _failed(path: bytes, error: OSError) -> Outcome:
    if error.errno in _PASSING:
        return Again(path, _plain(error))
    return ReadFailed(path, _plain(error))


def _plain(error: OSError) -> str:
    if error.errno is None:
        return str(error)
    if isinstance(error, NotAFileError):
        return str(error.strerror)
    return _REASONS.get(error.errno, f"the system reports: {os.strerror(error.errno).lower()}")
