"""How the folders that images come from are shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column
from imgclust.wording import NEXT_STEP, counted, minute, printable, unreadable

if TYPE_CHECKING:
    from imgclust.collection import MovedRoot, RemovedRoot, RootRow


def roots(screen: Screen, rows: Sequence[RootRow]) -> None:
    """The folders, and what to do about those that are not all right."""
    if not rows:
        screen.summary("no folder yet; watch one with imgclust watch FOLDER")
        return
    screen.table(
        [
            *(Column("kind"), Column("state"), Column("images", "number")),
            *(Column("missing", "number"), Column("last scan"), Column("device")),
            Column("path", "path"),
        ],
        [
            (
                row.kind,
                row.state,
                f"{row.images:,}",
                f"{row.missing:,}",
                "" if row.scanned is None else minute(row.scanned),
                "" if row.device is None else f"{os.major(row.device)}:{os.minor(row.device)}",
                printable(row.path),
            )
            for row in rows
        ],
    )
    for row in rows:
        if row.state == "held":
            screen.line(f"held: {printable(row.path)}: {printable(row.reason or '')}")
    if any(row.state == "held" for row in rows):
        screen.line(f"held images are kept: {NEXT_STEP}")
    for path, reason in dict.fromkeys(
        (row.path, row.reason or "") for row in rows if row.state == "unreadable"
    ):
        screen.line(unreadable(path, reason))
    if any(row.state in {"offline", "missing"} for row in rows):
        screen.summary(
            "images of a folder that is not there are kept; if it has moved: "
            "imgclust roots move OLD NEW"
        )


def moved(screen: Screen, result: MovedRoot) -> None:
    """A folder that was, or would be, moved."""
    where = f"{printable(result.old)} -> {printable(result.new)}"
    if result.already:
        screen.summary(f"moved already: {where}")
        return
    verb = "would move" if result.dry_run else "moved"
    screen.outcome(f"{counted(result.images, 'image')} {verb}: {where}")
    read = counted(result.compared, "file")
    screen.summary(f"sizes compared; {read} read to the end and found to be the same")
    if result.absent:
        screen.line(
            f"{counted(result.absent, 'file')} not there or changed; the next watch looks at them"
        )
    if result.doubled:
        would = "would be" if result.dry_run else "were"
        screen.summary(
            f"{counted(result.doubled, 'image')} of the new place {would} joined with the old "
            "ones, whose ids stay"
        )


def removed(screen: Screen, result: RemovedRoot) -> None:
    """A folder that is, or would be, watched no more."""
    images = counted(result.images, "image")
    would = "would " if result.dry_run else ""
    if result.images_removed:
        taken = "would be taken out" if result.dry_run else "taken out"
        screen.outcome(f"{images} {taken}; no file is touched: {printable(result.path)}")
    elif result.watched:
        stops = "would be watched no more" if would else "is not watched any more"
        screen.outcome(f"{printable(result.path)} {stops}; its {images} stay in the collection")
    else:
        screen.outcome(
            f"{printable(result.path)} is not watched; its {images} stay in the collection "
            "(--remove-images takes them out)"
        )
