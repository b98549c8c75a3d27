"""What hears the events of an ingest: standard output, the live part, the log file."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.cli.context import Call
from imgclust.collection.json_documents import document, dumps
from imgclust.errors import UsageError
from imgclust.fs import is_below
from imgclust.terminal import ingest, stdio
from imgclust.terminal.screen import Screen
from imgclust.wording import counted, printable

if TYPE_CHECKING:
    from imgclust.collection import Collection, Event, IngestResult
    from imgclust.terminal.log_file import LogFile
    from imgclust.terminal.watch_view import LiveView


class Listener:
    """Hears the events of an ingest: prints every one, or counts for a summary.

    Parameters
    ----------
    every
        Print each event, and stop the work when nobody reads them any more.
    view
        Shows what is not printed.
    log
        Gets each event too.
    """

    def __init__(
        self,
        call: Call,
        *,
        every: bool = False,
        view: LiveView | None = None,
        log: LogFile | None = None,
    ) -> None:
        self._call = call
        self._every = every
        self._view = view
        self._log = log
        self._closed = False
        call.screen.progress("getting ready", 0, None)

    def __call__(self, event: Event) -> None:
        if self._log is not None:
            self._log.event(event)
        if self._view is not None:
            self._view.hear(event)
        try:
            if not self._closed:
                self._print(event)
        except BrokenPipeError:
            self._closed = True
            if self._every:
                self._call.stop.set()
        except OSError:  # the terminal is gone; the watcher continues
            self._closed = True

    def _print(self, event: Event) -> None:
        options, screen = self._call.options, self._call.screen
        every = options.verbosity > 0 if self._view is not None else self._every
        if self._every and options.json:
            screen.document(dumps(document(event, time=time.time())))
        elif (options.verbosity and not options.json) or (every and event.kind != "scanned"):
            ingest.event(screen, event)
        elif self._view is not None:
            if ingest.matters(event) or event.kind == "clustered":
                ingest.event(screen, event)
        else:
            ingest.remark(screen, event)

    def summary(self, collection: Collection, result: IngestResult) -> None:
        """Write what the run did."""

        def show(screen: Screen, result: IngestResult) -> None:
            ingest.ingested(screen, result)
            clusters = collection.standing().clusters
            page = collection.link_folder / "index.html"
            if clusters:
                screen.summary(f"{counted(clusters, 'cluster')}; imgclust clusters lists them")
            screen.outcome(f"links: {printable(collection.link_folder)}")
            if clusters and page.is_file():
                screen.outcome(f"look at them in a browser: {printable(page)}")

        try:
            self._call.answer(result, show)
        except OSError:
            if not self._every:
                raise
            stdio.discard_output()  # the terminal is gone, and the work was done


@contextlib.contextmanager
def log_file(
    call: Call, collection: Collection, roots: Sequence[bytes]
) -> Iterator[LogFile | None]:
    """The log file that the settings name, None without one; what ends the work is its last line.

    Raises
    ------
    UsageError
        When it lies in a watched folder (each line would make the folder due again), or cannot be
        written.
    """
    chosen = collection.settings.watch.log_file
    if not chosen:
        yield None
        return
    from imgclust.terminal.log_file import LogFile

    if chosen == "auto":
        path = collection.folders.log / "watch.log"
        path.parent.mkdir(mode=0o700, exist_ok=True)
    else:
        path = Path(chosen).expanduser()
    real = os.path.realpath(os.fsencode(path))
    for root in roots:
        if is_below(real, root):
            raise UsageError(
                f"the log file {printable(path)} lies in the watched folder {printable(root)}; "
                "choose another place, or auto"
            )
    with (
        LogFile(path) as log,
        log.records(),
        call.screen.overheard(lambda text: log.write("info", text)),
    ):
        log.write("info", f"watching {', '.join(map(printable, roots))}")
        try:
            yield log
        except Exception as error:
            log.write("error", f"ended: {error}")
            raise
        log.write("info", "ended as asked" if call.stop.is_set() else "done")
