"""The application: all commands, and what happens around a call of them."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from imgclust.cli import (
    clusters,
    collections,
    corrections,
    duplicates,
    export,
    images,
    links,
    maintenance,
    query,
    roots,
    serve,
)
from imgclust.cli.context import Call, Globals, fail
from imgclust.cli.typer_ext import Commands, Version, with_globals
from imgclust.errors import UsageError
from imgclust.progress import left_behind
from imgclust.terminal import stdio

_EXAMPLES = """\
imgclust watch ~/Pictures             ingest what is there, then what arrives
imgclust query ~/Pictures/cat.jpg     the most similar images
imgclust cluster                      re-cluster; ids and names are kept
imgclust status                       the status of the collection"""


class Application(Commands):
    """The object that the console script calls."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not sys.warnoptions:
            import warnings

            warnings.simplefilter("ignore")  # of libraries; python -W shows them
        code = main()
        served = "uvicorn" in sys.modules
        if served:  # all is closed; to take the modules down too would be most of the end
            atexit._run_exitfuncs()
        if served or left_behind():
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
        sys.exit(code)


app = Application(name="imgclust", epilog=_EXAMPLES)


@app.callback(invoke_without_command=True)
@with_globals
def _without_command(call: Call, version: Version = False) -> int:
    """Watch folders of images, embed each new one once, and keep a tree of its clusters.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing found,
    4 locked by another process, 130 interrupted.
    """
    raise UsageError("no command given; see imgclust --help")


clusters.clusters_commands.add_typer(corrections.commands)
for _group in (
    images,
    query,
    duplicates,
    clusters,
    links,
    export,
    maintenance,
    roots,
    collections,
    serve,
):
    app.add_typer(_group.commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    arguments
        Without the program's name; those of this process by default.
    """
    stdio.complete()
    stdio.drop_invalid_sizes()
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        code = command.main(given, prog_name="imgclust", standalone_mode=False)
    except typer.TyperException as error:
        return fail(UsageError(_hint(error)), _early(given))
    except UsageError as error:
        return fail(error, _early(given))
    except (typer.Abort, KeyboardInterrupt):
        return fail(KeyboardInterrupt(), _early(given))
    except SystemExit as error:
        # Typer's answer to a help that nobody reads to its end.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        stdio.discard_output()
        return 0
    return code if isinstance(code, int) else 0


def _hint(error: typer.TyperException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if message.endswith("?"):
        return message
    return f"{message}; see {context.command_path if context else 'imgclust'} --help"


def _early(arguments: Sequence[str]) -> Globals:
    """What is known of the global options where the command line cannot be understood."""
    options = list(arguments)
    if "--" in options:
        options = options[: options.index("--")]
    return Globals(json="--json" in options, verbosity=2 * ("-vv" in options))
