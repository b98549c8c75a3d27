"""Whether a few contents are near copies of one, compared now; `search.find` looks at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.duplicates.copy_memory import CopyMemory, Read
from imgclust.duplicates.pixel_check import Originals
from imgclust.duplicates.small_pictures import least_likeness, same_ratio
from imgclust.duplicates.thresholds import Thresholds
from imgclust.images import Sameness, sameness
from imgclust.index import VectorIndex
from imgclust.progress import StopFlag


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
        originals: KeptOriginals,
        memory: CopyMemory,
        stop: StopFlag,
    ) -> None:
        self._contents = catalog.contents
        self._index = index
        self._row_of: dict[int, int] = {}
        self._vectors = np.empty((0, index.dimensions), np.float32)
        self._thresholds = thresholds
        self._read = read
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
            key, keys[rows].tolist(), least=least_likeness(sides, pairs), read=self._read
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
