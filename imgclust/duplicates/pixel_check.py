"""Pictures: whether contents show the same pixels, each picture read once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from imgclust.images import cells, likeness, most_likeness, outlines
from imgclust.progress import StopFlag

_BLOCK = 2048
# Cells that are kept, 3 KiB each: pairs that pass by their outlines are looked at soon.
_KEPT = 4096
_ROUNDING = 1e-4


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
