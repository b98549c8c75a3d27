"""History: what every clustering did to the clusters before it, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgclust.catalog import Catalog, PublishedClustering
from imgclust.clusters.partial_update import joined, listed
from imgclust.errors import NothingThereError

_LISTS = ("kept", "split", "merged", "new", "gone")


@dataclass(frozen=True)
class PastClustering:
    """A published clustering and what became of the clusters before it.

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


def life(catalog: Catalog, cluster: int) -> ClusterLife:
    """What became of one cluster in every clustering that knows it.

    Raises
    ------
    NothingThereError
        When there never was such a cluster.
    """
    with catalog.snapshot():
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
