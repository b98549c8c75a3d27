"""Groups from pairs: members pass against the best copy, or against one that has; no chains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import Verdict
from imgclust.duplicates.pixel_check import Compare


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


# Members that the others are compared with, and how small they may be beside those, in pixels.
_THROUGH = 3
_SMALLER = 0.4


def grouped(
    pairs: Pairs,
    best_first: Mapping[int, tuple[object, ...]],
    *,
    without: Iterable[int] = (),
    compare: Compare | None = None,
    sizes: Mapping[int, int] | None = None,
    kept: Collection[int] = (),
    enlarged: Callable[[int, int], bool] = lambda one, other: False,
) -> list[list[tuple[int, float]]]:
    """Divide contents into groups, the best copy first in each; no content is in two.

    The best of all contents takes whatever passes against it, then the best of those left, and
    so on. So every member has passed against the best copy of its group itself, or (`sizes`)
    against a copy that has.

    Parameters
    ----------
    pairs
        The pairs that pass, or that are compared.
    best_first
        What each content is sorted by: the smallest is the best copy.
    without
        Contents that are left out.
    compare
        Gives the verdicts on a content and others; None: all pairs pass. A content that holds
        more than a better one comes before it.
    sizes
        Pixels of each content. Given, what fails against the best copy is compared with a few of
        its members that are not much smaller: two copies that were enlarged or encoded twice
        differ more from each other than both from their original.
    kept
        Contents that come first also where another one holds more.
    enlarged
        Whether the first content may be an enlarged copy of the second, if it holds no more.

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
    order = sorted(beside, key=lambda key: (*best_first[key], key))
    place = {key: number for number, key in enumerate(order)}
    taken, asked = set(without), set[int]()
    groups = []
    waiting = order[::-1]
    while waiting:
        best = waiting.pop()
        if best in taken:
            continue
        members = [(key, score) for key, score in beside[best] if key not in taken]
        members.sort(key=lambda member: (-member[1], place[member[0]]))
        if compare is not None and members:
            verdicts = compare(best, [key for key, _ in members])
            more = [
                key
                for (key, _), verdict in zip(members, verdicts, strict=True)
                if (key in kept or best not in kept)
                and (verdict == Verdict.SECOND or (verdict == Verdict.SAME and enlarged(best, key)))
            ]
            if more and best not in asked:  # each once: those that hold more come before it
                asked.add(best)
                waiting += [best, *sorted(more, key=lambda key: -place[key])]
                continue
            left = members
            members = _passed(members, verdicts, best in kept)
            for other, _ in sorted(members, key=lambda member: place[member[0]])[:_THROUGH]:
                linked = {key for key, _ in beside[other]}
                known = {key for key, _ in members}
                tried = [
                    (key, score)
                    for key, score in left
                    if key in linked
                    and key not in known
                    and sizes is not None
                    and sizes[other] >= _SMALLER * sizes[key]
                ]
                if tried:
                    members += _passed(tried, compare(other, [key for key, _ in tried]))
            members.sort(key=lambda member: (-member[1], place[member[0]]))
        if members:
            groups.append([(best, 1.0), *members])
            taken.update(key for key, _ in groups[-1])
    return groups


def _passed(
    members: Sequence[tuple[int, float]], verdicts: Sequence[Verdict], kept: bool = False
) -> list[tuple[int, float]]:
    """The members that are the same, and hold no more than what they were compared with.

    `kept`: what they were compared with is preferred, whatever it holds.
    """
    passing = {Verdict.SAME, Verdict.FIRST} | ({Verdict.SECOND} if kept else set())
    return [member for member, verdict in zip(members, verdicts, strict=True) if verdict in passing]
