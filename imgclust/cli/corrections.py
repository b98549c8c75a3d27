"""Commands that correct the clusters: move, new, exclude, review, corrections."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from imgclust.cli import checks, completion
from imgclust.cli.context import Call
from imgclust.cli.questions import is_waiting
from imgclust.cli.review import Session
from imgclust.cli.typer_ext import Commands, DryRun, whole
from imgclust.errors import UsageError
from imgclust.terminal import corrections as tables

commands = Commands()

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Images or their ids, folders, patterns; -: paths on standard input, a line each.",
    ),
]
Zero = Annotated[
    bool, typer.Option("-0", "--null", help="With -: paths end with a zero byte, not a line.")
]


def _named(images: Sequence[str], *, null: bool) -> list[str]:
    """What a person named, with the paths on standard input in the place of `-`."""
    if "-" not in images:
        if null:
            raise UsageError("-0 goes with - (paths on standard input)")
        return list(images)
    if images.count("-") > 1:
        raise UsageError("- is given twice; standard input can be read once")
    separator = b"\0" if null else b"\n"
    given = sys.stdin.buffer.read()
    if not null and b"\0" in given:
        raise UsageError(
            "the paths on standard input have a zero byte in them; -0 reads such lists"
        )
    if null and b"\0" not in given and given.endswith(b"\n"):
        raise UsageError(
            "the paths on standard input end with line breaks, not with zero bytes; leave -0 out"
        )
    read = [os.fsdecode(path) for path in given.split(separator) if path]
    return [one for name in images for one in (read if name == "-" else [name])]


@commands.adds(
    example="""\
imgclust clusters move ~/Pictures/cat.jpg --to cats
imgclust clusters move 12 15 --to 7 --similar    and those that look like them
ls *.jpg | imgclust clusters move - --to 7       paths on standard input
imgclust clusters move 12 --to 7 --dry-run       what would change""",
)
def move(
    call: Call,
    images: Images,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="CLUSTER",
            autocompletion=completion.clusters,
            help="Id or name of the cluster that they belong to.",
        ),
    ],
    similar: Annotated[
        bool, typer.Option("--similar", help="Move images that look like them too.")
    ] = False,
    null: Zero = False,
    dry_run: DryRun = False,
) -> None:
    """Put images into a cluster, where they stay, whatever is clustered."""
    named = _named(images, null=null)
    with call.open() as collection:
        done = collection.corrections.move(named, to=to, similar=similar, dry_run=dry_run)
        call.answer(done, tables.corrected)


@commands.adds(
    example="""\
imgclust clusters new "our dog" 12 15 ~/Pictures/dog.jpg
imgclust clusters new receipts ~/Pictures/receipts         a whole folder
imgclust clusters new receipts 12 --dry-run                what would change""",
)
def new(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    images: Images,
    null: Zero = False,
    dry_run: DryRun = False,
) -> None:
    """Make a named cluster of images."""
    checks.whole_name(name)
    named = _named(images, null=null)
    with call.open() as collection:
        done = collection.corrections.new(name, named, dry_run=dry_run)
        more = f"imgclust clusters move IMAGE... --to {done.cluster} --similar"
        call.answer(done, partial(tables.corrected, similar=more))


@commands.adds(
    example="""\
imgclust clusters exclude 12 --from 7
imgclust clusters exclude ~/Pictures/scan.png --from cats --dry-run""",
)
def exclude(
    call: Call,
    images: Images,
    of: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="CLUSTER",
            autocompletion=completion.clusters,
            help="Id or name of the cluster that they do not belong to.",
        ),
    ],
    null: Zero = False,
    dry_run: DryRun = False,
) -> None:
    """Take images out of a cluster: they join the nearest other one, and never this one again."""
    named = _named(images, null=null)
    with call.open() as collection:
        done = collection.corrections.exclude(named, of=of, dry_run=dry_run)
        call.answer(done, tables.corrected)


@commands.adds(
    example="""\
