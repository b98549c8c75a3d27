"""The inbox of the ingest loop: whatever other threads have to say, in order."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from imgclust.images import Outcome
from imgclust.ingest.embedding_thread import Done
from imgclust.ingest.events import Event

# Paths that events name are not taken when so much waits (some MB): a scan finds what is dropped.
_MOST = 50_000

# A path that needs a look, an outcome with its generation, an embedded batch, words for people, or
# the reason why the network cannot be loaded.
Message = bytes | tuple[int, Outcome] | Done | Event | BaseException


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
