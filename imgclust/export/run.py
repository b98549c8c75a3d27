"""One export: rows from the catalog, written in a format, to a path or a stream."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgclust.catalog import Catalog
from imgclust.errors import NothingThereError, UsageError
from imgclust.export.parquet import require_pyarrow, write_parquet
from imgclust.export.projector import write_projector
from imgclust.export.rows import Rows
from imgclust.export.target import Target, replacing_file, replacing_folder
from imgclust.export.text import write_classic, write_csv, write_json
from imgclust.progress import Progress, StopFlag, silent


@dataclass(frozen=True)
class ExportResult:
    """What was written where; `path` is None for a stream, `images` fewer than `of` for a part.

    `notes` are sentences for people: what was left out, and why.
    """

    path: Path | None
    format: str
    images: int
    of: int
    embeddings: bool
    notes: tuple[str, ...]


FORMATS = ("json", "csv", "parquet", "projector", "classic")

# Their readers need a file that they can move about in, or a folder.
_NO_STREAM = ("parquet", "projector")


def export(
    catalog: Catalog,
    target: Target,
    *,
    format: str,
    recipe: str,
    collection: str,
    thumbnail: Callable[[int], bytes | None],
    embeddings: bool = False,
    only: Collection[int] | None = None,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> ExportResult:
    """Write all images of a collection.

    Parameters
    ----------
    target
        A path (a folder for "projector"), replaced in one step on success, or a stream.
    format
        One of `FORMATS`.
    recipe
        Whose embeddings and maps.
    thumbnail
        Encoded picture of a content, None where there is none.
    embeddings
        Write the embeddings too; "projector" always does, "classic" never.
    only
        Ids of the images to write; None for all.

    Raises
    ------
    UsageError
        For another format, and where format and target or embeddings do not go together.
    NothingThereError
        For a collection without images, and for "classic" without clusters.
    MissingPackageError
        For "parquet" without pyarrow.
    StorageError
        When the target cannot be written.
    StoppedError
        When the person asked to stop; what stood there stays.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; use {', '.join(FORMATS)}")
    if format == "classic" and embeddings:
        raise UsageError("the format classic has no embeddings; use json, csv or parquet")
    if format in _NO_STREAM and not isinstance(target, Path):
        raise UsageError(f"{format} cannot go to standard output; name a place with --out")
    if format == "parquet":
        require_pyarrow()
    rows = Rows.of(catalog, recipe=recipe, only=only, progress=progress, stop=stop or StopFlag())
    if not rows.count:
        if only is not None:
            raise NothingThereError("no image was taken then, or by that camera")
        raise NothingThereError("the collection has no images to export; add some first")
    if format == "classic" and rows.clustering is None:
        raise NothingThereError("there are no clusters yet; make them with imgclust cluster")
    embeddings = embeddings or format == "projector"
    if not isinstance(target, Path):
        written = _write(target, rows, format, embeddings)
    elif format == "projector":
        with replacing_folder(target) as folder:
            written = write_projector(folder, rows, collection=collection, thumbnail=thumbnail)
    else:
        with replacing_file(target) as stream:
            written = _write(stream, rows, format, embeddings)
    return ExportResult(
        path=target if isinstance(target, Path) else None,
        format=format,
        images=written,
        of=rows.count,
        embeddings=embeddings,
        notes=_notes(format, written, rows.count),
    )


def _write(stream: BinaryIO, rows: Rows, format: str, embeddings: bool) -> int:
    if format == "json":
        return write_json(stream, rows, embeddings=embeddings)
    if format == "csv":
        return write_csv(stream, rows, embeddings=embeddings)
    if format == "parquet":
        return write_parquet(stream, rows, embeddings=embeddings)
    return write_classic(stream, rows)


def _notes(format: str, written: int, count: int) -> tuple[str, ...]:
    if written >= count:
        return ()
    if format == "projector":
        return (
            f"a random sample of {written:,} of {count:,} images: the sprite of the projector "
            "has room for no more",
        )
    return (f"{count - written:,} of {count:,} images belong to no cluster and are left out",)
