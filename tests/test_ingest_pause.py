"""Pauses and hours: what arrives while nothing is read is seen, waits, and is lost by nobody."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from imgclust import numbers
from imgclust.catalog.catalog import Catalog
from imgclust.ingest.backoff import begin_pause, current_pause, end_pause, in_hours, store_hours
from imgclust.ingest.events import Event
from imgclust.locks import FileLock
from imgclust.terminal import watch_view
from tests.command_line import Run
from tests.conftest import write_picture
from tests.driver import Process
from tests.ingest_world import TickingClock, World, opened, picture
from tests.test_collection_watch import STANDING, after, shown


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


class WallClock(TickingClock):
    """A clock whose wall is set by the test."""

    def __init__(self, wall: float) -> None:
        super().__init__()
        self.at = wall

    def wall(self) -> float:
        return self.at


def at(zone: str, *parts: int, fold: int = 0) -> float:
    """Seconds since 1970 of a moment on a wall."""
    year, month, day, hour, minute = parts
    return datetime.datetime(
        year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold
    ).timestamp()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("22:00-06:00", (1320, 360)),
        ("9:00-17:30", (540, 1050)),
        ("18:00-24:00", (1080, 1440)),
        ("00:00-24:00", (0, 1440)),
        *((wrong, None) for wrong in ("22-6", "22:00", "", "24:00-06:00", "22:60-06:00")),
        *(
            (wrong, None)
            for wrong in ("06:00-06:00", "22:00-24:01", "22:00 - 06:00", "٢٢:00-06:00")
        ),
        *((wrong, None) for wrong in ("-1:00-06:00", "22:00-06:00\n", "122:00-06:00")),
    ],
)
def test_hours_as_people_write_them(text: str, span: tuple[int, int] | None) -> None:
    assert numbers.hours(text) == span


@pytest.mark.parametrize(
    ("hours", "hour", "minute", "inside"),
    [
        ("22:00-06:00", 21, 59, False),
        ("22:00-06:00", 22, 0, True),
        ("22:00-06:00", 0, 0, True),
        ("22:00-06:00", 5, 59, True),
        ("22:00-06:00", 6, 0, False),
        ("09:00-17:30", 8, 59, False),
        ("09:00-17:30", 17, 29, True),
        ("09:00-17:30", 17, 30, False),
        ("18:00-24:00", 23, 59, True),
        ("18:00-24:00", 0, 0, False),
    ],
)
def test_hours_over_midnight(
    hours: str, hour: int, minute: int, inside: bool, in_zone: Callable[[str], None]
) -> None:
    in_zone("Europe/Berlin")
    assert in_hours(hours, at("Europe/Berlin", 2026, 1, 15, hour, minute)) is inside
    assert in_hours(hours, at("Europe/Berlin", 2026, 7, 15, hour, minute)) is inside


def test_hours_are_those_of_the_wall_where_clocks_change(in_zone: Callable[[str], None]) -> None:
    zone = "Europe/Berlin"
    in_zone(zone)
    # In the night to 2026-03-29 2:00 is 3:00: seven hours of the night are left.
    begin, end = at(zone, 2026, 3, 28, 22, 0), at(zone, 2026, 3, 29, 6, 0)
    assert end - begin == 7 * 3600
    assert all(in_hours("22:00-06:00", begin + 60 * k) for k in range(7 * 60))
    assert not in_hours("22:00-06:00", end)
    assert not any(in_hours("02:00-03:00", begin + 60 * k) for k in range(7 * 60))
    # In the night to 2026-10-25 3:00 is 2:00 again: nine hours.
    begin, end = at(zone, 2026, 10, 24, 22, 0), at(zone, 2026, 10, 25, 6, 0)
    assert end - begin == 9 * 3600
    assert all(in_hours("22:00-06:00", begin + 60 * k) for k in range(9 * 60))
    assert sum(in_hours("02:00-03:00", begin + 60 * k) for k in range(9 * 60)) == 120
    in_zone("America/New_York")
    assert in_hours("22:00-06:00", at("America/New_York", 2026, 3, 8, 3, 30))


def notes(said: list[Event]) -> list[str]:
    return [event.sentence for event in said if event.kind == "note"]


def test_arrivals_outside_of_the_hours_wait_until_they_begin(
    world: World, in_zone: Callable[[str], None]
) -> None:
    in_zone("Europe/Berlin")
    world.clock = clock = WallClock(at("Europe/Berlin", 2026, 11, 1, 21, 0))
    world.pictures(3)
    store_hours(world.catalog, "22:00-06:00")
    turns: list[str] = []

    def until(event: Event) -> bool:
        turns.append(event.kind)
        if event.kind == "scanned":
            assert world.catalog.observations.pending() == 3
            assert not world.embedded
            clock.at += 3600
        return turns.count("ingested") == 3

    said = world.watch(until)
    assert notes(said) == [
        "no file is read outside of the hours 22:00-06:00; new files are queued",
        "files are read again",
    ]
    assert world.catalog.images.count() == 3
    # `once` is what a person asks for now; whoever runs it says that there are no hours.
    clock.at = at("Europe/Berlin", 2026, 11, 2, 12, 0)
    world.stop = type(world.stop)()
    assert current_pause(world.catalog, wall=clock.at).outside_hours
    store_hours(world.catalog, "")
    world.write("new.png", picture(99))
    assert world.once().ingested == 1


def test_a_pause_stops_what_is_on_its_way_and_loses_nothing(world: World) -> None:
    """Some are in, some are being read when a person pauses; all are in after `resume`."""
    paths = world.pictures(200)
    ingested = 0
    seen: list[int] = []

    def until(event: Event) -> bool:
        nonlocal ingested
        ingested += event.kind == "ingested"
        if event.kind == "ingested" and ingested == 20:
            begin_pause(world.catalog)
        if event.kind == "note" and event.sentence.startswith("paused since"):
            seen.append(ingested)
            world.write("late.png", picture(999))
        return event.kind == "scanned" and world.state(world.drop / "late.png") == "seen"

    world.watch(until)
    assert len(seen) == 1
    assert seen[0] < 150
    assert world.catalog.images.count() == seen[0]
    assert world.catalog.observations.pending() == 201 - seen[0]
    # A restart stays paused.
    world.stop = type(world.stop)()
    said = world.watch(lambda event: event.kind == "scanned")
    assert notes(said)[0].startswith("paused since")
    assert world.catalog.images.count() == seen[0]
    end_pause(world.catalog)
    world.stop = type(world.stop)()
    assert world.once().seen == 201
    assert world.catalog.images.count() == 201
    assert {world.image(path).id for path in paths} <= {*range(1, 202)}
    assert world.embedded <= 201 + 150  # what was dropped by the pause was embedded again at most


def test_a_pass_that_runs_waits_for_the_end_of_a_pause(world: World) -> None:
    world.pictures(5)
    begin_pause(world.catalog)
    world.clock = TickingClock()

    def emit(event: Event) -> None:
        if event.kind == "scanned":
            waited.append(world.clock.now)

    waited: list[float] = []
    run = world.ingest(emit=emit)
    run.begin(scan=True, watch=False)
    while world.clock.now < 1600:  # longer than `once` waits for files that never settle
        run.step(timeout_s=0.0)
        assert not run.idle
    assert not world.catalog.images.count()
    end_pause(world.catalog)
    while not run.idle:
        run.step(timeout_s=0.01)
    assert world.catalog.images.count() == 5


def test_paused_twice_is_paused_since_the_first_time(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    begin_pause(catalog)
    first = current_pause(catalog, wall=0.0).since
    begin_pause(catalog)
    assert current_pause(catalog, wall=0.0).since == first
    end_pause(catalog)
    end_pause(catalog)
    assert not current_pause(catalog, wall=0.0)
    assert [kind for _, kind, _ in catalog.events(10)] == ["resumed", "paused"]
    catalog.close()


# The commands


def test_a_paused_collection(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "1.png", 1)
    assert run("pause").refused(3)
    assert run("watch", "--once", tmp_path / "drop", "-q").code == 0
    assert run("resume").out == "not paused: files are read as they arrive\n"
    said = run("pause").out
    assert said.startswith("paused since 20")
    assert said.endswith("; imgclust resume continues\n")
    assert run("pause").out == f"already {said}"
    document = run("pause", "--json").document
    assert (document["paused"], document["changed"], document["pending"]) == (True, False, 0)
    status = run("status", "--json").document
    assert status["paused"] == document["since"]
    assert re.search(r"^paused +paused since 20", run("status").out, re.M)
    write_picture(tmp_path / "drop" / "2.png", 2)
    for command in (["watch", "--once"], ["add", tmp_path / "drop" / "2.png"]):
        assert "nothing is read: paused since" in (said := run(*command).refused(1))
        assert said.endswith("imgclust resume continues\n")
    assert run("watch", "--once", "--json").document["error"]["code"] == "paused"
    assert run("status", "--json").document["images"] == 1
    assert run("resume").out == "files are read again; imgclust watch reads them\n"
    assert run("watch", "--once", "--json").document["ingested"] == 1


@pytest.mark.parametrize("hours", ["22:00", "25:00-06:00", "06:00-06:00", "night"])
def test_wrong_hours_are_refused_before_anything_is_made(
    run: Run, tmp_path: Path, hours: str
) -> None:
    (tmp_path / "drop").mkdir()
    said = run("watch", tmp_path / "drop", "--hours", hours).refused(2)
    assert "is not a span of hours such as 22:00-06:00" in said
    assert not (tmp_path / "index" / "default").exists()
    assert "--once reads at any time" in run(
        "watch", tmp_path / "drop", "--once", "--hours", "22:00-06:00"
    ).refused(2)


def test_a_watcher_in_another_process_is_paused_and_resumed(run: Run, tmp_path: Path) -> None:
    drop, index = tmp_path / "drop", tmp_path / "index"
    write_picture(drop / "1.png", 1)
    with Process("watch", index, drop) as watcher:
        assert watcher.until(lambda: "ingested" in watcher.said)
        assert run("pause").code == 0
        assert watcher.until(lambda: "note - paused since" in watcher.said, seconds=30)
        write_picture(drop / "2.png", 2)
        assert watcher.until(lambda: run("status", "--json").document["pending"] == 1)
        assert "1 file queued" in run("status").out
        said = run("add", drop / "2.png", "--json").document
        assert (said["pending"], said["ingested"]) == (1, 0)
        assert watcher.said.count("ingested ") == 1
        watcher.kill()
    with Process("watch", index, drop) as watcher:
        assert watcher.until(lambda: "note - paused since" in watcher.said)
        assert run("resume").out == "files are read again; 1 file queued\n"
        assert watcher.until(lambda: "ingested" in watcher.said, seconds=30)
        assert run("status", "--json").document["images"] == 2


def test_a_pause_that_ends_outside_of_the_hours(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "1.png", 1)
    assert run("watch", "--once", tmp_path / "drop", "-q").code == 0
    hour = time.localtime().tm_hour
    hours = f"{(hour + 10) % 24:02d}:00-{(hour + 11) % 24:02d}:00"
    folder = tmp_path / "index" / "default"
    with closing(Catalog(folder / "catalog.sqlite3")) as catalog:
        store_hours(catalog, hours)
    with FileLock(folder / "ingest.lock", purpose="ingesting into"):
        assert run("resume").out == f"not paused: the watcher reads at {hours} only\n"
        assert run("pause").code == 0
        assert run("resume").out == f"not paused any more; the watcher reads at {hours} only\n"
    assert run("pause").code == 0  # no watcher runs: the next one has hours of its own
    assert run("resume").out == "files are read again; imgclust watch reads them\n"


def test_the_live_screen_says_why_nothing_is_read() -> None:
    import dataclasses

    from imgclust.ingest.backoff import Pause

    state = after([])
    paused = dataclasses.replace(STANDING, pause=Pause(hours="22:00-06:00", outside_hours=True))
    state = dataclasses.replace(state, standing=paused)
    assert "1,203 files queued" in shown(state)
    assert "no file is read outside of the hours 22:00-06:00" in shown(state)
    lines = watch_view.lines(state, now=1.0, width=40, height=24)
    assert max(len(line) for line, _ in lines) <= 40
