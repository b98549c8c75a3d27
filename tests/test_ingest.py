"""The real loop on a real folder; decoder, embedder and clock are stood in for."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from imgclust.catalog import Catalog, Image, key_of
from imgclust.catalog.roots import Roots
from imgclust.collection import Collection, overseeing
from imgclust.config import Settings
from imgclust.errors import EmbeddingError, StorageError
from imgclust.failpoints import arm
from imgclust.images import Again, Decoded, Died, FileStat, Outcome, ReadFailed, claim
from imgclust.ingest import (
    Event,
    Ingest,
    IngestResult,
    LocalDisk,
    Parts,
    inbox,
    looking,
    loop,
    pause,
    root_pass,
    upkeep,
)
from imgclust.progress import StopFlag
from tests.fakes import FakeEmbedder, RefusingCatalog
from tests.pictures import encoded, photo


@pytest.fixture(autouse=True)
def _no_failpoints() -> Iterator[None]:
    yield
    arm("")


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
    """Claims in this process, at once; `before` and `after` may meddle."""

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

    def assign(self, keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        assert len(keys) == len(vectors)
        self.keys.extend(keys)


class Events:
    """A source of events that the test plays."""

    def __init__(self) -> None:
        self.lost = False
        self.on_path: Callable[[bytes], None] = lambda path: None

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def check(self) -> None: ...

    def overflowed(self) -> bool:
        lost, self.lost = self.lost, False
        return lost


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
        self.events = Events()
        self.said: list[Event] = []
        self.stop = StopFlag()
        self.disk = LocalDisk()
        self.network: set[int] = set()
        self.root(self.drop)

    def root(self, folder: Path, kind: str = "watched") -> int:
        with self.catalog.transaction():
            return self.catalog.roots.put(os.fsencode(folder), kind).id

    def ingest(self, *, emit: Callable[[Event], None] = lambda event: None) -> Ingest:
        def say(event: Event) -> None:
            self.said.append(event)
            emit(event)

        def events(on_path: Callable[[bytes], None], on_trouble: object) -> Events:
            self.events.on_path = on_path
            return self.events

        return Ingest(
            self.catalog,
            Parts(
                decoder=self.decoder,
                open_embedder=lambda: self.embedder,
                assigner=self.assigned,
                after_commit=lambda fresh: None,
                links=lambda: True,
                clusters=lambda *, empty, over: None,
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
        return len(
            overseeing.accept_missing(cast(Collection, SimpleNamespace(catalog=self.catalog)))
        )

    def remove(self, path: Path) -> None:
        here: Any = SimpleNamespace(catalog=self.catalog)
        overseeing.remove(cast(Collection, here), str(path))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(loop, "_WAIT_S", 0.002)  # the clock moves by itself
    made = World(tmp_path)
    yield made
    made.catalog.close()


def test_new_images_are_embedded_once_and_said_after_the_commit(world: World) -> None:
    paths = world.pictures(40)
    there: list[bool] = []

    def emit(event: Event) -> None:
        if event.kind == "ingested" and event.path is not None:
            with Catalog(world.path) as other:
                there.append(other.images.at(event.path) is not None)

    result = world.ingest(emit=emit).run(once=True)
    assert (result.seen, result.ingested, result.reused, result.unchanged) == (40, 40, 0, 0)
    assert there == [True] * 40
    assert world.embedded == 40
    assert sorted(world.assigned.keys) == list(world.catalog.contents.keys())
    assert [world.state(path) for path in paths] == ["done"] * 40
    again = world.once()
    assert (again.seen, again.unchanged, again.ingested) == (40, 40, 0)
    assert world.decoder.claimed == []


def test_equal_bytes_are_embedded_once(world: World) -> None:
    for name in ("a.png", "b.png", "sub/c.png"):
        world.write(name, picture(1))
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (1, 2, 1)
    world.write("later.png", picture(1))
    assert (world.once().reused, world.embedded) == (1, 1)
    assert world.catalog.contents.count() == 1
    assert world.catalog.images.count() == 4


def test_a_rename_keeps_id_and_content_and_embeds_nothing(world: World) -> None:
    first, second = world.pictures(2)
    world.once()
    before = world.image(first)
    after = world.drop / "sub" / "renamed.png"
    after.parent.mkdir()
    first.rename(after)
    result = world.once()
    assert world.image(after).id == before.id
    assert world.image(after).content == before.content
    assert world.catalog.images.at(os.fsencode(first)) is None
    assert world.state(first) is None
    assert world.embedded == 2
    assert (result.reused, result.missing) == (1, 0)
    assert world.image(second).state == "present"


def test_a_move_to_another_root_keeps_the_id(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    number = world.root(other)
    path, _ = world.pictures(2)
    world.once()
    before = world.image(path)
    moved = other / path.name
    shutil.copy2(path, moved)  # another inode, as between two disks
    path.unlink()
    world.once()
    assert (world.image(moved).id, world.image(moved).root) == (before.id, number)
    assert world.embedded == 2


def test_an_image_that_moved_hides_no_missing_one(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    world.root(other)
    paths = world.pictures(4)
    world.once()
    paths[0].unlink()
    assert world.once().missing == 1
    (other / "back.png").write_bytes(picture(0))  # missing since the run before, moved in this one
    paths[1].unlink()
    paths[2].rename(other / "moved.png")
    result = world.once()
    assert (result.missing, result.reused) == (1, 2)
    assert world.once().missing == 0


def test_what_leaves_and_returns_within_a_run_is_not_missing(world: World) -> None:
    path, _ = world.pictures(2)
    world.once()
    away = world.folder / "away.png"
    scans = 0

    def until(event: Event) -> bool:
        nonlocal scans
        scans += event.kind == "scanned"
        if event.kind == "scanned" and scans == 1:
            path.rename(away)
            world.events.on_path(os.fsencode(path))
        elif event.kind == "missing":
            away.rename(path)
            world.events.on_path(os.fsencode(path))
        return event.kind in {"back", "touched"}

    world.said.clear()
    ingest = world.ingest(emit=lambda event: world.stop.set() if until(event) else None)
    assert ingest.run(once=False).missing == 0


def test_a_renamed_folder_keeps_every_id(world: World) -> None:
    paths = [world.write(f"old/{seed}.png", picture(seed % 3)) for seed in range(6)]
    world.once()
    before = {path.name: world.image(path).id for path in paths}
    (world.drop / "old").rename(world.drop / "new")
    world.once()
    after = {path.name: world.image(world.drop / "new" / path.name).id for path in paths}
    assert after == before
    assert world.embedded == 3


def test_a_copy_of_a_present_image_is_another_image(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    shutil.copy2(path, world.drop / "copy.png")
    world.once()
    assert world.image(world.drop / "copy.png").id != world.image(path).id


def test_one_of_two_missing_images_is_moved_by_its_inode(world: World) -> None:
    one, two = world.write("one.png", picture(1)), world.write("two.png", picture(1))
    world.once()
    number = world.image(two).id
    one.unlink()
    two.rename(world.drop / "three.png")
    world.once()
    assert world.image(world.drop / "three.png").id == number


def test_a_file_replaced_in_place_is_embedded_again_and_its_old_content_leaves(
    world: World,
) -> None:
    (path,) = world.pictures(1)
    world.once()
    before = world.image(path)
    temporary = world.drop / ".new"
    temporary.write_bytes(picture(7))
    temporary.rename(path)
    result = world.once()
    after = world.image(path)
    assert (after.id, result.ingested, world.embedded) == (before.id, 1, 2)
    assert after.content != before.content
    assert world.catalog.contents.get(before.content) is None
    changes = world.catalog.contents.changes_after(0, 100)
    assert [(content, action) for _, content, action in changes] == [
        (before.content, "add"),
        (after.content, "add"),
        (before.content, "remove"),
    ]


def test_a_replacement_of_the_same_size_and_mtime_is_noticed(world: World) -> None:
    contents = [encoded(photo(9, 9, seed), "BMP") for seed in (1, 2)]
    assert len(contents[0]) == len(contents[1])
    path = world.write("a.bmp", contents[0])
    stat = path.stat()
    world.once()
    before = world.image(path).content
    path.write_bytes(contents[1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    world.once()
    assert world.image(path).content != before


def test_a_touched_file_is_read_but_not_embedded(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    os.utime(path)
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (0, 1, 1)
    assert world.kinds("touched")


def test_an_image_becomes_no_image(world: World) -> None:
    (path,) = world.pictures(1)
    kept = world.write("kept.png", picture(9))
    world.once()
    before = world.image(path)
    path.write_bytes(b"not a picture any more")
    world.once()
    assert world.catalog.images.at(os.fsencode(path)) is None
    assert world.catalog.contents.get(before.content) is None
    assert world.state(path) == "quarantined"
    assert world.image(kept)


def test_a_content_whose_last_image_leaves_in_the_same_batch_is_embedded_again(
    world: World,
) -> None:
    path = world.write("a", picture(1))
    world.once()
    path.write_bytes(b"no picture")
    other = world.write("b", picture(1))
    world.once()
    assert (world.state(path), world.image(other).state) == ("skipped", "present")
    assert (world.catalog.contents.count(), world.embedded) == (1, 2)


def test_a_deleted_image_is_missing_and_gone_after_three_scans(world: World) -> None:
    path, kept = world.pictures(2)
    world.once()
    number, content = world.image(path).id, world.image(path).content
    path.unlink()
    for scan in (1, 2):
        result = world.once()
        assert (world.image(path).state, world.image(path).misses) == ("missing", scan)
        assert result.missing == (1 if scan == 1 else 0)
    world.once()
    assert world.kinds("gone")[0].image == number
    assert world.catalog.images.at(os.fsencode(path)) is None
    assert world.catalog.contents.get(content) is None
    assert world.state(path) is None
    assert world.image(kept).state == "present"
    again = world.write("again.png", picture(0))
    world.once()
    assert world.image(again).id > number


def test_a_missing_image_that_comes_back_costs_nothing(world: World) -> None:
    path, _ = world.pictures(2)
    world.once()
    number = world.image(path).id
    away = world.folder / "away.png"
    path.rename(away)
    world.once()
    away.rename(path)  # its ctime is another now: it is read, and not embedded
    world.once()
    assert (world.image(path).id, world.image(path).state) == (number, "present")
    assert (world.image(path).misses, world.embedded) == (0, 2)


@pytest.mark.parametrize(("vanished", "held"), [(9, False), (10, True)])
def test_a_mass_vanishing_is_held_until_it_is_accepted(
    world: World, vanished: int, held: bool
) -> None:
    paths = world.pictures(20)
    world.once()
    for path in paths[:vanished]:
        path.unlink()
    for _ in range(4):
        result = world.once()
        assert bool(result.held) is held
    assert world.catalog.images.count() == (20 if held else 11)
    if held:
        assert world.accept() == vanished
        assert world.catalog.images.count() == 20 - vanished
        assert not world.once().held


@pytest.mark.parametrize("to", ["drop", "a-root-before", "later-root"])
def test_a_folder_that_moves_between_two_runs_is_not_held(world: World, to: str) -> None:
    world.drop.joinpath("old").mkdir()
    paths = [world.drop / "old" / f"{seed}.png" for seed in range(20)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    world.once()
    ids = [world.image(path).id for path in paths]
    (world.folder / to).mkdir(exist_ok=True)
    world.root(world.folder / to)
    new = world.folder / to / "new"
    paths[0].parent.rename(new)
    assert not world.once().held
    assert [world.image(new / path.name).id for path in paths] == ids
    assert (world.embedded, world.catalog.images.count()) == (20, 20)


@pytest.mark.parametrize("to", ["drop", "a-root-before"])
def test_a_folder_that_moves_while_a_scan_is_on_is_not_held(
    world: World, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setattr(root_pass, "_SLICE", 1)
    old, new = world.drop / "old", world.folder / to / "a-new"
    old.mkdir()
    world.pictures(1)
    (world.folder / to).mkdir(exist_ok=True)
    if to != "drop":
        world.root(world.folder / to)
    paths = [old / f"{seed}.png" for seed in range(20, 40)]
    for seed, path in enumerate(paths, 20):
        path.write_bytes(picture(seed))
    world.once()
    ids = [world.image(path).id for path in paths]
    walk = root_pass.RootPass.walk

    def moving(self: root_pass.RootPass) -> bool:
        done = walk(self)
        if old.exists() and self.files:
            old.rename(new)
        return done

    monkeypatch.setattr(root_pass.RootPass, "walk", moving)
    result = world.once()
    assert (result.held, result.seen, result.unchanged) == ((), 21, 1)
    assert [world.image(new / path.name).id for path in paths] == ids


def test_a_folder_that_is_copied_and_lost_is_held(world: World) -> None:
    paths = world.pictures(20)
    world.once()
    for path in paths[:12]:  # the bytes are the same, and no file has moved
        shutil.copy2(path, path.with_name(f"copy-of-{path.name}"))
        path.unlink()
    assert world.once().held
    assert {world.image(path).state for path in paths[:12]} == {"missing"}


def test_two_paths_with_one_hash_hide_a_missing_file_in_one_scan_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = world.pictures(3)
    world.once()
    paths[0].unlink()
    real, salts = root_pass._hash, set()

    def colliding(path: bytes, salt: bytes) -> int:
        salts.add(salt)
        return 7 if len(salts) == 1 and path != os.fsencode(paths[2]) else real(path, salt)

    monkeypatch.setattr(root_pass, "_hash", colliding)
    world.once()
    assert world.image(paths[0]).state == "present"
    world.once()
    assert world.image(paths[0]).state == "missing"
    assert len(salts) == 2


def test_accepting_goes_on_after_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overseeing, "_CHUNK", 5)
    paths = world.pictures(20)
    world.once()
    for path in paths[:12]:
        path.unlink()
    world.once()
    remove, calls = Catalog.remove_image, []

    def refuse(self: Catalog, image: Image) -> bool:
        calls.append(image.id)
        if len(calls) == 8:
            raise StorageError("full")
        return remove(self, image)

    monkeypatch.setattr(Catalog, "remove_image", refuse)
    with pytest.raises(StorageError):
        world.accept()
    assert world.catalog.images.count() == 15  # whole chunks only
    assert [root.held is not None for root in world.catalog.roots.all()] == [True]
    assert world.accept() == 7
    assert world.catalog.images.count() == 8
    assert [root.held for root in world.catalog.roots.all()] == [None]
    assert world.catalog.observations.pending() == 0
    assert not world.once().held


def test_a_held_root_is_said_once_and_freed_when_its_images_are_back(world: World) -> None:
    paths = world.pictures(12)
    world.once()
    away = world.folder / "away"
    shutil.copytree(world.drop, away)
    for path in paths:
        path.unlink()
    world.once()
    assert [event.sentence.partition(";")[0] for event in world.kinds("held")] == [
        "the folder is empty"
    ]
    world.once()
    assert not world.kinds("held")
    ids = {path: world.image(path).id for path in paths}
    for path in paths:
        shutil.copy2(away / path.name, path)
    assert not world.once().held
    assert {path: world.image(path).id for path in paths} == ids
    assert {world.image(path).state for path in paths} == {"present"}
    assert world.embedded == 12


def test_a_root_that_is_away_keeps_everything_and_reads_nothing_again(world: World) -> None:
    paths = world.pictures(3)
    text, bad = world.write("a.txt", b"text"), world.write("bad.png", b"bad")
    world.once()
    world.remove(paths[0])
    away = world.folder / "away"
    world.drop.rename(away)
    for _ in range(4):
        assert world.once().held == ((os.fsencode(world.drop), "the folder is gone"),)
    away.rename(world.drop)
    result = world.once()
    assert world.decoder.claimed == []
    assert (result.held, world.catalog.images.count()) == ((), 2)
    assert {world.image(path).state for path in paths[1:]} == {"present"}
    assert world.state(paths[0]) == "removed"
    assert (world.state(text), world.state(bad)) == ("skipped", "quarantined")


def test_a_change_that_was_not_read_before_the_root_left_is_read_when_it_is_back(
    world: World,
) -> None:
    paths = world.pictures(3)
    world.once()
    paths[0].write_bytes(picture(40))
    paths[1].write_bytes(b"no picture any more")
    away = world.folder / "away"

    def unplug(claimed: bytes) -> None:
        if world.drop.exists():
            world.drop.rename(away)

    world.decoder.instead = lambda path: Again(path, "it is no longer there")
    world.decoder.after = unplug
    world.once()
    assert world.once().held
    assert {world.state(path) for path in paths} == {"missing"}
    away.rename(world.drop)
    world.decoder.instead = lambda path: None
    world.decoder.after = lambda path: None
    world.once()
    assert holds(world, paths[0], 40)
    assert (world.state(paths[1]), world.state(paths[2])) == ("quarantined", "done")


def test_a_removed_image_stays_away_until_asked_for_or_changed(world: World) -> None:
    path, other = world.pictures(2)
    world.once()
    world.remove(path)
    world.once()
    assert world.catalog.images.at(os.fsencode(path)) is None
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), world.image(other).root)
    world.once(scan=False)
    assert world.image(path).state == "present"
    world.remove(path)
    path.write_bytes(picture(5))
    world.once()
    assert world.image(path).state == "present"


def test_a_folder_that_cannot_be_listed_says_nothing_about_its_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [world.write(f"locked/{seed}.png", picture(seed)) for seed in range(3)]
    outside = world.write("outside.png", picture(8))
    world.once()
    real = os.scandir

    def refusing(path: Any) -> Any:
        if os.fsencode(path).endswith(b"/locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for path in [*inside, outside]:
        path.unlink()
    for _ in range(3):
        world.once()
    assert world.kinds("trouble")[0].path == os.fsencode(world.drop / "locked")
    assert {world.image(path).state for path in inside} == {"present"}
    gone = [event.path for event in world.kinds("gone")]
    assert gone == [os.fsencode(outside)], "what is not below the trouble is as always"


def test_nested_roots_take_each_file_once(world: World) -> None:
    inner = world.drop / "inner"
    inner.mkdir()
    number = world.root(inner)
    outer_file, inner_file = (
        world.write("a.png", picture(1)),
        world.write("inner/b.png", picture(2)),
    )
    result = world.once()
    assert (result.seen, result.ingested) == (2, 2)
    assert world.image(inner_file).root == number
    assert world.image(outer_file).root != number


def test_a_root_inside_another_that_came_later_doubles_nothing(world: World) -> None:
    inner_file = world.write("inner/b.png", picture(2))
    world.write("inner/c.png", picture(3))
    world.once()
    number = world.image(inner_file).id
    inner = world.root(world.drop / "inner")
    world.once()
    assert (world.catalog.images.count(), world.image(inner_file).id) == (2, number)
    assert world.image(inner_file).root == inner, "it is lost or kept with the inner root now"
    inner_file.unlink()
    world.write("a.png", picture(1))
    for _ in range(3):
        world.once()
    assert world.catalog.images.count() == 2


def test_our_own_folders_and_excluded_names_are_left_alone(world: World) -> None:
    for name in ("ours/links/x.png", ".hidden/x.png", ".x.png", "@eaDir/x.png", "x.png.part"):
        world.write(name, picture(1))
    world.once()
    assert world.catalog.images.count() == 0


# Added files


def request(world: World, path: Path, root: Path) -> None:
    number = world.root(root, "added")
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), number)


def test_added_files_are_roots_of_their_own_that_the_scan_checks(world: World) -> None:
    away = world.folder / "away"
    away.mkdir()
    paths = [away / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
        request(world, path, path)
    (away / "not-asked-for.png").write_bytes(picture(9))
    result = world.once(scan=False)
    assert (result.seen, result.ingested) == (3, 3)
    assert not world.catalog.requests.oldest(10)
    paths[0].unlink()
    for _ in range(3):
        world.once()
    assert world.catalog.images.at(os.fsencode(paths[0])) is None
    assert world.catalog.images.count() == 2
    away.rename(world.folder / "elsewhere")
    for _ in range(4):
        assert len(world.once().held) == 2
    assert world.catalog.images.count() == 2


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_an_added_folder_that_is_lost_is_held(world: World, how: str) -> None:
    away = world.folder / "away"
    away.mkdir()
    for seed in range(3):
        (away / f"{seed}.png").write_bytes(picture(seed))
        request(world, away / f"{seed}.png", away)
    world.once(scan=False)
    away.rename(world.folder / "elsewhere")
    if how == "empty":
        away.mkdir()
    for _ in range(4):
        assert world.once().held == ((os.fsencode(away), f"the folder is {how}"),)
    assert world.catalog.images.count() == 3


def test_an_added_file_inside_a_watched_root_belongs_to_it(world: World) -> None:
    path = world.write("a.png", picture(1))
    request(world, path, path)
    world.once(scan=False)
    assert world.image(path).root == 1


def test_a_request_for_an_absent_file_is_answered(world: World) -> None:
    request(world, world.folder / "never.png", world.folder / "never.png")
    result = world.once(scan=False)
    assert (result.seen, result.ingested) == (1, 0)
    assert not world.catalog.requests.oldest(10)


# Retries


def test_a_young_damaged_file_is_tried_four_times_and_then_set_aside(world: World) -> None:
    path = world.write("bad.png", picture(1)[:40])
    moments: list[float] = []
    world.decoder.after = lambda path: moments.append(world.clock.now)
    result = world.once()
    waits = np.diff(moments)
    assert len(moments) == 4
    assert (waits >= [1.0, 5.0, 25.0]).all()
    assert (waits < [6.0, 12.0, 40.0]).all()
    assert result.quarantined == 1
    row = world.catalog.observations.quarantined_at(os.fsencode(path))
    assert row is not None
    assert (row.tries, row.reason) == (4, world.kinds("quarantined")[0].sentence)
    assert world.once().unchanged == 1
    assert world.decoder.claimed == []
    path.write_bytes(picture(1))
    assert world.once().ingested == 1
    assert world.catalog.observations.count_quarantined() == 0


def test_an_old_damaged_file_is_set_aside_at_once(world: World) -> None:
    world.write("bad.png", b"bad")
    world.clock.now += 100
    world.once()
    assert len(world.decoder.claimed) == 1


def test_an_empty_file_that_is_filled_later_is_taken(world: World) -> None:
    path = world.write("a.png", b"")

    def fill(claimed: bytes) -> None:
        if len(world.decoder.claimed) == 2:
            path.write_bytes(picture(3))

    world.decoder.after = fill
    result = world.once()
    assert (result.ingested, result.quarantined) == (1, 0)
    assert world.image(path)


def test_a_file_that_changes_behind_its_reader_is_read_again(world: World) -> None:
    path = world.write("a.png", picture(1))

    def meddle(claimed: bytes) -> None:
        if len(world.decoder.claimed) == 1:
            path.write_bytes(picture(2))
            world.events.on_path(claimed)

    world.decoder.after = meddle
    world.watch(lambda event: event.kind in {"ingested", "replaced"} and holds(world, path, 2))
    assert holds(world, path, 2)
    assert world.catalog.contents.count() == 1


def holds(world: World, path: Path, seed: int) -> bool:
    import hashlib

    return world.image(path).content == key_of(hashlib.sha256(picture(seed)).digest())


def test_a_file_that_kills_its_worker_three_times_is_set_aside(world: World) -> None:
    bad, good = world.write("bad.png", picture(1)), world.write("good.png", picture(2))
    stat = FileStat(*(0,) * 5)
    world.decoder.instead = lambda path: (
        Died(path, stat, "the decode worker was killed") if b"bad" in path else None
    )
    result = world.once()
    assert (result.ingested, result.quarantined) == (1, 1)
    assert world.decoder.claimed.count(os.fsencode(bad)) == 3
    assert (world.state(bad), world.state(good)) == ("quarantined", "done")


EIO = "the system reports: input/output error"


@pytest.mark.parametrize("others", [0, 30])
def test_a_file_that_cannot_be_read_is_tried_three_times_and_set_aside(
    world: World, others: int
) -> None:
    bad = world.write("bad.png", picture(77))
    world.pictures(others)
    moments: list[float] = []

    def fail(path: bytes) -> Outcome | None:
        if b"bad" not in path:
            return None
        moments.append(world.clock.now)
        return ReadFailed(path, EIO)

    world.decoder.instead = fail
    result = world.once()
    assert (result.ingested, result.quarantined) == (others, 1)
    row = world.catalog.observations.quarantined_at(os.fsencode(bad))
    assert row is not None
    assert (row.reason, row.tries) == (EIO, 3)
    waits = np.diff(moments)
    assert len(waits) == 2
    assert (waits >= [1.0, 5.0]).all()
    assert world.kinds("waiting") == []


@pytest.mark.parametrize("first", [0, 6])
def test_a_disk_that_cannot_be_read_sets_nothing_aside_and_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    world.pictures(first)
    if first:
        world.once()
    paths = world.pictures(first + 8)[first:]
    other = world.folder / "other"
    other.mkdir()
    world.root(other)
    (other / "a.png").write_bytes(picture(88))
    broken = True
    in_drop = os.fsencode(world.drop) + b"/"
    real = world.disk.reads
    monkeypatch.setattr(
        world.disk,
        "reads",
        lambda path: real(path) and not (broken and path.startswith(in_drop)),
        raising=False,
    )
    failures: list[float] = []

    def fail(path: bytes) -> Outcome | None:
        nonlocal broken
        if not path.startswith(in_drop) or not broken:
            return None
        failures.append(world.clock.now)
        if world.clock.now - failures[0] > 300:
            broken = False
        return ReadFailed(path, EIO)

    world.decoder.instead = fail
    world.watch(lambda event: world.catalog.images.count() == first + 9)
    assert world.catalog.observations.count_quarantined() == 0
    assert [(event.path, EIO in event.sentence) for event in world.kinds("waiting")] == [
        (os.fsencode(world.drop), True)
    ]
    assert [event.path for event in world.kinds("note")] == [os.fsencode(world.drop)]
    assert {world.state(path) for path in paths} == {"done"}
    rounds = [wait for wait in np.diff(failures) if wait > 1.5]
    assert rounds[-1] > 50, "the waits grow"
    assert len(failures) < (first + 8) * 12


def test_only_the_disk_itself_proves_that_it_can_be_read(world: World) -> None:
    path = os.fsencode(world.write("a.png", picture(1)))
    assert LocalDisk().reads(path)
    assert not LocalDisk().reads(path + b"x")
    assert not LocalDisk().reads(os.fsencode(world.drop))


@pytest.mark.parametrize("why", ["busy", "growing"])
def test_once_does_not_wait_for_ever(world: World, why: str) -> None:
    restless, good = world.write("restless.png", b""), world.write("good.png", picture(2))
    if why == "busy":
        world.decoder.instead = lambda path: (
            Again(path, "another program has it open for writing") if b"rest" in path else None
        )
    else:  # a log file, say
        real, size = world.clock.monotonic, iter(range(1, 10**9))

        def monotonic() -> float:
            os.truncate(restless, next(size))
            return real()

        world.clock.monotonic = monotonic  # type: ignore[method-assign]
    result = world.once()
    assert (result.ingested, result.quarantined) == (1, 0)
    assert (world.state(restless), world.state(good)) == ("seen", "done")
    assert "1 files keep changing" in world.kinds("trouble")[0].sentence


def test_what_is_no_image_is_read_once_and_counted_by_suffix(world: World) -> None:
    world.write("a.txt", b"text")
    world.write("b.TXT", b"text")
    world.write("c", b"text")
    result = world.once()
    assert result.skipped == 3
    assert world.catalog.observations.skipped() == {"": 1, ".txt": 2}
    assert world.once().unchanged == 3
    assert world.decoder.claimed == []
    (world.drop / "c").unlink()
    world.once()
    assert world.catalog.observations.skipped() == {".txt": 2}


class Spoiler(Counting):
    """Refuses a batch that holds a picture whose first pixel is pure magenta."""

    def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if (pixels[:, 150, 150] == (255, 0, 255)).all(axis=1).any():
            raise EmbeddingError("the network returned NaN")
        return super().embed(pixels)


def test_a_picture_that_spoils_its_batch_is_set_aside_alone(world: World) -> None:
    from PIL import Image as Pillow

    world.embedder = Spoiler()
    paths = world.pictures(10)
    bad = world.write("bad.png", encoded(Pillow.new("RGB", (8, 8), (255, 0, 255)), "PNG"))
    result = world.once()
    assert (result.ingested, result.quarantined) == (10, 1)
    assert {world.state(path) for path in paths} == {"done"}
    row = world.catalog.observations.quarantined_at(os.fsencode(bad))
    assert row is not None
    assert row.reason == "the network returned NaN"


# A disk that refuses


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "embedded"])
@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_watcher_waits_for_the_disk_and_goes_on_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str, error: str
) -> None:
    monkeypatch.setattr(pause, "_FIRST_S", 0.0)
    paths = world.pictures(5)
    arm(f"{point}={error}@1")
    said = world.watch(
        lambda event: world.catalog.images.count() == 5 and event.kind in {"ingested", "scanned"}
    )
    waiting = [event.sentence for event in said if event.kind == "waiting"]
    assert len(waiting) == 1
    assert "waiting until it works again" in waiting[0]
    assert {world.state(path) for path in paths} == {"done"}
    assert world.catalog.contents.count() == 5


class Waits(StopFlag):
    """Notes how long it was waited for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.is_set()


