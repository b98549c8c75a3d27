"""Commands about images: watch, add, pause, resume, remove, quarantine, missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgclust.cli import checks
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call, ignoring_hangup
from imgclust.cli.links import Mode, Outliers
from imgclust.cli.typer_ext import Camera, Commands, DryRun, Since, Until, Yes, decimal, selection
from imgclust.cli.watch_output import Listener, log_file
from imgclust.errors import UsageError
from imgclust.terminal import status
from imgclust.wording import counted, printable

if TYPE_CHECKING:
    from imgclust.collection import MissingImage

commands = Commands()


@commands.adds(
    example="""\
imgclust watch ~/Pictures                      until Ctrl-C
imgclust watch ~/Pictures --once               stop when all of it is in
imgclust watch ~/Pictures --links ~/Clusters   make the link folders there
imgclust watch --exclude '*_thumb.jpg'         leave them out, also next time
imgclust watch --once --remove-excluded        take out what is left out now
imgclust watch --hours 22:00-06:00             read new files at night only
imgclust watch --exec 'notify.py --quiet'      a program that gets each event
imgclust watch                                 the folders of the last time""",
)
def watch(
    call: Call,
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER", help="Folders; the known ones if none is given."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all files are ingested.")] = False,
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
    hours: Annotated[
        str | None,
        typer.Option(
            metavar="FROM-TO", help="Read files in these hours only; others are queued till then."
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Run it for arrivals, new clusters and quarantined files, with the event as "
            "JSON on its standard input; no shell is used.",
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
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Leave out, also next time, as a line of .gitignore; can be given again.",
        ),
    ] = None,
    no_exclude: Annotated[
        bool, typer.Option("--no-exclude", help="Forget the patterns given before.")
    ] = False,
    remove_excluded: Annotated[
        bool,
        typer.Option(
            "--remove-excluded", help="With --once: take out images in places that are left out."
        ),
    ] = False,
    yes: Yes = False,
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
    if remove_excluded and not once:
        raise UsageError("--remove-excluded goes with --once; give both")
    if hours and once:
        raise UsageError("--hours is for a watcher that keeps running; --once reads at any time")
    checks.command(call.options.files, command)
    if exclude:
        from imgclust.collection import Exclusion

        Exclusion(patterns=exclude)  # a wrong pattern is refused before anything is opened
    checks.links_apart(links, folders or ())
    checks.log_file(log)
    flags = {
        "links.mode": link_mode,
        "watch.polling": polling or None,
        "watch.settle_s": settle_s,
        "watch.rescan_s": rescan_s,
        "watch.hours": hours,
        "watch.on_event": command,
        "clustering.recluster_every": recluster_every,
        "links.outliers": outliers,
        "watch.log_file": log,
    }
    with contextlib.ExitStack() as stack:
        collection = stack.enter_context(call.open(flags, create_for=folders or None))
        stack.enter_context(ignoring_hangup())
        given = [os.path.realpath(os.fsencode(folder)) for folder in folders or ()]
        roots = list(dict.fromkeys([*given, *collection.status().roots]))
        call.screen.roots = list(dict.fromkeys([*roots, *call.screen.roots]))
        if remove_excluded:
            found = collection.excluded(exclude=exclude or (), exclude_fresh=no_exclude)
            if not _may_leave(call, found, yes=yes):
                return None
        live = not once and call.screen.can_live
        if not once and not live:
            call.screen.note(f"watching {', '.join(map(printable, roots))}; Ctrl-C stops")
        kept = stack.enter_context(log_file(call, collection, roots))
        view = call.screen.live(roots, collection.standing) if live else None
        listener = Listener(call, every=not once, view=view, log=kept)
        result = collection.watch(
            folders or (),
            once=once,
            links=links,
            cluster=not no_cluster,
            exclude=exclude or (),
            exclude_fresh=no_exclude,
            remove_excluded=remove_excluded,
            emit=listener,
        )
        if once or not call.options.json:
            listener.summary(collection, result)
    return None if once else 0


def _may_leave(call: Call, found: Sequence[MissingImage], *, yes: bool) -> bool:
    """Whether the images in places that are left out may leave."""
    such_as = "such as " if len(found) > 1 else ""
    return not found or agreed(
        call,
        f"Take {counted(len(found), 'image')} out, {such_as}{printable(found[0].path)}?",
        yes=yes,
        reversible=False,
        doing=f"{counted(len(found), 'image')} would leave the collection",
    )


@commands.adds(example="imgclust pause")
def pause(call: Call) -> None:
    """Read no file until `imgclust resume`, such as while you copy many; new files are queued.

    A watcher that runs stops reading within a second, and one that starts later reads nothing.
    """
    with call.open() as collection:
        call.answer(collection.pause(), status.paused)


@commands.adds(example="imgclust resume")
def resume(call: Call) -> None:
    """Read files again after `imgclust pause`, the queued ones first."""
    with call.open() as collection:
        call.answer(collection.resume(), status.paused)


@commands.adds(
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
    example="""\
