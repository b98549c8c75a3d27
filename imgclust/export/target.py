"""Where an export goes: a file or folder that is replaced in one step, or a stream."""

from __future__ import annotations

import contextlib
import os
import stat as stat_bits
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imgclust.errors import StorageError, UsageError, reason_of
from imgclust.fs import replacing
from imgclust.wording import printable

# The files of a projector export, the only ones that a later one replaces.
PROJECTOR_FILES = ("vectors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")

Target = Path | BinaryIO


def check_target(path: Path, *, folder: bool) -> Path:
    """The real path of an export.

    Parameters
    ----------
    folder
        The export is a folder; what exists there must be an earlier one, or empty.

    Raises
    ------
    UsageError
        When something else exists there.
    """
    real = Path(os.path.realpath(path))
    try:
        mode = real.stat().st_mode
    except OSError:
        return real
    if folder:
        if not stat_bits.S_ISDIR(mode):
            raise UsageError(f"{printable(path)} is not a folder; the projector export makes one")
        other = sorted(set(os.listdir(real)) - set(PROJECTOR_FILES))
        if other:
            raise UsageError(
                f"the folder {printable(path)} holds other files ({printable(other[0])}); "
                "name a new one for the export"
            )
    elif not stat_bits.S_ISREG(mode):
        kind = "a folder" if stat_bits.S_ISDIR(mode) else "no plain file"
        raise UsageError(f"{printable(path)} is {kind}; name a file, or - for standard output")
    return real


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when all went well.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            yield stream


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the place of `path` (an earlier export, or nothing) when all went well.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    # Not `fs.making_folder`: only the files of an export are deleted, whatever else came meanwhile.
    temporary = path.with_name(f".imgclust-export-{os.getpid()}.part")
    before = temporary.with_suffix(".old")
    try:
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if path.exists():
                path.rename(before)
            try:
                temporary.rename(path)
            except OSError:
                if before.exists():
                    before.rename(path)
                raise
    finally:
        _clear(temporary)
        _clear(before)


def _clear(folder: Path) -> None:
    """Delete the files of a projector export and, if nothing else is in it, their folder."""
    for name in PROJECTOR_FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{printable(path)} cannot be written: {reason_of(error)}") from None
