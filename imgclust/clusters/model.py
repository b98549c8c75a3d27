"""A stored clustering as the model that assigns new embeddings, and what assigns arrivals by it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.clustering.kmeans import assign
from imgclust.clusters import correction_demands, smoothed_space
from imgclust.clusters.burst_store import BurstFinder
from imgclust.clusters.feature_space import (
    Projection,
    Space,
    Vectors,
    project,
    residual_distances,
    unit,
)
from imgclust.errors import ClusteringError, ImgclustError
from imgclust.projection.half_white import SmoothedProjection
from imgclust.projection.storage import projection_from_bytes


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


# Contents assigned in one transaction when many have to be.
_CHUNK = 1000


class Model:
    """A stored clustering, ready to assign new embeddings.

    `space` is the one that it was just made in, where that is at hand: it need not be read again,
    and is made ready when `load` is called or something is assigned.
    """

    def __init__(
        self, catalog: Catalog, clustering: Clustering, *, space: Space | None = None
    ) -> None:
        self.clustering = clustering
        self._standardised = False
        self._projection: Projection | None = None
        if space is not None:
            self._standardised = bool(space.settings.get("standardise"))
            self._projection = space.projection
        elif clustering.projection is not None:
            stored = catalog.projections.get(clustering.projection)
            self._standardised = bool(stored.settings.get("standardise"))
            self._projection = projection_from_bytes(stored.blob)
        if space is None:
            self.load()

    @property
    def loaded(self) -> bool:
        """Whether new embeddings can be assigned without a delay."""
        return not isinstance(self._projection, SmoothedProjection) or smoothed_space.loaded(
            self._projection
        )

    def load(self) -> None:
        """Make ready what assigns new embeddings."""
        if isinstance(self._projection, SmoothedProjection):
            smoothed_space.load(self._projection)

    @property
    def projection(self) -> Projection | None:
        """What brings embeddings into the space of the clustering."""
        return self._projection

    @property
    def smoothed(self) -> bool:
        """Whether burst groups stay together in the clustering."""
        return isinstance(self._projection, SmoothedProjection)

    def take_in(
        self,
        catalog: Catalog,
        keys: Sequence[int],
        vectors: Vectors,
        *,
        among: Mapping[int, Sequence[int]] | None = None,
    ) -> list[str]:
        """Store the assignments of arrivals `(n, d)`; the caller holds the transaction.

        Returns what is to be said of corrections that ended.

        Each joins the nearest cluster, those contents that are in `among` the nearest of these. In
        the smoothed space others follow the representative of their burst group.
        """
        rows_in = vectors if self._standardised else unit(vectors)
        points = project(self._projection, rows_in)
        rows = self._assigned(catalog, keys, points, among or {})
        number = self.clustering.id
        catalog.assignments.assign(number, rows, arrived=True)
        distances = np.array([distance for _, _, distance in rows])
        out = residual_distances(self._projection, rows_in, points, distances)
        catalog.assignments.count_arrivals(
            number, [(row[1], float(one)) for row, one in zip(rows, out, strict=True)]
        )
        if catalog.corrections.some:
            correction_demands.follow_near_copies(catalog, keys, vectors, self.clustering.recipe)
            return correction_demands.enforce_arrivals(catalog, self, keys)
        return []

    def points(self, vectors: Vectors) -> Vectors:
        """Embeddings `(n, d)` in the space of the clustering, `(n, dims)`."""
        return project(self._projection, vectors if self._standardised else unit(vectors))

    def space(
        self,
        keys: npt.NDArray[np.int64],
        vectors: Vectors,
        *,
        counts: npt.NDArray[np.int64],
        sequence: int,
    ) -> Space:
        """Contents `(n,)` with their embeddings `(n, d)` in the space of the clustering."""
        rows = vectors if self._standardised else unit(vectors)
        nothing = np.empty((0, self.clustering.centroids.shape[1]), np.float32)
        return Space(
            name=self.clustering.space,
            keys=keys,
            points=project(self._projection, rows) if len(keys) else nothing,
            vectors=rows,
            counts=counts,
            sequence=sequence,
            settings={},
            projection=self._projection,
            stored=self.clustering.projection,
        )

    def _assigned(
        self,
        catalog: Catalog,
        keys: Sequence[int],
        points: Vectors,
        among: Mapping[int, Sequence[int]],
    ) -> list[tuple[int, int, float]]:
        """Rows (content, cluster, distance) of points `(n, dims)`."""
        centroids = self.clustering.centroids
        ids = self.clustering.cluster_ids
        positions, distances = assign(points, centroids)
        for row, key in enumerate(keys):
            allowed = [ids.index(one) for one in among.get(key, ()) if one in ids]
            if allowed and int(positions[row]) not in allowed:
                chosen, (distances[row],) = assign(points[row : row + 1], centroids[allowed])
                positions[row] = allowed[int(chosen[0])]
        if self.smoothed:
            self._follow(catalog, keys, points, among, positions, distances)
        return [
            (int(key), ids[int(position)], float(distance))
            for key, position, distance in zip(keys, positions, distances, strict=True)
        ]

    def _follow(
        self,
        catalog: Catalog,
        keys: Sequence[int],
        points: Vectors,
        among: Mapping[int, Sequence[int]],
        positions: npt.NDArray[np.int32],
        distances: npt.NDArray[np.float32],
    ) -> None:
        """Put members of burst groups where their representative is; changes what is found."""
        followed = catalog.bursts.followed(self.clustering.recipe, keys)
        here = {int(key): row for row, key in enumerate(keys)}
        elsewhere = set(followed.values()) - here.keys()
        clusters = catalog.assignments.clusters_of(self.clustering.id, elsewhere)
        ids = self.clustering.cluster_ids
        for key, other in followed.items():
            row = here[key]
            if other in here:
                position = int(positions[here[other]])
            elif clusters.get(other) in ids:
                position = ids.index(clusters[other])
            else:
                continue
            if not among.get(key) and position != positions[row]:
                centroid = self.clustering.centroids[position : position + 1]
                _, (distances[row],) = assign(points[row : row + 1], centroid)
                positions[row] = position


class ArrivalAssigner:
    """Puts arrivals into the current clustering, reloading it when it has changed."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._model: Model | None = None
        self._finder: BurstFinder | None = None

    def assign(self, keys: Sequence[int], vectors: Vectors) -> list[str]:
        """Store the assignments of new embeddings; the caller holds the transaction.

        Returns what is to be said of corrections that ended.
        """
        model = self._current()
        if model is None:
            return []
        current = model.clustering.id
        if self._finder is not None:
            self._finder.take_in(keys, unit(vectors))
        # What is embedded again is a member already, and stays where a person has it.
        known = self._catalog.assignments.clusters_of(current, keys)
        frozen = set(self._catalog.clusterings.frozen()) if known else set()
        among = {key: (cluster,) for key, cluster in known.items() if cluster in frozen}
        return model.take_in(self._catalog, keys, vectors, among=among)

    def prepare(self) -> None:
        """Load the current clustering now, so that the next commit is short."""
        with self._catalog.snapshot():
            self._current()

    def _current(self) -> Model | None:
        current = self._catalog.clusterings.current_id()
        if current is None:
            return None
        if self._model is None or (
            (self._model.clustering.id, self._model.clustering.k)
            != (current, self._catalog.clusterings.count(current))
        ):
            self._model = Model(self._catalog, self._catalog.clusterings.get(current))
        number = None
        if self._model.smoothed:
            number = self._catalog.bursts.current_id(self._model.clustering.recipe)
        if number is None:
            self._finder = None
        elif self._finder is None or self._finder.number != number:
            self._finder = None
            with contextlib.suppress(ClusteringError):  # damaged, until the next fit
                self._finder = BurstFinder(self._catalog, number)
        return self._model

    def catch_up(
        self, recipe: str, *, clustering: int | None = None, succession: Succession | None = None
    ) -> int:
        """Assign every content that a clustering (the current one) has not assigned.

        To another one than the current it goes as the succession says. Done in short transactions,
        and started again when another clustering becomes the current one meanwhile; returns how
        many there were.
        """
        clusterings = self._catalog.clusterings
        number = clusterings.current_id() if clustering is None else clustering
        if number is None:
            return 0
        current = clusterings.current_id() or number
        keys = self._catalog.assignments.unassigned(number, recipe)
        model = Model(self._catalog, clusterings.get(number)) if keys else None
        for start in range(0, len(keys), _CHUNK):
            with self._catalog.piece():
                if clustering is None and clusterings.current_id() != number:
                    break
                there = self._catalog.contents.known(keys[start : start + _CHUNK])
                part = [
                    key
                    for key in sorted(there)
                    if self._catalog.contents.has_embedding(key, recipe)
                ]
                if part and model is not None:
                    vectors = self._catalog.contents.embeddings(part, recipe)
                    among = None
                    if succession is not None:
                        now = self._catalog.assignments.clusters_of(current, part)
                        among = succession.among(part, now)
                    model.take_in(self._catalog, part, vectors, among=among)
                    if clustering is None:
                        self._catalog.ledger.queue_links_of(part)
        else:
            return len(keys)
        return self.catch_up(recipe)
