"""The command query."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgclust import numbers
from imgclust.cli import checks
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import (
    Camera,
    Commands,
    OfCluster,
    Since,
    Until,
    decimal,
    selection,
    whole,
)
from imgclust.collection import query_client
from imgclust.errors import NothingThereError, UsageError
from imgclust.terminal import query as tables

if TYPE_CHECKING:
    from imgclust.collection import QueryResult, Region

commands = Commands()


@commands.adds(
    example="""\
imgclust query ~/Pictures/cat.jpg            a file, of the collection or not
imgclust query 42 -n 3                       the image with the id 42
imgclust query ./42                          a file of that name
imgclust query cat.jpg sofa.jpg              what is similar to both
imgclust query cat.jpg --region 0,0,0.5,1    to the left half of it
imgclust query 42 --cluster 7                only images of the cluster 7
imgclust query 42 --copies                   a row for each copy
imgclust query cat.jpg -0 | xargs -0 ls      paths for other programs
imgclust query cat.jpg --sheet similar.png""",
)
def query(
    call: Call,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|ID", help="Files, or images' ids.")],
    number: Annotated[int, typer.Option("-n", parser=whole(1), metavar="N", help="How many.")] = 10,
    min_score: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="SCORE",
            help="Leave out those with a lower score (cosine of the embeddings).",
        ),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            parser=decimal, metavar="SIMILARITY", help="Leave out those less similar (-1 to 1)."
        ),
    ] = None,
    cluster: OfCluster = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Search by this part of the image: in pixels, or in fractions of its sides "
            "(none above 1).",
        ),
    ] = None,
    only_paths: Annotated[
        bool, typer.Option("-f", "--files", help="Print paths only, one a line.")
    ] = False,
    only_paths_0: Annotated[
        bool, typer.Option("-0", "--null", help="Print paths only, each ended by a NUL.")
    ] = False,
    pictures: Annotated[
        Literal["auto", "blocks", "off"],
        typer.Option("--images", help="Small pictures: where the terminal can show them."),
    ] = "auto",
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a contact sheet, such as a .png.")
    ] = None,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Show the images that were asked for too.")
    ] = False,
    copies: Annotated[
        bool, typer.Option("--copies", help="A row for each copy, exact or near.")
    ] = False,
    open_best: Annotated[
        bool, typer.Option("--open", help="Open the best that is not the image itself.")
    ] = False,
    since: Since = None,
    until: Until = None,
    camera: Camera = None,
) -> None:
    """Find the most similar images.

    The image itself is left out, and copies of an image are one row.
    """
    paths = only_paths or only_paths_0
    if paths and call.options.json:
        raise UsageError("-f and -0 print paths and --json a document; give one of them")
    part = None if region is None else _region(region)
    chosen = selection(since, until, camera)
    if part is not None and len(images) > 1:
        raise UsageError("--region needs exactly one image")
    checks.score(min_score)
    checks.sheet(sheet)
    checks.least_similarity(min_similarity)
    with call.open() as collection:
        find = partial(
            collection.query,
            n=number,
            min_score=min_score,
            min_similarity=min_similarity,
            cluster=cluster,
            region=part,
            include_self=include_self,
            copies=copies,
        )
        found = None
        if sheet is None and not call.options.files:
            dates = None if chosen is None else (since, until, camera)
            found = query_client.ask(collection, images, find.keywords | {"selection": dates})
        found = found or find(images, selection=chosen, sheet=sheet)
        if paths:
            rows = (row.path for row in found.neighbours)
            call.screen.paths(rows, end=b"\0" if only_paths_0 else b"\n")
        else:
            shown = None
            wanted = pictures == "blocks" or (pictures == "auto" and call.screen.shows_pictures)
            if wanted and not call.options.json:
                shown = collection.pictures([row.id for row in found.neighbours])
            table = partial(
                tables.query,
                pictures=shown,
                bounded=min_score is not None or min_similarity is not None,
                chosen=cluster is not None or chosen is not None,
            )
            call.answer(found, table)
    if open_best:
        tables.open_file(_best(found))


def _region(text: str) -> Region:
    from imgclust.collection import Region

    parts = [number for part in text.split(",") if (number := numbers.number(part)) is not None]
    if len(parts) != 4 or text.count(",") != 3:
        raise UsageError(f"--region {text}: give four numbers, such as 10,20,300,200")
    x, y, width, height = parts
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise UsageError(f"--region {text}: X and Y are at least 0, W and H above 0")
    return Region(x, y, width, height)


def _best(found: QueryResult) -> bytes:
    others = [row.path for row in found.neighbours if row.id != found.image]
    if not others:
        raise NothingThereError("no other image is that similar: there is nothing to open")
    return others[0]
