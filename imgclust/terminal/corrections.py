"""How corrections are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from imgclust.terminal.query import side_by_side
from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column
from imgclust.wording import counted, minute, printable

if TYPE_CHECKING:
    from imgclust.collection import (
        Answer,
        Corrected,
        CorrectionList,
        CorrectionRow,
        Paired,
        PutBackLink,
        Question,
        QuestionImage,
        Questions,
        WaitingLink,
    )

_SHOWN = 10
_SIDE = 40  # columns of a picture
_KINDS = {"in": "in", "not_in": "not in"}


def _called(cluster: int | None, name: str | None) -> str:
    return f"{cluster} {printable(name)}" if name else str(cluster)


def corrected(screen: Screen, result: Corrected, *, similar: str = "--similar") -> None:
    """What a correction did, or would; `similar` is what moves images that look like them."""
    if screen.quiet and not result.dry_run:
        return
    would = "would " if result.dry_run else ""
    images = counted(len(result.images), "image")
    which = f"cluster {_called(result.cluster, result.name)}"
    said = {
        "in": f"{images} {would}stay in {which}",
        "not_in": f"{images} {would}stay out of {which}",
        "outlier": f"{images} {would}stay among the outliers",
    }[result.kind]
    if len(result.images) == 1 and not would:
        said = said.replace(" stay ", " stays ")
    screen.summary(said)
    for image in result.images[:_SHOWN]:
        change = f"{image.before} -> {image.after}" if image.before != image.after else ""
        screen.fitted(f"{image.id:>8}  {change:>12}  ", printable(image.path))
    if len(result.images) > _SHOWN:
        screen.line(f"and {len(result.images) - _SHOWN:,} more; --json shows all")
    if result.same_bytes:
        files = counted(result.same_bytes, "other file")
        counts = "has" if result.same_bytes == 1 else "have"
        screen.summary(f"{files} among them {counts} the same bytes, so it counts for them too")
    if result.already:
        screen.summary(f"{counted(result.already, 'distinct image')} corrected so already")
    if result.near_copies:
        follow = "follows" if len(result.near_copies) == 1 else "follow"
        follow = f"would {follow.removesuffix('s')}" if would else follow
        copies = counted(len(result.near_copies), "near copy", "near copies")
        screen.summary(f"{copies} {follow}")
    other = "would be" if would else "is" if result.moved == 1 else "are"
    screen.summary(f"{counted(result.moved, 'image')} {other} in another cluster than before")
    if not result.similar:
        return
    number = len(result.similar)
    if result.similar_moved:
        too = "would be moved" if would else "was moved" if number == 1 else "were moved"
        screen.summary(f"{counted(number, 'image')} that look like them {too} too")
    elif number == 1:
        screen.summary(f"1 more looks like this: {similar} moves it too")
    else:
        screen.summary(f"{number:,} more look like this: {similar} moves them too")


def corrections(screen: Screen, result: CorrectionList) -> None:
    """Corrections, oldest first, and links that wait."""
    rows = result.corrections
    if result.waiting:
        links = counted(len(result.waiting), "link waits", "links wait")
        screen.line(f"{links} for --accept or --reject:")
        _links(screen, result.waiting)
    if not rows and not result.waiting:
        screen.summary("there are no corrections; see imgclust clusters move --help")
    if not rows:
        return
    ended = any(row.ended is not None for row in rows)
    screen.table(
        [
            Column("number", "number"),
            Column("image", "number"),
            Column("correction"),
            Column("by"),
            Column("since"),
            *([Column("ended")] if ended else []),
            Column("path", "path"),
        ],
        [
            (
                str(row.id),
                "-" if row.image is None else str(row.image),
                _said(row),
                "near copy" if row.follows else row.made_by,
                minute(row.made),
                *([row.reason or ""] if ended else []),
                "" if row.path is None else row.path,
            )
            for row in rows
        ],
    )
    idle = [row for row in rows if not row.applies and row.ended is None]
    if idle:
        count = counted(len(idle), "correction")
        screen.summary(f"! {count} cannot be applied now: the cluster or an image is not there")


def questions(screen: Screen, result: Questions) -> None:
    """Pairs that would be asked about."""
    screen.table(
        [
            Column("pair", "number"),
            Column("id", "number"),
            Column("cluster"),
            Column("path", "path"),
        ],
        [
            (f"{number:,}", str(image.id), _home(image), image.path)
            for number, one in enumerate(result.questions, 1)
            for image in (one.image, one.other)
        ],
    )
    screen.summary(
        f"{counted(len(result.questions), 'pair')} to ask about; so far {result.together:,} are "
        f"together and {result.apart:,} apart"
    )


def question(
    screen: Screen, one: Question, pictures: tuple[bytes | None, bytes | None], *, which: str
) -> None:
    """Two images side by side where the terminal can, and their addresses to open them."""
    screen.line(which, style="bold")
    if screen.shows_pictures and any(pictures):
        screen.blocks(side_by_side(pictures, max(1, min(_SIDE, screen.width // 2 - 1))))
    for image in (one.image, one.other):
        screen.exact(f"{image.id}, cluster {_home(image)}: file://{quote_from_bytes(image.path)}")


def reviewed(
    screen: Screen, answers: Sequence[Answer], *, refused: int, unanswered: int = 0
) -> None:
    """What a review has done; `unanswered`: how many questions were left when the input ended."""
    same = sum(one.kind == "together" for one in answers)
    kept = f"{counted(len(answers), 'answer')} kept"
    split = f": {same:,} together, {len(answers) - same:,} apart" if answers else ""
    screen.summary(kept + split + (f"; {refused:,} refused" if refused else ""))
    if unanswered:
        left = counted(unanswered, "question")
        screen.summary(f"the input has ended; {left} of those asked for not answered")
    if answers:
        moved = counted(sum(one.moved for one in answers), "image")
        screen.summary(
            f"{moved} moved; imgclust cluster carries the answers to the images around them, "
            "imgclust clusters corrections lists them"
        )


def paired(screen: Screen, result: Paired) -> None:
    """What was said about pairs of images."""
    if screen.quiet and not result.dry_run:
        return
    would = "would stay" if result.dry_run else "stay"
    for one in result.answers:
        said = "; it was said before" if one.already else ""
        screen.line(f"images {one.image} and {one.other} {would} {result.kind}{said}")
    other = "would be" if result.dry_run else "is" if result.moved == 1 else "are"
    screen.summary(f"{counted(result.moved, 'image')} {other} in another cluster than before")


def removed(screen: Screen, rows: Sequence[CorrectionRow]) -> None:
    """Corrections that were taken back."""
    for row in rows:
        image = "an image that has left" if row.image is None else f"image {row.image}"
        screen.summary(f"correction {row.id} taken back: {image} {_said(row).removesuffix(' !')}")
    screen.summary("the images stay where they are until the clusters change")


def accepted(
    screen: Screen, links: Sequence[WaitingLink], *, put_back: Sequence[PutBackLink]
) -> None:
    """Links that waited and count now, and those that could not, with the reasons."""
    if not links and not put_back:
        screen.summary("no link waits")
    if links and not screen.quiet:
        _links(screen, links)
        which = counted(len(links), "link")
        screen.summary(f"{which} accepted: see imgclust clusters corrections")
    if not put_back:
        return
    _links(screen, put_back)
    why = Counter(one.reason for one in put_back)
    reasons = "; ".join(
        f"{reason} ({count:,})" if len(why) > 1 else reason for reason, count in why.most_common()
    )
    screen.line(f"{counted(len(put_back), 'link')} put back, not accepted: {reasons}")


def rejected(screen: Screen, links: Sequence[WaitingLink]) -> None:
    """Links that waited and were put back."""
    if not links:
        screen.summary("no link waits")
        return
    if screen.quiet:
        return
    _links(screen, links)
    screen.summary(f"{counted(len(links), 'link')} put back")


def _links(screen: Screen, links: Sequence[WaitingLink]) -> None:
    for one in links[:_SHOWN]:
        screen.fitted(f"{one.id:>8}  ", printable(one.link))
    if len(links) > _SHOWN:
        screen.line(f"and {len(links) - _SHOWN:,} more; --json shows all")


def _home(image: QuestionImage) -> str:
    return "-" if image.cluster is None else _called(image.cluster, image.name)


def _said(row: CorrectionRow) -> str:
    mark = "" if row.applies or row.ended is not None else " !"
    if row.kind in _KINDS:
        return f"{_KINDS[row.kind]} {_called(row.cluster, row.name)}{mark}"
    if row.kind == "outlier":
        return f"outlier{mark}"
    return f"{row.kind}{' with' if row.kind == 'together' else ' from'} {row.other}{mark}"
