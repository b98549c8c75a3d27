"""Succession: where the members of the current clusters go when another clustering takes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imgclust.errors import ImgclustError


class ChangedMeanwhileError(ImgclustError):
    """A person has named or released clusters since a change of them was begun.

    What was prepared does not heed that; it is done again, by `Recluster`.
    """


@dataclass(frozen=True)
class Succession:
    """Which clusters of another clustering the members of the current ones may join.

    Attributes
    ----------
    into
        By id of a current cluster: those of the other clustering that its members are in, the
        nearest of them unless they are in one already. A frozen cluster goes into itself.
    closed
        Ids of clusters of the other clustering that take nobody else.
    ids
        Ids of all clusters of the other clustering.
    """

    into: Mapping[int, tuple[int, ...]]
    ids: tuple[int, ...]
    closed: frozenset[int] = field(default=frozenset())

    def among(self, contents: Iterable[int], now: Mapping[int, int]) -> dict[int, Sequence[int]]:
        """The clusters that each of the contents may join, for those that not all are open to.

        `now` is the current cluster of those that have one.
        """
        found: dict[int, Sequence[int]] = {}
        others = [one for one in self.ids if one not in self.closed]
        for content in contents:
            cluster = now.get(content)
            if cluster is not None and cluster in self.into:
                found[content] = self.into[cluster]
            elif self.closed:
                found[content] = others
        return found

    def out_of_place(
        self, now: npt.NDArray[np.int64], then: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Which contents are in none of the clusters that they may be in, bool (n,).

        Parameters
        ----------
        now
            Current cluster of each content, int64 (n,); -1 where it has none.
        then
            Its cluster in the other clustering.
        """
        wrong = ~np.isin(then, self.ids)
        for cluster, heirs in self.into.items():
            wrong |= (now == cluster) & ~np.isin(then, heirs)
        bound = np.isin(now, list(self.into))
        return np.asarray(wrong | (~bound & np.isin(then, list(self.closed))))
