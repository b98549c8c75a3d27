"""The live part of the terminal while a watcher runs: events into a state, a state into lines."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imgclust.errors import ImgclustError
from imgclust.fs import is_below
from imgclust.terminal.ingest import words
from imgclust.terminal.screen import PACE_S, pace, unit
from imgclust.terminal.table import cells, shortened
from imgclust.wording import counted, duration, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from imgclust.collection import Event, Standing


# A line and its style.
Line = tuple[str, str | None]

_ARRIVALS = {"ingested", "reused", "replaced"}
_SHOWN = _ARRIVALS | {"moved", "quarantined", "missing", "back", "gone"}
# Most events that are shown, and kept.
_KEPT = 20
_TITLE = 10
# Columns that a path keeps beside the id of its cluster.
_LEAST = 8


@dataclass(frozen=True)
class WatchState:
    """What a watcher has reported.

    Attributes
    ----------
    began
        Monotonic clock at the start, in seconds.
    last
        The newest events, newest first.
    arrived
        Images that came in since the start.
    recent
        Seconds of the clock, each with the images that came in during it: batches come in bursts.
    step
        Work beside the ingest (a download, links): its name, done, total.
    scanned
        The folders have been looked through once.
    waiting
        Why nothing can be written now; empty when all is well.
    """

    roots: tuple[bytes, ...]
    began: float
    last: tuple[Event, ...] = ()
    arrived: int = 0
    recent: tuple[tuple[int, int], ...] = ()
    step: tuple[str, int, int | None] | None = None
    standing: Standing | None = None
    scanned: bool = False
    waiting: str = ""
    stopping: bool = False


def after_event(state: WatchState, event: Event, now: float) -> WatchState:
    """The state after an event."""
    if event.kind == "waiting":
        return replace(state, waiting=event.sentence)
    if event.kind == "scanned":
        return replace(state, scanned=True)
    if event.kind not in _SHOWN:
        return replace(state, waiting="") if event.kind == "note" else state
    last = (event, *state.last)[:_KEPT]
    if event.kind not in _ARRIVALS:
        return replace(state, last=last)
    second = int(now)
    recent = tuple(one for one in state.recent if one[0] > now - PACE_S)
    if recent and recent[-1][0] == second:
        recent = (*recent[:-1], (second, recent[-1][1] + 1))
    else:
        recent = (*recent, (second, 1))
    return replace(state, last=last, arrived=state.arrived + 1, recent=recent, waiting="")


def after_progress(state: WatchState, step: str, done: int, total: int | None) -> WatchState:
    """The state after a call of `Progress`; the ingest itself is shown by what is left to do."""
    over = step == "ingesting" or (total is not None and done >= total)
    return replace(state, step=None if over else (step, done, total))


def recent_images(state: WatchState, now: float) -> int:
    """Images that came in during the last half minute."""
    return sum(count for second, count in state.recent if second > now - PACE_S)


def rate(state: WatchState, now: float) -> float:
    """Images a second that came in lately; 0 while that is not known."""
    return pace(state.recent, now)


def lines(state: WatchState, *, now: float, width: int, height: int) -> list[Line]:
    """The screen: at most `width` columns, and at most half of `height` where that is enough."""
    found: list[Line] = [(_head(state, width), "bold")]
    standing = state.standing
    alarm = "red" if state.waiting else None
    found += _fact("now", _now(state, now), width, style=alarm)
    if standing is not None:
        if standing.run is not None:
            run = standing.run
            found += _fact("files", [f"{run.seen:,} met", *words(run)], width)
        found += _fact("images", _images(state, standing), width)
        found += _fact("clusters", _clusters(standing), width)
        left = standing.unlinked
        found += _fact("links", [f"{left:,} to do" if left else "up to date"], width)
    room = max(1, min(_KEPT, height // 2 - len(found) - 1))
    title = "last"
    for event in state.last[:room]:
        before = f"{title:<{_TITLE}}"[:width]
        found.append((before + _last(event, state.roots, width - len(before)), None))
        title = ""
    found.append((_cut("Ctrl-C stops", width), "dim"))
    return found[: max(1, height - 1)]


def _head(state: WatchState, width: int) -> str:
    if not state.roots:
        return _cut("watching", width)
    before = "watching "
    more = len(state.roots) - 1
    after = f" and {counted(more, 'more folder')}" if more else ""
    path = shortened(printable(state.roots[0]), max(1, width - len(before) - len(after)))
    return _cut(f"{before}{path}{after}", width)


def _now(state: WatchState, now: float) -> list[str]:
    if state.stopping:
        return ["stopping", "press Ctrl-C again to stop at once"]
    if state.waiting:
        return [f"waiting: {one_line(state.waiting)}"]
    if state.step is not None:
        step, done, total = state.step
        scale, name = unit(step)
        amount = "" if total is None else f" {done / scale:,.0f}/{total / scale:,.0f}{name}"
        return [f"{one_line(step)}{amount}"]
    if state.standing is None:
        return ["getting ready"]
    run = state.standing.run
    speed, pending = rate(state, now), state.standing.pending if run is None else run.pending
    if state.standing.pause:
        return [f"{counted(pending, 'file')} queued", state.standing.pause.sentence]
    if not pending:
        new = recent_images(state, now)
        parts = ["all is in" if state.scanned else "looking through the folders"]
        return [*parts, f"{new:,} in the last {PACE_S} s"] if new else parts
    parts = [f"{counted(pending, 'file')} to read"]
    if speed:
        parts.append(f"{speed:,.0f} images/s" if speed >= 10 else f"{speed:.1f} images/s")
        if state.scanned:
            parts.append(f"{duration(pending / speed)} left")
    return parts


def _images(state: WatchState, standing: Standing) -> list[str]:
    parts = [f"{standing.images:,}"]
    if standing.run is None:
        parts.append(f"{state.arrived:,} of them new")
    if standing.quarantined:
        parts.append(f"{standing.quarantined:,} in quarantine")
    if standing.missing:
        parts.append(f"{standing.missing:,} missing")
    return parts


def _clusters(standing: Standing) -> list[str]:
    if standing.drift is None:
        return ["none yet"]
    parts = [f"{standing.clusters:,}"]
    if standing.provisional:
        parts.append("provisional")
    drift = standing.drift.overall
    if drift.ratio is not None:
        parts.append(f"drift {drift.ratio:.2f}")
    if standing.drift.suggestion is not None:
        parts.append("new images are far from the centres: imgclust cluster")
    return parts


def _fact(title: str, parts: Sequence[str], width: int, *, style: str | None = None) -> list[Line]:
    """A title and what belongs to it, as many parts on a line as it holds."""
    room = max(1, width - _TITLE)
    rows = [""]
    for part in parts:
        joined = f"{rows[-1]}, {part}" if rows[-1] else part
        if rows[-1] and cells(joined) > room:
            rows[-1] += ","
            rows.append(part)
        else:
            rows[-1] = joined
    titles = [title, *("" for _ in rows[1:])]
    return [
        (_cut(f"{name:<{_TITLE}}{row}", width), style)
        for name, row in zip(titles, rows, strict=True)
    ]


def _last(event: Event, roots: Sequence[bytes], room: int) -> str:
    """What happened to a file: its path below its root, and the cluster or the reason."""
    path = event.path or b""
    within = next((root for root in roots if is_below(path, root)), None)
    shown = printable(path if within is None else os.path.relpath(path, within))
    before = "" if event.kind in _ARRIVALS else f"{event.kind}: "
    after, least = "", room // 2
    if event.cluster is not None:
        after = f" -> cluster {event.cluster}"
        least = max(least, min(len(after), room - _LEAST))
        after += f" {printable(event.cluster_name)}" if event.cluster_name else ""
    elif event.kind == "quarantined":
        after = f": {one_line(event.sentence)}"
    after = _cut(after, max(0, least))
    return _cut(before + shortened(shown, max(1, room - len(before) - cells(after))) + after, room)


def _cut(text: str, width: int) -> str:
    """The text in at most `width` columns, its end left away."""
    if cells(text) <= width:
        return text
    mark = "..." if width > 3 else ""
    while text and cells(text) + len(mark) > width:
        text = text[:-1]
    return text + mark


# Seconds between two pictures of the screen, and at least between two looks into the catalog.
_DRAW_S = 0.25
_ASK_S = 0.5
# A look may take this share of the time; in a very large collection they become rarer.
_SHARE = 0.02


class LiveView:
    """A live part at the bottom of a terminal, drawn by a thread of its own.

    Parameters
    ----------
    console
        Where it is drawn; what is printed there meanwhile appears above.
    roots
        The watched folders.
    ask
        The status of the collection; called in the thread that makes the view, when that thread
        hears of something.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        console: Console,
        roots: Sequence[bytes],
        *,
        ask: Callable[[], Standing],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.live import Live

        self._console = console
        self._ask = ask
        self._clock = clock
        self._owner = threading.get_ident()
        self._ask_at = clock()
        self._state = WatchState(tuple(roots), clock())
        self._stopping = False
        self._shown: list[Line] = []
        self._width = console.width
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._thread = threading.Thread(target=self._run, name="imgclust-screen", daemon=True)

    def start(self) -> None:
        """Show it."""
        self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Take it away and give the cursor back."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._live.stop()

    def hear(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            self._state = after_event(self._state, event, self._clock())
        self._look()

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Show a step of the work. See `imgclust.progress.Progress`."""
        with self._lock:
            self._state = after_progress(self._state, step, done, total)
        self._look()

    def stopping(self) -> None:
        """Show that the watcher was asked to stop; safe in a signal handler."""
        self._stopping = True

    @property
    def state(self) -> WatchState:
        """What has been heard."""
        return replace(self._state, stopping=self._stopping)

    def draw(self) -> None:
        """Draw what has changed."""
        width, height = self._console.size
        new = lines(self.state, now=self._clock(), width=width, height=height)
        if new == self._shown and width == self._width:
            return
        if width < self._width:
            self._take_up(width)
        self._width, self._shown = width, new
        self._live.update(self.picture(), refresh=True)

    def picture(self) -> Text:
        """What was drawn last."""
        from rich.text import Text

        return Text("\n", no_wrap=True, overflow="crop").join(
            Text(line, style=style or "") for line, style in self._shown
        )

    def _take_up(self, width: int) -> None:
        """Go up over the rows that a narrower terminal has broken our lines into."""
        from rich.control import Control
        from rich.segment import ControlType

        broken = sum(max(0, cells(line) - 1) // width for line, _ in self._shown)
        up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, *(up * broken)))

    def _look(self) -> None:
        """Ask the status of the collection, unless that was done a moment ago."""
        began = self._clock()
        if threading.get_ident() != self._owner or began < self._ask_at:
            return
        with contextlib.suppress(ImgclustError, OSError):  # the ingest meets it, and says so
            standing = self._ask()
            with self._lock:
                self._state = replace(self._state, standing=standing)
        now = self._clock()
        self._ask_at = now + max(_ASK_S, (now - began) / _SHARE)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone; the work continues
            while not self._ended.wait(_DRAW_S):
                self.draw()
