"""Reembed: every content embedded again by another recipe, beside the old; then the change-over.

Nothing about progress is written but the embeddings themselves: what has none by the new recipe
is what is left to do, so an interruption or a crash costs one batch.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.embedding.recipe import Embedder
from imgclust.errors import ImgclustError
from imgclust.failpoints import passing
from imgclust.images.pool import Decoder
from imgclust.images.reader import Decoded, Outcome
from imgclust.progress import Progress, StopFlag
from imgclust.wording import printable

# Old embeddings removed in one transaction.
_CHUNK = 2000
# The setting that names recipes whose embeddings are to go.
_RETIRED = "retired_recipes"
# Batches read ahead of the network.
_AHEAD = 3
_WAIT_S = 0.2
_TRIAL = 8


@dataclass(frozen=True)
class ReembedResult:
    """What was done, or (`dry_run`) what would be.

    Attributes
    ----------
    before, after
        The recipes, in one line each.
    contents, embedded, waiting
        Distinct images; embedded now by the new recipe; those still without such an embedding.
    clusters
        Clusters of the clustering in the new recipe's space, None where there was none.
    kept
        How many of them continue one from before.
    seconds
        How long it took, or would take about; NaN where that cannot be measured before a download.
    """

    before: str
    after: str
    contents: int
    embedded: int
    waiting: int
    clusters: int | None
    kept: int
    seconds: float
    dry_run: bool


def estimate(
    catalog: Catalog, recipe: str, *, embedder: Embedder, decoder: Decoder, stop: StopFlag
) -> float:
    """Seconds that the rest will take, by a trial on a few images; stores nothing."""
    waiting = catalog.checking.contents_without_embedding(recipe)
    taken = 0.0
    for _ in range(2):  # the first time the network gets ready
        began = time.monotonic()
        pictures = [decoded for _, decoded in _decoded(catalog, waiting[:_TRIAL], decoder, 1, stop)]
        if pictures:
            embedder.embed(np.stack([decoded.pixels for decoded in pictures]))
        taken = time.monotonic() - began
    return taken / max(1, min(len(waiting), _TRIAL)) * len(waiting)


def embed_all(
    catalog: Catalog,
    recipe: str,
    *,
    embedder: Embedder,
    decoder: Decoder,
    batch: int,
    progress: Progress,
    stop: StopFlag,
) -> int:
    """Embed what the recipe has not embedded yet, a commit a batch; returns how many.

    The caller holds the ingest lock.

    Raises
    ------
    StoppedError
        Between two batches; what was committed counts the next time.
    ImgclustError
        When files are gone or have changed: all that can be embedded is by then.
    """
    retired = catalog.setting(_RETIRED) or []
    if recipe in retired:  # the way back: no ingest in between is to take away what is made now
        with catalog.transaction():
            catalog.store(_RETIRED, [one for one in retired if one != recipe])
    waiting = catalog.checking.contents_without_embedding(recipe)
    total = catalog.contents.count()
    done = 0
    ready: list[tuple[int, Decoded]] = []

    def commit() -> None:
        nonlocal done
        vectors = embedder.embed(np.stack([decoded.pixels for _, decoded in ready]))
        with catalog.transaction():
            for (key, _), vector in zip(ready, vectors, strict=True):
                catalog.contents.put_embedding(key, recipe, vector, embedder.provenance)
        passing("reembed.commit")
        done += len(ready)
        ready.clear()
        progress("embedding again", total - len(waiting) + done, total)

    progress("embedding again", total - len(waiting), total)
    for pair in _decoded(catalog, waiting, decoder, _AHEAD * batch, stop):
        ready.append(pair)
        if len(ready) == batch:
            commit()
            stop.check()
    if ready:
        commit()
    left = catalog.checking.contents_without_embedding(recipe)
    if left:
        path = printable(catalog.images.with_content(left[0])[0].path)
        raise ImgclustError(
            f"{len(left)} of {total} distinct images cannot be embedded again: their files are "
            f"gone or changed ({path}); bring them back, or let imgclust know by imgclust watch "
            "--once and imgclust missing accept, then run reembed again; until then nothing changes"
        )
    return done


def change_over(catalog: Catalog, *, recipe: str, settings: dict[str, Any]) -> None:
    """The collection is of another recipe from here on; the caller holds the transaction.

    Clusterings by other recipes end: none of them can take arrivals, or be gone back to.
    """
    for key, value in settings.items():
        catalog.store(key, value)
    retired = {catalog.setting("recipe"), *(catalog.setting(_RETIRED) or [])} - {recipe}
    catalog.store(_RETIRED, sorted(retired))
    catalog.store("recipe", recipe)
    catalog.clusterings.retire(recipe)
    catalog.projections.drop_other(recipe)
    catalog.sweeps.drop_other(recipe)
    passing("reembed.change")


def drop_old(catalog: Catalog, recipe: str, *, progress: Progress, stop: StopFlag) -> None:
    """Remove the embeddings by other recipes, in short transactions.

    Raises
    ------
    StoppedError
        Between two of them; the next ingest resumes.
    """
    _drop(catalog, sorted({*catalog.contents.recipes()} - {recipe}), progress, stop)


def drop_retired(catalog: Catalog, *, progress: Progress, stop: StopFlag) -> None:
    """Remove what a crash after a change-over has left of the recipe before, as `drop_old` does.

    What an unfinished reembed has made by another recipe is not touched: it resumes from there.
    """
    retired = catalog.setting(_RETIRED)
    if retired:
        _drop(catalog, retired, progress, stop)


def _drop(catalog: Catalog, recipes: Sequence[str], progress: Progress, stop: StopFlag) -> None:
    dropped = 0
    for recipe in recipes:
        some = -1
        while some:
            with catalog.piece():
                some = catalog.contents.drop_embeddings(recipe, limit=_CHUNK)
            dropped += some
            progress("removing old embeddings", dropped, None)
            stop.check()
    with catalog.transaction():
        catalog.store(_RETIRED, [])


def _decoded(
    catalog: Catalog, keys: Sequence[int], decoder: Decoder, ahead: int, stop: StopFlag
) -> Iterator[tuple[int, Decoded]]:
    """The contents that can be read, as decoded from one of their files each."""
    outcomes: queue.SimpleQueue[tuple[int, list[bytes], Outcome]] = queue.SimpleQueue()
    on_their_way = 0

    def receiver(key: int, others: list[bytes]) -> Callable[[Outcome], None]:
        return lambda outcome: outcomes.put((key, others, outcome))

    def submit(key: int, paths: list[bytes]) -> bool:
        if not paths:
            return False
        decoder.submit(paths[0], receiver(key, paths[1:]))
        return True

    waiting = iter(keys)
    exhausted = False
    while True:
        while on_their_way < ahead and not exhausted:
            key = next(waiting, None)
            if key is None:
                exhausted = True
                break
            paths = [image.path for image in catalog.images.with_content(key)]
            on_their_way += submit(key, paths)
        if not on_their_way:
            return
        try:
            key, others, outcome = outcomes.get(timeout=_WAIT_S)
        except queue.Empty:
            stop.check()
            continue
        on_their_way -= 1
        if isinstance(outcome, Decoded) and key_of(outcome.sha256) == key:
            yield key, outcome
        else:  # another image may still have these bytes
            on_their_way += submit(key, others)
