"""Whether a file is there under exactly this name: what a listing of its folder says.

Some file systems find a file under names that no listing has: other letter case, another Unicode
form, a short name, a trailing dot. So a stat proves that a file is away, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

# Names that are remembered at once: a folder may hold a million.
_MOST_NAMES = 1_000_000


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
