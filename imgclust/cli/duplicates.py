"""Commands about duplicates."""

from __future__ import annotations

from typing import Annotated

import typer

from imgclust.cli import checks
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, decimal, whole
from imgclust.errors import UsageError
from imgclust.terminal import query as tables

commands = Commands()
duplicates_commands = Commands()
commands.add_typer(duplicates_commands, name="duplicates")


@duplicates_commands.alone(
    example="""\
imgclust duplicates
imgclust duplicates --similar            crops, bursts and other look-alikes
imgclust duplicates --keep photos/2024   images below this folder are the best copies
imgclust duplicates -0 | xargs -0 ls -l  all but the best copy of each group
imgclust duplicates dismiss 12 40        these two are not duplicates"""
)
def duplicates(
    call: Call,
    similar: Annotated[
        bool, typer.Option("--similar", help="Show similar images instead: crops, bursts.")
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="SCORE",
            help="Least score of a near copy.  [default: by recipe]",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER", help="Prefer images below this folder; repeatable."),
    ] = None,
    files: Annotated[
        bool, typer.Option("-f", "--files", help="Print paths only: all but the best copies.")
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="As -f, with a NUL after each path.")
    ] = False,
) -> None:
    """Find exact and near duplicates; deletes nothing."""
    paths = files or null
    if paths and (similar or call.options.json):
        raise UsageError("-f and -0 print duplicates, without --similar and --json")
    checks.similarity(min_score)
    checks.preferred_folders(keep or ())
    with call.open() as collection:
        found = collection.duplicates(min_score=min_score, keep=keep or ())
    if paths:
        lesser = (one.path for group in found.groups for one in group.images[1:])
        call.screen.paths(lesser, end=b"\0" if null else b"\n")
    else:
        call.answer(found, tables.similar if similar else tables.duplicates)


@duplicates_commands.adds(
    example="""\
imgclust duplicates dismiss 12 40
imgclust duplicates dismiss 12 40 --undo""",
)
def dismiss(
    call: Call,
    ids: Annotated[
        list[int],
        typer.Argument(parser=whole(0, 10**19), metavar="ID", help="Images, by their ids."),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="They may be duplicates again.")] = False,
) -> None:
    """Remember that images are not duplicates of each other."""
    checks.several(ids, "name two images or more by their ids, as imgclust duplicates shows them")
    with call.open() as collection:
        call.answer(collection.dismiss_duplicates(ids, undo=undo), tables.dismissed)
