"""History: what every clustering did to the clusters before it, and undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering, PublishedClustering
from imgclust.clustering.id_map import regrouped
from imgclust.clusters.correction_demands import idle_notes
from imgclust.clusters.frozen_adaptation import adapted
from imgclust.clusters.model import ArrivalAssigner, ChangedMeanwhileError, ClusterResult
from imgclust.clusters.publish import make_current
from imgclust.errors import NothingThereError
from imgclust.wording import joined, listed


def undo(catalog: Catalog, *, recipe: str) -> ClusterResult:
    """Make the clustering before the current one the current one again.

    Newer images are assigned to its clusters. Ids that come back are `returned`, not
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
        step = "; imgclust clusters corrections --remove takes a correction back"
        raise NothingThereError(
            "there is no clustering before the current one"
            + (step if catalog.corrections.some else "")
        )
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
        catalog.corrections.take_back(current.id)

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
        notes=(*idle_notes(catalog, back.cluster_ids), *_same_names(names, back.cluster_ids)),
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


def _same_names(names: Mapping[int, str], ids: Sequence[int]) -> tuple[str, ...]:
    """A sentence for each name that several of these clusters have."""
    by_name: dict[str, list[int]] = {}
    for one in ids:
        if one in names:
            by_name.setdefault(names[one], []).append(one)
    return tuple(
        f"clusters {joined(several)} are all called {name!r} now: imgclust clusters name ID NAME "
        "gives one of them another name"
        for name, several in by_name.items()
        if len(several) > 1
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


_LISTS = ("kept", "split", "merged", "new", "gone")


@dataclass(frozen=True)
class PastClustering:
    """A published clustering and what happened to the clusters before it.

    `published` is a wall clock in seconds; `undone` says that `cluster --undo` went back beyond
    it; `words` are sentences, `lineage` is what they tell as `ClusterResult` has it.
    """

    id: int
    generation: int
    previous: int | None
    published: float
    current: bool
    undone: bool
    provisional: bool
    space: str
    k: int
    chosen_by: str
    inertia: float
    moved: int
    words: tuple[str, ...]
    lineage: Mapping[str, Any]


@dataclass(frozen=True)
class LifeEvent:
    """What a clustering did to one cluster; `images` are those in it now, None if it ended."""

    clustering: int
    generation: int
    published: float
    current: bool
    undone: bool
    images: int | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class ClusterLife:
    """One cluster from its beginning, oldest event first."""

    id: int
    name: str | None
    alive: bool
    events: tuple[LifeEvent, ...]


def history(catalog: Catalog) -> tuple[PastClustering, ...]:
    """All published clusterings, newest first; those that were undone too."""
    with catalog.snapshot():
        rows = catalog.clusterings.history()
        current = catalog.clusterings.current_id()
    line = _line_to(current, rows)
    return tuple(
        PastClustering(
            id=row.id,
            generation=row.generation,
            previous=row.previous,
            published=row.published,
            current=row.id == current,
            undone=row.id not in line,
            provisional=row.provisional,
            space=row.space,
            k=row.k,
            chosen_by=row.chosen_by,
            inertia=row.inertia,
            moved=int(row.lineage["moved"]),
            words=tuple(sentence for _, sentence in _told(row.lineage)),
            lineage={name: row.lineage[name] for name in _LISTS},
        )
        for row in rows
    )


def life(catalog: Catalog, wanted: int | str) -> ClusterLife:
    """What happened to one cluster in every clustering that knows it.

    Raises
    ------
    NothingThereError
        When there never was such a cluster.
    """
    with catalog.snapshot():
        cluster = catalog.clusterings.find(wanted, past=True)
        rows = catalog.clusterings.history()
        current = catalog.clusterings.current_id()
        names = catalog.clusterings.names()
        living = set() if current is None else set(catalog.clusterings.cluster_ids(current))
        line = _line_to(current, rows)
        events = []
        for row in reversed(rows):
            words = _of_one(row.lineage, cluster)
            if not words:
                continue
            ended = any(one["id"] == cluster for one in row.lineage["gone"])
            images = None if ended else len(catalog.assignments.images_in(row.id, cluster))
            events.append(
                LifeEvent(
                    clustering=row.id,
                    generation=row.generation,
                    published=row.published,
                    current=row.id == current,
                    undone=row.id not in line,
                    images=images,
                    words=words,
                )
            )
    if not events:
        raise NothingThereError(
            f"there never was a cluster {cluster}; imgclust clusters history shows all"
        )
    return ClusterLife(cluster, names.get(cluster), cluster in living, tuple(events))


def _line_to(current: int | None, rows: Sequence[PublishedClustering]) -> set[int]:
    """The current clustering and those that undo would go back to."""
    previous = {row.id: row.previous for row in rows}
    line: set[int] = set()
    while current is not None and current not in line:
        line.add(current)
        current = previous.get(current)
    return line


def _of_one(lineage: Mapping[str, Any], cluster: int) -> tuple[str, ...]:
    words = [sentence for ids, sentence in _told(lineage) if cluster in ids and len(ids) > 1]
    if cluster in lineage["new"] and not words:
        words = ["new"]
    if any(one["id"] == cluster for one in lineage["gone"]) and not words:
        words = ["gone"]
    for one in lineage["kept"]:
        if one["id"] == cluster:
            words.insert(0, f"kept, Jaccard index {one['jaccard']:.2f}")
    return tuple(words)


def _called(cluster: int, name: str | None) -> str:
    return f"{cluster} ({name})" if name else str(cluster)


def _told(lineage: Mapping[str, Any]) -> list[tuple[frozenset[int], str]]:
    """Sentences of a lineage, each with the clusters that it names beyond "new" and "gone"."""
    gone = {int(one["id"]): one["name"] for one in lineage["gone"]}

    def called(ids: Sequence[int]) -> str:
        return joined([_called(one, gone.get(one)) for one in ids])

    asked = lineage.get("asked", {})
    splits = [(one["from"], one["into"]) for one in lineage["split"]]
    merges = [(one["from"], one["into"]) for one in lineage["merged"]]
    if "split" in asked:  # all its parts, those that hold less than a quarter as well
        splits = [(asked["split"], asked["into"])]
    told = []
    for origin, into in splits:
        told.append((frozenset([origin, *into]), f"{called([origin])} split into {listed(into)}"))
    for sources, into in merges:
        sentence = f"{called(sources)} merged into {into}"
        if "name" in asked:
            sentence += f", which took the name {asked['name']}"
        told.append((frozenset([*sources, into]), sentence))
    explained = set[int]().union(*(ids for ids, _ in told))
    new = [one for one in lineage["new"] if one not in explained]
    lost = [one for one in gone if one not in explained]
    if new:
        told.append((frozenset(), f"new: {listed(new)}"))
    if lost:
        told.append((frozenset(), f"gone: {listed([_called(one, gone[one]) for one in lost])}"))
    if not told:
        told.append((frozenset(), f"all {len(lineage['kept'])} clusters kept"))
    return told
