"""Files that cannot be read, or not yet: tried again, then set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from imgclust.errors import EmbeddingError
from imgclust.images.filestat import FileStat, stat_of
from imgclust.images.reader import NO_PERMISSION, Again, Died, Outcome, ReadFailed, Unreadable
from imgclust.ingest.environment import LocalDisk
from tests.ingest_world import Counting, World, holds, opened, picture
from tests.pictures import encoded

EIO = "the system reports: input/output error"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


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
    (row,) = world.catalog.observations.quarantined()
    assert row.path == os.fsencode(path)
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
    (row,) = world.catalog.observations.quarantined()
    assert row.path == os.fsencode(bad)
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
    (row,) = world.catalog.observations.quarantined()
    assert row.path == os.fsencode(bad)
    assert row.reason == "the network returned NaN"


@pytest.mark.parametrize("changed", ["permissions", "size", "file"])
def test_an_image_whose_file_may_not_be_read_any_more_stays(world: World, changed: str) -> None:
    paths = world.pictures(3)
    world.once()
    before = world.image(paths[0])
    if changed == "size":
        paths[0].write_bytes(paths[0].read_bytes() + b"x")
    elif changed == "file":
        (world.drop / "other.part").write_bytes(paths[0].read_bytes())
        os.replace(world.drop / "other.part", paths[0])
    os.chmod(paths[0], 0)

    def forbid(path: bytes) -> Outcome | None:
        found = stat_of(path)
        assert found is not None
        return Unreadable(path, found, None, NO_PERMISSION) if found.size and closed else None

    closed = True
    world.decoder.instead = forbid
    result = world.once()
    stays = changed != "size"  # else its bytes are others
    assert (result.unchanged, result.quarantined) == ((3, 0) if stays else (2, 1))
    assert [event.sentence for event in world.kinds("trouble")] == (
        ["no permission to read it; its image stays"] if stays else []
    )
    assert (world.catalog.images.at(os.fsencode(paths[0])) == before) == stays
    assert world.once().unchanged == 3
    closed = False
    os.chmod(paths[0], 0o600)
    world.once()
    assert (world.image(paths[0]).id == before.id) == stays
    assert world.embedded == (3 if stays else 4)