def test_while_the_disk_is_full_nothing_is_scanned_and_the_waits_grow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pictures(5)
    stop = world.stop = Waits()
    full = False

    def allows() -> bool:  # the first image makes the disk full; ten tries later there is room
        nonlocal full
        full = full or world.catalog.images.count() > 0
        return not full or len(stop.waits) > 10

    world.catalog.allows = allows
    said = world.watch(lambda event: world.catalog.images.count() == 5 and event.kind == "note")
    assert stop.waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert [event.kind for event in said if event.kind != "ingested"] == [
        "scanned",
        "waiting",
        "note",
    ]
    assert [event.kind for event in said].count("ingested") == 5
    history = [sentence for _, kind, sentence in world.catalog.events(10) if kind == "waited"]
    assert history == ["went on after: the disk is full"]


@pytest.mark.parametrize("seed", range(4))
def test_a_scan_that_is_refused_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(root_pass, "_SLICE", 2)
    monkeypatch.setattr(pause, "_FIRST_S", 0.0)
    old = world.pictures(7)
    world.once()
    fresh = world.pictures(9)[7:]
    old[0].unlink()
    listed = 0
    walk = world.disk.scan

    def scan(*args: Any, **options: Any) -> Iterator[tuple[bytes, FileStat]]:
        nonlocal listed
        listed += 1
        return walk(*args, **options)

    monkeypatch.setattr(world, "disk", SimpleNamespace(**methods(world.disk) | {"scan": scan}))
    writes = itertools.count()
    generator = random.Random(seed)
    world.catalog.allows = lambda: not next(writes) or generator.random() < 0.5

    def until(event: Event) -> bool:
        if event.kind == "scanned":  # the end of the run is not what is tried here
            world.catalog.allows = lambda: True
        return event.kind == "scanned"

    result = world.watch(until)
    assert world.catalog.refused > 2
    assert listed == 1
    assert None not in {world.state(path) for path in fresh}, "a slice was lost"
    assert [event.kind for event in result].count("missing") == 1
    world.stop = StopFlag()
    assert world.once().missing == 0
    assert {world.state(path) for path in old[1:]} == {"done"}


