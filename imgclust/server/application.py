"""The application: routes, failures, and the guard before them."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from imgclust.server import (
    answers,
    change_routes,
    correction_routes,
    event_routes,
    file_routes,
    gallery_routes,
    health_routes,
    image_routes,
    page_routes,
    read_routes,
)
from imgclust.server.health import Health
from imgclust.server.metrics import Metrics
from imgclust.server.security import Access, Guard
from imgclust.server.site import Site

_API = "/api/v1"
_DESCRIPTION = """\
The collections of an imgclust service: clusters, images, queries, changes.

Documents are those of the command line with `--json`: keys may be added, never changed or removed.
A failure is `{"error": {"code", "message"}}`. Long work is a job: the answer is 202 with its id,
and one job runs at a time for a collection (409). Where the service has a token, send it as
`Authorization: Bearer TOKEN`.
"""


def application(site: Site, *, access: Access, health: Health, metrics: Metrics) -> ASGIApp:
    """The service as an ASGI application."""
    app = FastAPI(
        title="imgclust",
        description=_DESCRIPTION,
        version=importlib.metadata.version("imgclust"),
        openapi_url=f"{_API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        license_info={"name": "MIT"},
        generate_unique_id_function=_operation,
    )
    app.state.site, app.state.health, app.state.metrics = site, health, metrics
    answers.adopt(app, page_routes.refused)
    for module, tag in (
        (read_routes, "read"),
        (image_routes, "images"),
        (event_routes, "changes"),
        (change_routes, "change"),
        (correction_routes, "corrections"),
        (gallery_routes, "read"),
        (file_routes, "files"),
    ):
        app.include_router(module.router, prefix=_API, tags=[tag])
    app.include_router(page_routes.news, prefix=_API, tags=["read"])
    app.include_router(page_routes.router)
    app.include_router(health_routes.router, tags=["operation"])

    async def counted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The application, its answers counted; a stream's time is that until it begins."""
        began = time.monotonic()

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                metrics.answer(scope["method"], message["status"], time.monotonic() - began)
            await send(message)

        await app(scope, receive, answer)

    return Guard(
        counted,
        access=access,
        large={"query": image_routes.MOST_BYTES},
        page=page_routes.refused,
    )


def _operation(route: APIRoute) -> str:
    """The id of an operation: its method and what it is called here."""
    return f"{min(route.methods or {'any'}).lower()}_{route.name}"
