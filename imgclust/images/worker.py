"""What runs in a decode worker: one process that claims one path at a time until its pool ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from imgclust.images.filestat import FileStat, stat_of
from imgclust.images.reader import Died, Outcome

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


READY = "ready"
TAKEN = "taken"

_PR_SET_PDEATHSIG = 1
# How much later than others a worker gets a processor, as for nice(1).
NICENESS = 5


def serve(descriptor: int, parent: int, memory_limit_bytes: int, niceness: int) -> None:
    """Answer paths with outcomes over the socket `descriptor` until the other side closes.

    Parameters
    ----------
    descriptor
        A connected socket. The first message is the task, a callable from path to outcome; every
        later one is a path.
    parent
        Process id of the pool: when that process dies, so does this one, at once.
    memory_limit_bytes
        Limit of this process's address space.
    niceness
        How much later than others it gets a processor.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
        signal.signal(ignored, signal.SIG_IGN)
    # The network is what takes the time: what it leaves over is enough to decode, and when it
    # waits for pictures there is no one to give way to.
    os.nice(niceness)
    _die_with(parent)
    _prefer_for_the_oom_killer()
    with socket.socket(fileno=descriptor) as channel, contextlib.suppress(EOFError, OSError):
        task: Callable[[bytes], Outcome] = receive_message(channel)
        # A crash is reported by the pool; a core file in somebody's folder helps nobody.
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, memory_limit_bytes)
        send_message(channel, READY)
        while True:
            path: bytes = receive_message(channel)
            # From here on, and not before, the death of this process is that path's doing.
            send_message(channel, TAKEN)
            send_message(channel, _outcome(task, path, memory_limit_bytes))


def _outcome(task: Callable[[bytes], Outcome], path: bytes, memory_limit_bytes: int) -> Outcome:
    try:
        return task(path)
    except MemoryError:
        reason = f"it needs more memory than the limit of {memory_limit_bytes / 2**20:,.0f} MiB"
    # A fault in our own code must cost the file its tries, not bring the worker down.
    except BaseException as error:  # libraries in Rust panic with exceptions of their own kind
        reason = f"decoding failed unexpectedly ({type(error).__name__})"
    return Died(path, stat_if_any(path), reason)


def stat_if_any(path: bytes) -> FileStat | None:
    """Stat of `path`, None also where the system cannot tell."""
    try:
        return stat_of(path)
    except Exception:
        return None


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the request was made.
    if os.getppid() != parent:
        os._exit(1)


def _prefer_for_the_oom_killer() -> None:
    """When the machine runs out of memory, losing a worker costs one try of one file."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("500")


def _limit(what: int, soft: int) -> None:
    _, hard = resource.getrlimit(what)
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    try:
        resource.setrlimit(what, (soft, soft))
    except (OSError, ValueError):
        if sys.platform == "linux":
            raise  # macOS bounds no address space: there a worker goes without
