"""One batch of everything that can come: what is written, what is said, what is left alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.config import Watch
from imgclust.errors import StorageError
from imgclust.failpoints import arm
from imgclust.images.filestat import FileStat, file_stat
from imgclust.images.reader import Decoded, Outcome, Skipped
from imgclust.ingest.commit import Committer, Embedded
from imgclust.ingest.environment import LocalDisk, Scope, SystemClock
from imgclust.ingest.events import Counts, Event

RECIPE = '{"recipe":1}'


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.sqlite3") as opened:
        yield opened
    arm("")


class World:
    """A catalog with one root, and what was said and assigned."""

    def __init__(self, catalog: Catalog, root: Path) -> None:
        self.catalog = catalog
        self.said: list[Event] = []
        self.assigned: list[int] = []
        with catalog.transaction():
            self.root = catalog.roots.put(bytes(root), "watched").id
        self.place = Scope(tuple(catalog.roots.all()), (), frozenset(), 0.0)
        self.counts = Counts()
        self.committing = Committer(
            catalog,
            recipe=RECIPE,
            rules=Watch(),
            disk=LocalDisk(),
            clock=SystemClock(),
            assigner=self,
            counts=self.counts,
            emit=self.said.append,
        )

    def prepare(self) -> None:
        pass

    def assign(self, keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        assert [int(vector[0] * 64) for vector in vectors] == [self.numbers[key] for key in keys]
        self.assigned.extend(keys)

    def see(self, *paths: bytes) -> None:
        for path in paths:  # a file that is away could have moved
            Path(os.fsdecode(path)).touch()
        with self.catalog.transaction():
            for path in paths:
                self.catalog.observations.see(path, self.root, stat(path), due=0.0)

    def write(self, outcomes: Sequence[Outcome], *numbers: int) -> dict[bytes, Event]:
        """Commit outcomes; contents with these numbers are embedded now."""
        self.said.clear()
        self.numbers = {key_of(digest(number)): number for number in numbers}
        vectors = {key: np.full(4, number / 64, np.float32) for key, number in self.numbers.items()}
        self.committing.write(outcomes, Embedded(vectors, "test"), self.place)
        return {event.path or b"": event for event in self.said}


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def stat(path: bytes) -> FileStat:
    return file_stat(os.lstat(path))


def decoded(path: bytes, number: int, seen: FileStat | None = None) -> Decoded:
    pixels = np.zeros((1, 1, 3), np.uint8)
    return Decoded(path, seen or stat(path), digest(number), 8, 6, "PNG", pixels, None, 0.01)


def test_new_copied_replaced_and_twice_in_one_batch(catalog: Catalog, tmp_path: Path) -> None:
    world = World(catalog, tmp_path)
    folder = bytes(tmp_path)
    old, copy, new, twice, again, no, changed = (
        folder + b"/" + name
        for name in (b"old", b"copy", b"new", b"twice", b"again", b"no", b"changed")
    )
    world.see(old)
    first = world.write([decoded(old, 1)], 1)[old]
    assert (first.kind, first.image) == ("ingested", 1)

    world.see(old, copy, new, twice, again, no, changed)
    with catalog.transaction():
        catalog.observations.quarantine(new, "was unreadable", tries=4)
        catalog.observations.see(new, world.root, stat(new), due=0.0)
    said = world.write(
        [
            decoded(twice, 4),
            decoded(copy, 1),
            decoded(new, 3),
            Skipped(no, stat(no), ".txt"),
            decoded(old, 2),
            decoded(again, 4),
            decoded(changed, 5, FileStat(9, 9, 9, 9, 9)),
        ],
        2,
        3,
        4,
        5,
    )
    kinds = {path: event.kind for path, event in said.items()}
    assert kinds == {
        twice: "ingested",
        copy: "moved",
        new: "ingested",
        no: "skipped",
        old: "ingested",
        again: "reused",
    }
    assert [event.path for event in world.said] == [twice, copy, new, no, old, again]
    images = {image.path: image for image in catalog.images.all()}
    assert {path: image.content for path, image in images.items()} == {
        old: key_of(digest(2)),
        copy: key_of(digest(1)),
        new: key_of(digest(3)),
        twice: key_of(digest(4)),
        again: key_of(digest(4)),
    }
    assert images[copy].id == 1, "an id follows its content"
    assert {event.path: event.image for event in world.said if event.image} == {
        path: image.id for path, image in images.items()
    }
    assert len({image.id for image in images.values()}) == 5
    assert sorted(world.assigned) == sorted(key_of(digest(one)) for one in (1, 2, 3, 4))
    assert catalog.observations.quarantined() == []
    states = {path: seen.state for path, seen in catalog.observations.among(kinds).items()}
    assert states == dict.fromkeys([old, copy, new, twice, again], "done") | {no: "skipped"}
    still = catalog.observations.at(changed)
    assert still is not None
    assert still.state == "seen"
    assert still.stat == (9, 9, 9, 9, 9)
    assert {image.id for image in images.values()} <= set(catalog.ledger.queued_links(99)[1])
    keys, vectors = catalog.contents.all_embeddings(RECIPE)
    numbers = {key_of(digest(one)): one for one in (1, 2, 3, 4)}
    assert {int(key): int(row[0] * 64) for key, row in zip(keys, vectors, strict=True)} == numbers
    assert [world.counts[word] for word in ("ingested", "reused", "skipped")] == [3, 2, 1]


def test_a_copy_of_a_content_that_leaves_in_the_same_batch(
    catalog: Catalog, tmp_path: Path
) -> None:
    world = World(catalog, tmp_path)
    one, two = bytes(tmp_path) + b"/one", bytes(tmp_path) + b"/two"
    world.see(one)
    world.write([decoded(one, 1)], 1)
    world.see(one, two)
    world.write([decoded(one, 2), decoded(two, 1)], 2)
    assert {image.path: image.id for image in catalog.images.all()} == {two: 1, one: 2}
    assert catalog.contents.count() == 2
    assert (world.counts["ingested"], world.counts["reused"]) == (1, 1)


def test_a_refused_commit_writes_and_says_nothing(catalog: Catalog, tmp_path: Path) -> None:
    world = World(catalog, tmp_path)
    path = bytes(tmp_path) + b"/one"
    world.see(path)

    def refuse(keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        raise StorageError("full")

    world.committing._assigner = type(
        "Refusing", (), {"prepare": lambda self: None, "assign": staticmethod(refuse)}
    )()
    with pytest.raises(StorageError):
        world.write([decoded(path, 1)], 1)
    assert world.said == []
    assert catalog.images.count() == 0
    assert catalog.contents.count() == 0
    assert catalog.contents.sequence() == 0
