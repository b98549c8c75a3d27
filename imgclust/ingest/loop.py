"""The ingest loop: one thread that owns the catalog's writes, fed by a single inbox."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgclust.catalog import Catalog, key_of
from imgclust.config import Settings
from imgclust.embedding import Embedder
from imgclust.errors import StorageError
from imgclust.images import Decoded, Outcome
from imgclust.ingest.batching import Done
from imgclust.ingest.committing import Assigner, Committing, Embedded
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.looking import Looking
from imgclust.ingest.pipeline import Decoder, Pipeline
from imgclust.ingest.place import Clock, Disk, LocalDisk, Place, SystemClock
from imgclust.ingest.scanning import Scan
from imgclust.progress import Progress, StopFlag, silent
from imgclust.reconcile import Look

# Most inbox messages handled in one turn, so that commits are not kept waiting by a burst.
_TURN = 500
# How long a turn waits for news when there is none.
_WAIT_S = 0.05
# How often requests and link changes of other processes are looked for.
_POLL_S = 0.5
# How long `once` waits for files that never come to rest, beyond all retries.
_PATIENCE_S = 60.0
# How long a watcher waits after the disk refused, before it tries again.
_PAUSE_S = 5.0
# Links and clusters are looked after this often while a backlog is worked off.
_BUSY_S = 2.0


# What comes in: a path that needs a look, an outcome with its generation, an embedded batch, words
# for people, or the reason why the network cannot be loaded.
Message = bytes | tuple[int, Outcome] | Done | Event | Exception


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
class Parts:
    """What the loop is put together from; a test replaces any of it.

    `after_commit` brings index and thumbnails up to date, `links` the link folder (False when
    another process is at it), `clusters` decides whether a clustering is due.
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


