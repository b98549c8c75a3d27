"""Undo: one clustering back, with its ids, names and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgclust.catalog import Catalog, Clustering
from imgclust.clustering import regrouped
from imgclust.clusters.adapting import adapted
from imgclust.clusters.model import ArrivalAssigner
from imgclust.clusters.publish import make_current
from imgclust.clusters.results import ClusterResult
from imgclust.clusters.succession import ChangedMeanwhileError
from imgclust.errors import NothingThereError


def undo(catalog: Catalog, *, recipe: str) -> ClusterResult:
    """Make the clustering before the current one the current one again.

    Images that came since are assigned to its clusters. Ids that come back are `returned`, not
    `new`: those were never used before. Frozen clusters stay, with the members that they have now;
    a split or a merge that is undone brings back what was frozen before it, and a name that a
    merge gave to the cluster that it made is taken from it again. The caller holds the clustering
    lock.

    Raises
    ------
    NothingThereError
        When there is no clustering before the current one.
    """
    clusterings, assignments = catalog.clusterings, catalog.assignments
    current = clusterings.current()
    if current is None or current.previous is None:
        raise NothingThereError("there is no clustering before the current one")
    back = clusterings.get(current.previous)
    frozen = clusterings.frozen()
    since = catalog.contents.sequence()
    back, succession = adapted(catalog, current, back, frozen=frozen)
    before, after = set(current.cluster_ids), set(back.cluster_ids)

    def publish() -> None:
        if set(clusterings.frozen()) - set(frozen):
            raise ChangedMeanwhileError("clusters were named meanwhile; run this again")
        clusterings.make_current(back.id)
        clusterings.confirm(back.id)
        _name_as_before(catalog, current, back.id, returned=after - before)

    ArrivalAssigner(catalog).catch_up(recipe, clustering=back.id, succession=succession)
    make_current(
        catalog, back.id, recipe=recipe, since=since, succession=succession, publish=publish
    )
    overlaps = assignments.overlaps(current.id, back.id)
    split, merged = regrouped(overlaps)
    names = clusterings.names()
    counts = catalog.images.counts_by_content()
    return ClusterResult(
        clustering=back.id,
        k=back.k,
        chosen_by=back.chosen_by,
        sentence=f"back at clustering {back.id} with k = {back.k}",
        space=back.space,
        inertia=back.inertia,
        sizes=assignments.sizes(back.id),
        kept=_kept(overlaps, sorted(before & after)),
        split=tuple({"from": old, "into": list(news)} for old, news in split),
        merged=tuple({"from": list(olds), "into": one} for olds, one in merged),
        new=(),
        gone=tuple({"id": one, "name": names.get(one)} for one in sorted(before - after)),
        moved=sum(counts.get(one, 0) for one in assignments.differing(current.id, back.id)),
        provisional=False,
        notes=(),
        returned=tuple({"id": one, "name": names.get(one)} for one in sorted(after - before)),
        frozen=frozen,
    )


def _name_as_before(
    catalog: Catalog, current: Clustering, number: int, *, returned: set[int]
) -> None:
    """Names and freezing as they were before the clustering that is undone."""
    clusterings = catalog.clusterings
    lineage, names = current.lineage, clusterings.names()
    # A catalog of an older version does not tell: what had a name is frozen.
    frozen = lineage.get("frozen", sorted(returned & names.keys()))
    for one in returned:
        clusterings.freeze(one, one in frozen)
    asked = lineage.get("asked", {})
    if asked.get("name") is None:
        return
    heir = int(asked["into"])
    if names.get(heir) == asked["name"]:  # a name given since stays
        stays = heir in frozen and heir in clusterings.frozen()
        clusterings.name(heir, asked.get("before"))
        clusterings.freeze(heir, stays)
        catalog.ledger.queue_links(catalog.assignments.images_in(number, heir))


def _kept(overlaps: Mapping[tuple[int, int], int], ids: list[int]) -> tuple[dict[str, Any], ...]:
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for (one, other), images in overlaps.items():
        before[one] = before.get(one, 0) + images
        after[other] = after.get(other, 0) + images
    kept = []
    for one in ids:
        both = overlaps.get((one, one), 0)
        either = before.get(one, 0) + after.get(one, 0) - both
        jaccard = round(both / either, 4) if either else 1.0
        kept.append({"id": one, "images": both, "jaccard": jaccard})
    return tuple(kept)
