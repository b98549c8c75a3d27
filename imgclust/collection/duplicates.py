"""Duplicates: what reads pictures for the search, what a person says is none, the last result.

The last result of a service is shown as far as it is still true.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shlex
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.feed import StoredJob
from imgclust.catalog.images import Image
from imgclust.clusters.similarity import current_similarity
from imgclust.collection import images
from imgclust.collection.embedder import embedder_opener
from imgclust.collection.link_folder import finish_pages
from imgclust.collection.query_cache import QueryCache
from imgclust.config import Decode
from imgclust.duplicates.best import Ranking
from imgclust.duplicates.copy_test import CopyTest
from imgclust.duplicates.neighbour_cache import Neighbourhood
from imgclust.duplicates.pair_search import updated_neighbourhood
from imgclust.duplicates.pixel_check import Pictures
from imgclust.duplicates.search import Duplicate, DuplicateGroup, DuplicatesResult, find
from imgclust.duplicates.thresholds import LIKE, Thresholds, calibrate, known
from imgclust.embedding.recipe import recipe_of
from imgclust.errors import LockedError, NothingThereError, StorageError, UsageError
from imgclust.fs import stored
from imgclust.images.pool import DecodePool
from imgclust.images.reader import Decoded, Outcome
from imgclust.images.thumbnails import small_pictures
from imgclust.locks import FileLock
from imgclust.paths import Located
from imgclust.weights import loader
from imgclust.wording import path_text, printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.index.vector_index import VectorIndex


# What decoded pictures may take; the two that are compared are kept in any case.
_MOST_BYTES = 256 << 20
_POLL_S = 0.5
# Groups, and images of each, that pages and reports show.
_MOST_KEPT, _MOST_COPIES = 1000, 12
# So many contents are compared for a report.
_QUICK = 5000
# Queued: the pages that are of no folder.
_ALL_FOLDERS = b""
_PAIRS = 1_000  # of similar images, measured at a time
# So many small pictures are read by workers, where there are some.
_MANY = 8


@dataclass(frozen=True)
class Dismissed:
    """Images (ids) that are not duplicates of each other, or (`undone`) may be again."""

    images: tuple[int, ...]
    undone: bool


def duplicates(
    context: Context, *, min_score: float | None, keep: Sequence[bytes]
) -> DuplicatesResult:
    """See `Collection.duplicates`."""
    require_similarity(min_score)
    require_folders(keep)
    recipe = context.recipe
    context.progress("comparing images", 0, None)
    live = context.catalog_index()
    live.top_up()
    pictures = Pictures(lambda key: images.picture(context, key))
    thresholds = known(context.catalog, recipe, trunk=recipe_of(loader.trunk()).name)
    if min_score is not None:
        similar = min_score if thresholds is None else max(min_score, thresholds.similar)
        thresholds = Thresholds(min_score, similar, 0)
    elif thresholds is None:
        context.say(
            "what a copy scores by this recipe is measured once, on copies of 200 images; "
            "the network is needed for that"
        )
        thresholds = calibrate(
            context.catalog,
            recipe,
            index=live.index,
            embedder=embedder_opener(context)(),
            read=lambda key: images.bytes_of(context, key),
            cells=pictures.cells,
            progress=context.progress,
            stop=context.stop,
        )
    shapes = context.catalog.contents.shapes()
    keys = np.array(sorted(key for key in shapes if key in live.index), np.int64)
    file = context.folders.neighbourhood
    kept = Neighbourhood.load(file, recipe=recipe, likeness=LIKE)
    neighbourhood = updated_neighbourhood(
        kept, live.index, keys, progress=context.progress, stop=context.stop
    )
    cache = QueryCache()
    originals = WholePictures(context, cache.pool)
    try:
        found = find(
            context.catalog,
            live.index,
            shapes=shapes,
            thresholds=thresholds,
            pictures=pictures,
            originals=originals,
            ranking=Ranking(keep=[os.path.realpath(folder) for folder in keep]),
            neighbourhood=neighbourhood,
            progress=context.progress,
            stop=context.stop,
        )
    finally:  # what an interruption left counts the next time
        cache.close()
        # A cache: a disk that refuses, and another process that keeps its own, do not matter.
        with contextlib.suppress(OSError, StorageError, LockedError):
            if not neighbourhood.same_as(kept):
                with FileLock(
                    context.folders.lock("duplicates"), purpose="keeping the neighbours of"
                ):
                    neighbourhood.save(file, recipe=recipe, likeness=LIKE)
    if min_score is None:
        _keep(context, found)
    return replace(found, similar=_with_likeness(context, found.similar))


def _with_likeness(
    context: Context, groups: Sequence[DuplicateGroup]
) -> tuple[DuplicateGroup, ...]:
    """Groups of similar images with the similarity of each to the best of its group."""
    catalog, index = context.catalog, context.catalog_index().index
    similarity = current_similarity(catalog, context.recipe)
    if similarity.projection is None:
        return tuple(groups)
    found: dict[int, Duplicate] = {}
    pairs = [
        (group.beside or group.images[0], one)
        for group in groups
        for one in (*group.images, *([] if group.beside is None else [group.beside]))
    ]
    for start in range(0, len(pairs), _PAIRS):
        context.stop.check()
        part = pairs[start : start + _PAIRS]
        images = catalog.images.some([one.id for pair in part for one in pair])
        known = [pair for pair in part if all(_searched(images, one, index) for one in pair)]
        keys = np.array([[images[one.id].content for one in pair] for pair in known], np.int64)
        if known:
            measured = similarity.of_pairs(*(index.reconstruct(side) for side in keys.T))
            for (_, one), likeness, rarity in zip(known, *measured, strict=True):
                found[one.id] = replace(one, similarity=likeness, rarity=rarity)
    return tuple(
        replace(
            group,
            images=tuple(found.get(one.id, one) for one in group.images),
            beside=group.beside and found.get(group.beside.id, group.beside),
        )
        for group in groups
    )


def _searched(images: Mapping[int, Image], one: Duplicate, index: VectorIndex) -> bool:
    return one.id in images and images[one.id].content in index


def renew_quickly(context: Context) -> None:
    """Search again for pages and reports in a collection where that takes moments.

    That is a small one, of weights for which it is known what a copy scores.
    """
    catalog = context.catalog
    if not catalog.writable or catalog.contents.count(context.recipe) > _QUICK:
        return
    if known(catalog, context.recipe, trunk=recipe_of(loader.trunk()).name) is not None:
        with contextlib.suppress(LockedError):
            duplicates(context, min_score=None, keep=())


def _keep(context: Context, found: DuplicatesResult) -> None:
    """Keep what was found for the pages and the report; where that fails, they stay as they are."""
    catalog = context.catalog
    if not catalog.writable:
        return
    groups = found.groups[:_MOST_KEPT]
    images = [copy.id for group in groups for copy in group.images[:_MOST_COPIES]]
    contents = {image: known.content for image in images if (known := catalog.images.get(image))}
    kept = [
        [
            (copy.id, contents[copy.id], copy.relation)
            for copy in group.images[:_MOST_COPIES]
            if copy.id in contents
        ]
        for group in groups
    ]
    with contextlib.suppress(StorageError, LockedError):
        with catalog.transaction():
            catalog.duplicates.put(kept)
            catalog.store("duplicates_found", time.time())
            catalog.ledger.queue_pages([_ALL_FOLDERS])
        finish_pages(context)


@contextlib.contextmanager
def copy_test(context: Context, index: VectorIndex) -> Iterator[CopyTest]:
    """What tells near copies among the images of an answer."""
    cache = context.query_cache or QueryCache()
    trunk = recipe_of(loader.trunk()).name
    try:
        yield CopyTest(
            context.catalog,
            index,
            thresholds=known(context.catalog, context.recipe, trunk=trunk),
            read=lambda key: images.picture(context, key),
            read_many=functools.partial(_outlines, context),
            originals=WholePictures(context, cache.pool),
            memory=cache.memory,
            stop=context.stop,
        )
    finally:
        if cache is not context.query_cache:
            cache.close()


def _outlines(context: Context, keys: Sequence[int]) -> dict[int, npt.NDArray[np.float32]]:
    """Outlines of contents, of those that have a thumbnail; workers of a service read many."""
    store, cache = context.thumbnails(), context.query_cache
    names = [os.fsencode(store.path(key)) for key in keys]
    if cache is not None and len(names) >= _MANY:
        return {keys[place]: one for place, one in cache.outlines(names).items()}
    found = small_pictures(b"\0".join(names))
    return {keys[place]: one for place, one in zip(found.places, found.outlines, strict=True)}


def require_similarity(min_score: float | None) -> None:
    """Refuse what the score of copies cannot be."""
    if min_score is not None and not 0 < min_score <= 1:
        raise UsageError(f"--min-score {min_score} is not a cosine similarity; use 0 to 1")


def require_folders(keep: Iterable[bytes]) -> None:
    """Refuse what is not a folder."""
    for folder in keep:
        if not os.path.isdir(folder):
            raise UsageError(f"--keep {printable(folder)} is not a folder")


def dismiss(context: Context, ids: Sequence[int], *, undo: bool) -> Dismissed:
    """See `Collection.dismiss_duplicates`."""
    if len(set(ids)) < 2:
        raise UsageError("name two images or more by their ids, as imgclust duplicates shows them")
    contents = []
    for one in dict.fromkeys(ids):
        image = context.catalog.images.get(one)
        if image is None:
            raise NothingThereError(f"no image has the id {one}")
        contents.append(image.content)
    pairs = list(itertools.combinations(contents, 2))
    with context.catalog.transaction():
        if undo:
            context.catalog.dismissals.remove(pairs)
        else:
            context.catalog.dismissals.add(pairs)
            context.catalog.duplicates.forget(ids)
            context.catalog.ledger.queue_pages([_ALL_FOLDERS])
    finish_pages(context)
    return Dismissed(images=tuple(ids), undone=undo)


class WholePictures:
    """Decodes contents once each as long as there is room.

    Parameters
    ----------
    pool
        Gives the workers when they are needed.
    """

    def __init__(self, context: Context, pool: Callable[[Decode], DecodePool]) -> None:
        self._context = context
        self._pool = pool
        self._futures: dict[int, Future[Outcome]] = {}
        self._kept: OrderedDict[int, npt.NDArray[np.uint8] | None] = OrderedDict()
        self._bytes = 0

    def request(self, key: int) -> None:
        """Begin to decode a content, unless that was done."""
        if key in self._kept or key in self._futures:
            return
        path = self._path(key)
        if path is None:
            self._kept[key] = None
            return
        future: Future[Outcome] = Future()
        pool = self._pool(self._context.settings.decode)
        pool.submit(path, functools.partial(_settle, future))
        self._futures[key] = future

    def there(self, key: int) -> bool:
        """See `KeptOriginals.there`."""
        path = self._path(key)
        if path is None:
            return False
        known = self._context.catalog.observations.at(path)
        with contextlib.suppress(OSError):
            found = os.stat(path)
            return known is not None and known.stat[2:4] == (
                found.st_size,
                stored(found.st_mtime_ns),
            )
        return False

    def _path(self, key: int) -> bytes | None:
        """Where a content is, as far as the catalog knows."""
        known = self._context.catalog.observations
        for image in self._context.catalog.images.with_content(key):
            there = known.at(image.path)
            if image.state == "present" and there is not None and there.state == "done":
                return image.path
        return None

    def get(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.whole_picture`; None: no file holds the content, or it is not compared."""
        self.request(key)
        future = self._futures.pop(key, None)
        if future is not None:
            outcome = self._waited(future)
            content = self._context.catalog.contents.get(key)
            self._kept[key] = None
            if isinstance(outcome, Decoded) and content is not None:
                # The file may hold another picture by now.
                self._kept[key] = outcome.pixels if outcome.sha256 == content.sha256 else None
            self._bytes += _size(self._kept[key])
        self._kept.move_to_end(key)
        found = self._kept[key]
        while len(self._kept) > 2 and self._bytes > _MOST_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found

    def _waited(self, future: Future[Outcome]) -> Outcome | None:
        while True:
            self._context.stop.check()
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                continue
            except CancelledError:
                return None


