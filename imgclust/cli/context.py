"""One call of a command: its global options, screen, signals, failures and exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgclust import devices
from imgclust.collection.json_documents import document, dumps, error_document
from imgclust.errors import ImgclustError, StoppedError, reason_of
from imgclust.progress import StopFlag
from imgclust.terminal import stdio
from imgclust.terminal.screen import Screen
from imgclust.wording import NOTE, printable

if TYPE_CHECKING:
    from imgclust.collection import Collection

Result = TypeVar("Result")

_LEVELS = {0: NOTE, 1: logging.INFO}


@dataclass(frozen=True)
class Globals:
    """The global options, as given before and after the command taken together."""

    index: Path | None = None
    collection: str = "default"
    # Whether a person said which collection.
    named: bool = False
    files: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False
    verbosity: int = 0
    full_path: bool = False


class Call:
    """What a command function works with."""

    def __init__(self, options: Globals) -> None:
        self.options = options
        self.stop = StopFlag()
        self.screen = Screen(quiet=options.quiet, json=options.json, full_path=options.full_path)

    def open(
        self,
        flags: dict[str, Any] | None = None,
        *,
        create_for: Iterable[str] | None = None,
        changing: Iterable[str] = (),
    ) -> Collection:
        """Open the collection with these flags (settings by dotted name; None: not given)."""
        from imgclust import config

        effective = config.load(self.options.files, flags)
        from imgclust.collection import Collection

        collection = Collection.open(
            self.options.index,
            self.options.collection,
            effective=effective,
            create_for=None if create_for is None else [os.fsencode(one) for one in create_for],
            progress=self.screen.progress,
            say=self.screen.note,
            stop=self.stop,
            changing=frozenset(changing),
            ask=self.ask if self.screen.can_ask else None,
        )
        self.screen.roots = collection.root_folders
        return collection

    def answer(
        self,
        result: Result,
        show: Callable[[Screen, Result], None],
        *,
        rows: str = "",
        more: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Write a result: for people, or as its JSON document.

        `rows` is the key of a list, and `more` are further lists by their keys.
        """
        if self.options.json:
            written = document(result, rows=rows)
            for key, listed in (more or {}).items():
                written |= document(listed, rows=key)
            self.screen.document(dumps(written))
        else:
            self.screen.clear()
            show(self.screen, result)

    def ask(self, question: str) -> bool:
        """Ask a person; Ctrl-C ends the command as elsewhere."""
        with _handled(signal.default_int_handler, signal.SIGINT):
            return self.screen.ask(question)

    def reply(self, question: str) -> str | None:
        """What a person answers in a word; None for nothing. Ctrl-C ends the command."""
        with _handled(signal.default_int_handler, signal.SIGINT):
            return self.screen.reply(question)


def perform(options: Globals, command: Callable[[Call], int | None]) -> int:
    """Run a command; returns the exit code that it, or its failure, ends with.

    A command without a code of its own ends with that of an interruption when it was asked to stop.
    """
    stdio.adapt(json=options.json)
    call = Call(options)
    try:
        level = logging.ERROR if options.quiet else _LEVELS.get(options.verbosity, logging.DEBUG)
        with call.screen.logging(level), _signals(call):
            devices.require("faiss")
            devices.require("tensorflow")
            code = command(call)
            sys.stdout.flush()
            if code is None:
                code = StoppedError.exit_code if call.stop.is_set() else 0
            return code
    except BrokenPipeError:
        stdio.discard_output()
        return 0
    except BaseException as error:  # libraries in Rust panic with exceptions of their own kind
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        call.screen.clear()
        return fail(error, options)
    finally:
        call.screen.clear()


def fail(error: BaseException, options: Globals) -> int:
    """Say what went wrong, in one line; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        error = StoppedError("interrupted")
    if isinstance(error, ImgclustError):
        code, message, exit_code = error.code, str(error), error.exit_code
    elif isinstance(error, OSError):
        code, message, exit_code = "storage", _refused(error), 1
    else:
        code, exit_code = "fault", 1
        message = (
            f"internal error: {type(error).__name__}: {error}; run again with -vv to see where"
        )
    if options.verbosity > 1:
        traceback.print_exception(error)
    screen = Screen(json=options.json)
    try:
        if options.json:
            screen.document(dumps(error_document(code, message)))
        else:
            screen.error(message)
            sys.stdout.flush()
    except OSError:
        stdio.discard_output()
    return exit_code


def _refused(error: OSError) -> str:
    named = isinstance(error.filename, str | bytes | os.PathLike)  # else a descriptor, or nothing
    where = f"{printable(error.filename)}: " if named else ""
    return f"the system refuses: {where}{reason_of(error)}"


@contextlib.contextmanager
def _signals(call: Call) -> Iterator[None]:
    """SIGINT and SIGTERM ask the work to stop; the second one ends the process at once."""

    def stop(number: int, frame: object) -> None:
        if call.stop.is_set():
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # the cursor that a bar has hidden
            os._exit(StoppedError.exit_code)
        call.stop.set()
        call.screen.stopping("imgclust: stopping; press again to stop at once")

    with _handled(stop, signal.SIGINT, signal.SIGTERM):
        yield


def ignoring_hangup() -> contextlib.AbstractContextManager[None]:
    """Ignore SIGHUP, so that closing the terminal does not stop the watcher."""
    return _handled(signal.SIG_IGN, signal.SIGHUP)


@contextlib.contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
