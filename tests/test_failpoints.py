from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust import failpoints
from imgclust.errors import UsageError
from imgclust.failpoints import arm, passing


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def in_a_process(armed: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from imgclust.failpoints import passing\n{code}"],
        env={"IMGCLUST_FAILPOINTS": armed},
        capture_output=True,
        text=True,
    )


def test_nothing_happens_unarmed() -> None:
    for name in failpoints.POINTS:
        passing(name)


@pytest.mark.parametrize(("action", "code"), [("eio", errno.EIO), ("enospc", errno.ENOSPC)])
def test_errors_of_the_disk(action: str, code: int) -> None:
    arm(f"commit.before={action}")
    passing("commit.after")
    with pytest.raises(OSError, match=r"failpoint commit\.before") as caught:
        passing("commit.before")
    assert caught.value.errno == code


def test_a_number_fires_once_at_that_passage() -> None:
    arm("links.done=eio@3")
    passing("links.done")
    passing("links.done")
    with pytest.raises(OSError, match="links"):
        passing("links.done")
    passing("links.done")


def test_several_points() -> None:
    arm("read=eio; decoded=enospc")
    with pytest.raises(OSError, match="read"):
        passing("read")
    with pytest.raises(OSError, match="decoded"):
        passing("decoded")


def test_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("imgclust.failpoints.time.sleep", slept.append)
    arm("embedded=sleep:0.25;claimed=sleep")
    passing("embedded")
    passing("claimed")
    assert slept == [0.25, 0.1]


def test_crash_is_a_kill_by_the_variable() -> None:
    ended = in_a_process("embedded=crash@2", "passing('embedded'); print('once', flush=True)\n" * 2)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "once\n"


def test_an_unknown_name_is_an_error_once_anything_is_armed() -> None:
    arm("read=eio")
    with pytest.raises(KeyError, match="no failpoint is called 'raed'"):
        passing("raed")


@pytest.mark.parametrize(
    "text", ["raed=eio", "read=explode", "read", "read=eio@x", "read=sleep:long"]
)
def test_wrong_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="IMGCLUST_FAILPOINTS"):
        arm(text)


def test_every_point_stands_somewhere() -> None:
    """A point that no code passes would let a kill test believe that it had killed there."""
    package = Path(failpoints.__file__).parent
    sources = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))
    passed = set(re.findall(r'\bpassing\("([a-z.]+)"\)', sources))
    assert passed == failpoints.POINTS
