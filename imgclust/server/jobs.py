"""Jobs: long work in a thread of its own, one at a time for a collection; results are kept."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgclust.collection import Collection, StopFlag
from imgclust.collection.json_documents import Document, document, error_document
from imgclust.errors import ImgclustError, LockedError, StoppedError, reason_of

if TYPE_CHECKING:
    from imgclust.server.site import Site

_log = logging.getLogger(__name__)
# How long the end of the service waits for jobs to stop.
_GRACE_S = 8.0
# What tells this process's jobs from those of one that has died.
_PROCESS = f"{os.getpid()}-{secrets.token_hex(4)}"
_LOST = error_document("interrupted", "the service ended while this job ran; start it again")

Work = Callable[[Collection], Document]


@dataclass
class Running:
    """A job that runs."""

    id: int
    command: str
    stop: StopFlag = field(default_factory=StopFlag)
    progress: Document = field(default_factory=lambda: {"step": "", "done": 0, "total": None})
    thread: threading.Thread | None = None

    def hear(self, step: str, done: int, total: int | None) -> None:
        """Note how far it is."""
        self.progress = {"step": step, "done": done, "total": total}


class Jobs:
    """The jobs of all collections; may be used by several threads.

    Attributes
    ----------
    ended
        Called with command, state and seconds when a job has ended.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self.ended: Callable[[str, str, float], None] = lambda *_: None

    def start(
        self,
        name: str,
        command: str,
        arguments: Mapping[str, Any],
        work: Work,
        *,
        flags: Mapping[str, Any] | None = None,
    ) -> Document:
        """Start a job; returns its document.

        Parameters
        ----------
        name
            The collection.
        work
            Called with the open collection in a thread; returns the result's document.
        flags
            Settings that the work changes.

        Raises
        ------
        LockedError
            When a job of the collection runs already.
        NothingThereError
            When there is no such collection.
        """
        with self._lock:
            other = self._running.get(name)
            if other is not None:
                raise LockedError(
                    f"job {other.id} ({other.command}) of this collection still runs; wait for "
                    "it or cancel it"
                )
            if self._site.stop.is_set():
                raise StoppedError("the service is ending")
            with self._site.open(name) as collection:
                number = collection.service.begin_job(command, dict(arguments), process=_PROCESS)
            job = Running(number, command)
            self._running[name] = job
        job.thread = threading.Thread(
            target=self._run, args=(name, job, work, flags), name=f"job-{number}", daemon=True
        )
        job.thread.start()
        return self.document(name, number)

    def _run(self, name: str, job: Running, work: Work, flags: Mapping[str, Any] | None) -> None:
        began = time.monotonic()
        try:
            with self._site.open(name, flags=flags, progress=job.hear, stop=job.stop) as collection:
                found, state = work(collection), "done"
        except StoppedError as error:
            found, state = error_document(error.code, str(error)), "cancelled"
        except ImgclustError as error:
            found, state = error_document(error.code, str(error)), "failed"
        except OSError as error:
            found, state = error_document("storage", reason_of(error)), "failed"
        except Exception as error:
            _log.exception("job %s (%s) failed", job.id, job.command)
            found = error_document("fault", f"internal error: {type(error).__name__}")
            state = "failed"
        try:
            with self._site.open(name) as collection:
                collection.service.end_job(job.id, state, found)
        except (ImgclustError, OSError) as error:
            _log.warning("the result of job %s cannot be kept: %s", job.id, error)
        finally:
            with self._lock:
                del self._running[name]
        self.ended(job.command, state, time.monotonic() - began)

    def cancel(self, name: str, number: int) -> Document:
        """Ask a job to stop; one that has ended stays as it is.

        Raises
        ------
        NothingThereError
            When it is not known.
        """
        found = self.document(name, number)
        with self._lock:
            job = self._running.get(name)
            if job is not None and job.id == number:
                job.stop.set()
        return found

    def document(self, name: str, number: int) -> Document:
        """One job, with its progress while it runs.

        Raises
        ------
        NothingThereError
            When it is not known.
        """
        with self._site.open(name) as collection:
            stored = collection.service.job(number)
        return self._shown(name, document(stored))

    def documents(self, name: str) -> list[Document]:
        """All jobs that are kept, newest first."""
        with self._site.open(name) as collection:
            stored = collection.service.jobs()
        return [self._shown(name, document(one)) for one in stored]

    def _shown(self, name: str, stored: Document) -> Document:
        job = self._running.get(name)
        mine = job is not None and job.id == stored["id"]
        progress = job.progress if job is not None and mine else None
        if stored["state"] == "running" and not mine and self._is_lost(name, stored["id"]):
            stored |= {"state": "failed", "result": _LOST}
        return stored | {"progress": progress}

    def _is_lost(self, name: str, number: int) -> bool:
        """True for a job whose process is not there any more; it may have ended just now."""
        with self._site.open(name) as collection:
            stored = collection.service.job(number)
        if stored.state != "running":
            return False
        if stored.process == _PROCESS:
            return False
        pid = stored.process.partition("-")[0]
        try:
            os.kill(int(pid), 0)
        except (OSError, ValueError):
            return True
        return int(pid) == os.getpid()

    def close(self) -> None:
        """Ask all jobs to stop, and wait for them some seconds."""
        with self._lock:
            running = list(self._running.values())
        for job in running:
            job.stop.set()
        until = time.monotonic() + _GRACE_S
        for job in running:
            if job.thread is not None:
                job.thread.join(max(0.0, until - time.monotonic()))
