"""Warm start: clusters that continue those there are.

Centroids are the means of the current members. The number of clusters changes by splits, where the
gain is largest, and unions, where the loss is least (Ward 1963). Then Lloyd iterations in which
a row's own cluster has the advantage: the row leaves only for one that is clearly nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.constraints import given_means, is_nowhere, nowhere
from imgclust.clustering.faiss_kmeans import Vectors, checked, means, nearest, squared_distances
from imgclust.clustering.kmeans import Fit
from imgclust.clustering.local_search import Division, Splitter, union_costs
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent

# A row moves for so much less squared distance. More keeps more rows at the cost of agreement with
# categories; docs/quality.md has the frontier.
MARGIN = 0.2
# A split that gains so many times what the cheapest union loses pays for the ids that move.
EXCHANGE = 2.0
STEP = 1.4  # from one number of clusters to the next coarser or finer
_ROUNDS = 10
_MOST_EXCHANGES = 10
_ENOUGH = 1e-3  # of the rows: fewer changes in a round are the last


@dataclass(frozen=True, eq=False)
class Continued:
    """Clusters that continue others.

    Attributes
    ----------
    assigned
        Position of each row's cluster, int32 (n,).
    centroids
        float32, shape (k, d).
    origins
        For each cluster the position of the one before that it continues, or -1 where it is new.
        A split leaves the name to the larger part, a union to the larger cluster.
    unions
        (position before of the cluster that went, position before of the one that took it).
    """

    assigned: NDArray[np.int32]
    centroids: NDArray[np.float32]
    origins: tuple[int, ...]
    unions: tuple[tuple[int, int], ...] = ()

    @property
    def k(self) -> int:
        return len(self.origins)

    def fit(self, vectors: Vectors, *, asked_k: int, notes: tuple[str, ...] = ()) -> Fit:
        """The clusters as a fit of the vectors (n, d) that they were made of."""
        squared = squared_distances(vectors, self.centroids, self.assigned)
        return Fit.of(self.centroids, self.assigned, squared, asked_k=asked_k, notes=notes)


def continued(
    vectors: NDArray[Any],
    before: NDArray[Any],
    k: int,
    *,
    given: NDArray[np.int32] | None = None,
    anchors: NDArray[Any] | None = None,
    pinned: NDArray[np.int32] | None = None,
    margin: float = MARGIN,
    exchange: float = EXCHANGE,
    rounds: int = _ROUNDS,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Continued:
    """Cluster vectors into k clusters that continue those before.

    Parameters
    ----------
    vectors
        float32, shape (n, d), all in the space of this clustering.
    before
        Position of each row's cluster until now, int (n,); -1 for rows that have none yet.
    k
        Number of clusters, the given ones included.
    given, anchors
        As in `constrained_fit`: the first f clusters before are given, their rows stay, no split
        or union touches them, free rows may join those that have rows.
    pinned
        Position before that a row does not leave, int32 (n,); -1 where it may. Clusters with such
        rows live on; unlike given ones they may change otherwise.
    margin
        A row leaves its cluster only for one whose squared distance is smaller by this share.
    exchange
        Two clusters are united and another split where the split gains so many times what the
        union loses; infinite for never.
    rounds
        Lloyd iterations at most; 0 leaves every row that a split or union did not move.
    progress, stop
        Once for each iteration.

    Raises
    ------
    ClusteringError
        For k < f, k < 1, NaN, or arrays that do not fit each other.
    StoppedError
        When `stop` was set.
    """
    rows = checked(vectors)
    state = _State(rows, before, given, anchors, pinned)
    if k < max(1, state.held):
        raise ClusteringError(
            f"k = {k} is less than the {state.held} clusters that are given"
            if k >= 1
            else f"k = {k} is not a number of clusters; use 1 or more"
        )
    state.drop_empty()
    state.join(k)
    state.change(k, stop)
    if rounds:
        state.refine(margin, rounds, progress, stop)
        if state.drop_empty():
            state.change(k, stop)
            state.refine(margin, rounds, progress, stop)
            state.drop_empty()
        for _ in range(_MOST_EXCHANGES):
            if not state.swap(exchange):
                break
            state.refine(margin, rounds, silent, stop)
            state.drop_empty()
            state.change(k, stop)
    return state.result()


def finer(k: int) -> int:
    """The next larger number of clusters."""
    return max(k + 1, round(k * STEP))


def coarser(k: int) -> int:
    """The next smaller number of clusters; 1 stays."""
    return max(1, min(k - 1, round(k / STEP)))


def resized(
    vectors: NDArray[Any],
    before: NDArray[Any],
    k: int,
    *,
    given: NDArray[np.int32] | None = None,
    anchors: NDArray[Any] | None = None,
    pinned: NDArray[np.int32] | None = None,
    stop: StopFlag | None = None,
) -> Continued:
    """k clusters by splits or unions alone: rows of all other clusters stay where they are.

    Fewer splits than asked where clusters hold equal rows alone, fewer unions where the others
    are given. Parameters as in `continued`.
    """
    return continued(
        vectors, before, k, given=given, anchors=anchors, pinned=pinned, rounds=0, stop=stop
    )


class _State:
    """What changes while clusters are continued."""

    def __init__(
        self,
        rows: Vectors,
        before: NDArray[Any],
        given: NDArray[np.int32] | None,
        anchors: NDArray[Any] | None,
        pinned: NDArray[np.int32] | None = None,
    ) -> None:
        n, dims = rows.shape
        self.rows = rows
        self.assigned = np.array(before, dtype=np.int32)
        self.anchors = (
            np.empty((0, dims), np.float32) if anchors is None else np.array(anchors, np.float32)
        )
        self.held = len(self.anchors)
        self.given = np.full(n, -1, np.int32) if given is None else np.asarray(given, np.int32)
        if (
            len(self.assigned) != n
            or len(self.given) != n
            or (pinned is not None and len(pinned) != n)
            or self.given.max(initial=-1) >= (self.held or 0)
        ):
            raise ClusteringError(
                f"the positions before or given do not fit {n} rows and {self.held} given clusters"
            )
        self.pinned = np.zeros(n, np.bool_) if pinned is None else (pinned >= 0) & (self.given < 0)
        if pinned is not None:
            self.assigned[self.pinned] = pinned[self.pinned]
        self.assigned[self.given >= 0] = self.given[self.given >= 0]
        self.before = self.assigned.copy()
        # Where a row has the advantage; -1 for one that comes from nowhere.
        self.home = self.assigned.copy()
        self.origins = list(range(max(self.held, int(self.assigned.max(initial=-1)) + 1)))
        self.unions: list[tuple[int, int]] = []

    @property
    def k(self) -> int:
        return len(self.origins)

    def lasting(self) -> set[int]:
        """Clusters with rows that do not leave them."""
        return set(self.assigned[self.pinned].tolist())

    def sizes(self) -> NDArray[np.int64]:
        return np.bincount(self.assigned[self.assigned >= 0], minlength=self.k)

    def centroids(self) -> NDArray[np.float32]:
        """Means of the members; of given clusters those of the given rows."""
        known = self.assigned >= 0
        rows = self.rows if known.all() else self.rows[known]
        found = means(rows, self.assigned[known], self.k)
        found[self.sizes() == 0] = nowhere(self.rows.shape[1])
        if self.held:
            found[: self.held] = given_means(self.rows, self.given, self.anchors)
        return found

    def open(self) -> NDArray[np.float32]:
        """Centroids, with given clusters that have no rows out of reach where there are others."""
        found = self.centroids()
        empty = self.sizes()[: self.held] == 0
        if empty.sum() < self.k:
            found[: self.held][empty] = nowhere(found.shape[1])
        return found

    def drop_empty(self) -> bool:
        """Forget clusters without rows, but for given ones; True when there was one."""
        kept = self.sizes() > 0
        kept[: self.held] = True
        if kept.all():
            return False
        self.renumber(kept)
        return True

    def renumber(self, kept: NDArray[np.bool_]) -> None:
        places = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
        for labels in (self.assigned, self.home):
            known = labels >= 0
            labels[known] = places[labels[known]]
        self.origins = [one for one, stays in zip(self.origins, kept, strict=True) if stays]

    def join(self, k: int) -> None:
        """Rows that have no cluster join the nearest, or make one where none is free."""
        fresh = np.flatnonzero(self.assigned < 0)
        if not fresh.size:
            return
        if self.k == self.held < k:
            self.assigned[fresh] = self.k
            self.origins.append(-1)
            return
        positions, _ = nearest(np.ascontiguousarray(self.rows[fresh]), self.open())
        self.assigned[fresh] = positions[:, 0]

    def change(self, k: int, stop: StopFlag | None) -> None:
        """Splits or unions until there are k clusters, or as near as one comes."""
        if self.k > k == self.held:
            self.dissolve()
        while self.k > k and self.unite():
            if stop is not None:
                stop.check()
        splitter = Splitter(self.rows) if self.k < k else None
        while splitter is not None and self.k < k and self.split(splitter):
            if stop is not None:
                stop.check()

    def dissolve(self) -> None:
        """The rows of all clusters that are not given join the nearest given one."""
        for labels in (self.assigned, self.home):
            labels[labels >= self.held] = -1
        del self.origins[self.held :]
        self.join(self.held)

    def swap(self, exchange: float) -> bool:
        """A union and a split where that is clearly worth it; True when it was."""
        splitter = Splitter(self.rows)
        found = splitter.best(self.assigned, self.k, fixed=self.held)
        if found is None:
            return False
        cluster, division = found
        union = self.cheapest(but=cluster)
        if union is None or division.gain <= exchange * union[1]:
            return False
        members = np.flatnonzero(self.assigned == cluster)
        if not self.divide(members, division):
            return False
        self.join_pair(union[0])
        return True

    def cheapest(self, but: int = -1) -> tuple[NDArray[np.int64], float] | None:
        """The two clusters whose union adds least to the inertia, and how much."""
        free = np.arange(self.held, self.k)
        free = free[free != but]
        if len(free) < 2:
            return None
        costs = union_costs(self.centroids()[free], self.sizes()[free])
        lasting = np.isin(free, list(self.lasting()))
        costs[np.ix_(lasting, lasting)] = np.inf
        place = int(np.argmin(costs))
        if not np.isfinite(costs.flat[place]):
            return None
        return free[list(divmod(place, len(free)))], float(costs.flat[place])

    def unite(self) -> bool:
        """One union, the one that adds least to the inertia."""
        union = self.cheapest()
        if union is None:
            return False
        self.join_pair(union[0])
        return True

    def join_pair(self, pair: NDArray[np.int64]) -> None:
        """Two clusters become one, which keeps the place of the larger."""
        sizes = self.sizes()
        lasting = self.lasting()
        stays, goes = sorted(pair, key=lambda one: (one not in lasting, -sizes[one], one))
        for labels in (self.assigned, self.home):
            labels[labels == goes] = stays
        if self.origins[stays] < 0:
            self.origins[stays] = self.origins[goes]
        elif self.origins[goes] >= 0:
            self.unions.append((self.origins[goes], self.origins[stays]))
        kept = np.ones(self.k, np.bool_)
        kept[goes] = False
        self.renumber(kept)

    def split(self, splitter: Splitter) -> bool:
        """One split, the one that takes most from the inertia."""
        found = splitter.best(self.assigned, self.k, fixed=self.held)
        if found is None:
            return False
        cluster, division = found
        return self.divide(np.flatnonzero(self.assigned == cluster), division)

    def divide(self, members: NDArray[np.int64], division: Division) -> bool:
        """The members of one cluster become two, of which the larger keeps the place."""
        cluster = int(self.assigned[members[0]])
        sides, _ = nearest(np.ascontiguousarray(self.rows[members]), division.centroids)
        counts = np.bincount(sides[:, 0], minlength=2)
        if not counts.all():
            return False
        smaller = int(counts[1] <= counts[0])
        leaving = np.empty(0, np.int64)
        for side in (smaller, 1 - smaller):  # pinned rows stay, on whichever side they are
            if not leaving.size:
                leaving = members[(sides[:, 0] == side) & ~self.pinned[members]]
        if not leaving.size or leaving.size == members.size:
            return False
        self.home[leaving[self.home[leaving] == cluster]] = self.k
        self.assigned[leaving] = self.k
        self.origins.append(-1)
        return True

    def refine(self, margin: float, rounds: int, progress: Progress, stop: StopFlag | None) -> None:
        """Each free row to the nearest cluster, but home unless another is clearly nearer."""
        free = np.flatnonzero((self.given < 0) & ~self.pinned)
        if not free.size:
            return
        rows = self.rows if len(free) == len(self.rows) else self.rows[free]
        home = self.home[free]
        settled = home >= 0
        old = rows if settled.all() else rows[settled]
        progress("k-means", 0, rounds)
        for done in range(1, rounds + 1):
            if stop is not None:
                stop.check()
            centroids = self.open()
            positions, squared = nearest(rows, centroids)
            chosen = positions[:, 0].astype(np.int32)
            at_home = squared_distances(old, centroids, home[settled])
            stays = squared[settled, 0] >= (1 - margin) * at_home
            chosen[settled] = np.where(stays, home[settled], chosen[settled])
            changed = int((chosen != self.assigned[free]).sum())
            self.assigned[free] = chosen
            progress("k-means", done, rounds)
            if changed <= _ENOUGH * len(free):
                break
        progress("k-means", rounds, rounds)

    def result(self) -> Continued:
        centroids = self.centroids()
        for place in range(self.held):
            members = self.assigned == place
            if is_nowhere(centroids[place]) and members.any():
                centroids[place] = self.rows[members].mean(axis=0, dtype=np.float64)
        return Continued(self.assigned, centroids, self.names(), tuple(self.unions))

    def names(self) -> tuple[int, ...]:
        """For each cluster which of those that were united in it gave it most of its rows.

        One that grew by unions on the way may have fewer than another that joined it last.
        """
        took = dict(self.unions)
        lasting = {self.origins[place] for place in self.lasting()}
        joined: dict[int, list[int]] = {}
        for gone in took:
            heir = gone
            while heir in took:
                heir = took[heir]
            joined.setdefault(heir, []).append(gone)
        found = []
        for place, origin in enumerate(self.origins):
            several = [origin, *joined.get(origin, ())] if origin >= 0 else [origin]
            if len(several) > 1:
                rows = self.before[self.assigned == place]
                several.sort(key=lambda one: (one not in lasting, -int((rows == one).sum())))
            found.append(several[0])
        return tuple(found)
