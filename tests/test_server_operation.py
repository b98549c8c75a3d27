"""Operation: health, metrics, systemd, logs, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from imgclust.collection import Collection
from imgclust.collection import embedder as embedder_module
from imgclust.collection.service import Service
from imgclust.locks import FileLock
from imgclust.server import systemd
from imgclust.server.connections import BoundedConnection
from imgclust.server.health import Health, WatcherState
from imgclust.server.site import Site
from tests.command_line import Run
from tests.conftest import DIMENSIONS, write_picture
from tests.fakes import FakeEmbedder
from tests.served import HERE, client, finished, service, until

CHECKOUT = Path(__file__).parents[1]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_idle_watcher_lives_and_a_hung_one_does_not() -> None:
    clock = Clock()
    state = WatcherState(clock=clock)
    clock.now += 10_000
    assert (state.hangs(), state.trouble()) == ("", "")  # nothing is to be watched
    state.begin()
    clock.now += 600
    assert state.hangs() == ""  # a large index is loaded
    state.turn(0.0)
    for _ in range(100):  # days with nothing to do
        clock.now += 50
        state.turn(0.0)
        assert state.hangs() == ""
    clock.now += 61
    assert "not turned" in state.hangs()
    state.turn(10.0)
    assert state.hangs() == ""
    state.turn(301.0)  # the loop turns, the network does not
    assert "one batch" in state.hangs()
    state.turn(0.0)
    state.pause("the disk is full")
    clock.now += 100_000
    assert state.hangs() == ""  # a start would not help
    assert "the disk is full" in state.trouble()
    state.turn(0.0)
    assert state.trouble() == ""
    state.ended = "by chance"
    assert (state.hangs(), "by chance" in state.trouble()) == ("", True)


def test_a_start_that_never_ends_hangs() -> None:
    clock = Clock()
    state = WatcherState(clock=clock)
    state.begin()
    clock.now += 1801
    assert "first turn" in state.hangs()


def test_readiness_says_what_disagrees(index: Path, ready: Path, tmp_path: Path) -> None:
    clock = Clock()
    site, state = Site(index), WatcherState(clock=clock)
    health = Health(site, state, clock=clock)
    assert health.readiness().ready
    with contextlib.closing(site):
        catalog = index / "default" / "catalog.sqlite3"
        kept = tmp_path / "kept"
        shutil.copy(catalog, kept)
        assert health.readiness().ready
        catalog.write_bytes(b"damaged" * 1000)
        clock.now += 5
        found = health.readiness()
        assert not found.ready
        assert "catalog" in found.troubles[0]
        shutil.copy(kept, catalog)
        clock.now += 5
        assert health.readiness().ready
        state.begin()
        state.ended = "by chance"
        assert health.readiness().ready  # the answer of some seconds ago
        clock.now += 5
        assert "the watcher has ended: by chance" in health.readiness().troubles


def test_a_disk_that_is_away_is_no_trouble(index: Path, ready: Path, run: Run) -> None:
    drop = ready / "drop"
    away = drop.rename(ready / "away")
    try:
        run("watch", "--once")
        with client(index) as api:
            assert api.get("/readyz").json() == {"ok": True}
            said = api.get("/health").json()
            assert said["troubles"] == []
            assert "drop" in said["remarks"][0]
    finally:
        away.rename(drop)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which needs root")
def test_a_full_disk_is_red_within_seconds(index: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr!r}")
    try:
        shutil.copytree(index / "default", place / "default", symlinks=True)
        with client(place) as api:
            assert api.get("/readyz").status_code == 200
            with contextlib.suppress(OSError), open(place / "ballast", "wb", 0) as file:
                while True:
                    file.write(bytes(4096))
            until(lambda: api.get("/readyz").status_code == 503, seconds=5)
            assert "full" in api.get("/health").json()["troubles"][0]
            (place / "ballast").unlink()
            until(lambda: api.get("/readyz").status_code == 200, seconds=5)
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def test_a_dead_watcher_is_red_and_started_again(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.collection.service import Service

    watch, broken = Service.watch, threading.Event()
    broken.set()

    def fail(self: Service, *arguments: object, **options: object) -> object:
        if broken.is_set():
            raise ZeroDivisionError("by chance")
        return watch(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Service, "watch", fail)
    with service(index) as (address, events, _):
        until(lambda: httpx2.get(f"{address}/readyz").status_code == 503, seconds=5)
        assert httpx2.get(f"{address}/livez").status_code == 200
        assert httpx2.get(f"{address}{HERE}/status").status_code == 200
        broken.clear()
        until(lambda: httpx2.get(f"{address}/readyz").status_code == 200, seconds=20)
    assert [event.kind for event in events if event.kind == "trouble"] == ["trouble"]


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_watcher_whose_thread_would_end_is_red_and_started_again(
    index: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whatever is raised in it, and when its loop ends although nobody has asked for that."""
    from imgclust.collection.service import Service

    watch, once = Service.watch, list[str]()

    def strange(self: Service, *arguments: object, **options: object) -> object:
        if not once:
            once.append(threading.current_thread().name)
            if how == "killed":
                raise SystemExit
            return None
        return watch(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Service, "watch", strange)
    monkeypatch.setattr("imgclust.server.watcher_thread._AGAIN_S", 4.0)
    with service(index) as (address, _, _):
        until(lambda: httpx2.get(f"{address}/readyz").status_code == 503, seconds=5)
        assert once == ["watcher"]
        until(lambda: httpx2.get(f"{address}/readyz").status_code == 200, seconds=60)


