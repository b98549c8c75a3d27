"""Questions: whether a command may go ahead, on a terminal, in a pipe and in a script."""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import select
import struct
import sys
import termios
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from imgclust.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from imgclust.cli.context import Call

# How long standard input has for its first line, and how often the stop flag is looked at.
_PATIENCE_S = 1.0
_LOOK_S = 0.05
# More bytes without a line break are not an answer.
_LONGEST = 100
_YES, _NO = {b"y", b"yes"}, {b"n", b"no"}


def agreed(
    call: Call,
    question: str,
    *,
    yes: bool,
    doing: str,
    reversible: bool,
    show: Callable[[], None] | None = None,
    asks: bool = True,
) -> bool:
    """Whether a command may go ahead; a "no" is said to have changed nothing.

    On a terminal a person is asked. Elsewhere standard input is not read with `-y`, `--json` or
    `-` as an argument. Else its first line is obeyed, if it is there within a second and says yes
    or no. Where it says nothing, a reversible command goes ahead.

    Parameters
    ----------
    question
        What a person is asked.
    yes
        Whether `-y` was given.
    doing
        What is about to be done, for the refusal.
    reversible
        Whether a command takes it back.
    show
        Shows a person what it is about, before the question.
    asks
        False where a person on a terminal need not be asked.

    Raises
    ------
    StoppedError
        When the command was interrupted while it waited.
    UsageError
        Where it needs an answer and has none, as in a script.
    """
    if yes:
        return True
    if call.screen.can_ask:
        if not asks:
            return True
        if show is not None:
            show()
        answer: bool | None = call.ask(question)
    else:
        reads = not call.options.json and "-" not in sys.argv[1:]
        answer = _piped(call, doing) if reads else None
        if answer is None and not reversible:
            raise _unanswered(doing)
    if answer is False:
        call.screen.note("nothing was changed")
    return answer is not False


def _piped(call: Call, doing: str) -> bool | None:
    """What the first line of standard input says; None where it says nothing at all."""
    line = next_line(call)
    if not line:
        return None
    word = line.strip().lower()
    if word in _NO:
        return False
    # Half a line may become anything; only "no" is safe to act on.
    if word in _YES and line.endswith(b"\n"):
        return True
    raise _unanswered(doing)


def next_line(call: Call, *, patience_s: float | None = _PATIENCE_S) -> bytes:
    """The next line of standard input, as much of it as comes in time; None: it has all the time.

    Read byte by byte: what follows the line is left to whoever reads next. The end of the input
    ends the line. On a terminal nothing is read.
    """
    line = b""
    number = _readable()
    if number is None or os.isatty(number):  # nobody sees a question, so nobody answers it
        return b""
    poll = select.poll()
    poll.register(number, select.POLLIN)
    until = math.inf if patience_s is None else time.monotonic() + patience_s
    with contextlib.suppress(OSError):  # a folder, or a terminal that is gone
        while not line.endswith(b"\n") and len(line) < _LONGEST:
            if call.stop.is_set():
                raise StoppedError("interrupted; nothing was changed")
            left = until - time.monotonic()
            if left <= 0:
                break
            if poll.poll(1000 * min(left, _LOOK_S)):
                byte = os.read(number, 1)
                if not byte:
                    return line + b"\n" if line else b""
                line += byte
    return line


def on_terminal() -> bool:
    """Whether standard input is a terminal."""
    number = _readable()
    return number is not None and os.isatty(number)


def is_waiting() -> bool:
    """Whether standard input, where it is not a terminal, holds something that can be read now."""
    number = _readable()
    if number is None or os.isatty(number):
        return False
    try:
        (size,) = struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, bytes(4)))
    except OSError:
        return False
    return int(size) > 0


def _readable() -> int | None:
    """The file that standard input is; None where it is none, or closed."""
    try:
        number = sys.stdin.fileno()
        os.fstat(number)
    except (AttributeError, io.UnsupportedOperation, ValueError, OSError):
        return None
    return number


def _unanswered(doing: str) -> UsageError:
    return UsageError(f"{doing}; pass -y when not running interactively")
