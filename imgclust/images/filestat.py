"""What the file system says about a path: its stat, and whether its folder lists exactly this name.

Some file systems find a file under names that no listing has: other letter case, another Unicode
form, a short name, a trailing dot. So a stat proves that a file is away, and nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection
from typing import NamedTuple

from imgclust.fs import stored

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

# Names that are remembered at once: a folder may hold a million.
_MOST_NAMES = 1_000_000


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


def names_in(folder: bytes) -> Collection[bytes]:
    """Every name in a folder, byte for byte as the file system lists them."""
    return frozenset(os.listdir(folder))


class Listings:
    """Listings of folders, each made once; they are old after a moment, so make a new object then.

    Parameters
    ----------
    names
        Lists a folder.
    """

    def __init__(self, names: Callable[[bytes], Collection[bytes]] = names_in) -> None:
        self._list = names
        self._names: dict[bytes, Collection[bytes] | None] = {}
        self._count = 0

    def has(self, path: bytes, top: bytes) -> bool:
        """True when the path is listed below the folder `top`, or nobody can tell.

        Each folder between them must be listed by its own name too.
        """
        top = top.rstrip(b"/")
        while path != top and path.startswith(top + b"/"):
            folder, name = os.path.split(path)
            names = self._names_in(folder)
            if names is not None and name not in names:
                return False
            path = folder
        return True

    def _names_in(self, folder: bytes) -> Collection[bytes] | None:
        if folder not in self._names:
            if self._count > _MOST_NAMES:
                self._names.clear()
                self._count = 0
            try:
                self._names[folder] = self._list(folder)
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = ()
            except OSError:
                self._names[folder] = None
            self._count += 1 + len(self._names[folder] or ())
        return self._names[folder]
