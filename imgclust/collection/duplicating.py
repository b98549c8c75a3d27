"""Duplicates: what reads pictures for the search, and what a person says is none."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imgclust import weights
from imgclust.collection.networks import embedder_opener
from imgclust.collection.results import Dismissed
from imgclust.duplicates import (
    LIKE,
    DuplicatesResult,
    Neighbourhood,
    Pictures,
    Thresholds,
    calibrate,
    find,
    known,
    renewed,
)
from imgclust.embedding import recipe_of
from imgclust.errors import LockedError, NothingThereError, StorageError, UsageError
from imgclust.images import SIZE_CAP_BYTES, Decoded, claim
from imgclust.locks import FileLock

if TYPE_CHECKING:
    from imgclust.collection.opened import Opened


def duplicates(collection: Opened, *, min_score: float | None) -> DuplicatesResult:
    """See `Collection.duplicates`."""
    if min_score is not None and not 0 < min_score <= 1:
        raise UsageError(f"--min-score {min_score} is no cosine similarity; use 0 to 1")
    recipe = collection.recipe
    collection.progress("comparing images", 0, None)
    live = collection.live_index()
    live.top_up()
    pictures = Pictures(lambda key: picture(collection, key))
    thresholds = known(collection.catalog, recipe, trunk=recipe_of(weights.trunk()).name)
    if min_score is not None:
        similar = min_score if thresholds is None else max(min_score, thresholds.similar)
        thresholds = Thresholds(min_score, similar, 0)
    elif thresholds is None:
        collection.say(
            "what a copy scores by this recipe is measured once, on copies of 200 images; "
            "the network is needed for that"
        )
        thresholds = calibrate(
            collection.catalog,
            recipe,
            index=live.index,
            embedder=embedder_opener(collection)(),
            read=lambda key: _bytes(collection, key),
            cells=pictures,
            progress=collection.progress,
            stop=collection.stop,
        )
    shapes = collection.catalog.contents.shapes()
    keys = np.array(sorted(key for key in shapes if key in live.index), np.int64)
    file = collection.folders.neighbourhood
    kept = Neighbourhood.load(file, recipe=recipe, likeness=LIKE)
    neighbourhood = renewed(
        kept, live.index, keys, progress=collection.progress, stop=collection.stop
    )
    try:
        return find(
            collection.catalog,
            live.index,
            shapes=shapes,
            thresholds=thresholds,
            pictures=pictures,
            neighbourhood=neighbourhood,
            progress=collection.progress,
            stop=collection.stop,
        )
    finally:  # what an interruption left counts the next time
        # A cache: a disk that refuses, and another process that keeps its own, do not matter.
        with contextlib.suppress(OSError, StorageError, LockedError):
            if not neighbourhood.same_as(kept):
                with FileLock(
                    collection.folders.lock("duplicates"), purpose="keeping the neighbours of"
                ):
                    neighbourhood.save(file, recipe=recipe, likeness=LIKE)


def dismiss(collection: Opened, ids: Sequence[int], *, undo: bool) -> Dismissed:
    """See `Collection.dismiss_duplicates`."""
    if len(set(ids)) < 2:
        raise UsageError("name two images or more by their ids, as imgclust duplicates shows them")
    contents = []
    for one in dict.fromkeys(ids):
        image = collection.catalog.images.get(one)
        if image is None:
            raise NothingThereError(f"no image has the id {one}")
        contents.append(image.content)
    pairs = list(itertools.combinations(contents, 2))
    with collection.catalog.transaction():
        if undo:
            collection.catalog.dismissals.remove(pairs)
        else:
            collection.catalog.dismissals.add(pairs)
    return Dismissed(images=tuple(ids), undone=undo)


def picture(collection: Opened, key: int) -> bytes | None:
    """The thumbnail of a content; where there is none, one is made from its file."""
    kept = collection.thumbnail(key)
    if kept is not None:
        return kept
    for image in collection.catalog.images.with_content(key):
        outcome = claim(image.path)
        content = collection.catalog.contents.get(key)
        if not isinstance(outcome, Decoded) or content is None or outcome.thumbnail is None:
            continue
        if outcome.sha256 == content.sha256:
            if collection.settings.decode.thumbnails:
                with contextlib.suppress(OSError):  # a cache
                    collection.thumbnails().put(key, outcome.thumbnail)
            return outcome.thumbnail
    return None


def _bytes(collection: Opened, key: int) -> bytes | None:
    content = collection.catalog.contents.get(key)
    if content is None or content.bytes > SIZE_CAP_BYTES:
        return None
    for image in collection.catalog.images.with_content(key):
        with contextlib.suppress(OSError), open(image.path, "rb") as file:
            found = file.read(content.bytes + 1)
            if hashlib.sha256(found).digest() == content.sha256:
                return found
    return None
