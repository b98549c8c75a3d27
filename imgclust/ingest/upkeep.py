"""What the loop is put together from, and what follows from commits and scans now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.details import Details
from imgclust.config import Watch
from imgclust.embedding.recipe import Embedder
from imgclust.images.filestat import FileStat
from imgclust.images.headers import read_origin
from imgclust.images.pool import Decoder
from imgclust.images.reader import Decoded
from imgclust.ingest.commit import Assigner
from imgclust.ingest.environment import POLL_S, Clock, Disk, LocalDisk, SystemClock
from imgclust.ingest.events import STILL, Counts, Emit, Event
from imgclust.ingest.faults import is_unexpected, sentence
from imgclust.ingest.rows import read_unread
from imgclust.progress import Monitor, Progress
from imgclust.reconcile import same_file


class Events(Protocol):
    """The source of paths that need a look (the watcher)."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def check(self) -> None: ...

    def overflowed(self) -> bool: ...


class Clusters(Protocol):
    """Decides whether an automatic clustering is due, and starts it.

    `empty`: nothing waits to be ingested; `over`: the run ends, so that it must be made now.
    """

    def __call__(self, *, empty: bool, over: bool) -> None: ...


@dataclass(frozen=True)
class Dependencies:
    """What the loop is put together from; a test replaces any of it.

    `after_commit` brings index and thumbnails up to date, `links` the link folder (False when
    another process holds the lock), `clusters` decides whether a clustering is due.
    """

    decoder: Decoder
    open_embedder: Callable[[], Embedder]
    assigner: Assigner
    after_commit: Callable[[Sequence[Decoded]], None]
    links: Callable[[], bool]
    clusters: Clusters
    events: Callable[[Callable[[bytes], None], Callable[[str, str], None]], Events] | None = None
    disk: Disk = LocalDisk()
    clock: Clock = SystemClock()
    monitor: Monitor = Monitor()


# Files whose descriptions are read for one transaction, and paths tried for one content.
_CONTENTS, _PATHS = 64, 4


class DetailReader:
    """Reads descriptions from files, some at a time.

    A content whose file is absent now, or is another one by its stat, is passed over until the
    next run.
    """

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk
        self._after = -1
        self.over = False

    def advance(self, *, budget_s: float) -> bool:
        """Read for about so long; True when something is left."""
        until = time.monotonic() + budget_s
        while not self.over:
            keys = self._catalog.details.lacking(after=self._after, limit=_CONTENTS)
            self.over = not keys
            found = [(key, details) for key in keys if (details := self._read(key)) is not None]
            if found:
                with self._catalog.transaction():
                    known = self._catalog.contents.known(key for key, _ in found)
                    self._catalog.details.put(one for one in found if one[0] in known)
                    self._catalog.ledger.queue_pages_of(known)
            self._after = keys[-1] if keys else self._after
            if time.monotonic() >= until:
                break
        return not self.over

    def _read(self, key: int) -> Details | None:
        for image in self._catalog.images.with_content(key)[:_PATHS]:
            known = self._catalog.observations.at(image.path)
            if image.state != "present" or known is None or known.state != "done":
                continue
            try:
                stat = self._disk.stat(image.path)
            except OSError:
                continue
            if stat is None or not same_file(FileStat(*known.stat), stat, network=True):
                continue
            origin = read_origin(image.path)
            if origin is not None:
                return Details(origin.taken, origin.camera)
        return None


# Links and clusters are looked after this often while a backlog is worked off.
_BUSY_S = 2.0
# How long a watcher that has nothing else to do reads descriptions until it looks up again.
_DETAILS_S = 0.1
# Images removed in one transaction.
_SLICE = 500
# Observations changed in one transaction: other processes are not kept waiting.
_ROWS = 5000


class Upkeep:
    """Keeps links and clusters up to date, and removes images that are gone.

    Attributes
    ----------
    due
        True when something has changed since the last look.
    """

    def __init__(
        self,
        catalog: Catalog,
        parts: Dependencies,
        *,
        rules: Watch,
        counts: Counts,
        emit: Emit,
        progress: Progress,
    ) -> None:
        self._catalog = catalog
        self._parts = parts
        self._rules = rules
        self._counts = counts
        self._emit = emit
        self._progress = progress
        self._checked = 0.0
        self._told: set[str] = set()
        self._details = DetailReader(catalog, parts.disk)
        self.due = True

    def begin(self) -> None:
        """Take up what an earlier run left: what waited is due by the clock of this one."""
        due = self._parts.clock.monotonic() + self._rules.settle_s
        over = False
        while not over:
            with self._catalog.transaction():
                over = self._catalog.observations.restart(due, rows=_ROWS)
        for path in self._catalog.observations.waiting():
            self._counts.wait(path)
        read_unread(self._catalog)

    def look(self, *, working: bool, scanning: bool) -> None:
        """Do what is due; `working`: files are on their way through the pipeline."""
        now = self._parts.clock.monotonic()
        if now - self._checked < (0.0 if self.due else POLL_S):
            return
        next_due = self._catalog.observations.next_due()
        busy = working or (next_due is not None and next_due <= now)
        if busy and now - self._checked < _BUSY_S:
            return
        self._checked = now
        self.due = False
        work = self._counts.files - self._counts["unchanged"] - self._counts[STILL]
        self._progress("ingesting", work - self._counts["pending"], work)
        empty = not busy and next_due is None and not scanning
        if empty:
            self.due = self.leave_gone()  # the rest in the next turns: arrivals come in between
            self.due |= self.read_details()
        self.bring_in_step(empty=empty, over=False)

    def bring_in_step(self, *, empty: bool, over: bool, clusters: bool = True) -> None:
        """Make clusters that are due, then sync links; a fault in either is said once."""
        if clusters:
            self._try("the clusters", lambda: self._parts.clusters(empty=empty, over=over))
        self._try("the links", self._parts.links)

    def after_commit(self, fresh: Sequence[Decoded]) -> None:
        """Bring index and thumbnails up to date; they can be made again."""
        self._try("the index", lambda: self._parts.after_commit(fresh))

    def _try(self, what: str, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            if not is_unexpected(error):
                raise
            if what not in self._told:
                self._told.add(what)
                self._emit(Event("trouble", f"{sentence(error, f'updating {what}')}; continuing"))
        else:
            self._told.discard(what)

    def read_details(self, *, budget_s: float = _DETAILS_S) -> bool:
        """Read some of the details that are lacking; True when some are left."""
        if not self._details.over:
            self._try("the dates of older images", lambda: self._details.advance(budget_s=budget_s))
        return not self._details.over and "the dates of older images" not in self._told

    def leave_gone(self) -> bool:
        """Remove what enough scans have missed, now that nothing waits that it could have become.

        Renames are matched first: a new path with its content would have taken over its row.
        One slice at a time; False when there was none left.
        """
        gone = self._catalog.images.gone(self._rules.missing_scans, _SLICE)
        if not gone:
            return False
        with self._catalog.transaction():
            for image in gone:
                self._catalog.remove_image(image)
                self._catalog.observations.forget(image.path)
        for image in gone:
            self._emit(Event("gone", "gone", image.path, image.id))
        return True
