"""The embedding thread: loads the network once, embeds batch after batch beside the loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imgclust.embedding.recipe import Embedder
from imgclust.errors import EmbeddingError, StoppedError
from imgclust.failpoints import passing
from imgclust.images.reader import Decoded, Outcome
from imgclust.ingest.commit import Embedded
from imgclust.ingest.faults import is_unexpected


@dataclass
class Batch:
    """Contents that are embedded together, by key, and every outcome that waits for them."""

    pixels: dict[int, Decoded] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    generation: int = 0


@dataclass(frozen=True)
class Done:
    """A batch that came back: embedded, or with the error that stopped it.

    `spoiled`: the network still embeds other pictures, so that the error is that of the batch.
    `seconds`: how long the network took.
    """

    batch: Batch
    embedded: Embedded
    error: BaseException | None = None
    spoiled: bool = False
    seconds: float = 0.0


class EmbeddingThread:
    """Runs the embedder away from the loop; TensorFlow frees the interpreter while it computes.

    Parameters
    ----------
    open_embedder
        Loads the network; called once, in the thread, when the first batch or `warm` asks for it.
    done
        Called in the thread with each finished batch; it should only enqueue.
    failed
        Called in the thread when the network cannot be loaded; the thread ends then, and the
        next batch tries again once `reset` was called.
    """

    def __init__(
        self,
        open_embedder: Callable[[], Embedder],
        done: Callable[[Done], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._open = open_embedder
        self._done = done
        self._failed = failed
        self._todo: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._embedder: Embedder | None = None
        self._good: npt.NDArray[np.uint8] | None = None
        self._abandoned = False
        self._trial = False
        self.in_flight = 0

    def warm(self, *, trial: bool = False) -> None:
        """Start loading the network now; `trial` embeds a black picture when nothing waits.

        The first batch takes seconds longer than the next: an arrival must not pay for that.
        """
        self._trial = self._trial or trial
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="imgclust-embedding")
            self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Embed a batch; `done` will be called."""
        self.in_flight += 1
        self._todo.put(batch)
        self.warm()

    def abandon(self) -> None:
        """Finish the current batch; the others come back as stopped."""
        self._abandoned = True

    def close(self) -> None:
        """Finish the current batch and end the thread."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()
            self._thread = None

    def reset(self) -> None:
        """Forget the batches after a failure; the next one loads the network again."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._todo = queue.SimpleQueue()
        self.in_flight = 0

    def _run(self) -> None:
        try:
            self._embedder = self._open()
            if self._trial and self._todo.empty():
                side = self._embedder.recipe.side
                self._embedder.embed(np.zeros((1, side, side, 3), np.uint8))
        except BaseException as error:  # the loop decides
            self._failed(error)
            return
        while (batch := self._todo.get()) is not None:
            if self._abandoned:
                self._done(Done(batch, Embedded(), StoppedError("stopped")))
                continue
            try:
                began = time.monotonic()
                embedded = self._embed(batch)
                self._done(Done(batch, embedded, seconds=time.monotonic() - began))
            except BaseException as error:  # one bad batch must not end the thread
                spoiled = is_unexpected(error) and self._works(error)
                self._done(Done(batch, Embedded(), error, spoiled))

    def _works(self, error: BaseException) -> bool:
        """Whether the network embeds a picture that it has embedded before, or a black one."""
        if isinstance(error, EmbeddingError):  # it says itself that a picture is to blame
            return True
        try:
            assert self._embedder is not None
            side = self._embedder.recipe.side
            good = self._good
            self._embedder.embed(np.zeros((1, side, side, 3), np.uint8) if good is None else good)
        except BaseException:
            return False
        return True

    def _embed(self, batch: Batch) -> Embedded:
        assert self._embedder is not None
        keys: Sequence[int] = list(batch.pixels)
        pixels = np.stack([batch.pixels[key].pixels for key in keys])
        vectors = self._embedder.embed(pixels)
        self._good = pixels[:1].copy()
        passing("embedded")
        return Embedded(dict(zip(keys, vectors, strict=True)), self._embedder.provenance)
