"""How collections, their folders and settings, exports and backups are shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column
from imgclust.wording import NEXT_STEP, counted, minute, printable, size, unreadable

if TYPE_CHECKING:
    from imgclust.collection import (
        Backup,
        CollectionList,
        CollectionPlace,
        CollectionRow,
        Deleted,
        EffectiveSettings,
        ExportResult,
        KeptCatalog,
        Manifest,
        MovedRoot,
        RemovedRoot,
        ReportResult,
        Restored,
        RootRow,
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


def exported(screen: Screen, result: ExportResult) -> None:
    """How many images were written, and where."""
    beside = ", with embeddings" if result.embeddings else ""
    screen.summary(f"{counted(result.images, 'image')} as {result.format}{beside}")
    if result.map is not None:
        method, _, dims = result.map.partition("-")
        named = {"tsne": "t-SNE", "pca": "PCA"}.get(method, method)
        axes = "x, y, z" if dims == "3d" else "x, y"
        screen.summary(f"{axes}: of the map by {named} that was made last")
    for note in result.notes:
        screen.summary(note)
    if result.path is not None:
        screen.outcome(f"export: {printable(result.path)}")


def reported(screen: Screen, result: ReportResult) -> None:
    """What is on the page, its size, and where it lies."""
    screen.summary(f"{counted(result.clusters, 'cluster')}, {size(result.bytes)}")
    if result.pictured < result.clusters:
        screen.summary(
            f"only the {result.pictured:,} largest clusters show an image: with all of them the "
            "page would be too large"
        )
    elif result.pictures < result.most_pictures:
        screen.summary(
            f"each cluster shows {counted(result.pictures, 'image')}: with "
            f"{result.most_pictures} the page would be too large"
        )
    screen.outcome(f"report: {printable(result.path)}")


def backed_up(screen: Screen, result: Backup) -> None:
    """What was written, and where."""
    screen.summary(f"{_holds(result.manifest)}; {size(result.bytes)}")
    screen.outcome(f"backup: {printable(result.path)}")


def restored(screen: Screen, result: Restored) -> None:
    """The new collection, and what the next step is."""
    made = minute(result.manifest.made)
    if result.dry_run:
        screen.summary(f"the backup of {made} is whole: {_holds(result.manifest)}")
        screen.outcome(f"it would be restored to {printable(result.path)}")
        return
    screen.summary(f"restored {result.name} from the backup of {made}: {_holds(result.manifest)}")
    screen.outcome(f"collection: {printable(result.path)}")
    if result.links_moved:
        screen.line("another collection has its links in the link folder of this backup;")
        screen.exact(f"those of this one will be in {printable(result.link_folder)}")
    elif not result.link_folder.is_relative_to(result.path) and result.link_folder.exists():
        screen.line(
            "links made after this backup, in other places than they get now, stay where they are: "
            "imgclust links --check lists them"
        )
    for root in result.absent:
        screen.exact(f"not on this machine: {printable(root)}")
    if result.absent:
        screen.line("no image is lost; imgclust roots move OLD NEW says where such a folder is now")
    screen.summary("imgclust watch makes index and links again, and finds the new files")


def kept(screen: Screen, rows: Sequence[KeptCatalog]) -> None:
    """Catalogs from before upgrades."""
    for row in rows:
        screen.exact(
            f"kept from before the upgrade from version {row.version} ({size(row.bytes)}): "
            f"{printable(row.path)}"
        )


def _holds(manifest: Manifest) -> str:
    named = f", {manifest.names:,} named" if manifest.names else ""
    return f"{counted(manifest.images, 'image')}, {counted(manifest.clusters, 'cluster')}{named}"
