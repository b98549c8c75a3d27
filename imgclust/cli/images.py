"""Commands about images: watch, add, remove, quarantine, missing."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from imgclust.cli import checks
from imgclust.cli.context import Call, ignoring_hangup
from imgclust.cli.links import Mode, Outliers
from imgclust.cli.questions import agreed
from imgclust.cli.typer_ext import Commands, DryRun, Yes, decimal
from imgclust.cli.watch_output import Listener, log_file
from imgclust.errors import UsageError
from imgclust.terminal import status
from imgclust.wording import counted, printable

commands = Commands()


@commands.adds(
    "watch",
    example="""\
imgclust watch ~/Pictures                      until Ctrl-C
imgclust watch ~/Pictures --once               stop when all of it is in
imgclust watch ~/Pictures --links ~/Clusters   make the link folders there
imgclust watch                                 the folders of the last time""",
)
def watch(
    call: Call,
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER", help="Folders; the known ones if none is given."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all of it is in.")] = False,
    links: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Link folder of a new collection.")
    ] = None,
    link_mode: Annotated[Mode | None, typer.Option(help="What a link is.")] = None,
    polling: Annotated[
        bool, typer.Option("--polling", help="Use no file events: scan only.")
    ] = False,
    settle_s: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="SECONDS",
            help="Wait until a file is unchanged for this long.  [default: 1]",
        ),
    ] = None,
    rescan_s: Annotated[
        float | None,
        typer.Option(
            parser=decimal, metavar="SECONDS", help="Time between full scans.  [default: 300]"
        ),
    ] = None,
    no_cluster: Annotated[
        bool, typer.Option("--no-cluster", help="Make no clusters automatically.")
    ] = False,
    recluster_every: Annotated[
        str | None,
        typer.Option(
            metavar="N|TIME", help="Cluster again after 5000 new images, or after 12h, 7d."
        ),
    ] = None,
    outliers: Outliers = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log-file",
            metavar="FILE|auto",
            help="Keep a log there; auto: log/watch.log in the collection's folder.",
        ),
    ] = None,
) -> int | None:
    """Ingest the images of folders, then those that arrive."""
    # Looked at before a collection is made for them.
    for folder in folders or ():
        if not os.path.lexists(folder):
            raise UsageError(f"the folder {printable(folder)} does not exist")
        if not os.path.isdir(folder):
            shown = printable(folder)
            raise UsageError(f"{shown} is not a folder; use imgclust add {shown} for a file")
    checks.links_apart(links, folders or ())
    checks.log_file(log)
    flags = {
        "links.mode": link_mode,
        "watch.polling": polling or None,
        "watch.settle_s": settle_s,
        "watch.rescan_s": rescan_s,
        "clustering.recluster_every": recluster_every,
        "links.outliers": outliers,
        "watch.log_file": log,
    }
    with contextlib.ExitStack() as stack:
        collection = stack.enter_context(call.open(flags, create_for=folders or None))
        stack.enter_context(ignoring_hangup())
        given = [os.path.realpath(os.fsencode(folder)) for folder in folders or ()]
        roots = list(dict.fromkeys([*given, *collection.status().roots]))
        live = not once and call.screen.can_live
        if not once and not live:
            call.screen.note(f"watching {', '.join(map(printable, roots))}; Ctrl-C stops")
        kept = stack.enter_context(log_file(call, collection, roots))
        view = call.screen.live(roots, collection.standing) if live else None
        listener = Listener(call, every=not once, view=view, log=kept)
        result = collection.watch(
            folders or (), once=once, links=links, cluster=not no_cluster, emit=listener
        )
        if once or not call.options.json:
            listener.summary(collection, result)
    return None if once else 0


@commands.adds(
    "add",
    example="""\
imgclust add ~/Desktop/new.jpg ~/Downloads/holiday""",
)
def add(
    call: Call,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files and folders.")],
) -> None:
    """Ingest files and folders once."""
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(path)} does not exist")
    with call.open(create_for=paths) as collection:
        listener = Listener(call)
        listener.summary(collection, collection.add(paths, emit=listener))


@commands.adds(
    "remove",
    example="""\
imgclust remove ~/Pictures/blurred.jpg
imgclust remove 42 --copies     all files with the same bytes
imgclust remove 42 -y           do not ask
imgclust remove 42 --dry-run    say which image that is""",
)
def remove(
    call: Call,
    image: Annotated[str, typer.Argument(metavar="PATH|ID", help="An image, or its id.")],
    copies: Annotated[
        bool, typer.Option("--copies", help="Take out all images with the same bytes.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take an image out of the collection; its file stays.

    No file with the same bytes comes in again, whatever its name, until `imgclust add` names one.
    """
    with call.open() as collection:
        if not dry_run:
            found = collection.remove(image, copies=copies, dry_run=True)
            more = f" and {counted(len(found.copies), 'copy', 'copies')}" if copies else ""
            if not agreed(
                call,
                f"Take image {found.id} out, {printable(found.path)}{more}?",
                yes=yes,
                reversible=False,
                doing=f"image {found.id} would leave the collection",
            ):
                return
        call.answer(
            collection.remove(image, copies=copies, dry_run=dry_run),
            partial(status.removed, would=dry_run),
        )


quarantine_commands = Commands()
commands.add_typer(quarantine_commands, name="quarantine")


@quarantine_commands.alone(example="imgclust quarantine")
def quarantine(call: Call) -> None:
    """Show files that could not be read."""
    with call.open() as collection:
        call.answer(collection.quarantine(), status.quarantine, rows="quarantined")


@quarantine_commands.adds(
    "retry",
    example="""\
imgclust quarantine retry
imgclust quarantine retry ~/Pictures/repaired.jpg""",
)
def retry(
    call: Call,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files in quarantine; all if none is given."),
    ] = None,
) -> None:
    """Read files in quarantine again."""
    with call.open() as collection:
        listener = Listener(call)
        listener.summary(collection, collection.retry(paths or (), emit=listener))


missing_commands = Commands()
commands.add_typer(missing_commands, name="missing")


@missing_commands.alone(example="imgclust missing")
def missing(call: Call) -> None:
    """Show images that are not where they were."""
    with call.open() as collection:
        call.answer(collection.missing(), status.missing, rows="missing")


@missing_commands.adds(
    "accept",
    example="""\
imgclust missing accept
imgclust missing accept -y           do not ask
imgclust missing accept --dry-run    say which they are""",
)
def accept(call: Call, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Take all missing images out of the collection."""
    with call.open() as collection:
        waiting = collection.missing()
        if dry_run:
            call.answer(waiting, status.missing, rows="accepted")
            return
        if waiting and not agreed(
            call,
            f"Take these {len(waiting)} out of the collection?",
            yes=yes,
            reversible=False,
            doing=f"{counted(len(waiting), 'missing image')} would leave the collection",
            show=lambda: status.missing(call.screen, waiting),
        ):
            return
        call.answer(collection.accept_missing(), status.accepted, rows="accepted")
