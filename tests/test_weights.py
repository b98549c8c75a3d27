"""Weights: the chain, downloads against a local server, and reading."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from imgclust.errors import StoppedError, StorageError, UsageError, WeightsError
from imgclust.progress import StopFlag
from imgclust.weights.loader import KERNELS, TRUNK_PATH, TRUNK_SHA256, Weights, load, trunk, verify
from imgclust.weights.resolver import DownloadError, cached, choose, download, listing
from tests.weights_files import write_keras_official, write_small_official

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "official.h5"
    write_small_official(path)
    return path


@pytest.fixture(scope="module")
def md5(official: Path) -> str:
    return hashlib.md5(official.read_bytes()).hexdigest()


class Server:
    """Answers every GET on a free local port as `answer` says."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: None
        self.requests = 0
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                outer.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/weights.h5"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def send(self, body: bytes, *, length: int | None = None, hang: bool = False) -> None:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(len(body) if length is None else length))
            request.end_headers()
            request.wfile.write(body)
            request.wfile.flush()
            if hang:
                self.release.wait(30)

        self.answer = answer


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def leftovers(cache: Path) -> list[str]:
    return sorted(os.listdir(cache)) if cache.exists() else []


# --- downloads


def test_good_download_is_kept_and_used_again(
    server: Server, official: Path, md5: str, tmp_path: Path
) -> None:
    server.send(official.read_bytes())
    said: list[str] = []
    told: list[tuple[int, int | None]] = []
    weights = choose(
        "auto",
        cache=tmp_path / "cache",
        say=said.append,
        url=server.url,
        md5=md5,
        progress=lambda step, done, total: told.append((done, total)),
    )
    assert weights.name == "imagenet"
    assert weights.structure == "full"
    assert weights.sha256 == hashlib.sha256(official.read_bytes()).hexdigest()
    assert weights.path.read_bytes() == official.read_bytes()
    assert leftovers(tmp_path / "cache") == [weights.path.name]
    assert len(said) == 1
    assert told[-1] == (official.stat().st_size, official.stat().st_size)
    for word in ("auto", "imagenet"):
        again = choose(word, cache=tmp_path / "cache", say=said.append, url=server.url, md5=md5)
        assert again == weights
    assert server.requests == 1
    assert len(said) == 1
    assert len(load(weights)) == 94


