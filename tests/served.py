"""Services for tests: an application without a socket, and a whole one with watcher and socket."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from imgclust.collection import Event, StopFlag
from imgclust.server.application import application
from imgclust.server.health import Health, WatcherState
from imgclust.server.metrics import Metrics
from imgclust.server.process import Options, run
from imgclust.server.security import Access
from imgclust.server.site import Site

ADDRESS = "http://127.0.0.1:8765"
_COMMAND = (sys.executable, "-c", "from imgclust.cli import app; app()")
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


class Served:
    """A service in a process of its own, on a free port, by the command line."""

    def __init__(self, index: Path, *watch: Path, options: Sequence[str] = ()) -> None:
        folders = [part for folder in watch for part in ("--watch", str(folder))]
        descriptor, self._log = tempfile.mkstemp(prefix="imgclust-served-")
        self._process = subprocess.Popen(
            [*_COMMAND, "serve", "--index", str(index), "--port", "0", *folders, *options],
            stdout=descriptor,
            stderr=subprocess.STDOUT,
        )
        os.close(descriptor)
        self.pid = self._process.pid
        until(lambda: self._process.poll() is not None or "serving http" in self.said())
        found = re.search(r"serving (http://\S+?)/\s", self.said())
        assert found is not None, self.said()
        self.address = found[1]

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        os.unlink(self._log)

    def stop(self) -> float:
        """End it as Ctrl-C does; returns how long that took."""
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
        return time.monotonic() - began

    def said(self) -> str:
        """What it wrote so far."""
        return Path(self._log).read_text("utf-8", "replace")

    def get(self, path: str) -> Any:
        """A document of the collection."""
        with urllib.request.urlopen(f"{self.address}{HERE}/{path}", timeout=120) as answer:
            return json.load(answer)

    def wait_for(self, images: int, *, seconds: float = 300.0) -> None:
        """Wait until so many images are in."""
        until(lambda: self._images() >= images, seconds=seconds)

    def _images(self) -> int:
        try:
            return int(self.get("status")["images"])
        except urllib.error.HTTPError:  # the collection is not made yet
            return 0
