"""Routes for those who operate the service: livez, readyz, metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from imgclust.server.answers import Documents
from imgclust.server.health import Health
from imgclust.server.metrics import CONTENT_TYPE, Metrics

router = APIRouter()

_SCHEMA = {
    "type": "object",
    "required": ["ok"],
    "properties": {"ok": {"type": "boolean"}},
}


def _said(good: str, bad: str) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _SCHEMA}}
    return {
        200: {"description": good, "content": content},
        503: {"description": bad, "content": content},
    }


def _health(request: Request) -> Health:
    found: Health = request.app.state.health
    return found


def _metrics(request: Request) -> Metrics:
    found: Metrics = request.app.state.metrics
    return found


@router.get("/livez", responses=_said("It lives.", "It hangs; start it again."))
def livez(health: Annotated[Health, Depends(_health)]) -> Response:
    """Say whether the process lives: its watcher turns, its network gives batches back."""
    hangs = health.hangs()
    return Documents({"ok": not hangs}, status_code=503 if hangs else 200)


@router.get("/readyz", responses=_said("It works.", "It does not work now."))
def readyz(health: Annotated[Health, Depends(_health)]) -> Response:
    """Say whether catalog, index, network and watcher work. A disk that is away does not matter."""
    found = health.readiness()
    return Documents({"ok": found.ready}, status_code=200 if found.ready else 503)


@router.get("/health", responses=_said("It works.", "It does not work now."))
def health_now(health: Annotated[Health, Depends(_health)]) -> Response:
    """Say the same as readyz, with reasons, which name collections and folders."""
    found = health.readiness()
    said = {"ok": found.ready, "troubles": list(found.troubles), "remarks": list(found.remarks)}
    return Documents(said, status_code=200 if found.ready else 503)


@router.get(
    "/metrics",
    responses={
        200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def metrics(metrics: Annotated[Metrics, Depends(_metrics)]) -> Response:
    """Show metrics, as Prometheus reads them."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)
