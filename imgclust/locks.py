"""Advisory file locks between processes: one ingest, one clustering, one link sync at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from imgclust.errors import LockedError, StorageError, reason_of

# `is_locked` holds the lock for a moment to try it; nobody is refused because of that.
_GRACE_S = 0.1


class FileLock:
    """An exclusive `flock` on a small file of ours; freed by the kernel when the process dies.

    Parameters
    ----------
    path
        The lock file; made when absent, never removed (removal would race with a waiter).
    purpose
        What the lock is for, in words, for the error message.
    wait_s
        How long to wait for another holder before giving up.
    """

    def __init__(self, path: Path, *, purpose: str, wait_s: float = 0.0) -> None:
        self.path = path
        self._purpose = purpose
        self._wait_s = wait_s
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        LockedError
            When another process still holds it after `wait_s` seconds, or has removed or moved
            the file meanwhile.
        StorageError
            When the lock file cannot be made.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self.path.parent} cannot be written: {reason_of(error)}"
            ) from None
        deadline = time.monotonic() + max(self._wait_s, _GRACE_S)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = ""
                    with contextlib.suppress(OSError):
                        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
                    os.close(descriptor)
                    who = f" (process {holder})" if holder else ""
                    raise LockedError(
                        f"another process{who} is {self._purpose} this collection; "
                        "wait for it or stop it"
                    ) from None
                time.sleep(0.02)
        if not self._is_the_file(descriptor):
            os.close(descriptor)
            raise LockedError(
                "another process has just deleted or renamed this collection; "
                "see imgclust collections"
            )
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # only for the message; a full disk must not matter
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    def _is_the_file(self, descriptor: int) -> bool:
        """Whether the lock is that of the file which others will open."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Free the lock; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """True when some process holds the lock file `path` now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