class Ingest:
    """Takes images in until it is stopped, or (`once`) until all that is there is in.

    Parameters
    ----------
    ours
        Folders of ours that are never entered.
    network
        Ids of the roots on network file systems.
    """

    def __init__(
        self,
        catalog: Catalog,
        parts: Parts,
        *,
        recipe: str,
        settings: Settings,
        ours: Iterable[bytes],
        network: Iterable[int] = (),
        workers: int = 2,
        emit: Emit = lambda event: None,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> None:
        self._catalog = catalog
        self._parts = parts
        self._recipe = recipe
        self._rules = settings.watch
        self._ours = tuple(ours)
        self._network = frozenset(network)
        self._emit = emit
        self._progress = progress
        self._stop = stop or StopFlag()
        self._clock = parts.clock
        self._counts = Counts()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._events: Events | None = None
        self._scan: Scan | None = None
        self._scan_due = 0.0
        self._polled = 0.0
        self._checked = 0.0
        self._changed = True
        self._waiting = False
        self._advanced = self._clock.monotonic()
        self._once = False
        self._later: list[Event] = []
        self._said: set[bytes] = set()
        self._started = self._clock.monotonic()
        self._looking = Looking(
            catalog,
            disk=parts.disk,
            clock=parts.clock,
            counts=self._counts,
            emit=self._later.append,
        )
        self._committing = Committing(
            catalog,
            recipe=recipe,
            rules=self._rules,
            disk=parts.disk,
            clock=parts.clock,
            assigner=parts.assigner,
            counts=self._counts,
            emit=emit,
        )
        self._pipeline = Pipeline(
            catalog,
            recipe=recipe,
            looking=self._looking,
            clock=parts.clock,
            decoder=parts.decoder,
            open_embedder=parts.open_embedder,
            enqueue=self._inbox.put,
            write=self._write,
            batch=settings.embedding.batch,
            # Enough to keep the workers busy while two batches wait.
            capacity=2 * workers + 3 * settings.embedding.batch,
        )
        self._paths: dict[bytes, None] = {}
        self._reload()

    # The outer loop

    def run(self, *, once: bool, scan: bool = True) -> IngestResult:
        """Work until stopped, or until everything is in.

        Raises
        ------
        StorageError
            With `once`, when the disk refuses; a watcher waits and tries again instead.
        """
        try:
            self._once = once
            self.begin(scan=scan, watch=not once)
            while not self._stop.is_set():
                try:
                    self.step(timeout_s=_WAIT_S)
                    if once and (self.idle or self._given_up()):
                        break
                except (StorageError, OSError) as error:
                    refusal = _refusal(error)
                    if once:
                        raise refusal from error
                    if not self._waiting:
                        self._emit(Event("waiting", f"{refusal}; waiting until it works again"))
                    self._waiting = True
                    self._forget_work()
                    if self._scan_due < float("inf"):
                        self._scan, self._scan_due = None, 0.0
                    self._stop.wait(_PAUSE_S)
            self._finish(complete=once and not self._stop.is_set())
        finally:
            if self._events is not None:
                self._events.stop()
            self._parts.decoder.close()
            self._pipeline.thread.close()
        return self.result()

    def result(self) -> IngestResult:
        """What has been done so far."""
        return self._counts.result(
            seconds=self._clock.monotonic() - self._started,
            held=tuple(
                (root.path, root.held) for root in self._catalog.images.roots() if root.held
            ),
        )

    def begin(self, *, scan: bool, watch: bool) -> None:
        """Take up what an earlier run left; with `watch`, events and the network are started."""
        with self._catalog.transaction():
            self._catalog.observations.restart(self._clock.monotonic() + self._rules.settle_s)
        if watch:
            self._pipeline.thread.warm(trial=True)
            if self._parts.events is not None:
                self._events = self._parts.events(self._inbox.put, self._trouble)
                self._events.start()
        self._scan_due = 0.0 if scan else float("inf")

    def _finish(self, *, complete: bool) -> None:
        """Commit what is embedded already, then leave everything in step."""
        self._pipeline.thread.abandon()
        while self._pipeline.thread.in_flight:
            self._turn(self._inbox.get())
        self._pipeline.commit()
        self._leave_gone()
        self._say()
        if complete:
            self._parts.clusters(empty=True, over=True)
        self._parts.links()

    # One turn

    def step(self, *, timeout_s: float) -> None:
        """Handle what has come in, then start what can be started."""
        self._receive(timeout_s)
        self._scan_some()
        self._take_requests()
        self._pipeline.claim(self._place)
        self._pipeline.batch_up()
        self._pipeline.commit()
        self._keep_in_step()
        self._say()

    def _say(self) -> None:
        """Say what was written meanwhile: never before its commit."""
        while self._later:
            self._emit(self._later.pop(0))

    @property
    def idle(self) -> bool:
        """True when everything that is there is in, and no scan is due or running."""
        return (
            self._scan is None
            and self._scan_due > self._clock.monotonic()
            and not self._pipeline.claimed
            and self._inbox.empty()
            and not self._paths
            and self._catalog.observations.next_due() is None
            and not self._catalog.observations.requests(1)
        )

    def _given_up(self) -> bool:
        """True when all that is left has kept changing, or being busy, for too long."""
        now = self._clock.monotonic()
        if self._scan is not None or self._scan_due <= now or self._pipeline.thread.in_flight:
            self._advanced = now
        if self._pipeline.decoding or now - self._advanced < _PATIENCE_S + sum(self._rules.retry_s):
            return False
        left = self._catalog.observations.pending()
        self._trouble("", f"{left} files keep changing or cannot be read yet; the next run looks")
        self._receive(0.0)
        return True

    def _receive(self, timeout_s: float) -> None:
        try:
            self._turn(
                self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
            )
            for _ in range(_TURN):
                self._turn(self._inbox.get_nowait())
        except queue.Empty:
            pass
        if self._paths:
            paths, self._paths = list(self._paths), {}
            with self._catalog.transaction():
                self._looking.at_paths(paths, self._place)

    def _turn(self, message: Message) -> None:
        if isinstance(message, bytes):
            self._paths[message] = None
        elif isinstance(message, Event):
            self._emit(message)
        elif isinstance(message, Exception):
            self._pipeline.thread.reset()
            raise message
        elif isinstance(message, Done):
            self._pipeline.embedded(message)
        else:
            self._pipeline.decoded(*message)

    # Sources

    def _reload(self) -> None:
        self._place = Place(
            tuple(self._catalog.images.roots()),
            self._ours,
            self._network,
            self._rules.settle_s,
        )

    def _scan_some(self) -> None:
        if self._events is not None and self._events.overflowed():
            self._scan_due = 0.0
        if self._scan is None:
            if self._clock.monotonic() < self._scan_due:
                return
            if self._events is not None:
                self._events.check()
            self._reload()
            self._scan = Scan(
                self._catalog,
                self._place,
                looking=self._looking,
                disk=self._parts.disk,
                clock=self._clock,
                rules=self._rules,
                counts=self._counts,
                emit=self._later.append,
                said=self._said,
            )
        if self._scan.advance():
            wait = float("inf") if self._once else self._rules.rescan_s
            if self._network:
                wait = max(wait, 10 * self._scan.seconds)
            self._scan_due = self._clock.monotonic() + wait
            self._emit(Event("scanned", f"scanned in {self._scan.seconds:.1f} s"))
            self._scan = None
            self._changed = True

    def _take_requests(self) -> None:
        now = self._clock.monotonic()
        if now - self._polled < _POLL_S:
            return
        self._polled = now
        requests = self._catalog.observations.requests(_TURN)
        if not requests:
            return
        self._polled = 0.0
        self._reload()
        with self._catalog.transaction():
            for path, root in requests:
                found = self._looking.at_request(path, root, self._place)
                self._counts.seen += 1
                self._counts.unchanged += found is Look.NOTHING

    # What the parts ask of the loop

    def _write(self, outcomes: Sequence[Outcome], embedded: Embedded) -> None:
        if self._committing.write(outcomes, embedded, self._place):
            self._advanced = self._clock.monotonic()
        self._waiting = False
        fresh: dict[int, Decoded] = {}
        for outcome in outcomes:
            if isinstance(outcome, Decoded) and key_of(outcome.sha256) in embedded.vectors:
                fresh.setdefault(key_of(outcome.sha256), outcome)
        self._parts.after_commit(list(fresh.values()))
        self._changed = True

    def _forget_work(self) -> None:
        """Drop what is in memory: the catalog still says what is to be done."""
        self._later.clear()
        self._paths = {}
        self._pipeline.forget()

    def _keep_in_step(self) -> None:
        now = self._clock.monotonic()
        if now - self._checked < (_POLL_S if not self._changed else 0.0):
            return
        due = self._catalog.observations.next_due()
        busy = bool(self._pipeline.claimed) or (due is not None and due <= now)
        if busy and now - self._checked < _BUSY_S:
            return
        self._checked = now
        self._changed = False
        left = self._catalog.observations.pending()
        done = self._counts.ingested + self._counts.reused + self._counts.quarantined
        self._progress("ingesting", done, done + left)
        empty = not busy and due is None and self._scan is None
        if empty:
            self._leave_gone()
        self._parts.clusters(empty=empty, over=False)
        self._parts.links()

    def _leave_gone(self) -> None:
        """Remove what enough scans have missed, now that nothing waits that it could have become.

        Renames are matched first: a new path with its content would have taken over its row.
        """
        while gone := self._catalog.images.gone(self._rules.missing_scans, _TURN):
            with self._catalog.transaction():
                for image in gone:
                    self._catalog.remove_image(image)
                    self._catalog.observations.forget(image.path)
            for image in gone:
                self._emit(Event("gone", "gone", image.path, image.id))
            self._changed = True

    def _trouble(self, code: str, sentence: str) -> None:
        self._inbox.put(Event("trouble", sentence))


def _refusal(error: StorageError | OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(f"the disk refused: {error.strerror or error}")
