"""The pool: what happens to one worker touches one path, and nothing outlives its parent."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from imgclust.errors import ImgclustError
from imgclust.images.filestat import stat_of
from imgclust.images.pool import DecodePool, Decoder
from imgclust.images.reader import Again, Decoded, Died, Outcome, Skipped, Unreadable, claim
from tests import pictures
from tests.decoders import misbehaving

GOOD = pictures.encoded(pictures.quadrants(), "JPEG", quality=95)
WAIT_S = 60.0


class Asked:
    """Outcomes by path as they come in."""

    def __init__(self, pool: Decoder) -> None:
        self._pool = pool
        self._got: queue.Queue[Outcome] = queue.Queue()

    def __call__(self, *paths: bytes) -> dict[bytes, Outcome]:
        for path in paths:
            self._pool.submit(path, self._got.put)
        got = [self._got.get(timeout=WAIT_S) for _ in paths]
        return {outcome.path: outcome for outcome in got}


def pid_of(asked: Asked) -> int:
    outcome = asked(b"pid")[b"pid"]
    assert isinstance(outcome, Again)
    return int(outcome.reason)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(workers=2, task=misbehaving, memory_limit_bytes=2**29) as running:
        yield running


def placed(folder: Path, name: bytes, content: bytes = GOOD) -> bytes:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def test_outcomes_arrive_whole(tmp_path: Path) -> None:
    paths = [
        placed(tmp_path, b"a.jpg"),
        placed(tmp_path, b"\xff\n.jpg"),
        placed(tmp_path, b"bad.jpg", b"words"),
        placed(tmp_path, b"a.xmp", b"words"),
        os.fsencode(tmp_path / "absent.jpg"),
    ]
    with DecodePool(workers=2) as pool:
        got = Asked(pool)(*paths)
    here = {path: claim(path) for path in paths}
    for path in paths[:2]:
        one, other = got[path], here[path]
        assert isinstance(one, Decoded)
        assert isinstance(other, Decoded)
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.stat, one.sha256, one.thumbnail) == (other.stat, other.sha256, other.thumbnail)
    for path in paths[2:]:
        assert got[path] == here[path]
    assert [type(got[path]) for path in paths[2:]] == [Unreadable, Skipped, Again]


def test_settings_reach_the_workers(tmp_path: Path) -> None:
    good = placed(tmp_path, b"a.jpg")
    large = placed(tmp_path, b"b.jpg", pictures.encoded(pictures.quadrants(100, 60), "JPEG"))
    long = placed(tmp_path, b"c.jpg", GOOD + bytes(100_000))
    with DecodePool(
        workers=1, side=75, thumbnail_px=0, pixel_cap=5000, size_cap_bytes=50_000
    ) as pool:
        got = Asked(pool)(good, large, long)
    decoded = got[good]
    assert isinstance(decoded, Decoded)
    assert decoded.pixels.shape == (75, 75, 3)
    assert decoded.thumbnail is None
    assert "too many pixels" in getattr(got[large], "reason", "")
    assert "too large" in getattr(got[long], "reason", "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"segfault", "the decode worker was killed (Segmentation fault)"),
        (b"kill", "the decode worker was killed (Killed)"),
        (b"exit", "the decode worker ended with exit status 3"),
        (b"allocate", "it needs more memory than the limit of 512 MiB"),
        (b"grow", "it needs more memory than the limit of 512 MiB"),
        (b"fault", "decoding failed unexpectedly (IndexError)"),
    ],
)
def test_one_bad_file_costs_one_task(
    pool: DecodePool, tmp_path: Path, name: bytes, reason: str
) -> None:
    bad = placed(tmp_path, name + b".jpg")
    good = [placed(tmp_path, b"%d.jpg" % number) for number in range(8)]
    got = Asked(pool)(*good[:4], bad, *good[4:])
    assert got[bad] == Died(bad, stat_of(bad), reason)
    assert all(isinstance(got[path], Decoded) for path in good)


def test_a_hanging_file_costs_one_task(tmp_path: Path) -> None:
    bad = placed(tmp_path, b"loop.jpg")
    good = [placed(tmp_path, b"%d.jpg" % number) for number in range(4)]
    with DecodePool(workers=1, task=misbehaving, time_limit_s=3.0) as pool:
        got = Asked(pool)(*good[:2], bad, *good[2:])
    assert got[bad] == Died(bad, stat_of(bad), "decoding took longer than 3 s")
    assert all(isinstance(got[path], Decoded) for path in good)


def test_a_worker_killed_while_idle_costs_nothing(pool: DecodePool, tmp_path: Path) -> None:
    asked = Asked(pool)
    for _ in range(3):
        os.kill(pid_of(asked), signal.SIGKILL)
        names = [placed(tmp_path, b"%d.jpg" % number) for number in range(4)]
        assert all(isinstance(one, Decoded) for one in asked(*names).values())


def test_signals_of_a_terminal_or_a_service_manager_do_not_end_workers(pool: DecodePool) -> None:
    asked = Asked(pool)
    pids = {pid_of(asked) for _ in range(20)}
    for pid in pids:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
            os.kill(pid, number)
        assert os.getpgid(pid) != os.getpgid(0)
    assert pid_of(asked) in pids


def test_workers_are_replaced_after_a_number_of_tasks() -> None:
    with DecodePool(workers=1, task=misbehaving, tasks_per_worker=2) as pool:
        asked = Asked(pool)
        pids = [pid_of(asked) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert not any(alive(pid) for pid in pids)


def test_workers_have_neither_tensorflow_nor_this_program(pool: DecodePool) -> None:
    outcome = Asked(pool)(b"modules")[b"modules"]
    assert isinstance(outcome, Again)
    modules = set(outcome.reason.split(","))
    assert "PIL.JpegImagePlugin" in modules
    assert modules.isdisjoint({"tensorflow", "faiss", "apsw", "sklearn"})


def alive(pid: int) -> bool:
    """Whether the process runs (one that is dead and not yet buried does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(pids: list[int]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.01)
    return False


_PLAIN = """
import queue, sys
from imgclust.images.pool import DecodePool
from tests.decoders import misbehaving
pool = DecodePool(workers=2, task=misbehaving)
got = queue.Queue()
pids = set()
while len(pids) < 2:
    pool.submit(b"pid", got.put)
    pool.submit(b"pid", got.put)
    pids |= {got.get().reason, got.get().reason}
"""


def checkout_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def test_no_worker_survives_a_killed_parent() -> None:
    # The workers are in the middle of a task that never ends.
    script = _PLAIN + "pool.submit(b'loop', got.put); pool.submit(b'loop', got.put)\n"
    script += "print(*pids, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=checkout_path(),
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        parent.kill()
    assert ended(pids)


@pytest.mark.parametrize("way", ["script", "command", "module", "standard input"])
def test_no_main_guard_is_needed_and_nobody_has_to_close(tmp_path: Path, way: str) -> None:
    script = textwrap.dedent(_PLAIN) + "print(*pids)\n"
    (tmp_path / "plain.py").write_text(script)
    # A worker that looked for modules in the current folder would fall over this one.
    (tmp_path / "PIL.py").write_text("raise SystemExit('wrong PIL')")
    arguments = {
        "script": ["plain.py"],
        "command": ["-P", "-c", script],
        "module": ["-P", "-c", "import runpy; runpy.run_path('plain.py', run_name='__main__')"],
        "standard input": ["-P", "-"],
    }[way]
    if way == "script":
        (tmp_path / "PIL.py").unlink()
    done = subprocess.run(
        [sys.executable, *arguments],
        input=script if way == "standard input" else "",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=checkout_path(),
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ended([int(word) for word in done.stdout.split()])


def test_closing_stops_at_once_and_says_nothing_more(tmp_path: Path) -> None:
    got: list[Outcome] = []
    pool = DecodePool(workers=1, task=misbehaving)
    pid = pid_of(Asked(pool))
    for _ in range(3):
        pool.submit(b"loop", got.append)
    pool.close()
    pool.close()
    assert got == []
    assert ended([pid])
    with pytest.raises(ImgclustError, match="have been stopped"):
        pool.submit(b"pid", got.append)


def test_closing_before_the_workers_are_up() -> None:
    before = threading.active_count()
    for _ in range(3):
        DecodePool(workers=2).close()
    assert threading.active_count() == before


def test_a_failing_callback_is_logged_and_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = threading.Event()

    def failing(_: Outcome) -> None:
        called.set()
        raise ValueError("not mine")

    with DecodePool(workers=1, task=misbehaving) as pool:
        before = pid_of(Asked(pool))
        pool.submit(b"pid", failing)
        assert called.wait(WAIT_S)
        assert pid_of(Asked(pool)) == before
    assert "could not be processed" in caplog.text


def test_workers_that_cannot_start_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    def local(path: bytes) -> Outcome:
        return Again(path, "")

    # A function of a module that no worker can import.
    local.__module__, local.__qualname__, local.__name__ = "lost", "gone", "gone"
    module = type(sys)("lost")
    module.gone = local  # type: ignore[attr-defined]
    sys.modules["lost"] = module
    try:
        with DecodePool(workers=1, task=local) as pool:
            asked = Asked(pool)
            # The first try is made before anything is asked.
            for _ in range(2):
                assert asked(b"a") == {b"a": Again(b"a", "no decode worker could be started")}
            with pytest.raises(ImgclustError, match="do not start"):
                asked(b"a")
    finally:
        del sys.modules["lost"]
    assert "did not start" in caplog.text


def test_a_task_can_carry_settings(tmp_path: Path) -> None:
    path = placed(tmp_path, b"a.jpg")
    task: Callable[[bytes], Outcome] = functools.partial(claim, side=31)
    with DecodePool(workers=1, task=task) as pool:
        got = Asked(pool)(path)[path]
    assert isinstance(got, Decoded)
    assert got.pixels.shape == (31, 31, 3)


def test_descriptors_and_threads_are_given_back() -> None:
    def used() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    with contextlib.closing(DecodePool(workers=1, task=misbehaving)) as first:
        pid_of(Asked(first))
    before = used()
    for _ in range(2):
        with DecodePool(workers=2, task=misbehaving) as pool:
            Asked(pool)(b"segfault", b"pid")
    assert used() == before
