"""Thumbnails and previews on disk: a cache by content that can be deleted at any time.

The file of a thumbnail ends with its outline (`pixel_similarity.outlines`), behind the picture:
queries compare hundreds of pictures, and to decode one takes twenty times as long as to read its
file. A WebP picture says where it ends, and programs that show it skip what follows.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgclust.fs import read_regular, replacing
from imgclust.images.pixel_similarity import OUTLINE_CELLS, cells, outlines

# Another definition of outlines or cells needs another mark.
_MARK = b"outline1"
# The checksum is that of all before it, the picture included.
_KEPT = np.dtype([("mark", "S8"), ("sums", "<u2", 3 * 64), ("spread", "<f4"), ("checksum", "<u4")])
_CHECKSUM_BYTES = 4
_HEAD_BYTES = 8


class ThumbnailStore:
    """WebP files under `folder`, spread over 256 folders by the last byte of their content key.

    Nothing is synced to disk: a thumbnail that is lost can be made again. Every failure is an
    OSError, and the caller decides whether it matters.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: int) -> Path:
        """Where the thumbnail of content `key` is, or would be."""
        return self._folder / f"{key & 0xFF:02x}" / f"{key:016x}.webp"

    def preview_path(self, key: int) -> Path:
        """Where the preview of content `key` is, or would be: what a browser shows instead."""
        return self._folder / f"{key & 0xFF:02x}" / f"{key:016x}-preview.webp"

    def get(self, key: int) -> bytes:
        """The thumbnail of content `key`, without its outline."""
        file = read_regular(self.path(key))
        return file[: _end(file)]

    def put(self, key: int, webp: bytes, *, preview: bytes | None = None) -> None:
        """Keep the thumbnail of content `key`, and its preview; a reader sees no half of one."""
        self._write(self.path(key), with_outline(webp))
        if preview is not None:
            self._write(self.preview_path(key), preview)

    def remove(self, key: int) -> None:
        """Forget the thumbnail and the preview of content `key`, if there are any."""
        self.path(key).unlink(missing_ok=True)
        self.preview_path(key).unlink(missing_ok=True)

    def _write(self, path: Path, webp: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, lasting=False) as file:
            file.write(webp)


def with_outline(webp: bytes) -> bytes:
    """A thumbnail as it is kept; unchanged where it has its outline, or cannot be decoded."""
    if _end(webp) == len(webp):
        with contextlib.suppress(OSError, ValueError):
            return webp + _packed(webp, outlines(cells(webp)[None])[0])
    return webp


@dataclass(frozen=True)
class SmallPictures:
    """Outlines `(m, 193)` of pictures, and which of those asked for they are of."""

    places: tuple[int, ...]
    outlines: NDArray[np.float32]


def small_pictures(names: bytes) -> SmallPictures:
    """The outlines of the pictures in several files, whose names have a zero byte between them.

    What is not a picture, or not there, is left out. Outlines that were not kept are made, and
    kept for the next time. A task for workers: hundreds of files are opened, and a process with
    other threads would give way to these each time.
    """
    kept: dict[int, bytes] = {}
    new: dict[int, tuple[bytes, bytes]] = {}
    seen = []
    for place, name in enumerate(names.split(b"\0")):
        with contextlib.suppress(OSError, ValueError):
            file = read_regular(name)
            found = _kept(file)
            if found is not None:
                kept[place] = found
            else:
                seen.append(cells(file[: _end(file)]))
                new[place] = name, file
    if new:
        made = outlines(np.stack(seen))
        for (place, (name, file)), own in zip(new.items(), made, strict=True):
            kept[place] = _packed(file[: _end(file)], own)
            _keep(name, file, kept[place])
    places = tuple(sorted(kept))
    return SmallPictures(places, _unpacked([kept[place] for place in places]))


def _end(file: bytes) -> int | None:
    """Where the picture in a file ends; None where no whole WebP is."""
    if file[:4] != b"RIFF" or file[8:12] != b"WEBP":
        return None
    end = _HEAD_BYTES + int.from_bytes(file[4:_HEAD_BYTES], "little")
    return end if end <= len(file) else None


def _packed(picture: bytes, outline: NDArray[np.float32]) -> bytes:
    row = np.zeros(1, _KEPT)
    row["mark"] = _MARK
    row["sums"] = outline[:-1] * OUTLINE_CELLS
    row["spread"] = outline[-1]
    packed = row.tobytes()[:-_CHECKSUM_BYTES]
    checksum = zlib.crc32(packed, zlib.crc32(picture))
    return packed + checksum.to_bytes(_CHECKSUM_BYTES, "little")


def _unpacked(kept: list[bytes]) -> NDArray[np.float32]:
    rows = np.frombuffer(b"".join(kept), _KEPT)
    return np.hstack([rows["sums"] / np.float32(OUTLINE_CELLS), rows["spread"][:, None]])


def _kept(file: bytes) -> bytes | None:
    """What is kept behind a thumbnail, None where that is not whole or of another picture."""
    end = _end(file)
    kept = b"" if end is None else file[end : end + _KEPT.itemsize]
    if len(kept) < _KEPT.itemsize or not kept.startswith(_MARK):
        return None
    checksum = zlib.crc32(kept[:-_CHECKSUM_BYTES], zlib.crc32(file[:end]))
    return kept if checksum == int.from_bytes(kept[-_CHECKSUM_BYTES:], "little") else None


def _keep(name: bytes, file: bytes, kept: bytes) -> None:
    """Write it behind the thumbnail, if that is still the same file.

    In place: a thumbnail that is removed meanwhile does not come back, several who do this write
    the same, and a part that a crash leaves has a wrong checksum.
    """
    end = _end(file)
    if end is None:
        return
    with contextlib.suppress(OSError):  # a cache
        descriptor = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # Other names of a file are snapshots of the index: they stay as they are.
            alone = os.fstat(descriptor).st_nlink == 1
            if alone and os.pread(descriptor, len(file) + 1, 0) == file:
                os.pwrite(descriptor, kept, end)
        finally:
            os.close(descriptor)
