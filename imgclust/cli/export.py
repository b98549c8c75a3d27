"""The command export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from imgclust.cli import checks
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Camera, Commands, OfCluster, Since, Until, Yes, selection
from imgclust.errors import UsageError
from imgclust.terminal import collections as tables

commands = Commands()

FormatName = Literal["json", "csv", "parquet", "projector", "classic", "xmp"]

# The formats that the name of a file tells.
_BY_SUFFIX: dict[str, FormatName] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}


@commands.adds(
    example="""\
imgclust export --out images.csv
imgclust export --format json --out - | jq '.images[].path'
imgclust export --embeddings --out images.parquet
imgclust export --format projector --out projector   for tensorboard --logdir
imgclust export --format xmp --out sidecars          names of clusters, for photo managers""",
)
def export(
    call: Call,
    format: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            help="json, csv, parquet, projector, classic or xmp; else by the name of FILE.",
            metavar="FORMAT",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Replaced in one step; a folder for projector and xmp; -: stdout.",
        ),
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="With the embedding of each image.")
    ] = False,
    beside_originals: Annotated[
        bool,
        typer.Option(
            "--beside-originals",
            help="With xmp: sidecars go beside the images; it asks first.",
        ),
    ] = False,
    cluster: OfCluster = None,
    since: Since = None,
    until: Until = None,
    camera: Camera = None,
    yes: Yes = False,
) -> None:
    """Write all images with clusters and map coordinates.

    As xmp: the names of clusters, as keywords in a sidecar for each image (beach.jpg.xmp).
    """
    suffix = Path(out or "").suffix.lower()
    format = format or _BY_SUFFIX.get(suffix)
    if beside_originals and (format != "xmp" or out is not None):
        raise UsageError("--beside-originals goes with --format xmp, instead of --out")
    if out is None and not beside_originals:
        raise UsageError("name a place for the export with --out")
    if format is None:
        raise UsageError("--format is needed where --out does not end in .json, .csv or .parquet")
    stream = out == "-"
    if stream and call.options.json:
        raise UsageError("--out - and --json both write to standard output; use one of them")
    chosen = selection(since, until, camera)
    target = sys.stdout.buffer if stream else None if out is None else Path(out)
    checks.export(target, format=format, embeddings=embeddings)
    with call.open() as collection:
        if target is None and not agreed(
            call,
            "Write an .xmp file beside each image whose cluster has a name?",
            yes=yes,
            reversible=False,
            doing="sidecars would be written into the folders of the images",
        ):
            return
        result = collection.export(
            target, format=format, embeddings=embeddings, selection=chosen, cluster=cluster
        )
        if stream:
            for note in result.notes:
                call.screen.note(note)
        else:
            call.answer(result, tables.exported)
