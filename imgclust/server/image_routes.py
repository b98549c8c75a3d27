"""Routes of pictures: those of the collection's images, and those that are sent in to be found."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from imgclust.collection import QueryResult, Region
from imgclust.collection.json_documents import document, text
from imgclust.errors import ImgclustError, NothingThereError, UsageError
from imgclust.server.answers import Documents, answers, failures
from imgclust.server.read_routes import Chosen, Here, Image, Name
from imgclust.server.site import Site

router = APIRouter()

# A picture that is sent in, in bytes.
MOST_BYTES = 64 << 20
# Pictures that are searched by together.
_MOST_PICTURES = 20

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/*": {"schema": {"type": "string"}}}},
    304: {"description": "The browser has it already."},
    **failures(),
}
# A picture of an id may become another one, when its file is replaced: it is asked for again.
_CACHED = {"cache-control": "private, max-age=60"}


def _picture(
    request: Request, content: bytes, media_type: str, version: str, headers: dict[str, str]
) -> Response:
    tag = f'"{version}"'
    headers = {**_CACHED, "etag": tag, **headers}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@router.get("/collections/{name}/images/{image}/thumbnail", responses=_PICTURE)
def thumbnail(site: Here, name: Name, image: Image, request: Request) -> Response:
    """Show an image in small."""
    with site.ready(name) as collection:
        version = f"{collection.service.digest(image)}-small"
        found = collection.pictures([image])[0]
    if found is None:
        raise NothingThereError(f"there is no picture of the image {image}: its file is not there")
    kind = "image/webp" if found[8:12] == b"WEBP" else "image/jpeg"
    return _picture(request, found, kind, version, {})


@router.get("/collections/{name}/images/{image}/preview", responses=_PICTURE)
async def preview(site: Here, name: Name, image: Image, request: Request) -> Response:
    """Show an image as WebP, of at most 1,600 pixels: what every browser shows, of any kind."""
    return await site.preview(partial(_preview, site, name, image, request))


def _preview(site: Site, name: str, image: int, request: Request) -> Response:
    with site.ready(name) as collection:
        version = f"{collection.service.digest(image)}-preview"
        if f'"{version}"' in request.headers.get("if-none-match", ""):
            return _picture(request, b"", "image/webp", version, {})
        found = collection.service.preview(image, site.workers)
    if found is None:
        raise NothingThereError(f"the file of the image {image} is not there, or has changed")
    return _picture(request, found, "image/webp", version, {})


@router.get("/collections/{name}/images/{image}/original", responses=_PICTURE)
def original(site: Here, name: Name, image: Image, request: Request) -> Response:
    """Send the file of an image, when its bytes are those that were ingested.

    Of the kinds JPEG, PNG, WebP and GIF; others have a preview.
    """
    with site.ready(name) as collection:
        version = collection.service.digest(image)
        found = collection.service.original(image)
    if found is None:
        raise NothingThereError(
            f"the file of the image {image} is not there, has changed, or is of a kind that "
            "browsers do not show; ask for its preview"
        )
    shown = quote(text(os.path.basename(found.path)), safe="")
    headers = {"content-disposition": f"inline; filename*=UTF-8''{shown}"}
    return _picture(request, found.content, found.media_type, version, headers)


_UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture, of at most 100 megapixels, or of several one after "
        "another; 64 MiB in all.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/collections/{name}/query",
    responses=answers(QueryResult, also=(413,)),
    openapi_extra=_UPLOAD,
)
async def query_picture(
    site: Here,
    name: Name,
    request: Request,
    chosen: Chosen,
    n: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 10,
    min_score: Annotated[float | None, Query(description="Leave out those below.")] = None,
    min_similarity: Annotated[
        float | None, Query(description="Leave out those whose similarity is below.")
    ] = None,
    cluster: Annotated[str | None, Query(description="Only images of this cluster.")] = None,
    region: Annotated[
        str | None,
        Query(
            description="Search by this part: X,Y,W,H in pixels, or in fractions of the sides.",
            examples=["0,0,0.5,1"],
        ),
    ] = None,
    copies: Annotated[bool, Query(description="A row for each copy, exact or near.")] = False,
    sizes: Annotated[
        str | None,
        Query(
            description="Several pictures, found by their mean: how many bytes each of them has.",
            examples=["52011,48213"],
            max_length=400,
        ),
    ] = None,
) -> Response:
    """Find the images most similar to pictures that are sent; as `imgclust query FILE...`.

    They are decoded by a worker process and not kept.
    """
    part = None if region is None else _region(region)
    with tempfile.TemporaryDirectory(prefix="imgclust-") as folder:
        sent = os.path.join(folder, "upload")
        with open(sent, "wb") as file:
            async for piece in request.stream():
                await run_in_threadpool(file.write, piece)
            if not file.tell():
                raise UsageError("no picture was sent; send its bytes as the body")
        paths = [sent] if sizes is None else await run_in_threadpool(_divided, sent, sizes)

        def find() -> QueryResult:
            with site.with_network(name) as collection:
                return collection.query(
                    paths,
                    n=n,
                    min_score=min_score,
                    min_similarity=min_similarity,
                    cluster=cluster,
                    region=part,
                    selection=chosen,
                    copies=copies,
                )

        try:
            found = await site.with_sent(find)
        except ImgclustError as error:
            said = str(error)
            for path, shown in zip(
                paths, _shown(len(paths), "picture", "the picture"), strict=True
            ):
                said = said.replace(path, shown)
            raise type(error)(said) from None
    names = _shown(len(paths), "upload", "upload")
    return Documents(document(replace(found, query=" + ".join(names), queries=tuple(names))))


def _shown(count: int, word: str, single: str) -> list[str]:
    """What pictures that were sent are called, by their place."""
    return [single] if count == 1 else [f"{word} {place}" for place in range(1, count + 1)]


def _divided(sent: str, sizes: str) -> list[str]:
    """The files of several pictures that were sent one after another.

    Raises
    ------
    UsageError
        When the sizes are none, or not those of what was sent.
    """
    counts = sizes.split(",")
    if len(counts) > _MOST_PICTURES:
        raise UsageError(f"at most {_MOST_PICTURES} pictures are searched by together")
    if not all(re.fullmatch(r"[1-9][0-9]{0,10}", one) for one in counts):
        raise UsageError("the sizes of pictures are whole numbers above 0, such as 52011,48213")
    if sum(map(int, counts)) != os.path.getsize(sent):
        raise UsageError("the sizes do not add up to what was sent")
    paths = []
    with open(sent, "rb") as file:
        for place, count in enumerate(counts):
            paths.append(f"{sent}-{place}.picture")
            with open(paths[-1], "wb") as part:
                part.write(file.read(int(count)))
    return paths


def _region(given: str) -> Region:
    parts = given.split(",")
    try:
        x, y, width, height = (float(part) for part in parts)
    except ValueError:
        raise UsageError("a region is four numbers, such as 10,20,300,200") from None
    if not (0 <= x < 1e9 and 0 <= y < 1e9 and 0 < width < 1e9 and 0 < height < 1e9):
        raise UsageError("in a region X and Y are at least 0, W and H above 0")
    return Region(x, y, width, height)
