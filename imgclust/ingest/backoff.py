"""When nothing is read: a disk that refuses or cannot be read, a pause, hours of the day.

A read error is the file's, or its disk's: `ReadBackoff` finds out which.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from imgclust import numbers
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.observations import Observation
from imgclust.errors import StorageError, reason_of
from imgclust.images.reader import Again, Died, Outcome, ReadFailed, Unreadable
from imgclust.ingest.environment import Clock, Disk
from imgclust.ingest.events import Emit, Event
from imgclust.progress import StopFlag
from imgclust.reconcile import MAX_READS
from imgclust.wording import minute

# Seconds before a write is tried again: so many at first, twice as many each time, at most so many.
_FIRST_WRITE_S, _LONGEST_S = 1.0, 60.0
# The same before the reading of a root is tried again.
_FIRST_S = 2.0


class WriteBackoff:
    """Waits until the catalog can be written again; said once, whatever it takes.

    Attributes
    ----------
    on
        True from the first refusal until `over`.
    """

    def __init__(self, catalog: Catalog, *, stop: StopFlag, emit: Emit) -> None:
        self._catalog = catalog
        self._stop = stop
        self._emit = emit
        self._next_s = _FIRST_WRITE_S
        self.on = False

    def wait(self, refusal: StorageError) -> None:
        """Try a small write, less and less often, until it succeeds or the watcher is to stop."""
        if not self.on:
            self._emit(Event("waiting", f"{refusal}; waiting until it works again"))
        self.on = True
        while not self._stop.wait(self._next_s):
            # Only `over` starts at the first again: what is left to write may be larger than this.
            self._next_s = min(2 * self._next_s, _LONGEST_S)
            try:
                with self._catalog.transaction():
                    self._catalog.event("waited", f"resumed after: {refusal}")
            except StorageError:
                continue
            return

    def over(self) -> None:
        """What there was to write has been written."""
        if self.on:
            self._emit(Event("note", "the disk works again; continuing"))
        self.on = False
        self._next_s = _FIRST_WRITE_S


def refusal(error: StorageError | OSError) -> StorageError:
    """The error of a disk, in the words for people."""
    if isinstance(error, StorageError):
        return error
    return StorageError(f"the disk refused: {reason_of(error)}")


# Images, and files that wait, that are tried to find out whether anything of a root can be read.
_SAMPLES = 5
# Paths that are put off in one transaction: other processes are not kept waiting.
_ROWS = 5000


@dataclass
class _Failing:
    due: float
    wait_s: float


class ReadBackoff:
    """Remembers the roots that cannot be read; none of their files is set aside for that."""

    def __init__(self, catalog: Catalog, *, disk: Disk, clock: Clock, emit: Emit) -> None:
        self._catalog = catalog
        self._disk = disk
        self._clock = clock
        self._emit = emit
        self._failing: dict[int, _Failing] = {}
        self._postponing: set[int] = set()

    def works(self, known: Observation | None, outcome: Outcome) -> bool:
        """False when a path could not be read, and no other of its root can be.

        The disk is asked at the last try of a file only, but at each one of a root that failed
        before.
        """
        if known is None or isinstance(outcome, Again | Died):
            return True
        if not isinstance(outcome, ReadFailed):
            if not isinstance(outcome, Unreadable) or outcome.sha256 is not None:
                self._worked(known.root)
            return True
        failing = self._failing.get(known.root)
        if failing is not None and self._clock.monotonic() < failing.due:
            return False
        if failing is None and known.tries + 1 < MAX_READS:
            return True
        samples = self._catalog.images.newest_of_root(known.root, _SAMPLES, but=known.path)
        samples += self._catalog.observations.waiting_of_root(known.root, _SAMPLES, but=known.path)
        return not samples or any(self._disk.reads(path) for path in samples)

    def wait(self, root: int, reason: str) -> None:
        """Nothing of this root is to be read for a while: see `postpone`."""
        now = self._clock.monotonic()
        failing = self._failing.get(root)
        if failing is None:
            failing = self._failing[root] = _Failing(now + _FIRST_S, _FIRST_S)
            found = self._catalog.roots.get(root)
            path = None if found is None else found.path
            sentence = f"nothing can be read here ({reason}); waiting until it works again"
            self._emit(Event("waiting", sentence, path))
        elif now >= failing.due:
            failing.wait_s = min(2 * failing.wait_s, _LONGEST_S)
            failing.due = now + failing.wait_s
        self._postponing.add(root)

    def postpone(self) -> None:
        """Have the next paths of such roots wait, the first to be read first.

        Those that it has not come to yet are read in vain, and come back to `wait`.
        """
        for root in list(self._postponing):
            failing = self._failing.get(root)
            over = failing is None
            if failing is not None:
                with self._catalog.transaction():
                    over = self._catalog.observations.postpone(root, failing.due, rows=_ROWS)
            if over:
                self._postponing.remove(root)

    def _worked(self, root: int) -> None:
        if self._failing.pop(root, None) is not None:
            found = self._catalog.roots.get(root)
            path = None if found is None else found.path
            self._emit(Event("note", "can be read again; continuing", path))


# Settings of the catalog: when a person paused the ingest (None: not paused), and the hours of the
# watcher that runs.
_PAUSED, _HOURS = "paused", "hours"


@dataclass(frozen=True)
class Pause:
    """Why nothing is read now; files that arrive are seen, and wait in the catalog.

    `since` is when a person said so, in seconds since 1970; `hours` are those in which the watcher
    reads, "" where there are none, and `outside_hours` is True when it is another time.
    """

    since: float | None = None
    hours: str = ""
    outside_hours: bool = False

    def __bool__(self) -> bool:
        return self.since is not None or self.outside_hours

    @property
    def sentence(self) -> str:
        """Why nothing is read, and what to do about it; empty while files are read."""
        if self.since is not None:
            return f"paused since {minute(self.since)}; imgclust resume continues"
        return f"no file is read outside of the hours {self.hours}" if self.outside_hours else ""


def current_pause(catalog: Catalog, *, wall: float) -> Pause:
    """Whether files are read at this moment."""
    paused, hours = catalog.setting(_PAUSED), str(catalog.setting(_HOURS) or "")
    return Pause(paused, hours, bool(hours) and not in_hours(hours, wall))


def in_hours(hours: str, wall: float) -> bool:
    """Whether a moment lies in hours such as "22:00-06:00", by the clock on the wall.

    Where clocks are changed, an hour that comes twice counts twice, and one that is left out never.
    """
    span = numbers.hours(hours)
    assert span is not None  # the settings were checked
    begin, end = span
    local = time.localtime(wall)
    now = local.tm_hour * 60 + local.tm_min
    return begin <= now < end if begin < end else now >= begin or now < end


def begin_pause(catalog: Catalog) -> None:
    """Read nothing until `end_pause`; what was paused stays paused since then."""
    with catalog.transaction():
        if catalog.setting(_PAUSED) is None:
            catalog.store(_PAUSED, time.time())
            catalog.event("paused", "no file is read until imgclust resume")


def end_pause(catalog: Catalog) -> None:
    """Read files again."""
    with catalog.transaction():
        if catalog.setting(_PAUSED) is not None:
            catalog.store(_PAUSED, None)
            catalog.event("resumed", "files are read again")


def store_hours(catalog: Catalog, hours: str) -> None:
    """Store the hours of the ingest that begins; "" for one that reads at any time."""
    if (catalog.setting(_HOURS) or "") != hours:
        with catalog.transaction():
            catalog.store(_HOURS, hours)
