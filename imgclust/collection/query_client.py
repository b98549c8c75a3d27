"""Queries that a running service answers for the command line: it has index and network loaded.

The service listens on a socket, of mode 0600, in the collection's folder. What it cannot answer,
for whatever reason, the command line answers by itself, as it does without a service.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclust.numbers import is_digits

if TYPE_CHECKING:
    from imgclust.collection.collection import Collection
    from imgclust.search.similar_images import QueryResult

SOCKET = "query.socket"
# A service that does not answer in this many seconds is not waited for.
_PATIENCE_S = 60.0
# An answer of the largest size has 10,000 rows of some hundred bytes.
_MOST_BYTES = 64 << 20
# The classes that an answer is made of, by module; nothing else is made from what is received.
_KNOWN = {
    ("imgclust.search.similar_images", "QueryResult"),
    ("imgclust.search.similar_images", "Neighbour"),
    ("imgclust.catalog.details", "Facts"),
}


def ask(
    collection: Collection, what: Sequence[str], options: Mapping[str, Any]
) -> QueryResult | None:
    """What the service of this collection finds; None where there is none, or it cannot.

    Parameters
    ----------
    what
        Ids and paths, as given.
    options
        Options of `Collection.query`, which JSON can hold.
    """
    from imgclust import __version__

    names = [one if is_digits(one) else os.path.abspath(one) for one in what]
    request = {"version": __version__, "what": names, "options": dict(options)}
    try:
        with connected(collection.folders.root) as channel:
            channel.settimeout(_PATIENCE_S)
            channel.sendall(json.dumps(request).encode() + b"\n")
            channel.shutdown(socket.SHUT_WR)
            answer = _all(channel)
        found: object = _Reader(io.BytesIO(answer)).load() if answer else None
    # No service, one that ends or is of another version, or one that fails: each is the same here.
    except (OSError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError):
        return None
    from imgclust.search.similar_images import QueryResult

    if not isinstance(found, QueryResult):
        return None
    return replace(found, query=" + ".join(what), queries=tuple(what))


@contextlib.contextmanager
def connected(folder: Path) -> Iterator[socket.socket]:
    """A connection to the service of the collection in this folder; raises OSError without one."""
    with (
        in_folder(folder) as address,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.connect(address)
        yield channel


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[str]:
    """An address of the socket that is short enough, however deep the folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _all(channel: socket.socket) -> bytes:
    parts, size = [], 0
    while part := channel.recv(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise ValueError("the answer is too large")
    return b"".join(parts)


class _Reader(pickle.Unpickler):
    """Makes results of queries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an answer")
        return super().find_class(module, name)
