"""The command that a watcher runs on events (`watch --exec`), beside its work and never before it.

Each event is given at most once: after its commit it joins a queue in memory, and a thread of its
own runs the command for one after another. What a full queue, a failure or the end of the watcher
leaves out is counted and said, and not repeated.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from imgclust.catalog.catalog import Catalog
from imgclust.collection.json_documents import document, dumps
from imgclust.errors import UsageError
from imgclust.ingest.events import Emit, Event
from imgclust.progress import StopFlag
from imgclust.wording import counted, one_line, printable

_KINDS = {"ingested", "reused", "replaced", "quarantined", "cluster"}
# Events that wait for the command at most; beyond that they are dropped.
_MOST = 1000
# How often it is looked whether a run is over, and how long one that is ended may take for it.
_LOOK_S = 0.1
_GRACE_S = 2.0
# Characters of what a failed run wrote to standard error, and different failures that are said.
_TAIL = 200
_FAILURES = 10

# Starts the command without a shell, so that nothing in its words is interpreted, and ends it with
# all that it has started when the watcher is gone: then nobody holds the other end of the pipe. The
# command itself is ended also in a session of its own; what it starts in another one is not ours.
_SHIM = """\
import _thread, os, signal, sys, time
held = int(sys.argv[1])
def end(number):
    try:
        os.kill(started, number)
    except ProcessLookupError:
        pass
def end_for_good(wait_s):
    time.sleep(wait_s)
    end(9)
def end_soon(number, frame):
    end(15)
    _thread.start_new_thread(end_for_good, (1.0,))
def end_with_the_watcher():
    os.read(held, 1)
    end(9)
    os.killpg(0, 9)
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
try:
    closed = [(os.POSIX_SPAWN_CLOSE, held)]
    started = os.posix_spawnp(
        sys.argv[2], sys.argv[2:], os.environ, file_actions=closed, setsigmask=[]
    )
except OSError as error:
    sys.exit(f"it cannot be started: {error.strerror}")
signal.signal(15, end_soon)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [15])
_thread.start_new_thread(end_with_the_watcher, ())
code = os.waitstatus_to_exitcode(os.waitpid(started, 0)[1])
sys.exit(code if code >= 0 else 128 - code)
"""


def words_of(command: str) -> list[str]:
    """The words of a command, split as a shell does it; no shell runs them.

    Raises
    ------
    UsageError
        When a quotation is not closed, or the program is not there.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        raise UsageError(f"the command {command!r} has a quotation that is not closed") from None
    if not words:
        raise UsageError("the command of --exec is empty; name a program")
    if shutil.which(words[0]) is None:
        raise UsageError(
            f"the program {printable(words[0])} of --exec is not found, or cannot be run; give its "
            "path, or for a line of a shell sh -c '...'"
        )
    return words


class EventCommand:
    """Runs a command for events, in a thread of its own.

    Parameters
    ----------
    words
        The command and its arguments.
    collection
        Name of the collection, for the events.
    limit_s
        Seconds that one run may take; then it is ended.
    emit
        Hears of failures, when `look` is called.
    """

    def __init__(
        self, catalog: Catalog, words: Sequence[str], *, collection: str, limit_s: float, emit: Emit
    ) -> None:
        self._catalog = catalog
        self._words = [*words]
        self._collection = collection
        self._limit_s = limit_s
        self._emit = emit
        self._waiting: queue.Queue[str] = queue.Queue(_MOST)
        self._remarks: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._said: set[str] = set()
        self._failed = self._dropped = 0
        self._over = threading.Event()
        self._held, self._holds = os.pipe()
        self._clustering = catalog.clusterings.current_id()
        self._clusters = self._cluster_ids()
        self._thread = threading.Thread(target=self._run, name="imgclust-exec", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Pass an event on, and have the command run for it where it is one of those."""
        self._emit(event)
        self._give(event)

    def look(self) -> None:
        """Say what went wrong, and give the command the clusters that are new since the last time.

        Called by the thread that owns the catalog.
        """
        while not self._remarks.empty():
            self._emit(Event("trouble", self._remarks.get()))
        current = self._catalog.clusterings.current_id()
        if current != self._clustering:
            self._clustering = current
            found = self._cluster_ids()
            for cluster in sorted(found - self._clusters):
                self._give(Event("cluster", f"cluster {cluster} is new", cluster=cluster))
            self._clusters |= found

    def close(self, *, finish: bool = False, stop: StopFlag | None = None) -> None:
        """End the run that is on, or (`finish`) first run the command for all that waits."""
        if not self._thread.is_alive():
            return
        self.look()
        stop = stop or StopFlag()
        while finish and self._waiting.unfinished_tasks and not stop.is_set():
            stop.wait(_LOOK_S)
        self._over.set()
        self._thread.join()
        os.close(self._held)
        os.close(self._holds)
        self.look()
        left = self._dropped + self._waiting.qsize()
        if left:
            self._emit(Event("trouble", f"{counted(left, 'event')} not given to the command"))
        if self._failed > 1:
            self._emit(Event("trouble", f"the command failed {self._failed:,} times"))

    def _cluster_ids(self) -> set[int]:
        number = self._clustering
        return set() if number is None else set(self._catalog.clusterings.cluster_ids(number))

    def _give(self, event: Event) -> None:
        if event.kind not in _KINDS:
            return
        written = document(event, time=time.time()) | {"collection": self._collection}
        try:
            self._waiting.put_nowait(dumps(written))
        except queue.Full:
            if not self._dropped:
                self._remarks.put(
                    f"the command is slower than the events: {_MOST:,} wait, and more are dropped"
                )
            self._dropped += 1

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                event = self._waiting.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            try:
                failure = self._run_for(event)
            except Exception as error:  # no event ends the thread
                failure = f"cannot be run: {error}"
            if failure and not self._over.is_set():
                self._failed += 1
                if failure not in self._said and len(self._said) < _FAILURES:
                    self._said.add(failure)
                    self._remarks.put(f"the command {printable(self._words[0])} {failure}")
            self._waiting.task_done()

    def _run_for(self, event: str) -> str:
        """Run the command for an event; returns what went wrong, empty when nothing did."""
        with tempfile.TemporaryFile() as given:
            given.write(f"{event}\n".encode())
            given.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SHIM, str(self._held), *self._words],
                pass_fds=[self._held],
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        assert process.stderr is not None
        ends = time.monotonic() + self._limit_s
        tail = b""
        with process.stderr as errors:
            while not _exited(process) and not self._over.is_set() and time.monotonic() < ends:
                tail = (tail + _written(errors.fileno(), _LOOK_S))[-4 * _TAIL :]
            in_time = _exited(process)
            _end(process)
            tail += _written(errors.fileno(), 0.0)
        if not in_time:
            return f"took longer than {self._limit_s:g} s and was ended"
        if process.returncode == 0:
            return ""
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        said = f": {one_line(lines[-1])[-_TAIL:]}" if lines else ""
        return f"ended with exit code {process.returncode}{said}"


def _written(descriptor: int, wait_s: float) -> bytes:
    """What can be read after at most so long."""
    ready, _, _ = select.select([descriptor], [], [], wait_s)
    found = os.read(descriptor, 65536) if ready else b""
    if ready and not found:  # the other end is closed, and the command still runs
        time.sleep(wait_s / 10)
    return found


def _exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; its number stays taken until it is waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command, and whatever it has started that is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