def _size(pixels: npt.NDArray[np.uint8] | None) -> int:
    return 0 if pixels is None else pixels.nbytes


def _settle(future: Future[Outcome], outcome: Outcome) -> None:
    future.set_result(outcome)


# `bytes` is a number in the class that needs this.
_Path = bytes


@dataclass(frozen=True)
class FoundCopy(Located):
    """An image of a group; `relation` to the best one is "best", "exact" or "near".

    `freed` are the bytes that its deletion frees: 0 where another name leads to the same file.
    """

    id: int
    path: _Path
    width: int
    height: int
    bytes: int
    relation: str
    freed: int


@dataclass(frozen=True)
class FoundGroup:
    """Copies of one picture, the best first; `reason` says why it is the best."""

    kind: str
    reason: str
    images: tuple[FoundCopy, ...]


@dataclass(frozen=True)
class FoundDuplicates:
    """Some groups, from `offset` on, of `total`; `time` is when they were found.

    `copies` of all groups are not the best one, and `freed` the bytes that these take.
    """

    time: float
    total: int
    offset: int
    copies: int
    freed: int
    groups: tuple[FoundGroup, ...]


def found(context: Context, *, offset: int, limit: int) -> FoundDuplicates:
    """See `Gallery.found_duplicates`."""
    job = _job(context)
    groups = tuple(_groups(context, job))
    spared = [one for group in groups for one in group.images[1:]]
    assert job.ended is not None
    return FoundDuplicates(
        time=job.ended,
        total=len(groups),
        offset=offset,
        copies=len(spared),
        freed=sum(one.freed for one in spared),
        groups=groups[offset : offset + limit],
    )


