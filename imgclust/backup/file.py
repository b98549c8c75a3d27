"""The file of a backup: the catalog, a manifest, and a checksum of all of it.

The catalog comes first and is a database that any SQLite opens for reading (its application id,
"imgb", keeps it from being opened as a catalog in use). The manifest follows, JSON in ASCII; the
last 64 bytes are the lengths of both, the SHA-256 of everything before it, and a mark.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from imgclust.catalog.connection import VERSION
from imgclust.catalog.copies import marked
from imgclust.errors import BackupError, NothingThereError, StorageError, UsageError, reason_of
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import printable

# "imgb"
APPLICATION_ID = 0x696D6762

_FORMAT = 1
_MARK = b"imgclust backup\n"
_LENGTHS = struct.Struct(">QQ")
_END = _LENGTHS.size + hashlib.sha256().digest_size + len(_MARK)
_START = 100
_MOST_MANIFEST = 16 << 20
_PIECE = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself.

    Attributes
    ----------
    id
        Identity of the collection, the same in all of its backups and restored collections.
    collection, folder
        Its name and its folder when the backup was made.
    made
        When that was, in seconds since 1970.
    imgclust, schema
        Version of imgclust, and of the catalog's tables.
    images, distinct, clusters, names
        What is in it.
    roots
        The watched folders.
    """

    id: str
    collection: str
    folder: bytes
    made: float
    imgclust: str
    schema: int
    images: int
    distinct: int
    clusters: int
    names: int
    roots: tuple[bytes, ...]


def finish(stream: BinaryIO, manifest: Manifest, *, progress: Progress, stop: StopFlag) -> str:
    """Write what follows the catalog, which `stream` holds; returns the SHA-256."""
    length = stream.seek(0, os.SEEK_END)
    values = asdict(manifest)
    values["folder"] = _as_text(manifest.folder)
    values["roots"] = [_as_text(root) for root in manifest.roots]
    text = json.dumps({"format": _FORMAT, **values}).encode("ascii")
    stream.write(text + _LENGTHS.pack(length, len(text)))
    stream.flush()
    digest = _hashed(stream, stream.tell(), None, progress=progress, stop=stop)
    stream.seek(0, os.SEEK_END)
    stream.write(digest + _MARK)
    stream.flush()
    return digest.hex()


def read_manifest(path: Path) -> Manifest:
    """What a backup says about itself; only `verify` and `extract` look whether all of it is right.

    Raises
    ------
    NothingThereError
        When there is no such file.
    UsageError
        When it is not a backup.
    BackupError
        When it is cut short or damaged, or a newer imgclust made it.
    """
    with opened(path) as stream:
        return _manifest(stream, path)[0]


def verify(path: Path, *, progress: Progress = silent, stop: StopFlag | None = None) -> Manifest:
    """Read a whole backup and compare it with its checksum; raises as `extract`."""
    return extract(path, None, progress=progress, stop=stop)


def extract(
    path: Path,
    to: Path | None,
    *,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Manifest:
    """Copy the catalog of a backup into the new file `to` and verify the whole backup.

    What was written counts only when this returns; the caller syncs it.

    Raises
    ------
    NothingThereError, UsageError, BackupError
        As `read_manifest`; a BackupError also for a byte that is not as it was written.
    StorageError
        When `to` cannot be written.
    """
    with opened(path) as stream, contextlib.ExitStack() as stack:
        manifest, length, digest = _manifest(stream, path)
        target = None
        try:
            if to is not None:
                descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                target = stack.enter_context(os.fdopen(descriptor, "wb"))
            end = os.fstat(stream.fileno()).st_size - _END + _LENGTHS.size
            found = _hashed(
                stream, end, target, only=length, progress=progress, stop=stop or StopFlag()
            )
        except _ReadError as error:
            raise BackupError(f"{printable(path)} cannot be read: {reason_of(error.why)}") from None
        except OSError as error:
            raise StorageError(f"{to} cannot be written: {reason_of(error)}") from None
        if found != digest:
            raise _damaged(path, "its checksum is not right")
        return manifest


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, opened for reading; anything else is refused at once."""
    try:
        # Without O_NONBLOCK a FIFO would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NothingThereError(f"there is no file {printable(path)}") from None
    except OSError as error:
        raise StorageError(f"{printable(path)} cannot be read: {reason_of(error)}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_a_file(path)
    with os.fdopen(descriptor, "rb") as stream:
        yield stream


def not_a_file(path: Path) -> UsageError:
    """The error for a folder, a FIFO, a device."""
    kind = "a folder" if path.is_dir() else "not a regular file"
    return UsageError(f"{printable(path)} is {kind}; name a file")


def _manifest(stream: BinaryIO, path: Path) -> tuple[Manifest, int, bytes]:
    """The manifest, the length of the catalog, and the checksum that the file should have."""
    try:
        start = stream.read(_START)
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(size - _END, 0))
        end = stream.read(_END)
        lengths, digest, mark = end[:16], end[16:48], end[48:]
        if mark != _MARK:
            if marked(start, APPLICATION_ID):
                raise _damaged(path, "its end is missing")
            raise UsageError(f"{printable(path)} is not an imgclust backup")
        length, written = _LENGTHS.unpack(lengths)
        if length + written + _END != size or written > _MOST_MANIFEST:
            raise _damaged(path, "its length is not right")
        stream.seek(length)
        text = stream.read(written)
        stream.seek(0)
    except OSError as error:
        raise StorageError(f"{printable(path)} cannot be read: {reason_of(error)}") from None
    try:
        values = json.loads(text)
        if values["format"] > _FORMAT or values["schema"] > VERSION:
            raise BackupError(
                f"{printable(path)} was made by a newer imgclust ({values['imgclust']}); "
                "upgrade imgclust"
            )
        return _parsed(values), length, digest
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(path, "its manifest cannot be read") from None


def _parsed(values: dict[str, Any]) -> Manifest:
    names = Manifest.__dataclass_fields__
    found = Manifest(**{name: values[name] for name in names})
    folder = _as_bytes(values["folder"])
    return replace(found, folder=folder, roots=tuple(_as_bytes(one) for one in values["roots"]))


def _damaged(path: Path, why: str) -> BackupError:
    return BackupError(f"the backup {printable(path)} is damaged ({why}); use another one")


class _ReadError(Exception):
    """A backup that its disk fails to read."""

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


def _hashed(
    stream: BinaryIO,
    end: int,
    target: BinaryIO | None,
    *,
    only: int = 0,
    progress: Progress,
    stop: StopFlag,
) -> bytes:
    """The SHA-256 of the first `end` bytes, the first `only` of which are written to `target`."""
    digest = hashlib.sha256()
    stream.seek(0)
    done = 0
    step = "verifying" if target is None else "restoring the catalog"
    while done < end:
        stop.check()
        try:
            piece = stream.read(min(_PIECE, end - done))
        except OSError as error:
            raise _ReadError(error) from None
        if not piece:
            break
        digest.update(piece)
        if target is not None and done < only:
            target.write(piece[: only - done])
        done += len(piece)
        progress(step, done, end)
    if target is not None:
        target.flush()
    return digest.digest()


def _as_text(path: bytes) -> str:
    return base64.b64encode(path).decode("ascii")


def _as_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
