"""Questions where nobody sits at a terminal: what a first line of standard input may say."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command_line import Run, make, runner

Feed = Callable[[bytes], int]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("questions"), ["cluster", "-k", "5", "-y"])


@pytest.fixture
def run(
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    return runner(made, capsys, monkeypatch)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A standard input that holds some bytes and whose writer stays; returns the writer's end."""
    with contextlib.ExitStack() as opened:

        def put(content: bytes) -> int:
            reader, writer = os.pipe()
            os.write(writer, content)
            monkeypatch.setattr(sys, "stdin", opened.enter_context(os.fdopen(reader)))
            opened.callback(os.close, writer)
            return writer

        yield put


def clustering(run: Run) -> int:
    number = run("--json", "status").document["clustering"]["id"]
    assert isinstance(number, int)
    return number


def cluster_into(run: Run, k: int) -> None:
    """Have k clusters that came after other ones."""
    if run("--json", "status").document["clustering"]["k"] != k:
        assert run("cluster", "-k", str(k), "-y").code == 0


CHANGES = (
    ("cluster", "-k", "5"),
    ("cluster", "--undo"),
    ("clusters", "split", "{largest}", "-k", "2"),
    ("clusters", "merge", "{largest}", "{other}"),
)


def spelled(run: Run, command: tuple[str, ...]) -> list[str]:
    rows = sorted(run("--json", "clusters").document["clusters"], key=lambda row: -row["size"])
    return [word.format(largest=rows[0]["id"], other=rows[1]["id"]) for word in command]


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
@pytest.mark.parametrize("no", [b"n\n", b" No \nmore\n", b"NO\r\n", b"n"])
def test_a_piped_no_is_obeyed(run: Run, feed: Feed, command: tuple[str, ...], no: bytes) -> None:
    cluster_into(run, 4)
    words, before = spelled(run, command), clustering(run)
    feed(no)
    said = run(*words)
    assert (said.code, said.out, said.err) == (0, "", "nothing was changed\n")
    assert clustering(run) == before


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
@pytest.mark.parametrize("answer", [b"y\n", b"  YES\n", b""])
def test_a_piped_yes_and_silence_let_what_has_a_way_back_go_ahead(
    run: Run, feed: Feed, command: tuple[str, ...], answer: bytes
) -> None:
    cluster_into(run, 6)
    words, before = spelled(run, command), clustering(run)
    feed(answer)
    assert run(*words).code == 0
    assert clustering(run) != before


@pytest.mark.parametrize(
    "answer",
    [
        b"maybe\n",
        b"\n",
        b"yes please\n",
        b"\xff\x00\x80\n",
        b"y" * 200,
        b"\0" * 60_000,
        b"y",
        b"ye",
    ],
)
@pytest.mark.parametrize("command", [("cluster", "-k", "5"), ("remove", "3")])
def test_anything_else_is_refused(
    run: Run, feed: Feed, command: tuple[str, ...], answer: bytes
) -> None:
    before = clustering(run)
    feed(answer)
    assert "pass -y when not running interactively" in run(*command).refused(2)
    assert clustering(run) == before


@pytest.mark.parametrize("answer", [b"", None])
@pytest.mark.parametrize("words", [("remove", "3"), ("collections", "delete", "default")])
def test_what_has_no_way_back_needs_an_answer(
    run: Run, feed: Feed, words: tuple[str, ...], answer: bytes | None
) -> None:
    if answer is not None:
        feed(answer)
    assert "pass -y when not running interactively" in run(*words).refused(2)
    assert "pass -y" in run("--json", *words).out
    assert run("--json", "status").document["images"] == 24


def test_a_piped_answer_decides_what_has_no_way_back(run: Run, feed: Feed) -> None:
    run("collections", "create", "paintings")
    feed(b"n\n")
    said = run("collections", "delete", "paintings")
    assert (said.code, "nothing was changed" in said.err) == (0, True)
    feed(b"y\n")
    assert run("collections", "delete", "paintings").code == 0
    names = [row["name"] for row in run("--json", "collections").document["collections"]]
    assert names == ["default"]


@pytest.mark.parametrize("option", ["-y", "--json"])
def test_input_that_is_not_asked_for_is_left_to_its_reader(
    run: Run, feed: Feed, option: str
) -> None:
    feed(b"n\nsecond\n")
    assert run("cluster", "-k", "5", option).code == 0
    assert os.read(sys.stdin.fileno(), 100) == b"n\nsecond\n"


def test_only_the_first_line_is_read(run: Run, feed: Feed) -> None:
    feed(b"y\nsecond\n")
    assert run("cluster", "-k", "5").code == 0
    assert os.read(sys.stdin.fileno(), 100) == b"second\n"


@pytest.mark.parametrize("what", ["folder", "nothing", "closed"])
def test_what_cannot_be_read_says_nothing(
    run: Run, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = os.open(tmp_path if what == "folder" else os.devnull, os.O_RDONLY)

    class Input:
        def fileno(self) -> int:
            return number

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", None if what == "closed" else Input())
    assert run("cluster", "-k", "5").code == 0
    assert run("remove", "3").code == 2
    os.close(number)
    if what == "closed":
        sys.stdin.close()  # what was opened in its place


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(
    run: Run, feed: Feed, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = clustering(run)
    feed(b"")
    silent = sys.stdin

    class Input:
        def fileno(self) -> int:  # the wait begins
            os.kill(os.getpid(), number)
            return silent.fileno()

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Input())
    said = run("cluster", "-k", "7")
    assert (said.code, said.err) == (130, "imgclust: interrupted; nothing was changed\n")
    assert clustering(run) == before
