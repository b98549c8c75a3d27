"""Standard output and error made fit for any name, any locale, and a reader that goes away."""

from __future__ import annotations

import contextlib
import locale
import os
import re
import sys

from imgclust import config


def complete() -> None:
    """Open what was closed before the start (`<&-`), so that no other file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def adapt(*, json: bool) -> None:
    """Let no name that cannot be shown end the program; a JSON document is UTF-8 everywhere."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:
            continue
        if json and stream is sys.stdout:
            reconfigure(encoding="utf-8", errors="replace")
        elif stream.isatty() and not _speaks_utf8():
            reconfigure(encoding="ascii", errors="backslashreplace")
        else:
            reconfigure(errors="backslashreplace")


def drop_invalid_sizes() -> None:
    """Remove sizes of the terminal that are not numbers: rich would fail at "²"."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[0-9]{0,5}", config.environment(name) or ""):
            del os.environ[name]


def discard_output() -> None:
    """Nobody reads standard output any more: the flush at exit must not fail."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _speaks_utf8() -> bool:
    """False in a locale such as C, whose terminal may show ASCII only."""
    return "utf" in locale.setlocale(locale.LC_CTYPE).lower()
