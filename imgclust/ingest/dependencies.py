"""What the ingest loop is put together from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgclust.embedding.recipe import Embedder
from imgclust.images.pool import Decoder
from imgclust.images.read_results import Decoded
from imgclust.ingest.commit import Assigner
from imgclust.ingest.environment import Clock, Disk, LocalDisk, SystemClock
from imgclust.progress import Monitor


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
