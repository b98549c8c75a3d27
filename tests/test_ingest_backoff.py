"""Disks that refuse, leave or are slow: nothing is lost, and nothing falsely missing."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imgclust.catalog.roots import Roots
from imgclust.errors import StorageError
from imgclust.failpoints import arm
from imgclust.images.filestat import FileStat
from imgclust.images.reader import claim
from imgclust.ingest import backoff, root_scan
from imgclust.ingest.environment import LocalDisk
from imgclust.ingest.events import Event
from imgclust.progress import StopFlag
from tests.ingest_world import TickingClock, Waits, World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "embedded"])
@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_watcher_waits_for_the_disk_and_goes_on_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str, error: str
) -> None:
    monkeypatch.setattr(backoff, "_FIRST_WRITE_S", 0.0)
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
    assert history == ["resumed after: the disk is full"]


@pytest.mark.parametrize("seed", range(4))
def test_a_scan_that_is_refused_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(root_scan, "_SLICE", 2)
    monkeypatch.setattr(backoff, "_FIRST_WRITE_S", 0.0)
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


def cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch, *, images: int, gone: int, rows: int
) -> list[Path]:
    """A scan that finds images gone is killed when so many rows of them are written."""
    monkeypatch.setattr(root_scan, "_ROWS", rows)
    paths = world.pictures(images)
    world.once()
    for path in paths[:gone]:
        path.unlink()
    arm("scan.missed=eio@1")
    with pytest.raises(StorageError):
        world.once()
    arm("")
    return paths


def test_a_kill_between_two_parts_of_the_end_of_a_scan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cut_off(world, monkeypatch, images=7, gone=5, rows=2)
    assert misses(world, paths) == [1, 1, 0, 0, 0, 0, 0]
    assert [world.state(path) for path in paths] == ["missing"] * 2 + ["done"] * 5
    assert world.once().missing == 3
    assert misses(world, paths) == [2, 2, 1, 1, 1, 0, 0]
    for left in (5, 2, 2):
        world.once()
        assert world.catalog.images.count() == left


def test_a_hold_is_decided_before_any_image_is_called_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cut_off(world, monkeypatch, images=14, gone=12, rows=3)
    assert len(world.catalog.images.missing()) == 3
    assert [root.held for root in world.catalog.roots.all()] == ["12 of 14 images vanished at once"]
    assert [kind for _, kind, _ in world.catalog.events(9)] == ["held"]
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
    monkeypatch.setattr(root_scan, "_ROWS", 1)
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
        monkeypatch.setattr(root_scan, name, 3)
    paths = world.pictures(10)
    texts = [world.write(f"{number}.txt", b"no image") for number in range(20)]
    world.once()
    for path in (*paths[1:], *texts):
        path.unlink()
    ingest = world.ingest()
    ingest.begin(scan=True, watch=False)
    connection = world.catalog._connection

    def changes() -> int:
        """Rows that were changed, lines of the feed aside: a trigger adds one for each change."""
        (lines,) = next(connection.execute("SELECT count(*) FROM feed"))
        return int(connection.total_changes() - lines)

    changed = [changes()]

    def note() -> bool:
        changed.append(changes())
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
