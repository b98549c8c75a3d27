"""Progress callbacks and the stop flag: how long work is watched and interrupted."""

from __future__ import annotations

import threading
from typing import Protocol

from imgclust.errors import StoppedError


class Progress(Protocol):
    """Called by long work with what it has done so far.

    Parameters
    ----------
    step
        What is being done, in a few words; a change of step starts a new bar.
    done, total
        Units finished and units in all (None while the total is not known).
    """

    def __call__(self, step: str, done: int, total: int | None) -> None: ...


def silent(step: str, done: int, total: int | None) -> None:
    """Ignore progress."""


class StopFlag:
    """Set once by a signal or another thread; long work looks at it between units."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; True when the flag was set."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise `StoppedError` when the flag is set."""
        if self._event.is_set():
            raise StoppedError("interrupted; what was finished is kept")
