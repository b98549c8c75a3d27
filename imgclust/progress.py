"""Progress callbacks, the stop flag, and work at the side: how long work is watched and ended."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from imgclust.errors import StoppedError

# How often it is looked whether a side thread is to stop, and how long it may take to end then.
_LOOK_S = 0.1
_GRACE_S = 2.0

T = TypeVar("T")


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


class Monitor:
    """Hears how an ingest fares, turn by turn; does nothing with it.

    Called in the thread of the ingest, so that it must not take long.
    """

    def turn(self, waiting_s: float) -> None:
        """A turn of the loop is complete; `waiting_s`: since when the network has a batch."""

    def pause(self, reason: str) -> None:
        """The disk refuses: no turn follows until it works again."""

    def took(self, stage: str, seconds: float) -> None:
        """So long took the decoding of an image, the embedding of a batch, or a commit."""


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


class SideThread(threading.Thread):
    """Work in a thread of its own, which is left behind when it does not stop in time.

    For work that looks at the flag where it can, and computes for long in libraries that do not;
    it may be cut off anywhere, as by a crash.

    Parameters
    ----------
    work
        Called in the thread.
    stop
        The flag that the work looks at.
    """

    def __init__(self, work: Callable[[], None], *, name: str, stop: StopFlag) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self._stop_flag = stop

    def finish(self) -> bool:
        """Wait for the end, only two seconds more once it is to stop; False: left behind."""
        while self.is_alive() and not self._stop_flag.is_set():
            self.join(_LOOK_S)
        self.join(_GRACE_S)
        return not self.is_alive()


class SideWork(Generic[T]):
    """Work in a `SideThread`, one at a time; results are reported in the thread that asks for it.

    Parameters
    ----------
    tell
        Called with each result, by `report` and `finish`.
    """

    def __init__(self, tell: Callable[[T], None], *, name: str, stop: StopFlag) -> None:
        self._tell = tell
        self._name = name
        self._stop = stop
        self._thread: SideThread | None = None
        self._results: queue.SimpleQueue[T] = queue.SimpleQueue()

    @property
    def running(self) -> bool:
        """True while work is in progress."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Begin work, which calls `put` with its results."""
        self._thread = SideThread(work, name=self._name, stop=self._stop)
        self._thread.start()

    def put(self, result: T) -> None:
        """A result, from the thread of the work."""
        self._results.put(result)

    def report(self) -> None:
        """Tell what has been found until now."""
        while not self._results.empty():
            self._tell(self._results.get())

    def finish(self) -> None:
        """Wait for work in progress, unless it is to stop but continues; then report."""
        if self._thread is not None:
            self._thread.finish()
            self._thread = None
        self.report()


def left_behind() -> bool:
    """True when a side thread still runs: a library in it may not survive the interpreter's end.

    Such a process ends by `os._exit`.
    """
    return any(isinstance(thread, SideThread) for thread in threading.enumerate())
