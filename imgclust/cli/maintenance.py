"""Commands about the collection and this machine: status, doctor, report, backup, restore, ..."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from imgclust.cli import checks
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, DryRun, Yes
from imgclust.terminal import collections as tables
from imgclust.terminal import status as status_module

commands = Commands()


@commands.adds(
    example="""\
imgclust status
imgclust status -v        with the last events""",
)
def status(call: Call) -> None:
    """Show the status of the collection."""
    with call.open() as collection:
        found = collection.status()
        call.answer(found, status_module.status)
        if call.options.verbosity and not call.options.json:
            status_module.engine(call.screen, found, collection.engine())
            status_module.events(call.screen, found)
            tables.kept(call.screen, collection.kept_catalogs())


@commands.adds(
    example="""\
imgclust doctor             exit code 1 says that something disagrees
imgclust doctor --repair    repair it""",
)
def doctor(
    call: Call,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what disagrees.")] = False,
) -> int:
    """Check that disk, catalog, index and links agree."""
    with call.open() as collection:
        found = collection.doctor(repair=repair)
        call.answer(found, partial(status_module.doctor, repair=repair))
        return 0 if found.ok else 1


@commands.adds(
    example="""\
imgclust reembed --weights imagenet
imgclust reembed --weights imagenet --dry-run    how many, and how long about""",
)
def reembed(
    call: Call,
    weights: Annotated[
        str | None,
        typer.Option(metavar="auto|imagenet|trunk|PATH", help="Weights.  [default: as set]"),
    ] = None,
    raw: Annotated[
        bool | None,
        typer.Option("--raw/--no-raw", help="Pooled values as they are, or at unit length."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Embed all images again with other weights.

    What a run that was stopped has embedded, the next one keeps.
    """
    checks.weights(weights)
    flags = {"embedding.weights": weights, "embedding.raw": raw}
    changing = () if raw is None else ("embedding.raw",)
    with call.open(flags, changing=changing) as collection:
        if not dry_run and not yes:
            asks = call.screen.can_ask
            if asks:
                plan = collection.reembed(dry_run=True)
                status_module.reembedded(call.screen, plan)
                asks = plan.before != plan.after
            if not agreed(
                call,
                "Embed again and change over?",
                yes=yes,
                doing="all images would be embedded again",
                reversible=True,
                asks=asks,
            ):
                return
        call.answer(collection.reembed(dry_run=dry_run), status_module.reembedded)


@commands.adds(
    example="""\
imgclust report
imgclust report --out photos.html""",
)
def report(
    call: Call,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Where to.  [default: report.html beside the charts]"
        ),
    ] = None,
) -> None:
    """Write the collection as one HTML page, to read, print or send."""
    checks.report(out)
    with call.open() as collection:
        call.answer(collection.report(out), tables.reported)


@commands.adds(
    example="""\
imgclust backup /mnt/disk/photos.imgclust
imgclust backup -q /mnt/disk/photos.imgclust    in a cron line""",
)
def backup(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
) -> None:
    """Write the whole collection into one file, also while a watcher runs.

    The images are not in it. An older backup of the collection is replaced by a finished one only.
    """
    checks.backup_file(file)
    with call.open() as collection:
        call.answer(collection.backup(file), tables.backed_up)


@commands.adds(
    example="""\
imgclust restore /mnt/disk/photos.imgclust
imgclust restore /mnt/disk/photos.imgclust --to ~/index --collection trial
imgclust restore /mnt/disk/photos.imgclust --dry-run    verify the backup""",
)
def restore(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="INDEX", help="Index folder.  [default: as --index]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify the backup, restore nothing.")
    ] = False,
) -> None:
    """Make a collection from a backup, here or on another machine.

    It gets the name that it had, or that of --collection; one that exists is never replaced. Index,
    thumbnails and links are made again by the next watch.
    """
    from imgclust.collection import restore_collection

    checks.folder_to_make(to)
    found = restore_collection(
        file,
        to or call.options.index,
        name=call.options.collection if call.options.named else None,
        dry_run=dry_run,
        progress=call.screen.progress,
        stop=call.stop,
    )
    call.answer(found, tables.restored)


weights_commands = Commands()
commands.add_typer(weights_commands, name="weights")


@weights_commands.alone(example="imgclust weights")
def weights(call: Call) -> None:
    """List, download or verify the network's weights."""
    weights_list(call)


@weights_commands.adds("list", example="imgclust weights list")
def weights_list(call: Call) -> None:
    """List the weights that this machine has."""
    from imgclust.collection import list_weights

    call.answer(list_weights(), status_module.weights_list, rows="weights")


@weights_commands.adds("download", example="imgclust weights download")
def weights_download(call: Call) -> None:
    """Download the ImageNet weights of Keras (88 MB)."""
    from imgclust.collection import download_weights

    found = download_weights(progress=call.screen.progress, stop=call.stop)
    call.answer(found, status_module.weights_file)


@weights_commands.adds("verify", example="imgclust weights verify inception_v3.h5")
def weights_verify(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A weights file.")],
) -> None:
    """Check a file: its kind, structure and digest."""
    from imgclust.collection import verify_weights

    call.answer(verify_weights(file), status_module.weights_file)
