"""The live screen of a watcher: events into a state, a state into lines, lines on a terminal."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable

import pytest
from rich.console import Console

from imgclust.collection import Drift, Drifting, Event, Standing
from imgclust.errors import StorageError
from imgclust.terminal import watch_view
from imgclust.terminal.table import cells
from imgclust.terminal.watch_view import (
    LiveView,
    WatchState,
    after_event,
    after_progress,
    lines,
    rate,
)

ROOT = b"/home/someone/Pictures"
STANDING = Standing(
    images=24_310,
    pending=1_203,
    quarantined=12,
    missing=3,
    unlinked=87,
    clusters=40,
    provisional=True,
    drift=Drifting(Drift(310, 1.04, high=False), {}),
)
EVENTS = [
    Event("ingested", "embedded", ROOT + b"/2023/summer holiday by the sea/IMG_0001.jpg", 1, 7),
    Event(
        "ingested",
        "embedded",
        ROOT + "/写真/二〇二三年の夏/海の写真.jpg".encode(),
        2,
        12,
        "the sea 海",
    ),
    Event("quarantined", "the JPEG file is cut short\nand more " * 3, ROOT + b"/broken.jpg"),
    Event("reused", "same content as another image", b"/elsewhere/caf\xe9/\x1b[31mred\n.jpg", 3),
    Event("moved", "moved", ROOT + b"/a.jpg", 1, 7, "a very long name for a cluster " * 3),
    Event("missing", "missing", ROOT + b"/gone.jpg", 9),
]


def after(events: list[Event], *, standing: Standing | None = STANDING) -> WatchState:
    """The state after events, one a second."""
    state = WatchState((ROOT, b"/other"), 0.0)
    for second, event in enumerate(events):
        state = after_event(state, event, float(second))
    return dataclasses.replace(state, standing=standing)


def shown(state: WatchState, *, now: float = 10.0, width: int = 80, height: int = 24) -> str:
    return "\n".join(line for line, _ in lines(state, now=now, width=width, height=height))


def test_what_a_screen_shows() -> None:
    assert shown(after(EVENTS[:2]), now=10.0).splitlines() == [
        "watching /home/someone/Pictures and 1 more folder",
        "now       1,203 files to read",
        "images    24,310, 2 of them new, 12 in quarantine, 3 missing",
        "clusters  40, provisional, drift 1.04",
        "links     87 to do",
        "last      写真/二〇二三年の夏/海の写真.jpg -> cluster 12 the sea 海",
        "          2023/summer holiday by the sea/IMG_0001.jpg -> cluster 7",
        "Ctrl-C stops",
    ]


@pytest.mark.parametrize("width", [1, 12, 40, 60, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 24, 50])
@pytest.mark.parametrize("standing", [None, STANDING])
def test_no_line_is_wider_than_the_terminal(
    width: int, height: int, standing: Standing | None
) -> None:
    state = after(EVENTS * 5, standing=standing)
    for one in (state, dataclasses.replace(state, waiting="the disk is full " * 20)):
        found = lines(one, now=99.0, width=width, height=height)
        assert max(cells(line) for line, _ in found) <= width
        assert len(found) <= max(1, height - 1)
        assert all(line.isprintable() for line, _ in found)


@pytest.mark.parametrize(("width", "height"), [(40, 24), (60, 24), (80, 24), (200, 50)])
def test_a_recorded_terminal_holds_every_line(width: int, height: int) -> None:
    console = Console(
        file=io.StringIO(), record=True, width=width, height=height, force_terminal=True
    )
    view = LiveView(console, [ROOT], ask=lambda: STANDING, clock=lambda: 100.0)
    for event in EVENTS:
        view.hear(event)
    view.draw()
    # As the console would print it; what it cannot hold would be wrapped, or marked.
    text = view.picture()
    plain = text.plain.splitlines()
    console.print(text)
    written = console.export_text().splitlines()
    assert written == [line.rstrip() for line in plain]
    assert max(map(cells, written)) <= width
    assert any("/gone.jpg" in line or "gone.jpg" in line for line in written)


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    state = WatchState((), 0.0)
    for number in range(100):
        state = after_event(state, EVENTS[0], number * 0.5)  # two a second for 50 s
    assert rate(state, 49.9) == pytest.approx(2.0, abs=0.1)
    assert rate(state, 64.9) == pytest.approx(1.0, abs=0.1)
    assert rate(state, 90.0) == 0.0
    assert state.arrived == 100
    assert len(state.recent) <= 31
    assert len(state.last) == 20


def test_the_time_left_is_shown_when_it_means_something() -> None:
    """A minute of loading, then batches of 32 every 4 s while the folders are looked through."""
    state = dataclasses.replace(WatchState((ROOT,), 0.0), standing=STANDING)
    said = {}
    for now in range(90):
        if now >= 60 and now % 4 == 0:
            for _ in range(32):
                state = after_event(state, EVENTS[0], float(now))
        if now == 75:
            state = after_event(state, Event("scanned", "scanned in 75.0 s"), 75.0)
        said[now] = shown(state, now=float(now)).splitlines()[1].partition("read")[2]
    assert {said[now] for now in range(68)} == {""}
    assert {said[now] for now in range(68, 75)} >= {", 8.0 images/s"}
    assert all("left" not in said[now] for now in range(75))
    assert said[76] == ", 8.0 images/s, 2 min 30 s left"
    assert all(" left" in said[now] for now in range(75, 90))


def test_what_is_done_now() -> None:
    state = WatchState((ROOT,), 0.0)
    assert "getting ready" in shown(state)
    busy = after_progress(state, "downloading weights", 12_000_000, 87_000_000)
    assert "now       downloading weights 12/87 MB" in shown(busy)
    assert after_progress(busy, "downloading weights", 87_000_000, 87_000_000) == state
    assert after_progress(busy, "ingesting", 3, 10) == state
    idle = dataclasses.replace(STANDING, pending=0, unlinked=0, quarantined=0, missing=0)
    state = dataclasses.replace(state, standing=idle)
    assert "now       looking through the folders" in shown(state)
    state = after_event(state, Event("scanned", "scanned in 0.1 s"), 1.0)
    assert "now       all is in\n" in shown(state)
    assert "links     up to date" in shown(state)
    assert "quarantine" not in shown(state)
    state = after_event(state, EVENTS[0], 5.0)
    assert "now       all is in, 1 in the last 30 s" in shown(state)
    assert "Ctrl-C again" in shown(dataclasses.replace(state, stopping=True))


def test_a_disk_that_refuses_is_shown_until_it_works_again() -> None:
    state = after_event(after([]), Event("waiting", "the disk is full; waiting"), 1.0)
    assert (
        lines(state, now=2.0, width=80, height=24)[1]
        == ("now       waiting: the disk is full; waiting", "red")
    )  # fmt: skip
    assert "waiting:" not in shown(after_event(state, Event("note", "the disk works again"), 2.0))
    assert "waiting:" not in shown(after_event(state, EVENTS[0], 2.0))


def test_clusters_that_no_longer_fit_are_said() -> None:
    found = Drifting(Drift(310, 1.4, high=True), {})
    state = after([], standing=dataclasses.replace(STANDING, drift=found))
    assert "drift 1.40" in shown(state)
    assert "imgclust cluster" in shown(state)
    state = after([], standing=dataclasses.replace(STANDING, drift=None))
    assert "clusters  none yet" in shown(state)


def terminal(
    *, width: int = 80, ask: Callable[[], Standing] = lambda: STANDING, now: list[float]
) -> tuple[LiveView, Console, io.StringIO]:
    written = io.StringIO()
    console = Console(
        file=written, width=width, height=24, force_terminal=True, color_system="standard"
    )
    return LiveView(console, [ROOT], ask=ask, clock=lambda: now[0]), console, written


def test_the_catalog_is_asked_at_most_twice_a_second_and_in_its_own_thread() -> None:
    asked: list[int] = []
    now = [0.0]

    def ask() -> Standing:
        asked.append(threading.get_ident())
        now[0] += 0.001 if len(asked) < 3 else 0.1
        return STANDING

    view, _, _ = terminal(ask=ask, now=now)
    for _ in range(100):
        view.hear(EVENTS[0])
        view.progress("ingesting", 1, 2)
        now[0] += 0.01
    assert len(asked) == 2
    # An answer that takes long is asked for less often: 0.1 s are 2 % of 5 s.
    now[0] = 10.0
    for _ in range(100):
        view.hear(EVENTS[0])
        now[0] += 0.04
    assert len(asked) == 3
    other = threading.Thread(target=view.progress, args=("downloading", 1, 2))
    now[0] = 100.0
    other.start()
    other.join()
    assert set(asked) == {threading.get_ident()}


def test_a_catalog_that_cannot_be_asked_does_not_end_the_watcher() -> None:
    def ask() -> Standing:
        raise StorageError("the disk is full")

    view, _, written = terminal(ask=ask, now=[1.0])
    view.hear(EVENTS[0])
    view.draw()
    assert "getting ready" in written.getvalue() or not written.getvalue()


def test_the_live_part_gives_the_cursor_back_and_leaves_what_was_said() -> None:
    view, console, written = terminal(now=[1.0])
    view.start()
    view.hear(EVENTS[0])
    view.draw()
    console.print("a line above it")
    view.stopping()
    view.draw()
    view.stop()
    text = written.getvalue()
    assert "a line above it" in text
    assert "stopping" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_narrower_terminal_takes_up_the_rows_that_it_has_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, console, written = terminal(now=[1.0])
    view.hear(EVENTS[0])
    view.draw()
    before = watch_view.lines(view.state, now=1.0, width=80, height=24)
    broken = sum((cells(line) - 1) // 40 for line, _ in before)
    assert broken > 0
    monkeypatch.setattr(console, "_width", 40)
    start = len(written.getvalue())
    view.draw()
    assert written.getvalue()[start:].startswith("\r" + "\x1b[2K\x1b[1A" * broken)


def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for colour in (True, False):
        if not colour:
            monkeypatch.setenv("NO_COLOR", "1")
        view, _, written = terminal(now=[1.0])
        view.start()
        view.hear(Event("waiting", "the disk is full"))
        view.draw()
        view.stop()
        assert ("\x1b[31m" in written.getvalue()) is colour
