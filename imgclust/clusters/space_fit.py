"""A fit in a space: which contents are given, how many clusters, the fit, and their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering, DescribedCluster
from imgclust.catalog.corrections import Correction
from imgclust.catalog.projections import StoredSweep
from imgclust.clustering.constraints import Constraints, constrained_fit, is_nowhere, nowhere
from imgclust.clustering.id_map import Matching, follow, match
from imgclust.clustering.kmeans import Fit, all_distinct
from imgclust.clustering.warm_start import coarser, continued, finer, resized
from imgclust.clusters.correction_demands import merge_required, required_clusters
from imgclust.clusters.feature_space import Space, Vectors, project, unproject
from imgclust.clusters.model import ClusterResult, Model, lineage, lineage_fields
from imgclust.clusters.stored_sweeps import fit_of
from imgclust.errors import UsageError
from imgclust.progress import Progress, StopFlag
from imgclust.wording import counted


@dataclass(frozen=True)
class CurrentClusters:
    """How the contents of a space stand in the current clustering.

    Attributes
    ----------
    current
        None before the first.
    before
        Current cluster of each content, int64 (n,); -1 where it has none.
    constraints
        The members of the frozen clusters.
    unplaced
        Members of frozen clusters that the space does not hold, as (content, cluster, distance).
    arrived
        Contents that came after the fit of the current clustering, bool (n,).
    corrections
        What people said about contents.
    lasting
        Current clusters that live on, since people put images there; frozen ones are not named.
    put_into
        The same with frozen ones, and with those of images that the space does not hold.
    """

    current: Clustering | None
    before: npt.NDArray[np.int64]
    constraints: Constraints
    unplaced: tuple[tuple[int, int, float], ...]
    arrived: npt.NDArray[np.bool_]
    corrections: tuple[Correction, ...] = ()
    lasting: tuple[int, ...] = ()
    put_into: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """The current clusters that live on: the frozen ones first, then those with contents."""
        kept = self.constraints.kept
        there = {*self.before[self.before >= 0].tolist(), *self.lasting} - set(kept)
        return (*kept, *sorted(there))

    @property
    def described(self) -> Mapping[int, DescribedCluster]:
        """The current clusters by id."""
        return {} if self.current is None else {one.cluster: one for one in self.current.described}


def current_clusters(catalog: Catalog, space: Space) -> CurrentClusters:
    """Read how the contents of a space stand now."""
    before = np.full(len(space.keys), -1, np.int64)
    with catalog.snapshot():
        current = catalog.clusterings.current()
        if current is None:
            nobody = np.zeros(len(before), np.bool_)
            return CurrentClusters(None, before, Constraints.none(), (), nobody)
        frozen = catalog.clusterings.frozen()
        contents, clusters, distances = catalog.assignments.of(current.id)
        arrived = np.isin(space.keys, catalog.assignments.arrived(current.id))
        corrections = tuple(catalog.corrections.active())
        put_into = catalog.corrections.kept(current.id)
    rows = np.searchsorted(space.keys, contents)
    rows[rows == len(space.keys)] = 0
    known = space.keys[rows] == contents
    before[rows[known]] = clusters[known]
    held = np.isin(clusters, frozen)
    put_in = {one.content: one.cluster for one in corrections if one.kind == "in"}
    away = (held | np.isin(contents, list(put_in))) & ~known
    here = {put_in[key] for key in space.keys.tolist() if key in put_in}
    lasting = [one for one in put_into if one in here and one not in frozen]
    unplaced = zip(
        contents[away].tolist(), clusters[away].tolist(), distances[away].tolist(), strict=True
    )
    constraints = Constraints(contents[held], clusters[held], frozen)
    return CurrentClusters(
        current,
        before,
        constraints,
        tuple(unplaced),
        arrived,
        corrections,
        tuple(lasting),
        put_into,
    )


def count_sentence(done: Fit, named: int, space: Space) -> str:
    """How many clusters there are and why, where a number was asked for."""
    if done.k >= done.asked_k:
        return done.sentence
    if not named:
        return all_distinct(done.k, done.asked_k, space.group(done.k))
    others = counted(done.k - named, *space.group(done.k))
    return (
        f"k = {done.k:,}: beside {counted(named, 'named cluster')} there are only {others}; "
        f"{done.asked_k:,} was asked"
    )


def fit_space(
    catalog: Catalog,
    space: Space,
    standing: CurrentClusters,
    k: int,
    *,
    recipe: str,
    stored: StoredSweep | None,
    seed: int,
    gpu: bool,
    progress: Progress,
    stop: StopFlag,
) -> Fit:
    """k clusters, the frozen ones first; without those the fit of a stored sweep will do."""
    space = merge_required(space, standing.corrections)
    if not standing.constraints.kept and stored is not None:
        centroids = catalog.sweeps.fit(stored.id, k)
        if centroids is not None:
            return fit_of(space.points, centroids)
    given = standing.constraints.given(space.keys)
    rows, group = space.weighing(given >= 0)
    done = constrained_fit(
        _of(space.points, rows),
        k,
        given=given[rows],
        anchors=_anchors(catalog, space, standing, given, recipe),
        seed=seed,
        gpu=gpu,
        progress=progress,
        stop=stop,
    )
    return _for_all(done, group)


def _of(points: Vectors, rows: npt.NDArray[np.int64]) -> Vectors:
    """The points of these rows, without a copy when that is all of them."""
    return points if len(rows) == len(points) else points[rows]


def _for_all(done: Fit, group: npt.NDArray[np.int64]) -> Fit:
    """A fit of the rows that count as one of all: the others are where their own row is."""
    if len(group) == len(done.assigned):
        return done
    distances = done.distances[group]
    return replace(
        done,
        assigned=done.assigned[group],
        distances=distances,
        inertia=float(np.square(distances, dtype=np.float64).sum()),
    )


def step_from(standing: CurrentClusters, step: str) -> int:
    """The number of clusters one step "finer" or "coarser" than now.

    Raises
    ------
    UsageError
        When there is no coarser one.
    """
    now, named = len(standing.ids), len(standing.constraints.kept)
    lasting = len(standing.lasting)
    if step == "finer":
        return finer(now)
    if now - named <= 1:
        why = "the named clusters stay as they are" if named else "there is one"
        raise UsageError(f"the clusters cannot be coarser: {why}")
    return max(coarser(now), named + max(lasting, 1))


def continue_in_space(
    catalog: Catalog,
    space: Space,
    standing: CurrentClusters,
    k: int,
    *,
    recipe: str,
    step: bool,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Fit, Matching]:
    """k clusters that continue the current ones, and their ids; the frozen ones are given.

    With `step` by splits or unions alone. Otherwise what came after the last fit finds its
    cluster again without an advantage for the one that it is in.
    """
    ids = standing.ids
    space = merge_required(space, standing.corrections)
    stays = required_clusters(space, standing.corrections, ids)
    order = np.argsort(ids)
    now = np.full(len(standing.before), -1, np.int32)
    known = standing.before >= 0
    now[known] = order[np.searchsorted(ids, standing.before[known], sorter=order)]
    if not step:
        loose = standing.arrived & known & (stays < 0)
        # A cluster of arrivals alone, whose first images have left, stays too.
        held = np.bincount(now[known & ~loose], minlength=len(ids)) > 0
        loose[loose] = held[now[loose]]
        now[loose] = -1
    given = standing.constraints.given(space.keys)
    anchors = _anchors(catalog, space, standing, given, recipe)
    # In a step every row stays where it is, apart from its burst group too.
    rows, group = space.weighing(np.full(len(now), True) if step else (given >= 0) | (stays >= 0))
    points = _of(space.points, rows)
    if step:
        found = resized(points, now, k, given=given, anchors=anchors, pinned=stays, stop=stop)
    else:
        found = continued(
            points,
            now[rows],
            k,
            given=given[rows],
            anchors=anchors,
            pinned=stays[rows],
            progress=progress,
            stop=stop,
        )
    notes: tuple[str, ...] = ()
    if found.k < k and (step or len(anchors)):  # otherwise the sentence says so
        free = found.k > len(anchors) or not len(anchors)
        why = "no more distinct embeddings" if free else "there are no other images"
        notes = (f"k reduced from {k} to {found.k}: {why}",)
    done = _for_all(found.fit(points, asked_k=k, notes=notes), group)
    matching = follow(
        standing.before,
        done.assigned,
        [ids[one] if one >= 0 else -1 for one in found.origins],
        next_id=catalog.clusterings.next_cluster_id(),
        weights=space.counts,
        old_ids=() if standing.current is None else standing.current.cluster_ids,
        free=_free_ids(catalog, standing),
    )
    return done, matching


def match_ids(catalog: Catalog, space: Space, standing: CurrentClusters, done: Fit) -> Matching:
    """Ids of the new clusters: the frozen ones keep theirs, the others are matched."""
    return match(
        standing.before,
        done.assigned,
        k=done.k,
        next_id=catalog.clusterings.next_cluster_id(),
        weights=space.counts,
        old_ids=() if standing.current is None else standing.current.cluster_ids,
        pinned=standing.constraints.kept,
        free=_free_ids(catalog, standing),
        lasting=standing.lasting,
    )


def _free_ids(catalog: Catalog, standing: CurrentClusters) -> Sequence[int]:
    """Ids that may be used again: all of them while every clustering was provisional."""
    if standing.current is None or not standing.current.provisional:
        return ()
    return range(1, catalog.clusterings.next_cluster_id())


def _anchors(
    catalog: Catalog,
    space: Space,
    standing: CurrentClusters,
    given: npt.NDArray[np.int32],
    recipe: str,
) -> Vectors:
    """Where the frozen clusters without contents lie, (f, dims); zeros for the others."""
    kept = standing.constraints.kept
    found = np.zeros((len(kept), space.points.shape[1]), np.float32)
    empty = [place for place in range(len(kept)) if not (given == place).any()]
    if not empty or standing.current is None:
        return found
    model = Model(catalog, standing.current)
    for place in empty:
        found[place] = moved_centroid(model, kept[place], space, recipe)
    return found


def moved_centroid(model: Model, cluster: int, space: Space, recipe: str) -> Vectors:
    """The centroid of a cluster of a clustering in another space, (dims,).

    It lies nowhere where embeddings by another recipe made it.
    """
    old = model.clustering
    centroid: Vectors = old.centroids[old.cluster_ids.index(cluster)]
    if old.recipe != recipe or is_nowhere(centroid):
        return nowhere(space.points.shape[1])
    if space.stored == old.projection and space.name == old.space:
        return centroid
    moved: Vectors = project(space.projection, unproject(model.projection, centroid[np.newaxis]))[0]
    return moved


def result_of(
    catalog: Catalog,
    space: Space,
    standing: CurrentClusters,
    done: Fit,
    matching: Matching,
    *,
    number: int | None,
    chosen_by: str,
    sentence: str,
    provisional: bool,
    continues: bool,
) -> ClusterResult:
    """What a clustering is and did: the published one of this number, or (None) a dry run."""
    if number is not None:
        sizes = catalog.assignments.sizes(number)
    else:
        counts = np.bincount(done.assigned, weights=space.counts, minlength=done.k)
        sizes = {one: int(count) for one, count in zip(matching.ids, counts, strict=True)}
    notes = (*space.notes, *done.notes)
    kept = standing.constraints.kept
    others = int(space.counts[~np.isin(standing.before, kept)].sum())
    if kept and len(kept) == done.k and others:
        notes += (
            f"every cluster has a name: {counted(others, 'other image')} joined to these; "
            f"-k {done.k + 1} or more keeps them apart",
        )
    return ClusterResult(
        clustering=number,
        k=done.k,
        chosen_by=chosen_by,
        sentence=sentence,
        space=space.name,
        inertia=done.inertia,
        sizes=dict(sorted(sizes.items())),
        provisional=provisional,
        notes=notes,
        frozen=kept,
        continued=continues,
        **lineage_fields(lineage(matching, catalog.clusterings.names())),
    )