def misses(world: World, paths: Sequence[Path]) -> list[int]:
    return [world.image(path).misses for path in paths]


def test_a_kill_between_two_parts_of_the_end_of_a_scan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_pass, "_ROWS", 2)
    paths = world.pictures(7)
    world.once()
    for path in paths[:5]:
        path.unlink()
    arm("scan.missed=eio@1")
    with pytest.raises(StorageError):
        world.once()
    assert misses(world, paths) == [1, 1, 0, 0, 0, 0, 0]
    assert [world.state(path) for path in paths] == ["missing"] * 2 + ["done"] * 5
    arm("")
    assert world.once().missing == 3
    assert misses(world, paths) == [2, 2, 1, 1, 1, 0, 0]
    for left in (5, 2, 2):
        world.once()
        assert world.catalog.images.count() == left


def test_a_hold_is_decided_before_any_image_is_called_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_pass, "_ROWS", 3)
    paths = world.pictures(14)
    world.once()
    for path in paths[:12]:
        path.unlink()
    arm("scan.missed=eio@1")
    with pytest.raises(StorageError):
        world.once()
    assert len(world.catalog.images.missing()) == 3
    assert [root.held for root in world.catalog.roots.all()] == ["12 of 14 images vanished at once"]
    assert [kind for _, kind, _ in world.catalog.events(9)] == ["held"]
    arm("")
    for _ in range(4):
        world.once()
        assert world.catalog.images.count_missing() == 12
        assert misses(world, paths) == [0] * 14
        assert world.catalog.roots.all()[0].held
    assert [kind for _, kind, _ in world.catalog.events(9)] == ["held"]
    assert world.accept() == 12
    world.once()
    assert (world.catalog.images.count(), world.catalog.roots.all()[0].held) == (2, None)


