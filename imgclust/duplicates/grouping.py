"""Groups from pairs: everything in a group passes against its best copy, never through others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Pairs:
    """Pairs of contents: keys `(m, 2)` int64, the smaller first, and cosines `(m,)` float32."""

    keys: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: npt.NDArray[np.bool_]) -> Pairs:
        """Those of the pairs that are marked."""
        return Pairs(self.keys[kept], self.scores[kept])

    @classmethod
    def of(cls, parts: Sequence[Pairs]) -> Pairs:
        """The pairs of all parts, each once, in the order of their keys."""
        keys = np.concatenate([np.empty((0, 2), np.int64), *(part.keys for part in parts)])
        scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])
        keys = np.sort(keys, axis=1)
        unique, first = np.unique(keys, axis=0, return_index=True)
        return cls(unique, scores[first])


def grouped(
    pairs: Pairs, best_first: Mapping[int, tuple[int, ...]], *, without: Iterable[int] = ()
) -> list[list[tuple[int, float]]]:
    """Divide contents into groups, the best copy first in each.

    The best of all contents takes whatever passes against it, then the best of those left, and
    so on. So every member has passed against the best copy of its group itself.

    Parameters
    ----------
    pairs
        The pairs that pass.
    best_first
        What each content is sorted by: the smallest is the best copy.
    without
        Contents that are left out.

    Returns
    -------
    list
        For each group its contents with the cosine to the first of them (1 for itself), the most
        similar first.
    """
    beside: dict[int, list[tuple[int, float]]] = {}
    for (one, other), score in zip(pairs.keys.tolist(), pairs.scores.tolist(), strict=True):
        beside.setdefault(one, []).append((other, score))
        beside.setdefault(other, []).append((one, score))
    taken = set(without)
    groups = []
    for best in sorted(beside, key=lambda key: (*best_first[key], key)):
        if best in taken:
            continue
        members = [(key, score) for key, score in beside[best] if key not in taken]
        if members:
            members.sort(key=lambda member: (-member[1], best_first[member[0]], member[0]))
            groups.append([(best, 1.0), *members])
            taken.update(key for key, _ in groups[-1])
    return groups
