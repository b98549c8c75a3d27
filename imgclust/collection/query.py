"""Queries: by images of the collection, by files, by a region, within a cluster."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import fs, search
from imgclust.collection import images as images_module
from imgclust.collection.selection import Selection, with_facts
from imgclust.errors import NothingThereError, UsageError
from imgclust.search import QueryResult, Subject

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
    from imgclust.images import Region


def query(
    collection: Opened,
    asked: Sequence[str],
    *,
    n: int,
    min_score: float | None,
    cluster: int | None,
    region: Region | None,
    selection: Selection | None = None,
    sheet: Path | None,
) -> QueryResult:
    """See `Collection.query`."""
    if n < 1:
        raise UsageError(f"-n {n}: ask for at least one image")
    if min_score is not None and math.isnan(min_score):
        raise UsageError("--min-score nan is not a number")
    if not asked:
        raise UsageError("query what? name at least one image")
    if region is not None and len(asked) > 1:
        raise UsageError("a region is one of a single image; ask for one image with --region")
    if sheet is not None:
        from imgclust.collection import exports

        exports.check_sheet(collection, sheet)
    _ = collection.recipe  # said before files are read
    subject = _of_region(collection, asked[0], region) if region else _of(collection, asked)
    found = search.neighbours(
        collection.catalog,
        collection.live_index(),
        subject,
        queries=asked,
        n=n,
        min_score=min_score,
        cluster=cluster,
        only=None if selection is None else selection.images(collection),
    )
    found = replace(found, neighbours=with_facts(collection, found.neighbours))
    # An answer is short: what is there now is asked of the disk.
    found = replace(
        found,
        neighbours=tuple(
            replace(row, missing=not os.path.isfile(row.path)) for row in found.neighbours
        ),
    )
    if sheet is not None:
        _draw(collection, found, sheet)
        found = replace(found, sheet=sheet)
    return found


def pictures(collection: Opened, images: Sequence[int]) -> tuple[bytes | None, ...]:
    """See `Collection.pictures`."""
    rows = [collection.catalog.images.get(number) for number in images]
    return tuple(
        None if image is None else images_module.picture(collection, image.content)
        for image in rows
    )


def _of(collection: Opened, asked: Sequence[str]) -> Subject:
    """The subject of one image, or of several together; the network runs only for unknown ones."""
    cap = collection.settings.decode.size_cap_mb << 20
    known = [
        search.known_subject(collection.catalog, collection.recipe, one, size_cap_bytes=cap)
        for one in asked
    ]
    unknown = [one for one, subject in zip(asked, known, strict=True) if subject is None]
    if unknown:
        from imgclust.collection import embedder

        paths = [os.fsencode(os.path.abspath(one)) for one in unknown]
        vectors = iter(embedder.embed_files(collection, paths))
        known = [subject or Subject(next(vectors), None, None) for subject in known]
    return search.mean_subject([subject for subject in known if subject is not None])


def _of_region(collection: Opened, asked: str, region: Region) -> Subject:
    from imgclust.collection import embedder

    path = os.fsencode(os.path.abspath(asked))
    if asked.isdecimal():
        path = search.image_with_id(collection.catalog, asked).path
    if not os.path.lexists(path):
        raise NothingThereError(f"there is no file {os.fsdecode(path)}")
    try:
        fs.require_regular(path)
    except fs.NotAFileError as error:
        raise UsageError(f"{os.fsdecode(path)} is {error.kind}; name an image") from None
    return Subject(embedder.embed_files(collection, [path], region=region)[0], None, None)


def _draw(collection: Opened, found: QueryResult, path: Path) -> None:
    from imgclust import charts

    captions = [
        f"{row.score:.3f} {'missing: ' if row.missing else ''}"
        f"{os.fsdecode(os.path.basename(row.path))}"
        for row in found.neighbours
    ]
    charts.contact_sheet(
        path,
        pictures(collection, [row.id for row in found.neighbours]),
        captions,
        title=f"most similar to {found.query}",
    )
