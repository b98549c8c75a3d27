"""The ingest loop: one thread that owns the catalog's writes, fed by a single inbox."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgclust.catalog import Catalog, key_of
from imgclust.config import Settings
from imgclust.embedding import Embedder
from imgclust.errors import EmbeddingError, StoppedError, StorageError
from imgclust.images import Decoded, Outcome, Unreadable
from imgclust.ingest.batching import Batch, Done, EmbeddingThread
from imgclust.ingest.committing import Assigner, Committing, Embedded
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.looking import Looking
from imgclust.ingest.place import Clock, Disk, LocalDisk, Place, SystemClock
from imgclust.ingest.scanning import Scan
from imgclust.progress import Progress, StopFlag, silent
from imgclust.reconcile import Look

# Most inbox messages handled in one turn, so that commits are not kept waiting by a burst.
_TURN = 500
# How long a turn waits for news when there is none.
_WAIT_S = 0.05
# How long a half-full batch waits for more pictures while the network is idle.
_LINGER_S = 0.1
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


class Decoder(Protocol):
    """The worker pool that claims and decodes."""

    def submit(self, path: bytes, done: Callable[[Outcome], None]) -> None: ...

    def close(self) -> None: ...


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

    # Work in memory, begun anew by `_forget_work`: paths to look at, paths in the pipeline,
    # outcomes to commit, the batch that forms, batches that wait, the batch of each content.
    _paths: dict[bytes, None]
    _claimed: set[bytes]
    _decoding: int
    _ready: list[Outcome]
    _forming: Batch
    _forming_since: float
    _full: deque[Batch]
    _embedding_now: dict[int, Batch]

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
        self._batch = settings.embedding.batch
        self._ours = tuple(ours)
        self._network = frozenset(network)
        self._emit = emit
        self._progress = progress
        self._stop = stop or StopFlag()
        self._clock = parts.clock
        # Enough to keep the workers busy while two batches wait; each place holds one picture.
        self._capacity = 2 * workers + 3 * self._batch
        self._counts = Counts()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._embedding = EmbeddingThread(parts.open_embedder, self._inbox.put, self._inbox.put)
        self._events: Events | None = None
        self._scan: Scan | None = None
        self._scan_due = 0.0
        self._polled = 0.0
        self._checked = 0.0
        self._changed = True
        self._waiting = False
        self._advanced = self._clock.monotonic()
        self._generation = 0
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
        self._forget_work()
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
            self._embedding.close()
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
            self._embedding.warm(trial=True)
            if self._parts.events is not None:
                self._events = self._parts.events(self._inbox.put, self._trouble)
                self._events.start()
        self._scan_due = 0.0 if scan else float("inf")

    def _finish(self, *, complete: bool) -> None:
        """Commit what is embedded already, then leave everything in step."""
        self._embedding.abandon()
        while self._embedding.in_flight:
            self._turn(self._inbox.get())
        self._commit()
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
        self._claim()
        self._batch_up()
        self._commit()
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
            and not self._claimed
            and self._inbox.empty()
            and not self._paths
            and self._catalog.observations.next_due() is None
            and not self._catalog.observations.requests(1)
        )

    def _given_up(self) -> bool:
        """True when all that is left has kept changing, or being busy, for too long."""
        now = self._clock.monotonic()
        if self._scan is not None or self._scan_due <= now or self._embedding.in_flight:
            self._advanced = now
        if self._decoding or now - self._advanced < _PATIENCE_S + sum(self._rules.retry_s):
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
            self._embedding.reset()
            raise message
        elif isinstance(message, Done):
            self._embedding.in_flight -= 1
            if message.batch.generation == self._generation:
                self._embedded(message)
        else:
            generation, outcome = message
            if generation == self._generation:
                self._decoded(outcome)

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

    # The pipeline

    def _claim(self) -> None:
        free = self._capacity - len(self._claimed)
        if free <= 0:
            return
        due = self._catalog.observations.due(self._clock.monotonic(), free + len(self._claimed))
        for known in [known for known in due if known.path not in self._claimed][:free]:
            if not self._looking.at_ripe(known, self._place):
                continue
            self._claimed.add(known.path)
            self._decoding += 1
            self._parts.decoder.submit(known.path, self._receiver(self._generation))

    def _receiver(self, generation: int) -> Callable[[Outcome], None]:
        return lambda outcome: self._inbox.put((generation, outcome))

    def _decoded(self, outcome: Outcome) -> None:
        self._decoding -= 1
        if not isinstance(outcome, Decoded):
            self._ready.append(outcome)
            return
        key = key_of(outcome.sha256)
        if key in self._embedding_now:
            self._embedding_now[key].outcomes.append(outcome)
        elif self._catalog.contents.has_embedding(key, self._recipe):
            self._ready.append(outcome)
        else:
            self._embedding.warm()
            self._form(key, outcome)

    def _form(self, key: int, decoded: Decoded) -> None:
        if not self._forming.pixels:
            self._forming_since = self._clock.monotonic()
        self._forming.pixels[key] = decoded
        self._forming.outcomes.append(decoded)
        self._embedding_now[key] = self._forming
        if len(self._forming.pixels) >= self._batch:
            self._full.append(self._forming)
            self._forming = Batch(generation=self._generation)

    def _batch_up(self) -> None:
        """Keep one batch waiting behind the one in hand; a lone picture waits for nobody."""
        if self._forming.pixels and not self._full and not self._embedding.in_flight:
            lingered = self._clock.monotonic() - self._forming_since >= _LINGER_S
            if lingered or not self._decoding:
                self._full.append(self._forming)
                self._forming = Batch(generation=self._generation)
        while self._full and self._embedding.in_flight < 2:
            self._embedding.submit(self._full.popleft())

    def _embedded(self, done: Done) -> None:
        for key in done.batch.pixels:
            self._embedding_now.pop(key, None)
        if isinstance(done.error, EmbeddingError):
            self._spoiled(done.batch, done.error)
        elif done.error is None:
            self._write(done.batch.outcomes, done.embedded)
        elif not isinstance(done.error, StoppedError):
            raise done.error

    def _spoiled(self, batch: Batch, error: EmbeddingError) -> None:
        """One picture spoils a batch: embed each alone; the one that fails again is set aside."""
        if len(batch.pixels) > 1:
            for key, decoded in batch.pixels.items():
                same = [
                    o for o in batch.outcomes if isinstance(o, Decoded) and key_of(o.sha256) == key
                ]
                alone = Batch({key: decoded}, list(same), self._generation)
                self._embedding_now[key] = alone
                self._full.append(alone)
            return
        for outcome in batch.outcomes:
            assert isinstance(outcome, Decoded)
            self._ready.append(
                Unreadable(outcome.path, outcome.stat, outcome.sha256, str(error), empty=False)
            )

    def _commit(self) -> None:
        if self._ready:
            ready, self._ready = self._ready, []
            self._write(ready, Embedded())

    def _write(self, outcomes: Sequence[Outcome], embedded: Embedded) -> None:
        if self._committing.write(outcomes, embedded, self._place):
            self._advanced = self._clock.monotonic()
        self._waiting = False
        self._claimed.difference_update(outcome.path for outcome in outcomes)
        fresh: dict[int, Decoded] = {}
        for outcome in outcomes:
            if isinstance(outcome, Decoded) and key_of(outcome.sha256) in embedded.vectors:
                fresh.setdefault(key_of(outcome.sha256), outcome)
        self._parts.after_commit(list(fresh.values()))
        self._changed = True

    def _forget_work(self) -> None:
        """Drop what is in memory: the catalog still says what is to be done."""
        self._generation += 1
        self._later.clear()
        self._paths = {}
        self._claimed = set()
        self._decoding = 0
        self._ready = []
        self._forming = Batch(generation=self._generation)
        self._forming_since = 0.0
        self._full = deque()
        self._embedding_now = {}

    def _keep_in_step(self) -> None:
        now = self._clock.monotonic()
        if now - self._checked < (_POLL_S if not self._changed else 0.0):
            return
        due = self._catalog.observations.next_due()
        busy = bool(self._claimed) or (due is not None and due <= now)
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
