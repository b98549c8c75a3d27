"""Widths and tables: paths below their roots, shortened where the terminal is narrow."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgclust.fs import is_below
from imgclust.wording import printable, rarity

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

# Columns that a path is left at least.
LEAST_PATH = 12
_ELLIPSIS = "..."
# More roots than these are not named one by one: paths are shown below the folder of them all.
_MOST_ROOTS = 5


def cells(text: str) -> int:
    """Columns that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(path: str, width: int) -> str:
    """The path in at most `width` columns, cut in the middle; its last part is kept longest."""
    if cells(path) <= width:
        return path
    room = width - len(_ELLIPSIS)
    if room <= 0:
        return _head(path, width)
    name = cells(path[path.rfind("/") :])
    tail = min(max(name, room * 2 // 3), room)
    return _head(path, room - tail) + _ELLIPSIS + _head(path[::-1], tail)[::-1]


def with_name(path: str, width: int) -> str:
    """The path in about `width` columns: the folders are cut, the file's name never is."""
    folder, slash, name = path.rpartition("/")
    room = width - cells(slash + name) - len(_ELLIPSIS)
    if cells(path) <= width or not slash:
        return path
    if room < 0:
        return name
    before = room // 2
    after = _head(folder[::-1], room - before)[::-1]
    return _head(folder, before) + _ELLIPSIS + after + slash + name


def below_roots(
    paths: Iterable[bytes], roots: Sequence[bytes]
) -> tuple[list[str], dict[bytes, str]]:
    """Lines that name the roots of these paths, and each path as it is shown under these lines.

    Below a single root a path is relative to it; below several it starts with a short name of its
    root. A path below none is shown whole.
    """
    longest_first = sorted(roots, key=len, reverse=True)
    root_of = {
        path: next((root for root in longest_first if is_below(path, root)), b"") for path in paths
    }
    used = sorted(set(root_of.values()) - {b"", b"/"})
    if len(used) > _MOST_ROOTS:
        used = [os.path.commonpath(used)]
        root_of = {path: used[0] if root else b"" for path, root in root_of.items()}
    used = [root for root in used if root != b"/"]
    if len(used) == 1:
        names = {used[0]: b""}
        lines = [f"paths below {printable(used[0])}"]
    else:
        names = _short_names(used)
        lines = [f"{printable(name)}: {printable(root)}" for root, name in names.items()]
    shown = {
        path: printable(os.path.join(names[root], os.path.relpath(path, root)))
        if root in names
        else printable(path)
        for path, root in root_of.items()
    }
    return lines, shown


class PathsBelowRoots:
    """Paths one after another, each below its root, which is named when it is met first.

    `shown` is as in `below_roots`, without knowing which paths will follow.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self._roots = sorted(set(roots), key=len, reverse=True)
        own = [root for root in self._roots if root != b"/"]
        self._names = {own[0]: b""} if len(own) == 1 else _short_names(own)
        self._met: set[bytes] = set()

    def shown(self, path: bytes) -> tuple[list[str], str]:
        """Lines that come before, and the path under them."""
        root = next((root for root in self._roots if is_below(path, root)), b"")
        name = self._names.get(root)
        if name is None:
            return [], printable(path)
        said = f"{printable(name)}: {printable(root)}" if name else f"paths below {printable(root)}"
        lines = [] if root in self._met else [said]
        self._met.add(root)
        return lines, printable(os.path.join(name, os.path.relpath(path, root)))


def _short_names(roots: Sequence[bytes]) -> dict[bytes, bytes]:
    """The last parts of each root, as many as tell it from the others."""
    parts = {root: root.strip(b"/").split(b"/") for root in roots}
    names = {}
    for root, own in parts.items():
        others = [theirs for other, theirs in parts.items() if other != root]
        enough = next(
            (n for n in range(1, len(own)) if all(own[-n:] != one[-n:] for one in others)),
            len(own),
        )
        names[root] = b"/".join(own[-enough:])
    return names


def _head(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:position]
    return text


def likeness_cells(similarity: float | None, pairs: int | None) -> tuple[str, str]:
    """How similar an image is, and how rare that is, each for a column of its own."""
    return "-" if similarity is None else f"{similarity:.3f}", rarity(pairs)


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    kind: Literal["text", "number", "path"] = "text"


def columns(*numbers: str, path: str) -> list[Column]:
    """Columns of numbers, then one of paths, by their titles."""
    return [*(Column(title, "number") for title in numbers), Column(path, "path")]


def made(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, width: int) -> list[Table]:
    """The table of these rows, under bold titles; where it is too wide, a list for each row.

    Paths are left out before that where each row has its id beside its path.
    """
    rows = [*rows]
    if _least(columns, rows) <= width:
        return [_table(columns, rows)]
    if any(column.title == "id" for column in columns):
        kept = [place for place, column in enumerate(columns) if column.kind != "path"]
        fewer = [columns[place] for place in kept]
        shorter = [[row[place] for place in kept] for row in rows]
        if _least(fewer, shorter) <= width:
            return [_table(fewer, shorter)]
    titles = [column.title for column in columns]
    return [listed(fact for fact in zip(titles, row, strict=True) if fact[1]) for row in rows]


def _least(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Columns of a terminal that a table needs at least: whole numbers, words, and names."""
    found = 2 * (len(columns) - 1)
    for place, column in enumerate(columns):
        texts = [row[place] for row in rows]
        if column.kind == "text":
            texts = [word for text in texts for word in text.split()]
        widest = max(map(cells, texts), default=0)
        found += max(
            cells(column.title), min(widest, LEAST_PATH) if column.kind == "path" else widest
        )
    return found


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.kind == "number",
            overflow="fold",
        )
    kinds = [column.kind for column in columns]
    for row in rows:
        table.add_row(
            *(
                _Path(text) if kind == "path" else Text(text)
                for kind, text in zip(kinds, row, strict=True)
            )
        )
    return table


def listed(facts: Iterable[tuple[str, str]]) -> Table:
    """Names, and beside each what belongs to it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts:
        table.add_row(Text(name), Text(fact))
    return table


class _Path:
    """A path in a table cell."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        whole = cells(self._text)
        return Measurement(min(whole, LEAST_PATH), whole)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        # A name that is wider than the column is folded.
        yield Text(with_name(self._text, options.max_width), overflow="fold")
