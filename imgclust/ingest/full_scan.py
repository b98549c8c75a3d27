"""The full scan: finds what events missed."""

from __future__ import annotations

from collections import deque
from functools import partial

from imgclust.config import Watch
from imgclust.ingest.environment import Place
from imgclust.ingest.events import Event
from imgclust.ingest.faults import sentence, unforeseen
from imgclust.ingest.path_tracker import Looking
from imgclust.ingest.root_scan import RootPass


class Scan:
    """One scan of all roots, in steps; call `advance` until it returns True.

    `said` holds the folders whose trouble was already reported.

    Attributes
    ----------
    excluded
        Images in places that are left out now; complete when the scan is finished.
    in_doubt
        True while all roots are scanned again; nothing is to be read until then: a copy of
        what seems to have vanished would take its place before it is known whether it has.
    """

    def __init__(
        self,
        place: Place,
        *,
        looking: Looking,
        rules: Watch,
        said: set[bytes],
    ) -> None:
        self._pass = partial(RootPass, place=place, looking=looking, rules=rules, said=said)
        self._clock = looking.clock
        self._say = looking.say
        self._watched = [root for root in place.roots if root.kind == "watched"]
        self._waiting = deque(self._watched)
        self._over: set[int] = set()
        self.in_doubt = False
        self.excluded = 0
        self._added = deque(root for root in place.roots if root.kind == "added")
        self._walking: RootPass | None = None
        self._walked: deque[RootPass] = deque()
        self.started = self._clock.monotonic()
        self.seconds = 0.0

    def advance(self, *, lasting: bool = False) -> bool:
        """Do the next step, in one short transaction at most; True when the scan is finished.

        With `lasting` a scan that meets a fault is given up: the next one looks.

        Raises
        ------
        StorageError
            When the disk refuses; the next call tries the same step again.
        """
        try:
            return self._advance()
        except BaseException as error:
            if not lasting or not unforeseen(error):
                raise
            self._say(Event("trouble", f"{sentence(error, 'scanning')}; the next scan looks again"))
            return True

    def _advance(self) -> bool:
        # All roots are walked before one is compared: what has left it may have moved to another.
        if self._walking is None and self._waiting:
            self._walking = self._pass(self._waiting[0])
            self._waiting.popleft()
        if self._walking is not None:
            if self._walking.walk():
                if self._walking.root.id not in self._over:
                    self._walked.append(self._walking)
                self._walking = None
            return False
        if not self._walked and self._added:
            self._walked.append(self._pass(self._added[0]))
            self._added.popleft()
        if self._walked:
            if self._walked[0].compare():
                compared = self._walked.popleft()
                self.in_doubt = compared.doubted
                if compared.doubted:
                    self._walk_again()
                else:
                    self._over.add(compared.root.id)
                    self.excluded += compared.excluded
            return False
        self.seconds = self._clock.monotonic() - self.started
        return True

    def _walk_again(self) -> None:
        """Scan all roots again, then compare those that are not over."""
        self._pass = partial(self._pass, again=True)
        self._say(
            Event(
                "note",
                "so many images seem to have vanished that all folders are scanned again "
                "to make sure; what arrives waits until then",
            )
        )
        self._waiting.extend(self._watched)
        self._walked.clear()
