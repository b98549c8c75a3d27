"""Whether a few contents are near copies of one, compared now; `search.find` looks at all.

What was seen of contents and pairs is kept between the queries of one process (`CopyMemory`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.duplicates.pixel_check import Originals, least_likeness, same_ratio
from imgclust.duplicates.thresholds import Thresholds
from imgclust.images.pixel_similarity import (
    Sameness,
    cells,
    likeness,
    most_likeness,
    outlines,
    sameness,
)
from imgclust.index.vector_index import VectorIndex
from imgclust.progress import StopFlag

# Outlines (772 bytes) and cells (3 KiB) that are kept: 100 MB and 12 MB at most.
_MOST_OUTLINES = 1 << 17
_MOST_CELLS = 4096
_MOST_NUMBERS = 1 << 18
_ROUNDING = 1e-4

Read = Callable[[int], bytes | None]
# Outlines of several contents at once, of those that are at hand.
ReadMany = Callable[[Sequence[int]], dict[int, npt.NDArray[np.float32]]]


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
        self,
        key: int,
        others: Sequence[int],
        *,
        least: npt.NDArray[np.float32],
        read: Read,
        read_many: ReadMany,
    ) -> npt.NDArray[np.bool_]:
        """Which of the others `(m,)` have at least this likeness (each) to one content.

        As `Pictures.alike`; `read` gives the small picture of a content that is not known, and
        `read_many` the outlines of several.
        """
        found = np.zeros(len(others), bool)
        if not others:
            return found
        looks = self._looks([key, *others], read, read_many)
        own = looks.get(key)
        seen = np.array([at for at, other in enumerate(others) if other in looks], np.int64)
        if own is None or not len(seen):
            return found
        theirs = np.stack([looks[other] for other in others if other in looks])
        most = most_likeness(np.broadcast_to(own, theirs.shape), theirs)
        for at in seen[most >= least[seen] - _ROUNDING].tolist():
            first, second = self._cells_of(key, read), self._cells_of(others[at], read)
            if first is not None and second is not None:
                found[at] = likeness(first[None], second[None])[0] >= least[at]
        return found

    def _looks(
        self, keys: Sequence[int], read: Read, read_many: ReadMany
    ) -> dict[int, npt.NDArray[np.float32]]:
        """The outlines of those contents that can be seen."""
        with self._lock:
            known = {key: self._outlines[key] for key in keys if key in self._outlines}
            for key in known:
                self._outlines.move_to_end(key)
        unknown = [key for key in keys if key not in known]
        new = read_many(unknown) if unknown else {}
        grids = {
            key: one
            for key in unknown
            if key not in new and (one := self._cells_of(key, read)) is not None
        }
        if grids:  # all at once: one at a time this takes as long as decoding the pictures
            new |= dict(zip(grids, outlines(np.stack([*grids.values()])), strict=True))
        with self._lock:
            self._outlines |= new
            while len(self._outlines) > _MOST_OUTLINES:
                self._outlines.popitem(last=False)
        return known | new

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


class KeptOriginals(Originals, Protocol):
    """Whole pictures of contents that may have been compared before."""

    def there(self, key: int) -> bool:
        """Whether a file still holds a content, as far as its size and time say so."""


class CopyTest:
    """Near copies among the contents of an answer, by the same three steps as `search.find`.

    Nothing here grows with the collection: a query waits for it.

    Parameters
    ----------
    thresholds
        None where they were never measured: then nothing is a near copy.
    read
        A small encoded picture of a content, None where there is none.
    read_many
        The outlines of several, of those that it can give.
    memory
        What is known of contents; whoever asks again brings the same.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: VectorIndex,
        *,
        thresholds: Thresholds | None,
        read: Read,
        read_many: ReadMany,
        originals: KeptOriginals,
        memory: CopyMemory,
        stop: StopFlag,
    ) -> None:
        self._contents = catalog.contents
        self._index = index
        self._row_of: dict[int, int] = {}
        self._vectors = np.empty((0, index.dimensions), np.float32)
        self._thresholds = thresholds
        self._read, self._read_many = read, read_many
        self._memory = memory
        self._originals = originals
        self._dismissed = catalog.dismissals.pairs()
        self._stop = stop

    def near(self, key: int, others: Sequence[int]) -> list[bool]:
        """Which of the other contents are near copies of this one."""
        if self._thresholds is None or not others:
            return [False] * len(others)
        self._stop.check()
        keys = np.array([key, *others], np.int64)
        sides = self._memory.sides(keys.tolist(), self._sides)
        close = self._scores(keys) >= self._thresholds.near
        close &= same_ratio(np.repeat(sides[:1], len(others), axis=0), sides[1:])
        rows = 1 + np.flatnonzero(close)
        pairs = np.stack([np.zeros_like(rows), rows], axis=1)
        alike = self._memory.alike(
            key,
            keys[rows].tolist(),
            least=least_likeness(sides, pairs),
            read=self._read,
            read_many=self._read_many,
        )
        found = np.zeros(len(others), bool)
        for row in rows[alike].tolist():
            found[row - 1] = self._same(key, int(keys[row]))
        return found.tolist()

    def _scores(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Cosines of the first content with the others; their vectors are kept."""
        new = [key for key in keys.tolist() if key not in self._row_of]
        if new:
            self._row_of |= {key: len(self._vectors) + at for at, key in enumerate(new)}
            self._vectors = np.concatenate([self._vectors, self._index.reconstruct(new)])
        rows = [self._row_of[key] for key in keys.tolist()]
        scores: npt.NDArray[np.float32] = self._vectors @ self._vectors[rows[0]]
        return scores[rows[1:]]

    def _same(self, key: int, other: int) -> bool:
        """Whether the whole pictures agree, and nobody has dismissed the pair."""
        if (min(key, other), max(key, other)) in self._dismissed:
            return False
        known = self._memory.verdict(key, other)
        # Copies are those that can be compared now; what was seen before does not change that.
        if known is False or (known and all(map(self._originals.there, (key, other)))):
            return known
        self._stop.check()
        for one in (key, other):
            self._originals.request(one)
        first, second = self._originals.get(key), self._originals.get(other)
        if first is None or second is None:
            return False
        found = sameness(first, second) is not Sameness.OTHER
        self._memory.judge(key, other, same=found)
        return found

    def _sides(self, key: int) -> tuple[int, int]:
        found = self._contents.get(key)
        return (1, 1) if found is None else (found.width, found.height)
