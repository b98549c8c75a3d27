"""Health: whether the watcher turns, and whether catalog, index and network agree."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgclust.collection import Monitor
from imgclust.errors import ImgclustError, reason_of
from imgclust.wording import offline

if TYPE_CHECKING:
    from imgclust.server.site import Site

# Seconds after which a loop without a turn hangs, a network with one batch, and a start, which may
# have an index to load or to make.
_TURN_S, _BATCH_S, _START_S = 60.0, 300.0, 1800.0
# How long an answer is given again.
_FRESH_S = 2.0


@dataclass(frozen=True)
class Readiness:
    """Whether the service works: `troubles` say why not, `remarks` what a person should know."""

    troubles: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.troubles


class WatcherState(Monitor):
    """What is known of the watcher's thread; written by it, read by others.

    Parameters
    ----------
    took
        Told of the time that stages take.
    """

    def __init__(
        self,
        took: Callable[[str, float], None] = lambda *_: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._took = took
        self._clock = clock
        self._begun = clock()
        self._turned: float | None = None
        self._waiting_s = 0.0
        # Why the watcher waits, and why it has ended.
        self.paused = ""
        self.ended: str | None = None
        # False where another process watches, or nothing is watched.
        self.wanted = False

    def turn(self, waiting_s: float) -> None:
        self._turned, self._waiting_s, self.paused = self._clock(), waiting_s, ""

    def pause(self, reason: str) -> None:
        self._turned, self.paused = self._clock(), reason

    def took(self, stage: str, seconds: float) -> None:
        self._took(stage, seconds)

    def begin(self) -> None:
        """The watcher starts, or starts again."""
        self._begun, self._turned, self._waiting_s = self._clock(), None, 0.0
        self.paused, self.ended, self.wanted = "", None, True

    def hangs(self) -> str:
        """Why the process should be started again; empty where it should not."""
        now = self._clock()
        if not self.wanted or self.ended is not None or self.paused:
            return ""
        if self._turned is None:
            late = now - self._begun > _START_S
            return "the watcher has not begun its first turn" if late else ""
        if now - self._turned > _TURN_S:
            return f"the watcher has not turned for {now - self._turned:.0f} s"
        if self._waiting_s > _BATCH_S:
            return f"the network has had one batch for {self._waiting_s:.0f} s"
        return ""

    def trouble(self) -> str:
        """Why the watcher does not work now; empty where it does."""
        if not self.wanted:
            return ""
        if self.ended is not None:
            return f"the watcher has ended: {self.ended}"
        if self.paused:
            return f"the watcher waits: {self.paused}"
        return self.hangs()


class Health:
    """The health of the service; may be asked by several threads."""

    def __init__(
        self,
        site: Site,
        watcher: WatcherState,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self.watcher = watcher
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, Readiness] | None = None

    def hangs(self) -> str:
        """Why the process should be started again; empty where it should not."""
        return self.watcher.hangs()

    def readiness(self) -> Readiness:
        """Whether catalog, index, network and watcher work; at most two seconds old."""
        with self._lock:
            if self._known is None or self._clock() - self._known[0] > _FRESH_S:
                self._known = (self._clock(), self._look())
            return self._known[1]

    def _look(self) -> Readiness:
        troubles, remarks = [self.watcher.trouble()], []
        for name in self._site.names():
            try:
                with self._site.ready(name) as collection:
                    found = collection.service.check()
                    troubles += [f"{name}: {one}" for one in found]
                    away = collection.service.offline()
                    remarks += [f"{name}: {offline(path, images)}" for path, images in away]
            except ImgclustError as error:
                troubles.append(f"{name}: {error}")
            except OSError as error:
                troubles.append(f"{name}: {reason_of(error)}")
        return Readiness(tuple(filter(None, troubles)), tuple(remarks))