def broken(server: Server, how: str, official: Path) -> tuple[str, str]:
    """Set the server up to fail as `how` says; the URL to use and a word of the message."""
    body = official.read_bytes()
    if how == "truncated":
        server.send(body[: len(body) // 2], length=len(body))
        return server.url, "broke off after"
    if how == "wrong digest":
        server.send(body[:-1] + bytes([body[-1] ^ 1]))
        return server.url, "damaged"
    if how == "404":
        server.answer = lambda request: request.send_error(404)
        return server.url, "404"
    if how == "never answers":

        def wait(request: BaseHTTPRequestHandler) -> None:
            server.release.wait(30)

        server.answer = wait
        return server.url, "sent nothing for 0.3 s"
    if how == "stops halfway":
        server.send(body[:1000], length=len(body), hang=True)
        return server.url, "sent nothing for 0.3 s"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return f"http://127.0.0.1:{port}/weights.h5", "refused"


FAILURES = ("truncated", "wrong digest", "404", "never answers", "stops halfway", "unreachable")


@pytest.mark.parametrize("how", FAILURES)
def test_failed_download(
    how: str, server: Server, official: Path, md5: str, tmp_path: Path
) -> None:
    url, word = broken(server, how, official)
    said: list[str] = []

    def chosen(wanted: str) -> Weights:
        return choose(
            wanted,
            cache=tmp_path,
            say=said.append,
            url=url,
            md5=md5,
            connect_timeout_s=2.0,
            idle_timeout_s=0.3,
        )

    with pytest.raises(WeightsError, match=word):
        chosen("imagenet")
    assert leftovers(tmp_path) == []
    said.clear()
    assert chosen("auto") == trunk()
    assert leftovers(tmp_path) == []
    assert word in said[-1]
    assert "embedding again" in said[-1]
    assert len(said[-1]) <= 200
    assert "\n" not in said[-1]
    # the next one that works is not hindered by what went before
    server.send(official.read_bytes())
    assert download(tmp_path, url=server.url, md5=md5).name == "imagenet"


def test_connection_that_never_stands(tmp_path: Path, official: Path, md5: str) -> None:
    # a full backlog leaves the next connection without an answer, as a firewall does
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        with pytest.raises(DownloadError, match=r"could not be reached within 0\.3 s"):
            download(
                tmp_path, url=f"http://127.0.0.1:{port}/", connect_timeout_s=0.3, idle_timeout_s=5
            )
        for client in waiting:
            client.close()
    assert leftovers(tmp_path) == []


def test_right_digest_but_another_structure(server: Server, tmp_path: Path) -> None:
    body = b"not weights"
    server.send(body)
    with pytest.raises(DownloadError, match="damaged"):
        download(tmp_path, url=server.url, md5=hashlib.md5(body).hexdigest())
    assert leftovers(tmp_path) == []


def test_refused_trunk_is_an_error(tmp_path: Path, server: Server, official: Path) -> None:
    url, _ = broken(server, "404", official)
    asked: list[str] = []

    def refuse(reason: str) -> bool:
        asked.append(reason)
        return False

    with pytest.raises(WeightsError, match="nothing was embedded"):
        choose("auto", cache=tmp_path, say=asked.append, accept_trunk=refuse, url=url)
    assert "404" in asked[-1]


def test_damaged_cache_is_fetched_again(
    server: Server, official: Path, md5: str, tmp_path: Path
) -> None:
    server.send(official.read_bytes())
    weights = download(tmp_path, url=server.url, md5=md5)
    weights.path.write_bytes(official.read_bytes()[:-10])
    assert cached(tmp_path, md5=md5) is None
    assert [row.state for row in listing(tmp_path, md5=md5)] == ["damaged", "ready"]
    again = choose("imagenet", cache=tmp_path, say=lambda line: None, url=server.url, md5=md5)
    assert again == weights
    assert server.requests == 2


def test_stop_ends_a_download(server: Server, official: Path, md5: str, tmp_path: Path) -> None:
    server.send(official.read_bytes()[:1000], length=10**6, hang=True)
    stop = StopFlag()
    with pytest.raises(StoppedError):
        download(
            tmp_path,
            url=server.url,
            md5=md5,
            progress=lambda step, done, total: stop.set(),
            stop=stop,
        )
    assert leftovers(tmp_path) == []


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        choose("auto", cache=tmp_path / "file", say=lambda line: None, url="http://127.0.0.1:9/")


# --- listing, words and files


def test_listing(tmp_path: Path) -> None:
    imagenet, own = listing(tmp_path)
    assert (imagenet.name, imagenet.state, imagenet.sha256) == ("imagenet", "absent", None)
    assert (own.name, own.state, own.sha256) == ("trunk", "ready", TRUNK_SHA256)
    assert own.bytes == TRUNK_PATH.stat().st_size


def test_trunk_word_needs_no_network(tmp_path: Path) -> None:
    said: list[str] = []
    assert choose("trunk", cache=tmp_path, say=said.append, url="http://127.0.0.1:9/") == trunk()
    assert said == []


def test_path(official: Path, md5: str, tmp_path: Path) -> None:
    weights = choose(str(official), cache=tmp_path, say=lambda line: None)
    assert (weights.name, weights.structure) == ("file", "full")
    assert verify(official, official_md5=md5).name == "imagenet"
    copied = tmp_path / "copied.npz"
    copied.write_bytes(TRUNK_PATH.read_bytes())
    assert verify(copied) == Weights("trunk", "trunk", TRUNK_SHA256, copied)


def test_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        choose("imagnet", cache=tmp_path, say=lambda line: None)


@pytest.mark.parametrize("damage", ["shape", "nan", "missing"])
def test_file_of_another_structure(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    write_small_official(path, damage=damage)
    with pytest.raises(WeightsError):
        verify(path)


def test_files_that_are_no_weights(tmp_path: Path, official: Path) -> None:
    for name, body in {
        "text": b"hello",
        "empty": b"",
        "half.h5": official.read_bytes()[:5000],
        "half.npz": TRUNK_PATH.read_bytes()[:500_000],
    }.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(WeightsError):
            verify(tmp_path / name)


def test_damaged_trunk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = bytearray(TRUNK_PATH.read_bytes())
    damaged[5_000_000] ^= 1
    (tmp_path / "trunk.npz").write_bytes(damaged)
    monkeypatch.setattr("imgclust.weights.loader.TRUNK_PATH", tmp_path / "trunk.npz")
    with pytest.raises(WeightsError, match="damaged"):
        trunk()


def test_trunk_shapes_and_values() -> None:
    convolutions = load(trunk())
    assert [convolution.kernel.shape for convolution in convolutions] == list(KERNELS[:76])
    # q = 0 stands for `minimum`, as the manifest of the package has it for batch_normalization_1
    assert convolutions[0].beta.min() == np.float32(-1.4470329237919228)
    assert convolutions[0].variance.min() == np.float32(0.0029792252462357283)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras_own_file_is_read_to_the_right_places(tmp_path: Path) -> None:
    path = tmp_path / "keras.h5"
    model: Any = write_keras_official(path)
    convolutions = load(verify(path))

    def by_creation(prefix: str) -> list[Any]:
        # names of one model differ by a growing number only: creation order is that of numbers
        found = [layer for layer in model.layers if layer.name.startswith(prefix)]
        return sorted(found, key=lambda layer: int("0" + layer.name.removeprefix(prefix)[1:]))

    kernels, norms = by_creation("conv2d"), by_creation("batch_normalization")
    assert len(kernels) == len(norms) == len(convolutions) == 94
    for convolution, kernel, norm in zip(convolutions, kernels, norms, strict=True):
        np.testing.assert_array_equal(convolution.kernel, kernel.get_weights()[0])
        for part, expected in zip(convolution[1:], norm.get_weights(), strict=True):
            np.testing.assert_array_equal(part, expected)


# --- scripts/build_trunk.py


def load_script() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "build_trunk.py"
    spec = importlib.util.spec_from_file_location("build_trunk", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_minified_literal_is_read() -> None:
    script = (
        "!function(a){}({1:[function(a,n,i){n.exports={modelTopology:{a:-.5,b:.25,c:!0,d:!1,"
        'e:null,f:"x:.5,!0",g:[1.5,2e-3]}}},{}]},{},[1])(1)});'
    )
    assert load_script().read_model(script) == {
        "modelTopology": {
            "a": -0.5,
            "b": 0.25,
            "c": True,
            "d": False,
            "e": None,
            "f": "x:.5,!0",
            "g": [1.5, 0.002],
        }
    }


def test_packing_gives_the_same_bytes_each_time() -> None:
    pack = load_script().pack
    weights = {"b": (np.arange(6, dtype=np.uint8), 0.5, -1.0), "a": (np.ones(2, np.uint8), 1.0, 0)}
    assert pack(weights) == pack(dict(reversed(weights.items())))
