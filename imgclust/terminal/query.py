"""How similar images and duplicates are shown: pictures, tables, the best one on the desktop."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from imgclust import config
from imgclust.errors import ImgclustError
from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column, columns, likeness_cells, shortened
from imgclust.wording import (
    BEST_COPY,
    SIMILARITY_LACKING,
    copies_shown,
    counted,
    printable,
    rarity_meant,
    size,
)

if TYPE_CHECKING:
    from rich.segment import Segment

    from imgclust.collection import (
        Dismissed,
        Duplicate,
        DuplicateGroup,
        DuplicatesResult,
        Neighbour,
        QueryResult,
    )


# Columns of a small picture, on a narrow terminal and on a wide one; its lines are half as many,
# since a line holds two pixels.
_NARROW, _WIDE = 14, 20
_WIDE_TERMINAL = 120
_GAP = 2
_LONGEST_NAME = 24

# An opener that has not failed by then shows the file, and may run as long as that.
_PATIENCE_S = 5.0


def query(
    screen: Screen,
    result: QueryResult,
    *,
    pictures: Sequence[bytes | None] | None = None,
    bounded: bool = False,
    chosen: bool = False,
) -> None:
    """Neighbours, the most similar first, with their pictures where they are given.

    `bounded` says that a person has set the least similarity, `chosen` that they chose among
    images: by cluster, date or camera.
    """
    if not result.neighbours:
        among = " among those chosen" if chosen else ""
        what = "no image is that similar" if bounded else "there is no other image"
        screen.line(f"{what}{among}")
        return
    if pictures is not None:
        screen.blocks(_grid(result.neighbours, pictures, screen.width))
        screen.line()
    named = any(row.name for row in result.neighbours)
    missing = any(row.missing for row in result.neighbours)
    copies = any(row.copies for row in result.neighbours)
    alike = result.order == "similarity"
    screen.table(
        [
            *([Column("similarity", "number"), Column("rarity")] if alike else []),
            *([] if alike else [Column("score", "number")]),
            Column("cluster", "text" if named else "number"),
            Column("id", "number"),
            *([Column("file")] if missing else []),
            *([Column("copies")] if copies else []),
            Column("path", "path"),
        ],
        [
            (
                *(likeness_cells(row.similarity, row.rarity) if alike else [f"{row.score:.4f}"]),
                *(_cluster(row), str(row.id)),
                *(["missing" if row.missing else ""] if missing else []),
                *([copies_shown(row.copies)] if copies else []),
                row.path,
            )
            for row in result.neighbours
        ],
    )
    if meant := rarity_meant(row.rarity for row in result.neighbours):
        screen.summary(meant)
    if result.lacking is not None:
        screen.summary(f"by score: {SIMILARITY_LACKING[result.lacking]}")
    if missing:
        screen.summary("missing files are not there now; see imgclust missing")
    if result.sheet is not None:
        screen.outcome(f"contact sheet: {printable(result.sheet)}")


def _cluster(row: Neighbour) -> str:
    if row.cluster is None:
        return "-"
    return (
        f"{row.cluster} {shortened(printable(row.name), _LONGEST_NAME)}"
        if row.name
        else str(row.cluster)
    )


def _grid(
    rows: Sequence[Neighbour], pictures: Sequence[bytes | None], width: int
) -> Iterator[list[Segment]]:
    """Lines of pictures side by side, each over its id and similarity."""
    from rich.segment import Segment

    side = min(_WIDE if width >= _WIDE_TERMINAL else _NARROW, width)
    across = max(1, (width + _GAP) // (side + _GAP))
    for start in range(0, len(rows), across):
        yield from side_by_side(pictures[start : start + across], side)
        captions = [
            shortened(f"{row.id}  {_number(row):.3f}", side).ljust(side)
            for row in rows[start : start + across]
        ]
        yield [Segment((" " * _GAP).join(captions).rstrip())]


def _number(row: Neighbour) -> float:
    return row.score if row.similarity is None else row.similarity


def side_by_side(pictures: Sequence[bytes | None], side: int) -> Iterator[list[Segment]]:
    """Lines of pictures beside each other, each `side` columns wide."""
    from rich.segment import Segment

    here = [half_blocks(one, side) for one in pictures]
    for line in range(max(map(len, here))):
        together: list[Segment] = []
        for lines in here:
            together += lines[line] if line < len(lines) else [Segment(" " * side)]
            together.append(Segment(" " * _GAP))
        yield together[:-1]


def half_blocks(picture: bytes | None, side: int) -> list[list[Segment]]:
    """A picture as lines of half blocks, `side` columns wide, and no more lines than half of that.

    The upper half of a character has one colour, the lower half another one.
    """
    from PIL import Image
    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style

    try:
        with Image.open(io.BytesIO(picture or b"")) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError):
        return []
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    pixels: Any = image.load()
    width, height = image.size
    lines = []
    for top in range(0, height, 2):
        line = []
        for x in range(width):
            upper = Color.from_rgb(*pixels[x, top])
            lower = Color.from_rgb(*pixels[x, top + 1]) if top + 1 < height else None
            line.append(Segment("\N{UPPER HALF BLOCK}", Style(color=upper, bgcolor=lower)))
        lines.append([*line, Segment(" " * (side - width))])
    return lines


def open_file(path: bytes) -> None:
    """Open a file as a double click on it would.

    Raises
    ------
    ImgclustError
        When there is no desktop, or its opener fails.
    """
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    shown = printable(path)
    if shutil.which(opener) is None or not _has_desktop():
        raise ImgclustError(f"there is no desktop here to open {shown}")
    running = subprocess.Popen(
        [opener, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = running.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return
    if code:
        raise ImgclustError(f"{os.path.basename(opener)} cannot open {shown}")


def _has_desktop() -> bool:
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(config.environment(name) for name in variables)


def duplicates(screen: Screen, result: DuplicatesResult) -> None:
    """Groups, the best copy first in each; how many, and by which threshold."""
    _table(screen, result.groups)
    limit = f"near: score {result.thresholds.near:g} or more, and the same picture in every place"
    lesser = [one for group in result.groups for one in group.images[1:]]
    if lesser:
        groups = {kind: sum(g.kind == kind for g in result.groups) for kind in ("exact", "near")}
        told = ", ".join(f"{number:,} {kind}" for kind, number in groups.items() if number)
        screen.summary(
            f"{counted(len(result.groups), 'group')} ({told}) among "
            f"{counted(result.images, 'image')}; {counted(len(lesser), 'copy', 'copies')} besides "
            f"the best take {size(sum(one.freed for one in lesser))}"
        )
    else:
        screen.summary(f"no duplicates among {counted(result.images, 'image')}")
    screen.summary(limit)
    if result.hard_links:
        screen.summary(
            f"{counted(result.hard_links, 'image')} more: hard links (other names of one file); "
            "they take no space and are not duplicates"
        )
    if result.unseen:
        screen.summary(
            f"{counted(result.unseen, 'image')} could not be compared: no thumbnail, and no file"
        )
    if result.similar:
        screen.summary(
            f"{counted(len(result.similar), 'group')} of similar images (crops, bursts); "
            "--similar shows them"
        )


def similar(screen: Screen, result: DuplicatesResult) -> None:
    """Groups of images that look alike but are not copies."""
    _table(screen, result.similar)
    limit = f"score {result.thresholds.similar:g} or more"
    if result.similar:
        screen.summary(f"{counted(len(result.similar), 'group')} of similar images: {limit}")
    else:
        screen.summary(f"no similar images: {limit}")


def dismissed(screen: Screen, result: Dismissed) -> None:
    """What is remembered."""
    names = ", ".join(map(str, result.images))
    word = "may be duplicates again" if result.undone else "are not duplicates of each other"
    screen.summary(f"the images {names} {word}")


def _table(screen: Screen, groups: Sequence[DuplicateGroup]) -> None:
    if not groups:
        return
    alike = any(one.similarity is not None for group in groups for one in group.images)
    rows = [
        (
            str(number) if position == 0 else "",
            _kind(group, one),
            *(likeness_cells(one.similarity, one.rarity) if alike else [f"{one.score:.4f}"]),
            f"{one.width}x{one.height}",
            size(one.bytes),
            BEST_COPY.get(group.reason, "") if one is group.images[0] else "",
            str(one.id),
            one.path,
        )
        for number, group in enumerate(groups, 1)
        for position, one in enumerate(_shown(group))
    ]
    screen.table(
        [
            Column("group", "number"),
            Column("kind"),
            *([Column("similarity", "number"), Column("rarity")] if alike else []),
            *([] if alike else [Column("score", "number")]),
            *(Column(title, "number") for title in ("pixels", "size")),
            Column("best copy"),
            *columns("id", path="path"),
        ],
        rows,
    )


def _shown(group: DuplicateGroup) -> Sequence[Duplicate]:
    return group.images if group.beside is None else (group.beside, *group.images)


def _kind(group: DuplicateGroup, one: Duplicate) -> str:
    """What an image is to the best copy; the best copy of another group is shown as such."""
    kind = "also listed" if one is group.beside else one.relation
    return f"{kind}, hard link" if one.hard_links else kind
