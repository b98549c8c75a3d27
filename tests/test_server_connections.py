"""Connections of the service: those that hold it up are closed, others are answered."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.server import connections, security
from tests.served import HERE, service


@pytest.fixture
def place(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    """Where a service listens that has little patience."""
    monkeypatch.setattr(connections, "_HEAD_S", 0.6)
    monkeypatch.setattr(connections, "_STALLED_S", 0.6)
    monkeypatch.setattr(connections, "_MOST", 20)
    monkeypatch.setattr(security, "_BODY_S", 0.6)
    with service(tmp_path / "index") as (address, _, _):
        name, _, port = address.removeprefix("http://").partition(":")
        yield name, int(port)


def head(place: tuple[str, int], line: str, *headers: str) -> bytes:
    lines = [f"{line} HTTP/1.1", f"host: {place[0]}:{place[1]}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def received(channel: socket.socket) -> bytes:
    """All that comes until the service closes, which it must do."""
    channel.settimeout(30)
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := channel.recv(65536):
            found += part
    return found


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx: "])
def test_a_head_that_does_not_come_is_not_waited_for(place: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(place) as channel:
        channel.sendall(sent)
        assert received(channel) == b""


@pytest.mark.parametrize("body", [False, True])
def test_a_byte_now_and_then_gives_no_more_time(place: tuple[str, int], body: bool) -> None:
    began = time.monotonic()
    with socket.create_connection(place) as channel:
        channel.sendall(head(place, "GET /livez")[:-2])
        if body:
            line = f"POST {HERE}/cluster"
            headers = ("content-type: application/json", "content-length: 9000")
            channel.sendall(b"\r\n" + head(place, line, *headers))
        channel.settimeout(0.1)
        found = b""
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30:
                try:
                    part = channel.recv(65536)
                except TimeoutError:
                    channel.sendall(b" " if body else b"x")
                    continue
                if not part:
                    break
                found += part
        assert time.monotonic() - began < 25
        assert (b" 408 " in found) == body


def test_an_answer_that_is_not_read_is_given_up(place: tuple[str, int], tmp_path: Path) -> None:
    """Answers that the system's buffers cannot hold, to a client that only asks."""
    with socket.socket() as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        channel.connect(place)
        channel.settimeout(30)
        asked = head(place, "GET /api/v1/openapi.json")
        began = time.monotonic()
        open_still = True
        while open_still:
            assert time.monotonic() - began < 60
            time.sleep(0.01)
            try:
                channel.sendall(asked)
            except ConnectionError:
                open_still = False


def test_a_new_connection_takes_the_place_of_one_that_waits(place: tuple[str, int]) -> None:
    with contextlib.ExitStack() as opened:
        waiting = [opened.enter_context(socket.create_connection(place)) for _ in range(60)]
        with socket.create_connection(place) as channel:
            channel.sendall(head(place, "GET /livez", "connection: close"))
            assert received(channel).startswith(b"HTTP/1.1 200 ")
        assert received(waiting[0]) == b""


def test_a_connection_is_used_again(place: tuple[str, int]) -> None:
    """One that works is not cut off, however long the pauses within its patience are."""
    with socket.create_connection(place) as channel:
        channel.settimeout(30)
        for pause in (0.0, 0.3, 0.3, 0.3, 0.3):
            time.sleep(pause)
            channel.sendall(head(place, "GET /livez"))
            found = b""
            while not found.endswith(b'{"ok": true}'):
                found += channel.recv(65536) or b"closed"
                assert b"closed" not in found


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.3"])
def test_no_other_protocol_is_spoken(place: tuple[str, int], protocol: str) -> None:
    """One that is asked for is left alone: the answer is that of the page."""
    with socket.create_connection(place) as channel:
        asked = (
            "connection: Upgrade, close",
            f"upgrade: {protocol}",
            "sec-websocket-version: 13",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        channel.sendall(head(place, f"GET {HERE}/clusters", *asked))
        answer = received(channel)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nserver:" not in answer.lower()


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/api", "/static/"]
)
def test_what_the_framework_brings_is_not_there(place: tuple[str, int], path: str) -> None:
    with socket.create_connection(place) as channel:
        channel.sendall(head(place, f"GET {path}", "connection: close"))
        assert received(channel).startswith(b"HTTP/1.1 404 ")
