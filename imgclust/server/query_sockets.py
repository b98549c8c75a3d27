"""The sockets on which the command line asks: it need not load index and network itself."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import socket
import socketserver
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclust import __version__
from imgclust.collection import QueryResult, Region
from imgclust.collection.query_client import SOCKET, connected, in_folder
from imgclust.errors import ImgclustError
from imgclust.server.site import selection

if TYPE_CHECKING:
    from imgclust.server.site import Site

_log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 20
_SILENT_S = 10.0


class _Handler(socketserver.StreamRequestHandler):
    """Answers one request, or closes: the command line then works by itself."""

    timeout = _SILENT_S

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        if not _is_ours(self.connection):
            return
        try:
            request = json.loads(self.rfile.readline(_MOST_BYTES))
            if request["version"] == __version__:
                found = _found(server.site, server.name, request["what"], request["options"])
                self.wfile.write(pickle.dumps(found))
        except (ImgclustError, OSError, ValueError, TypeError, KeyError) as error:
            _log.debug("a query of the command line is left to it: %s", error)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, address: str, site: Site, name: str) -> None:
        self.site, self.name = site, name
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("a query of the command line failed", exc_info=True)


class QuerySockets:
    """The sockets of the collections that there are; mode 0600, in their folders."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._servers: list[_Server] = []

    def open(self) -> None:
        """Listen for each collection; one that cannot be is left out."""
        for name in self._site.names():
            folder = self._site.index / name
            if _answers(folder):  # another service has it
                continue
            try:
                with in_folder(folder) as address:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(address)
                    before = os.umask(0o177)
                    try:
                        server = _Server(address, self._site, name)
                    finally:
                        os.umask(before)
            except OSError as error:
                _log.warning("no socket for queries in %s: %s", folder, error)
                continue
            self._servers.append(server)
            threading.Thread(
                target=server.serve_forever, args=(0.2,), name=f"queries-{name}", daemon=True
            ).start()

    def close(self) -> None:
        """Stop listening, and remove the sockets."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
            with contextlib.suppress(OSError):
                os.unlink(self._site.index / server.name / SOCKET)
        self._servers.clear()


def _answers(folder: Path) -> bool:
    with contextlib.suppress(OSError), connected(folder):
        return True
    return False


def _is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end is of the same user."""
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", raw)
    return int(user) in {os.getuid(), 0}


def _found(site: Site, name: str, what: list[str], options: dict[str, Any]) -> QueryResult:
    dates = options.pop("selection", None)
    region = options.pop("region", None)
    given = {
        **options,
        "selection": None if dates is None else selection(*dates),
        "region": None if region is None else Region(*region),
    }
    loaded = site.ready if all(one.isdigit() for one in what) and not region else site.with_network
    with loaded(name) as collection:
        return collection.query(what, **given)
