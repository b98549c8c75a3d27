"""Events, and the scans that find what they left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.ingest import loop, path_tracker
from imgclust.ingest.events import Event
from tests.ingest_world import Waits, World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


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
    monkeypatch.setattr(loop, "_MOST", 5)
    late = [world.drop / f"late-{number}.png" for number in range(9)]

    def until(event: Event) -> bool:
        if event.kind == "scanned" and not late[0].exists():
            for number, path in enumerate(late):
                path.write_bytes(picture(number))
                world.events.on_path(os.fsencode(path))
        return len(world.kinds("ingested")) == len(late)

    world.watch(until)
    assert world.clock.now < 1200, "not by the rescan, which is due after 300 s"


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


def test_what_lay_below_a_deleted_folder_is_looked_at_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_tracker, "_ROWS", 2)
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
            left = ingest._tracker.at_paths(left, ingest._scope)
        seen.append(sum(world.image(path).state == "missing" for path in paths))
    assert seen == [2, 3, 5, 5]  # the other path has its turn in between
    assert world.image(kept).state == "present"


def test_a_deleted_folder_is_looked_at_again_after_a_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_tracker, "_ROWS", 2)
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
