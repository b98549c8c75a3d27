"""Routes that send files made for the request: exports and backups."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from imgclust.server.answers import failures
from imgclust.server.read_routes import Chosen, Here, Name
from imgclust.server.site import slow

router = APIRouter()

_PIECE = 1 << 20
_KINDS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_BACKUP = "application/octet-stream"


def _files(*kinds: str, also: tuple[int, ...] = ()) -> dict[int | str, dict[str, Any]]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {200: {"description": "The file.", "content": content}, **failures(*also)}


@router.get(
    "/collections/{name}/export",
    responses=_files(*(kind.split(";")[0] for kind in _KINDS.values())),
)
@slow
def export(
    site: Here,
    name: Name,
    chosen: Chosen,
    format: Annotated[
        Literal["json", "csv", "parquet"], Query(description="What kind of file.")
    ] = "csv",
    embeddings: Annotated[
        bool, Query(description="With the embedding of each image; not as CSV.")
    ] = False,
    cluster: Annotated[
        str | None, Query(description="Only images of this cluster: its id or name.")
    ] = None,
) -> Response:
    """Send all images with clusters and map coordinates; as `imgclust export --out -`."""
    file = name if cluster is None else f"{name} {cluster}"

    def write(path: Path) -> None:
        with site.open(name) as collection:
            collection.export(
                path, format=format, embeddings=embeddings, selection=chosen, cluster=cluster
            )

    return _sent(_made(write), f"{file}.{format}", _KINDS[format])


@router.get("/collections/{name}/backup", responses=_files(_BACKUP, also=(409,)))
@slow
def backup(site: Here, name: Name) -> Response:
    """Send the whole collection as one file, as it is now; as `imgclust backup FILE`."""

    def write(path: Path) -> None:
        with site.open(name) as collection:
            collection.backup(path)

    return _sent(_made(write), f"{name}.imgclust", _BACKUP)


def _made(write: Callable[[Path], None]) -> BinaryIO:
    """A file that is written, and has no name any more; it lasts until it is closed."""
    with tempfile.TemporaryDirectory(prefix="imgclust-") as folder:
        path = Path(folder) / "file"
        write(path)
        return path.open("rb")


def _sent(file: BinaryIO, name: str, kind: str) -> Response:
    """A file from its beginning; it is closed when all of it is sent, or the client is gone."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return StreamingResponse(
        _pieces(file),
        media_type=kind,
        headers={
            "content-length": str(length),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "cache-control": "no-store",
        },
    )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
