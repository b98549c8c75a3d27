"""Whether a few contents are near copies of one: what was compared before, and comparing now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.duplicates.neighbour_cache import Neighbourhood, Verdict
from imgclust.duplicates.pair_search import judge_pairs
from imgclust.duplicates.pixel_check import Originals, Pictures, Verifier
from imgclust.duplicates.small_pictures import same_ratio
from imgclust.duplicates.thresholds import Thresholds
from imgclust.index import VectorIndex
from imgclust.progress import Progress, StopFlag

_SAME = {Verdict.SAME, Verdict.FIRST, Verdict.SECOND}


class CopyTest:
    """Near copies among the contents of an answer, as `find` defines them.

    Parameters
    ----------
    shapes
        Width and height in pixels and size in bytes of every content.
    thresholds
        None where they were never measured: only what was compared before is known.
    neighbourhood
        What was compared before; it has every content that is asked for, and learns.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: VectorIndex,
        *,
        shapes: Mapping[int, tuple[int, int, int]],
        thresholds: Thresholds | None,
        pictures: Pictures,
        originals: Originals,
        neighbourhood: Neighbourhood,
        progress: Progress,
        stop: StopFlag,
    ) -> None:
        self._index = index
        self._shapes = shapes
        self._thresholds = thresholds
        self._pictures = pictures
        self._neighbourhood = neighbourhood
        self._dismissed = catalog.dismissals.pairs()
        self._verifier = Verifier(neighbourhood, originals, progress=progress, stop=stop)
        self._progress = progress
        self._stop = stop

    def near(self, key: int, others: Sequence[int]) -> list[bool]:
        """Which of the other contents are near copies of this one."""
        known = self._neighbourhood.keys
        pairs = np.sort(np.searchsorted(known, [[key, other] for other in others]), axis=1)
        if self._thresholds is not None:
            self._judge(pairs, self._thresholds.near)
        verdicts = self._neighbourhood.seen(pairs)
        found = np.isin(verdicts, [int(one) for one in _SAME])
        for place in np.flatnonzero(verdicts == Verdict.ALIKE).tolist():
            found[place] = self._verifier.compare(key, [others[place]])[0] in _SAME
        return [
            bool(same) and (min(key, other), max(key, other)) not in self._dismissed
            for same, other in zip(found, others, strict=True)
        ]

    def _judge(self, pairs: npt.NDArray[np.int64], least: float) -> None:
        """Compare the thumbnails of pairs that can be copies and have no verdict."""
        new = pairs[self._neighbourhood.seen(pairs) < 0]
        if not len(new):
            return
        keys = self._neighbourhood.keys
        one, other = (self._index.reconstruct(keys[new[:, side]]) for side in (0, 1))
        sides = np.zeros((len(keys), 2))
        for row in np.unique(new):
            sides[row] = self._shapes[int(keys[row])][:2]
        close = np.einsum("ij,ij->i", one, other) >= least
        close &= same_ratio(sides[new[:, 0]], sides[new[:, 1]])
        judge_pairs(
            self._neighbourhood, new[close], sides, self._pictures, self._progress, self._stop
        )
