"""The proof that an observer is alive: opening a file for reading raises an event."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Collection, Sequence

from imgclust.watcher.exclusion import Exclusion
from imgclust.watcher.walk import ignore, scan
from imgclust.watcher.watched_root import WatchedRoot


class Proof:
    """Opens files and waits for the events of that; nothing is written.

    Parameters
    ----------
    wait_s
        Seconds to wait for the events.
    """

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._awaited: set[bytes] = set()

    def opened(self, path: bytes) -> None:
        """An event says that this file was opened; called in the observer's threads."""
        with self._changed:
            self._awaited.discard(path)
            self._changed.notify_all()

    def silent(self, paths: Sequence[bytes]) -> set[bytes]:
        """Open each file; those that can be opened and for which no event came in time."""
        for path in paths:
            with self._changed:
                self._awaited.add(path)
            if not _open_and_close(path):
                self.opened(path)
        with self._changed:
            self._changed.wait_for(lambda: not self._awaited, timeout=self._wait_s)
            missing, self._awaited = self._awaited, set()
        return missing


def known_file(root: WatchedRoot, *, exclusion: Exclusion, skip: Collection[bytes]) -> bytes | None:
    """A file of the root that can be read: the one of the last time while it is there."""
    with contextlib.suppress(OSError):
        if root.known is not None and stat.S_ISREG(os.lstat(root.known).st_mode):
            return root.known
    excluded = exclusion.below(root.path)
    files = scan(root.path, excluded=excluded, skip=skip, trouble=ignore)
    return next((path for path, _ in files if os.access(path, os.R_OK)), None)


def _open_and_close(path: bytes) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError:
        return False
    return True
