"""The command of `watch --exec`: what it is given, and that it never holds up the watcher."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.collection import Event, event_command
from imgclust.collection.event_command import EventCommand, words_of
from imgclust.errors import UsageError
from imgclust.progress import StopFlag
from tests.command_line import Run
from tests.conftest import write_picture
from tests.driver import Process

ARRIVAL = Event("ingested", "embedded", b"/drop/caf\xe9 '$(touch x)\n.jpg", 7, 3, "the sea")


def writes(path: Path) -> list[str]:
    """A command that appends what it is given to a file."""
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    return [sys.executable, "-c", code, str(path)]


class Told:
    """A command on an empty catalog, and what was said about it."""

    def __init__(self, folder: Path, words: list[str], *, limit_s: float = 60.0) -> None:
        self.catalog = Catalog(folder / "catalog.sqlite3")
        self.said: list[str] = []
        self.command = EventCommand(
            self.catalog, words, collection="default", limit_s=limit_s, emit=self._say
        )

    def _say(self, event: Event) -> None:
        if event.kind == "trouble":
            self.said.append(event.sentence)

    def close(self, *, finish: bool = True) -> list[str]:
        self.command.close(finish=finish)
        self.catalog.close()
        return self.said


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_command_gets_one_event_a_run(tmp_path: Path) -> None:
    told = Told(tmp_path, writes(tmp_path / "got"))
    others = [Event(kind, kind, b"/x") for kind in ("scanned", "moved", "missing", "note", "held")]
    for event in (ARRIVAL, *others, Event("quarantined", "cut short", b"/drop/b.jpg")):
        told.command.hear(event)
    assert told.close() == []
    first, second = lines(tmp_path / "got")
    assert first.pop("time")
    assert first == {
        "event": "ingested",
        "path": "/drop/caf\ufffd '$(touch x)\n.jpg",
        "path_bytes": "L2Ryb3AvY2Fm6SAnJCh0b3VjaCB4KQouanBn",
        "id": 7,
        "cluster": 3,
        "cluster_name": "the sea",
        "message": "embedded",
        "collection": "default",
    }
    assert (second["event"], second["message"]) == ("quarantined", "cut short")


def test_no_shell_sees_the_command_or_the_event(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))"
    line = f"{sys.executable} -c \"{code}\" {tmp_path}/got '$(touch {tmp_path}/x)' `id` ; '*'"
    told = Told(tmp_path, words_of(line))
    told.command.hear(ARRIVAL)
    assert told.close() == []
    assert (tmp_path / "got").read_text() == repr([f"$(touch {tmp_path}/x)", "`id`", ";", "*"])
    assert {one.name for one in tmp_path.iterdir() if "catalog" not in one.name} == {"got"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("sh -c 'x", "a quotation that is not closed"),
        ("no-such-program --x", "no-such-program of --exec is not found"),
        ("/etc/passwd", "cannot be run"),
        ("/", "cannot be run"),
    ],
)
def test_what_is_no_command_is_refused(line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        words_of(line)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo first >&2; echo 'no route' >&2; exit 1", "ended with exit code 1: no route"),
        ("kill -9 $$", "ended with exit code 137"),
        ("yes >&2 & yes; exit 1", "took longer than 1.5 s and was ended"),
        ("exec 2>&-; sleep 60", "took longer than 1.5 s and was ended"),
        ("trap '' TERM; sleep 60; sleep 60", "took longer than 1.5 s and was ended"),
    ],
)
def test_failures_are_said_once_and_the_others_go_on(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_command, "_GRACE_S", 0.2)
    mine = "grep -q '\"id\": 7'"
    one = f"if {mine}; then {script}; else echo fine >> {tmp_path}/got; fi"
    told = Told(tmp_path, ["sh", "-c", one], limit_s=1.5)
    for event in (ARRIVAL, ARRIVAL, Event("ingested", "x", b"/8", 8)):
        told.command.hear(event)
    assert told.close() == [f"the command sh {said}", "the command failed 2 times"]
    assert (tmp_path / "got").read_text() == "fine\n"


def test_a_slow_command_holds_up_nobody_and_what_is_dropped_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_command, "_GRACE_S", 0.2)
    told = Told(tmp_path, ["sleep", "600"])
    began = time.monotonic()
    for _ in range(1500):
        told.command.hear(ARRIVAL)
        told.command.look()
    said = told.close(finish=False)
    assert time.monotonic() - began < 60
    assert said[0] == "the command is slower than the events: 1,000 wait, and more are dropped"
    assert len(said) == 2
    assert said[1] in {f"{number:,} events not given to the command" for number in (1499, 1500)}


def test_a_stop_ends_the_wait_for_the_rest(tmp_path: Path) -> None:
    told = Told(tmp_path, ["sleep", "600"])
    told.command.hear(ARRIVAL)
    stop = StopFlag()
    stop.set()
    told.command.close(finish=True, stop=stop)
    told.catalog.close()


DAEMON = """\
import os, sys, time
if os.fork() == 0:
    os.setsid()
    open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(600)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("ends", ["well", "badly", "late"])