def test_another_watcher_is_no_fault(index: Path) -> None:
    lock = FileLock(index / "default" / "ingest.lock", purpose="ingesting into")
    with lock, service(index) as (address, events, _):
        until(lambda: any("another process" in event.sentence for event in events))
        assert httpx2.get(f"{address}/readyz").status_code == 200
        assert httpx2.get(f"{address}{HERE}/status").json()["watching"] is True


def test_metrics_have_numbers_and_no_paths(index: Path, ready: Path) -> None:
    arrival = ready / "drop" / "arrival.png"
    with service(index) as (address, events, _):
        write_picture(arrival, 91, hue=0)
        try:
            until(lambda: any(event.kind == "ingested" for event in events))
            text = httpx2.get(f"{address}/metrics").text
        finally:
            arrival.unlink()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['imgclust_images{collection="default",state="present"}'] == "25.0"
    assert lines['imgclust_images{collection="default",state="quarantined"}'] == "1.0"
    assert lines['imgclust_images{collection="default",state="pending"}'] == "0.0"
    assert lines['imgclust_pending_oldest_seconds{collection="default"}'] == "0.0"
    assert lines['imgclust_stage_seconds_count{stage="decode"}'] == "1.0"
    assert lines['imgclust_stage_seconds_count{stage="embed"}'] == "1.0"
    assert float(lines['imgclust_stage_seconds_count{stage="commit"}']) >= 1
    assert lines['imgclust_events_total{kind="ingested"}'] == "1.0"
    assert sum(name.startswith("imgclust_quarantined{") for name in lines) == 1
    for secret in ("/drop", "arrival.png", "picture-", str(index), "broken.jpg"):
        assert secret not in text


def test_jobs_are_measured(index: Path) -> None:
    with client(index) as api:
        finished(api, api.post(f"{HERE}/sweep", json={"k_max": 3}))
        until(lambda: 'command="sweep",state="done"' in api.get("/metrics").text)


