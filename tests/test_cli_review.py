"""`clusters review`: answers on a terminal and on standard input, stored at once."""

from __future__ import annotations

import contextlib
import csv
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust.cli.context import Call
from tests.command_line import Run, make, runner

Feed = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    call = runner(make(tmp_path), capsys, monkeypatch)
    assert call("cluster", "-k", "4", "-y").code == 0
    return call


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A standard input that holds some bytes and ends; with `stays` its writer stays."""
    with contextlib.ExitStack() as opened:

        def put(content: bytes, *, stays: bool = False) -> int:
            reader, writer = os.pipe()
            os.write(writer, content)
            monkeypatch.setattr(sys, "stdin", opened.enter_context(os.fdopen(reader)))
            if stays:
                opened.callback(os.close, writer)
            else:
                os.close(writer)
            return writer

        yield put


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Someone at a terminal who gives these answers; returns the questions."""

    def sits(*answers: str | type[BaseException] | None) -> list[str]:
        asked: list[str] = []
        left = list(answers)

        def reply(self: Call, question: str) -> str | None:
            asked.append(question)
            said = left.pop(0)
            if isinstance(said, type):
                raise said
            return said

        monkeypatch.setattr("imgclust.terminal.screen.Screen.can_ask", True)
        monkeypatch.setattr(Call, "reply", reply)
        return asked

    return sits


def stored(run: Run) -> list[str]:
    return [row["kind"] for row in run("--json", "clusters", "corrections").document["corrections"]]


def pairs(run: Run, *options: str) -> list[set[int]]:
    asked = run("--json", "clusters", "review", *options).document["questions"]
    return [{one["image"]["id"], one["other"]["id"]} for one in asked]


def test_a_dry_run_and_json_list_pairs_and_read_nothing(run: Run, feed: Feed) -> None:
    feed(b"y\ny\n")
    said = run("clusters", "review", "--dry-run", "-n", "2")
    assert (said.code, said.err) == (0, "")
    assert "2 pairs to ask about; so far 0 are together and 0 apart" in said.out
    document: dict[str, Any] = run("--json", "clusters", "review", "-n", "2").document
    assert len(document["questions"]) == 2
    assert set(document["questions"][0]["image"]) == {"id", "path", "cluster", "name"}
    assert stored(run) == []
    assert sys.stdin.readline() == "y\n"


def test_lines_of_standard_input_answer(run: Run, feed: Feed) -> None:
    first = pairs(run, "-n", "1")[0]
    feed(b"y\nskip\nNO\nquit\ny\n")
    said = run("clusters", "review")
    assert (said.code, said.err) == (0, "")
    assert "2 answers kept: 1 together, 1 apart" in said.out
    assert stored(run) == ["together", "apart"]
    assert first not in pairs(run, "-n", "100")
    assert sys.stdin.readline() == "y\n"


@pytest.mark.parametrize("rest", [b"", b"perhaps\n", b"\n"])
def test_answers_before_the_end_or_nonsense_are_kept(run: Run, feed: Feed, rest: bytes) -> None:
    feed(b"n\n" + rest)
    said = run("clusters", "review")
    assert stored(run) == ["apart"]
    assert "1 answer kept" in said.out
    assert said.code == (2 if rest else 0)
    assert ("is not an answer; use y, n, skip or quit" in said.err) == bool(rest)
    assert ("the input has ended; 19 questions of those asked for not" in said.out) != bool(rest)


