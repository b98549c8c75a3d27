"""Rows of an export, and their formats: JSON, CSV, Parquet, image_clustering's labels."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.corrections import KINDS
from imgclust.catalog.details import Facts
from imgclust.catalog.images import ListedImage
from imgclust.errors import MissingPackageError, StorageError
from imgclust.progress import Progress, StopFlag
from imgclust.wording import in_base64, loses, path_text

_PAGE = 1000


def write_json(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write `{"map": ..., "images": [...]}`, an image a line; returns how many.

    `map` says which map the coordinates belong to, as "tsne-2d"; null where there is none.
    """
    written = 0
    stream.write(b'{"map":%s,"images":[' % json.dumps(rows.map).encode())
    for page in rows.pages(embeddings=embeddings):
        facts = rows.facts(page)
        for image in page:
            stream.write(b",\n" if written else b"\n")
            found = facts.get(image.id, Facts())
            stream.write(_json(rows, image, found, embeddings=embeddings).encode())
            written += 1
    stream.write(b"\n]}\n")
    return written


def write_csv(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write a line an image under a line of titles (RFC 4180, UTF-8); returns how many.

    An embedding is one cell, a JSON list.
    """
    titles = ["id", "path", "cluster", "name", "distance", *rows.axes, "missing"]
    titles += ["taken", "taken_from", "camera", "damage", "cluster_name", "map", "corrected"]
    titles += ["path_bytes"] * rows.lossy + ["embedding"] * embeddings
    written = 0
    lines = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        writer = csv.writer(lines)
        writer.writerow(titles)
        for page in rows.pages(embeddings=embeddings):
            facts = rows.facts(page)
            writer.writerows(
                _cells(rows, image, facts.get(image.id, Facts()), embeddings=embeddings)
                for image in page
            )
            written += len(page)
    finally:
        lines.detach()  # the stream is the caller's to close
    return written


def write_classic(stream: BinaryIO, rows: Rows) -> int:
    """Write `{"data": [...]}` as image_clustering did, an image a line; returns how many.

    Images that belong to no cluster are left out.
    """
    written = 0
    stream.write(b'{"data":[')
    for page in rows.pages(embeddings=False):
        for image in page:
            if image.cluster is None:
                continue
            entry = {
                "img_file": path_text(os.path.basename(image.path)),
                "label": str(image.cluster),
                "prob": "1.0",
            }
            if loses(image.path):
                entry["path_bytes"] = in_base64(image.path)
            stream.write(b",\n" if written else b"\n")
            stream.write(json.dumps(entry, ensure_ascii=False).encode())
            written += 1
    stream.write(b"\n]}\n")
    return written


def _json(rows: Rows, image: ListedImage, facts: Facts, *, embeddings: bool) -> str:
    entry: dict[str, Any] = {"id": image.id, "path": path_text(image.path)}
    if loses(image.path):
        entry["path_bytes"] = in_base64(image.path)
    entry["cluster"] = image.cluster
    entry["name"] = entry["cluster_name"] = rows.names.get(image.cluster or 0)
    entry["distance"] = image.distance
    entry |= dict(zip(rows.axes, _coordinates(rows, image), strict=True))
    entry["missing"] = image.missing
    entry["corrected"] = image.content in rows.corrected
    entry |= {"taken": facts.taken, "taken_from": facts.taken_from, "camera": facts.camera}
    entry["damage"] = facts.damage or None
    written = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    if not embeddings:
        return written
    vector = "null" if image.embedding is None else _list(image)
    return f'{written[:-1]}, "embedding": {vector}}}'


def _cells(rows: Rows, image: ListedImage, facts: Facts, *, embeddings: bool) -> list[Any]:
    name = rows.names.get(image.cluster or 0)
    cells = [image.id, path_text(image.path), image.cluster, name, image.distance]
    cells += [*_coordinates(rows, image), "true" if image.missing else "false"]
    cells += [facts.taken, facts.taken_from, facts.camera, facts.damage or None]
    cells += [name, None if image.coordinates is None else rows.map]
    cells.append("true" if image.content in rows.corrected else "false")
    if rows.lossy:
        cells.append(in_base64(image.path) if loses(image.path) else None)
    if embeddings:
        cells.append(None if image.embedding is None else _list(image))
    return cells


def _coordinates(rows: Rows, image: ListedImage) -> tuple[float | None, ...]:
    return image.coordinates or (None,) * len(rows.axes)


def _list(image: ListedImage) -> str:
    assert image.embedding is not None
    return f"[{vector_in_words(image.embedding, ',')}]"


@dataclass(frozen=True)
class Rows:
    """The images of a collection as they were when the export began.

    Images that come later are left out. `axes` are the names of the map's coordinates, `map` says
    which map that is ("tsne-2d"), `lossy` whether some path is not UTF-8, `corrected` the contents
    that a person said something about.
    """

    catalog: Catalog
    recipe: str
    clustering: int | None
    projection: int | None
    names: Mapping[int, str]
    axes: tuple[str, ...]
    map: str | None
    lossy: bool
    last: int
    count: int
    progress: Progress
    stop: StopFlag
    only: Collection[int] | None = None
    corrected: Collection[int] = ()

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        *,
        recipe: str,
        progress: Progress,
        stop: StopFlag,
        only: Collection[int] | None = None,
    ) -> Rows:
        """The rows of a collection as it is now."""
        with catalog.snapshot():
            newest = catalog.projections.newest_map(recipe)
            number, dims = (None, 2) if newest is None else newest
            kind = None if number is None else catalog.projections.get(number).kind
            return cls(
                catalog=catalog,
                recipe=recipe,
                clustering=catalog.clusterings.current_id(),
                projection=number,
                names=catalog.clusterings.names(),
                axes=("x", "y", "z") if dims == 3 else ("x", "y"),
                map=None if kind is None else f"{kind}-{dims}d",
                lossy=any(loses(path) for path in catalog.listing.paths()),
                last=catalog.listing.last(),
                count=catalog.images.count() if only is None else len(only),
                progress=progress,
                stop=stop,
                only=only,
                corrected=catalog.corrections.contents_of(KINDS),
            )

    def facts(self, page: Sequence[ListedImage]) -> dict[int, Facts]:
        """When and by what the images of a page were taken."""
        return self.catalog.details.of_images([image.id for image in page])

    def pages(self, *, embeddings: bool) -> Iterator[list[ListedImage]]:
        """All images by id, at most 1,000 at a time.

        Raises
        ------
        StorageError
            When the map was recomputed meanwhile, so that its coordinates are gone.
        StoppedError
            When the person asked to stop.
        """
        done, after = 0, 0
        while page := self.catalog.listing.page(
            after=after,
            until=self.last,
            limit=_PAGE,
            clustering=self.clustering,
            projection=self.projection,
            recipe=self.recipe if embeddings else None,
        ):
            self.stop.check()
            self.progress("exporting", done, self.count)
            after = page[-1].id
            page = [one for one in page if self.only is None or one.id in self.only]
            done += len(page)
            if page:
                yield page
        newest = self.catalog.projections.newest_map(self.recipe)
        if self.projection is not None and (newest is None or newest[0] != self.projection):
            raise StorageError("the map was recomputed during the export; export again")
        self.progress("exporting", self.count, self.count)


def vector_in_words(vector: npt.NDArray[np.float16], separator: str) -> str:
    """The values of an embedding, each with as many digits as float32 needs to come back."""
    return separator.join(map(_words().__getitem__, vector.view(np.uint16).tolist()))


@functools.cache
def _words() -> list[str]:
    """The 65,536 values of half precision as text; a look-up is fast."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return [str(value) if np.isfinite(value) else "null" for value in values]


def write_parquet(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write a column for each fact about an image; returns the number of images.

    Where a path is not UTF-8, `path_bytes` holds it exactly; an embedding is a list of float32.

    Raises
    ------
    MissingPackageError
        When pyarrow is not installed.
    """
    pa = require_pyarrow()
    from pyarrow import parquet

    fields = [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("cluster", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("distance", *rows.axes)),
        pa.field("missing", pa.bool_(), nullable=False),
        pa.field("corrected", pa.bool_(), nullable=False),
        *(
            pa.field(name, pa.string())
            for name in ("taken", "taken_from", "camera", "damage", "name", "cluster_name", "map")
        ),
    ]
    if rows.lossy:
        fields.append(pa.field("path_bytes", pa.binary()))
    if embeddings:
        fields.append(pa.field("embedding", pa.list_(pa.float32())))
    schema = pa.schema(fields)
    written = 0
    with parquet.ParquetWriter(stream, schema) as writer:
        for page in rows.pages(embeddings=embeddings):
            columns = _columns(rows, page)
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            written += len(page)
    return written


def require_pyarrow() -> Any:
    """Import pyarrow.

    Raises
    ------
    MissingPackageError
        Naming the extra that brings it.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingPackageError(
            'Parquet needs pyarrow; install it with pip install "imgclust[parquet]"'
        ) from None
    return pyarrow


def _columns(rows: Rows, page: list[ListedImage]) -> dict[str, list[Any]]:
    found = rows.facts(page)
    facts = [found.get(image.id, Facts()) for image in page]
    places = [image.coordinates or (None,) * len(rows.axes) for image in page]
    names = [rows.names.get(image.cluster or 0) for image in page]
    return {
        "name": names,
        "cluster_name": names,
        "map": [None if image.coordinates is None else rows.map for image in page],
        "id": [image.id for image in page],
        "path": [path_text(image.path) for image in page],
        "cluster": [image.cluster for image in page],
        "distance": [image.distance for image in page],
        "missing": [image.missing for image in page],
        "corrected": [image.content in rows.corrected for image in page],
        "taken": [one.taken for one in facts],
        "taken_from": [one.taken_from for one in facts],
        "camera": [one.camera for one in facts],
        "damage": [one.damage or None for one in facts],
        "path_bytes": [image.path if loses(image.path) else None for image in page],
        "embedding": [
            None if image.embedding is None else image.embedding.astype(np.float32)
            for image in page
        ],
        **{name: [place[axis] for place in places] for axis, name in enumerate(rows.axes)},
    }
