"""What people said about images, in every clustering: corrections as constraints."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.corrections import Correction
from imgclust.clustering.constraints import UnsatisfiableError, contracted, satisfied
from imgclust.clustering.id_map import Matching, follow
from imgclust.clustering.kmeans import Fit
from imgclust.clusters.correction_conflicts import (
    contradiction,
    correction_text,
    demanded,
    linked,
    possible,
    refusal,
)
from imgclust.clusters.feature_space import Space, Vectors, unit
from imgclust.errors import UsageError
from imgclust.wording import counted, joined

if TYPE_CHECKING:
    from imgclust.clusters.model import Model
    from imgclust.clusters.space_fit import CurrentClusters

_NAMED = 3  # corrections that wait, in a message


def enforce(
    catalog: Catalog,
    model: Model,
    *,
    contents: Iterable[int] | None = None,
    new: Iterable[int] = (),
    what: str = "this",
) -> list[int]:
    """Move contents of a clustering to where corrections want them; the caller holds a transaction.

    Parameters
    ----------
    contents
        Only where a correction is about one of these, or tied to one that is; None for all.
    new, what
        Numbers of corrections that a person makes now, and what they are, for an error.

    Returns
    -------
    list of int
        The contents that have another cluster now.

    Raises
    ------
    UsageError
        When corrections cannot be satisfied; names those that prevent it.
    """
    table = catalog.corrections
    if contents is None:
        if not table.some:
            return []
        active = table.active()
    else:
        keys = set(contents)
        if not table.about(keys):
            return []
        active = linked(table.active(), keys)
    number, ids = model.clustering.id, model.clustering.cluster_ids
    now = catalog.assignments.clusters_of(number, {key for one in active for key in one.contents})
    found = demanded(active, now, ids)
    place_of = {cluster: place for place, cluster in enumerate(ids)}
    assigned = np.array([place_of[now[key]] for key in found.keys.tolist()], np.int32)
    wrong = found.demands.violated(assigned)
    if not wrong.any():
        return []
    recipe = model.clustering.recipe
    seen = np.array([catalog.contents.has_embedding(int(key), recipe) for key in found.keys])
    dims = model.clustering.centroids.shape[1]
    points = np.zeros((len(found.keys), dims), np.float32)
    if seen.any():
        points[seen] = model.points(catalog.contents.embeddings(found.keys[seen], recipe))
    frozen = np.isin(ids, catalog.clusterings.frozen())[assigned]
    demands = replace(found.demands, preferred=np.where(frozen, assigned, -1))
    try:
        placed = satisfied(points, model.clustering.centroids, assigned, demands)
    except UnsatisfiableError as error:
        concerned = linked(active, found.keys[[*error.rows]].tolist())
        raise refusal(catalog, concerned, now, ids, new=set(new), what=what) from None
    moved = np.flatnonzero(placed != assigned)
    apart = np.linalg.norm(points[moved] - model.clustering.centroids[placed[moved]], axis=1)
    catalog.assignments.move(
        number,
        [
            (int(found.keys[row]), ids[int(placed[row])], float(distance))
            for row, distance in zip(moved, apart, strict=True)
        ],
    )
    return [int(key) for key in found.keys[moved]]


def enforce_arrivals(catalog: Catalog, model: Model, keys: Sequence[int]) -> list[str]:
    """The same for contents that arrive, which nobody waits for: nothing is refused.

    What was said about an image that comes back may have been contradicted while it was away. Then
    what was said last counts, and the others end; returns a sentence about each.
    """
    try:
        _placed(catalog, model, keys)
        return []
    except UsageError:
        if model.clustering.id != catalog.clusterings.current_id():
            return []  # whoever makes that clustering gets the error
    active = linked(catalog.corrections.active(), keys)
    ids = model.clustering.cluster_ids
    now = catalog.assignments.clusters_of(
        model.clustering.id, {key for one in active for key in one.contents}
    )
    kept: list[Correction] = []
    ended: list[str] = []
    for one in reversed(active):
        if possible([*kept, one], now, ids):
            kept.append(one)
            continue
        catalog.corrections.end([one.id], "contradicted")
        ended.append(
            f"correction {one.id} ends ({correction_text(one, catalog)}): an image is back, and "
            "what was said since, or the number of clusters, contradicts it"
        )
        catalog.event("corrections", ended[-1])
    with contextlib.suppress(
        UsageError
    ):  # too hard to tell: no arrival waits for that, doctor says
        _placed(catalog, model, keys)
    return ended


def _placed(catalog: Catalog, model: Model, keys: Sequence[int]) -> None:
    """Enforce what was said about arrivals; links of images that move with them follow."""
    moved = enforce(catalog, model, contents=keys)
    if model.clustering.id == catalog.clusterings.current_id():
        catalog.ledger.queue_links_of(moved)


def follow_near_copies(
    catalog: Catalog, keys: Sequence[int], vectors: Vectors, recipe: str
) -> None:
    """Have arrivals `(n, d)` that are near copies of corrected contents follow these.

    The caller holds the transaction. What a person has said about a content itself stays.
    """
    table = catalog.corrections
    leads = [one for one in table.leads() if one.content not in set(keys)]
    leads = [one for one in leads if catalog.contents.has_embedding(one.content, recipe)]
    if not leads:
        return
    contents = list(dict.fromkeys(one.content for one in leads))
    bounds = {one.content: one.near for one in leads}
    cosines = unit(vectors) @ unit(catalog.contents.embeddings(contents, recipe)).T
    cosines[cosines < np.array([bounds[one] for one in contents])] = -np.inf
    for row in np.flatnonzero(np.isfinite(cosines).any(axis=1)).tolist():
        key = int(keys[row])
        if table.about([key]):
            continue
        chosen = contents[int(np.argmax(cosines[row]))]
        for lead in leads:
            if lead.content == chosen and not table.ever_followed(lead.id, key):
                table.add(
                    lead.kind, key, cluster=lead.cluster, made_by=lead.made_by, follows=lead.id
                )


def merge_required(space: Space, active: Sequence[Correction]) -> Space:
    """The space with contents that have to be together as one point of their weight."""
    group = np.arange(len(space.keys))
    found = demanded(active, space.keys.tolist(), ())
    if len(np.unique(found.demands.group)) == len(found.keys):
        return space
    rows = np.searchsorted(space.keys, found.keys)
    group[rows] = rows[found.demands.group]
    return replace(space, points=contracted(space.points, group))


def required_clusters(
    space: Space, active: Sequence[Correction], clusters: Sequence[int]
) -> npt.NDArray[np.int32]:
    """Place among `clusters` of the cluster that each content has to be in, (n,); -1 if free."""
    found = demanded(active, space.keys.tolist(), clusters)
    places = np.full(len(space.keys), -1, np.int32)
    places[np.searchsorted(space.keys, found.keys)] = found.demands.fixed
    return places


def corrected(
    catalog: Catalog,
    space: Space,
    standing: CurrentClusters,
    done: Fit,
    matching: Matching,
) -> tuple[Fit, Matching, int]:
    """A fit after what corrections decide, what becomes of the clusters then, and how many moved.

    Raises
    ------
    UsageError
        When the corrections cannot be satisfied.
    """
    active = standing.corrections
    lost = {*standing.lasting} - {*matching.ids}
    if lost:
        wrong = [one for one in active if one.kind == "in" and one.cluster in lost]
        raise contradiction(catalog, wrong, f"to make {counted(done.k, 'cluster')}", every=True)
    found = demanded(active, space.keys.tolist(), matching.ids)
    rows = np.searchsorted(space.keys, found.keys)
    assigned = done.assigned[rows]
    distances = done.distances.copy()
    # Those that have to be together were one point in the fit.
    apart = space.points[rows] - done.centroids[assigned]
    distances[rows] = np.linalg.norm(apart, axis=1)
    if not found.demands.violated(assigned).any():
        return replace(done, distances=distances), matching, 0
    # What has to be together with a member of a frozen cluster joins it.
    given = standing.constraints.given(found.keys) >= 0
    demands = replace(found.demands, preferred=np.where(given, assigned, -1))
    try:
        placed = satisfied(space.points[rows], done.centroids, assigned, demands)
    except UnsatisfiableError as error:
        concerned = linked(active, found.keys[[*error.rows]].tolist())
        there = set(found.keys.tolist())
        raise refusal(catalog, concerned, there, matching.ids, every=active) from None
    changed = rows[placed != assigned]
    everywhere = done.assigned.copy()
    everywhere[rows] = placed
    apart = space.points[changed] - done.centroids[everywhere[changed]]
    distances[changed] = np.linalg.norm(apart, axis=1)
    before = standing.before
    old_ids = () if standing.current is None else standing.current.cluster_ids
    known = set(old_ids) | set(before[before >= 0].tolist())
    done = replace(done, assigned=everywhere, distances=distances)
    stay = {*standing.constraints.kept, *standing.lasting}
    done, places = without_empty(
        done, [place for place, one in enumerate(matching.ids) if one in stay]
    )
    origins = [matching.ids[place] for place in places]
    matching = follow(
        before,
        done.assigned,
        [one if one in known else -1 for one in origins],
        next_id=catalog.clusterings.next_cluster_id(),
        weights=space.counts,
        old_ids=old_ids,
    )
    inertia = float(np.square(distances, dtype=np.float64).sum())
    return replace(done, inertia=inertia), matching, len(changed)


def without_empty(done: Fit, stay: Sequence[int] = ()) -> tuple[Fit, list[int]]:
    """A fit without clusters that have no rows, but for those that `stay`; and the places left."""
    kept = np.bincount(done.assigned, minlength=done.k) > 0
    kept[list(stay)] = True
    places = np.flatnonzero(kept).tolist()
    if len(places) == done.k:
        return done, places
    renumbered = (np.cumsum(kept) - 1).astype(np.int32)
    fewer = replace(
        done,
        k=len(places),
        centroids=done.centroids[kept],
        assigned=renumbered[done.assigned],
    )
    return fewer, places


def follow_lineage(
    catalog: Catalog,
    number: int,
    *,
    split: Mapping[int, Sequence[int]],
    merged: Mapping[int, int],
    new: Collection[int],
) -> None:
    """Corrections follow the clusters that a clustering has split and merged.

    The caller holds the transaction; the assignments of the clustering are there.

    Parameters
    ----------
    split
        Parts of each cluster that was divided. What was put into it is in the part that it has
        come to, what was taken out of it is in none of the `new` ones: clusters that there were
        before are others, about which nothing was said.
    merged
        The cluster that others have gone into. What was taken out of those and was in that one
        already stays there.
    new
        The clusters that there were not before.
    """
    table = catalog.corrections
    active = [one for one in table.active() if one.cluster is not None]
    put_in = {(one.content, one.cluster) for one in active if one.kind == "in"}
    taken_out = {(one.content, one.cluster) for one in active if one.kind == "not_in"}
    concerned = {one.content for one in active if one.cluster in split or one.cluster in merged}
    now = catalog.assignments.clusters_of(number, concerned)
    steps: dict[int, int] = {}
    for one in active:
        assert one.cluster is not None
        if one.cluster in split:
            parts = split[one.cluster]
            if one.kind == "in":
                part = now.get(one.content, one.cluster)
                part = part if part in parts else next(iter({one.cluster} & {*parts}), parts[0])
                if part != one.cluster:
                    steps[one.id] = part
                continue
            for part in parts:
                known = (one.content, part) in taken_out | put_in
                if part != one.cluster and part in new and not known:
                    table.extend(one, part, clustering=number)
        elif one.cluster in merged:
            heir = merged[one.cluster]
            # What a person put there before an automatic union stays there.
            stays = (one.content, heir) in put_in or now.get(one.content) == heir
            if one.kind == "in" or not stays:
                steps[one.id] = heir
    table.move(steps, clustering=number)


def require_mergeable(catalog: Catalog, clustering: int, chosen: Sequence[int]) -> None:
    """Refuse to merge clusters when a person has said that an image of them is not in one of them.

    Raises
    ------
    UsageError
        Names the corrections.
    """
    active = catalog.corrections.active()
    now = catalog.assignments.clusters_of(
        clustering, {key for one in active for key in one.contents}
    )
    among = set(chosen)
    wrong = [
        one
        for one in active
        if (one.kind == "not_in" and one.cluster in among and now.get(one.content) in among)
        or (one.kind == "apart" and all(now.get(key) in among for key in one.contents))
    ]
    if wrong:
        raise contradiction(catalog, wrong, f"to merge {joined(sorted(chosen))}", every=True)


def violations(catalog: Catalog) -> list[int]:
    """Contents of the current clustering that are not where corrections want them."""
    clustering = catalog.clusterings.current_id()
    active = catalog.corrections.active()
    if clustering is None or not active:
        return []
    ids = catalog.clusterings.cluster_ids(clustering)
    now = catalog.assignments.clusters_of(
        clustering, {key for one in active for key in one.contents}
    )
    found = demanded(active, now, ids)
    place_of = {cluster: place for place, cluster in enumerate(ids)}
    assigned = np.array([place_of.get(now[key], -1) for key in found.keys.tolist()], np.int32)
    return [int(key) for key in found.keys[found.demands.violated(assigned)]]


def idle_count(standing: CurrentClusters, clusters: Sequence[int]) -> int:
    """How many corrections say nothing of a clustering with these clusters."""
    there = set(clusters)
    return sum(one.cluster is not None and one.cluster not in there for one in standing.corrections)


def idle_notes(catalog: Catalog, clusters: Sequence[int]) -> tuple[str, ...]:
    """A sentence about the corrections that a clustering with these clusters cannot apply."""
    active = catalog.corrections.active()
    there = catalog.contents.known({key for one in active for key in one.contents})
    idle = demanded(active, there, clusters).idle
    if not idle:
        return ()
    shown = "; ".join(f"{one.id}: {correction_text(one, catalog)}" for one in idle[:_NAMED])
    more = f" and {len(idle) - _NAMED} more" if len(idle) > _NAMED else ""
    what = "a correction waits" if len(idle) == 1 else f"{len(idle)} corrections wait"
    return (f"{what}, since the cluster is not there now ({shown}{more})",)