def test_what_comes_back_or_moves_before_its_part_of_a_scan_is_not_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_pass, "_ROWS", 1)
    first, back, other, _ = world.pictures(4)
    world.once()
    before = world.image(other).id
    content = back.read_bytes()
    for path in (first, back):
        path.unlink()
    moved = other.rename(other.with_name("moved.png"))

    def emit(event: Event) -> None:
        if event.kind == "missing" and not back.exists():
            back.write_bytes(content)

    world.said.clear()
    world.ingest(emit=emit).run(once=True)
    said = [event.path for event in world.said if event.kind == "missing"]
    assert said[0] == os.fsencode(first)
    assert os.fsencode(back) not in said
    assert world.image(moved).id == before
    assert misses(world, (first, back, moved)) == [1, 0, 0]


def test_no_transaction_of_a_scan_grows_with_what_it_finds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SLICE", "_ROWS"):
        monkeypatch.setattr(root_pass, name, 3)
    paths = world.pictures(10)
    texts = [world.write(f"{number}.txt", b"no image") for number in range(20)]
    world.once()
    for path in (*paths[1:], *texts):
        path.unlink()
    ingest = world.ingest()
    ingest.begin(scan=True, watch=False)
    changed = [world.catalog._connection.total_changes()]

    def note() -> bool:
        changed.append(world.catalog._connection.total_changes())
        return True

    world.catalog.allows = note
    for _ in range(100):
        ingest.step(timeout_s=0)
    assert world.catalog.images.count_missing() == 9
    assert not world.catalog.observations.skipped()
    assert np.diff(changed).max() <= 2 * 3