def test_a_daemon_of_a_command_is_neither_waited_for_nor_ended(tmp_path: Path, ends: str) -> None:
    """It holds the pipe of the command's standard error all the time."""
    more = {"well": "", "badly": "sys.exit('no')", "late": "time.sleep(600)"}[ends]
    words = [sys.executable, "-c", DAEMON + more, str(tmp_path / "pid")]
    told = Told(tmp_path, words, limit_s=3.0 if ends == "late" else 60.0)
    told.command.hear(ARRIVAL)
    said = told.close()
    pid = int((tmp_path / "pid").read_text())
    try:
        assert is_there(pid)
        assert len(said) == (ends != "well")
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["quietly", "in spite of a signal"])
def test_a_command_in_a_session_of_its_own_is_ended(tmp_path: Path, how: str) -> None:
    deaf = "signal.signal(15, signal.SIG_IGN);" if how != "quietly" else ""
    code = (
        f"import os, signal, sys, time; os.setsid(); {deaf}"
        "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    )
    told = Told(tmp_path, [sys.executable, "-c", code, str(tmp_path / "pid")], limit_s=3.0)
    told.command.hear(ARRIVAL)
    assert told.close() == [f"the command {sys.executable} took longer than 3 s and was ended"]
    assert not is_there(int((tmp_path / "pid").read_text()))


# With a watcher


def test_a_pass_gives_arrivals_bad_files_and_new_clusters(run: Run, tmp_path: Path) -> None:
    for number in range(24):
        write_picture(tmp_path / "drop" / f"{number}.png", number, hue=number % 3)
    (tmp_path / "drop" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> '{tmp_path}/got'\n")
    hook.chmod(0o755)
    assert run("watch", "--once", tmp_path / "drop", "-q", "--exec", hook).code == 0
    got = lines(tmp_path / "got")
    clusters = [row["id"] for row in run("clusters", "--json").document["clusters"]]
    assert sorted(one["event"] for one in got) == sorted(
        ["ingested"] * 24 + ["quarantined"] + ["cluster"] * len(clusters)
    )
    assert [one["cluster"] for one in got if one["event"] == "cluster"] == clusters
    # Nothing new, no event; the command is not remembered.
    assert run("watch", "--once", "-q", "--exec", hook).code == 0
    write_picture(tmp_path / "drop" / "new.png", 99)
    assert run("watch", "--once", "-q").code == 0
    assert len(lines(tmp_path / "got")) == len(got)


def test_a_wrong_command_is_refused_before_anything_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drop").mkdir()
    said = run("watch", tmp_path / "drop", "--exec", "no-such-program x").refused(2)
    assert "no-such-program of --exec is not found" in said
    monkeypatch.setenv("IMGCLUST_WATCH_ON_EVENT", "no-such-program")
    assert "is not found" in run("watch", tmp_path / "drop").refused(2)
    assert not (tmp_path / "index" / "default").exists()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("session", [False, True])
def test_what_a_command_has_started_ends_with_the_watcher(
    number: signal.Signals, session: bool, tmp_path: Path
) -> None:
    """Also what it left in the background, and also when the watcher is killed.

    In a session of its own the command ends, and what it left in the background does not.
    """
    write_picture(tmp_path / "drop" / "1.png", 1)
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; sleep 600; true"
    words = ["sh", "-c", script]
    command = shlex.join(["setsid", *words] if session else words)
    with Process(
        "watch", tmp_path / "index", tmp_path / "drop", IMGCLUST_WATCH_ON_EVENT=command
    ) as watcher:
        assert watcher.until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        started = [int(word) for word in pids.read_text().split()]
        assert all(map(is_there, started))
        # Meanwhile arrivals come in.
        write_picture(tmp_path / "drop" / "2.png", 2)
        assert watcher.until(lambda: watcher.said.count("ingested ") == 2)
        watcher.send(number)
        watcher.wait(30)
    if session:
        assert _soon(lambda: not is_there(started[1]))
        os.kill(started[0], signal.SIGKILL)
    assert _soon(lambda: not any(map(is_there, started)))


def _soon(condition: Callable[[], bool]) -> bool:
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.1)
    return False
