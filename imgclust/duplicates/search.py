"""Finding: candidates from the index, looked at by their pixels, put into groups."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.duplicates.best import (
    Rank,
    Ranking,
    by_file,
    is_kept,
    may_be_enlarged,
    raw_beside,
    reason,
)
from imgclust.duplicates.neighbour_cache import Neighbourhood
from imgclust.duplicates.pair_search import Pairs, grouped, search_pairs
from imgclust.duplicates.pixel_check import Originals, Pictures, Verifier
from imgclust.duplicates.thresholds import Thresholds
from imgclust.fs import stored
from imgclust.images.filestat import Listings
from imgclust.images.headers import Header
from imgclust.index.vector_index import VectorIndex
from imgclust.paths import Located
from imgclust.progress import Progress, StopFlag

# `bytes` is a number in the class that needs this.
_Paths = tuple[bytes, ...]


@dataclass(frozen=True)
class Duplicate(Located):
    """An image of a group.

    `score` is the cosine similarity to the group's best copy. `relation` to it is "best" (it is
    the best copy itself), "exact", "near" or "similar". `hard_links` are paths of images that are
    the same file: to delete one of them frees nothing. `similarity` to the best copy, and its
    `rarity`, are known in groups of similar images where a similarity is stored.
    """

    id: int
    path: bytes
    score: float
    width: int
    height: int
    bytes: int
    relation: str
    hard_links: _Paths = ()
    similarity: float | None = None
    rarity: int | None = None

    @property
    def freed(self) -> int:
        """Bytes that are free when this image is deleted."""
        return 0 if self.hard_links else self.bytes


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that belong together, the best copy first; no image is in two groups.

    Attributes
    ----------
    kind
        "exact" (all have the same bytes), "near" (the same picture; some at another size or
        encoding) or "similar" (crops, bursts).
    images
        The best copy first. All others of an exact or a near group can be spared.
    reason
        Why the first is the best: one of `best.REASONS`, "detail" or "enlarged";
        "" with `beside`.
    beside
        Of a similar group: the best copy of another group that these images are similar to.
    """

    kind: str
    images: tuple[Duplicate, ...]
    reason: str
    beside: Duplicate | None = None


@dataclass(frozen=True)
class DuplicatesResult:
    """Groups of exact and near copies; groups of similar images apart.

    `unseen` is how many contents of images that are there could not be looked at, so that only
    exact copies of them are known. `hard_links` counts images that are other names of a file that
    is an image already: they take no space, and are in no group.
    """

    groups: tuple[DuplicateGroup, ...]
    similar: tuple[DuplicateGroup, ...]
    thresholds: Thresholds
    images: int
    unseen: int
    hard_links: int = 0


