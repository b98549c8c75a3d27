"""Commands about the folders that images come from: roots list, move, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from imgclust.cli import checks, completion
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, DryRun, Yes
from imgclust.terminal import collections as tables
from imgclust.wording import counted

commands = Commands()
roots_commands = Commands()
commands.add_typer(roots_commands, name="roots")


@roots_commands.alone(example="imgclust roots")
def roots(call: Call) -> None:
    """List, move or remove the folders that images come from."""
    list_(call)


@roots_commands.adds("list", example="imgclust roots list")
def list_(call: Call) -> None:
    """List the folders, with their state and number of images."""
    with call.open() as collection:
        call.answer(collection.roots(), tables.roots, rows="roots")


@roots_commands.adds(
    example="""\
imgclust roots move ~/Pictures /mnt/newdisk/Pictures
imgclust roots move /mnt/old/2019 /mnt/new/2019         a folder below a watched one
imgclust roots move /mnt/old /mnt/new --dry-run         compare the files, change nothing""",
)
def move(
    call: Call,
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD", autocompletion=completion.roots, help="Where the images were."
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Where they are now.")],
    dry_run: DryRun = False,
) -> None:
    """Say that a folder has moved: its images keep ids, clusters and names.

    The files at the new place are compared with the catalog first.
    """
    checks.existing_folder(new)
    with call.open() as collection:
        call.answer(collection.move_root(old, new, dry_run=dry_run), tables.moved)


@roots_commands.adds(
    example="""\
imgclust roots remove ~/Downloads                       its images stay in the collection
imgclust roots remove ~/Downloads --remove-images -y    take them out, do not ask""",
)
def remove(
    call: Call,
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", autocompletion=completion.roots, help="The folder."),
    ],
    remove_images: Annotated[
        bool, typer.Option("--remove-images", help="Take its images out of the collection too.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Stop watching a folder; no file is touched."""
    with call.open() as collection:
        if remove_images and not dry_run:
            found = collection.remove_root(folder, remove_images=True, dry_run=True)
            images = counted(found.images, "image")
            if not agreed(
                call,
                f"Take {images} out of the collection?",
                yes=yes,
                doing=f"{images} would leave the collection",
                reversible=False,
                show=lambda: tables.removed(call.screen, found),
            ):
                return
        call.answer(
            collection.remove_root(folder, remove_images=remove_images, dry_run=dry_run),
            tables.removed,
        )
