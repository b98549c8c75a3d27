"""What the file system says about a path."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from imgclust.fs import stored

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class FileStat(NamedTuple):
    """The part of a stat that tells whether a file changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


# Of a file whose stat is not known: equal to none that is.
NO_STAT = FileStat(0, 0, 0, -1, 0)


def file_stat(result: os.stat_result) -> FileStat:
    """Keep of `result` what tells whether a file changed, as the catalog can hold it."""
    return FileStat(
        stored(result.st_dev),
        stored(result.st_ino),
        result.st_size,
        stored(result.st_mtime_ns),
        stored(result.st_ctime_ns),
    )


def stat_of(path: bytes) -> FileStat | None:
    """Stat of the regular file `path`, links not followed.

    Returns
    -------
    FileStat or None
        None when nothing is there, or something that is not a regular file (a symbolic link, a
        folder, a FIFO).

    Raises
    ------
    OSError
        When the system cannot tell: no permission, input/output error.
    """
    try:
        result = os.lstat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return file_stat(result) if stat.S_ISREG(result.st_mode) else None


def suffix_of(path: bytes) -> str:
    """Lower-case suffix of the last component, with its dot; "" when there is none.

    Only short suffixes of ASCII letters and digits count, so that `IMG.2024 holiday` does not
    open a class of its own where files are counted by suffix.
    """
    suffix = os.path.splitext(os.path.basename(path))[1].lower()
    return suffix.decode("ascii") if len(suffix) <= 12 and suffix[1:].isalnum() else ""
