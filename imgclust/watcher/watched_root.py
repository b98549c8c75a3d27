"""A watched root: the folder, and what is known of the watch on it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch


@dataclass(eq=False)
class WatchedRoot:
    """A root that is watched, or would be.

    Attributes
    ----------
    identity
        Device and inode of the folder that is watched.
    refused
        By its file system or the watch limit: not tried again.
    known
        A file whose opening proves the watch alive.
    """

    path: bytes
    identity: tuple[int, int] | None = None
    watch: ObservedWatch | None = None
    refused: bool = False
    known: bytes | None = None


def identity_of(path: bytes) -> tuple[int, int]:
    """Device and inode of a folder.

    Raises
    ------
    OSError
        When there is no folder at `path`.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return status.st_dev, status.st_ino


def is_below(path: bytes, root: bytes) -> bool:
    """True when `path` is `root` or lies inside it."""
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


def shown(path: bytes) -> str:
    """A path in words for people."""
    return path.decode("utf-8", "replace")
