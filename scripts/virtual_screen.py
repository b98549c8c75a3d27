"""A screen that nobody sees, with a window manager, a mouse and a keyboard: for `file_manager`.

Xvfb draws into a file, from which pictures are read; xdotool presses keys and moves the mouse. The
programs' selection has a colour that nothing else has, so that what is selected can be found.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

PROGRAMS = ("Xvfb", "openbox", "dbus-daemon", "xdotool")
SIZE = (1280, 860)
_SELECTED = (255, 0, 255)
_STYLE = """\
style "found" {
  base[SELECTED] = "#ff00ff"
  base[ACTIVE] = "#ff00ff"
  bg[SELECTED] = "#ff00ff"
}
class "*" style "found"
gtk-enable-animations = 0
"""
_STEPS = 12
# Looks between which a window has to be the same.
_STILL = 8
# Fewer pixels between two stretches are a hole in one entry.
_GAP = 6


def absent(programs: Sequence[str]) -> list[str]:
    """Those of these programs that are not installed."""
    return [name for name in programs if shutil.which(name) is None]


def wait(seen: Callable[[], Any], what: str, *, seconds: float = 90.0) -> Any:
    """What `seen` returns once that is true.

    Raises
    ------
    TimeoutError
        When it is not, for so long.
    """
    until = time.monotonic() + seconds
    while not (found := seen()):
        if time.monotonic() > until:
            raise TimeoutError(f"not seen in {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return found


class Screen:
    """A virtual screen; programs run on it in an environment and a home of its own."""

    def __init__(self, top: Path, environment: Mapping[str, str]) -> None:
        self._pixels = top / "Xvfb_screen0"
        self.environment = dict(environment)
        self.home = Path(environment["HOME"])

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A program on this screen."""
        return subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def xdotool(self, *words: object) -> str:
        """What xdotool prints; nothing where it finds no window."""
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.strip()

    def windows(self, title: str) -> list[str]:
        """Windows with this title."""
        found = self.xdotool("search", "--onlyvisible", "--name", f"^{title}$")
        return found.split()

    def place(self, window: str, x: int, y: int, width: int, height: int) -> None:
        """Put a window somewhere."""
        self.xdotool("windowsize", "--sync", window, width, height)
        self.xdotool("windowmove", "--sync", window, x, y)

    def activate(self, window: str) -> None:
        """Keys go to this window from now on."""
        self.xdotool("windowactivate", "--sync", window)
        time.sleep(0.5)

    def press(self, *keys: str) -> None:
        """Keys or combinations of keys, one after another."""
        for key in keys:
            self.xdotool("key", key)
            time.sleep(0.05)

    def write(self, text: str) -> None:
        """A text in place of the one in the entry that has the focus."""
        self.press("ctrl+a")
        self.xdotool("type", "--delay", 30, text)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drag what is at one place to another."""
        self.xdotool("mousemove", *start)
        time.sleep(0.2)
        self.xdotool("mousedown", 1)
        for step in range(1, _STEPS + 1):
            here = [round(a + (b - a) * step / _STEPS) for a, b in zip(start, end, strict=True)]
            self.xdotool("mousemove", *here)
            time.sleep(0.05)
        self.xdotool("mousemove_relative", 2, 2)
        time.sleep(0.4)  # until the window below has said what it takes
        self.xdotool("mouseup", 1)

    def frame(self) -> npt.NDArray[np.uint8]:
        """The pixels, red, green and blue."""
        raw = self._pixels.read_bytes()  # X11's XWD format
        start, _, _, _, width, height = struct.unpack(">6I", raw[:24])
        line, colours = struct.unpack(">I", raw[48:52])[0], struct.unpack(">I", raw[76:80])[0]
        pixels = np.frombuffer(raw, np.uint8, line * height, start + 12 * colours)
        return pixels.reshape(height, line // 4, 4)[:, :width, 2::-1]

    def picture(self, path: Path) -> None:
        """Keep what is on the screen."""
        Image.fromarray(self.frame().copy()).save(path)

    def still(self, window: str) -> None:
        """Wait until a window shows the same for a while."""
        rows, columns = self._part(window)
        before: list[bytes] = []

        def same() -> bool:
            before.append(self.frame()[rows, columns].tobytes())
            return len(before) > _STILL and len(set(before[-_STILL:])) == 1

        wait(same, "a window that stays as it is")

    def _part(self, window: str) -> tuple[slice, slice]:
        """Rows and columns of a window on the screen."""
        said = self.xdotool("getwindowgeometry", "--shell", window)
        at = {key: int(value) for key, value in (line.split("=") for line in said.splitlines())}
        return (
            slice(max(at["Y"], 0), at["Y"] + at["HEIGHT"]),
            slice(max(at["X"], 0), at["X"] + at["WIDTH"]),
        )

    def selected(
        self, window: str, *, count: int = 1, but: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """A place on the first of so many entries that are selected in a window.

        It is another one than `but`.

        Raises
        ------
        TimeoutError
            When it is another number: a key may have come before the window was ready.
        """
        lines, across = self._part(window)

        def found() -> tuple[int, int] | None:
            marked = (self.frame()[lines, across] == _SELECTED).all(axis=2)
            rows, columns = np.nonzero(marked)
            if not len(rows) or _entries(marked) != count:
                return None
            first = rows[0] + 3  # inside the topmost of them
            row = columns[rows == first]
            place = across.start + int(np.median(row)), lines.start + int(first) + 3
            return None if place == but else place

        place: tuple[int, int] = wait(found, "a selection", seconds=5)
        return place


def _entries(marked: npt.NDArray[np.bool_]) -> int:
    """How many rectangles there are in a mask, in columns that have a gap between them."""
    return sum(
        len(_runs(np.asarray(marked[:, left:right].any(axis=1))))
        for left, right in _runs(np.asarray(marked.any(axis=0)))
    )


def _runs(marked: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Beginning and end of each stretch that is marked; a few pixels are no gap."""
    places = np.flatnonzero(marked)
    parts = np.split(places, np.flatnonzero(np.diff(places) > _GAP) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


@contextlib.contextmanager
def screen(top: Path) -> Iterator[Screen]:
    """A screen for as long as it is used; `top` is an empty folder for it.

    Raises
    ------
    OSError
        When it does not start.
    """
    home = top / "home"
    (home / "run").mkdir(parents=True, mode=0o700)
    (home / ".gtkrc-2.0").write_text(_STYLE)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG", "DBUS"))}
    with contextlib.ExitStack() as open_programs:

        def start(*command: str) -> subprocess.Popen[str]:
            program = subprocess.Popen(
                command,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            open_programs.callback(_end, program)
            return program

        wide = "x".join(map(str, (*SIZE, 24)))
        server = start(
            *("Xvfb", "-displayfd", "1", "-screen", "0", wide, "-nolisten", "tcp"),
            *("-fbdir", str(top)),
        )
        number = server.stdout.readline().strip() if server.stdout else ""
        if not number:
            raise OSError("Xvfb does not start")
        kept |= {
            "DISPLAY": f":{number}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"),
        }
        bus = start("dbus-daemon", "--session", "--print-address=1", "--nofork")
        kept["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip() if bus.stdout else ""
        start("openbox")
        yield Screen(top, kept)


def _end(program: subprocess.Popen[str]) -> None:
    program.terminate()
    try:
        program.wait(10)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    if program.stdout is not None:
        program.stdout.close()
