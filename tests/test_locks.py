from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgclust.errors import LockedError
from imgclust.locks import FileLock, is_locked

HOLD = """
import sys
from pathlib import Path
from imgclust.locks import FileLock
FileLock(Path(sys.argv[1]), purpose="ingesting into").acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "ingest.lock"
    lock = FileLock(path, purpose="ingesting into")
    with another_holder(path) as holder:
        with pytest.raises(LockedError) as caught:
            lock.acquire()
        assert str(caught.value) == (
            f"another process (process {holder.pid}) is ingesting into this collection; "
            "wait for it or stop it"
        )
        assert caught.value.exit_code == 4
        assert not lock.held
        assert is_locked(path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_holder_frees_it(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "ingest.lock"
    with another_holder(path) as holder:
        holder.send_signal(how)
        holder.wait()
        assert not is_locked(path)
        with FileLock(path, purpose="ingesting into") as lock:
            assert lock.held
            assert path.read_text() == str(os.getpid())


def test_waiting_for_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "links.lock"
    first = FileLock(path, purpose="linking")
    first.acquire()
    got = threading.Event()

    def wait_for_it() -> None:
        with FileLock(path, purpose="linking", wait_s=60):
            got.set()

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()
    assert not got.is_set()
    first.release()
    waiter.join(60)
    assert got.is_set()


def test_asking_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`is_locked` tries the lock for a moment; who comes just then gets it a little later."""
    path = tmp_path / "ingest.lock"
    asking = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_EX)
    monkeypatch.setattr("imgclust.locks.time.sleep", lambda seconds: os.close(asking))
    with FileLock(path, purpose="ingesting into") as lock:
        assert lock.held


def test_released_and_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    assert not is_locked(path)
    lock = FileLock(path, purpose="clustering")
    lock.release()
    for _ in range(2):
        with lock:
            assert is_locked(path)
        assert not is_locked(path)
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    path = tmp_path / "ingest.lock"
    lock = FileLock(path, purpose="ingesting into")
    lock.acquire()
    child = subprocess.Popen(
        [sys.executable, "-c", "print('runs', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"runs\n"
        lock.release()
        assert not is_locked(path)
    finally:
        child.communicate(b"\n")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_file_that_is_removed_meanwhile_gives_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    path = tmp_path / "a.lock"
    plain = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        plain(descriptor, operation)
        path.unlink()
        if replaced:
            path.touch()

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = FileLock(path, purpose="testing")
    with pytest.raises(LockedError, match="deleted or renamed"):
        lock.acquire()
    assert not lock.held
