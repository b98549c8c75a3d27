"""Exports and reports: never into a folder that images come from, nor into our own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import fs
from imgclust.collection import folders
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.backup import Backup
    from imgclust.collection.context import Opened
    from imgclust.collection.selection import Selection
    from imgclust.export import ExportResult, Target
    from imgclust.report import ReportResult

_SHEETS = (".png", ".jpg", ".jpeg", ".webp")


def write(
    collection: Opened,
    to: Target,
    *,
    format: str,
    embeddings: bool,
    selection: Selection | None = None,
) -> ExportResult:
    """See `Collection.export`."""
    from imgclust.export import check_target, export

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
        only=None if selection is None else selection.images(collection),
        progress=collection.progress,
        stop=collection.stop,
    )


def report(collection: Opened, to: Path | None) -> ReportResult:
    """See `Collection.report`."""
    from imgclust.export import check_target

    path = collection.folders.charts / "report.html"
    if to is not None:
        if to.is_dir():
            raise UsageError(f"{to} is a folder; name a file for the report")
        path = check_target(Path(os.path.abspath(to.expanduser())), folder=False)
        keep_out(collection, path)
    collection.progress("reading the collection", 0, None)
    from imgclust.collection import images
    from imgclust.report import report as write_report

    return write_report(
        collection.catalog,
        path,
        collection=collection.name,
        recipe=collection.recipe,
        settings=collection.settings,
        thumbnail=lambda key: images.picture(collection, key),
        progress=collection.progress,
        stop=collection.stop,
    )


def backup(collection: Opened, to: Path) -> Backup:
    """See `Collection.backup`; among the images a backup does no harm, as it is none."""
    from imgclust import __version__
    from imgclust.backup import write_backup

    path = Path(os.path.abspath(to.expanduser()))
    if not path.is_dir():  # which may hold our own folders, and is refused for what it is
        _keep_out_of_ours(collection, path)
    return write_backup(
        collection.catalog,
        path,
        collection=collection.name,
        folder=collection.folders.root,
        version=__version__,
        progress=collection.progress,
        stop=collection.stop,
    )


def check_sheet(collection: Opened, path: Path) -> None:
    """Refuse a contact sheet of no known kind, or where no file of ours may be."""
    if path.suffix.lower() not in _SHEETS:
        raise UsageError(f"{path.name}: a contact sheet is a file in {', '.join(_SHEETS)}")
    require_file(path)
    keep_out(collection, path)


def require_file(path: Path) -> None:
    """Refuse to put a picture in the place of something that is not a file."""
    try:
        fs.require_regular(path)
    except fs.NotAFileError as error:
        raise UsageError(f"{path} is {error.kind}; name a file for the picture") from None


def keep_out(collection: Opened, path: Path) -> None:
    """Refuse a path among the images or among our own files."""
    path = Path(os.path.abspath(path))
    for root in collection.catalog.roots.all():
        if folders.overlaps(os.fsencode(path), root.path):
            raise UsageError(
                f"{path} lies among the images in {os.fsdecode(root.path)}; choose another place"
            )
    _keep_out_of_ours(collection, path)


def _keep_out_of_ours(collection: Opened, path: Path) -> None:
    whole = os.path.realpath(os.fsencode(collection.index_folder.path))  # others' collections too
    for ours in (*collection.our_folders(), whole):
        if folders.overlaps(os.fsencode(path), ours):
            raise UsageError(
                f"{path} lies in our own folder {os.fsdecode(ours)}; choose another place"
            )