def test_a_hold_that_is_refused_is_decided_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop = Waits()
    paths = world.pictures(14)
    world.once()
    for path in paths[:12]:
        path.unlink()
    with world.catalog.transaction():  # as events say it
        world.catalog.images.miss([world.image(path).id for path in paths[:12]], scans=0)
        world.catalog.observations.lose(map(os.fsencode, paths[:12]))
    refused: list[int] = []
    hold = Roots.hold

    def refuse(self: Roots, root: int, reason: str | None) -> None:
        if reason and not refused:
            refused.append(root)
            raise StorageError("full")
        hold(self, root, reason)

    monkeypatch.setattr(Roots, "hold", refuse)
    world.watch(lambda event: event.kind == "scanned")
    assert refused
    assert [root.held for root in world.catalog.roots.all()] == ["12 of 14 images vanished at once"]


def methods(one: object) -> dict[str, Any]:
    return {name: getattr(one, name) for name in dir(one) if not name.startswith("_")}


def test_paths_that_events_named_outlive_a_refusal(world: World) -> None:
    world.stop = Waits()
    late = world.drop / "late.png"
    world.pictures(1)

    def until(event: Event) -> bool:
        if event.kind == "scanned":
            late.write_bytes(picture(9))
            world.events.on_path(os.fsencode(late))
            world.catalog.allows = lambda: world.catalog.refused > 2
        return event.path == os.fsencode(late) and event.kind == "ingested"

    assert [event.kind for event in world.watch(until)].count("scanned") == 1
    assert world.catalog.refused == 3


