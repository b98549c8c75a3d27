"""Hostile requests: what is sent to a service, and what may come back."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

_PATIENCE_S = 60.0
_HERE = "/api/v1/collections/default"
_LINE = 1 << 16

# Ways to write a part of a path that leads elsewhere.
_UP = ["..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "%c0%ae%c0%ae", "..;", "%uff0e", "....//"]
_PLACES = ["etc/passwd", "proc/self/environ", "catalog.sqlite3", "serve.token", "query.socket"]
_ROUTES = [
    "/",
    "/livez",
    "/static",
    f"{_HERE}",
    f"{_HERE}/images",
    f"{_HERE}/images/1/thumbnail",
    f"{_HERE}/images/1/original",
    f"{_HERE}/clusters",
    "/collections/default",
    "/collections/default/images",
]
_WRITING = ["remove", "merge", "cluster", "clusters", "clusters/1/name", "add", "roots/move"]
_METHODS = ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "PROPFIND", "get", "G\x00T", "A" * 5000]


@dataclass
class Storm:
    """What has happened: kinds of requests, statuses that came back, and what was wrong."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_s: float = 0.0


@dataclass(frozen=True)
class Attack:
    """Pieces that are sent one after the other, and how the connection is left.

    `ending`: "read" reads the answer, "half" closes the sending side first, "reset" breaks off,
    "drip" sends a byte a second until the service closes, "silent" nothing more.
    """

    kind: str
    pieces: tuple[bytes, ...]
    ending: str = "read"


def attacks(host: str, generator: random.Random) -> Iterator[Attack]:
    """Endless hostile requests; none of them has anything to say that may be done."""
    kinds: list[Callable[[str, random.Random], Attack]]
    kinds = [_traversal, _method, _wrong_host, _head, _bytes, _length, _json, _multipart, _odd]
    while True:
        draw = generator.random()
        yield (_left(host, generator) if draw < 0.1 else generator.choice(kinds)(host, generator))


def _request(
    line: str | bytes, host: str, *headers: str | bytes, body: bytes = b"", close: bool = True
) -> bytes:
    given = [line, f"host: {host}", *headers, *(["connection: close"] if close else [])]
    return b"\r\n".join(_raw(one) for one in given) + b"\r\n\r\n" + body


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _posted(host: str, kind: str, body: bytes, generator: random.Random) -> bytes:
    route = f"{_HERE}/{generator.choice(_WRITING)}"
    length = f"content-length: {len(body)}"
    return _request(f"POST {route} HTTP/1.1", host, f"content-type: {kind}", length, body=body)


def _traversal(host: str, generator: random.Random) -> Attack:
    up = "/".join(generator.choice(_UP) for _ in range(generator.randint(1, 9)))
    path = f"{generator.choice(_ROUTES).rstrip('/')}/{up}/{generator.choice(_PLACES)}"
    return Attack("traversal", (_request(f"GET {path} HTTP/1.1", host),))


def _method(host: str, generator: random.Random) -> Attack:
    route = generator.choice([_HERE + "/remove", _HERE + "/status", "/", "/metrics"])
    return Attack("method", (_request(f"{generator.choice(_METHODS)} {route} HTTP/1.1", host),))


def _wrong_host(host: str, generator: random.Random) -> Attack:
    name, _, port = host.partition(":")
    wrong = generator.choice(
        [
            "evil.example",
            f"evil.example:{port}",
            f"{name}:1",
            "",
            f"{host}@evil",
            f"evil/{host}",
            f"{host}, evil",
            "[::1",
            f"{name}.nip.io:{port}",
            "\u0661.2.3.4",
            f"{host}\x00",
            "a" * 9000,
        ]
    )
    headers = [f"host: {host}"] if generator.random() < 0.2 else []
    return Attack("host", (_request(f"GET {_HERE}/status HTTP/1.1", wrong, *headers),))


