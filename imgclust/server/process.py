"""The process of the service: the server, the watcher's thread, and how all of it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from imgclust.collection import Event, StopFlag
from imgclust.errors import UsageError
from imgclust.server import systemd
from imgclust.server.application import application
from imgclust.server.connections import BoundedConnection
from imgclust.server.health import Health, WatcherState
from imgclust.server.metrics import Metrics
from imgclust.server.query_sockets import QuerySockets
from imgclust.server.security import Access, is_loopback, token_in
from imgclust.server.site import Site
from imgclust.server.watcher_thread import WatcherThread

# How often the process checks whether it is to end.
_LOOK_S = 0.1
# Connections that are open when the service ends are given so long.
_GRACE_S = 1
_BACKLOG = 128
# glibc gives threads up to eight heaps a processor, and what is freed in one serves no other: 200
# MB more under load. Two are as fast: the interpreter lets one thread work at a time.
_M_ARENA_MAX, _HEAPS = -8, 2


@dataclass(frozen=True)
class Options:
    """What `imgclust serve` is given.

    `names` are further host names of the service; `token_file` where the token is kept.
    """

    index: Path
    collection: str
    host: str = "127.0.0.1"
    port: int = 8765
    watch: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    token_file: Path | None = None
    names: tuple[str, ...] = ()


class _Server(uvicorn.Server):
    """A server that leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    options: Options,
    *,
    stop: StopFlag,
    emit: Callable[[Event], None],
    ready: Callable[[str, str | None], None],
) -> None:
    """Serve until the flag is set.

    Parameters
    ----------
    emit
        Hears the watcher's events, in its thread.
    ready
        Called with the address and the token (None without one) once requests are answered.

    Raises
    ------
    UsageError
        When the address cannot be used.
    """
    _use_few_heaps()
    remote = not is_loopback(options.host)
    token = None
    if remote or options.token_file is not None:
        token = token_in(options.token_file or options.index / "serve.token")
    listener = _listener(options.host, options.port)
    with contextlib.closing(listener):
        port = listener.getsockname()[1]
        site = Site(options.index, files=options.files, stop=stop, default=options.collection)
        site.remote = remote
        metrics = Metrics(site)
        site.jobs.ended = metrics.job
        state = WatcherState(metrics.took)
        health = Health(site, state)

        def heard(event: Event) -> None:
            metrics.event(event.kind)
            emit(event)

        sockets = QuerySockets(site)
        watcher = WatcherThread(site, options.collection, options.watch, state=state, emit=heard)
        access = Access(options.host, port, token, options.names)
        app = application(site, access=access, health=health, metrics=metrics)
        server = _Server(
            uvicorn.Config(
                app,
                http=BoundedConnection,
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_S,
                ws="none",
            )
        )
        shown = f"[{options.host}]" if ":" in options.host else options.host
        try:
            sockets.open()
            watcher.start()
            site.load(options.collection)
            asyncio.run(
                _serve(
                    server,
                    listener,
                    health,
                    stop,
                    lambda: ready(f"http://{shown}:{port}/", token),
                )
            )
        finally:
            stop.set()
            systemd.notify("STOPPING=1")
            sockets.close()
            ended = watcher.join()
            site.close()
        if not ended:
            emit(
                Event("trouble", "the watcher did not end in time; its current batch is read again")
            )


def _use_few_heaps() -> None:
    """Bound what threads that come and go leave behind; elsewhere than in glibc nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


async def _serve(
    server: _Server,
    listener: socket.socket,
    health: Health,
    stop: StopFlag,
    ready: Callable[[], None],
) -> None:
    """Serve until the flag is set; tell systemd when it works, and that it lives."""
    task = asyncio.create_task(server.serve(sockets=[listener]))
    every = systemd.watchdog_s()
    fed, said = float("-inf"), False
    clock = asyncio.get_running_loop().time
    while not stop.is_set() and not task.done():
        if server.started and not said:
            said = True
            systemd.notify("READY=1")
            ready()
        if said and every is not None and clock() - fed >= every / 3 and not health.hangs():
            fed = clock()
            systemd.notify("WATCHDOG=1")
        await asyncio.sleep(_LOOK_S)
    server.should_exit = True
    await task


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol named, asyncio sends small pieces at once (TCP_NODELAY): a body would
        # wait until the client has confirmed its head, for 40 ms.
        listener = socket.socket(family[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(family[4])
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"{host} port {port} cannot be used: {error.strerror or error}; choose another one "
            "with --port"
        ) from None
    return listener
