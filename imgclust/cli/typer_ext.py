"""Global options, honoured before and after every command, and how options are read."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from imgclust import __version__, numbers
from imgclust.cli import completion
from imgclust.cli.context import Globals, perform
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.collection import Selection

_PLACE = "imgclust.globals"
_ORDER = (
    *("watch", "pause", "resume", "add", "query", "duplicates", "sweep", "cluster", "clusters"),
    *("view", "links"),
    *("report", "export", "status", "quarantine", "missing", "roots", "remove", "doctor"),
    *("serve", "backup", "restore", "collections", "config", "weights", "reembed"),
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"imgclust {__version__}")
        raise typer.Exit


def _declared(
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Index folder to use.")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            metavar="NAME",
            autocompletion=completion.collections,
            help="Collection to use.  [default: default]",
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            metavar="FILE|NAME",
            autocompletion=completion.configurations,
            help="Settings; can be given again, later wins.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Say nothing when all goes well.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Say more; -vv shows tracebacks.",
        ),
    ] = 0,
    full_path: Annotated[
        bool, typer.Option("--full-path", help="Whole paths, not those below their root.")
    ] = False,
) -> None:
    """Stand for the global options: only the signature counts."""


_PARAMETERS = dict(inspect.signature(_declared, eval_str=True).parameters)
_LEAST_WIDTH = 30
_WHOLE = 1000
# A cluster's name is taken away by an empty one, and no log file is kept.
_MAY_BE_EMPTY = {"words", "log"}


class _Help:
    """Help in which the global options stand apart and nothing is cut; no value may be empty.

    Mixed into TyperCommand or TyperGroup, and calls what both have: mypy sees neither here.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        if ctx.resilient_parsing:  # a shell completes what is not typed to its end
            return rest
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            value = ctx.params.get(parameter.name)
            given = value if isinstance(value, (list, tuple)) else (value,)
            if "" in given and parameter.name not in _MAY_BE_EMPTY:
                raise UsageError(f"{_said(parameter)} is empty; see {ctx.command_path} --help")
        return rest

    def get_help(self, ctx: Any) -> str:
        ctx.terminal_width = max(_LEAST_WIDTH, min(80, shutil.get_terminal_size().columns)) - 2
        text: str = super().get_help(ctx)  # type: ignore[misc]
        return text

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = ["[OPTIONS]"]
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            if parameter.param_type_name == "argument":
                text = parameter.metavar + ("..." if parameter.nargs == -1 else "")
                pieces.append(text if parameter.required else f"[{text}]")
        if isinstance(self, TyperGroup):
            pieces.append("COMMAND" if ctx.parent is None else "[COMMAND]")
        return pieces

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": [], "Global options": []}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.name in _PARAMETERS:
                sections["Global options"].append(record)
            elif parameter.param_type_name == "argument":
                sections["Arguments"].append((parameter.metavar, record[1]))
            else:
                sections["Options"].append(record)
        if isinstance(self, TyperGroup):
            self.format_commands(ctx, formatter)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    _write_list(formatter, records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:  # type: ignore[attr-defined]
            lines = self.epilog.splitlines()  # type: ignore[attr-defined]
            with formatter.section("Examples" if len(lines) > 1 else "Example"):
                narrow = max(map(len, lines)) > formatter.width
                for line in lines:
                    for part in _broken(line, formatter.width - 2) if narrow else [line]:
                        formatter.write(f"  {part}\n")


def _said(parameter: Any) -> str:
    """How a person calls it."""
    name: str = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
    return name


def _write_list(formatter: Any, records: list[tuple[str, str]]) -> None:
    """Names and what they are for, in columns that suit the width."""
    width = formatter.width
    fitting = [
        (name if len(name) < width else name.replace(" ", "\n  ", 1), text)
        for name, text in records
    ]
    formatter.write_dl(fitting, col_max=min(30, width // 2 - 4))


def _broken(example: str, width: int) -> list[str]:
    """An example on lines that can still be pasted, what it does below it."""
    command, _, purpose = re.sub(r" {2,}", "\0", example, count=1).partition("\0")
    rows = textwrap.wrap(command, width - 2, break_on_hyphens=False, subsequent_indent="  ")
    said = textwrap.wrap(purpose, width - 6)
    return [*(f"{row} \\" for row in rows[:-1]), rows[-1], *(f"    {row}" for row in said)]


class Command(_Help, TyperCommand):
    """A command."""


class Group(_Help, TyperGroup):
    """A group of commands, listed in the order in which a person meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: (*_ORDER, name).index(name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            _write_list(
                formatter,
                [
                    (name, self.commands[name].get_short_help_str(limit=_WHOLE))
                    for name in self.list_commands(ctx)
                ],
            )


def merged(context: typer.Context, given: dict[str, Any]) -> Globals:
    """The global options given so far: those of a command win over those before it."""
    before: Globals = context.meta.get(_PLACE, Globals())
    merged = dataclasses.replace(
        before,
        index=given["index"] or before.index,
        collection=given["collection"] or before.collection,
        named=before.named or given["collection"] is not None,
        files=(*before.files, *(given["config"] or ())),
        json=given["json"] or before.json,
        quiet=given["quiet"] or before.quiet,
        verbosity=before.verbosity + given["verbose"],
        full_path=before.full_path or given["full_path"],
    )
    context.meta[_PLACE] = merged
    return merged


def with_globals(function: Callable[..., int | None]) -> Callable[..., None]:
    """A function of a `Call` and a command's own parameters, as Typer takes it.

    It gets the global options besides its own, and runs with failures turned into exit codes. The
    function of a group runs only when no command of it is called.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in (context, *own, *_PARAMETERS.values())
    ]

    def command(**values: Any) -> None:
        called: typer.Context = values.pop("context")
        options = merged(called, {name: values.pop(name) for name in _PARAMETERS})
        if called.invoked_subcommand is None:
            raise typer.Exit(perform(options, lambda call: function(call, **values)))

    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    command.__module__ = function.__module__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    # Read by inspect.signature, and so by Typer; the type of a function does not declare it.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


class Commands(typer.Typer):
    """A group whose commands all take the global options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            cls=Group,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"]},
            **settings,
        )

    def adds(
        self, name: str | None = None, *, example: str
    ) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
        """Register a command, by default under the name of its function.

        `example` goes under its help, a line each.
        """

        def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
            self.command(name, cls=Command, epilog=example)(with_globals(function))
            return function

        return register

    def alone(
        self, *, example: str
    ) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
        """Register what the group does without a command."""

        def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
            self.callback(cls=Group, invoke_without_command=True, epilog=example)(
                with_globals(function)
            )
            return function

        return register


def whole(least: int, most: int = numbers.MOST) -> Callable[[str | int], int]:
    """What reads an option that is a whole number in this range."""

    def read(given: str | int) -> int:
        found = numbers.whole(str(given))
        if found is None:
            raise typer.BadParameter(f"{numbers.quoted(str(given))} is not a whole number")
        if not least <= found <= most:
            which = f"less than {least:,}" if found < least else f"more than {most:,}"
            raise typer.BadParameter(f"{found} is {which}")
        return found

    return read


def decimal(given: str | float) -> float:
    """What reads an option that is a number."""
    found = numbers.number(str(given))
    if found is None:
        raise typer.BadParameter(f"{numbers.quoted(str(given))} is not a number")
    return found


def count_or_auto(least: int) -> Callable[[str], str]:
    """What reads an option that takes N|auto."""

    def read(given: str) -> str:
        try:
            numbers.count_or_auto(given, least=least)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None
        return given

    return read


Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
]


def selection(since: str | None, until: str | None, camera: str | None) -> Selection | None:
    """What `--since`, `--until` and `--camera` choose; None without them."""
    if since is None and until is None and camera is None:
        return None
    from imgclust.collection import Selection

    return Selection(since, until, camera)


Cluster = Annotated[
    str,
    typer.Argument(
        metavar="CLUSTER", autocompletion=completion.clusters, help="Id or name of the cluster."
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="DATE", help="Taken then or later: 2024, 2024-05, 2024-05-31."),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="DATE", help="Taken then or earlier.")
]
Camera = Annotated[
    str | None,
    typer.Option("--camera", metavar="NAME", help="Only by cameras with this in their name."),
]
OfCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="CLUSTER",
        autocompletion=completion.clusters,
        help="Only images of this cluster (id or name).",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
