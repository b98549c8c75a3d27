"""Finding: candidates from the index, looked at by their pixels, put into groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog, Image
from imgclust.duplicates.grouping import Pairs, grouped
from imgclust.duplicates.pictures import Pictures
from imgclust.duplicates.thresholds import LIKE, Thresholds
from imgclust.index import RowSearch, VectorIndex
from imgclust.progress import Progress, StopFlag
from imgclust.projection import fit_pca

# Candidates of each content; asked for again, four times as many, where all of them are copies.
_NEIGHBOURS = 16
_BLOCK = 512
# Above so many contents the neighbours are looked for in fewer dimensions, and scored in all.
_MANY = 5000
_FEWER_DIMS = 256
# Above so many the rows are divided into parts, of which the nearest are searched.
_VERY_MANY = 20_000
_PCA_ROWS = 4096
# Sides of a copy are rounded to whole pixels, and some programs round to even ones.
_ROUNDED_PX = 1.5


@dataclass(frozen=True)
class Duplicate:
    """An image of a group; `score` is the cosine similarity to the group's first, the best copy."""

    id: int
    path: bytes
    score: float
    width: int
    height: int
    bytes: int


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

    `unseen` is how many contents could not be looked at, so that only exact copies of them are
    known.
    """

    groups: tuple[DuplicateGroup, ...]
    similar: tuple[DuplicateGroup, ...]
    thresholds: Thresholds
    images: int
    unseen: int


def find(
    catalog: Catalog,
    index: VectorIndex,
    *,
    thresholds: Thresholds,
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
) -> DuplicatesResult:
    """Find all duplicates; the index is in step with the catalog.

    Two contents are near duplicates when their cosine reaches `thresholds.near`, their sides have
    the same ratio, and their pictures show the same pixels. Candidates are the nearest
    neighbours of each content. Images that are missing or have changed on disk are left out.
    """
    images = _present(catalog, progress, stop)
    shapes = catalog.contents.shapes()
    dismissed = catalog.contents.dismissed()
    keys = np.array(sorted(key for key in images if key in index and key in shapes), np.int64)
    near, similar = _pairs(
        index,
        keys,
        shapes=shapes,
        thresholds=thresholds,
        pictures=pictures,
        progress=progress,
        stop=stop,
    )
    near, similar = _without(near, dismissed), _without(similar, dismissed)
    order = {int(key): _best_first(shapes[int(key)]) for key in keys}
    copies = grouped(near, order)
    lesser = {key for group in copies for key, _ in group[1:]}

    def shown(key: int, score: float, image: Image) -> Duplicate:
        return Duplicate(image.id, image.path, min(score, 1.0), *shapes[key])

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
        images=sum(map(len, images.values())),
        unseen=pictures.unseen,
    )


def _present(catalog: Catalog, progress: Progress, stop: StopFlag) -> dict[int, list[Image]]:
    """Images of each content, oldest first: those whose files are as they were when read."""
    found: dict[int, list[Image]] = {}
    total = catalog.images.count()
    for number, image in enumerate(list(catalog.images.all())):
        if number % 1000 == 0:
            stop.check()
            progress("looking at files", number, total)
        known = catalog.observations.at(image.path)
        if image.state != "present" or known is None or known.state != "done":
            continue
        try:
            there = os.stat(image.path, follow_symlinks=False)
        except OSError:
            continue
        if (there.st_size, there.st_mtime_ns) == known.stat[2:4]:
            found.setdefault(image.content, []).append(image)
    return found


def _best_first(shape: tuple[int, int, int]) -> tuple[int, int]:
    width, height, size = shape
    return -width * height, -size


def _pairs(
    index: VectorIndex,
    keys: npt.NDArray[np.int64],
    *,
    shapes: dict[int, tuple[int, int, int]],
    thresholds: Thresholds,
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Pairs, Pairs]:
    """Near pairs, and similar ones."""
    if len(keys) < 2:
        return Pairs.of([]), Pairs.of([])
    search, points = _search(index, keys, progress, stop)
    sides = np.array([shapes[int(key)][:2] for key in keys], np.float64)
    asked, number = np.arange(len(keys)), _NEIGHBOURS
    near: list[Pairs] = []
    similar: list[Pairs] = []
    while len(asked) and number <= 2 * len(keys):
        again = []
        for start in range(0, len(asked), _BLOCK):
            stop.check()
            progress("comparing images", start, len(asked))
            rows = asked[start : start + _BLOCK]
            beside = search.nearest(points(rows), number + 1)
            here = np.repeat(np.arange(len(rows)), beside.shape[1])
            other = beside.reshape(-1)
            real = (other >= 0) & (other != rows[here])
            here, other = here[real], other[real]
            scores = _cosines(index, keys, rows, here, other)
            one = rows[here]
            looked = (scores >= thresholds.near) & _same_ratio(sides[one], sides[other])
            same = np.zeros(len(one), bool)
            same[looked] = pictures.alike(
                keys[one[looked]], keys[other[looked]], least=LIKE, stop=stop
            )
            found = Pairs(np.stack([keys[one], keys[other]], axis=1), scores)
            near.append(found.where(same))
            similar.append(found.where(~same & (scores >= thresholds.similar)))
            full = np.bincount(here[same], minlength=len(rows)) >= number
            again.append(rows[full])
        asked, number = np.concatenate(again), 4 * number
    return Pairs.of(near), Pairs.of(similar)


def _search(
    index: VectorIndex, keys: npt.NDArray[np.int64], progress: Progress, stop: StopFlag
) -> tuple[RowSearch, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]]:
    """A search over the contents, and what gives their points by position."""
    if len(keys) <= _MANY:
        rows = index.reconstruct(keys)
    else:
        progress("comparing images", 0, None)
        sample = np.linspace(0, len(keys) - 1, _PCA_ROWS).astype(np.int64)
        projection = fit_pca(index.reconstruct(keys[sample]), dims=_FEWER_DIMS)
        rows = np.empty((len(keys), projection.dims), np.float32)
        for start in range(0, len(keys), _BLOCK):
            stop.check()
            part = slice(start, start + _BLOCK)
            rows[part] = projection.transform(index.reconstruct(keys[part]))
    parts = round(2 * len(keys) ** 0.5) if len(keys) > _VERY_MANY else 1
    return RowSearch(rows, parts=parts), lambda positions: rows[positions]


def _cosines(
    index: VectorIndex,
    keys: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    here: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Cosines `(m,)` of the contents `rows[here]` with the contents `other`."""
    own = index.reconstruct(keys[rows])
    scores = np.empty(len(other), np.float32)
    for start in range(0, len(other), _BLOCK):
        part = slice(start, start + _BLOCK)
        beside = index.reconstruct(keys[other[part]])
        scores[part] = np.einsum("ij,ij->i", own[here[part]], beside)
    return scores


def _same_ratio(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether the sides `(m, 2)` could be one picture's, but for rounding to whole pixels."""
    off = np.abs(np.log(one[:, 0] * other[:, 1]) - np.log(one[:, 1] * other[:, 0]))
    least = np.minimum(one.min(axis=1), other.min(axis=1))
    found: npt.NDArray[np.bool_] = off <= np.log1p(_ROUNDED_PX / least)
    return found


def _without(pairs: Pairs, dismissed: set[tuple[int, int]]) -> Pairs:
    if not dismissed:
        return pairs
    kept = [(one, other) not in dismissed for one, other in pairs.keys.tolist()]
    return pairs.where(np.array(kept, bool))
