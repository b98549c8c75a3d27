"""The command export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from imgclust.cli import checks
from imgclust.cli.context import Call
from imgclust.cli.typer_ext import Camera, Commands, Since, Until, selection
from imgclust.errors import UsageError
from imgclust.terminal import exports

commands = Commands()

FormatName = Literal["json", "csv", "parquet", "projector", "classic"]


@commands.adds(
    "export",
    example="""\
imgclust export --format csv --out images.csv
imgclust export --format json --out - | jq '.images[].path'
imgclust export --format parquet --embeddings --out images.parquet
imgclust export --format projector --out projector   for tensorboard --logdir""",
)
def export(
    call: Call,
    format: Annotated[FormatName, typer.Option("--format", help="What to write.")],
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="FILE", help="Replaced in one step; a folder for projector; -: stdout."
        ),
    ],
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="With the embedding of each image.")
    ] = False,
    since: Since = None,
    until: Until = None,
    camera: Camera = None,
) -> None:
    """Write all images with clusters and map coordinates."""
    stream = out == "-"
    if stream and call.options.json:
        raise UsageError("--out - and --json both write to standard output; use one of them")
    chosen = selection(since, until, camera)
    target = sys.stdout.buffer if stream else Path(out)
    checks.export(target, format=format, embeddings=embeddings)
    with call.open() as collection:
        result = collection.export(target, format=format, embeddings=embeddings, selection=chosen)
        if stream:
            for note in result.notes:
                call.screen.note(note)
        else:
            call.answer(result, exports.exported)
