"""Verification: candidates compared by all their pixels, each pair once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import Neighbourhood, Verdict
from imgclust.images import Sameness, sameness
from imgclust.progress import Progress, StopFlag

# After so many in a row that differ from it, a content is compared with no more: bursts and films
# of a fixed camera would otherwise cost the square of their number.
_REFUTED_AT_MOST = 64
# Contents whose decoding is asked for before they are needed.
_AHEAD = 4

_VERDICTS = {
    Sameness.OTHER: Verdict.REFUTED,
    Sameness.SAME: Verdict.SAME,
    Sameness.FIRST: Verdict.FIRST,
    Sameness.SECOND: Verdict.SECOND,
}


class Originals(Protocol):
    """Whole pictures of contents."""

    def request(self, key: int) -> None:
        """Begin to decode a content; it will be needed soon."""

    def get(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.whole_picture`; None when it cannot be compared."""


class Verifier:
    """Compares contents with all their pixels; `keep` stores what was found.

    Parameters
    ----------
    neighbourhood
        Where verdicts are looked up, and kept.
    """

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        originals: Originals,
        *,
        progress: Progress,
        stop: StopFlag,
    ) -> None:
        self._neighbourhood = neighbourhood
        self._originals = originals
        self._progress = progress
        self._stop = stop
        self._new: dict[tuple[int, int], Verdict] = {}

    def compare(self, best: int, members: Sequence[int]) -> list[Verdict]:
        """The verdicts on each pair of `best` (the first) and a member (the second)."""
        keys = self._neighbourhood.keys
        pairs = np.stack([np.full(len(members), best), np.array(members, np.int64)], axis=1)
        known = self._neighbourhood.seen(np.searchsorted(keys, pairs))
        waiting = [
            member
            for member, verdict in zip(members, known.tolist(), strict=True)
            if verdict == Verdict.ALIKE
        ]
        found: list[Verdict] = []
        refuted = 0
        for member, verdict in zip(members, known.tolist(), strict=True):
            if refuted == _REFUTED_AT_MOST:
                found.append(Verdict.REFUTED)
                continue
            found.append(self._verdict(best, member, Verdict(verdict), waiting[:_AHEAD]))
            refuted = refuted + 1 if found[-1] == Verdict.REFUTED else 0
            if verdict == Verdict.ALIKE:
                del waiting[0]
        return found

    def keep(self) -> None:
        """Store the new verdicts in the neighbourhood."""
        if self._new:
            pairs = np.searchsorted(self._neighbourhood.keys, np.array(list(self._new), np.int64))
            self._neighbourhood.judge(pairs, np.array(list(self._new.values()), np.int8))
            self._new.clear()

    def _verdict(self, best: int, member: int, known: Verdict, coming: Sequence[int]) -> Verdict:
        pair = min(best, member), max(best, member)
        found = self._new.get(pair, known)
        if found == Verdict.ALIKE:
            self._stop.check()
            self._progress("comparing all pixels", len(self._new), None)
            for key in (best, *coming):
                self._originals.request(key)
            pictures = [self._originals.get(key) for key in pair]
            if pictures[0] is None or pictures[1] is None:
                return Verdict.REFUTED  # not kept: the file may be readable the next time
            found = self._new[pair] = _VERDICTS[sameness(pictures[0], pictures[1])]
        swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
        return found if best < member else swapped.get(found, found)


Compare = Callable[[int, Sequence[int]], list[Verdict]]
