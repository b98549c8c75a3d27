"""Every file is counted once, under one word, whatever interrupted the run before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.ingest.events import Counts, Event, IngestResult
from imgclust.progress import StopFlag
from tests.ingest_world import World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def words(found: IngestResult) -> dict[str, int]:
    """The words that are not zero; they add up to the files."""
    names = ("ingested", "reused", "unchanged", "skipped", "quarantined", "removed", "pending")
    numbers = {name: getattr(found, name) for name in names}
    assert sum(numbers.values()) == found.seen
    return {name: number for name, number in numbers.items() if number}


@pytest.mark.parametrize("after", [0, 1, 7, 39])
def test_a_run_that_was_interrupted_and_its_successor(world: World, after: int) -> None:
    world.pictures(40)
    world.write("a.txt", b"text")
    ingested = 0

    def emit(event: Event) -> None:
        nonlocal ingested
        ingested += event.kind == "ingested"
        if event.kind == "ingested" and ingested >= after:
            world.stop.set()

    first = world.ingest(emit=emit)
    if after:
        found = words(first.run(once=True))
        assert found["ingested"] == ingested
    else:  # killed before anything was read
        first.begin(scan=True, watch=False)
        for _ in range(4):
            first.step(timeout_s=0)
        found = words(first.result())
        assert found["pending"] == world.catalog.observations.pending() >= 40
        assert found.keys() <= {"pending", "skipped"}
    world.stop = StopFlag()
    left = world.catalog.observations.pending()
    found = words(world.once())
    assert found.get("unchanged", 0) == 41 - left
    assert sum(found.values()) == 41
    assert words(world.once()) == {"unchanged": 41}


def test_at_every_moment_that_is_shown(world: World) -> None:
    world.pictures(12)
    world.write("copy.png", picture(3))
    world.write("a.txt", b"text")
    world.write("broken.png", b"bad")
    world.write("out.png", picture(50))
    world.once()
    world.remove(world.drop / "out.png")
    for number in range(6):  # a permutation, a copy of what was taken out, changes
        (world.drop / f"{number:03d}.png").rename(world.drop / f"x{(number + 1) % 6}.png")
    (world.drop / "x0.png").rename(world.drop / "000.png")
    world.write("again.png", picture(50))
    world.write("007.png", picture(60))
    world.write("008.png", b"text now")
    (world.drop / "009.png").unlink()
    os.utime(world.drop / "010.png", ns=(1, 1))
    shown: list[dict[str, int]] = []
    ingest = world.ingest(emit=lambda event: shown.append(words(ingest.result())))
    found = ingest.run(once=True)
    files = sum(path.is_file() for path in world.drop.rglob("*"))
    assert found.seen == files
    assert (found.quarantined, found.removed, found.skipped) == (1, 1, 0)
    assert found.unchanged == files - 10
    assert found.missing >= 1
    assert len(shown) > 5


def test_a_watcher_counts_a_file_once_for_all_its_scans(world: World) -> None:
    world.pictures(5)
    ingest = world.ingest(emit=lambda event: None)
    ingest.begin(scan=True, watch=False)
    for round_ in range(4):
        world.idle(ingest)
        world.clock.now += 400
        os.utime(world.drop / "002.png", ns=(1, round_))
    world.idle(ingest)
    assert words(ingest.result()) == {"ingested": 5}
    (world.drop / "001.png").unlink()
    world.clock.now += 400
    world.idle(ingest)
    assert words(ingest.result()) == {"ingested": 4}
    ingest.run(once=True)


@pytest.mark.parametrize("bad", [1, 3])
def test_what_is_still_in_quarantine_is_called_that(world: World, bad: int) -> None:
    world.pictures(5)
    for number in range(bad):
        world.write(f"bad{number}.png", b"bad%d" % number)
    first = world.once()
    assert (first.quarantined, first.still_quarantined, first.unchanged) == (bad, 0, 0)
    for _ in range(2):
        found = world.once()
        assert words(found) == {"unchanged": 5 + bad}
        assert found.still_quarantined == bad == len(world.catalog.observations.quarantined())
    # One is mended, and one comes.
    world.write("bad0.png", picture(70))
    world.write("more.png", b"more")
    found = world.once()
    assert words(found) == {"unchanged": 4 + bad, "quarantined": 1, "ingested": 1}
    assert found.still_quarantined == bad - 1
    (world.drop / "more.png").unlink()
    found = world.once()
    assert found.still_quarantined == bad - 1 == len(world.catalog.observations.quarantined())
    assert found.seen == sum(path.is_file() for path in world.drop.rglob("*"))


def test_a_rescan_of_a_watcher_leaves_the_words_as_they_are(world: World) -> None:
    world.pictures(2)
    world.write("old.png", b"old")
    world.once()
    world.write("new.png", b"new")
    ingest = world.ingest(emit=lambda event: None)
    ingest.begin(scan=True, watch=False)
    for _ in range(3):
        world.idle(ingest)
        world.clock.now += 400
    found = ingest.result()
    assert words(found) == {"unchanged": 3, "quarantined": 1}
    assert found.still_quarantined == 1
    ingest.run(once=True)


def test_suffixes_are_those_of_status(world: World) -> None:
    names = ("a.txt", "b.TXT", "c", "IMG.2024 holiday", "x.jpg.bak", "y.averyveryverylongsuffix")
    for name in names:
        world.write(name, b"text")
    found = world.once()
    assert found.suffixes == world.catalog.observations.skipped()
    assert found.suffixes == {"": 3, ".txt": 2, ".bak": 1}


def test_the_words_of_a_path() -> None:
    counts = Counts()
    counts.wait(b"/a")
    assert words(counts.result(seconds=0)) == {"pending": 1}
    counts.put(b"/a", "ingested")
    counts.wait(b"/a")
    counts.rest(b"/a", "reused")  # touched, and ingested in this run
    counts.rest(b"/b", "unchanged")
    counts.rest(b"/b", "reused")
    assert words(counts.result(seconds=0)) == {"ingested": 1, "unchanged": 1}
    counts.wait(b"/b")
    counts.rest(b"/b", "reused")
    counts.put(b"/c.MOV", "skipped")
    counts.put(b"/c.MOV", "skipped")
    found = counts.result(seconds=0)
    assert (words(found), found.suffixes) == (
        {"ingested": 1, "unchanged": 1, "skipped": 1},
        {".mov": 1},
    )
    for path in (b"/a", b"/b", b"/c.MOV", b"/d"):
        counts.leave(path)
    assert (words(counts.result(seconds=0)), counts.files) == ({}, 0)