imgclust remove ~/Pictures/blurred.jpg
imgclust remove 42 --copies                 all files with the same bytes
imgclust remove 42 43 ~/Pictures/blurred    images and a whole folder
imgclust remove '~/Pictures/**/*_thumb.jpg'
imgclust remove 42 -y                       do not ask
imgclust remove 42 --dry-run                say which image that is""",
)
def remove(
    call: Call,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|ID|FOLDER|GLOB",
            help="Images or their ids, folders, and patterns such as 'Pictures/**/*_thumb.jpg'.",
        ),
    ],
    copies: Annotated[
        bool, typer.Option("--copies", help="Take out all images with the same bytes.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take images out of the collection; their files stay.

    No file with the same bytes comes in again, whatever its name, until `imgclust add` names one.
    """
    with call.open() as collection:
        if not dry_run:
            found = collection.remove_all(images, copies=copies, dry_run=True)
            named = {one.id for one in found}
            others = {one for row in found for one, _ in row.copies} - named
            more = f" and {counted(len(others), 'copy', 'copies')}" if copies else ""
            what, where = f"image {found[0].id}", printable(found[0].path)
            if len(found) > 1:
                what, where = f"{len(found):,} images", f"such as {where}{',' if more else ''}"
            if not agreed(
                call,
                f"Take {what} out, {where}{more}?",
                yes=yes,
                reversible=False,
                doing=f"{what} would leave the collection",
            ):
                return
        call.answer(
            collection.remove_all(images, copies=copies, dry_run=dry_run),
            partial(status.removed, would=dry_run),
            rows="removed",
        )


quarantine_commands = Commands()
commands.add_typer(quarantine_commands, name="quarantine")


@quarantine_commands.alone(example="imgclust quarantine")
def quarantine(
    call: Call,
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Show images that are in although their file is damaged."),
    ] = False,
) -> None:
    """Show files that could not be read."""
    with call.open() as collection:
        if damaged:
            call.answer(collection.damaged(), status.damaged, rows="damaged")
            return
        call.answer(collection.quarantine(), status.quarantine, rows="quarantined")


@quarantine_commands.adds(
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
def missing(call: Call, since: Since = None, until: Until = None, camera: Camera = None) -> None:
    """Show images that are not where they were."""
    chosen = selection(since, until, camera)
    with call.open() as collection:
        call.answer(collection.missing(selection=chosen), status.missing, rows="missing")


@missing_commands.adds(
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
            f"Take {counted(len(waiting), 'missing image')} out of the collection?",
            yes=yes,
            reversible=False,
            doing=f"{counted(len(waiting), 'missing image')} would leave the collection",
            show=lambda: status.missing(call.screen, waiting),
        ):
            return
        call.answer(collection.accept_missing(), status.accepted, rows="accepted")