def shell_list(context: Context) -> str:
    """See `Gallery.duplicates_list`."""
    paths = [one.path for group in _groups(context, _job(context)) for one in group.images[1:]]
    if not paths:
        return ""
    return " \\\n".join(["ls -ld --", *map(quoted, paths)]) + "\n"


def quoted(path: bytes) -> str:
    """A path as a word of a shell: bash, zsh, and every other one for plain names."""
    text = path_text(path)
    if text.encode() == path and text.isprintable():
        return shlex.quote(text)
    plain = b"/-_.+,:@%= "
    return (
        "$'"
        + "".join(
            chr(one) if (chr(one).isalnum() and one < 128) or one in plain else f"\\x{one:02x}"
            for one in path
        )
        + "'"
    )


def _job(context: Context) -> StoredJob:
    for one in context.catalog.jobs.all():
        if one.command == "duplicates" and one.state == "done" and not one.arguments:
            return one
    raise NothingThereError("duplicates were not looked for yet; start the job duplicates")


def _groups(context: Context, job: StoredJob) -> Iterator[FoundGroup]:
    """The groups of a search, without images that have left or changed, or were dismissed."""
    catalog = context.catalog
    with catalog.snapshot():
        listed: Sequence[Mapping[str, Any]] = (job.document or {}).get("groups", ())
        ids = [one["id"] for group in listed for one in group["images"]]
        images = catalog.images.some(ids)
        shapes = catalog.contents.shapes()
        dismissed = catalog.dismissals.pairs()
    for group in listed:
        best: Image | None = None
        copies = []
        for one in group["images"]:
            image = images.get(one["id"])
            if image is None or not _same(one, image, shapes):
                if one["relation"] == "best":
                    break  # another one would be the best now: a new search says which
                continue
            best = best or image
            pair = (min(best.content, image.content), max(best.content, image.content))
            if one["relation"] != "best" and pair in dismissed:
                continue
            copies.append(
                FoundCopy(
                    id=image.id,
                    path=image.path,
                    width=one["width"],
                    height=one["height"],
                    bytes=one["bytes"],
                    relation=one["relation"],
                    freed=0 if one["hard_links"] else one["bytes"],
                )
            )
        if len(copies) > 1:
            yield FoundGroup(group["kind"], group["reason"] or "", tuple(copies))


def _same(one: Mapping[str, Any], image: Image, shapes: Mapping[int, tuple[int, int, int]]) -> bool:
    """Whether an image is there, and as it was found."""
    shape = (one["width"], one["height"], one["bytes"])
    return (
        image.state == "present"
        and path_text(image.path) == one["path"]
        and shapes.get(image.content) == shape
    )
