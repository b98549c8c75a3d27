"""The command links, and the options about links that other commands have too."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from imgclust.cli import checks
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, DryRun
from imgclust.errors import UsageError
from imgclust.terminal import clusters as tables

commands = Commands()

Mode = Literal["symlink", "hardlink", "copy"]
Order = Literal["name", "central"]
Outliers = Annotated[
    bool | None,
    typer.Option(
        "--outliers/--no-outliers",
        help="Images far from their cluster's centre go to the folder outliers.",
        show_default=False,
    ),
]


@commands.adds(
    example="""\
imgclust links                              update all links
imgclust links --check                      are they? exit code 1 says no
imgclust links --link-mode hardlink         make them hard links from now on
imgclust links --links ~/Clusters           move the link folder
imgclust links --folder "{id}_{count}"      name the folders so
imgclust links --outliers                   outliers in a folder of their own
imgclust links --order central              the most central images first""",
)
def links(
    call: Call,
    dry_run: DryRun = False,
    check: Annotated[
        bool, typer.Option("--check", help="Check whether they are up to date.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--links", metavar="DIR", help="Move the link folder there.")
    ] = None,
    link_mode: Annotated[Mode | None, typer.Option(help="What a link is, from now on.")] = None,
    folder: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Folder of a cluster, from now on: {id}, {count}."),
    ] = None,
    named_folder: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Folder of a named cluster: {id}, {count}, {name}."),
    ] = None,
    outliers: Outliers = None,
    order: Annotated[
        Order | None,
        typer.Option(help="central: a number before each name, the most central first."),
    ] = None,
) -> int:
    """Update the link folders to match the clusters."""
    flags = {
        "links.mode": link_mode,
        "links.folder": folder,
        "links.named_folder": named_folder,
        "links.outliers": outliers,
        "links.order": order,
    }
    changing = [key for key, value in flags.items() if value is not None]
    if (check or dry_run) and (changing or to or (check and dry_run)):
        raise UsageError("--check and --dry-run change nothing; give one of them alone")
    checks.folder_to_make(to)
    with call.open(flags, changing=changing) as collection:
        if to is not None:
            result = collection.move_links(to)
        else:
            result = collection.links(dry_run=dry_run, check=check)
        if check:
            call.answer(result, tables.links_check)
            return 0 if result.in_step else 1
        call.answer(result, partial(tables.links, folder=collection.link_folder, would=dry_run))
        return 0
