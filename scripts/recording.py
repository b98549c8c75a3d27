"""A terminal that remembers: runs a command in a pseudo terminal and keeps what it showed.

It knows the few control sequences that imgclust writes and refuses any other, and it does not wrap:
a line that is too long for the terminal is seen as such. Cursor movements that reach above the
window, which a real terminal would not follow, are an error too.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_SEQUENCE = re.compile(r"\x1b(?:\[([?]?)([\d;]*)([A-Za-z])|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_RGB = tuple[int, int, int]
# The colours of xterm; other terminals are near them.
_PALETTE: list[_RGB] = [
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
]
_BRIGHT: list[_RGB] = [
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
]
THEMES = {
    "light": TerminalTheme((255, 255, 255), (0, 0, 0), _PALETTE, _BRIGHT),
    "dark": TerminalTheme((0, 0, 0), (229, 229, 229), _PALETTE, _BRIGHT),
}
# Rich's own picture, with the fonts of the machine that shows it.
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Cell:
    """A character and the graphic rendition it was written with; a wide one has an empty next."""

    text: str
    rendition: str


class Terminal:
    """What a terminal of `columns` x `rows` shows, with all that has scrolled out of it."""

    def __init__(self, *, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[list[Cell]] = [[]]
        self.widest = 0
        self._row = self._column = 0
        self._rendition = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        text, self._rest = self._rest + text, ""
        position = 0
        while position < len(text):
            if text[position] != "\x1b":
                self._put(text[position])
                position += 1
                continue
            found = _SEQUENCE.match(text, position)
            if found is None:
                if len(text) - position > 200:
                    raise ValueError(f"not a known sequence: {text[position : position + 20]!r}")
                self._rest = text[position:]
                return
            self._obey(found[1] or "", found[2] or "", found[3])
            position = found.end()

    @property
    def shown(self) -> list[str]:
        """The lines without colours, without empty ones at the end."""
        lines = ["".join(cell.text for cell in line).rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def texts(self) -> list[Text]:
        """The lines with their colours."""
        return [_coloured(line) for line in self.lines[: len(self.shown)]]

    def _put(self, character: str) -> None:
        if character == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append([])
        elif character == "\r":
            self._column = 0
        elif character == "\x07":
            pass
        elif not character.isprintable():
            raise ValueError(f"a terminal must not be sent {character!r}")
        else:
            line = self.lines[self._row]
            width = cell_len(character)
            line += [Cell(" ", "")] * (self._column + width - len(line))
            line[self._column] = Cell(character, self._rendition)
            for beside in range(1, width):
                line[self._column + beside] = Cell("", "")
            self._column += width
            self.widest = max(self.widest, self._column)

    def _obey(self, private: str, numbers: str, letter: str | None) -> None:
        if letter is None or (private and letter in "hl" and numbers in {"25", "2026", "7"}):
            return  # a title; the cursor hidden or shown; synchronised output; wrapping
        if letter == "m":
            self._rendition = "" if numbers in {"", "0"} else f"{self._rendition}\x1b[{numbers}m"
        elif letter == "A":
            self._row -= int(numbers or 1)
            if self._row < max(0, len(self.lines) - self.rows):
                raise ValueError("the cursor is moved above the window")
        elif letter == "K":
            line = self.lines[self._row]
            del line[0 if numbers == "2" else self._column :]
        else:
            raise ValueError(f"not a known sequence: {private}{numbers}{letter}")


def _coloured(line: Sequence[Cell]) -> Text:
    written, before = "", ""
    for cell in line:
        if cell.rendition != before:
            written += "\x1b[0m" + cell.rendition
            before = cell.rendition
        written += cell.text
    return Text.from_ansi(written + "\x1b[0m", no_wrap=True)


@dataclass(frozen=True)
class Act:
    """When a text is shown: type something, or do something."""

    when: str
    do: str | Callable[[], None]


@dataclass(frozen=True)
class Recording:
    """A command and what it showed: at its last act or while it worked, and at its end."""

    command: str
    code: int
    terminal: Terminal
    during: list[Text] | None


def record(
    arguments: Sequence[str],
    *,
    columns: int,
    rows: int,
    folder: Path,
    environment: dict[str, str],
    acts: Sequence[Act] = (),
    frame: str | None = None,
    timeout_s: float = 300,
) -> Recording:
    """Run `imgclust ARGUMENTS` in a terminal of that size.

    Parameters
    ----------
    acts
        What to do when; each waits for the one before.
    frame
        Keep the last picture that held this text, as `during`.

    Raises
    ------
    TimeoutError
        When the command does not end; it is killed.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", "from imgclust.cli import app; app()", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
        start_new_session=True,
        # Ctrl-C typed into the terminal reaches only a process whose terminal it is.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    terminal = Terminal(columns=columns, rows=rows)
    decoder = codecs.getincrementaldecoder("utf-8")()
    waiting, during = list(acts), None
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            if not select.select([leader], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            terminal.feed(decoder.decode(chunk))
            shown = "\n".join(terminal.shown)
            if frame is not None and frame in shown:
                during = terminal.texts()
            if waiting and waiting[0].when in shown:
                act = waiting.pop(0)
                during = terminal.texts() if isinstance(act.do, str) else during
                if isinstance(act.do, str):
                    os.write(leader, act.do.encode())
                else:
                    act.do()
        else:
            raise TimeoutError(f"imgclust {' '.join(arguments)} does not end")
        code = process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)
    return Recording(f"imgclust {' '.join(arguments)}", code, terminal, during)


def picture(title: str, lines: Sequence[Text], *, columns: int, theme: str) -> str:
    """The lines as an SVG picture on this background."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), color_system="truecolor", highlight=False
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.export_svg(
        title=title, theme=THEMES[theme], code_format=_SVG, unique_id="t", font_aspect_ratio=0.602
    )


def faint(lines: Sequence[Text], *, theme: str, least: float = 3.0) -> list[str]:
    """The pieces of text whose contrast with the background is below `least` (WCAG 2.1, 1.4.3).

    Pictures and bars are not judged.
    """
    colours = THEMES[theme]
    found = []
    for line in lines:
        for span in line.spans:
            style = span.style if isinstance(span.style, Style) else Style.parse(span.style)
            piece = line.plain[span.start : span.end].strip()
            if style.bgcolor is not None or not any(map(str.isalnum, piece)):
                continue
            fore = (style.color or Color.default()).get_truecolor(colours)
            back = colours.background_color
            shade: list[float] = [*fore]
            if style.dim:  # half way to the background, as most terminals do it
                shade = [(one + other) / 2 for one, other in zip(fore, back, strict=True)]
            if _contrast(shade, [*back]) < least:
                found.append(f"{piece!r} ({style})")
    return found


def _contrast(one: Sequence[float], other: Sequence[float]) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    linear = [
        value / 255 / 12.92 if value / 255 <= 0.04045 else ((value / 255 + 0.055) / 1.055) ** 2.4
        for value in colour
    ]
    return sum(
        weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
