"""What the service serves: the collections of an index folder, opened for one request each."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from imgclust import config
from imgclust.collection import Collection, PictureWorkers, Selection, StopFlag, collections_in
from imgclust.errors import ImgclustError
from imgclust.server.jobs import Jobs
from imgclust.wording import NOTE

_log = logging.getLogger(__name__)
# Collections that stay open for queries, of each name: one opens the index, others use it again.
_KEPT = 4
_LEAST_AT_ONCE = 2
# Requests that may take seconds or minutes, and are worked on at once.
_SLOW_AT_ONCE = 8
T = TypeVar("T")
P = ParamSpec("P")


def _ignore(*_: object) -> None:
    """Hear nothing."""


@dataclass
class Site:
    """The collections of an index folder, and what serves them.

    Parameters
    ----------
    index
        The index folder.
    files
        Settings, as `--config` names them.
    stop
        Set when the service ends.
    default
        The collection that is shown first.
    """

    index: Path
    files: tuple[str, ...] = ()
    stop: StopFlag = field(default_factory=StopFlag)
    default: str = "default"
    # Whether people on other machines may use it: paths that they name must be watched ones.
    remote: bool = False

    def __post_init__(self) -> None:
        self.workers = PictureWorkers()
        self.jobs = Jobs(self)
        self._kept: dict[str, list[Collection]] = {}
        self.streams = 0
        # A request that is given up keeps its thread until its work has ended.
        few = max(_LEAST_AT_ONCE, os.cpu_count() or 1)
        self._few = ThreadPoolExecutor(few, thread_name_prefix="query")
        self._slow = ThreadPoolExecutor(_SLOW_AT_ONCE, thread_name_prefix="slow")
        self._previews = ThreadPoolExecutor(_LEAST_AT_ONCE, thread_name_prefix="preview")
        # There is one network: what waits for it keeps no thread of others.
        self._sent = ThreadPoolExecutor(1, thread_name_prefix="sent")
        self._lock = threading.Lock()
        # One network for pictures that are sent in: several would take the memory of several.
        self._network_lock = threading.Lock()
        self._network: dict[str, Collection] = {}

    def names(self) -> list[str]:
        """Names of the collections."""
        return collections_in(self.index)

    def open(
        self,
        name: str,
        *,
        flags: Mapping[str, Any] | None = None,
        progress: Any = _ignore,
        stop: StopFlag | None = None,
    ) -> Collection:
        """Open a collection for one request; `flags` are settings that it changes."""
        given = dict(flags or {})
        opened = Collection.open(
            self.index,
            name,
            effective=config.load(self.files, given),
            progress=progress,
            say=functools.partial(_log.log, NOTE),
            stop=stop or self.stop,
            changing=frozenset(given),
        )
        opened.service.keep_with(self.workers)
        return opened

    def load(self, name: str) -> None:
        """Load what queries of a collection need, in a thread."""

        def work() -> None:
            try:
                with self.ready(name) as collection:
                    collection.service.load()
            except (ImgclustError, OSError) as error:  # each query says so
                _log.debug("the index of %s is not loaded now: %s", name, error)

        threading.Thread(target=work, name="load", daemon=True).start()

    def settings(self) -> config.Effective:
        """The settings, and where they come from."""
        return config.load(self.files)

    @contextlib.contextmanager
    def ready(self, name: str) -> Iterator[Collection]:
        """A collection whose index is loaded already, when one is free."""
        with self._lock:
            free = self._kept.setdefault(name, [])
            one = free.pop() if free else None
        if one is not None and not one.service.is_current():
            one.close()
            one = None
        one = one or self.open(name)
        try:
            yield one
        except BaseException:
            one.close()
            raise
        with self._lock:
            kept = len(free) < _KEPT and not self.stop.is_set()
            if kept:
                free.append(one)
        if not kept:
            one.close()

    @contextlib.contextmanager
    def with_network(self, name: str) -> Iterator[Collection]:
        """A collection that keeps its network loaded, and has pictures decoded by workers."""
        with self._network_lock:
            one = self._network.pop(name, None)
            if one is not None and not one.service.is_current():
                one.close()
                one = None
            if one is None:
                one = self.open(name)
                one.service.decode_apart(self.workers)
            try:
                yield one
            except BaseException:
                one.close()
                raise
            for other in self._network.values():  # one network at a time
                other.close()
            self._network = {name: one}

    async def few_at_once(self, work: Callable[[], T]) -> T:
        """Do work that takes a processor for long, as many at once as there are processors."""
        return await asyncio.get_running_loop().run_in_executor(self._few, work)

    async def apart(self, work: Callable[[], T]) -> T:
        """Do work that may take long in threads that short requests do not need."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, work)

    async def preview(self, work: Callable[[], T]) -> T:
        """Make a preview: it waits for a worker, and a page waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._previews, work)

    async def with_sent(self, work: Callable[[], T]) -> T:
        """Do work on pictures that were sent, one request after another."""
        return await asyncio.get_running_loop().run_in_executor(self._sent, work)

    def close(self) -> None:
        """End the jobs and workers, and close what is open."""
        for lane in (self._few, self._slow, self._previews, self._sent):
            lane.shutdown(wait=False, cancel_futures=True)
        self.jobs.close()
        self.workers.close()
        with self._lock:
            opened = [one for free in self._kept.values() for one in free]
            self._kept.clear()
        with self._network_lock:
            opened += self._network.values()
            self._network.clear()
        for one in opened:
            one.close()


def selection(since: str | None, until: str | None, camera: str | None) -> Selection | None:
    """What these choose; None without them."""
    if since is None and until is None and camera is None:
        return None
    return Selection(since, until, camera)


def slow(route: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """A route whose work may take long: it is done apart, so that no short request waits for it.

    The route has the parameter `site`.
    """

    @functools.wraps(route)
    async def called(*arguments: P.args, **options: P.kwargs) -> T:
        site = inspect.signature(route).bind(*arguments, **options).arguments["site"]
        assert isinstance(site, Site)
        return await site.apart(functools.partial(route, *arguments, **options))

    return called
