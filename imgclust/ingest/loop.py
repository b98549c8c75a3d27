"""The ingest loop: one thread that owns the catalog's writes, fed by a single inbox."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator, Sequence

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.config import Settings
from imgclust.errors import StorageError
from imgclust.images.reader import Decoded, Outcome
from imgclust.ingest.backoff import Pause, WriteBackoff, current_pause, refusal
from imgclust.ingest.commit import Committer, Embedded
from imgclust.ingest.embedding_thread import Done
from imgclust.ingest.environment import POLL_S, Scope
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.faults import Faults
from imgclust.ingest.mounts import held_folders
from imgclust.ingest.path_tracker import PathTracker
from imgclust.ingest.pipeline import Pipeline
from imgclust.ingest.root_scan import Scan
from imgclust.ingest.upkeep import Dependencies, Events, Upkeep
from imgclust.progress import Progress, StopFlag, silent
from imgclust.watcher.exclusion import Exclusion

# Most inbox messages handled in one turn, so that commits are not kept waiting by a burst.
_TURN = 500
# How long a turn waits for news when there is none; in a scan, so that other processes can write.
_WAIT_S, _SCANNING_S = 0.05, 0.01
# How long `once` waits for files that never come to rest, beyond all retries.
_PATIENCE_S = 60.0

# Paths that events name are not taken when so much waits (some MB): a scan finds what is dropped.
_MOST = 50_000

# A path that needs a look, an outcome with its generation, an embedded batch, words for people, or
# the reason why the network cannot be loaded.
Message = bytes | tuple[int, Outcome] | Done | Event | BaseException


class Ingest:
    """Takes images in until it is stopped, or (`once`) until all that is there is in.

    Parameters
    ----------
    ours
        Folders of ours that are never entered.
    network
        Ids of the roots on network file systems.
    exclusion
        What is left out in the roots.
    """

    def __init__(
        self,
        catalog: Catalog,
        parts: Dependencies,
        *,
        recipe: str,
        settings: Settings,
        ours: Iterable[bytes],
        network: Iterable[int] = (),
        exclusion: Exclusion | None = None,
        workers: int = 2,
        emit: Emit = lambda event: None,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> None:
        self._catalog = catalog
        self._parts = parts
        self._rules = settings.watch
        self._ours = tuple(ours)
        self._network = frozenset(network)
        self._exclusion = exclusion or Exclusion(self._rules.exclude_folders, self._rules.exclude)
        self._emit = emit
        self._stop = stop or StopFlag()
        self._clock = parts.clock
        self._counts = Counts()
        self._inbox = Inbox()
        self._events: Events | None = None
        self._scan: Scan | None = None
        self._scan_due = 0.0
        self._overflowed = False
        self._polled = 0.0
        self._pause = Pause()
        self._advanced = self._clock.monotonic()
        self._once = False
        self._unsettled = True
        self._later: list[Event] = []
        self._said: set[bytes] = set()
        self._started = self._clock.monotonic()
        self._write_backoff = WriteBackoff(catalog, stop=self._stop, emit=emit)
        self._upkeep = Upkeep(
            catalog, parts, rules=self._rules, counts=self._counts, emit=emit, progress=progress
        )
        self._faults = Faults(
            catalog, disk=parts.disk, counts=self._counts, later=self._later, say=emit
        )
        self._tracker = PathTracker(
            catalog,
            disk=parts.disk,
            clock=parts.clock,
            counts=self._counts,
            faults=self._faults,
            emit=self._later.append,
            say=emit,
        )
        self._committer = Committer(
            catalog,
            recipe=recipe,
            rules=self._rules,
            disk=parts.disk,
            clock=parts.clock,
            assigner=parts.assigner,
            counts=self._counts,
            emit=emit,
            rows=self._tracker.rows,
        )
        rules = settings.embedding
        batch = rules.batch or devices.batch_images(device=rules.device, engine=rules.engine)
        self._pipeline = Pipeline(
            catalog,
            recipe=recipe,
            tracker=self._tracker,
            faults=self._faults,
            clock=parts.clock,
            decoder=parts.decoder,
            open_embedder=parts.open_embedder,
            enqueue=self._inbox.put,
            write=self._write,
            monitor=parts.monitor,
            batch=batch,
            # Enough to keep the workers busy while two batches wait.
            capacity=2 * workers + 3 * batch,
        )
        self._paths: dict[bytes, bytes] = {}  # with the last path below that was looked at
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
                    self.step(timeout_s=_WAIT_S if self._scan is None else _SCANNING_S)
                    self._parts.monitor.turn(self._pipeline.waiting_s)
                    if once and (self.idle or self._given_up()):
                        break
                except (StorageError, OSError) as error:
                    if once:
                        raise refusal(error) from error
                    self.forget()
                    self._parts.monitor.pause(str(refusal(error)))
                    self._write_backoff.wait(refusal(error))
            if not self._write_backoff.on:
                self._finish(complete=once and not self._stop.is_set())
        finally:
            self.close()
        return self.result()

    def close(self) -> None:
        """End the threads and workers; whoever has called `begin` calls this, `run` does both.

        Nothing happens the second time.
        """
        if self._events is not None:
            self._events.stop()
        self._parts.decoder.close()
        self._pipeline.thread.close()

    def result(self) -> IngestResult:
        """What has been done so far."""
        return self._counts.result(
            seconds=self._clock.monotonic() - self._started,
            held=held_folders(self._catalog),
        )

    def begin(self, *, scan: bool, watch: bool) -> None:
        """Take up what is left; with `watch`, events and the network are started."""
        self._upkeep.begin()
        if watch:
            self._pipeline.thread.warm(trial=True)
            if self._parts.events is not None:
                self._events = self._parts.events(self._inbox.put_path, self._trouble)
                self._events.start()
        self._scan_due = 0.0 if scan else float("inf")

    def _finish(self, *, complete: bool) -> None:
        """Commit what is embedded already, then leave everything up to date."""
        self._pipeline.thread.abandon()
        while self._pipeline.thread.in_flight:
            self._turn(self._inbox.get())
        self._pipeline.commit()
        while complete and self._upkeep.leave_gone():
            pass
        while complete and not self._stop.is_set() and self._upkeep.read_details(budget_s=1.0):
            pass
        self._say()
        self._upkeep.bring_in_step(empty=True, over=True, clusters=complete)

    # One turn

    def step(self, *, timeout_s: float) -> None:
        """Handle what has come in, then start what can be started."""
        self._receive(timeout_s)
        self._scan_some()
        self._take_requests()
        self._committer.disks.postpone()
        if self._scan is not None and self._scan.in_doubt:
            self._pipeline.forget()  # what is dropped is read again when the scan has decided
        elif not self._pause:
            self._pipeline.claim(self._scope)
        self._pipeline.batch_up()
        self._pipeline.commit()
        self._unsettled = self._committer.settle(scanning=self._scan is not None)
        self._upkeep.look(working=bool(self._pipeline.claimed), scanning=self._scan is not None)
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
            and not self._overflowed
            and not self._pipeline.claimed
            and self._inbox.empty()
            and not self._paths
            and not self._unsettled
            and self._catalog.observations.next_due() is None
            and not self._catalog.requests.oldest(1)
        )

    def _given_up(self) -> bool:
        """True when all that is left has kept changing, or being busy, for too long."""
        now = self._clock.monotonic()
        busy = self._scan is not None or self._scan_due <= now or self._pipeline.thread.in_flight
        if busy or self._pause:
            self._advanced = now
        if self._pipeline.decoding or now - self._advanced < _PATIENCE_S + sum(self._rules.retry_s):
            return False
        left = self._catalog.observations.pending()
        sentence = f"{left} files keep changing or cannot be read yet; the next run looks"
        self._emit(Event("trouble", sentence))
        return True

    def _receive(self, timeout_s: float) -> None:
        for message in self._inbox.take(_TURN, timeout_s=timeout_s):
            self._turn(message)
        if self._paths:
            self._paths = self._tracker.at_paths(self._paths, self._scope)

    def _turn(self, message: Message) -> None:
        if isinstance(message, bytes):
            self._paths[message] = b""
        elif isinstance(message, Event):
            self._emit(message)
        elif isinstance(message, BaseException):
            self._pipeline.thread.reset()
            raise message
        elif isinstance(message, Done):
            self._pipeline.embedded(message)
        else:
            self._pipeline.decoded(*message)

    # Sources

    def _reload(self) -> None:
        roots = tuple(self._catalog.roots.all())
        self._scope = Scope(roots, self._ours, self._network, self._rules.settle_s, self._exclusion)

    def _scan_some(self) -> None:
        self._overflowed |= self._inbox.overflowed()
        self._overflowed |= self._events is not None and self._events.overflowed()
        if self._scan is None:
            if self._clock.monotonic() < self._scan_due and not self._overflowed:
                return
            self._overflowed = False  # what is lost from here on is for the scan after this one
            if self._events is not None:
                self._events.check()
            self._reload()
            self._scan = Scan(
                self._scope, tracker=self._tracker, rules=self._rules, said=self._said
            )
        if self._scan.advance(lasting=not self._once):
            wait = float("inf") if self._once else self._rules.rescan_s
            if self._network:
                wait = max(wait, 10 * self._scan.seconds)
            self._scan_due = self._clock.monotonic() + wait
            self._say_excluded(self._scan.excluded)
            self._emit(Event("scanned", f"scanned in {self._scan.seconds:.1f} s"))
            self._scan = None
            self._upkeep.due = True
            self._write_backoff.over()

    def _say_excluded(self, images: int) -> None:
        if images and images != self._counts.excluded:
            one = "image is in a place that is" if images == 1 else "images are in places that are"
            self._emit(
                Event(
                    "note",
                    f"{images:,} {one} left out now; imgclust watch --once "
                    "--remove-excluded takes them out",
                )
            )
        self._counts.excluded = images

    def _take_requests(self) -> None:
        now = self._clock.monotonic()
        if now - self._polled < POLL_S:
            return
        self._polled = now
        self._look_at_rest()
        requests = self._catalog.requests.oldest(_TURN)
        if not requests:
            return
        self._polled = 0.0
        self._reload()
        self._tracker.at_requests(requests, self._scope)

    def _look_at_rest(self) -> None:
        """Stop reading, or begin again, as a person or the clock says."""
        found = current_pause(self._catalog, wall=self._clock.wall())
        if found.sentence != self._pause.sentence:
            if found:
                self._pipeline.forget()  # read again afterwards: it stops within a second
            said = f"{found.sentence}; new files are queued" if found else "files are read again"
            self._emit(Event("note", said))
        self._pause = found

    # What the parts ask of the loop

    def _write(self, outcomes: Sequence[Outcome], embedded: Embedded) -> None:
        paths = {outcome.path for outcome in outcomes}
        scanning = self._scan is not None
        began = self._clock.monotonic()
        if self._faults.commit(
            outcomes,
            lambda part: self._committer.write(part, embedded, self._scope, scanning=scanning),
            lambda: self._committer.works(self._scope, but=paths),
        ):
            self._advanced = self._clock.monotonic()
        self._parts.monitor.took("commit", self._clock.monotonic() - began)
        self._write_backoff.over()
        fresh: dict[int, Decoded] = {}
        for outcome in outcomes:
            if isinstance(outcome, Decoded) and key_of(outcome.sha256) in embedded.vectors:
                fresh.setdefault(key_of(outcome.sha256), outcome)
        self._upkeep.after_commit(list(fresh.values()))
        self._upkeep.due = True

    def forget(self) -> None:
        """Drop the current work after a refusal: the catalog still says what is to be done.

        Paths that events named, and the scan that runs, are known here only: they are kept.
        """
        self._later.clear()
        self._pipeline.forget()
        self._tracker.rows.forget()

    def _trouble(self, code: str, sentence: str) -> None:
        self._inbox.put(Event("trouble", sentence))


class Inbox:
    """A queue that a burst of file events does not fill."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._dropped = False
        self.put = self._queue.put
        self.empty = self._queue.empty

    def put_path(self, path: bytes) -> None:
        """Take a path that an event names, if there is room."""
        if self._queue.qsize() < _MOST:
            self._queue.put(path)
        else:
            self._dropped = True

    def overflowed(self) -> bool:
        """True once after a path was dropped."""
        if not self._dropped:
            return False
        self._dropped = False  # what is dropped before the caller's scan is found by it
        return True

    def get(self) -> Message:
        """The next message, however long it takes to come."""
        return self._queue.get()

    def take(self, most: int, *, timeout_s: float) -> Iterator[Message]:
        """The next messages, at most so many; waits for the first."""
        try:
            yield self._queue.get(timeout=timeout_s) if timeout_s else self._queue.get_nowait()
            for _ in range(most - 1):
                yield self._queue.get_nowait()
        except queue.Empty:
            return
