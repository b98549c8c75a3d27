"""Duplicates: what reads pictures for the search, and what a person says is none."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imgclust import weights
from imgclust.collection import images
from imgclust.collection.embedder import embedder_opener
from imgclust.collection.results import Dismissed
from imgclust.collection.whole_pictures import WholePictures
from imgclust.duplicates import (
    LIKE,
    DuplicatesResult,
    Neighbourhood,
    Pictures,
    Ranking,
    Thresholds,
    calibrate,
    find,
    known,
    renewed,
)
from imgclust.embedding import recipe_of
from imgclust.errors import LockedError, NothingThereError, StorageError, UsageError
from imgclust.locks import FileLock
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Opened


def duplicates(
    collection: Opened, *, min_score: float | None, keep: Sequence[bytes]
) -> DuplicatesResult:
    """See `Collection.duplicates`."""
    if min_score is not None and not 0 < min_score <= 1:
        raise UsageError(f"--min-score {min_score} is not a cosine similarity; use 0 to 1")
    for folder in keep:
        if not os.path.isdir(folder):
            raise UsageError(f"--keep {printable(folder)} is not a folder")
    recipe = collection.recipe
    collection.progress("comparing images", 0, None)
    live = collection.live_index()
    live.top_up()
    pictures = Pictures(lambda key: images.picture(collection, key))
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
            read=lambda key: images.bytes_of(collection, key),
            cells=pictures.cells,
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
    originals = WholePictures(collection)
    try:
        return find(
            collection.catalog,
            live.index,
            shapes=shapes,
            thresholds=thresholds,
            pictures=pictures,
            originals=originals,
            ranking=Ranking(keep=[os.path.realpath(folder) for folder in keep]),
            neighbourhood=neighbourhood,
            progress=collection.progress,
            stop=collection.stop,
        )
    finally:  # what an interruption left counts the next time
        originals.close()
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