def find(
    catalog: Catalog,
    index: VectorIndex,
    *,
    shapes: Mapping[int, tuple[int, int, int]],
    thresholds: Thresholds,
    pictures: Pictures,
    originals: Originals,
    ranking: Ranking,
    neighbourhood: Neighbourhood,
    progress: Progress,
    stop: StopFlag,
) -> DuplicatesResult:
    """Find all duplicates; the index and the catalog agree.

    Candidates are the nearest neighbours of each content whose cosine reaches `thresholds.near`,
    whose sides have the same ratio, and whose thumbnails agree. They are near duplicates when
    all their pixels agree, and similar otherwise. Images that are missing or have changed on
    disk are left out.

    Parameters
    ----------
    shapes
        Width and height in pixels and size in bytes of every content.
    neighbourhood
        Of the contents in the index; completed here, also when this is stopped.
    """
    dismissed = catalog.dismissals.pairs()
    alike, similar = search_pairs(
        index,
        neighbourhood,
        shapes=shapes,
        thresholds=thresholds,
        pictures=pictures,
        progress=progress,
        stop=stop,
    )
    several = {key for key, number in catalog.images.counts_by_content().items() if number > 1}
    unseen = pictures.unseen
    asked = {*several, *unseen, *alike.keys.ravel().tolist(), *similar.keys.ravel().tolist()}
    images, linked, written = _present(catalog, asked, progress, stop)
    alike = _among(alike, images, dismissed)
    similar = _among(similar, images, dismissed)
    compared = {key for key in (*several, *alike.keys.ravel().tolist()) if key in images}
    ranks = _ranked(images, shapes, written, compared, ranking, progress, stop)
    order = {key: ranks[same[0].id] for key, same in images.items() if key in shapes}
    verifier = Verifier(neighbourhood, originals, progress=progress, stop=stop)
    try:
        copies = grouped(
            alike,
            order,
            compare=verifier.compare,
            sizes={key: shapes[key][0] * shapes[key][1] for key in order},
            kept={key for key, rank in order.items() if is_kept(rank)},
            enlarged=lambda one, other: may_be_enlarged(order[one], order[other]),
        )
    finally:  # what an interruption leaves is used the next time
        verifier.keep()

    def shown(key: int, score: float, image: Image, relation: str) -> Duplicate:
        names = linked.get(image.id, ())
        return Duplicate(image.id, image.path, min(score, 1.0), *shapes[key], relation, names)

    def files_of(key: int) -> list[Image]:
        """The images of a content that count as copies; one where a person wants them all."""
        return images[key][:1] if (key, key) in dismissed else images[key]

    def of_copies(group: list[tuple[int, float]]) -> DuplicateGroup | None:
        best = group[0][0]
        found = [
            shown(key, score, image, "exact" if key == best else "near")
            for key, score in group
            for image in files_of(key)
        ]
        if len(found) < 2:
            return None
        kind = "near" if len(group) > 1 else "exact"
        found[0] = replace(found[0], relation="best")
        return DuplicateGroup(kind, tuple(found), reason([ranks[one.id] for one in found]))

    def of_similar(group: list[tuple[int, float]]) -> DuplicateGroup:
        found = [shown(key, score, images[key][0], "similar") for key, score in group]
        found[0] = replace(found[0], relation="best")
        if group[0][0] in leaders:
            return DuplicateGroup("similar", tuple(found[1:]), "", beside=found[0])
        return DuplicateGroup("similar", tuple(found), reason([ranks[one.id] for one in found]))

    near = {key for group in copies for key, _ in group}
    exact = sorted(
        ([(key, 1.0)] for key in several & order.keys() if key not in near),
        key=lambda group: images[group[0][0]][0].id,
    )
    groups = [made for group in (*exact, *copies) if (made := of_copies(group)) is not None]
    shown_ids = {one.id for group in groups for one in group.images}
    leaders = {group[0][0] for group in (*exact, *copies) if images[group[0][0]][0].id in shown_ids}
    # Small pictures are compared with all that have their shape, whatever the network sees.
    pairs = Pairs.of([similar, alike.where(alike.scores >= thresholds.near)])
    one, other = np.isin(pairs.keys, np.array(sorted(leaders), np.int64)).T
    lesser = near - leaders
    # The best copies of other groups come first, so that they are in no group of similar images.
    first = {key: (int(key not in leaders), *rank) for key, rank in order.items()}
    return DuplicatesResult(
        groups=tuple(groups),
        similar=tuple(map(of_similar, grouped(pairs.where(~(one & other)), first, without=lesser))),
        thresholds=thresholds,
        images=catalog.images.count() - catalog.images.count_missing(),
        unseen=len(unseen & images.keys()),
        hard_links=sum(map(len, linked.values())),
    )


def _ranked(
    images: Mapping[int, list[Image]],
    shapes: Mapping[int, tuple[int, int, int]],
    written: Mapping[int, int],
    compared: Collection[int],
    ranking: Ranking,
    progress: Progress,
    stop: StopFlag,
) -> dict[int, Rank]:
    """Ranks of the images by id; those of each content are sorted, the best first.

    Only headers of files that can have a copy are read.
    """
    raw = raw_beside([image.path for key in compared for image in images[key]])
    found: dict[int, Rank] = {}
    for number, (key, same) in enumerate(images.items()):
        if number % 100 == 0:
            stop.check()
            progress("reading headers", number, len(images))
        if key not in shapes:
            continue
        known = ranking.header(same[0].path) if key in compared else Header()
        for image in same:
            found[image.id] = ranking.rank(
                image, shapes[key], known, raw, written=written[image.id]
            )
        same.sort(key=lambda image: found[image.id])
    return found


def _present(
    catalog: Catalog, keys: Collection[int], progress: Progress, stop: StopFlag
) -> tuple[dict[int, list[Image]], dict[int, tuple[bytes, ...]], dict[int, int]]:
    """Images of these contents, oldest first: those whose files are as they were when read.

    One for each file; the paths of other images that are the same file, and when files were
    written, by the image's id.
    """
    found: dict[int, list[Image]] = {}
    linked: dict[int, tuple[bytes, ...]] = {}
    written: dict[int, int] = {}
    tops = {root.id: root.path for root in catalog.roots.all()}
    listings = Listings()
    for number, key in enumerate(sorted(keys)):
        if number % 1000 == 0:
            stop.check()
            progress("looking at files", number, len(keys))
        there = []
        for image in catalog.images.with_content(key):
            known = catalog.observations.at(image.path)
            if image.state != "present" or known is None or known.state != "done":
                continue
            try:
                stat = os.stat(image.path, follow_symlinks=False)
            except OSError:
                continue
            if (stat.st_size, stored(stat.st_mtime_ns)) == known.stat[2:4]:
                there.append((image, stat))
                written[image.id] = stat.st_mtime_ns
        for first, *others in by_file(there, tops, listings):
            found.setdefault(key, []).append(first)
            if others:
                linked[first.id] = tuple(other.path for other in others)
    return found, linked, written


def _among(pairs: Pairs, images: Mapping[int, object], dismissed: set[tuple[int, int]]) -> Pairs:
    """The pairs of contents of which there are images, without those that are dismissed."""
    kept = [
        one in images and other in images and (one, other) not in dismissed
        for one, other in pairs.keys.tolist()
    ]
    return pairs.where(np.array(kept, bool))
