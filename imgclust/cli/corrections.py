"""Commands that correct the clusters: move, new, exclude, together, apart, review, corrections."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from imgclust.cli import checks, completion
from imgclust.cli.checks import is_waiting, next_line, on_terminal
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Commands, DryRun, whole
from imgclust.errors import NothingThereError, StoppedError, UsageError
from imgclust.terminal import corrections as tables
from imgclust.wording import counted

if TYPE_CHECKING:
    from imgclust.collection import Answer, Corrections, Question


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


_WORDS = {
    "y": "yes",
    "yes": "yes",
    "n": "no",
    "no": "no",
    "s": "skip",
    "skip": "skip",
    "q": "quit",
    "quit": "quit",
}


class Session:
    """Asks about one pair after the other; each answer is stored at once.

    On a terminal a person is asked. Elsewhere standard input holds the answers, a line each, for
    as long as it lasts; each pair is shown before its answer is read.

    Attributes
    ----------
    answers
        Those that were stored.
    refused
        How many were not, as they contradict others.
    unanswered
        How many questions were left when the input ended.
    """

    def __init__(self, call: Call, corrections: Corrections) -> None:
        """Raises `UsageError` where a person cannot see the questions."""
        if not call.screen.can_ask and on_terminal():
            raise UsageError(
                "nobody sees the pictures, since standard error is not a terminal; list the pairs "
                "with --dry-run, or write the answers to standard input"
            )
        self._call = call
        self._corrections = corrections
        self._skipped: list[tuple[int, int]] = []
        self.answers: list[Answer] = []
        self.refused = 0
        self.unanswered = 0

    def ask(self, number: int) -> None:
        """Ask so many questions, or fewer where nothing is left to ask.

        Raises
        ------
        StoppedError
            When it was interrupted; what was answered stays.
        UsageError
            For a line of standard input that does not answer the question, and for a no where
            there is one cluster.
        """
        for place in range(1, number + 1):
            if self._call.stop.is_set():
                raise self._interrupted()
            found = self._corrections.questions(1, skipped=self._skipped).questions
            if not found:
                self._call.screen.summary("nothing is left to ask about")
                break
            try:
                word = self._word(found[0], f"{place} of {number}")
            except (KeyboardInterrupt, StoppedError):
                raise self._interrupted() from None
            if word is None:
                self.unanswered = number - place + 1
                return
            if word == "quit":
                return
            self._take(found[0], word)
        if not self._call.screen.can_ask and next_line(self._call):
            self._call.screen.note("more answers follow on standard input; they are not read (-n)")

    def finish(self) -> None:
        """Have pages follow the answers that have moved nothing."""
        if any(not one.already for one in self.answers):
            self._corrections.finish_answers(moved=False)

    def _interrupted(self) -> StoppedError:
        return StoppedError(f"interrupted; {counted(len(self.answers), 'answer')} kept")

    def _take(self, question: Question, word: str) -> None:
        one, other = question.image.id, question.other.id
        if word != "skip":
            try:
                said = self._corrections.answer(one, other, same=word == "yes", finish=False)
                self.answers.append(said)
                if said.moved:
                    self._corrections.finish_answers(moved=True)
                return
            except (UsageError, NothingThereError) as error:
                from imgclust.collection import TooFewClustersError

                if isinstance(error, TooFewClustersError) and error.clusters == 1:
                    raise  # so it would be with every other no
                self._call.screen.note(f"not kept: {error}")
                self.refused += 1
        self._skipped.append((one, other))

    def _word(self, question: Question, which: str) -> str | None:
        """The answer to a question; None at the end of what answers it."""
        call = self._call
        if not call.screen.can_ask:
            tables.question(call.screen, question, (None, None), which=which)
            return _piped(call)
        call.screen.clear()
        pictures = self._corrections.pictures(question)
        tables.question(call.screen, question, pictures, which=which)
        while True:
            said = call.reply("same group? [y]es, [n]o, [s]kip, [q]uit")
            if said is None:
                return None
            if said in _WORDS:
                return _WORDS[said]


def _piped(call: Call) -> str | None:
    line = next_line(call, patience_s=None)
    if not line:
        return None
    said = line.decode("utf-8", "replace").strip().lower()
    if said not in _WORDS or not line.endswith(b"\n"):
        raise UsageError(f"{said!r} is not an answer; use y, n, skip or quit, a line each")
    return _WORDS[said]