def test_answers_of_before_a_refusal_are_not_counted(world: World) -> None:
    ingest = world.ingest()
    path = os.fsencode(world.write("a.png", picture(1)))
    ingest.forget()
    ingest._pipeline.decoded(0, claim(path))
    ingest._pipeline.decoded(1, claim(path))
    assert ingest._pipeline.decoding == 0
    ingest._pipeline.commit()
    assert world.catalog.images.count() == 0


def test_a_batch_is_committed_whole_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(keys: Sequence[int], vectors: object) -> None:
        raise StorageError("the disk is full")

    world.pictures(5)
    with monkeypatch.context() as patch:
        patch.setattr(world.assigned, "assign", refuse)
        with pytest.raises(StorageError):
            world.once()
    assert (world.catalog.images.count(), world.catalog.contents.count()) == (0, 0)
    assert world.once().ingested == 5


def test_what_lay_below_a_deleted_folder_is_looked_at_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_ROWS", 2)
    paths = [
        world.write(f"below/{one}/{number}.png", picture(number))
        for number, one in enumerate("aabbc")
    ]
    kept = world.write("kept.png", picture(9))
    world.once()
    shutil.rmtree(world.drop / "below")
    ingest = world.ingest()
    seen: list[int] = []
    left = {os.fsencode(world.drop / "below"): b"", os.fsencode(kept): b""}
    while left:
        with world.catalog.transaction():
            left = ingest._looking.at_paths(left, ingest._place)
        seen.append(sum(world.image(path).state == "missing" for path in paths))
    assert seen == [2, 3, 5, 5]  # the other path has its turn in between
    assert world.image(kept).state == "present"


