"""Constraints of a fit: contents whose cluster is given, and a k-means that takes them as given.

Seeds that keep their label are Basu, Banerjee and Mooney 2002 ("Semi-supervised clustering by
seeding"); here the centroid of a given cluster stays the mean of its given members besides, so that
what joins it later does not pull it away from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked, squared_distances
from imgclust.clustering.kmeans import Fit, fit
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent

T = TypeVar("T")

# Where a cluster lies that has no members and no known centroid: nothing is as far away.
NOWHERE = 1e6


@dataclass(frozen=True, eq=False)
class Constraints:
    """Contents whose cluster is given.

    Attributes
    ----------
    contents
        Keys, ascending, int64 (m,).
    clusters
        The id of the cluster that each of them belongs to, int64 (m,).
    kept
        Ids of clusters that every fit has, ascending, those without contents too; the clusters
        of all contents are among them.
    """

    contents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.contents) != len(self.clusters):
            raise ClusteringError("contents and clusters of constraints differ in length")
        if not np.isin(self.clusters, self.kept).all():
            raise ClusteringError("a content is given to a cluster that is not kept")

    @classmethod
    def none(cls) -> Self:
        """No constraints."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), ())

    def given(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """The place in `kept` of the cluster of each content, int32 (n,); -1 where it is free."""
        found = np.full(len(keys), -1, np.int32)
        if len(self.contents):
            places = np.searchsorted(self.contents, keys)
            places[places == len(self.contents)] = 0
            known = self.contents[places] == keys
            found[known] = np.searchsorted(self.kept, self.clusters[places[known]])
        return found


def nowhere(dims: int) -> NDArray[np.float32]:
    """The centroid of a cluster that lies nowhere, float32 (dims,)."""
    return np.full(dims, NOWHERE / np.sqrt(dims), np.float32)


def is_nowhere(centroid: NDArray[Any]) -> bool:
    """True for a centroid that `nowhere` has made."""
    return bool(np.linalg.norm(centroid.astype(np.float64)) > NOWHERE / 2)


def given_means(
    vectors: Vectors, given: NDArray[np.int32], anchors: NDArray[Any]
) -> NDArray[np.float32]:
    """Centroid of each given cluster, float32 (f, d): the mean of its rows, its anchor without."""
    centroids = np.array(anchors, dtype=np.float32)
    for place in range(len(centroids)):
        members = given == place
        if members.any():
            centroids[place] = vectors[members].mean(axis=0, dtype=np.float64)
    return centroids


def constrained_fit(
    vectors: NDArray[Any],
    k: int,
    *,
    given: NDArray[np.int32],
    anchors: NDArray[Any],
    seed: int = 0,
    gpu: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Fit:
    """Cluster vectors into k clusters of which the first f are given.

    The rows that are given stay in their clusters, whose centroids are the means of these rows;
    k-means fits the other k - f clusters to the free rows, beside those centroids. A free row
    joins the nearest of all clusters that are not empty: a given one without rows is left to what
    arrives later, unless there is no other. Without given clusters this is `fit`.

    Parameters
    ----------
    vectors
        float32, shape (n, d).
    k
        Number of clusters, the given ones included; at least f.
    given
        Position of the given cluster of each row, int32 (n,) in 0..f-1; -1 where it is free.
    anchors
        Centroids of given clusters without rows, float32 (f, d); those of the others are not
        looked at.
    seed, gpu, progress, stop
        As in `fit`.

    Raises
    ------
    ClusteringError
        For k < f, NaN, or arrays that do not fit each other.
    StoppedError
        When `stop` was set.
    """
    held = len(anchors)
    if not held:
        return fit(vectors, k, seed=seed, gpu=gpu, progress=progress, stop=stop)
    rows = checked(vectors)
    if len(given) != len(rows) or (len(given) and not -1 <= given.min() <= given.max() < held):
        raise ClusteringError(
            f"the given positions do not fit {len(rows)} rows and {held} clusters"
        )
    if k < held:
        raise ClusteringError(f"k = {k} is less than the {held} clusters that are given")
    centroids = given_means(rows, given, anchors)
    assigned = given.astype(np.int32)
    notes: tuple[str, ...] = ()
    free = np.flatnonzero(given < 0)
    if free.size:
        beside = np.flatnonzero(np.bincount(given[given >= 0], minlength=held))
        if not beside.size and k == held:
            beside = np.arange(held)
        found = fit(
            rows[free],
            k - held,
            fixed=centroids[beside] if beside.size else None,
            seed=seed,
            gpu=gpu,
            progress=progress,
            stop=stop,
        )
        places = np.concatenate([beside, held + np.arange(found.k - beside.size)])
        assigned[free] = places[found.assigned]
        centroids = np.concatenate([centroids, found.centroids[beside.size :]])
        if len(centroids) < k:
            notes = (f"k reduced from {k} to {len(centroids)}: no more distinct embeddings",)
    elif k > held:
        notes = (f"k reduced from {k} to {held}: there are no other images",)
    for place in range(held):
        members = assigned == place
        if is_nowhere(centroids[place]) and members.any():
            centroids[place] = rows[members].mean(axis=0, dtype=np.float64)
    squared = squared_distances(rows, centroids, assigned)
    return Fit.of(centroids, assigned, squared, asked_k=k, notes=notes)


class UnsatisfiableError(ClusteringError):
    """Demands on rows that contradict each other.

    Attributes
    ----------
    rows
        The rows that they are about.
    """

    def __init__(self, message: str, rows: Sequence[int]) -> None:
        super().__init__(message)
        self.rows = tuple(sorted(set(rows)))


@dataclass(frozen=True, eq=False)
class Demands:
    """Where rows have to be, and with which others (Wagstaff et al. 2001, "Constrained k-means").

    Attributes
    ----------
    group
        Rows of one number have to be together, int (n,).
    fixed
        Place of the cluster that a row has to be in, int (n,); -1 where it is free.
    barred
        (row, place of a cluster that it must not be in).
    apart
        Pairs of rows that must not be in one cluster.
    preferred
        Place that a row, and so its group, goes to where that is allowed, int (n,); -1 for none.
    """

    group: NDArray[np.int64]
    fixed: NDArray[np.int32]
    barred: tuple[tuple[int, int], ...] = ()
    apart: tuple[tuple[int, int], ...] = ()
    preferred: NDArray[np.integer[Any]] | None = None

    def violated(self, assigned: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Rows that are not where they have to be, bool (n,); of a group all of them."""
        wrong = (self.fixed >= 0) & (assigned != self.fixed)
        for row, place in self.barred:
            wrong[row] |= bool(assigned[row] == place)
        for row, other in self.apart:
            wrong[[row, other]] |= bool(assigned[row] == assigned[other])
        _, group = np.unique(self.group, return_inverse=True)
        count = int(group.max(initial=-1)) + 1
        least, most = np.full(count, np.iinfo(np.int32).max), np.full(count, -1)
        np.minimum.at(least, group, assigned)
        np.maximum.at(most, group, assigned)
        bad = least != most
        np.logical_or.at(bad, group, wrong)
        return np.asarray(bad[group])


# Places that are tried in all for rows that have to be apart, before they count as impossible.
_TRIES = 20_000


def contracted(points: Vectors, group: NDArray[np.int64]) -> Vectors:
    """Points (n, d) with those of each group (n,) at their mean: one point of their weight."""
    _, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(sizes) == len(points):
        return points
    moved = points.copy()
    for number in np.flatnonzero(sizes > 1):
        rows = inverse == number
        moved[rows] = points[rows].mean(axis=0, dtype=np.float64)
    return moved


def satisfied(
    points: NDArray[Any], centroids: NDArray[Any], assigned: NDArray[Any], demands: Demands
) -> NDArray[np.int32]:
    """Assignments that meet all demands, as near as can be to those that are given.

    A group is one point, the mean of its rows. It stays where its rows are, where that is allowed,
    and else joins the preferred or the nearest cluster that is; rows that have to be apart are
    placed by backtracking, those with the fewest places left first (Brelaz 1979).

    Parameters
    ----------
    points, centroids
        float32, shapes (n, d) and (k, d).
    assigned
        Place of each row's cluster, int (n,).

    Raises
    ------
    UnsatisfiableError
        When there are none.
    """
    return _Placement(points, centroids, np.asarray(assigned, np.int32), demands).result()


def can_be_satisfied(demands: Demands, k: int) -> bool:
    """Whether there are assignments to k clusters that meet all demands."""
    try:
        n = len(demands.group)
        satisfied(np.zeros((n, 1)), np.zeros((k, 1)), np.zeros(n, np.int32), demands)
    except UnsatisfiableError:
        return False
    return True


def smallest_conflict(
    given: Sequence[T], others: Sequence[T], possible: Callable[[Sequence[T]], bool]
) -> list[T] | None:
    """Those of the others that cannot be met together with what is given, and no more than that.

    Without any one of them the rest is possible (Junker 2004, "QuickXplain"). Those that come
    first are in it only where it takes them. None when all of it is possible.
    """

    def explained(kept: list[T], added: bool, rest: list[T]) -> list[T]:
        if added and not possible(kept):
            return []
        if len(rest) == 1:
            return rest
        half = len(rest) // 2
        last = explained([*kept, *rest[:half]], True, rest[half:])
        return [*explained([*kept, *last], bool(last), rest[:half]), *last]

    if possible([*given, *others]):
        return None
    return explained([*given], True, [*others]) if others else []


class _Placement:
    """Groups of rows on their way to places that are allowed."""

    def __init__(
        self,
        points: NDArray[Any],
        centroids: NDArray[Any],
        assigned: NDArray[np.int32],
        demands: Demands,
    ) -> None:
        _, self.group = np.unique(demands.group, return_inverse=True)
        self.rows: list[list[int]] = [[] for _ in range(int(self.group.max(initial=-1)) + 1)]
        for row, number in enumerate(self.group.tolist()):
            self.rows[number].append(row)
        self.k = len(centroids)
        self.points, self.centroids, self.assigned = points, centroids, assigned
        self.preferred = demands.preferred
        self.place: dict[int, int] = {}
        self.barred: dict[int, dict[int, int]] = {}
        self.apart: dict[int, set[int]] = {}
        for number, rows in enumerate(self.rows):
            for row in rows:
                self.fix(number, row, int(demands.fixed[row]))
        for row, place in demands.barred:
            number = int(self.group[row])
            self.barred.setdefault(number, {})[place] = row
            if self.place.get(number) == place:
                fixed = [one for one in self.rows[number] if demands.fixed[one] >= 0]
                raise UnsatisfiableError("rows are fixed where one is barred", [row, *fixed])
        for row, other in demands.apart:
            one, two = int(self.group[row]), int(self.group[other])
            if one == two or (one in self.place and self.place[one] == self.place.get(two)):
                raise UnsatisfiableError("rows are together that have to be apart", [row, other])
            self.apart.setdefault(one, set()).add(two)
            self.apart.setdefault(two, set()).add(one)

    def fix(self, number: int, row: int, place: int) -> None:
        if place < 0:
            return
        if self.place.setdefault(number, place) != place:
            raise UnsatisfiableError("rows that are together are fixed apart", self.rows[number])

    def order(self, number: int) -> list[int]:
        """The places that a group may have, the best first."""
        rows = self.rows[number]
        mean = self.points[rows].mean(axis=0, dtype=np.float64)
        squared = np.square(self.centroids.astype(np.float64) - mean).sum(axis=1)
        places = {int(one) for one in self.assigned[rows]}
        if len(places) == 1:
            squared[places.pop()] = -1.0
        elif self.preferred is not None:
            squared[[place for place in self.preferred[rows].tolist() if place >= 0]] = -1.0
        barred = self.barred.get(number, {})
        return [one for one in np.argsort(squared, kind="stable").tolist() if one not in barred]

    def result(self) -> NDArray[np.int32]:
        free = [number for number in range(len(self.rows)) if number not in self.place]
        tied = [number for number in free if number in self.apart]
        for number in free:
            if number not in self.apart and (len(self.rows[number]) > 1 or number in self.barred):
                self.place[number] = self.only(number, self.order(number))
        orders = {number: self.order(number) for number in tied}
        for number in tied:
            self.only(number, orders[number])
        for part in self.parts(tied):
            if not self.search({number: orders[number] for number in part}):
                rows = [row for number in part for row in self.rows[number]]
                raise UnsatisfiableError("there are too few clusters to keep rows apart", rows)
        found = self.assigned.copy()
        for number, place in self.place.items():
            found[self.rows[number]] = place
        return found

    def parts(self, tied: list[int]) -> list[list[int]]:
        """The groups in parts that say nothing of each other: of one alone the search is short."""
        left = set(tied)
        found = []
        for first in tied:
            if first not in left:
                continue
            left.discard(first)
            part = [first]
            for number in part:  # grows while it is walked
                beside = sorted(self.apart[number] & left)
                left.difference_update(beside)
                part += beside
            found.append(part)
        return found

    def only(self, number: int, order: list[int]) -> int:
        if not order:
            raise UnsatisfiableError("no cluster is left for a row", self.rows[number])
        return order[0]

    def search(self, orders: dict[int, list[int]]) -> bool:
        """Give the groups that are tied to others their places; False when there is no way.

        An explicit stack: a chain of pairs may be longer than Python nests calls. Of places that
        nothing tells apart, where none of these groups is or must not be, only the first is tried.
        """
        stack: list[tuple[int, list[int]]] = []
        waiting = set(orders)
        self.tries = 0
        left = {one: self.left(one, orders[one]) for one in waiting}
        told = {place for one in waiting for place in self.barred.get(one, ())}
        beside = {other for one in waiting for other in self.apart[one]}
        used = Counter(self.place[one] for one in beside if one in self.place)

        def worth(choices: list[int]) -> list[int]:
            fresh = [place for place in choices if place not in told and not used[place]]
            return [place for place in choices if place not in fresh[1:]]

        def look_again(changed: int) -> None:
            for one in {changed, *self.apart[changed]} & orders.keys():
                left[one] = self.left(one, orders[one])

        while waiting:
            number = min(waiting, key=lambda one: (len(left[one]), -len(self.apart[one]), one))
            choices = worth(left[number])
            while not choices:
                if not stack:
                    return False
                number, choices = stack.pop()
                used[self.place.pop(number)] -= 1
                look_again(number)
                waiting.add(number)
            self.tries += 1
            if self.tries > _TRIES:
                return False
            self.place[number] = choices[0]
            used[choices[0]] += 1
            look_again(number)
            stack.append((number, choices[1:]))
            waiting.discard(number)
        return True

    def left(self, number: int, order: list[int]) -> list[int]:
        taken = {self.place[one] for one in self.apart[number] if one in self.place}
        return [place for place in order if place not in taken]
