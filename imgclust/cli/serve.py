"""The command serve."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgclust.cli import checks
from imgclust.cli.context import Call, ignoring_hangup
from imgclust.cli.typer_ext import Commands, whole
from imgclust.collection.json_documents import document, dumps
from imgclust.errors import MissingPackageError, UsageError
from imgclust.terminal import ingest

if TYPE_CHECKING:
    from imgclust.collection import Event

commands = Commands()


@commands.adds(
    example="""\
imgclust serve                          this machine alone: http://127.0.0.1:8765/
imgclust serve --watch ~/Pictures       watch a folder too, and remember it
imgclust serve --open                   open it in the browser
imgclust serve --host 0.0.0.0           other machines too, with a token
imgclust serve --log-format json        one line of JSON an event, for a log""",
)
def serve(
    call: Call,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", parser=whole(0, 65535), metavar="N", help="Port; 0: any.")
    ] = 8765,
    watch: Annotated[
        list[str] | None,
        typer.Option("--watch", metavar="FOLDER", help="Watch it too; can be given again."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Ask for the token in it; made if absent.  [default for other machines: "
            "serve.token in the index folder]",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A further host name, of a proxy say."),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"], typer.Option("--log-format", help="What a line of the log is.")
    ] = "text",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> int:
    """Serve the collections over HTTP, and watch the folders of one at the same time.

    Pages and an API for programs (/api/v1/openapi.json). Long work is a job; what changes comes as
    events. /livez, /readyz and /metrics are for those who operate it.
    """
    for folder in watch or ():
        checks.existing_folder(folder)
    for one in names or ():
        if not one or any(sign in one for sign in "@/\\?#, :[]"):
            raise UsageError(f"--name {one!r} is not a host name, such as photos.example.org")
    try:
        from imgclust.server.process import Options, run
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'serve needs {error.name}; pip install "imgclust[server]" installs it'
        ) from None
    from imgclust.collection import find_index_folder

    as_json = log_format == "json" or call.options.json

    def emit(event: Event) -> None:
        if as_json:
            call.screen.document(dumps(document(event, time=time.time())))
        elif event.kind != "scanned" or call.options.verbosity:
            ingest.event(call.screen, event)

    def ready(address: str, token: str | None) -> None:
        private = "" if token is None else f"?token={token}"
        if as_json:
            said = {"event": "serving", "time": _now(), "address": address}
            call.screen.document(dumps(said))
        elif sys.stderr.isatty():  # a log must not have the token
            call.screen.note(f"serving {address}{private}; Ctrl-C stops")
        else:
            call.screen.note(f"serving {address}")
        if open_browser:
            typer.launch(address + private)

    with call.open(create_for=watch) as collection:  # said at once where it cannot be opened
        index = collection.folders.root.parent
    options = Options(
        index=index if watch else find_index_folder(call.options.index).path,
        collection=call.options.collection,
        host=host.strip("[]"),
        port=port,
        watch=tuple(map(os.path.abspath, watch or ())),
        files=call.options.files,
        token_file=token_file,
        names=tuple(one.lower() for one in names or ()),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(ignoring_hangup())
        if as_json:
            stack.enter_context(_logging_json(call))
        run(options, stop=call.stop, emit=emit, ready=ready)
    return 0


@contextlib.contextmanager
def _logging_json(call: Call) -> Iterator[None]:
    """Log records as documents on standard output, beside the events."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = {
                "event": "log",
                "time": _now(),
                "level": record.levelname.lower(),
                "message": " ".join(self.format(record).split()),
            }
            call.screen.document(dumps(said))

    handler, root = Handler(), logging.getLogger()
    before, root.handlers = root.handlers, [handler]
    try:
        yield
    finally:
        root.handlers = before


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