def test_a_deleted_folder_is_looked_at_again_after_a_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_ROWS", 2)
    for number in range(5):
        world.write(f"below/{number}.png", picture(number))
    world.once()
    world.stop = Waits()

    def until(event: Event) -> bool:
        if event.kind == "scanned" and (world.drop / "below").exists():
            shutil.rmtree(world.drop / "below")
            world.events.on_path(os.fsencode(world.drop / "below"))
        if [one.kind for one in world.said].count("missing") == 2:
            world.catalog.allows = lambda: world.catalog.refused > 2
        return [one.kind for one in world.said].count("missing") == 5

    said = world.watch(until)
    assert [event.kind for event in said].count("missing") == 5
    assert world.catalog.refused == 3


def test_what_is_gone_leaves_a_few_at_a_time_and_all_of_it_in_one_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SLICE", 2)
    paths = world.pictures(6)
    world.once()
    for path in paths[1:]:
        path.unlink()
    for _ in range(2):
        world.once()
    ingest = world.ingest()
    ingest.begin(scan=True, watch=False)
    counts = [6]
    while counts[-1] > 1:
        ingest.step(timeout_s=0.0)
        counts.append(world.catalog.images.count())
    assert [count for count, _ in itertools.groupby(counts)] == [6, 4, 2, 1]
    again = world.pictures(6)
    world.once()
    for path in again[1:]:
        path.unlink()
    for _ in range(3):
        world.once()
    assert world.catalog.images.count() == 1


def test_a_watcher_that_is_stopped_leaves_the_rest_to_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SLICE", 2)
    paths = world.pictures(6)
    world.once()
    for path in paths[1:]:
        path.unlink()
    for _ in range(2):
        world.once()
    world.watch(lambda event: event.kind == "gone")
    assert world.catalog.images.count() == 4
    world.stop = StopFlag()
    world.watch(lambda event: world.catalog.images.count() == 1)
    assert world.catalog.images.count() == 1


def test_the_row_of_an_image_whose_disk_is_away_is_not_taken_over(
    world: World, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    world.root(other)
    (other / "a.png").write_bytes(picture(1))
    world.once()
    number = world.image(other / "a.png").id
    other.rename(tmp_path / "away")
    world.write("b.png", picture(1))
    world.once()
    assert world.image(other / "a.png").id == number
    assert world.image(world.drop / "b.png").id != number


def test_an_added_file_that_changes_is_found_by_the_scan(world: World, tmp_path: Path) -> None:
    path = tmp_path / "single.png"
    path.write_bytes(picture(1))
    root = world.root(path, "added")
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), root)
    assert world.once(scan=False).ingested == 1
    path.write_bytes(picture(2))
    assert world.once().ingested == 1
    assert holds(world, path, 2)


@pytest.mark.parametrize("point", ["commit.before", "embedded"])
def test_once_fails_when_the_disk_refuses_and_the_next_run_goes_on(
    world: World, point: str
) -> None:
    world.pictures(5)
    arm(f"{point}=enospc@1")
    with pytest.raises(StorageError, match="the disk is full"):
        world.once()
    assert world.catalog.images.count() == 0
    assert world.catalog.observations.pending() == 5
    assert world.once().ingested == 5


def test_a_stop_commits_what_is_embedded_and_the_next_run_takes_the_rest(world: World) -> None:
    world.pictures(80)
    world.watch(lambda event: event.kind == "ingested")
    first = world.catalog.images.count()
    assert 0 < first < 80
    assert world.embedded == first
    world.stop = StopFlag()
    assert world.once().ingested == 80 - first
    assert world.embedded == 80


# Events


def test_an_event_is_enough(world: World) -> None:
    late = world.drop / "late.png"

    def until(event: Event) -> bool:
        if event.kind == "scanned" and not late.exists():
            late.write_bytes(picture(1))
            world.events.on_path(os.fsencode(late))
            world.events.on_path(os.fsencode(late))
        return event.kind == "ingested"

    world.watch(until)
    assert world.image(late)
    assert len(world.kinds("scanned")) == 1


