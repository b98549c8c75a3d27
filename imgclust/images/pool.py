"""Decode workers: separate processes, so that a bad file costs a try and nothing else.

Each worker is a fresh interpreter on a socket pair of its own, looked after by one thread. It
inherits no lock, no TensorFlow and no `__main__`, whenever it is started. Nothing is shared
between workers: whatever happens to one touches only the path that it had. (A pool with a shared
pipe, pebble 5.2.3, was tried: the whole pool breaks when an idle worker is killed.)
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from imgclust.errors import ImgclustError
from imgclust.images.decoder import PIXEL_CAP, SIDE, THUMBNAIL_PX
from imgclust.images.reader import SIZE_CAP_BYTES, Again, Died, Outcome, claim
from imgclust.images.worker import (
    NICENESS,
    READY,
    TAKEN,
    receive_message,
    send_message,
    stat_if_any,
)

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 4 * 2**30
TASKS_PER_WORKER = 5000

_START_LIMIT_S = 60.0
_FAILED_STARTS = 3
_GRACE_S = 0.5
_END_LIMIT_S = 5.0
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from imgclust.images.worker import serve; serve(*map(int, sys.argv[2:]))"
)
_log = logging.getLogger(__name__)


class Decoder(Protocol):
    """Whatever turns paths into outcomes: the pool, or a stand-in."""

    def submit(self, path: bytes, done: Callable[[Outcome], None]) -> None:
        """Have `path` claimed and `done` called once with the result."""

    def close(self) -> None:
        """Stop without calling `done` again."""


class DecodePool:
    """Claims paths in worker processes.

    Parameters
    ----------
    workers
        Number of processes; they start at once.
    side, thumbnail_px, pixel_cap, preview_px
        See `decode`.
    size_cap_bytes, outline
        See `claim`.
    time_limit_s
        A path that takes longer, reading included, is answered with `Died`.
    memory_limit_bytes
        Limit of each worker's address space.
    tasks_per_worker
        A worker is replaced after so many paths, so that what decoders leak does not add up.
    task
        What workers run instead of `claim` with the settings above. It is sent to them by name:
        it must be importable, and not from `__main__`.
    niceness
        How much later than others workers get a processor, as for nice(1).
    """

    def __init__(
        self,
        *,
        workers: int,
        side: int = SIDE,
        thumbnail_px: int = THUMBNAIL_PX,
        time_limit_s: float = TIME_LIMIT_S,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        size_cap_bytes: int = SIZE_CAP_BYTES,
        pixel_cap: int = PIXEL_CAP,
        preview_px: int = 0,
        outline: bool = False,
        tasks_per_worker: int = TASKS_PER_WORKER,
        task: Callable[[bytes], object] | None = None,
        niceness: int = NICENESS,
    ) -> None:
        if task is None:
            task = functools.partial(
                claim,
                side=side,
                thumbnail_px=thumbnail_px,
                size_cap_bytes=size_cap_bytes,
                pixel_cap=pixel_cap,
                preview_px=preview_px,
                outline=outline,
            )
        self._time_limit_s = time_limit_s
        self._tasks_per_worker = tasks_per_worker
        self._queue: queue.SimpleQueue[tuple[bytes, Callable[[Outcome], None]] | None]
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failed_starts = 0
        self._closed = threading.Event()
        self._workers = [_Worker(task, memory_limit_bytes, niceness) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._look_after, args=(worker,), name="decode", daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def broken(self) -> bool:
        """True when workers repeatedly did not start; whoever wants to try again makes a pool."""
        return self._failed_starts >= _FAILED_STARTS * len(self._workers)

    def submit(self, path: bytes, done: Callable[[Outcome], None]) -> None:
        """Have `path` claimed; `done` is called once with the outcome, from a thread of the pool.

        The queue has no bound: the caller holds back. While `done` runs, its worker is idle.

        Raises
        ------
        ImgclustError
            After `close`, or when workers repeatedly do not start.
        """
        with self._lock:
            if self._closed.is_set():
                raise ImgclustError("the decode workers have been stopped")
            if self.broken:
                raise ImgclustError(
                    f"decode workers do not start; try {sys.executable} -c "
                    "'import imgclust.images.worker' to see why"
                )
        self._queue.put((path, done))

    def close(self) -> None:
        """Stop at once: kill the workers and forget what is queued, without calling `done`."""
        with self._lock:
            self._closed.set()
        for worker in self._workers:
            worker.close()
            self._queue.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_END_LIMIT_S)

    def _look_after(self, worker: _Worker) -> None:
        # The system's "die with your parent" means the thread that started the process, so that
        # a worker is started, and started again, by this thread, which lasts as long as the pool.
        self._started(worker)
        while (item := self._queue.get()) is not None:
            path, done = item
            outcome = None if self._closed.is_set() else self._some_outcome(worker, path)
            if outcome is None or self._closed.is_set():
                break
            try:
                done(outcome)
            except BaseException:
                _log.exception("the result of a decoded image could not be processed")
        worker.stop()

    def _started(self, worker: _Worker) -> bool:
        try:
            worker.ensure()
        except (OSError, EOFError) as error:
            worker.stop()
            if self._closed.is_set():
                return False
            _log.warning("a decode worker did not start: %s", error)
            with self._lock:
                self._failed_starts += 1
            return False
        with self._lock:
            self._failed_starts = 0
        return True

    def _some_outcome(self, worker: _Worker, path: bytes) -> Outcome:
        """An outcome whatever happens: this thread must last."""
        try:
            return self._outcome(worker, path)
        except BaseException as error:
            with contextlib.suppress(Exception):
                worker.stop()
            reason = f"the answer of its decode worker makes no sense ({type(error).__name__})"
            return Died(path, stat_if_any(path), reason)

    def _outcome(self, worker: _Worker, path: bytes) -> Outcome:
        if worker.tasks >= self._tasks_per_worker:
            worker.stop()
        for _ in range(_FAILED_STARTS):
            if not self._started(worker):
                return Again(path, "no decode worker could be started")
            if worker.give(path):
                return self._answer(worker, path)
            worker.stop()
        return Again(path, "decode workers die before they begin with it")

    def _answer(self, worker: _Worker, path: bytes) -> Outcome:
        try:
            outcome = worker.answer(self._time_limit_s)
        except TimeoutError:
            worker.stop()
            reason = f"decoding took longer than {self._time_limit_s:g} s"
            return Died(path, stat_if_any(path), reason)
        except (OSError, EOFError):
            return Died(path, stat_if_any(path), worker.stop())
        if isinstance(outcome, Died):
            # It ran out of memory, or met a fault of ours: the next path gets a fresh one.
            worker.stop()
        return outcome


class _Worker:
    """One worker process and our end of its socket; used by one thread, closed by any."""

    def __init__(
        self, task: Callable[[bytes], object], memory_limit_bytes: int, niceness: int
    ) -> None:
        self._task = task
        self._limits = memory_limit_bytes, niceness
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self.tasks = 0

    def ensure(self) -> None:
        """Start the process unless it runs; raises OSError or EOFError when it does not start."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self.stop()
        ours, theirs = socket.socketpair()
        self._channel, self.tasks = ours, 0
        with theirs, self._lock:
            if self._closed:
                raise EOFError("the pool is closed")
            self._process = _start(theirs.fileno(), self._limits)
        send_message(ours, self._task)
        if receive_message(ours, _START_LIMIT_S) != READY:
            raise EOFError("it did not say that it is ready")

    def give(self, path: bytes) -> bool:
        """Hand over one path; False when the worker was dead before it took it."""
        assert self._channel is not None
        self.tasks += 1
        try:
            send_message(self._channel, path)
            return bool(receive_message(self._channel, _START_LIMIT_S) == TAKEN)
        except (OSError, EOFError):
            return False

    def answer(self, limit_s: float) -> Outcome:
        """Wait for the result of the path that was given."""
        assert self._channel is not None
        outcome: Outcome = receive_message(self._channel, limit_s)
        return outcome

    def stop(self) -> str:
        """End the process, and say how it had ended if it had."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is None:
            return "no decode worker was there"
        try:
            # A healthy worker ends by itself now, and a dead one may not have been buried yet.
            status = process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            # One that hangs in the kernel (a lost network disk) is left to the system.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_LIMIT_S)
            return "the decode worker stopped answering"
        if status < 0:
            return f"the decode worker was killed ({signal.strsignal(-status) or -status})"
        return f"the decode worker ended with exit status {status}"

    def close(self) -> None:
        """Kill the process, now and for good; its thread notices and clears up."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()


def _start(descriptor: int, limits: tuple[int, int]) -> subprocess.Popen[bytes]:
    """Start one worker on the socket `descriptor`.

    It gets our `sys.path` and never looks into the current folder for modules. Its own process
    group keeps the terminal's Ctrl-C away from it.
    """
    folders = json.dumps([os.path.abspath(folder) for folder in sys.path])
    numbers = (descriptor, os.getpid(), *limits)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT, folders, *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        process_group=0,
        # One thread a worker: the pool's size is the parallelism. Few arenas keep memory flat.
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        },
    )
