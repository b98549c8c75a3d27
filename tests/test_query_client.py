"""Queries that a running service answers for the command line, and what is left to it."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust.collection import query_client
from tests.command_line import Run
from tests.conftest import write_picture
from tests.fakes import FakeEmbedder
from tests.served import service

QUERIES = [
    "query 3 -n 4",
    "query 3 5 -n 3",
    "query 3 -n 3 --cluster 1 --copies",
    "query 3 --include-self --since 2001",
    "query asked.png -n 3",
    "query asked.png -n 3 --region 0,0,0.5,1",
    "query 3 -f",
]


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


@pytest.fixture
def index(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "asked.png", 5, hue=1)
    return tmp_path / "index"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a service answered, call by call."""
    ask, said = query_client.ask, list[bool]()

    def record(*arguments: Any) -> Any:
        found = ask(*arguments)
        said.append(found is not None)
        return found

    monkeypatch.setattr(query_client, "ask", record)
    return said


def test_a_service_answers_the_same(index: Path, run: Run, answered: list[bool]) -> None:
    forms = [query.split() for query in QUERIES]
    forms += [[*form, "--json"] for form in forms if "-f" not in form]
    before = [run(*form) for form in forms]
    assert answered == [False] * len(forms)
    answered.clear()
    with service(index):
        path = index / "default" / query_client.SOCKET
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert [run(*form) for form in forms] == before
        assert answered == [True] * len(forms)
        for wrong in ("query 999", "query 3 --cluster 999", "query nowhere.png"):
            answered.clear()
            assert run(*wrong.split()).code == 3
            assert answered == [False]
    assert not path.exists()
    assert run(*forms[0]) == before[0]


def test_the_network_of_the_service_is_used(
    index: Path, run: Run, answered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is loaded once, however many files are asked for."""
    from imgclust.collection import embedder

    loaded: list[str] = []

    def load(*_: object, **__: object) -> FakeEmbedder:
        loaded.append(threading.current_thread().name)
        return FakeEmbedder(2048)

    monkeypatch.setattr(embedder, "open_embedder", load)
    with service(index):
        for number in range(3):
            write_picture(Path(f"asked-{number}.png"), 200 + number)
            assert run("query", f"asked-{number}.png").code == 0
    assert answered == [True] * 3
    assert len([name for name in loaded if name != "imgclust-embedding"]) == 1


class Listener:
    """Something else on the socket, which answers every request with these bytes."""

    def __init__(self, folder: Path, answer: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with query_client.in_folder(folder) as address:
            self._socket.bind(address)
        self._socket.listen()
        self._answer = answer
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                channel, _ = self._socket.accept()
            except OSError:
                return
            with channel:
                channel.recv(65536)
                channel.sendall(self._answer)

    def close(self) -> None:
        self._socket.close()


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch harmed",)


@pytest.fixture(
    params=[b"", b"nonsense", pickle.dumps(Evil()), pickle.dumps({"a": 1}), pickle.dumps(None)]
)
def listener(index: Path, request: pytest.FixtureRequest) -> Iterator[Listener]:
    made = Listener(index / "default", request.param)
    yield made
    made.close()


def test_what_is_no_answer_is_left_aside(
    index: Path, listener: Listener, run: Run, answered: list[bool]
) -> None:
    assert run("query", "3").code == 0
    assert answered == [False]
    assert not Path("harmed").exists()


def test_a_socket_that_nobody_serves_is_taken_over(
    index: Path, run: Run, answered: list[bool]
) -> None:
    Listener(index / "default", b"").close()
    assert run("query", "3").code == 0
    with service(index):
        assert run("query", "3").code == 0
    assert answered == [False, True]


def test_a_service_of_another_version_is_not_asked(
    index: Path, run: Run, answered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.server import query_sockets

    monkeypatch.setattr(query_sockets, "__version__", "0.0.1")
    with service(index):
        assert run("query", "3").code == 0
    assert answered == [False]


def test_a_deep_folder_has_a_socket_too(
    index: Path, run: Run, answered: list[bool], tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    shutil.copytree(index, deep / "index", symlinks=True)
    with service(deep / "index"):
        assert run("query", "3", "--index", deep / "index").code == 0
    assert answered == [True]
    assert run("collections", "delete", "default", "-y", "--index", deep / "index").code == 0
