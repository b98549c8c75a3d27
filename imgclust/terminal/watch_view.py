"""The live part of the terminal while a watcher runs; what is said meanwhile appears above it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from imgclust.errors import ImgclustError
from imgclust.terminal import watch_state
from imgclust.terminal.table import cells
from imgclust.terminal.watch_state import WatchState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from imgclust.collection import Event, Standing

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
        self._shown: list[watch_state.Line] = []
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
            self._state = watch_state.after_event(self._state, event, self._clock())
        self._look()

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Show a step of the work. See `imgclust.progress.Progress`."""
        with self._lock:
            self._state = watch_state.after_progress(self._state, step, done, total)
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
        new = watch_state.lines(self.state, now=self._clock(), width=width, height=height)
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
