"""Services for tests: an application without a socket, and a whole one with watcher and socket."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from imgclust.collection import Event, StopFlag
from imgclust.server import Options, run
from imgclust.server.application import application
from imgclust.server.health import Health, WatcherState
from imgclust.server.metrics import Metrics
from imgclust.server.security import Access
from imgclust.server.site import Site

ADDRESS = "http://127.0.0.1:8765"
HERE = "/api/v1/collections/default"


@contextlib.contextmanager
def client(
    index: Path,
    *,
    access: Access | None = None,
    state: WatcherState | None = None,
    remote: bool = False,
) -> Iterator[TestClient]:
    """A client of a service of this index folder, without a watcher."""
    site = Site(index, remote=remote)
    metrics = Metrics(site)
    site.jobs.ended = metrics.job
    health = Health(site, state or WatcherState())
    app = application(
        site, access=access or Access("127.0.0.1", 8765), health=health, metrics=metrics
    )
    try:
        with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as made:
            yield made
    finally:
        site.stop.set()
        site.close()


@contextlib.contextmanager
def service(index: Path, **options: Any) -> Iterator[tuple[str, list[Event], StopFlag]]:
    """A whole service on a free port: its address, what its watcher says, and what ends it."""
    stop, events, addresses = StopFlag(), list[Event](), list[str]()
    failures: list[BaseException] = []
    given = Options(index=index, collection="default", port=0, **options)

    def work() -> None:
        try:
            run(given, stop=stop, emit=events.append, ready=lambda at, _: addresses.append(at))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="service")
    thread.start()
    try:
        until(lambda: addresses or failures)
        if failures:
            raise failures[0]
        yield addresses[0].rstrip("/"), events, stop
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
    assert not failures


def until(true: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not become true"
        time.sleep(0.02)


def finished(made: TestClient, started: Any) -> dict[str, Any]:
    """The document of a job when it has ended."""
    assert started.status_code == 202, started.text
    place = started.headers["location"]
    until(lambda: made.get(place).json()["state"] != "running")
    found: dict[str, Any] = made.get(place).json()
    return found
