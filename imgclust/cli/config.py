"""Commands about settings: config show."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands
from imgclust.terminal import collections as tables

commands = Commands()
config_commands = Commands()
commands.add_typer(config_commands, name="config")


@config_commands.alone(example="imgclust config")
def config(call: Call) -> None:
    """Show the settings and where each comes from."""
    show(call)


@config_commands.adds(
    "show",
    example="""\
imgclust config show
imgclust config show --changed               those that have not their default
imgclust config show --config classic        as they would be with that file""",
)
def show(
    call: Call,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that have not their default.")
    ] = False,
) -> None:
    """Show the effective value of every setting, and where it comes from."""
    from imgclust import config
    from imgclust.collection import effective_settings

    options = call.options
    effective = config.load(options.files)
    found = effective_settings(options.index, options.collection, effective=effective)
    if changed:
        found = replace(found, settings=tuple(row for row in found.settings if row.changed))
    call.answer(found, partial(tables.settings, changed=changed))
