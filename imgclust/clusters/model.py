"""A stored clustering as the model that assigns new embeddings; its representatives; results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.catalog.integrity import finite
from imgclust.clustering.cluster_stats import representatives
from imgclust.clustering.id_map import Matching
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
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.half_white import SmoothedProjection, projection_from_bytes


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


@dataclass(frozen=True)
class SweepResult:
    """Inertia of every k in a space, the knee, and the elbow picture.

    `complete` is False when the sweep was interrupted; `seconds` is all that it took. `criteria`
    are simplified_silhouette, calinski_harabasz and bic: a value for each k, larger is better;
    `preferred` the k from 2 to `compared_to` that each is largest at.
    """

    space: str
    n: int
    k: tuple[int, ...]
    inertia: tuple[float, ...]
    knee: int | None
    sentence: str
    chart: Path | None
    seconds: float
    complete: bool
    criteria: Mapping[str, tuple[float, ...]]
    preferred: Mapping[str, int]
    compared_to: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClusterResult:
    """A finished clustering and what happened to the clusters before it.

    `clustering` is None for a dry run; `sizes` counts images by cluster id; `moved` counts the
    images whose cluster id changed. `new` ids were never used before; those that an undo brings
    back are `returned`, with their names. `frozen` are the named clusters that were kept as they
    are. `continued`: the clusters before were the start of it, otherwise it started from nothing.
    `corrections` counts what people said about images and is satisfied, `corrected` the distinct
    images that it puts elsewhere than the fit.
    """

    clustering: int | None
    k: int
    chosen_by: str
    sentence: str
    space: str
    inertia: float
    sizes: Mapping[int, int]
    kept: tuple[Mapping[str, Any], ...]
    split: tuple[Mapping[str, Any], ...]
    merged: tuple[Mapping[str, Any], ...]
    new: tuple[int, ...]
    gone: tuple[Mapping[str, Any], ...]
    moved: int
    provisional: bool
    notes: tuple[str, ...]
    returned: tuple[Mapping[str, Any], ...] = ()
    frozen: tuple[int, ...] = ()
    continued: bool = False
    corrections: int = 0
    corrected: int = 0


def lineage(matching: Matching, names: Mapping[int, str]) -> dict[str, Any]:
    """Kept, split, merged, new, gone and moved, as stored and as JSON shows them."""
    return {
        "kept": [
            {"id": cluster, "images": images, "jaccard": round(jaccard, 4)}
            for cluster, images, jaccard in matching.kept
        ],
        "split": [{"from": cluster, "into": list(into)} for cluster, into in matching.split],
        "merged": [{"from": list(origin), "into": cluster} for origin, cluster in matching.merged],
        "new": list(matching.new),
        "gone": [{"id": cluster, "name": names.get(cluster)} for cluster in matching.gone],
        "moved": matching.moved,
    }


def lineage_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ClusterResult` that a lineage holds."""
    lists = ("kept", "split", "merged", "new", "gone")
    return {name: tuple(told[name]) for name in lists} | {"moved": told["moved"]}


MOST = 9
# Members that are looked at: what nine pictures can show of a cluster is in so many of them.
_SAMPLE = 300
# Clusters kept in one transaction, and lost when the work is cut off.
_BATCH = 25


def representatives_of(
    catalog: Catalog, clustering: int, cluster: int, recipe: str, *, seed: int = 0
) -> list[int]:
    """Contents that show what is in a cluster, at most nine, the medoid of a sample first.

    What is stored is returned, without the contents that have left the cluster. Where nothing is
    stored, or less than half of what there could be is left of it, they are chosen again among at
    most 300 members and stored.

    Parameters
    ----------
    clustering, cluster
        Number of the clustering, and the lasting id of one of its clusters.
    recipe
        Name of the clustering's recipe.
    seed
        Of the sample and of the choice.

    Returns
    -------
    Keys of contents; none for an empty cluster.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    return all_representatives(catalog, clustering, [cluster], recipe, seed=seed)[cluster]


def all_representatives(
    catalog: Catalog,
    clustering: int,
    clusters: Iterable[int],
    recipe: str,
    *,
    seed: int = 0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> dict[int, list[int]]:
    """What `representatives_of` says of each of these clusters; reads the assignments once.

    Raises
    ------
    StoppedError
        When the person asked to stop; what was chosen so far is kept.
    """
    wanted = list(clusters)
    found = {one: catalog.assignments.representatives(clustering, one) for one in wanted}
    unsure = [one for one, contents in found.items() if 2 * len(contents) < MOST]
    if not unsure:
        return found
    keys, owners = catalog.assignments.members(clustering, unsure)
    order = np.argsort(owners, kind="stable")
    keys, owners = keys[order], owners[order]
    chosen: dict[int, list[int]] = {}
    for number, cluster in enumerate(unsure):
        if stop is not None:
            stop.check()
        progress("choosing representatives", number, len(unsure))
        first, last = np.searchsorted(owners, [cluster, cluster + 1])
        members = keys[first:last]
        if 2 * len(found[cluster]) < min(MOST, len(members)):
            found[cluster] = chosen[cluster] = _choose(catalog, members, recipe, seed=seed)
        if len(chosen) >= _BATCH:
            _keep(catalog, clustering, chosen)
    _keep(catalog, clustering, chosen)
    return found


def _choose(
    catalog: Catalog, members: npt.NDArray[np.int64], recipe: str, *, seed: int
) -> list[int]:
    generator = np.random.default_rng(seed)
    if len(members) > _SAMPLE:
        members = np.sort(generator.choice(members, _SAMPLE, replace=False))
    with catalog.snapshot():  # a content does not leave between these two
        there = [key for key in members.tolist() if catalog.contents.has_embedding(key, recipe)]
        vectors = catalog.contents.embeddings(there, recipe)
    sound = finite(vectors)  # a picture with a damaged embedding does not represent its cluster
    there = [key for key, one in zip(there, sound, strict=True) if one]
    if not there:
        return []
    return [there[row] for row in representatives(vectors[sound], MOST, seed=seed)]


def _keep(catalog: Catalog, clustering: int, chosen: dict[int, list[int]]) -> None:
    """Store what was chosen, where that can be, and forget it here."""
    if chosen and catalog.writable:
        with catalog.transaction():
            catalog.assignments.keep_representatives(clustering, chosen)
    chosen.clear()