def test_a_lost_event_is_found_by_the_scan_that_an_overflow_asks_for(world: World) -> None:
    late = world.drop / "late.png"

    def until(event: Event) -> bool:
        if event.kind == "scanned" and not late.exists():
            late.write_bytes(picture(1))
            world.events.lost = True
        return event.kind == "ingested"

    world.watch(until)
    assert world.image(late)
    assert world.clock.now < 1200, "not by the rescan, which is due after 300 s"


def test_a_burst_of_events_is_dropped_and_found_by_a_scan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_MOST", 5)
    late = [world.drop / f"late-{number}.png" for number in range(9)]

    def until(event: Event) -> bool:
        if event.kind == "scanned" and not late[0].exists():
            for number, path in enumerate(late):
                path.write_bytes(picture(number))
                world.events.on_path(os.fsencode(path))
        return len(world.kinds("ingested")) == len(late)

    world.watch(until)
    assert world.clock.now < 1200, "not by the rescan, which is due after 300 s"


class LeavingDisk(LocalDisk):
    """A disk that goes away in the middle of each scan, and is back after it."""

    def __init__(self) -> None:
        self.away = False
        self.scans = 0

    def scan(self, *args: Any, **options: Any) -> Iterator[tuple[bytes, FileStat]]:
        self.scans += 1
        yield from itertools.islice(super().scan(*args, **options), 3)
        self.away = True

    def stat(self, path: bytes) -> FileStat | None:
        return None if self.away else super().stat(path)

    def identity(self, path: bytes) -> tuple[int, int] | None:
        found = super().identity(path)
        return (77, 2) if self.away else found


def test_a_disk_that_goes_in_the_middle_of_a_scan_makes_nothing_missing(world: World) -> None:
    paths = world.pictures(5)
    world.once()
    for _ in range(4):
        leaving = world.disk = LeavingDisk()
        result = world.once()
        assert (leaving.scans, leaving.away, result.missing) == (1, True, 0)
    assert {world.image(path).state for path in paths} == {"present"}
    world.disk = LocalDisk()
    assert world.once().unchanged == 5


class SlowDisk(LocalDisk):
    """Listing a root takes a while, and is noted."""

    def __init__(self, clock: TickingClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.began: list[float] = []

    def scan(self, *args: Any, **options: Any) -> Iterator[tuple[bytes, FileStat]]:
        self.began.append(self.clock.now)
        yield from super().scan(*args, **options)
        self.clock.now += self.seconds


@pytest.mark.parametrize(
    ("network", "seconds", "apart"),
    [(False, 1.0, 300), (False, 400.0, 700), (True, 1.0, 300), (True, 400.0, 4400)],
)
def test_a_scan_that_takes_longer_than_the_rescan_time_is_not_followed_at_once(
    world: World, network: bool, seconds: float, apart: float
) -> None:
    disk = world.disk = SlowDisk(world.clock, seconds)
    world.network = {root.id for root in world.catalog.roots.all() if network}
    late = world.drop / "late.png"
    real = world.clock.monotonic

    def monotonic() -> float:  # nothing happens between two scans: no need to wait for it
        world.clock.now += 5
        return real()

    world.clock.monotonic = monotonic  # type: ignore[method-assign]

    def until(event: Event) -> bool:
        if event.kind == "scanned" and not late.exists():
            late.write_bytes(picture(1))
            world.events.on_path(os.fsencode(late))  # events are heard between scans
        return len(disk.began) == 3 and event.kind == "scanned"

    said = [event.kind for event in world.watch(until)]
    assert said[:2] == ["scanned", "ingested"]
    waits = np.diff(disk.began)
    assert (waits >= apart).all()
    assert (waits < 1.15 * apart + 200).all()


def test_on_a_network_disk_a_file_settles_for_ten_seconds(world: World) -> None:
    path = world.write("a.png", picture(1))
    moments: list[float] = []
    world.decoder.after = lambda path: moments.append(world.clock.now)
    world.network = {root.id for root in world.catalog.roots.all()}
    began = world.clock.now
    world.once()
    assert moments[0] - began >= 10
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))  # ctime only
    world.once()
    assert world.decoder.claimed == [], "a change of ctime is no evidence there"


def test_an_event_for_a_folder_that_left_means_all_below_it(world: World) -> None:
    paths = [world.write(f"sub/{seed}.png", picture(seed)) for seed in range(3)]
    kept = world.write("sub.png", picture(7))
    world.once()

    def until(event: Event) -> bool:
        if event.kind == "scanned" and (world.drop / "sub").exists():
            (world.drop / "sub").rename(world.folder / "away")
            world.events.on_path(os.fsencode(world.drop / "sub"))
        return len(world.catalog.images.missing()) == 3

    world.watch(until)
    assert {world.image(path).state for path in paths} == {"missing"}
    assert {world.image(path).misses for path in paths} == {0}
    assert world.image(kept).state == "present"


def test_pixels_of_a_content_that_waits_are_not_embedded_twice(world: World) -> None:
    for seed in range(100):
        world.write(f"{seed:03d}.png", picture(seed % 2))
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (2, 98, 2)


def test_thumbnails_and_index_hear_of_each_new_content_once(world: World) -> None:
    heard: list[bytes] = []
    real = world.ingest

    def ingest(*, emit: Callable[[Event], None] = lambda event: None) -> Ingest:
        made = real(emit=emit)
        parts = made._parts
        object.__setattr__(parts, "after_commit", lambda fresh: heard.extend(o.path for o in fresh))
        return made

    for name in ("a.png", "b.png"):
        world.write(name, picture(1))
    ingest().run(once=True)
    assert len(heard) == 1
    assert isinstance(claim(heard[0]), Decoded)


def test_a_rename_found_by_the_last_scan_keeps_the_row(world: World) -> None:
    path = world.write("one.png", picture(1))
    for seed in range(5):
        world.write(f"other-{seed}.png", picture(10 + seed))
    world.once()
    before = world.image(path)
    away = world.drop.parent / "away.png"
    path.rename(away)
    world.once()
    world.once()
    back = world.drop / "renamed.png"
    away.rename(back)
    world.once()  # the third scan without the old path finds the new one
    assert world.image(back).id == before.id
