"""Commands about collections side by side, and about settings: collections ..., config show."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from imgclust.cli import completion
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, DryRun, Yes
from imgclust.terminal import collections as tables

commands = Commands()
collections_commands = Commands()
commands.add_typer(collections_commands, name="collections")

New = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]
Known = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=completion.collections, help="Name of the collection."
    ),
]

config_commands = Commands()

commands.add_typer(config_commands, name="config")


@collections_commands.alone(example="imgclust collections")
def collections(call: Call) -> None:
    """List, make, rename or delete collections."""
    list_(call)


@collections_commands.adds("list", example="imgclust collections list")
def list_(call: Call) -> None:
    """List the collections of the index folder."""
    from imgclust.collection import list_collections

    found = list_collections(call.options.index, progress=call.screen.progress)
    call.answer(found, tables.collections)


@collections_commands.adds(
    example="imgclust collections create paintings",
)
def create(call: Call, name: New) -> None:
    """Make an empty collection."""
    from imgclust import config
    from imgclust.collection import create_collection

    effective = config.load(call.options.files)
    made = create_collection(name, call.options.index, effective=effective)
    call.answer(made, tables.created)


@collections_commands.adds(example="imgclust collections rename default photos")
def rename(
    call: Call,
    name: Known,
    to: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Give a collection another name; clusters, names and links stay."""
    from imgclust.collection import rename_collection

    renamed = rename_collection(name, to, call.options.index)
    call.answer(renamed, tables.renamed)


@collections_commands.adds(
    example="""\
imgclust collections delete paintings
imgclust collections delete paintings -y     do not ask""",
)
def delete(
    call: Call,
    name: Known,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete a collection and its links; your images and every file of yours stay."""
    from imgclust.collection import collection_row, delete_collection

    row = collection_row(name, call.options.index)
    if dry_run:
        call.answer(row, tables.would_delete)
        return
    if not agreed(
        call,
        f"Delete the collection {name}?",
        yes=yes,
        reversible=False,
        doing=f"deleting {name} cannot be undone",
        show=lambda: tables.would_delete(call.screen, row),
    ):
        return
    gone = delete_collection(
        name, call.options.index, progress=call.screen.progress, stop=call.stop
    )
    call.answer(gone, tables.deleted)


@config_commands.alone(example="imgclust config")
def config(call: Call) -> None:
    """Show the settings and where each comes from."""
    show(call)


@config_commands.adds(
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
