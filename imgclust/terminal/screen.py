"""The screen: results on standard output, all else on standard error, a bar while work runs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from imgclust.terminal.table import (
    LEAST_PATH,
    Column,
    PathsBelowRoots,
    below_roots,
    cells,
    listed,
    made,
    with_name,
)
from imgclust.wording import NOTE, duration, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.segment import Segment
    from rich.table import Table

    from imgclust.collection import Standing
    from imgclust.terminal.watch_view import LiveView

logging.addLevelName(NOTE, "NOTE")

# How fast work goes is that of so many seconds, and is known after so many; what has to be done
# is known when it has not grown for so many.
PACE_S = 30
_TELLS_S = 5.0
_STANDS_S = 2.0


def pace(amounts: Sequence[tuple[float, float]], now: float) -> float:
    """Units a second by what was done and when, oldest first; 0 while that is not known.

    Before the first amount there was a start, which says nothing about the rest: the time counts
    from there, and two more amounts and five seconds are needed.
    """
    recent = [one for one in amounts if one[0] > now - PACE_S]
    if len(recent) < 3 or now - recent[0][0] < _TELLS_S:
        return 0.0
    return sum(amount for _, amount in recent[1:]) / (now - recent[0][0])


class Forecast:
    """How fast one step of work goes and how long it still takes, once that means something."""

    def __init__(self) -> None:
        self._done = self._total = 0.0
        self._stands = 0.0
        self._amounts: list[tuple[float, float]] = []

    def see(self, now: float, done: float, total: float) -> None:
        """Take note of how far the work is now."""
        if done < self._done:
            self._amounts.clear()
        elif done > self._done:
            kept = [one for one in self._amounts if one[0] > now - PACE_S]
            self._amounts = [*kept, (now, done - self._done)]
        if total != self._total:
            self._stands = now
        self._done, self._total = done, total

    def rate(self, now: float) -> float:
        """Units a second; 0 while that is not known."""
        return pace(self._amounts, now)

    def left_s(self, now: float) -> float | None:
        """Seconds that the rest takes; None while that is not known."""
        rate = self.rate(now)
        if not rate or now - self._stands < _STANDS_S:
            return None
        return (self._total - self._done) / rate


# A pipe has no width: nothing is cut in it.
_UNLIMITED = 100_000


class Screen:
    """What commands write to.

    Parameters
    ----------
    quiet
        No progress, no remarks, no summaries: only what was asked for, and errors.
    json
        Standard output belongs to a JSON document.
    full_path
        Show whole paths, not those below a root.

    Attributes
    ----------
    roots
        The folders that images come from.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False, full_path: bool = False) -> None:
        self.quiet = quiet
        self.json = json
        self.full_path = full_path
        self.roots: Sequence[bytes] = ()
        self._below: tuple[Sequence[bytes], PathsBelowRoots] = ((), PathsBelowRoots(()))
        self._lock = threading.RLock()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._view: LiveView | None = None
        self._listeners: list[Callable[[str], None]] = []

    # Made on first use: a JSON document needs neither.

    @cached_property
    def _out(self) -> Console:
        return _console(sys.stdout)

    @cached_property
    def _err(self) -> Console:
        return _console(sys.stderr)

    # Standard output

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Write a line of the result; on a terminal it is wrapped between words."""
        self._print(text, style=style, wrap=self._out.is_terminal)

    def exact(self, text: str) -> None:
        """Write a line of the result that is never wrapped: paths, and what can be pasted."""
        self._print(text, style=None, wrap=False)

    def fitted(self, before: str, path: str, after: str = "") -> None:
        """Write a line with a path that is shortened where the terminal is too narrow for it."""
        room = self._out.width - cells(before) - cells(after)
        self.exact(f"{before}{with_name(path, max(room, LEAST_PATH))}{after}")

    def below(self, path: bytes) -> str:
        """A path for a line of its own, below its root; a line before the first names the root."""
        if self.full_path:
            return printable(path)
        if self._below[0] != self.roots:
            self._below = self.roots, PathsBelowRoots(self.roots)
        lines, shown = self._below[1].shown(path)
        for line in lines:
            self.exact(line)
        return shown

    def fits(self, before: str, after: str) -> bool:
        """True when `fitted` can make a line of these that is no wider than the terminal."""
        return cells(before) + cells(after) + LEAST_PATH <= self._out.width

    def summary(self, text: str) -> None:
        """Write a line that says what was done; quiet leaves it away."""
        if not self.quiet:
            self.line(text)

    def outcome(self, text: str) -> None:
        """Write an `exact` line that quiet leaves away."""
        if not self.quiet:
            self.exact(text)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | bytes]]) -> None:
        """Write rows under bold titles, without borders.

        A cell of bytes is the path of an image, shown below its root; a line before the table
        names the root.
        """
        rows = [*rows]
        paths = {cell for row in rows for cell in row if isinstance(cell, bytes)}
        lines, shown = below_roots(paths, () if self.full_path else self.roots)
        for line in lines:
            self.exact(line)
        texts = [[shown[one] if isinstance(one, bytes) else one for one in row] for row in rows]
        for number, table in enumerate(made(columns, texts, width=self._out.width)):
            if number:
                self.line()
            self._table(table)

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Write names and what belongs to them."""
        self._table(listed(facts))

    def document(self, text: str) -> None:
        """Write a JSON document on a line of its own."""
        with self._lock:
            self.clear()
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def paths(self, paths: Iterable[bytes], *, end: bytes = b"\n") -> None:
        """Write paths exactly as the system has them, for other programs."""
        self.clear()
        sys.stdout.flush()
        for path in paths:
            sys.stdout.buffer.write(path + end)
        sys.stdout.buffer.flush()

    @property
    def shows_pictures(self) -> bool:
        """True on a terminal with enough colours and characters for pictures of half blocks."""
        out = self._out
        many = out.color_system in {"256", "truecolor"} and not out.no_color
        return out.is_terminal and many and out.encoding.lower().startswith("utf")

    @property
    def width(self) -> int:
        """Columns of standard output; 80 in a pipe."""
        return self._out.width if self._out.width < _UNLIMITED else 80

    def blocks(self, lines: Iterable[Iterable[Segment]]) -> None:
        """Write lines of coloured blocks, in colour wherever they go."""
        from rich.segment import Segment, Segments

        shown = self._out if self.shows_pictures else None
        console = shown or _plain(
            file=sys.stdout, force_terminal=True, color_system="truecolor", no_color=False
        )
        self.clear()
        for line in lines:
            console.print(Segments([*line, Segment.line()]), soft_wrap=True)

    # Standard error

    def note(self, text: str) -> None:
        """Say something in passing; quiet leaves it away."""
        for listener in self._listeners:
            listener(text)
        if not self.quiet:
            self._say(text)

    def error(self, text: str) -> None:
        """Say what went wrong, on one line."""
        self._say(f"imgclust: {text}", style="red")

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Show a bar; it leaves when the step is done. See `imgclust.progress.Progress`."""
        if self.quiet or not self._err.is_terminal:
            return
        if self._view is not None:
            self._view.progress(step, done, total)
            return
        with self._lock:
            if total is not None and done >= total:
                self.clear()
                return
            if self._bar is None:
                self._bar = progress_bar(self._err)
                self._bar.start()
            if self._task is None or step != self._step:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._step = step
                self._task = self._bar.add_task(step, total=total, completed=done)
            else:
                self._bar.update(self._task, total=total, completed=done)

    def clear(self) -> None:
        """Take the bar or the live part away."""
        view, self._view = self._view, None
        if view is not None:
            view.stop()
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = self._task = None

    @property
    def can_live(self) -> bool:
        """True on a terminal that can draw over what it shows."""
        terminal = self._out.is_terminal and self._err.is_terminal
        return terminal and not (self.quiet or self.json or self._err.is_dumb_terminal)

    def live(self, roots: Sequence[bytes], ask: Callable[[], Standing]) -> LiveView:
        """Show a live part below all that is written from here on, until `clear`."""
        from imgclust.terminal.watch_view import LiveView

        self.clear()
        self._view = LiveView(self._err, roots, ask=ask)
        self._view.start()
        return self._view

    @contextmanager
    def overheard(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Let a listener have what `note` is given, in quiet too."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def stopping(self, text: str) -> None:
        """Say in a signal handler that the work is asked to stop."""
        if self._view is not None:
            self._view.stopping()
        elif sys.stderr.isatty():
            # Written at once: a console may be in the middle of a line.
            os.write(2, f"\n{text}\n".encode())

    # Questions

    @property
    def can_ask(self) -> bool:
        """True when a person sits there."""
        return not self.json and sys.stdin.isatty() and self._err.is_terminal

    def ask(self, question: str) -> bool:
        """Ask a yes-or-no question; no is the answer when there is none."""
        return self.reply(f"{question} [y/N]") in {"y", "yes"}

    def reply(self, question: str) -> str | None:
        """What a person answers, in small letters; None when there is no answer."""
        self.clear()
        shown = f"{printable(question)} "
        self._err.print(shown, end="", markup=False, highlight=False, emoji=False)
        try:
            return input().strip().lower()
        except (EOFError, KeyboardInterrupt) as error:
            self._err.print()
            if isinstance(error, KeyboardInterrupt):
                raise
            return None

    def logging(self, level: int) -> AbstractContextManager[None]:
        """Show the log records of imgclust from `level` on, as lines on standard error.

        What a service says in passing is shown as every command shows it, unless it is quiet.
        """

        def show(record: logging.LogRecord) -> None:
            if record.levelno == NOTE:
                self.note(record.getMessage())
            else:
                self._say(f"imgclust: {record.levelname.lower()}: {record.getMessage()}")

        return log_records(show, level=level)

    def _say(self, text: str, *, style: str | None = None) -> None:
        # Nobody reads it any more when the terminal is gone: no reason to end the work.
        with self._lock, suppress(OSError):
            self._err.print(
                one_line(text),
                style=style,
                soft_wrap=not self._err.is_terminal,
                markup=False,
                highlight=False,
                emoji=False,
            )

    def _table(self, table: Table) -> None:
        self.clear()
        with self._out.capture() as captured:
            self._out.print(table)
        for text in captured.get().splitlines():
            sys.stdout.write(text.rstrip() + "\n")

    def _print(self, text: str, *, style: str | None, wrap: bool) -> None:
        with self._lock:
            # A bar stays below what is printed by its own console.
            below = self._bar is not None or self._view is not None
            above = below and self._out.is_terminal
            console = self._err if above else self._out
            console.print(
                text, style=style, soft_wrap=not wrap, markup=False, highlight=False, emoji=False
            )
            console.file.flush()


def _console(stream: TextIO) -> Console:
    from imgclust import config

    limited = stream.isatty() or config.environment("COLUMNS") is not None
    return _plain(
        file=stream, width=None if limited else _UNLIMITED, highlight=False, soft_wrap=False
    )


def _plain(**settings: Any) -> Console:
    """A console that leaves a closed pipe to its caller."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Plain(**settings)


