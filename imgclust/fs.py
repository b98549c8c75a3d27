"""What lasts through a loss of power."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}

# What systems keep in folders of people's pictures; a photo in the trash has left the collection.
SYSTEM_FOLDERS = (
    *("#recycle", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "RECYCLER", ".Trash*"),
    *("#snapshot", "~snapshot", ".snapshot", "__MACOSX", "lost+found"),
    *("System Volume Information", "@eaDir"),
)


class NotAFileError(OSError):
    """Something other than a regular file has the name.

    Attributes
    ----------
    kind
        What it is, in words: "a folder", "a named pipe (FIFO)".
    """

    def __init__(self, kind: str, path: Path | str | bytes) -> None:
        super().__init__(errno.ENODEV, f"it is {kind}, not a regular file", os.fsdecode(path))
        self.kind = kind


def stored(number: int) -> int:
    """A number of the system as SQLite can hold it: signed, of 64 bits.

    Inode and device numbers are unsigned, and times in nanoseconds end in 2262. What does not fit
    wraps around, so that two numbers that differ still differ. -1 becomes -2: the catalog writes
    -1 where no stat is to fit.
    """
    wrapped = (number + (1 << 63)) % (1 << 64) - (1 << 63)
    return -2 if wrapped == -1 else wrapped


def kind_of(mode: int) -> str:
    """What a file mode that is not a regular file's says, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something of an unknown kind")


def require_regular(path: Path | str | bytes) -> None:
    """Refuse a path at which something other than a regular file is; absent ones pass.

    Raises
    ------
    NotAFileError
        Saying what it is.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise NotAFileError(kind_of(mode), path)


def open_regular(path: Path | str | bytes, *, follow: bool = True) -> int:
    """Open a regular file for reading; returns the descriptor.

    Nothing else is opened for longer than it takes to see what it is, and nothing is waited for: a
    FIFO has no writer, a device may do something when it is read. Where the system allows it, the
    read leaves no trace in the access time.

    Parameters
    ----------
    follow
        False: a symbolic link is refused, with ELOOP.

    Raises
    ------
    NotAFileError
        When it is something else.
    OSError
        When it cannot be opened.
    """
    mode = os.stat(path, follow_symlinks=follow).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise NotAFileError(kind_of(mode), path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    flags |= 0 if follow else os.O_NOFOLLOW
    try:
        # Our reads should leave no trace; only the owner of a file may ask for that.
        descriptor = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):  # it was replaced in between
        os.close(descriptor)
        raise NotAFileError(kind_of(mode), path)
    return descriptor


def open_to_read(path: Path | str | bytes) -> BufferedReader:
    """`open(path, "rb")` for regular files only; see `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


def read_regular(path: Path | str | bytes, *, most_bytes: int | None = None) -> bytes:
    """All bytes of a regular file.

    Parameters
    ----------
    most_bytes
        A larger file is refused, with EFBIG.

    Raises
    ------
    OSError
        As `open_regular`.
    """
    with open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most_bytes is None:
            # Files of /proc have no size and may never end: of them nothing is taken.
            return file.read(size)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", os.fsdecode(path))
    return content


def open_new(path: Path | str | bytes) -> BinaryIO:
    """A new file to write; what had its name, such as what a crash has left, is removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb")


def sync_file(path: Path) -> None:
    """Wait until the disk has the bytes of a file.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path | bytes) -> None:
    """Wait until the disk has what was made, renamed and removed in a folder.

    Raises
    ------
    OSError
        When it is not a folder, or its file system cannot do this.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
