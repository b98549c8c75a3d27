"""Rows of an export, and what is made of them as text: JSON, CSV, image_clustering's labels."""

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

from imgclust.catalog import KINDS, Catalog, Facts, ListedImage
from imgclust.errors import StorageError
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
