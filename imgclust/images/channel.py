"""Messages between the pool and one worker: a length, then a pickle."""

from __future__ import annotations

import pickle
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">Q")


def send_message(channel: socket.socket, message: object) -> None:
    """Send `message`, any object that can be pickled by reference to importable modules."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive_message(channel: socket.socket, limit_s: float | None = None) -> Any:
    """Receive one whole message.

    Raises
    ------
    TimeoutError
        When it is not complete after `limit_s` seconds.
    EOFError
        When the other side has closed, or died in the middle.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    (length,) = _LENGTH.unpack(_receive(channel, _LENGTH.size, deadline))
    return pickle.loads(_receive(channel, length, deadline))


def _receive(channel: socket.socket, length: int, deadline: float | None) -> bytearray:
    body = bytearray(length)
    rest = memoryview(body)
    while rest:
        if deadline is not None:
            channel.settimeout(max(1e-3, deadline - time.monotonic()))
        received = channel.recv_into(rest)
        if not received:
            raise EOFError("the other side has closed")
        rest = rest[received:]
    channel.settimeout(None)
    return body
