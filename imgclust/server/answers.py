"""Answers: documents of the one serializer, and failures as status codes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from imgclust.collection.json_documents import dumps, error_document, keys_of
from imgclust.errors import (
    CatalogError,
    ImgclustError,
    IndexFileError,
    LockedError,
    NothingThereError,
    StoppedError,
    StorageError,
    UsageError,
    reason_of,
)

_log = logging.getLogger(__name__)

# The first class that an error is one of decides.
_STATUS: tuple[tuple[type[ImgclustError], int], ...] = (
    (UsageError, 400),
    (NothingThereError, 404),
    (LockedError, 409),
    (StoppedError, 503),
    (StorageError, 507),
    (CatalogError, 500),
    (IndexFileError, 500),
    (ImgclustError, 422),
)
_CODES = {404: "nothing", 405: "usage", 400: "usage", 401: "token", 403: "forbidden"}
# What the framework says in two words.
_SENTENCES = {
    "Not Found": "there is nothing at this address",
    "Method Not Allowed": "this address does not take requests of this kind",
}
_PLACES = {"body", "query", "path", "header"}
ERROR_EXAMPLE = {"error": {"code": "nothing", "message": "no cluster is called 'seven'"}}
_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}


class Documents(Response):
    """A document as JSON."""

    media_type = "application/json"

    def render(self, content: Mapping[str, Any]) -> bytes:
        return dumps(content).encode("utf-8", "surrogatepass")


def failures(*codes: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the failures of a route."""
    meanings = {
        400: "It cannot be meant as given.",
        401: "The token is absent or wrong.",
        403: "Another host or origin asks.",
        404: "There is no such thing.",
        409: "Locked: another job or process is working on it.",
        413: "Too large.",
        422: "It cannot be used: the reason is in the message.",
        500: "Failed; a damaged catalog.",
        507: "The disk refuses.",
    }
    content = {"application/json": {"schema": _SCHEMA, "example": ERROR_EXAMPLE}}
    always = {400, 401, 403, 404, 422, 500, 507}
    return {
        code: {"description": meanings[code], "content": content}
        for code in sorted(always | set(codes))
    }


def answers(
    kind: type | None = None,
    example: Mapping[str, Any] | None = None,
    *,
    rows: str = "",
    also: tuple[int, ...] = (),
    code: int = 200,
) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the answers of a route: the keys of a result, or of a list of them."""
    names = keys_of(kind) if kind else []
    schema: dict[str, Any] = {
        "type": "object",
        "required": names,
        "properties": {name: {} for name in names},
    }
    if rows:
        schema = {
            "type": "object",
            "required": [rows],
            "properties": {rows: {"type": "array", "items": schema}},
        }
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    said = {"description": "The document.", "content": {"application/json": content}}
    return {code: said, **failures(*also)}


def failed(status: int, code: str, message: str) -> Documents:
    """A failure as an answer."""
    return Documents(error_document(code, message), status_code=status)


def wants_page(scope: Mapping[str, Any], accept: str) -> bool:
    """Whether a person looks: failures of pages are pages."""
    return not scope["path"].startswith("/api/") and "text/html" in accept


# Makes a page of a status and a sentence.
Page = Callable[[int, str], Response]


def adopt(app: FastAPI, page: Page) -> None:
    """Have the application answer failures with documents, and those of pages with `page`."""

    def answer(request: Request, status: int, code: str, message: str) -> Response:
        if wants_page(request.scope, request.headers.get("accept", "")):
            return page(status, message)
        return failed(status, code, message)

    @app.exception_handler(ImgclustError)
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ImgclustError)
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        return answer(request, status, error.code, str(error))

    @app.exception_handler(OSError)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, OSError)
        return answer(request, 507, "storage", f"the system refuses: {reason_of(error)}")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in _PLACES)
        return answer(request, 422, "usage", f"{where or 'the body'}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "usage")
        said = str(error.detail)
        made = answer(request, error.status_code, code, _SENTENCES.get(said, said))
        made.headers.update(error.headers or {})
        return made

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
        return answer(request, 500, "fault", f"internal error: {type(error).__name__}")


def event_text(kind: str, number: str, data: Mapping[str, Any] | None) -> str:
    """A server-sent event."""
    said = json.dumps(data, ensure_ascii=False) if data is not None else "{}"
    return f"id: {number}\nevent: {kind}\ndata: {said}\n\n"
