"""The pause of a watcher whose index folder cannot be written."""

from __future__ import annotations

from imgclust.catalog import Catalog
from imgclust.errors import StorageError, reason_of
from imgclust.ingest.events import Emit, Event
from imgclust.progress import StopFlag

# Seconds before a write is tried again: so many at first, twice as many each time, at most so many.
_FIRST_S, _LONGEST_S = 1.0, 60.0


class Pause:
    """Waits until the catalog can be written again; said once, whatever it takes.

    Attributes
    ----------
    on
        True from the first refusal until `over`.
    """

    def __init__(self, catalog: Catalog, *, stop: StopFlag, emit: Emit) -> None:
        self._catalog = catalog
        self._stop = stop
        self._emit = emit
        self._next_s = _FIRST_S
        self.on = False

    def wait(self, refusal: StorageError) -> None:
        """Try a small write, less and less often, until it succeeds or the watcher is to stop."""
        if not self.on:
            self._emit(Event("waiting", f"{refusal}; waiting until it works again"))
        self.on = True
        while not self._stop.wait(self._next_s):
            # Only `over` starts at the first again: what is left to write may be larger than this.
            self._next_s = min(2 * self._next_s, _LONGEST_S)
            try:
                with self._catalog.transaction():
                    self._catalog.event("waited", f"went on after: {refusal}")
            except StorageError:
                continue
            return

    def over(self) -> None:
        """What there was to write has been written."""
        if self.on:
            self._emit(Event("note", "the disk works again; going on"))
        self.on = False
        self._next_s = _FIRST_S


def refusal(error: StorageError | OSError) -> StorageError:
    """The error of a disk, in the words for people."""
    if isinstance(error, StorageError):
        return error
    return StorageError(f"the disk refused: {reason_of(error)}")
