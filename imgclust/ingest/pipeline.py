"""The pipeline: claimed paths are decoded, gathered into batches, embedded, committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.embedding.recipe import Embedder
from imgclust.errors import EmbeddingError, StoppedError
from imgclust.images.pool import Decoder
from imgclust.images.reader import Decoded, Outcome, Unreadable
from imgclust.ingest.commit import Embedded
from imgclust.ingest.embedding_thread import Batch, Done, EmbeddingThread
from imgclust.ingest.environment import Clock, Scope
from imgclust.ingest.faults import Faults, is_unexpected, sentence
from imgclust.ingest.path_tracker import PathTracker
from imgclust.progress import Monitor

# How long a half-full batch waits for more pictures while the network is idle.
_LINGER_S = 0.1


class Pipeline:
    """What is between a settled path and its commit; used by the loop's thread alone.

    Nothing here needs to last: the catalog still says of every path that it is to be read.

    Parameters
    ----------
    enqueue
        Puts outcomes (with their generation), finished batches and the reason why the network
        cannot be loaded into the loop's inbox; called in other threads.
    write
        Commits outcomes, with the new embeddings among them.
    capacity
        Most paths on their way; each holds one decoded picture.
    monitor
        Hears how long stages take.

    Attributes
    ----------
    claimed
        Paths on their way.
    decoding
        How many of them the workers have.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        recipe: str,
        tracker: PathTracker,
        faults: Faults,
        clock: Clock,
        decoder: Decoder,
        open_embedder: Callable[[], Embedder],
        enqueue: Callable[[tuple[int, Outcome] | Done | BaseException], None],
        write: Callable[[Sequence[Outcome], Embedded], None],
        batch: int,
        capacity: int,
        monitor: Monitor | None = None,
    ) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._tracker = tracker
        self._faults = faults
        self._clock = clock
        self._decoder = decoder
        self._enqueue = enqueue
        self._write = write
        self._took = (monitor or Monitor()).took
        self._batch = batch
        self._capacity = capacity
        self.thread = EmbeddingThread(open_embedder, enqueue, enqueue)
        self._generation = 0
        self._given = 0.0
        self.claimed: set[bytes] = set()
        self._full: deque[Batch] = deque()
        self._embedding_now: dict[int, Batch] = {}
        self.forget()

    def forget(self) -> None:
        """Drop everything that is on its way."""
        self._generation += 1
        self.claimed.clear()
        self._full.clear()
        self._embedding_now.clear()
        self.decoding = 0
        self._ready: list[Outcome] = []
        self._forming = Batch(generation=self._generation)
        self._forming_since = 0.0

    def claim(self, scope: Scope) -> None:
        """Have the workers read what has settled, as much as there is room for."""
        free = self._capacity - len(self.claimed)
        if free <= 0:
            return
        due = self._catalog.observations.due(self._clock.monotonic(), free + len(self.claimed))
        for known in [known for known in due if known.path not in self.claimed][:free]:
            try:
                if self._tracker.at_ripe(known, scope):
                    self._decoder.submit(known.path, self._receiver(self._generation))
                    self.claimed.add(known.path)
                    self.decoding += 1
            except BaseException as error:
                if not is_unexpected(error):
                    raise
                self._faults.read(known.path, error, doing="reading it")

    def _receiver(self, generation: int) -> Callable[[Outcome], None]:
        return lambda outcome: self._enqueue((generation, outcome))

    def decoded(self, generation: int, outcome: Outcome) -> None:
        """Process the result of a claim; what was claimed before `forget` is dropped."""
        if generation != self._generation:
            return
        self.decoding -= 1
        try:
            self._take(outcome)
        except BaseException as error:
            if not is_unexpected(error):
                raise
            self._faults.read(outcome.path, error, doing="taking its pixels")
            self.claimed.discard(outcome.path)

    def _take(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Decoded):
            self._ready.append(outcome)
            return
        self._took("decode", outcome.decode_s)
        key = key_of(outcome.sha256)
        if key in self._embedding_now:
            self._embedding_now[key].outcomes.append(outcome)
        elif self._catalog.contents.has_embedding(key, self._recipe) or self._is_out(outcome):
            self._ready.append(outcome)
        else:
            self.thread.warm()
            self._form(key, outcome)

    def _is_out(self, decoded: Decoded) -> bool:
        """True for a file that needs no embedding, as a person took its content out."""
        if not self._catalog.removals.among([decoded.sha256]):
            return False
        known = self._catalog.observations.at(decoded.path)
        return self._catalog.contents.get(key_of(decoded.sha256)) is None and not (
            known is not None and known.asked
        )

    def _form(self, key: int, decoded: Decoded) -> None:
        if not self._forming.pixels:
            self._forming_since = self._clock.monotonic()
        self._forming.pixels[key] = decoded
        self._forming.outcomes.append(decoded)
        self._embedding_now[key] = self._forming
        if len(self._forming.pixels) >= self._batch:
            self._full.append(self._forming)
            self._forming = Batch(generation=self._generation)

    def batch_up(self) -> None:
        """Keep one batch waiting behind the current one; a lone picture waits for nobody."""
        if self._forming.pixels and not self._full and not self.thread.in_flight:
            lingered = self._clock.monotonic() - self._forming_since >= _LINGER_S
            if lingered or not self.decoding:
                self._full.append(self._forming)
                self._forming = Batch(generation=self._generation)
        while self._full and self.thread.in_flight < 2:
            if not self.thread.in_flight:
                self._given = self._clock.monotonic()
            self.thread.submit(self._full.popleft())

    @property
    def waiting_s(self) -> float:
        """For how long the network has a batch, since the last one came back; 0 where none is."""
        return self._clock.monotonic() - self._given if self.thread.in_flight else 0.0

    def embedded(self, done: Done) -> None:
        """Take a batch that came back, and commit it.

        Raises what the embedder raised, but for a picture that spoils its batch.
        """
        self.thread.in_flight -= 1
        self._given = self._clock.monotonic()
        if done.seconds:
            self._took("embed", done.seconds)
        if done.batch.generation != self._generation:
            return
        for key in done.batch.pixels:
            self._embedding_now.pop(key, None)
        if done.error is None:
            self._write_batch(done.batch.outcomes, done.embedded)
        elif done.spoiled:
            self._spoiled(done.batch, done.error)
        elif not isinstance(done.error, StoppedError):
            raise done.error

    def _spoiled(self, batch: Batch, error: BaseException) -> None:
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
        ours = isinstance(error, EmbeddingError)
        reason = str(error) if ours else sentence(error, "embedding it")
        for outcome in batch.outcomes:
            assert isinstance(outcome, Decoded)
            self._ready.append(
                Unreadable(outcome.path, outcome.stat, outcome.sha256, reason, empty=False)
            )

    def commit(self) -> None:
        """Commit what needs no embedding."""
        if self._ready:
            ready, self._ready = self._ready, []
            self._write_batch(ready, Embedded())

    def _write_batch(self, outcomes: Sequence[Outcome], embedded: Embedded) -> None:
        self._write(outcomes, embedded)
        self.claimed.difference_update(outcome.path for outcome in outcomes)
