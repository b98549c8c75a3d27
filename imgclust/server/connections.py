"""Connections of the service: how long one may take, and how many there may be.

The server bounds the size of a request's head, and waits for it as long as it takes; a client that
sends a byte now and then, or reads nothing, would hold its connection for good (slowloris).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds for the head of a request, and without any progress of an answer that the client reads.
_HEAD_S, _STALLED_S = 10.0, 60.0
# Each takes a file descriptor; a process often has 1,024, and the watcher needs some.
_MOST = 256


class _Alarm:
    """Closes a connection when it is not stopped in time."""

    def __init__(self, connection: BoundedConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to wait; nothing changes while it waits."""
        if self._timer is None:
            self._timer = self._connection.loop.call_later(self._seconds, self._connection.abort)

    def stop(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedConnection(H11Protocol):
    """A connection that is closed when its request does not come or its answer is not read.

    Where there are too many, the one that has waited longest for a request is closed for a new
    one; where all are at work, the new one is.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = _Alarm(self, _HEAD_S)
        self._stalled = _Alarm(self, _STALLED_S)
        self.idle_since = self.loop.time()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head.start()
        if len(self.connections) > _MOST:
            idle = [
                one
                for one in self.connections
                if isinstance(one, BoundedConnection) and one.idle and one is not self
            ]
            min(idle, key=lambda one: one.idle_since, default=self).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._stalled.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.idle:
            self._head.start()  # more bytes do not give more time
        else:
            self._head.stop()

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled.start()

    def resume_writing(self) -> None:
        self._stalled.stop()
        super().resume_writing()

    def abort(self) -> None:
        """Close at once, without what was not sent yet."""
        self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete
