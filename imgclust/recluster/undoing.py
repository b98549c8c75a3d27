"""Undo: one clustering back, with its ids, names and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgclust.catalog import Catalog
from imgclust.clustering import regrouped
from imgclust.errors import NothingThereError
from imgclust.recluster.publishing import make_current
from imgclust.recluster.results import ClusterResult
from imgclust.recluster.space import ArrivalAssigner


def undo(catalog: Catalog, *, recipe: str) -> ClusterResult:
    """Make the clustering before the current one the current one again.

    Images that came since are assigned to its clusters. Ids that come back are `returned`, not
    `new`: those were never used before. A name that a merge carried over to the
    cluster that it made is taken from it again. The caller holds the clustering lock.

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
    carried = current.lineage.get("asked", {}).get("name")

    def publish() -> None:
        clusterings.make_current(back.id)
        clusterings.confirm(back.id)
        if carried is not None:
            heir = int(current.lineage["asked"]["into"])
            if clusterings.names().get(heir) == carried:  # a name given since stays
                clusterings.name(heir, None)
                catalog.ledger.queue_links(assignments.images_in(back.id, heir))

    since = catalog.contents.sequence()
    ArrivalAssigner(catalog).catch_up(recipe, clustering=back.id)
    make_current(catalog, back.id, recipe=recipe, since=since, publish=publish)
    before, after = set(current.cluster_ids), set(back.cluster_ids)
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
    )


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
