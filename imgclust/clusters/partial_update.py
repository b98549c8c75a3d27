"""Some clusters of the current clustering replaced by others; all the rest stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.catalog.integrity import must_be_numbers
from imgclust.clustering.id_map import Matching
from imgclust.clustering.kmeans import Fit
from imgclust.clusters.correction_demands import follow_lineage, require_mergeable
from imgclust.clusters.feature_space import Space
from imgclust.clusters.model import (
    ChangedMeanwhileError,
    ClusterResult,
    Model,
    Succession,
    lineage,
    lineage_fields,
)
from imgclust.clusters.publish import described, make_current
from imgclust.errors import NothingThereError, RecipeError, UsageError
from imgclust.failpoints import passing
from imgclust.progress import Progress
from imgclust.wording import NO_CLUSTERS, joined

# Assignments written in one transaction: the watcher waits for no more than that.
_CHUNK = 5000


@dataclass(frozen=True)
class Group:
    """The contents of some clusters of the current clustering, in its space.

    `before` is the cluster of each content `(n,)`; `sizes` are the images of all clusters, also
    of the others; `names` those of all clusters, gone ones included, `frozen` the frozen ones.
    """

    base: Clustering
    clusters: tuple[int, ...]
    space: Space
    before: npt.NDArray[np.int64]
    sizes: dict[int, int]
    names: dict[int, str]
    frozen: tuple[int, ...]

    @property
    def others(self) -> list[int]:
        """Positions of the clusters that stay as they are."""
        ids = self.base.cluster_ids
        return [place for place, cluster in enumerate(ids) if cluster not in self.clusters]


@dataclass(frozen=True)
class Change:
    """New clusters in place of those of a group.

    `ids` are those of the new clusters by position, `matching` says what becomes of all clusters,
    `asked` is kept with the lineage: what a person wanted, with the `name` that the cluster `into`
    takes. `heirs` are the clusters that the members of each one of the group may join.
    """

    group: Group
    fit: Fit
    ids: tuple[int, ...]
    matching: Matching
    asked: dict[str, Any]
    chosen_by: str
    sentence: str
    heirs: dict[int, tuple[int, ...]]


def group_of(
    catalog: Catalog, clusters: tuple[int, ...], *, recipe: str, progress: Progress
) -> Group:
    """Read the contents of some clusters of the current clustering.

    Raises
    ------
    ClusteringError
        When an embedding holds NaN.
    NothingThereError
        When there is no such cluster, or no image in any of them.
    RecipeError
        When the clusters are of another recipe than the collection.
    """
    base = catalog.clusterings.current()
    if base is None:
        raise NothingThereError(NO_CLUSTERS)
    for cluster in clusters:
        catalog.clusterings.find(cluster)
    if base.recipe != recipe:
        raise RecipeError(
            f"the clusters are of the recipe {base.recipe}, the collection is of {recipe}; "
            "re-cluster with imgclust cluster"
        )
    progress("reading embeddings", 0, None)
    with catalog.snapshot():
        sequence = catalog.contents.sequence()
        keys, before = catalog.assignments.members(base.id, clusters)
        embeddings = catalog.contents.embeddings(keys, recipe)
        images = catalog.images.counts_by_content()
        sizes = catalog.assignments.sizes(base.id)
        names, frozen = catalog.clusterings.names(), catalog.clusterings.frozen()
    must_be_numbers(catalog, keys, embeddings)
    counts = np.array([images.get(int(key), 0) for key in keys], np.int64)
    if not len(keys):
        which = (
            f"clusters {joined(clusters)} have" if len(clusters) > 1 else f"cluster {cluster} has"
        )
        raise NothingThereError(f"{which} no images now; there is nothing to change")
    space = Model(catalog, base).space(keys, embeddings, counts=counts, sequence=sequence)
    return Group(base, clusters, space, before, sizes, names, frozen)


def with_others(group: Group, local: Matching) -> Matching:
    """What becomes of all clusters: the others are kept whole."""
    others = [group.base.cluster_ids[place] for place in group.others]
    kept = [(one, group.sizes[one], 1.0) for one in others]
    return replace(local, ids=(*others, *local.ids), kept=tuple(sorted([*kept, *local.kept])))


def apply_change(
    catalog: Catalog, change: Change, *, dry_run: bool, progress: Progress
) -> ClusterResult:
    """Publish the change as a new clustering, or (`dry_run`) say what it would be."""
    group = change.group
    told = lineage(change.matching, catalog.clusterings.names())
    rest = catalog.assignments.distances_but(group.base.id, group.clusters)
    inertia = rest.inertia + change.fit.inertia
    number = None
    if dry_run:
        here = np.bincount(change.fit.assigned, weights=group.space.counts, minlength=change.fit.k)
        sizes = {one: size for one, size in group.sizes.items() if one not in group.clusters}
        sizes |= {one: int(images) for one, images in zip(change.ids, here, strict=True)}
    else:
        fitted = rest.fitted + len(group.space.keys)
        distances = rest.distances + float(change.fit.distances.sum(dtype=np.float64))
        number = _publish(
            catalog,
            change,
            told,
            inertia=inertia,
            mean_distance=distances / fitted,
            contents=fitted,
            progress=progress,
        )
        sizes = catalog.assignments.sizes(number)
    return ClusterResult(
        clustering=number,
        k=len(change.matching.ids),
        chosen_by=change.chosen_by,
        sentence=change.sentence,
        space=group.base.space,
        inertia=inertia,
        sizes=dict(sorted(sizes.items())),
        provisional=False,
        notes=change.fit.notes,
        frozen=tuple(one for one in group.frozen if one not in group.clusters),
        **lineage_fields(told),
    )


def _publish(
    catalog: Catalog,
    change: Change,
    told: dict[str, Any],
    *,
    inertia: float,
    mean_distance: float,
    contents: int,
    progress: Progress,
) -> int:
    """Write the clustering in chunks, then publish it in one short transaction."""
    group, done = change.group, change.fit
    base, others = group.base, group.others
    rows = [base.described[place] for place in others]
    rows += described(group.space, done, change.ids)
    with catalog.transaction():
        number = catalog.clusterings.begin(
            provisional=False,
            space=base.space,
            chosen_by=change.chosen_by,
            inertia=inertia,
            mean_distance=mean_distance,
            seed=base.seed,
            recipe=catalog.contents.recipe_id(base.recipe),
            projection=base.projection,
            sequence=group.space.sequence,
            contents=contents,
            centroids=np.concatenate([base.centroids[others], done.centroids]),
            similarity=base.similarity,
        )
        catalog.clusterings.set_clusters(number, rows)
        # What comes from here on is assigned, and counted, when the clustering is published.
        until = catalog.contents.sequence()
        catalog.assignments.take_over_arrivals(base.id, number, but=group.clusters)
    _write(catalog, change, number, until, progress)
    asked = change.asked

    def publish() -> None:
        clusterings = catalog.clusterings
        names, frozen = clusterings.names(), clusterings.frozen()
        for one in group.clusters:
            if names.get(one) != group.names.get(one) or (one in frozen) != (one in group.frozen):
                raise ChangedMeanwhileError(f"cluster {one} was named meanwhile; run this again")
        if set(frozen) - {*change.matching.ids, *group.clusters}:
            raise ChangedMeanwhileError("a cluster was made meanwhile; run this again")
        _require_free(asked.get("name"), names, change.matching.ids, asked.get("into"))
        _freeze(catalog, change, number)
        if "merge" in asked:
            require_mergeable(catalog, base.id, asked["merge"])
        clusterings.publish(number, told | {"asked": asked, "frozen": list(group.frozen)})
        follow_lineage(
            catalog,
            number,
            split={asked["split"]: asked["into"]} if "split" in asked else {},
            merged={one: asked["into"] for one in asked.get("merge", ()) if one != asked["into"]},
            new=asked["into"] if "split" in asked else (),
        )

    stay = {one: (one,) for one in group.frozen if one not in group.clusters}
    within = {one: heirs for one, heirs in change.heirs.items() if one in group.frozen}
    make_current(
        catalog,
        number,
        recipe=base.recipe,
        since=group.space.sequence,
        succession=Succession(stay | within, change.matching.ids),
        publish=publish,
    )
    return number


def _require_free(
    name: str | None, names: Mapping[int, str], ids: Sequence[int], cluster: int | None
) -> None:
    taken = [one for one in ids if name is not None and names.get(one) == name and one != cluster]
    if taken:
        raise UsageError(f"cluster {taken[0]} is called {name!r} already; choose another name")


def _freeze(catalog: Catalog, change: Change, number: int) -> None:
    """Name the cluster `into`; it is frozen where one of the group was, those that end are not."""
    clusterings, asked = catalog.clusterings, change.asked
    frozen = [one for one in change.group.clusters if one in change.group.frozen]
    for one in frozen:
        clusterings.freeze(one, one in change.ids)
    if "into" not in asked or "merge" not in asked:
        return
    heir = asked["into"]
    if "name" in asked:
        clusterings.name(heir, asked["name"])
        catalog.ledger.queue_links(catalog.assignments.images_in(number, heir))
    clusterings.freeze(heir, bool(frozen) or bool(asked.get("given")))


def _write(catalog: Catalog, change: Change, number: int, until: int, progress: Progress) -> None:
    group, done = change.group, change.fit
    total = sum(group.sizes.values())
    ids = np.array(change.ids, np.int64)[done.assigned]
    last: int | None = -1
    written = 0
    while last is not None:
        progress("writing assignments", min(written, total), total)
        with catalog.piece():
            last = catalog.assignments.take_over(
                group.base.id, number, but=group.clusters, until=until, after=last, limit=_CHUNK
            )
        written += _CHUNK
        passing("recluster.chunk")
    for start in range(0, len(group.space.keys), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = (group.space.keys[part], ids[part], done.distances[part])
        with catalog.piece():
            catalog.assignments.assign(
                number, zip(*(one.tolist() for one in found), strict=True), arrived=False
            )
        passing("recluster.chunk")
    progress("writing assignments", total, total)


def unchanged(
    catalog: Catalog, group: Group, chosen_by: str, sentence: str, *, dry_run: bool
) -> ClusterResult:
    """The current clustering as the result of a change that changes nothing; final from now on."""
    base = group.base
    if not dry_run:
        with catalog.transaction():
            catalog.clusterings.confirm(base.id)
    return ClusterResult(
        clustering=None if dry_run else base.id,
        k=base.k,
        chosen_by=chosen_by,
        sentence=sentence,
        space=base.space,
        inertia=base.inertia,
        sizes=group.sizes,
        kept=tuple(
            {"id": one, "images": images, "jaccard": 1.0} for one, images in group.sizes.items()
        ),
        split=(),
        merged=(),
        new=(),
        gone=(),
        moved=0,
        provisional=base.provisional and dry_run,
        notes=(),
        frozen=group.frozen,
    )
