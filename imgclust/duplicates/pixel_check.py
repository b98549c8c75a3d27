"""Whether contents show the same pixels: small pictures first, then candidates with all theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import Neighbourhood, Verdict
from imgclust.images.pixel_similarity import (
    Sameness,
    cells,
    likeness,
    most_likeness,
    outlines,
    sameness,
)
from imgclust.progress import Progress, StopFlag

_BLOCK = 2048
# Cells that are kept, 3 KiB each: pairs that pass by their outlines are looked at soon.
_KEPT = 4096
_ROUNDING = 1e-4

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


class Pictures:
    """What contents look like.

    Each is read once, and its outline kept (772 bytes). Pairs whose outlines pass are
    compared in full.

    Parameters
    ----------
    read
        A small encoded picture of a content, None where there is none.
    """

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._looked = functools.lru_cache(_KEPT)(self._look)
        self._row_of: dict[int, int] = {}  # -1: unknown
        self._outlines = outlines(np.empty((0, 3072), np.uint8))
        self._count = 0

    def cells(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.cells`; None where it is unknown."""
        return self._looked(key)

    def alike(
        self,
        some: npt.NDArray[np.int64],
        others: npt.NDArray[np.int64],
        *,
        least: float | npt.NDArray[np.float32],
        stop: StopFlag,
    ) -> npt.NDArray[np.bool_]:
        """Which pairs of contents `(m,)` have at least this likeness (each); read as needed."""
        least = np.broadcast_to(np.float32(least), len(some))
        found = np.zeros(len(some), bool)
        for start in range(0, len(some), _BLOCK):
            one = self._rows(some[start : start + _BLOCK], stop)
            other = self._rows(others[start : start + _BLOCK], stop)
            seen = np.flatnonzero((one >= 0) & (other >= 0))
            most = most_likeness(self._outlines[one[seen]], self._outlines[other[seen]])
            close = start + seen[most >= least[start + seen] - _ROUNDING]
            for at in close:
                first, second = self.cells(int(some[at])), self.cells(int(others[at]))
                if first is not None and second is not None:
                    found[at] = likeness(first[None], second[None])[0] >= least[at]
        return found

    def told(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the contents `(m,)`, each asked for before, could be looked at."""
        return np.array([self._row_of[key] >= 0 for key in keys.tolist()], bool)

    @property
    def unseen(self) -> set[int]:
        """Contents asked for that could not be looked at."""
        return {key for key, row in self._row_of.items() if row < 0}

    def _rows(self, keys: npt.NDArray[np.int64], stop: StopFlag) -> npt.NDArray[np.int64]:
        """Where the outlines of contents are, -1 where there is none."""
        new = [key for key in dict.fromkeys(keys.tolist()) if key not in self._row_of]
        for start in range(0, len(new), _BLOCK):
            looks = []
            for key in new[start : start + _BLOCK]:
                stop.check()
                looks.append((key, self.cells(key)))
            self._row_of |= {key: -1 for key, own in looks if own is None}
            seen = [(key, own) for key, own in looks if own is not None]
            if seen:
                self._keep([key for key, _ in seen], outlines(np.stack([own for _, own in seen])))
        return np.array([self._row_of[key] for key in keys.tolist()], np.int64)

    def _keep(self, keys: Sequence[int], found: npt.NDArray[np.float32]) -> None:
        count = self._count + len(keys)
        if count > len(self._outlines):
            grown = np.empty((2 * count, self._outlines.shape[1]), np.float32)
            grown[: self._count] = self._outlines[: self._count]
            self._outlines = grown
        self._outlines[self._count : count] = found
        self._row_of |= zip(keys, range(self._count, count), strict=True)
        self._count = count

    def _look(self, key: int) -> npt.NDArray[np.uint8] | None:
        picture = self._read(key)
        try:
            return None if picture is None else cells(picture)
        except (OSError, ValueError):
            return None


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
