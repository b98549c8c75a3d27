"""Pairs to ask a person about: is this the same group? Those first whose answers tell most.

A pair tells of more than its two images: the collection is divided into small local groups, and
each is asked about by its medoid (super-instances: Van Craenendonck et al. 2018, "COBRAS").
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.kmeans import fit

_GROUP_SIZE = 5
_MOST_GROUPS = 1_000


@dataclass(frozen=True, eq=False)
class LocalGroups:
    """Rows in small groups of their near ones.

    Attributes
    ----------
    group
        Number of each row's group, int (n,).
    medoids
        The row that represents each group, int64 (g,).
    """

    group: NDArray[np.int32]
    medoids: NDArray[np.int64]


def local_groups(points: NDArray[Any]) -> LocalGroups:
    """Divide points (n, d) into groups of about five, or more where there are many."""
    count = max(1, min(_MOST_GROUPS, len(points) // _GROUP_SIZE))
    found = fit(points, count)
    order = np.lexsort((found.distances, found.assigned))
    _, first = np.unique(found.assigned[order], return_index=True)
    return LocalGroups(found.assigned, order[first].astype(np.int64))


def next_pairs(
    points: NDArray[Any],
    assigned: NDArray[Any],
    groups: LocalGroups,
    count: int,
    *,
    known: Collection[tuple[int, int]] = (),
) -> list[tuple[int, int]]:
    """Pairs of rows to ask about, the most telling first, at most `count`.

    Parameters
    ----------
    points
        float32, shape (n, d).
    assigned
        Cluster of each row, int (n,).
    known
        Pairs that are not asked about again.
    """
    asked = {tuple(sorted(pair)) for pair in known}
    medoids = groups.medoids
    places = points[medoids].astype(np.float64)
    apart = np.square(places[:, np.newaxis] - places).sum(axis=2)
    found: list[tuple[int, int]] = []
    one, other = np.triu_indices(len(medoids), 1)
    for place in np.argsort(apart[one, other], kind="stable").tolist():
        first, second = sorted((int(medoids[one[place]]), int(medoids[other[place]])))
        if (first, second) not in asked and assigned[first] != assigned[second]:
            found.append((first, second))
            if len(found) == count:
                break
    return found
