"""Whether a few contents are near copies of one, compared now; `search.find` looks at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.duplicates.pixel_check import Originals, Pictures
from imgclust.duplicates.small_pictures import least_likeness, same_ratio
from imgclust.duplicates.thresholds import Thresholds
from imgclust.images import Sameness, sameness
from imgclust.index import VectorIndex
from imgclust.progress import StopFlag


class CopyTest:
    """Near copies among the contents of an answer, by the same three steps as `search.find`.

    Nothing here grows with the collection: a query waits for it.

    Parameters
    ----------
    thresholds
        None where they were never measured: then nothing is a near copy.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: VectorIndex,
        *,
        thresholds: Thresholds | None,
        pictures: Pictures,
        originals: Originals,
        stop: StopFlag,
    ) -> None:
        self._contents = catalog.contents
        self._index = index
        self._thresholds = thresholds
        self._pictures = pictures
        self._originals = originals
        self._dismissed = catalog.dismissals.pairs()
        self._stop = stop

    def near(self, key: int, others: Sequence[int]) -> list[bool]:
        """Which of the other contents are near copies of this one."""
        if self._thresholds is None or not others:
            return [False] * len(others)
        keys = np.array([key, *others], np.int64)
        vectors = self._index.reconstruct(keys)
        sides = self._sides(keys)
        close = vectors[1:] @ vectors[0] >= self._thresholds.near
        close &= same_ratio(np.repeat(sides[:1], len(others), axis=0), sides[1:])
        rows = 1 + np.flatnonzero(close)
        pairs = np.stack([np.zeros_like(rows), rows], axis=1)
        alike = self._pictures.alike(
            keys[pairs[:, 0]],
            keys[rows],
            least=least_likeness(sides, pairs),
            stop=self._stop,
        )
        found = np.zeros(len(others), bool)
        for row in rows[alike].tolist():
            found[row - 1] = self._same(key, int(keys[row]))
        return found.tolist()

    def _same(self, key: int, other: int) -> bool:
        """Whether the whole pictures agree, and nobody has dismissed the pair."""
        if (min(key, other), max(key, other)) in self._dismissed:
            return False
        self._stop.check()
        for one in (key, other):
            self._originals.request(one)
        first, second = self._originals.get(key), self._originals.get(other)
        return (
            first is not None
            and second is not None
            and sameness(first, second) is not Sameness.OTHER
        )

    def _sides(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Width and height of contents, `(n, 2)`."""
        found = [self._contents.get(key) for key in keys.tolist()]
        return np.array(
            [(1, 1) if one is None else (one.width, one.height) for one in found], float
        )
