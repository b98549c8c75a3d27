"""How exports, reports and backups are shown, and collections made from backups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.wording import counted, minute, printable, size

if TYPE_CHECKING:
    from imgclust.collection import (
        Backup,
        ExportResult,
        KeptCatalog,
        Manifest,
        ReportResult,
        Restored,
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
