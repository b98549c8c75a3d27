"""The status of a collection: in full for a person who asks, in short for a watcher's screen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imgclust.clusters import drifting
from imgclust.collection.results import CurrentClustering, Standing, Status
from imgclust.embedding import Recipe
from imgclust.ingest import Holds, held_folders

if TYPE_CHECKING:
    from imgclust.collection.context import Opened


def status(collection: Opened) -> Status:
    """See `Collection.status`."""
    catalog = collection.catalog
    with catalog.snapshot():
        recipe = catalog.setting("recipe")
        kept = catalog.setting("weights")
        clustering = catalog.clusterings.current()
        roots = catalog.roots.all()
        absent = catalog.images.missing()
        holds = Holds.of(catalog)
        held = held_folders(catalog)
        current = None
        distinct = unassigned = catalog.contents.count()
        drift = None
        if clustering is not None:
            unassigned = len(catalog.assignments.unassigned(clustering.id, clustering.recipe))
            drift = drifting(catalog, clustering)
            current = CurrentClustering(
                id=clustering.id,
                k=clustering.k,
                space=clustering.space,
                inertia=clustering.inertia,
                created=clustering.created,
                provisional=clustering.provisional,
                chosen_by=clustering.chosen_by,
                generation=clustering.generation,
            )
        return Status(
            collection=collection.name,
            folder=collection.folders.root,
            recipe=None if recipe is None else Recipe.parse(recipe).short,
            weights=None if kept is None else str(kept["name"]),
            images=catalog.images.count(),
            distinct=distinct,
            quarantined=catalog.observations.count_quarantined(),
            damaged=catalog.details.count_damaged(),
            skipped=catalog.observations.skipped(),
            removed=catalog.observations.count_removed(),
            pending=catalog.observations.pending(),
            missing=len(absent),
            held=tuple((one.path, one.reason) for one in held),
            held_images=sum(holds.reason(image) is not None for image in absent),
            offline=tuple((one.path, one.images) for one in held if one.offline),
            clusters=0 if clustering is None else len(clustering.cluster_ids),
            clustering=current,
            unassigned=unassigned,
            roots=tuple(root.path for root in roots if root.kind == "watched"),
            added=sum(root.kind == "added" for root in roots),
            link_mode=collection.settings.links.mode,
            link_folder=collection.link_folder,
            watching=collection.is_watching,
            drift=drift,
            provenances=catalog.contents.provenances(),
            events=tuple(catalog.events(10)),
        )


def standing(collection: Opened) -> Standing:
    """See `Collection.standing`."""
    catalog = collection.catalog
    clustering = catalog.clusterings.current()
    images = catalog.images.count()
    to_review = math.ceil(images * catalog.ledger.share_to_review())
    return Standing(
        images=images,
        pending=catalog.observations.pending(),
        quarantined=catalog.observations.count_quarantined(),
        missing=catalog.images.count_missing(),
        unlinked=catalog.ledger.count_queued_links() + to_review,
        clusters=0 if clustering is None else len(clustering.cluster_ids),
        provisional=clustering is not None and clustering.provisional,
        drift=None if clustering is None else drifting(catalog, clustering),
        run=None if collection.counted is None else collection.counted(),
    )
