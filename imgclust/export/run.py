"""One export: rows of the catalog in a format, to a path, a stream, or TensorBoard's projector."""

from __future__ import annotations

import contextlib
import os
import stat as stat_bits
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import ListedImage
from imgclust.charts.image_sheet import sprite
from imgclust.errors import NothingThereError, StorageError, UsageError, writing
from imgclust.export.rows import (
    Rows,
    require_pyarrow,
    vector_in_words,
    write_classic,
    write_csv,
    write_json,
    write_parquet,
)
from imgclust.export.xmp import SUFFIX, write_sidecars
from imgclust.fs import is_below, replacing
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import NO_CLUSTERS, in_base64, loses, path_text, printable

# The projector shows no picture that is wider or higher (a texture of the browser).
_SPRITE_PX = 8192
_CELL_PX = 64
MOST_IMAGES = (_SPRITE_PX // _CELL_PX) ** 2

_CONFIG = """\
embeddings {{
  tensor_name: "imgclust {name}"
  tensor_path: "vectors.tsv"
  tensor_shape: {count}
  tensor_shape: {dims}
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {cell}
    single_image_dim: {cell}
  }}
}}
"""


def write_projector(
    folder: Path,
    rows: Rows,
    *,
    collection: str,
    thumbnail: Callable[[int], bytes | None],
) -> int:
    """Write the four files of a projector export; returns the number of images.

    Above `MOST_IMAGES` a random sample of so many is written, the same each time.

    Parameters
    ----------
    thumbnail
        Encoded picture of a content, None where there is none.

    Raises
    ------
    NothingThereError
        When no image has an embedding.
    """
    contents: list[int] = []
    dims = 0
    with (
        (folder / "vectors.tsv").open("w", encoding="ascii", newline="") as vectors,
        (folder / "metadata.tsv").open("w", encoding="utf-8", newline="") as metadata,
    ):
        titles = ["image", "cluster", "name", "id", "path", "cluster_name"]
        metadata.write("\t".join(titles + ["path_bytes"] * rows.lossy) + "\n")
        for image in _chosen(rows):
            assert image.embedding is not None
            dims = len(image.embedding)
            vectors.write(vector_in_words(image.embedding, "\t") + "\n")
            metadata.write(_described(rows, image) + "\n")
            contents.append(image.content)
    if not contents:
        raise NothingThereError("no image has an embedding to export")
    sprite(
        folder / "sprite.png",
        _pictures(rows, contents, thumbnail),
        count=len(contents),
        cell_px=_CELL_PX,
    )
    config = _CONFIG.format(name=collection, count=len(contents), dims=dims, cell=_CELL_PX)
    (folder / "projector_config.pbtxt").write_text(config, "utf-8")
    return len(contents)


def _chosen(rows: Rows) -> Iterator[ListedImage]:
    chosen: set[int] | None = None
    if rows.count > MOST_IMAGES:
        ids = rows.catalog.listing.ids()
        chosen = set(np.random.default_rng(0).choice(ids, MOST_IMAGES, replace=False).tolist())
    for page in rows.pages(embeddings=True):
        for image in page:
            if image.embedding is not None and (chosen is None or image.id in chosen):
                yield image


def _pictures(
    rows: Rows, contents: list[int], thumbnail: Callable[[int], bytes | None]
) -> Iterator[bytes | None]:
    for number, content in enumerate(contents):
        if number % 100 == 0:
            rows.stop.check()
            rows.progress("drawing the sprite", number, len(contents))
        yield thumbnail(content)
    rows.progress("drawing the sprite", len(contents), len(contents))


def _described(rows: Rows, image: ListedImage) -> str:
    name = rows.names.get(image.cluster or 0, "")
    cluster = "" if image.cluster is None else str(image.cluster)
    file = path_text(os.path.basename(image.path))
    cells = [file, cluster, name, str(image.id), path_text(image.path), name]
    if rows.lossy:
        cells.append(in_base64(image.path) if loses(image.path) else "")
    return "\t".join(_cell(cell) for cell in cells)


def _cell(value: str) -> str:
    """A value without the characters that end a cell or a line, escaped as in Python."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in value
    )


# The files of a projector export, the only ones that a later one replaces.
PROJECTOR_FILES = ("vectors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")

Target = Path | BinaryIO | None


@dataclass(frozen=True)
class ExportResult:
    """What was written where; `path` is None for a stream, `images` fewer than `of` for a part.

    `map` is the map that the coordinates belong to, such as "tsne-2d".
    `notes` are sentences for people: what was left out, and why.
    """

    path: Path | None
    format: str
    images: int
    of: int
    embeddings: bool
    notes: tuple[str, ...]
    map: str | None = None


FORMATS = ("json", "csv", "parquet", "projector", "classic", "xmp")

# Their readers need a file that they can move about in, or a folder.
_WITH_COORDINATES = ("json", "csv", "parquet")
_NO_STREAM = ("parquet", "projector", "xmp")


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
        A path (a folder for "projector"), replaced in one step on success, or a stream. For "xmp" a
        folder that sidecars are put into, or None: beside the images.
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
    check_request(target, format=format, embeddings=embeddings)
    rows = Rows.of(catalog, recipe=recipe, only=only, progress=progress, stop=stop or StopFlag())
    if not rows.count:
        if only is not None:
            raise NothingThereError("no image was taken then, or by that camera")
        raise NothingThereError("the collection has no images to export; add some first")
    if format == "classic" and rows.clustering is None:
        raise NothingThereError(NO_CLUSTERS)
    embeddings = embeddings or format == "projector"
    if format == "xmp":
        return _sidecars(target if isinstance(target, Path) else None, rows)
    if not isinstance(target, Path):
        assert target is not None  # checked above
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
        map=rows.map if format in _WITH_COORDINATES else None,
    )


def _sidecars(target: Path | None, rows: Rows) -> ExportResult:
    """Write XMP sidecars into a folder, or (None) beside the images."""
    if rows.clustering is None:
        raise NothingThereError(NO_CLUSTERS)
    names = _folder_names([root.path for root in rows.catalog.roots.all()])

    def place(image: bytes) -> bytes:
        if target is None:
            return image + SUFFIX
        root = max((one for one in names if is_below(image, one)), key=len, default=b"/")
        name = names.get(root, b"files")
        return os.path.join(os.fsencode(target), name, os.path.relpath(image, root) + SUFFIX)

    found = write_sidecars(rows, place, make_folders=target is not None)
    if found.failed:
        raise StorageError(
            f"{found.failed:,} of {rows.count:,} sidecars could not be written, such as "
            f"{found.reason}"
        )
    return ExportResult(target, "xmp", found.written, rows.count, False, found.notes)


def _folder_names(roots: Sequence[bytes]) -> dict[bytes, bytes]:
    """A folder for each root: its name, and a number after one that an older root has too."""
    names: dict[bytes, bytes] = {}
    for root in roots:
        plain = os.path.basename(root) or b"files"
        number = 1
        while (name := plain if number == 1 else plain + b"-%d" % number) in names.values():
            number += 1
        names[root] = name
    return names


def check_request(target: Target, *, format: str, embeddings: bool) -> None:
    """Whether format, target and embeddings go together; raises as `export`."""
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; use {', '.join(FORMATS)}")
    if format in {"classic", "xmp"} and embeddings:
        raise UsageError(f"the format {format} has no embeddings; use json, csv or parquet")
    if target is None and format != "xmp":
        raise UsageError(f"name a place for {format} with --out")
    if format in _NO_STREAM and not isinstance(target, Path | None):
        raise UsageError(f"{format} cannot go to standard output; name a place with --out")
    if format == "parquet":
        require_pyarrow()


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


def check_target(path: Path, *, folder: bool) -> Path:
    """The real path of an export.

    Parameters
    ----------
    folder
        The export is a folder; what exists there must be an earlier one, or empty.

    Raises
    ------
    UsageError
        When something else exists there.
    """
    real = Path(os.path.realpath(path))
    try:
        mode = real.stat().st_mode
    except OSError:
        return real
    if folder:
        if not stat_bits.S_ISDIR(mode):
            raise UsageError(f"{printable(path)} is not a folder; the projector export makes one")
        other = sorted(set(os.listdir(real)) - set(PROJECTOR_FILES))
        if other:
            raise UsageError(
                f"the folder {printable(path)} holds other files ({printable(other[0])}); "
                "name a new one for the export"
            )
    elif not stat_bits.S_ISREG(mode):
        kind = "a folder" if stat_bits.S_ISDIR(mode) else "no plain file"
        raise UsageError(f"{printable(path)} is {kind}; name a file, or - for standard output")
    return real


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when all went well.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with writing(printable(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            yield stream


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the place of `path` (an earlier export, or nothing) when all went well.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    # Not `fs.making_folder`: only the files of an export are deleted, whatever else came meanwhile.
    temporary = path.with_name(f".imgclust-export-{os.getpid()}.part")
    before = temporary.with_suffix(".old")
    try:
        with writing(printable(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if path.exists():
                path.rename(before)
            try:
                temporary.rename(path)
            except OSError:
                if before.exists():
                    before.rename(path)
                raise
    finally:
        _clear(temporary)
        _clear(before)


def _clear(folder: Path) -> None:
    """Delete the files of a projector export and, if nothing else is in it, their folder."""
    for name in PROJECTOR_FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
