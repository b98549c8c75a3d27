"""The loop of ingest over a real folder; decoder, embedder, events and clock are stood in for."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from imgclust.catalog.contents import key_of
from imgclust.catalog.images import Image
from imgclust.collection import images
from imgclust.collection.context import Context
from imgclust.config import Settings
from imgclust.failpoints import arm
from imgclust.images.reader import Outcome, claim
from imgclust.ingest import loop
from imgclust.ingest.environment import LocalDisk
from imgclust.ingest.events import Event, IngestResult
from imgclust.ingest.loop import Ingest
from imgclust.ingest.upkeep import Dependencies
from imgclust.progress import StopFlag
from tests.fakes import FakeEmbedder, FakeEvents, RefusingCatalog
from tests.pictures import encoded, photo


def picture(seed: int) -> bytes:
    """A small PNG, another for each seed."""
    return encoded(photo(24, 16, seed), "PNG")


class TickingClock:
    """A monotonic clock that moves by being asked; the wall clock is the real one and more."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += 0.1
        return self.now

    def wall(self) -> float:
        return time.time() + self.now - 1000.0


class SynchronousDecoder:
    """Claims in this process, at once; `instead` and `after` may meddle."""

    def __init__(self) -> None:
        self.claimed: list[bytes] = []
        self.after: Callable[[bytes], None] = lambda path: None
        self.instead: Callable[[bytes], Outcome | None] = lambda path: None

    def submit(self, path: bytes, done: Callable[[Outcome], None]) -> None:
        self.claimed.append(path)
        outcome = self.instead(path) or claim(path, thumbnail_px=0)
        self.after(path)
        done(outcome)

    def close(self) -> None:
        """Nothing to stop."""


class Counting(FakeEmbedder):
    """Does not count the black picture that a watcher tries the network with."""

    def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        vectors = super().embed(pixels)
        if not pixels.any():
            self.calls.pop()
        return vectors


class Assigned:
    """An assigner that only notes its keys."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def prepare(self) -> None:
        pass

    def assign(self, keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        assert len(keys) == len(vectors)
        self.keys.extend(keys)


class World:
    """A folder, a catalog, and ingests over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.path = folder / "catalog.sqlite3"
        self.catalog = RefusingCatalog(self.path)
        self.embedder: FakeEmbedder = Counting()
        self.decoder = SynchronousDecoder()
        self.assigned = Assigned()
        self.clock = TickingClock()
        self.events = FakeEvents()
        self.said: list[Event] = []
        self.stop = StopFlag()
        self.disk = LocalDisk()
        self.network: set[int] = set()
        self.more: dict[str, Any] = {}
        self._ingests: list[Ingest] = []
        self.root(self.drop)

    def root(self, folder: Path, kind: str = "watched") -> int:
        with self.catalog.transaction():
            return self.catalog.roots.put(os.fsencode(folder), kind).id

    def ingest(self, *, emit: Callable[[Event], None] = lambda event: None) -> Ingest:
        def say(event: Event) -> None:
            self.said.append(event)
            emit(event)

        def events(on_path: Callable[[bytes], None], on_trouble: object) -> FakeEvents:
            self.events.on_path = on_path
            return self.events

        made = Ingest(
            self.catalog,
            Dependencies(
                decoder=self.decoder,
                open_embedder=lambda: self.embedder,
                assigner=self.assigned,
                after_commit=self.more.get("after_commit", lambda fresh: None),
                links=self.more.get("links", lambda: True),
                clusters=self.more.get("clusters", lambda *, empty, over: None),
                events=events,
                disk=self.disk,
                clock=self.clock,
            ),
            recipe=self.embedder.recipe.name,
            settings=Settings(),
            ours=[os.fsencode(self.drop / "ours")],
            network=self.network,
            emit=say,
            stop=self.stop,
        )
        self._ingests.append(made)
        return made

    def close(self) -> None:
        """End what a test has begun: an open embedding thread keeps the process from ending."""
        for one in self._ingests:
            one.close()
        self.catalog.close()

    def idle(self, ingest: Ingest) -> None:
        """Turn until all is in, however long threads take."""
        end = time.monotonic() + 120
        while not ingest.idle:
            assert time.monotonic() < end, "it does not come to rest"
            ingest.step(timeout_s=0.01)

    def once(self, *, scan: bool = True) -> IngestResult:
        """All that is there goes in; says only what this run said."""
        self.said.clear()
        self.decoder.claimed.clear()
        return self.ingest().run(once=True, scan=scan)

    def watch(self, until: Callable[[Event], bool]) -> list[Event]:
        """Run as a watcher until an event says that it is enough."""
        self.said.clear()

        def emit(event: Event) -> None:
            if until(event):
                self.stop.set()

        self.ingest(emit=emit).run(once=False)
        return self.said

    def write(self, name: str, content: bytes) -> Path:
        path = self.drop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def pictures(self, count: int) -> list[Path]:
        return [self.write(f"{seed:03d}.png", picture(seed)) for seed in range(count)]

    def image(self, path: Path) -> Image:
        found = self.catalog.images.at(os.fsencode(path))
        assert found is not None, f"no image at {path}"
        return found

    def state(self, path: Path) -> str | None:
        found = self.catalog.observations.at(os.fsencode(path))
        return None if found is None else found.state

    def kinds(self, kind: str) -> list[Event]:
        return [event for event in self.said if event.kind == kind]

    @property
    def embedded(self) -> int:
        return sum(self.embedder.calls)

    def accept(self) -> int:
        return len(images.take_out_missing(cast(Context, SimpleNamespace(catalog=self.catalog))))

    def remove(self, path: Path, *, copies: bool = False) -> None:
        here: Any = SimpleNamespace(catalog=self.catalog)
        images.take_out(here, images.chosen(here, [str(path)]), copies=copies)


def holds(world: World, path: Path, seed: int) -> bool:
    """True when the image at the path has the content of this picture."""
    return world.image(path).content == key_of(hashlib.sha256(picture(seed)).digest())


class Waits(StopFlag):
    """Notes how long it was waited for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.is_set()


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world for one test; what it armed is disarmed after it."""
    monkeypatch.setattr(loop, "_WAIT_S", 0.002)  # the clock moves by itself
    made = World(folder)
    try:
        yield made
    finally:
        arm("")
        made.close()