def unit(step: str) -> tuple[float, str]:
    """What the numbers of a step of work are shown in: how many make one, and its name."""
    return (1e6, " MB") if step.startswith("downloading") else (1.0, "")


def progress_bar(console: Console) -> Progress:
    """A bar that leaves when it is stopped, with done, total, and what a `Forecast` says."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Done(ProgressColumn):
        """How many of how many, how fast, how long still."""

        def __init__(self) -> None:
            super().__init__()
            self._forecasts: dict[TaskID, Forecast] = defaultdict(Forecast)

        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text("")
            scale, name = unit(task.description)
            text = f"{task.completed / scale:,.0f}/{task.total / scale:,.0f}{name}"
            now, forecast = task.get_time(), self._forecasts[task.id]
            forecast.see(now, task.completed, task.total)
            if speed := forecast.rate(now) / scale:
                text += f"  {speed:,.0f}/s" if speed >= 10 else f"  {speed:.1f}/s"
            if (left := forecast.left_s(now)) is not None:
                text += f"  {duration(left)} left"
            return Text(text)

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Done(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def log_records(write: Callable[[logging.LogRecord], None], *, level: int) -> Iterator[None]:
    """Give `write` the log records of imgclust, from `level` on, in whatever thread they arise."""
    logger = logging.getLogger("imgclust")
    before = logger.level
    handler = _Handler(write, level)
    logger.addHandler(handler)
    # The other handlers have levels of their own.
    logger.setLevel(min(before or level, level))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[logging.LogRecord], None], level: int) -> None:
        super().__init__(level)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record)
