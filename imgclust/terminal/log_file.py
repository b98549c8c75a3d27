"""The log file of a watcher: a line an event, rotated by size, without secrets or floods."""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import re
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.errors import UsageError, reason_of
from imgclust.terminal import ingest
from imgclust.terminal.screen import log_records
from imgclust.wording import one_line

if TYPE_CHECKING:
    from imgclust.collection import Event

# A log is this many files of at most this size.
LIMIT_BYTES = 5_000_000
FILES = 3

# Every line begins like this; a file that does not is not our log.
_OURS = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]*@")
_QUESTION = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#]*)[?#]\S*")

# A line that was written within so many seconds is counted; of so many different lines at most.
_WINDOW_S = 600.0
_REMEMBERED = 1000


class LogFile:
    """A log file; lines may come from any thread.

    Parameters
    ----------
    path
        The file; it is made, with mode 0600, where there is none. Older parts are beside it, with
        `.1` and `.2` after the name.
    clock
        Wall clock, in seconds.
    limit_bytes
        Size at which a new part is begun.

    Attributes
    ----------
    repeats
        The lines that would be counted now.

    Raises
    ------
    UsageError
        When the file cannot be written, or it or an older part is not a log of ours.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.repeats = Repeats()
        try:
            for part in (path, *(Path(f"{path}.{n}") for n in range(1, FILES))):
                refuse_foreign(part)
            self._file = _Parts(path, maxBytes=limit_bytes, backupCount=FILES - 1)
        except OSError as error:
            raise UsageError(f"the log file {path} cannot be written: {reason_of(error)}") from None

    def write(self, level: str, text: str) -> None:
        """Write a line, unless the same was written a short while ago: then it is counted."""
        line = f"{level} {without_secrets(one_line(text))}"
        with self._lock:
            now = self._clock()
            new, due = self.repeats.admit(line, now)
            for one in [*due, line] if new else due:
                self._put(one, now)

    def event(self, event: Event) -> None:
        """Write an event of a watcher; that nothing has changed is none."""
        if event.kind != "scanned":
            level = "warning" if ingest.matters(event) and event.kind != "note" else "info"
            self.write(level, "".join(ingest.parts(event)))

    def records(self) -> AbstractContextManager[None]:
        """Take the log records of imgclust, from INFO on, with their tracebacks."""
        whole = logging.Formatter()
        return log_records(
            lambda record: self.write(record.levelname.lower(), whole.format(record)),
            level=logging.INFO,
        )

    def close(self) -> None:
        """Write what was counted, and close."""
        with self._lock:
            for one in self.repeats.over():
                self._put(one, self._clock())
            self._file.close()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, line: str, now: float) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        self._file.handle(logging.makeLogRecord({"msg": f"{at} {line}"}))


class Repeats:
    """Finds lines that come again, so that they are counted instead of written."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def admit(self, line: str, now: float) -> tuple[bool, list[str]]:
        """Whether to write the line, and before it what to write of others that came again."""
        due = []
        while self._known:
            oldest, (since, count) = next(iter(self._known.items()))
            if abs(now - since) < _WINDOW_S and len(self._known) < _REMEMBERED:
                break
            due += self._leave(oldest, count)
        if line in self._known:
            since, count = self._known[line]
            self._known[line] = since, count + 1
            return False, due
        self._known[line] = now, 0
        return True, due

    def __len__(self) -> int:
        return len(self._known)

    def over(self) -> list[str]:
        """What is left to be written at the end."""
        return [
            one
            for line, (_, count) in list(self._known.items())
            for one in self._leave(line, count)
        ]

    def _leave(self, line: str, count: int) -> list[str]:
        del self._known[line]
        return [f"{line} (and {count:,} more like it)"] if count else []


def without_secrets(text: str) -> str:
    """The text without the credentials and parameters of addresses."""
    return _QUESTION.sub(r"\1?...", _CREDENTIALS.sub(r"\1", text))


class _Parts(logging.handlers.RotatingFileHandler):
    """A log in parts that only its owner may read; a full disk costs lines, not the watcher.

    Names in mixed case are those of `logging`, which are overridden.
    """

    def __init__(self, path: Path, *, maxBytes: int, backupCount: int) -> None:  # noqa: N803
        super().__init__(
            path,
            maxBytes=maxBytes,
            backupCount=backupCount,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        number = os.open(self.baseFilename, flags, 0o600)
        return open(number, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Continue without the line."""


def refuse_foreign(path: Path) -> None:
    """Neither append to nor rotate away a file that is something else.

    Raises
    ------
    UsageError
        When it is.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"the log file {path} is not a regular file; name another one")
    except FileNotFoundError:
        return
    with path.open("rb") as opened:
        begin = opened.read(21)
    if begin and not _OURS.fullmatch(begin):
        raise UsageError(
            f"{path} is not a log of imgclust and is left alone; name another log file"
        )
