"""What can be judged of a command line alone, and the questions that a command asks."""

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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imgclust import config
from imgclust.errors import StoppedError, UsageError
from imgclust.fs import NotAFileError, require_regular
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.cli.context import Call


_WEIGHTS = {"auto", "imagenet", "trunk"}


def sheet(path: Path | None) -> None:
    """Refuse a contact sheet that cannot be drawn there."""
    if path is not None:
        from imgclust.collection.exports import require_sheet

        require_sheet(path)


def map_file(path: Path | None, dims: int | None) -> None:
    """Refuse a map that cannot be drawn there."""
    if path is not None:
        from imgclust.collection.exports import require_map

        require_map(path, dims)


def report(path: Path | None) -> None:
    """Refuse a report that cannot be written there."""
    if path is not None:
        from imgclust.collection.exports import require_report

        require_report(path)


def export(target: Path | BinaryIO | None, *, format: str, embeddings: bool) -> None:
    """Refuse an export that cannot be written there, or whose options do not go together."""
    from imgclust.collection.exports import require_export

    require_export(target, format=format, embeddings=embeddings)


def similarity(min_score: float | None) -> None:
    """Refuse what no cosine similarity of copies can be."""
    from imgclust.collection.duplicates import require_similarity

    require_similarity(min_score)


def least_similarity(least: float | None) -> None:
    """Refuse what no similarity of two images can be."""
    from imgclust.collection.query import require_similarity

    require_similarity(least)


def score(min_score: float | None) -> None:
    """Refuse what no score of a query can be."""
    from imgclust.collection.query import require_score

    require_score(min_score)


def preferred_folders(folders: Iterable[str]) -> None:
    """Refuse what is not a folder."""
    from imgclust.collection.duplicates import require_folders

    require_folders(map(os.fsencode, folders))


def k_range(files: Sequence[str], k_min: int | None, k_max: int | None) -> None:
    """Refuse a first k above the last, each as given or as set."""
    from imgclust.collection.clusters import k_range

    k_range(config.load(files).settings.clustering, k_min, k_max)


def cluster_name(name: str) -> None:
    """Refuse what no cluster can be called."""
    from imgclust.collection.clusters import cluster_name

    cluster_name(name)


def whole_name(name: str | None) -> None:
    """Refuse what clusters that are put together cannot be called."""
    if name is not None:
        from imgclust.collection.clusters import whole_name

        whole_name(name)


def several(things: Iterable[object], message: str) -> None:
    """Refuse fewer than two different things."""
    if len(set(things)) < 2:
        raise UsageError(message)


def folder_to_make(path: Path | None) -> None:
    """Refuse to make a folder in the place of a file."""
    if path is not None and os.path.lexists(path.expanduser()) and not path.expanduser().is_dir():
        raise UsageError(f"{printable(path)} is not a folder; name another place")


def links_apart(links: Path | None, folders: Iterable[str]) -> None:
    """Refuse a link folder among the images, or the images in it."""
    folder_to_make(links)
    if links is not None:
        from imgclust.collection.link_folder import keep_apart

        wanted = Path(os.path.abspath(links.expanduser()))
        keep_apart(wanted, [os.path.realpath(os.fsencode(folder)) for folder in folders])


def log_file(given: str | None) -> None:
    """Refuse a log in the place of something that is not a log of ours, or in no folder."""
    if given and given != "auto":
        from imgclust.terminal.log_file import refuse_foreign

        path = Path(given).expanduser()
        refuse_foreign(path)
        if not path.absolute().parent.is_dir():
            raise UsageError(
                f"the log file {printable(path)} cannot be written: its folder does not exist"
            )


def command(files: Sequence[str], given: str | None) -> None:
    """Refuse a command for events, given or set, that cannot be run."""
    wanted = config.load(files).settings.watch.on_event if given is None else given
    if given is not None or wanted:
        from imgclust.collection.event_command import words_of

        words_of(wanted)


def weights(given: str | None) -> None:
    """Refuse weights that are neither a word nor a file."""
    if given is None or given in _WEIGHTS:
        return
    path = Path(given).expanduser()
    try:
        require_regular(path)
    except NotAFileError as error:
        raise UsageError(f"{printable(path)} is {error.kind}; weights are a file") from None
    if not path.exists():
        raise UsageError(
            f"{printable(path)}: no such file; weights are auto, imagenet, trunk or a file"
        )


def existing_folder(path: str) -> None:
    """Refuse a folder that is not there."""
    if not os.path.lexists(path):
        raise UsageError(f"the folder {printable(path)} does not exist; nothing was changed")
    if not os.path.isdir(path):
        raise UsageError(f"{printable(path)} is not a folder; nothing was changed")


def backup_file(path: Path) -> None:
    """Refuse a backup in the place of a folder, or in no folder."""
    if str(path) == "-":
        raise UsageError("a backup is a file, not standard output; name one")
    place = path.expanduser()
    if place.is_dir():
        raise UsageError(f"{printable(path)} is a folder; name a file")
    folder = Path(os.path.abspath(place)).parent
    if not folder.is_dir():
        raise UsageError(
            f"the folder {printable(folder)} does not exist; create it, or mount its disk"
        )


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
