"""The stream of changes: server-sent events, continued after the last one that was received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from imgclust.collection import Collection, FeedEvent
from imgclust.collection.json_documents import document
from imgclust.errors import ImgclustError
from imgclust.server.answers import Documents, answers, event_text, failed, failures
from imgclust.server.read_routes import Here, Name
from imgclust.server.site import Site

router = APIRouter()

# How often the feed is looked at, and how often a silent stream says that it lives.
_LOOK_S, _ALIVE_S = 0.2, 15.0
_MOST_STREAMS = 64
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events; `reset` says that some were missed: read everything again.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    429: {"description": "Too many streams."},
    **failures(),
}
After = Annotated[
    str | None, Query(description="Id of the last event that is known; none: from now on.")
]


@router.get("/collections/{name}/changes", responses=answers(rows="events", kind=FeedEvent))
def changes(
    site: Here,
    name: Name,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 500,
) -> Response:
    """List what has changed after an event, oldest first, for programs that ask now and then.

    `last` is the id to continue after. `complete` is false when some events before these are not
    known any more.
    """
    with site.open(name) as collection:
        part = collection.service.changes(after, limit=limit)
    events = document(part.events, rows="events")
    return Documents({"complete": part.complete, "last": part.last, **events})


@router.get("/collections/{name}/events", responses=_STREAM)
async def events(
    site: Here,
    name: Name,
    after: After = None,
    last_event_id: Annotated[
        str | None, Header(description="As `after`; browsers send it when they connect again.")
    ] = None,
) -> Response:
    """Stream what changes, as server-sent events, each written by the commit that it tells of.

    A stream that was cut off is continued after the id in the header Last-Event-ID: no event is
    lost, none comes twice.
    """
    if site.streams >= _MOST_STREAMS:
        return failed(429, "usage", f"more than {_MOST_STREAMS} streams are open; close some")
    collection = await run_in_threadpool(site.open, name)
    return StreamingResponse(
        _events(site, collection, last_event_id or after),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(site: Site, collection: Collection, after: str | None) -> AsyncIterator[str]:
    site.streams += 1
    try:
        yield "retry: 1000\n\n"
        silent = 0.0
        first = after is None
        while not site.stop.is_set():
            part = await run_in_threadpool(collection.service.changes, after)
            if not part.complete:
                yield event_text("reset", part.last, None)
            elif first:  # an id to continue after, should the connection break before any event
                yield event_text("hello", part.last, None)
            first = False
            for one in part.events:
                yield event_text(one.kind, one.id, document(one))
            after = part.last
            if part.events or not part.complete:
                silent = 0.0
                continue
            await asyncio.sleep(_LOOK_S)
            silent += _LOOK_S
            if silent >= _ALIVE_S:
                silent = 0.0
                if not await run_in_threadpool(collection.service.is_current):
                    return
                yield ": alive\n\n"
    except ImgclustError:  # the browser connects again, and learns what is wrong
        return
    finally:
        site.streams -= 1
        collection.close()
