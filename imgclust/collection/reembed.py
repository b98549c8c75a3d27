"""Reembedding: another recipe for a collection, with its lock, network, clusters and index."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from imgclust import devices, paths, reembed, weights
from imgclust.clusters import Recluster
from imgclust.collection import ingest
from imgclust.collection.embedder import open_chosen, record_of, require_packages
from imgclust.collection.link_folder import finish_links
from imgclust.embedding import Recipe, recipe_of
from imgclust.errors import NothingThereError
from imgclust.locks import FileLock
from imgclust.reembed import ReembedResult

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

_BATCH = 32


def to_recipe(collection: Opened, *, dry_run: bool) -> ReembedResult:
    """See `Collection.reembed`."""
    require_packages()
    catalog, settings = collection.catalog, collection.settings
    kept = catalog.setting("recipe")
    if kept is None:
        raise NothingThereError("the collection has no images yet; there is nothing to embed again")
    before = Recipe.parse(kept)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if not dry_run:
            stack.enter_context(collection.ingest_lock())
        chosen = weights.choose(
            settings.embedding.weights,
            cache=paths.cache_folder() / "weights",
            say=collection.say,
            progress=collection.progress,
            stop=collection.stop,
        )
        recipe = recipe_of(chosen, raw=settings.embedding.raw)
        waiting = len(catalog.checking.contents_without_embedding(recipe.name))
        embedded, clusters, continued = 0, None, 0
        seconds = 0.0
        if waiting:
            decoder = ingest.pool(collection, max(1, min(4, devices.cpu_count())))
            stack.callback(decoder.close)
            embedder = open_chosen(collection, chosen, recipe)
            if dry_run:
                seconds = reembed.estimate(
                    catalog, recipe.name, embedder=embedder, decoder=decoder, stop=collection.stop
                )
            else:
                embedded = reembed.embed_all(
                    catalog,
                    recipe.name,
                    embedder=embedder,
                    decoder=decoder,
                    batch=settings.embedding.batch or _BATCH,
                    progress=collection.progress,
                    stop=collection.stop,
                )
        if not dry_run:
            if recipe != before:
                clusters, continued = _change_over(collection, chosen, recipe)
            reembed.drop_old(
                catalog, recipe.name, progress=collection.progress, stop=collection.stop
            )
            collection.recluster().drop_unfinished()
            live = collection.open_index(catalog, verify=False)
            live.close(save=True)
            seconds = time.monotonic() - began
    if not dry_run:
        finish_links(collection)
    return ReembedResult(
        before=before.short,
        after=recipe.short,
        contents=catalog.contents.count(),
        embedded=embedded,
        waiting=waiting if dry_run else 0,
        clusters=clusters,
        kept=continued,
        seconds=seconds,
        dry_run=dry_run,
    )


def _change_over(
    collection: Opened, chosen: weights.Weights, recipe: Recipe
) -> tuple[int | None, int]:
    """Cluster in the new space, as many clusters as there were, and change over with that.

    Returns the clusters and how many of them continue one from before.
    """
    catalog = collection.catalog

    def change() -> None:
        kept = catalog.setting("kept") or {}
        reembed.change_over(
            catalog,
            recipe=recipe.name,
            settings={
                "weights": record_of(chosen),
                "kept": kept | {"embedding.raw": collection.settings.embedding.raw},
            },
        )
        # What the file holds is of the old recipe; it is a cache, and made again at once.
        with contextlib.suppress(OSError):
            collection.folders.index_file.unlink(missing_ok=True)

    lock = collection.folders.lock("clustering")
    current = catalog.clusterings.current()
    if current is None:
        # A clustering that is being made is of the recipe from before: it must not come after.
        with FileLock(lock, purpose="clustering"), catalog.transaction():
            change()
        return None, 0
    made = Recluster(
        catalog,
        recipe=recipe.name,
        settings=collection.settings,
        lock=lock,
        charts_folder=collection.folders.charts,
        progress=collection.progress,
        stop=collection.stop,
    ).cluster(
        k=str(current.k),
        space=current.space,
        seed=current.seed,
        chosen_by=current.chosen_by,
        provisional=current.provisional,
        also=change,
    )
    return made.k, len(made.kept)
