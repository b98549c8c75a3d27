"""How the answer to a query is shown: small pictures, a table, the best one on the desktop."""

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
from imgclust.terminal.table import Column, likeness_cells, shortened
from imgclust.wording import SIMILARITY_LACKING, copies_shown, printable, rarity_meant

if TYPE_CHECKING:
    from rich.segment import Segment

    from imgclust.collection import Neighbour, QueryResult

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
