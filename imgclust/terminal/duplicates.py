"""How duplicates are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column, columns, likeness_cells
from imgclust.wording import BEST_COPY, counted, size

if TYPE_CHECKING:
    from imgclust.collection import Dismissed, Duplicate, DuplicateGroup, DuplicatesResult


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
