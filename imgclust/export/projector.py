"""Exports for the projector of TensorBoard: vectors, metadata, a sprite, and their config."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from imgclust.catalog.images import ListedImage
from imgclust.charts.image_sheet import sprite
from imgclust.errors import NothingThereError
from imgclust.export.rows import Rows, vector_in_words
from imgclust.wording import in_base64, loses, path_text

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