imgclust clusters together 12 15
imgclust clusters together 12 15 ~/Pictures/cat.jpg --dry-run""",
)
def together(
    call: Call,
    images: Images,
    null: Zero = False,
    dry_run: DryRun = False,
) -> None:
    """Keep images in one cluster, whichever it is."""
    named = _named(images, null=null)
    with call.open() as collection:
        call.answer(collection.corrections.pair(named, same=True, dry_run=dry_run), tables.paired)


@commands.adds(
    example="""\
imgclust clusters apart 12 15
imgclust clusters apart 12 ~/Pictures/cat.jpg --dry-run""",
)
def apart(
    call: Call,
    images: Images,
    null: Zero = False,
    dry_run: DryRun = False,
) -> None:
    """Keep two images in different clusters."""
    named = _named(images, null=null)
    with call.open() as collection:
        call.answer(collection.corrections.pair(named, same=False, dry_run=dry_run), tables.paired)


@commands.adds(
    example="""\
imgclust clusters review                    two pictures at a time: y, n, s or q
imgclust clusters review -n 50              more questions
imgclust clusters review --dry-run          which pairs would be asked about
printf 'y\\nn\\n' | imgclust clusters review    answers, a line each""",
)
def review(
    call: Call,
    number: Annotated[
        int,
        typer.Option("-n", "--number", parser=whole(1, 1000), metavar="N", help="How many pairs."),
    ] = 20,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the pairs, the first ones first; ask nothing.")
    ] = False,
) -> None:
    """Say of pairs of pictures whether they are of the same group.

    The pairs whose answers tell most come first. The two images move at once; the ones around them
    follow when you cluster. Where standard input is not a terminal it holds the answers, a line
    each, and is read until it ends. With --json the pairs are listed and nothing is read.
    """
    with call.open() as collection:
        if dry_run or call.options.json:
            if not dry_run and is_waiting():
                call.screen.note("--json lists the pairs; answers on standard input are not read")
            call.answer(collection.corrections.questions(number), tables.questions)
            return
        done = Session(call, collection.corrections)
        try:
            done.ask(number)
        finally:
            tables.reviewed(
                call.screen, done.answers, refused=done.refused, unanswered=done.unanswered
            )
            done.finish()


@commands.adds(
    example="""\
imgclust clusters corrections               what was said about images
imgclust clusters corrections --remove 4    take correction 4 back
imgclust clusters corrections --accept      links that wait become corrections
imgclust clusters corrections --reject      links that wait are put back
imgclust clusters corrections --ended       those that ended too""",
)
def corrections(
    call: Call,
    remove: Annotated[
        list[int] | None,
        typer.Option(
            "--remove",
            parser=whole(1),
            metavar="N",
            help="Take this correction back; can be given again.",
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Links moved in the link folder that wait become corrections."
        ),
    ] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Put these links back.")] = False,
    ended: Annotated[
        bool, typer.Option("--ended", help="List those that ended too, and why.")
    ] = False,
) -> int:
    """List what was said about images, or take it back."""
    given = [
        option
        for option, value in (
            ("--remove", remove),
            ("--accept", accept),
            ("--reject", reject),
            ("--ended", ended),
        )
        if value
    ]
    if len(given) > 1:
        raise UsageError(f"{given[0]} cannot be combined with {given[1]}")
    with call.open() as collection:
        if accept:
            done = collection.corrections.accept()
            more = {"put_back": done.put_back}
            show = partial(tables.accepted, put_back=done.put_back)
            call.answer(done.accepted, show, rows="accepted", more=more)
            return 1 if done.put_back else 0
        if reject:
            waiting = collection.corrections.waiting()
            collection.corrections.reject()
            call.answer(waiting, tables.rejected, rows="rejected")
        elif remove:
            call.answer(collection.corrections.remove(remove), tables.removed, rows="taken_back")
        else:
            call.answer(collection.corrections.listed(ended=ended), tables.corrections)
        return 0
