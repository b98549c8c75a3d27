"""Numbers, paths and times as people read them; plain ASCII, so that they fit every terminal."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Mapping

ELLIPSIS = "..."
_SURROGATE = re.compile("[\udc80-\udcff]")


def printable(text: str | bytes | os.PathLike[str]) -> str:
    """Text or a path with what a terminal must not be sent escaped.

    Undecodable bytes become `\\xNN`; control characters (a file's name may hold them) and line
    breaks are escaped as in Python.
    """
    decoded = os.fsdecode(text)
    if decoded.isprintable():
        return decoded
    return "".join(_escaped(character) for character in decoded)


def _escaped(character: str) -> str:
    if _SURROGATE.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """A message on one line, printable."""
    return printable(" ".join(text.split()))


def cells(text: str) -> int:
    """Columns that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(path: str, width: int) -> str:
    """The path in at most `width` columns, cut in the middle; its last part is kept longest."""
    if cells(path) <= width:
        return path
    room = width - len(ELLIPSIS)
    if room <= 0:
        return _head(path, width)
    name = cells(path[path.rfind("/") :])
    tail = min(max(name, room * 2 // 3), room)
    return _head(path, room - tail) + ELLIPSIS + _head(path[::-1], tail)[::-1]


def _head(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:position]
    return text


# What to do about images that are held.
NEXT_STEP = "bring them back, or let them go with imgclust missing accept"


def held(path: bytes, reason: str) -> str:
    """A folder whose images are held, why, and what to do."""
    return f"{printable(path)}: {printable(reason)}; {NEXT_STEP}"


def offline(path: bytes, images: int) -> str:
    """A folder whose disk is not there."""
    return f"{printable(path)} is offline: {counted(images, 'image')} kept"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 image", "1,203 images"."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number:,} {word}"


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """ "512 bytes", "11 MB" (powers of ten)."""
    if count < 1000:
        return counted(count, "byte")
    unit, scale = next(
        (unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if count >= scale
    )
    value = count / scale
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def unit(step: str) -> tuple[float, str]:
    """What the numbers of a step of work are shown in: how many make one, and its name."""
    return (1e6, " MB") if step.startswith("downloading") else (1.0, "")


def suffixes(skipped: Mapping[str, int]) -> str:
    """ "1 .mov, 1 .xmp": how many of which suffix, the most first."""
    order = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {suffix or 'without suffix'}" for suffix, number in order)


def moment(wall: float) -> str:
    """A wall clock as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
