"""The watcher of the service: its loop in a thread, started again after faults."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from imgclust.collection import Event
from imgclust.errors import ImgclustError, LockedError, StoppedError, UsageError
from imgclust.server.health import WatcherState

if TYPE_CHECKING:
    from imgclust.server.site import Site

_log = logging.getLogger(__name__)
# Seconds until the watcher is started again after a fault: twice as many each time.
_AGAIN_S, _LONGEST_S = 2.0, 60.0
# Seconds that the end of the service waits for the current batch.
_GRACE_S = 10.0
# How much later the watcher's threads get a processor than others, as for nice(1).
_NICE = 5


def _yield_to_people() -> None:
    """Let this thread, and threads and processes that it starts, wait for those that answer.

    People wait for a page, and nobody for a batch: the network would take every processor.
    """
    if sys.platform == "linux":  # elsewhere a priority is that of the whole process
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            before = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(19, before + _NICE))


class WatcherThread:
    """Watches the folders of a collection until the service ends.

    Where another process watches already, this one waits until that has ended.

    Parameters
    ----------
    roots
        Folders to watch besides those that the collection remembers.
    emit
        Hears the events, in the thread.
    """

    def __init__(
        self,
        site: Site,
        name: str,
        roots: Sequence[str],
        *,
        state: WatcherState,
        emit: Callable[[Event], None],
    ) -> None:
        self._site = site
        self._name = name
        self._roots = list(roots)
        self._state = state
        self._emit = emit
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def join(self) -> bool:
        """Wait for its end, once the service is to stop; False where it does not come."""
        if self._thread.ident is not None:
            self._thread.join(_GRACE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        _yield_to_people()
        wait_s, said = _AGAIN_S, ""
        while not self._site.stop.is_set():
            try:
                with self._site.open(self._name) as collection:
                    self._state.begin()
                    collection.service.watch(self._roots, monitor=self._state, emit=self._emit)
                if self._site.stop.is_set():
                    return
                self._state.ended = why = "it has stopped by itself"
            except StoppedError:
                return
            except LockedError as error:
                self._state.wanted = False
                why = f"{error}; this service shows what that process ingests"
            except UsageError as error:  # no folder is watched yet: one may be added
                self._state.wanted = bool(self._roots)
                self._state.ended = str(error)
                why = str(error)
            except ImgclustError as error:
                self._state.ended = why = str(error)
            except BaseException as error:  # this thread must last: only the service ends it
                self._state.ended = why = f"internal error: {type(error).__name__}: {error}"
                _log.debug("%s", traceback.format_exc())
            if why != said:
                self._emit(Event("trouble", why))
                said = why
            if self._site.stop.wait(wait_s):
                return
            wait_s = min(2 * wait_s, _LONGEST_S)