def test_an_answer_that_comes_late_is_waited_for(
    run: Run, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = feed(b"y\n", stays=True)
    later = iter([b"n", b"\n", b"y\nquit\n"])
    waited = 0
    real = select.poll

    class Slow:
        """An input that has nothing 40 times, which is two seconds, before each of its parts."""

        def __init__(self) -> None:
            self._real = real()

        def register(self, *what: int) -> None:
            self._real.register(*what)

        def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
            nonlocal waited
            found = self._real.poll(0)
            if not found:
                waited += 1
                if waited % 40 == 0:
                    os.write(writer, next(later))
            return found

    monkeypatch.setattr("imgclust.cli.checks.select.poll", Slow)
    said = run("clusters", "review")
    assert (said.code, stored(run)) == (0, ["together", "apart", "together"])
    assert waited >= 120


def test_what_is_left_of_questions_and_of_answers_is_said(run: Run, feed: Feed) -> None:
    feed(b"n\ny")  # half a line at the end is an answer
    said = run("clusters", "review", "-n", "5")
    assert stored(run) == ["apart", "together"]
    assert said.out.count("file:///") == 6
    assert "the input has ended; 3 questions of those asked for not answered" in said.out
    feed(b"y\n" * 3)
    said = run("clusters", "review", "-n", "2")
    assert said.code == 0
    assert "more answers follow on standard input; they are not read" in said.err
    feed(b"y\n" * 2)
    assert "more answers" not in run("clusters", "review", "-n", "2").err
    before = stored(run)
    feed(b"y\n")
    said = run("--json", "clusters", "review", "-n", "1")
    assert (said.code, stored(run)) == (0, before)
    assert "--json lists the pairs; answers on standard input are not read" in said.err
    feed(b"")
    assert run("--json", "clusters", "review", "-n", "1").err == ""


def test_a_no_in_one_cluster_says_what_to_do_and_ends_the_review(run: Run, feed: Feed) -> None:
    assert run("cluster", "-k", "1", "-y").code == 0
    assert run("clusters", "together", "1", "2").code == 0
    feed(b"n\nn\nn\n")
    said = run("clusters", "review")
    assert said.code == 2
    assert "apart: not possible in one cluster; make more with imgclust cluster -k 2" in said.err
    assert "--remove" not in said.err
    assert stored(run) == ["together"]


def test_nobody_who_sees_no_question_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    try:
        with os.fdopen(writer) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            refused = run("clusters", "review").refused(2)
        assert "standard error is not a terminal" in refused
    finally:
        os.close(reader)


def test_images_are_kept_together_and_apart_by_commands(run: Run) -> None:
    together = run("--json", "clusters", "together", "1", "2", "3", "--dry-run").document
    assert (together["kind"], together["dry_run"], stored(run)) == ("together", True, [])
    done = run("--json", "clusters", "together", "1", "2", "3").document
    assert [(one["image"], one["other"]) for one in done["answers"]] == [(1, 2), (1, 3)]
    assert "stay together; it was said before" in run("clusters", "together", "2", "1").out
    assert run("clusters", "apart", "1", "4").code == 0
    assert stored(run) == ["together", "together", "apart"]
    rows = csv.DictReader(run("export", "--format", "csv", "--out", "-").out.splitlines())
    home = {row["id"]: row["cluster"] for row in rows}
    assert home["1"] == home["2"] == home["3"] != home["4"]


def test_wrong_pairs_are_refused_and_change_nothing(run: Run) -> None:
    run("clusters", "together", "1", "2", "3")
    before = stored(run)
    for words, code, why in (
        ("together 5", 2, "that is one image; name two images that differ"),
        ("apart 5 5", 2, "name two images that differ"),
        ("apart 1 5 6", 2, "3 images are named; two can be kept apart at a time"),
        ("together 1 999", 3, "999"),
        ("apart 2 3", 2, "apart contradicts corrections 1: image 1 and image 2 together; 2: "),
        ("together 1 -0", 2, "-0 goes with -"),
    ):
        assert why in run("clusters", *words.split()).refused(code)
    assert stored(run) == before


def test_what_moves_similar_images_is_an_option_or_a_command(run: Run) -> None:
    cluster = run("--json", "clusters", "new", "dunes", "1", "--dry-run").document["cluster"]
    said = run("clusters", "new", "dunes", "1").out
    assert (
        f"look like this: imgclust clusters move IMAGE... --to {cluster} --similar moves " in said
    )
    elsewhere = run("clusters", "move", "2", "--to", "dunes", "--dry-run").out
    assert "--similar moves" in elsewhere
    assert "imgclust clusters move IMAGE" not in elsewhere
