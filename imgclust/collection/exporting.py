"""Exports and reports: never into a folder that images come from, nor into our own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.collection import duplicating, folders
from imgclust.collection.running import our_folders
from imgclust.errors import UsageError
from imgclust.export import ExportResult, Target, check_target, export
from imgclust.report import ReportResult
from imgclust.report import report as write_report

if TYPE_CHECKING:
    from imgclust.collection.opened import Opened

_SHEETS = (".png", ".jpg", ".jpeg", ".webp")


def write(collection: Opened, to: Target, *, format: str, embeddings: bool) -> ExportResult:
    """See `Collection.export`."""
    if isinstance(to, Path):
        to = check_target(Path(os.path.abspath(to.expanduser())), folder=format == "projector")
        keep_out(collection, to)
    return export(
        collection.catalog,
        to,
        format=format,
        recipe=collection.recipe,
        collection=collection.name,
        thumbnail=collection.thumbnail,
        embeddings=embeddings,
        progress=collection.progress,
        stop=collection.stop,
    )


def report(collection: Opened, to: Path | None) -> ReportResult:
    """See `Collection.report`."""
    path = collection.folders.charts / "report.html"
    if to is not None:
        if to.is_dir():
            raise UsageError(f"{to} is a folder; name a file for the report")
        path = check_target(Path(os.path.abspath(to.expanduser())), folder=False)
        keep_out(collection, path)
    return write_report(
        collection.catalog,
        path,
        collection=collection.name,
        recipe=collection.recipe,
        settings=collection.settings,
        thumbnail=lambda key: duplicating.picture(collection, key),
        progress=collection.progress,
        stop=collection.stop,
    )


def sheet_place(collection: Opened, path: Path) -> Path:
    """Where a contact sheet goes; see `picture_place`."""
    return picture_place(collection, path, kinds=_SHEETS, what="a contact sheet")


def picture_place(collection: Opened, path: Path, *, kinds: Sequence[str], what: str) -> Path:
    """Where a picture that was asked for goes: never over an original, nor where it would come in.

    Raises
    ------
    UsageError
        When its suffix is not one of `kinds`, it lies among the images, or is a folder.
    """
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path.name}: {what} is a file in {', '.join(kinds)}")
    keep_from_images(collection, check_target(Path(os.path.abspath(path)), folder=False))
    return path


def keep_out(collection: Opened, path: Path) -> None:
    """Refuse a path among the images or among our own files."""
<<<<<<< HEAD
    path = Path(os.path.abspath(path))
    for root in collection.catalog.images.roots():
        if folders.overlaps(os.fsencode(path), root.path):
            raise UsageError(
                f"{path} lies among the images in {os.fsdecode(root.path)}; choose another place"
            )
=======
    keep_from_images(collection, path)
>>>>>>> b08316f (A removed image stays away when its hard link goes; no picture is drawn among the images; undo says what it splits and merges)
    for ours in our_folders(collection):
        if folders.overlaps(os.fsencode(path), ours):
            raise UsageError(
                f"{path} lies in our own folder {os.fsdecode(ours)}; choose another place"
            )


def keep_from_images(collection: Opened, path: Path) -> None:
    """Refuse a path among the images."""
    for root in collection.catalog.images.roots():
        if folders.overlaps(os.fsencode(path), root.path):
            raise UsageError(
                f"{path} lies among the images in {os.fsdecode(root.path)}; choose another place"
            )
