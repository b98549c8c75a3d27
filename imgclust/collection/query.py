"""Queries: by images of the collection, by files, by a region, within a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import devices, fs
from imgclust.collection import images
from imgclust.collection.duplicates import copy_test
from imgclust.collection.images import Selection, with_facts
from imgclust.errors import NothingThereError, UsageError
from imgclust.numbers import is_digits
from imgclust.search import similar_images
from imgclust.search.similar_images import (
    Neighbour,
    QueryResult,
    Subject,
    image_with_id,
    known_subject,
    mean_subject,
)
from imgclust.wording import SIMILARITY_LACKING, copies_shown, counted, likeness, printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.images.decoder import Region


def require_score(min_score: float | None) -> None:
    """Refuse what no score can be."""
    if min_score is not None and not -1 <= min_score <= 1:
        raise UsageError(f"--min-score {min_score:g} is not a cosine similarity; use -1 to 1")


def query(
    context: Context,
    what: Path | str | int | Sequence[Path | str | int],
    *,
    n: int,
    min_score: float | None,
    min_similarity: float | None,
    cluster: int | str | None,
    region: Region | None,
    selection: Selection | None,
    sheet: Path | None,
    include_self: bool,
    copies: bool,
) -> QueryResult:
    """See `Collection.query`."""
    several = [what] if isinstance(what, str | int | os.PathLike) else what
    asked = [str(each) for each in several]
    if n < 1:
        raise UsageError(f"-n {n}: ask for at least one image")
    require_score(min_score)
    require_similarity(min_similarity)
    if not asked:
        raise UsageError("query what? name at least one image")
    if region is not None and len(asked) > 1:
        raise UsageError("--region needs exactly one image")
    if sheet is not None:
        from imgclust.collection import exports

        exports.check_sheet(context, sheet)
    _ = context.recipe  # said before files are read
    similarity = context.similarity(context.catalog.clusterings.current())
    if min_similarity is not None and similarity.projection is None:
        raise NothingThereError(
            f"--min-similarity: {SIMILARITY_LACKING[similarity.lacking or '']}; use --min-score"
        )
    files = [_file(context, one) for one in asked]
    subject = _of_region(context, files[0], region) if region else _of(context, files)
    live = context.query_index()
    with (
        live.searched(),
        contextlib.nullcontext() if copies else copy_test(context, live.index) as test,
        # After so little work threads of OpenBLAS spin for longer than it takes.
        devices.one_blas_thread,
    ):
        found = similar_images.neighbours(
            context.catalog,
            live,
            subject,
            queries=asked,
            n=n,
            min_score=min_score,
            cluster=cluster,
            only=None if selection is None else selection.images(context),
            include_self=include_self,
            near=None if test is None else test.near,
            compare=None if similarity.projection is None else similarity.between,
            min_similarity=min_similarity,
        )
    found = replace(
        found,
        neighbours=with_facts(context, found.neighbours),
        lacking=similarity.lacking,
    )
    # An answer is short: what is there now is asked of the disk.
    found = replace(
        found,
        neighbours=tuple(
            replace(row, missing=not os.path.isfile(row.path)) for row in found.neighbours
        ),
    )
    if sheet is not None:
        _draw(context, found, region, sheet)
        found = replace(found, sheet=sheet)
    return found


def require_similarity(least: float | None) -> None:
    """Refuse what no similarity can be."""
    if least is not None and not -1 <= least <= 1:
        raise UsageError(f"--min-similarity {least:g} is not a similarity; use -1 to 1")


def _file(context: Context, asked: str) -> str:
    """What was asked, or the path of the image that is shown so."""
    shown = images.as_shown(context, asked)
    return asked if shown is None else os.fsdecode(shown.path)


def _of(context: Context, asked: Sequence[str]) -> Subject:
    """The subject of one image, or of several together; the network runs only for unknown ones."""
    cap = context.settings.decode.size_cap_mb << 20
    known = [
        known_subject(context.catalog, context.recipe, one, size_cap_bytes=cap) for one in asked
    ]
    unknown = [one for one, subject in zip(asked, known, strict=True) if subject is None]
    if unknown:
        from imgclust.collection import embedder

        paths = [os.fsencode(os.path.abspath(one)) for one in unknown]
        vectors = iter(embedder.embed_files(context, paths))
        known = [subject or Subject(next(vectors), None, None) for subject in known]
    return mean_subject([subject for subject in known if subject is not None])


def _of_region(context: Context, asked: str, region: Region) -> Subject:
    from imgclust.collection import embedder

    path = os.fsencode(os.path.abspath(asked))
    if is_digits(asked):
        path = image_with_id(context.catalog, asked).path
    if not os.path.lexists(path):
        raise NothingThereError(f"there is no file {printable(path)}")
    try:
        fs.require_regular(path)
    except fs.NotAFileError as error:
        raise UsageError(f"{printable(path)} is {error.kind}; name an image") from None
    known = context.catalog.images.at(path) or context.catalog.images.at(os.path.realpath(path))
    vector = embedder.embed_files(context, [path], region=region)[0]
    return Subject(vector, None, None, () if known is None else (known.id,))


def _number(row: Neighbour) -> str:
    if row.similarity is None:
        return f"{row.score:.3f}"
    return likeness(row.similarity, row.rarity)


def _draw(context: Context, found: QueryResult, region: Region | None, path: Path) -> None:
    from imgclust.collection import exports

    rows = found.neighbours
    captions = []
    for row in rows:
        numbers = [_number(row), f"id {row.id}"]
        marks = ["missing"] if row.missing else []
        copies = [copies_shown(row.copies)] if row.copies else []
        name = printable(os.path.basename(row.path))
        captions.append([name, " · ".join([*marks, *numbers]), *copies])
    part = "" if region is None else f" · region {','.join(f'{side:g}' for side in region)}"
    exports.draw_sheet(
        context,
        path,
        [row.id for row in rows],
        captions,
        title=f"most similar to {printable(found.query)}",
        subtitle=f"{len(rows):,} of {counted(context.catalog.images.count(), 'image')}{part}",
    )
