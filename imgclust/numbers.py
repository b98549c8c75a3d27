"""Numbers as people write them: ASCII digits, and nothing that Python alone would understand.

`int` and `float` take more than a person means: "1_000", " 5", "٣", "nan", "1e999" as infinity;
and `str.isdigit` is true of "²", at which `int` fails.
"""

from __future__ import annotations

import math
import re

from imgclust.errors import UsageError

# The largest count that an option or a setting takes.
MOST = 999_999_999

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_HOURS = re.compile(r"([0-9]{1,2}):([0-5][0-9])-([0-9]{1,2}):([0-5][0-9])")
_DAY = 24 * 60
_UNIT_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 40


def is_digits(text: str) -> bool:
    """Whether this is digits alone: an id, whatever else it might be."""
    return text.isascii() and text.isdigit()


def whole(text: str) -> int | None:
    """The whole number that this says, of at most 19 digits; None for other text."""
    return int(text) if _WHOLE.fullmatch(text) else None


def number(text: str) -> float | None:
    """The finite number that this says; None for other text, and for what no float can hold."""
    found = float(text) if _NUMBER.fullmatch(text) else math.nan
    return found if math.isfinite(found) else None


def count(text: str) -> int | None:
    """The number from 1 to `MOST` that these digits give; None for other text."""
    found = whole(text) if is_digits(text) else None
    return found if found is not None and 1 <= found <= MOST else None


def count_or_auto(value: str | int, *, name: str = "", least: int = 1) -> int | None:
    """What an option or setting that takes N|auto says; None for auto.

    Raises
    ------
    UsageError
        For anything else, naming the option.
    """
    text = written(value)
    if text == "auto":
        return None
    found = count(text)
    if found is None or found < least:
        raise UsageError(
            (f"{name} = " if name else "")
            + f"{quoted(text)} is neither auto nor a whole number from {least} to {MOST:,}"
        )
    return found


def recurrence(text: str) -> tuple[int | None, float | None] | None:
    """What "5000", "90m", "12h" or "7d" says: a number of images, or seconds; None for others."""
    images, amount = count(text), count(text[:-1])
    if images is not None:
        return images, None
    if text[-1:] in _UNIT_S and amount is not None:
        return None, amount * _UNIT_S[text[-1]]
    return None


def hours(text: str) -> tuple[int, int] | None:
    """What "22:00-06:00" says: the first minute of the day and the one after the last, which may be
    on the next day; None for other text, and for a span of no length.
    """
    found = _HOURS.fullmatch(text)
    if not found or not text.isascii():
        return None
    begin, end = (int(found[part]) * 60 + int(found[part + 1]) for part in (1, 3))
    return (begin, end) if begin != end and begin < _DAY and end <= _DAY else None


def written(value: object) -> str:
    """A value that may be given as text or as a number, as text."""
    try:
        return str(value)
    except ValueError:  # Python refuses to write the longest numbers
        return "a number of thousands of digits"


def quoted(text: str) -> str:
    """Text for a message, not all of it where it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
