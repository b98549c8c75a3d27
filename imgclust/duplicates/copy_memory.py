"""What was seen of contents and pairs of them, kept between the queries of one process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from imgclust.images import cells, likeness, most_likeness, outlines

# Outlines (772 bytes) and cells (3 KiB) that are kept: 100 MB and 12 MB at most.
_MOST_OUTLINES = 1 << 17
_MOST_CELLS = 4096
_MOST_NUMBERS = 1 << 18
_ROUNDING = 1e-4

Read = Callable[[int], bytes | None]


class CopyMemory:
    """Sides and outlines of contents, and verdicts on pairs; may be used by several threads.

    A content never changes, so nothing of this becomes wrong. What could not be seen is not kept:
    its file may be there the next time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sides: dict[int, tuple[int, int]] = {}
        self._verdicts: dict[tuple[int, int], bool] = {}
        self._cells: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self._outlines: OrderedDict[int, npt.NDArray[np.float32]] = OrderedDict()

    def sides(
        self, keys: Sequence[int], read: Callable[[int], tuple[int, int]]
    ) -> npt.NDArray[np.float64]:
        """Width and height of contents, `(n, 2)`; `read` says those that are not known."""
        with self._lock:
            found = [self._sides.get(key) for key in keys]
        new = {key: read(key) for key, known in zip(keys, found, strict=True) if known is None}
        with self._lock:
            _bound(self._sides)
            self._sides |= new
        return np.array(
            [new[key] if known is None else known for key, known in zip(keys, found, strict=True)],
            float,
        )

    def verdict(self, one: int, other: int) -> bool | None:
        """Whether two contents are one picture; None when they were not compared."""
        with self._lock:
            return self._verdicts.get((min(one, other), max(one, other)))

    def judge(self, one: int, other: int, *, same: bool) -> None:
        """Keep the verdict on two contents."""
        with self._lock:
            _bound(self._verdicts)
            self._verdicts[min(one, other), max(one, other)] = same

    def alike(
        self, key: int, others: Sequence[int], *, least: npt.NDArray[np.float32], read: Read
    ) -> npt.NDArray[np.bool_]:
        """Which of the others `(m,)` have at least this likeness (each) to one content.

        As `Pictures.alike`; `read` gives the small picture of a content that is not known.
        """
        found = np.zeros(len(others), bool)
        own = self._outline(key, read)
        if own is None:
            return found
        looks = [self._outline(other, read) for other in others]
        seen = np.array([at for at, look in enumerate(looks) if look is not None], np.int64)
        if not len(seen):
            return found
        theirs = np.stack([look for look in looks if look is not None])
        most = most_likeness(np.broadcast_to(own, theirs.shape), theirs)
        for at in seen[most >= least[seen] - _ROUNDING].tolist():
            first, second = self._cells_of(key, read), self._cells_of(others[at], read)
            if first is not None and second is not None:
                found[at] = likeness(first[None], second[None])[0] >= least[at]
        return found

    def _outline(self, key: int, read: Read) -> npt.NDArray[np.float32] | None:
        with self._lock:
            if key in self._outlines:
                self._outlines.move_to_end(key)
                return self._outlines[key]
        own = self._cells_of(key, read)
        if own is None:
            return None
        found: npt.NDArray[np.float32] = outlines(own[None])[0]
        with self._lock:
            self._outlines[key] = found
            if len(self._outlines) > _MOST_OUTLINES:
                self._outlines.popitem(last=False)
        return found

    def _cells_of(self, key: int, read: Read) -> npt.NDArray[np.uint8] | None:
        with self._lock:
            if key in self._cells:
                self._cells.move_to_end(key)
                return self._cells[key]
        picture = read(key)
        try:
            found = None if picture is None else cells(picture)
        except (OSError, ValueError):
            return None
        if found is not None:
            with self._lock:
                self._cells[key] = found
                if len(self._cells) > _MOST_CELLS:
                    self._cells.popitem(last=False)
        return found


def _bound(kept: dict[int, tuple[int, int]] | dict[tuple[int, int], bool]) -> None:
    """Begin again before numbers take more than some ten MB."""
    if len(kept) >= _MOST_NUMBERS:
        kept.clear()
