"""Exports, reports, maps, backups: never into a folder that images come from, nor into our own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import fs, paths
from imgclust.errors import NothingThereError, UsageError
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.backup.write import Backup
    from imgclust.collection.context import Context
    from imgclust.collection.images import Selection
    from imgclust.export.run import ExportResult, Target
    from imgclust.maps import MapResult
    from imgclust.report.html_report import ReportResult

_SHEETS = (".png", ".jpg", ".jpeg", ".webp")
_MAPS = (".png", ".svg", ".html")
_PAGES = (".html", ".htm")


def view(
    context: Context, method: str | None, dims: int | None, out: Path | None, *, refit: bool
) -> MapResult:
    """See `Collection.view`."""
    from imgclust.maps import draw, make_map

    views = context.settings.views
    if out is not None:
        require_map(out, dims)
        dims = 3 if out.suffix.lower() == ".html" else dims
    method, dims = method or views.method, dims or views.dims
    if method not in {"pca", "tsne"} or dims not in {2, 3}:
        raise UsageError(f"{method} in {dims} dimensions is not supported; use pca or tsne, 2 or 3")
    path = out or context.folders.charts / f"map-{method}-{dims}d.png"
    if out is not None:
        keep_out(context, out)
    drawn = make_map(
        context.catalog,
        recipe=context.recipe,
        settings=context.settings,
        method=method,
        dims=dims,
        refit=refit,
        progress=context.progress,
        stop=context.stop,
    )
    result = draw(
        context.catalog,
        drawn,
        path.absolute(),
        page=path.with_suffix(".html").absolute() if out is None and dims == 3 else None,
        method=method,
        thumbnail=context.thumbnail,
        most_thumbnails=views.thumbnails,
        collection=context.name,
    )
    say_lacking(context, [context.name, *context.catalog.clusterings.names().values()])
    return result


def chosen(
    context: Context, selection: Selection | None, cluster: int | str | None
) -> frozenset[int] | None:
    """Ids of the images that are chosen so and are in this cluster; None for all.

    Raises
    ------
    NothingThereError
        When there is no such cluster, or it has no images.
    """
    only = None if selection is None else selection.images(context)
    if cluster is None:
        return only
    catalog = context.catalog
    number = catalog.clusterings.find(cluster)
    members = frozenset(catalog.assignments.images_in(context.current().id, number))
    if not members:
        raise NothingThereError(f"cluster {number} has no images")
    return members if only is None else members & only


def write(
    context: Context,
    to: Target,
    *,
    format: str,
    embeddings: bool,
    only: frozenset[int] | None,
) -> ExportResult:
    """See `Collection.export`; `only`: ids of the images, None for all."""
    from imgclust.export.run import check_target, export

    require_export(to, format=format, embeddings=embeddings)
    if isinstance(to, Path):
        to = Path(os.path.abspath(to.expanduser()))
        if format != "xmp":
            to = check_target(to, folder=format == "projector")
        keep_out(context, Path(os.path.realpath(to)))
    return export(
        context.catalog,
        to,
        format=format,
        recipe=context.recipe,
        collection=context.name,
        thumbnail=context.thumbnail,
        embeddings=embeddings,
        only=only,
        progress=context.progress,
        stop=context.stop,
    )


def report(context: Context, to: Path | None) -> ReportResult:
    """See `Collection.report`."""
    from imgclust.collection import duplicates, images
    from imgclust.export.run import check_target

    path = context.folders.charts / "report.html"
    if to is not None:
        require_report(to)
        path = check_target(Path(os.path.abspath(to.expanduser())), folder=False)
        keep_out(context, path)
    duplicates.renew_quickly(context)
    context.progress("reading the collection", 0, None)
    from imgclust.report.html_report import report as write_report

    return write_report(
        context.catalog,
        path,
        collection=context.name,
        recipe=context.recipe,
        settings=context.settings,
        thumbnail=lambda key: images.picture(context, key),
        progress=context.progress,
        stop=context.stop,
    )


def backup(context: Context, to: Path) -> Backup:
    """See `Collection.backup`; among the images a backup does no harm, as it is none."""
    from imgclust import __version__
    from imgclust.backup.write import write_backup

    path = Path(os.path.abspath(to.expanduser()))
    if not path.is_dir():  # which may hold our own folders, and is refused for what it is
        _keep_out_of_ours(context, path)
    return write_backup(
        context.catalog,
        path,
        collection=context.name,
        folder=context.folders.root,
        version=__version__,
        progress=context.progress,
        stop=context.stop,
    )


def check_sheet(context: Context, path: Path) -> None:
    """Refuse a contact sheet of no known kind, or where no file of ours may be."""
    require_sheet(path)
    keep_out(context, path)


def draw_sheet(
    context: Context,
    path: Path,
    shown: Sequence[int],
    captions: Sequence[Sequence[str]],
    *,
    title: str,
    subtitle: str,
) -> None:
    """Draw a contact sheet of images (ids); say what no font here draws."""
    from imgclust.charts.image_sheet import contact_sheet
    from imgclust.collection import images

    contact_sheet(path, images.pictures(context, shown), captions, title=title, subtitle=subtitle)
    say_lacking(context, [title, subtitle, *(line for lines in captions for line in lines)])


def say_lacking(context: Context, texts: Iterable[str]) -> None:
    """Say which of the texts of a picture no font here draws."""
    from imgclust.charts.fonts import undrawable

    lacking = undrawable(texts)
    if lacking is not None:
        context.say(lacking)


def require_sheet(path: Path) -> None:
    """Refuse a contact sheet of no known kind, or in the place of something else."""
    if path.suffix.lower() not in _SHEETS:
        raise UsageError(f"{path.name}: a contact sheet is a file in {', '.join(_SHEETS)}")
    _require_file(path)


def require_map(path: Path, dims: int | None) -> None:
    """Refuse a map of no known kind, or in the place of something else."""
    if path.suffix.lower() not in _MAPS:
        raise UsageError(f"{path.name}: a map is a .png or .svg file, or an .html page")
    if path.suffix.lower() == ".html" and dims == 2:
        raise UsageError(f"{path.name}: an .html map has 3 dimensions; use .png or .svg for 2")
    _require_file(path)


def require_report(path: Path) -> None:
    """Refuse a report under the name of another kind of file, or in the place of a folder."""
    if path.is_dir():
        raise UsageError(f"{printable(path)} is a folder; name a file for the report")
    if path.suffix.lower() not in _PAGES:
        raise UsageError(
            f"{printable(path.name)}: a report is an HTML page; use a name that ends in .html"
        )
    require_folder(path)


def require_export(to: Target, *, format: str, embeddings: bool) -> None:
    """Refuse an export whose parts do not go together, or in the place of something else."""
    from imgclust.export.run import check_request, check_target

    check_request(to, format=format, embeddings=embeddings)
    if isinstance(to, Path) and format == "xmp":
        require_folder(to)
        if os.path.lexists(to.expanduser()) and not to.expanduser().is_dir():
            raise UsageError(f"{printable(to)} is not a folder; name one for the sidecars")
    elif isinstance(to, Path):
        require_folder(to)
        check_target(Path(os.path.abspath(to.expanduser())), folder=format == "projector")


def require_folder(path: Path) -> None:
    """Refuse a file in a folder that is not there: only folders that were asked for are made."""
    folder = Path(os.path.abspath(path.expanduser())).parent
    if not folder.is_dir():
        raise UsageError(f"the folder {printable(folder)} does not exist; make it first")


def _require_file(path: Path) -> None:
    """Refuse to put a picture in the place of something that is not a file."""
    require_folder(path)
    try:
        fs.require_regular(path)
    except fs.NotAFileError as error:
        raise UsageError(
            f"{printable(path)} is {error.kind}; name a file for the picture"
        ) from None


def keep_out(context: Context, path: Path) -> None:
    """Refuse a path among the images or among our own files."""
    path = Path(os.path.abspath(path))
    for root in context.catalog.roots.all():
        if paths.overlaps(os.fsencode(path), root.path):
            raise UsageError(
                f"{printable(path)} lies among the images in {printable(root.path)}; "
                "choose another place"
            )
    _keep_out_of_ours(context, path)


def _keep_out_of_ours(context: Context, path: Path) -> None:
    whole = os.path.realpath(os.fsencode(context.index_folder.path))  # others' collections too
    for ours in (*context.our_folders(), whole):
        if paths.overlaps(os.fsencode(path), ours):
            raise UsageError(
                f"{printable(path)} lies in our own folder {printable(ours)}; choose another place"
            )
