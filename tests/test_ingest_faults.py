"""Faults that nobody has foreseen: each costs the file that causes it, and nothing else."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imgclust.catalog.contents import key_of
from imgclust.images.filestat import FileStat, file_stat
from imgclust.images.reader import Decoded, Outcome, claim
from imgclust.ingest.environment import LocalDisk
from imgclust.ingest.events import Event
from tests.ingest_world import Counting, World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


class PanicException(BaseException):
    """As libraries in Rust raise it: no Exception."""


FAULTS = [OverflowError("int too big to convert"), PanicException("unwrap on None")]
every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda one: type(one).__name__)
ENDS = [KeyboardInterrupt(), SystemExit(3), GeneratorExit()]

Spoil = Callable[[World, bytes, BaseException, pytest.MonkeyPatch], None]


def in_the_scan(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    inode = os.stat(bad).st_ino

    def spoilt(result: os.stat_result) -> FileStat:
        if result.st_ino == inode:
            raise fault
        return file_stat(result)

    monkeypatch.setattr("imgclust.ingest.environment.file_stat", spoilt)
    in_the_stat(world, bad, fault, monkeypatch)


def in_the_stat(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(LocalDisk):
        def stat(self, path: bytes) -> FileStat | None:
            if path == bad:
                raise fault
            return super().stat(path)

    world.disk = Spoilt()


def when_looked_at(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations = world.catalog.observations
    real, calls = observations.see, [0]

    def see(path: bytes, *arguments: Any, **options: Any) -> None:
        calls[0] += path == bad
        if path == bad and calls[0] <= 2:  # in the slice, and alone
            raise fault
        real(path, *arguments, **options)

    monkeypatch.setattr(observations, "see", see)


def in_the_claim(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def instead(path: bytes) -> Outcome | None:
        if path == bad:
            raise fault
        return None

    world.decoder.instead = instead


def in_what_the_worker_says(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(bytes):
        def __getitem__(self, index: Any) -> Any:
            raise fault

    def instead(path: bytes) -> Outcome | None:
        if path != bad:
            return None
        outcome = claim(path, thumbnail_px=0)
        assert isinstance(outcome, Decoded)
        return dataclasses.replace(outcome, sha256=Spoilt(outcome.sha256))

    world.decoder.instead = instead


def in_the_network(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = claim(bad, thumbnail_px=0)
    assert isinstance(outcome, Decoded)
    spoils = outcome.pixels

    class Spoilt(Counting):
        def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if any(np.array_equal(one, spoils) for one in pixels):
                raise fault
            return super().embed(pixels)

    world.embedder = Spoilt()


def in_the_commit(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = world.catalog.images
    real = images.insert_all

    def insert_all(rows: Sequence[tuple[bytes, int, int]], *, inodes: Sequence[int]) -> list[int]:
        if any(path == bad for path, _, _ in rows):
            raise fault
        return real(rows, inodes=inodes)

    monkeypatch.setattr(images, "insert_all", insert_all)


def in_the_assignment(
    world: World, bad: bytes, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = claim(bad, thumbnail_px=0)
    assert isinstance(outcome, Decoded)
    key = key_of(outcome.sha256)
    real = world.assigned.assign

    def assign(keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        if key in keys:
            raise fault
        real(keys, vectors)

    monkeypatch.setattr(world.assigned, "assign", assign)


STAGES: list[Spoil] = [
    in_the_scan,
    in_the_stat,
    when_looked_at,
    in_the_claim,
    in_what_the_worker_says,
    in_the_network,
    in_the_commit,
    in_the_assignment,
]
every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda one: one.__name__)


@every_stage
@every_fault
def test_once_puts_the_one_file_aside_and_takes_all_others(
    world: World, stage: Spoil, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = world.pictures(5)
    bad = world.write("bad.png", picture(99))
    with monkeypatch.context() as spoilt:
        stage(world, os.fsencode(bad), fault, spoilt)
        result = world.once()
    assert (result.ingested, result.quarantined) == (5, 1)
    assert [world.state(path) for path in [*good, bad]] == ["done"] * 5 + ["quarantined"]
    [row] = world.catalog.observations.quarantined()
    assert row.reason.startswith("internal error while ")
    assert type(fault).__name__ in row.reason
    assert [event.path for event in world.kinds("quarantined")] == [os.fsencode(bad)]

    # When it changes, it is tried again.
    world.disk, world.embedder = LocalDisk(), Counting()
    world.decoder.instead = lambda path: None
    bad.write_bytes(picture(100))
    assert world.once().ingested == 1
    assert world.catalog.observations.quarantined() == []


@every_stage
@every_fault
def test_a_running_watcher_goes_on(
    world: World, stage: Spoil, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = world.pictures(2)
    late = world.drop / "late.png"
    bad = world.write("bad.png", picture(99))
    stage(world, os.fsencode(bad), fault, monkeypatch)
    hidden = bad.rename(world.drop / ".bad.png")

    def enough(event: Event) -> bool:
        if event.kind == "ingested" and event.path == os.fsencode(good[1]):
            hidden.rename(bad)
            world.events.on_path(os.fsencode(bad))
        if event.kind == "quarantined":
            late.write_bytes(picture(50))
            world.events.on_path(os.fsencode(late))
        return event.kind == "ingested" and event.path == os.fsencode(late)

    said = world.watch(enough)
    assert [event.path for event in said if event.kind == "quarantined"] == [os.fsencode(bad)]
    assert world.image(late)
    assert world.state(bad) == "quarantined"


@every_stage
@pytest.mark.parametrize("end", ENDS, ids=lambda one: type(one).__name__)
def test_what_ends_a_process_ends_it(
    world: World, stage: Spoil, end: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pictures(3)
    bad = world.write("bad.png", picture(99))
    stage(world, os.fsencode(bad), end, monkeypatch)
    with pytest.raises(type(end)):
        world.once()
    assert world.state(bad) != "quarantined"


def test_a_network_that_embeds_nothing_is_no_fault_of_the_files(world: World) -> None:
    class Broken(Counting):
        def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            raise RuntimeError("the device is gone")

    world.pictures(3)
    world.embedder = Broken()
    with pytest.raises(RuntimeError, match="the device is gone"):
        world.once()
    assert world.catalog.observations.quarantined() == []
    world.embedder = Counting()
    assert world.once().ingested == 3


def test_a_commit_that_takes_nothing_is_no_fault_of_the_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        raise RuntimeError("no clusters")

    world.pictures(2)
    with monkeypatch.context() as patch:
        patch.setattr(world.assigned, "assign", broken)
        with pytest.raises(RuntimeError, match="no clusters"):
            world.once()
    assert world.once().ingested == 2
    before = world.image(world.drop / "001.png")
    world.write("late.png", picture(7))
    with monkeypatch.context() as patch:
        patch.setattr(world.assigned, "assign", broken)
        with pytest.raises(RuntimeError, match="no clusters"):
            world.once()  # one file, and an image that is in cannot be written again either
    assert world.catalog.observations.quarantined() == []
    assert world.image(world.drop / "001.png") == before
    assert world.once().ingested == 1


@pytest.mark.parametrize("count", [1, 2])
def test_bad_files_alone_are_to_blame_where_an_image_could_be_written_again(
    world: World, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pictures(2)
    world.once()
    before = [world.image(world.drop / f"{number:03}.png") for number in range(2)]
    for number in range(count):
        bad = world.write(f"bad{number}.png", picture(90 + number))
        in_the_commit(world, os.fsencode(bad), OverflowError("too big"), monkeypatch)
    assert world.once().quarantined == count
    assert [world.image(world.drop / f"{number:03}.png") for number in range(2)] == before


@every_fault
@pytest.mark.parametrize("what", ["links", "clusters", "after_commit"])
def test_a_fault_in_what_follows_is_said_once_and_the_watcher_goes_on(
    world: World, what: str, fault: BaseException
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise fault

    world.more[what] = broken
    first = world.pictures(1)[0]
    late = world.drop / "late.png"

    def enough(event: Event) -> bool:
        if event.kind == "ingested" and event.path == os.fsencode(first):
            late.write_bytes(picture(5))
            world.events.on_path(os.fsencode(late))
        return event.kind == "ingested" and event.path == os.fsencode(late)

    world.watch(enough)
    assert world.image(late)
    said = [event.sentence for event in world.kinds("trouble")]
    assert len(said) == 1
    assert said[0].startswith("internal error while updating ")


def test_an_image_that_is_in_stays_when_a_look_at_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = world.pictures(3)
    world.once()
    before = [world.image(path) for path in paths]
    os.utime(paths[1])
    monkeypatch.setattr(world.catalog.observations, "see", _raises)
    world.once()
    assert [event.path for event in world.kinds("trouble")] == [os.fsencode(paths[1])]
    assert [world.image(path) for path in paths] == before
    assert world.catalog.observations.quarantined() == []


def _raises(*_: object, **__: object) -> Any:
    raise OverflowError("int too big to convert")