def test_systemd_hears_when_it_is_ready_and_lives(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        with service(index):
            said = [listener.recv(100) for _ in range(6)]
        assert said[0] == b"READY=1"
        assert set(said[1:]) == {b"WATCHDOG=1"}
        while (last := listener.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"


def test_systemd_is_left_alone_where_it_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert not systemd.notify("READY=1")
    assert systemd.watchdog_s() is None
    for address in ("relative", str(tmp_path / "nobody"), "@nobody"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not systemd.notify("READY=1")
    for given in ("", "0", "-5", "x"):
        monkeypatch.setenv("WATCHDOG_USEC", given)
        assert systemd.watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert systemd.watchdog_s() == 30.0


def test_a_hung_network_is_not_alive(
    index: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop turns and the network gives nothing back: the watchdog is fed no more."""
    go_on = threading.Event()

    class Hung(FakeEmbedder):
        def embed(self, pixels):  # type: ignore[no-untyped-def]
            if pixels.any():
                go_on.wait(60)
            return super().embed(pixels)

    monkeypatch.setattr(embedder_module, "open_embedder", lambda *_, **__: Hung(DIMENSIONS))
    monkeypatch.setattr("imgclust.server.health._BATCH_S", 0.5)
    arrival, path = ready / "drop" / "hung.png", tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(0.6)  # twice what systemd waits
        hung_service(index, arrival, listener, go_on)


def ends(listener: socket.socket) -> bool:
    """Whether nothing comes any more."""
    with contextlib.suppress(TimeoutError):
        for _ in range(300):
            listener.recv(100)
        return False
    return True


def hung_service(
    index: Path, arrival: Path, listener: socket.socket, go_on: threading.Event
) -> None:
    """A service that hangs at this arrival, and then goes on."""
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        assert httpx2.get(f"{address}/livez").status_code == 200
        write_picture(arrival, 92)
        try:
            until(lambda: httpx2.get(f"{address}/livez").status_code == 503)
            assert ends(listener)
            go_on.set()
            until(lambda: httpx2.get(f"{address}/livez").status_code == 200)
            listener.settimeout(30)
            assert listener.recv(100) == b"WATCHDOG=1"
        finally:
            go_on.set()
            arrival.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority")
def test_the_watcher_lets_people_go_first(index: Path) -> None:
    with service(index) as (_, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        native = {one.name: one.native_id or 0 for one in threading.enumerate()}
        nice = {name: os.getpriority(os.PRIO_PROCESS, one) for name, one in native.items()}
    usual = nice["service"]
    assert nice["watcher"] == min(19, usual + 5)
    assert all(nice[name] == usual for name in nice if name.startswith(("queries", "AnyIO")))


def test_long_requests_leave_threads_to_short_ones(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More queries than there are threads, none of which ends: pictures are shown nevertheless."""
    go_on, find = threading.Event(), Collection.query

    def waits(*given: Any, **options: Any) -> Any:
        go_on.wait(60)
        return find(*given, **options)

    monkeypatch.setattr(Collection, "query", waits)
    with service(index) as (address, _, _), ThreadPoolExecutor(60) as clients:
        try:
            asked = [
                clients.submit(httpx2.get, f"{address}{HERE}/query?image=1", timeout=120)
                for _ in range(60)
            ]
            time.sleep(0.5)
            for number in (1, 2, 3):
                shown = httpx2.get(f"{address}{HERE}/images/{number}/thumbnail", timeout=30)
                assert shown.status_code == 200
        finally:
            go_on.set()
        assert {one.result().status_code for one in asked} == {200}


def test_a_request_that_is_given_up_keeps_its_place_until_its_work_ends(index: Path) -> None:
    """Else a client that asks and goes away again would have any number worked on at once."""
    go_on, started = threading.Event(), list[int]()

    def work(number: int) -> None:
        started.append(number)
        go_on.wait(60)

    async def given_up(lane: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        first = [asyncio.ensure_future(lane(partial(work, number))) for number in range(200)]
        while not started:
            await asyncio.sleep(0.01)
        for one in first:
            one.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        await asyncio.sleep(0.2)
        at_once = len(started)
        last = asyncio.ensure_future(lane(partial(work, 999)))
        await asyncio.sleep(0.3)
        assert len(started) == at_once  # no thread is free
        go_on.set()
        await last
        assert started[at_once:] == [999]

    with contextlib.closing(Site(index)) as site:
        for lane in (site.few_at_once, site.apart):
            go_on.clear()
            started.clear()
            asyncio.run(given_up(lane))


@pytest.mark.slow
def test_slow_requests_leave_threads_to_short_ones(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Previews of a disk that does not answer: pages and thumbnails come nevertheless."""
    go_on = threading.Event()

    def waits(*_: Any) -> None:
        go_on.wait(60)

    monkeypatch.setattr(Service, "preview", waits)
    with service(index) as (address, _, _), ThreadPoolExecutor(60) as clients:
        try:
            asked = [
                clients.submit(httpx2.get, f"{address}{HERE}/images/1/preview", timeout=120)
                for _ in range(60)
            ]
            time.sleep(0.5)
            for path in (f"{HERE}/images/2/thumbnail", "/c/default/", f"{HERE}/query?image=1"):
                assert httpx2.get(f"{address}{path}", timeout=30).status_code == 200
        finally:
            go_on.set()
        assert {one.result().status_code for one in asked} == {404}


@pytest.mark.slow
def test_slow_requests_that_are_given_up_leave_pictures_alone(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def waits(*_: Any, **__: Any) -> None:
        go_on.wait(60)

    monkeypatch.setattr(Collection, "duplicates", waits)
    with service(index) as (address, _, _):
        try:
            for _ in range(12):
                with contextlib.suppress(httpx2.TimeoutException):
                    httpx2.get(f"{address}{HERE}/duplicates", timeout=0.3)
            for path in ("preview", "original", "thumbnail"):
                found = httpx2.get(f"{address}{HERE}/images/2/{path}", timeout=30)
                assert found.status_code == 200, path
        finally:
            go_on.set()


def test_answers_are_sent_at_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the body of an answer waits until the client has confirmed its head: 40 ms each."""
    found, made = list[int](), BoundedConnection.connection_made

    def noted(self: BoundedConnection, transport: Any) -> None:
        ours = transport.get_extra_info("socket")
        found.append(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(BoundedConnection, "connection_made", noted)
    with service(index) as (address, _, _):
        assert httpx2.get(f"{address}/livez", timeout=30).status_code == 200
    assert found
    assert all(found)


@contextlib.contextmanager
def process(index: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`imgclust serve` as a process, without images."""
    code = "from imgclust.cli import app; app()"
    environment = {**os.environ, "IMGCLUST_INDEX": str(index), "PYTHONPATH": str(CHECKOUT)}
    made = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", "0", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    (tmp_path / "drop").mkdir()
    with process(
        tmp_path / "index", "--watch", str(tmp_path / "drop"), "--log-format", "json"
    ) as made:
        assert made.stdout is not None
        for line in made.stdout:
            said = json.loads(line)
            if said["event"] == "serving":
                break
        began = time.monotonic()
        assert httpx2.get(f"{said['address']}livez").status_code == 200
        made.send_signal(number)
        out, err = made.communicate(timeout=30)
        assert made.returncode == 0, err
        assert all(json.loads(line)["event"] for line in out.splitlines())
        assert time.monotonic() > began


def test_the_token_is_not_logged(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    with process(
        tmp_path / "index", "--watch", str(tmp_path / "drop"), "--host", "0.0.0.0"
    ) as made:
        assert made.stderr is not None
        line = made.stderr.readline()
        while "serving" not in line:
            line = made.stderr.readline()
        token = (tmp_path / "index" / "serve.token").read_text().strip()
        address = line.split()[-1].replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(f"{address}api/v1/collections").status_code == 401
        key = {"authorization": f"Bearer {token}"}
        assert httpx2.get(f"{address}api/v1/collections", headers=key).status_code == 200
        httpx2.get(address, params={"token": token})
        made.send_signal(signal.SIGTERM)
        out, err = made.communicate(timeout=30)
        assert token not in line + out + err


def test_wrong_usage_is_said_before_anything_starts(run: Run, tmp_path: Path) -> None:
    assert "does not exist" in run("serve", "--watch", "nowhere").refused(2)
    assert "no collection" in run("serve").refused(3)
    run("collections", "create", "default")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "--port" in run("serve", "--port", port).refused(2)
    assert "--port" in run("serve", "--host", "nowhere.invalid").refused(2)
