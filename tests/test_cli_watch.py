"""`watch` through the command line: its live screen, its lines, its log file."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from imgclust.cli import watch_output
from imgclust.collection import Event
from imgclust.terminal import stdio
from imgclust.terminal.screen import Screen
from tests.command_line import Run
from tests.conftest import write_picture


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a picture and a broken one; a watcher stops when both have been heard of."""
    write_picture(tmp_path / "few" / "picture.png", 1)
    (tmp_path / "few" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    heard = watch_output.Listener.__call__
    kinds: set[str] = set()

    def hear(self: watch_output.Listener, event: Event) -> None:
        heard(self, event)
        kinds.add(event.kind)
        if {"ingested", "quarantined"} <= kinds:
            heard(self, Event("trouble", "something is wrong"))
            kinds.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(watch_output.Listener, "__call__", hear)
    return tmp_path / "few"


def test_a_log_file(run: Run, few: Path, tmp_path: Path) -> None:
    assert run("watch", few, "--no-cluster", "--log-file", "auto").code == 0
    folder = tmp_path / "index" / "default" / "log"
    assert folder.stat().st_mode & 0o777 == 0o700
    said = [line.split(" ", 1)[1] for line in (folder / "watch.log").read_text().splitlines()]
    assert said[0] == f"info watching {few}"
    assert said[-1] == "info ended as asked"
    assert f"info ingested {few}/picture.png" in said
    assert "warning trouble something is wrong" in said


def test_a_log_file_of_a_pass_in_quiet(run: Run, few: Path, tmp_path: Path) -> None:
    log = tmp_path / "my.log"
    (few / "broken.jpg").unlink()
    said = run("watch", "--once", few, "-q", "--no-cluster", "--log-file", log)
    assert (said.code, said.out, said.err) == (0, "", "")
    assert log.read_text().splitlines()[-1].endswith("info done")
    assert "picture.png" in log.read_text()


def test_a_log_file_in_a_watched_folder_is_refused(run: Run, few: Path, tmp_path: Path) -> None:
    assert "lies in the watched folder" in run(
        "watch", "--once", few, "--log-file", few / "watch.log"
    ).refused(2)
    assert "cannot be written" in run(
        "watch", "--once", few, "--log-file", tmp_path / "nowhere" / "watch.log"
    ).refused(2)
    assert sorted(path.name for path in few.iterdir()) == ["broken.jpg", "picture.png"]


def test_the_end_by_an_error_is_logged(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("imgclust.collection.ingest.run", fail)
    assert run("watch", few, "--log-file", tmp_path / "my.log").code == 1
    last = (tmp_path / "my.log").read_text().splitlines()[-1]
    assert last.endswith("error ended: [Errno 5] Input/output error")


def test_a_live_screen_says_above_it_only_what_matters(
    run: Run, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "can_live", True)
    said = run("watch", few, "--no-cluster")
    assert said.code == 0
    assert not [line for line in said.out.splitlines() if line.startswith("ingested")]
    assert "trouble     something is wrong" in said.out
    assert "1 ingested" in said.out


def test_lines_where_there_is_no_terminal(run: Run, few: Path) -> None:
    said = run("watch", few, "--no-cluster")
    assert said.out.startswith(f"paths below {few}\n")
    assert said.out.count("paths below") == 1
    assert "\ningested    picture.png\n" in said.out
    assert "Ctrl-C stops" in said.err
    (few / "another.png").write_bytes((few / "picture.png").read_bytes())
    again = run("watch", few, "--once", "-v", "--no-cluster", "--full-path")
    assert "paths below" not in again.out
    assert "/few/another.png" in again.out  # perhaps cut in the middle


def test_a_watcher_whose_terminal_is_gone_ends_well(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with open(follower, "w", encoding="utf-8") as gone:
        os.close(leader)
        monkeypatch.setattr(sys, "stdout", gone)
        monkeypatch.setattr(sys, "stderr", gone)
        monkeypatch.setattr(stdio, "discard_output", lambda: os.dup2(nowhere, gone.fileno()))
        said = run("watch", few, "--no-cluster", "--log-file", tmp_path / "my.log")
    os.close(nowhere)
    assert said.code == 0
    assert (tmp_path / "my.log").read_text().splitlines()[-1].endswith("info ended as asked")
