"""How collections side by side and settings are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column
from imgclust.wording import counted, printable, size

if TYPE_CHECKING:
    from imgclust.collection import (
        CollectionList,
        CollectionPlace,
        CollectionRow,
        Deleted,
        EffectiveSettings,
    )

# Foreign files that are named; of more, their number is said.
_MOST_NAMED = 10


def collections(screen: Screen, result: CollectionList) -> None:
    """The collections of an index folder."""
    if not result.collections:
        screen.summary(
            f"no collections in {printable(result.index.path)} ({result.index.why}); "
            "make one with imgclust watch FOLDER"
        )
        return
    screen.table(
        [
            *(Column("collection"), Column("images", "number"), Column("distinct", "number")),
            *(Column("size", "number"), Column("watching"), Column("roots", "path")),
        ],
        [
            (
                row.name,
                _number(row.images),
                _number(row.distinct),
                size(row.size_bytes),
                "yes" if row.watching else "no",
                ", ".join(printable(root) for root in row.roots) or "-",
            )
            for row in result.collections
        ],
    )
    for row in result.collections:
        if row.trouble:
            screen.line(f"{row.name}: {printable(row.trouble)}", style="red")
    screen.summary(f"in {printable(result.index.path)} ({result.index.why})")


def created(screen: Screen, result: CollectionPlace) -> None:
    """A collection that was made."""
    screen.outcome(f"made {result.name} in {printable(result.path)}")


def renamed(screen: Screen, result: CollectionPlace) -> None:
    """A collection that has another name now."""
    screen.outcome(f"renamed to {result.name}: {printable(result.path)}")


def would_delete(screen: Screen, row: CollectionRow) -> None:
    """A collection that could be deleted."""
    facts = [
        ("collection", row.name),
        ("images", f"{_number(row.images)}; the files themselves stay"),
        ("size", f"{size(row.size_bytes)} of embeddings, thumbnails and links"),
    ]
    facts += [("watches" if root == row.roots[0] else "", printable(root)) for root in row.roots]
    if row.watching:
        facts.append(("", "a process is ingesting into it now: stop that first"))
    screen.facts(facts)


def deleted(screen: Screen, result: Deleted) -> None:
    """A collection that is gone, and what stays."""
    screen.summary(f"deleted {result.name}: {counted(result.links, 'link')} in its link folder")
    if result.kept:
        screen.line(f"{counted(len(result.kept), 'file')} not ours, so left there:")
        for path in result.kept[:_MOST_NAMED]:
            screen.fitted("  ", printable(path))
        if len(result.kept) > _MOST_NAMED:
            screen.line(f"  and {len(result.kept) - _MOST_NAMED:,} more")


def settings(screen: Screen, result: EffectiveSettings, *, changed: bool) -> None:
    """Settings with their values and origins, and the folders in use."""
    rows = [row for row in result.settings if row.changed or not changed]
    if rows:
        screen.table(
            [Column("setting"), Column("value", "path"), Column("from", "path")],
            [(row.key, printable(_value(row.value)), printable(row.origin)) for row in rows],
        )
    else:
        screen.line("every setting has its default value")
    screen.line()
    screen.facts(
        [
            ("collection", result.collection),
            ("index folder", f"{printable(result.index.path)} ({result.index.why})"),
            ("cache", printable(result.cache)),
        ]
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(one if isinstance(one, str) else f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