def _head(host: str, generator: random.Random) -> Attack:
    many = generator.choice([10_000, 70_000, 300_000])
    line, headers = "GET /nothing HTTP/1.1", [""]
    draw = generator.randrange(5)
    if draw == 0:
        headers = ["x: " + "y" * many]
    elif draw == 1:
        headers = [f"x-{number}: 1" for number in range(many // 10)]
    elif draw == 2:
        line = f"GET /{'p' * many} HTTP/1.1"
    elif draw == 3:
        line = f"GET /nothing?{'q=1&' * (many // 4)} HTTP/1.1"
    else:
        headers = ["cookie: " + "imgclust=a;" * (many // 11)]
    return Attack("head", (_request(line, host, *filter(None, headers)),))


def _bytes(host: str, generator: random.Random) -> Attack:
    noise = generator.randbytes(generator.choice([1, 30, 3000]))
    line = generator.choice(
        [
            b"GET /%00 HTTP/1.1",
            b"GET /\0 HTTP/1.1",
            b"GET /%ff%fe/%c3%28 HTTP/1.1",
            b"GET /\xff\xfe HTTP/1.1",
            f"GET {_HERE}/clusters/%00 HTTP/1.1".encode(),
            f"GET {_HERE}/clusters/%ed%a0%80 HTTP/1.1".encode(),
            f"GET {_HERE}/query?image=%00&cluster=%ff HTTP/1.1".encode(),
            f"GET {_HERE}/images/{'9' * 4000} HTTP/1.1".encode(),
            b"GET / HTTP/9.9",
            b"GET  /  HTTP/1.1",
            b"GET http://evil/ HTTP/1.1",
            b"GET * HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0",
            noise,
        ]
    )
    if line is noise:
        return Attack("bytes", (noise,), "half")
    extra = generator.choice([b"x: \0", b"x: \xff\xfe", b"x\0: 1", b": 1", b"x : 1", b" folded"])
    return Attack("bytes", (_request(line, host, *([extra] if generator.random() < 0.3 else [])),))


def _length(host: str, generator: random.Random) -> Attack:
    headers = generator.choice(
        [
            ["content-length: -5"],
            ["content-length: 5", "content-length: 6"],
            ["content-length: 1e3"],
            ["content-length: " + "9" * 400],
            ["transfer-encoding: chunked", "content-length: 3"],
            ["transfer-encoding: chunked"],
            ["transfer-encoding: gzip, chunked"],
            ["transfer-encoding: xchunked"],
            ["expect: 200-maybe", "content-length: 3"],
            ["content-encoding: gzip", "content-length: 5"],
        ]
    )
    body = generator.choice([b"zz\r\n{}\r\n", b"ffffffffffffffffff\r\n", b"{]}", b"5\r\nabc"])
    line = f"POST {_HERE}/{generator.choice([*_WRITING, 'query'])} HTTP/1.1"
    return Attack("length", (_request(line, host, *headers, body=body),), "half")


def _json(host: str, generator: random.Random) -> Attack:
    body = generator.choice(
        [
            b"[" * 100_000,
            b'{"images": ' * 5_000,
            b'{"images": [' + b"1," * 200_000 + b"1]}",
            b'{"images": [' + b"9" * 5_000 + b"]}",
            b'{"images": ["\\ud800"], "name": "\\u0000"}',
            b'{"images": NaN, "k": Infinity}',
            b'{"images": "\xff\xfe"}',
            b"\0" * 1000,
            b'{"a": 1' + b" " * 1_500_000,
            b"\xef\xbb\xbf[]",
            b"null",
            b"",
        ]
    )
    return Attack("json", (_posted(host, "application/json", body, generator),))


def _multipart(host: str, generator: random.Random) -> Attack:
    body = generator.choice(
        [
            b"--x\r\n",
            b'--x\r\ncontent-disposition: form-data; filename="../../a"\r\n\r\n1\r\n--x--',
            b"--x\r\n" * 10_000,
            b"--y--",
        ]
    )
    kind = generator.choice(
        [
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "multipart/mixed; boundary=\xff",
            "application/x-www-form-urlencoded",
            "text/plain",
            "image/png",
            "",
        ]
    )
    return Attack("multipart", (_posted(host, kind, body, generator),))


def _odd(host: str, generator: random.Random) -> Attack:
    """Arguments that nothing has."""
    odd = generator.choice(
        ["-1", "0", "1e9", "%20", "9" * 30, "\u0663", "NaN", "'; DROP", "%7B%7D"]
    )
    path = generator.choice(
        [
            f"images/{odd}/preview",
            f"clusters/{odd}-{odd}/images?offset={odd}",
            f"query?image={odd}",
            f"query?image=1&n={odd}",
            f"jobs/{odd}",
            f"{odd}/{odd}",
            f"query?image={'1&image=' * 1500}1",
        ]
    )
    if path.endswith("n=9") or odd == "0":
        path = f"images/{odd}/original"
    return Attack("odd", (_request(_raw(f"GET {_HERE}/{path} HTTP/1.1"), host),))


def _left(host: str, generator: random.Random) -> Attack:
    """Requests that stop in the middle, in their head or in their body."""
    whole = _posted(host, "application/json", b'{"images": [' + b"0," * 500, generator)
    whole = whole.replace(b"content-length: 1", b"content-length: 9")
    cut = whole[: generator.randint(0, len(whole))]
    place = generator.randint(0, len(cut))
    ending = generator.choice(["half", "half", "reset", "reset", "silent", "drip"])
    return Attack("left", (cut[:place], cut[place:]), ending)


def storm(address: str, count: int, *, seed: int, threads: int = 16) -> Storm:
    """Send so many attacks, and note what comes back; those that stay silent wait beside.

    A fault is an answer of 200 or of 5xx, and a connection that is not closed after a minute.
    """
    host = address.removeprefix("http://").rstrip("/")
    name, _, port = host.rpartition(":")
    found, lock = Storm(), threading.Lock()

    def one(attack: Attack) -> None:
        began = time.monotonic()
        try:
            answer = _sent((name, int(port)), attack)
            status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else "closed"
        except TimeoutError:
            status = "open"
        took = time.monotonic() - began
        with lock:
            found.kinds[attack.kind] += 1
            found.statuses[status] += 1
            found.longest_s = max(found.longest_s, took)
            if status != "closed" and not status.startswith("4"):
                found.faults.append(
                    f"{status} after {took:.1f} s for {attack.kind}: {attack}"[:600]
                )

    drawn = attacks(host, random.Random(seed))
    with ThreadPoolExecutor(threads) as quick, ThreadPoolExecutor(threads) as slow:
        for _ in range(count):
            attack = next(drawn)
            (slow if attack.ending in {"silent", "drip"} else quick).submit(one, attack)
    return found


def _sent(place: tuple[str, int], attack: Attack) -> bytes:
    """What comes back, until the service closes; raises TimeoutError where it does not."""
    end = time.monotonic() + _PATIENCE_S
    with socket.create_connection(place, timeout=_PATIENCE_S) as channel:
        answer = bytearray()
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            for piece in attack.pieces:
                channel.sendall(piece)
            if attack.ending == "half":
                channel.shutdown(socket.SHUT_WR)
            if attack.ending == "reset":
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return b""
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                channel.settimeout(1.0 if attack.ending == "drip" else end - time.monotonic())
                try:
                    part = channel.recv(_LINE)
                except TimeoutError:
                    if attack.ending != "drip":
                        raise
                    channel.sendall(b"0")
                    continue
                if not part:
                    return bytes(answer)
                answer += part
            raise TimeoutError
        return bytes(answer)
