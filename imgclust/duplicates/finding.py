"""Finding: candidates from the index, looked at by their pixels, put into groups."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from imgclust.catalog import Catalog, Image
from imgclust.duplicates.files import by_file
from imgclust.duplicates.grouping import Pairs, grouped
from imgclust.duplicates.looking import look
from imgclust.duplicates.neighbourhood import Neighbourhood
from imgclust.duplicates.pictures import Pictures
from imgclust.duplicates.thresholds import Thresholds
from imgclust.files import stored
from imgclust.images import Listings
from imgclust.index import VectorIndex
from imgclust.progress import Progress, StopFlag

# `bytes` is a number in the class that needs this.
_Paths = tuple[bytes, ...]


@dataclass(frozen=True)
class Duplicate:
    """An image of a group; `score` is the cosine similarity to the group's first, the best copy.

    `hard_links` are paths of images that are the same file: to delete one of them frees nothing.
    """

    id: int
    path: bytes
    score: float
    width: int
    height: int
    bytes: int
    hard_links: _Paths = ()

    @property
    def freed(self) -> int:
        """Bytes that are free when this image is deleted."""
        return 0 if self.hard_links else self.bytes


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that belong together, the best copy first: most pixels, then most bytes.

    `kind` is "exact" (the same bytes), "near" (the same picture at another size or encoding) or
    "similar" (crops, bursts). An image with exact copies stands for them in the other kinds.
    """

    kind: str
    images: tuple[Duplicate, ...]


@dataclass(frozen=True)
class DuplicatesResult:
    """Exact groups, then near ones, each the best copy first; similar images apart.

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
    neighbourhood: Neighbourhood,
    progress: Progress,
    stop: StopFlag,
) -> DuplicatesResult:
    """Find all duplicates; the index is in step with the catalog.

    Two contents are near duplicates when their cosine reaches `thresholds.near`, their sides have
    the same ratio, and their pictures show the same pixels. Candidates are the nearest
    neighbours of each content. Images that are missing or have changed on disk are left out.

    Parameters
    ----------
    shapes
        Width and height in pixels and size in bytes of every content.
    neighbourhood
        Of the contents in the index; completed here, and by so much still when this is stopped.
    """
    dismissed = catalog.dismissals.pairs()
    near, similar = look(
        index,
        neighbourhood,
        shapes=shapes,
        thresholds=thresholds,
        pictures=pictures,
        progress=progress,
        stop=stop,
    )
    several = (key for key, number in catalog.images.counts_by_content().items() if number > 1)
    unseen = pictures.unseen
    asked = {*several, *unseen, *near.keys.ravel().tolist(), *similar.keys.ravel().tolist()}
    images, linked = _present(catalog, asked, progress, stop)
    near = _among(near, images, dismissed)
    similar = _among(similar, images, dismissed)
    order = {key: _best_first(shapes[key]) for key in images if key in shapes}
    copies = grouped(near, order)
    lesser = {key for group in copies for key, _ in group[1:]}

    def shown(key: int, score: float, image: Image) -> Duplicate:
        names = linked.get(image.id, ())
        return Duplicate(image.id, image.path, min(score, 1.0), *shapes[key], names)

    def groups(kind: str, found: list[list[tuple[int, float]]]) -> Iterator[DuplicateGroup]:
        for group in found:
            members = (shown(key, score, images[key][0]) for key, score in group)
            yield DuplicateGroup(kind, tuple(members))

    exact = (
        DuplicateGroup("exact", tuple(shown(key, 1.0, image) for image in same))
        for key, same in sorted(images.items(), key=lambda item: item[1][0].id)
        if len(same) > 1 and (key, key) not in dismissed and key in shapes
    )
    return DuplicatesResult(
        groups=(*exact, *groups("near", copies)),
        similar=tuple(groups("similar", grouped(similar, order, without=lesser))),
        thresholds=thresholds,
        images=catalog.images.count() - catalog.images.count_missing(),
        unseen=len(unseen & images.keys()),
        hard_links=sum(map(len, linked.values())),
    )


def _present(
    catalog: Catalog, keys: Collection[int], progress: Progress, stop: StopFlag
) -> tuple[dict[int, list[Image]], dict[int, tuple[bytes, ...]]]:
    """Images of these contents, oldest first: those whose files are as they were when read.

    One for each file; and the paths of other images that are the same file, by the image's id.
    """
    found: dict[int, list[Image]] = {}
    linked: dict[int, tuple[bytes, ...]] = {}
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
        for first, *others in by_file(there, tops, listings):
            found.setdefault(key, []).append(first)
            if others:
                linked[first.id] = tuple(other.path for other in others)
    return found, linked


def _best_first(shape: tuple[int, int, int]) -> tuple[int, int]:
    width, height, size = shape
    return -width * height, -size


def _among(pairs: Pairs, images: Mapping[int, object], dismissed: set[tuple[int, int]]) -> Pairs:
    """The pairs of contents of which there are images, without those that are dismissed."""
    kept = [
        one in images and other in images and (one, other) not in dismissed
        for one, other in pairs.keys.tolist()
    ]
    return pairs.where(np.array(kept, bool))
