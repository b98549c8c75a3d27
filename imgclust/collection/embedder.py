"""The network of a collection: its weights, its recipe, its embedder, and a change of recipe."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust import devices
from imgclust.collection.images import read
from imgclust.collection.link_folder import finish_links
from imgclust.embedding.engine_selection import open_embedder, why_engine
from imgclust.embedding.recipe import Embedder, Recipe, recipe_of
from imgclust.errors import ImgclustError, NothingThereError, RecipeError
from imgclust.images.decoder import Region
from imgclust.images.reader import Decoded
from imgclust.locks import FileLock
from imgclust.paths import cache_folder
from imgclust.progress import Progress, StopFlag, silent
from imgclust.weights import loader, resolver
from imgclust.weights.loader import Weights
from imgclust.weights.resolver import Listed
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.reembed import ReembedResult

# Images embedded at a time.
_BATCH = 32


def list_weights() -> tuple[Listed, ...]:
    """ImageNet's weights and the trunk's, and whether each can be used."""
    return resolver.listing(cache_folder() / "weights")


def download_weights(*, progress: Progress = silent, stop: StopFlag | None = None) -> Weights:
    """Download what Keras publishes for ImageNet, verified before it is kept.

    Raises
    ------
    WeightsError
        When it cannot be had; nothing else is taken instead.
    """
    return resolver.download(cache_folder() / "weights", progress=progress, stop=stop)


def verify_weights(path: Path) -> Weights:
    """Check a weights file: its kind, its structure, its digest.

    Raises
    ------
    WeightsError
        Saying what is wrong with it.
    """
    return loader.verify(path)


def require_packages() -> None:
    """Raise `MissingPackageError` unless FAISS and TensorFlow are installed."""
    devices.require("faiss")
    devices.require("tensorflow")


def choose_recipe(context: Context, *, waiting: int) -> None:
    """Settle on weights at the first ingest; later, check that they are still the same.

    The caller holds the ingest lock.
    """
    catalog = context.catalog
    if catalog.setting("recipe") is not None:
        _ = context.recipe
        return
    wanted = context.settings.embedding
    chosen = resolver.choose(
        wanted.weights,
        cache=cache_folder() / "weights",
        say=context.say,
        accept_trunk=lambda reason: context.accept_trunk(reason, waiting),
        progress=context.progress,
        stop=context.stop,
    )
    recipe = recipe_of(chosen, raw=wanted.raw)
    with catalog.transaction():
        if catalog.setting("recipe") is None:  # a recipe is for good, whatever a download has taken
            catalog.store("recipe", recipe.name)
            catalog.store("weights", record_of(chosen))
    _ = context.recipe


def record_of(chosen: Weights) -> dict[str, str]:
    """What the catalog keeps of the weights that a collection is embedded with."""
    return {"name": chosen.name, "path": str(chosen.path.absolute()), "sha256": chosen.sha256}


def embedder_opener(context: Context) -> Callable[[], Embedder]:
    """What loads the network of the collection's recipe, in any thread: the catalog is read now.

    The loader raises RecipeError when the weights are not those of the recipe any more.
    """
    require_packages()
    recipe = Recipe.parse(context.recipe)
    kept = context.catalog.setting("weights")

    def load() -> Embedder:
        chosen = resolver.choose(
            kept["path"] if kept["name"] == "file" else kept["name"],
            cache=cache_folder() / "weights",
            say=context.say,
            progress=context.progress,
        )
        if chosen.sha256 != recipe.weights_sha256:
            raise RecipeError(
                f"the collection was embedded with weights {recipe.weights_sha256[:12]}, but "
                f"{chosen.name} is {chosen.sha256[:12]} now; embeddings of two recipes never mix: "
                "imgclust reembed changes over"
            )
        return open_chosen(context, chosen, recipe)

    return load


def open_chosen(context: Context, chosen: Weights, recipe: Recipe) -> Embedder:
    """Load the network of these weights as the settings say."""
    rules = context.settings.embedding
    return open_embedder(
        chosen,
        recipe=recipe,
        cache=cache_folder() / "networks",
        device=rules.device,
        precision=rules.precision,
        engine=rules.engine,
        threads=rules.threads,
        say=context.say,
    )


def engine(context: Context) -> str | None:
    """See `Collection.engine`."""
    recipe = context.catalog.setting("recipe")
    rules = context.settings.embedding
    if recipe is None:
        return None
    return why_engine(
        Recipe.parse(recipe),
        cache=cache_folder() / "networks",
        device=rules.device,
        precision=rules.precision,
        engine=rules.engine,
    )


def embed_files(
    context: Context, paths: Sequence[bytes], *, region: Region | None = None
) -> npt.NDArray[np.float32]:
    """Embeddings `(n, d)` of files, or of the same region of each.

    Raises
    ------
    ImgclustError
        When a file cannot be read as an image, with the reason.
    UsageError
        When the region has no pixel of one.
    """
    pixels = []
    reader = context.reader or partial(read, context, thumbnail_px=0)
    for path in paths:
        outcome = reader(os.path.realpath(path), region=region)
        if not isinstance(outcome, Decoded):
            reason = getattr(outcome, "reason", "it is not an image of a known kind")
            raise ImgclustError(f"{printable(path)} cannot be used: {reason}")
        pixels.append(outcome.pixels)
    embedder = context.network = context.network or embedder_opener(context)()
    parts = [
        np.asarray(embedder.embed(np.stack(pixels[start : start + _BATCH])), np.float32)
        for start in range(0, len(pixels), _BATCH)
    ]
    embeddings: npt.NDArray[np.float32] = np.concatenate(parts)
    return embeddings


def reembed(context: Context, *, dry_run: bool) -> ReembedResult:
    """See `Collection.reembed`."""
    from imgclust import reembed as steps
    from imgclust.collection.ingest import pool
    from imgclust.reembed import ReembedResult

    require_packages()
    catalog, settings = context.catalog, context.settings
    kept = catalog.setting("recipe")
    if kept is None:
        raise NothingThereError("the collection has no images yet; there is nothing to embed again")
    before = Recipe.parse(kept)
    if dry_run and not _are_here(settings.embedding.weights):
        return _plan_of_download(context, before)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if not dry_run:
            stack.enter_context(context.ingest_lock())
        chosen = resolver.choose(
            settings.embedding.weights,
            cache=cache_folder() / "weights",
            say=context.say,
            progress=context.progress,
            stop=context.stop,
        )
        recipe = recipe_of(chosen, raw=settings.embedding.raw)
        waiting = len(catalog.checking.contents_without_embedding(recipe.name))
        embedded, clusters, continued = 0, None, 0
        seconds = 0.0
        if waiting:
            decoder = pool(context, max(1, min(4, devices.cpu_count())))
            stack.callback(decoder.close)
            embedder = open_chosen(context, chosen, recipe)
            if dry_run:
                seconds = steps.estimate(
                    catalog, recipe.name, embedder=embedder, decoder=decoder, stop=context.stop
                )
            else:
                embedded = steps.embed_all(
                    catalog,
                    recipe.name,
                    embedder=embedder,
                    decoder=decoder,
                    batch=settings.embedding.batch or _BATCH,
                    progress=context.progress,
                    stop=context.stop,
                )
        if not dry_run:
            if recipe != before:
                clusters, continued = _change_over(context, chosen, recipe)
            steps.drop_old(catalog, recipe.name, progress=context.progress, stop=context.stop)
            context.recluster().drop_unfinished()
            live = context.open_index(catalog, verify=False)
            live.close(save=True)
            seconds = time.monotonic() - began
    if not dry_run:
        finish_links(context)
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


def _are_here(wanted: str) -> bool:
    """Whether these weights can be had without fetching anything."""
    cache = cache_folder() / "weights"
    return wanted not in {"auto", "imagenet"} or resolver.cached(cache) is not None


def _plan_of_download(context: Context, before: Recipe) -> ReembedResult:
    """What embedding again with weights that are not here yet would do: all images, unmeasured."""
    from imgclust.reembed import ReembedResult

    count = context.catalog.contents.count()
    after = "the ImageNet weights, which would be downloaded first (88 MB)"
    if context.settings.embedding.weights == "auto":
        after += "; the built-in weights (trunk) if that fails"
    return ReembedResult(
        before=before.short,
        after=after,
        contents=count,
        embedded=0,
        waiting=count,
        clusters=None,
        kept=0,
        seconds=math.nan,
        dry_run=True,
    )


def _change_over(context: Context, chosen: Weights, recipe: Recipe) -> tuple[int | None, int]:
    """Cluster in the new space, as many clusters as there were, and change over with that.

    Returns the clusters and how many of them continue one from before.
    """
    from imgclust.clusters.service import Recluster
    from imgclust.reembed import change_over

    catalog = context.catalog

    def change() -> None:
        kept = catalog.setting("kept") or {}
        change_over(
            catalog,
            recipe=recipe.name,
            settings={
                "weights": record_of(chosen),
                "kept": kept | {"embedding.raw": context.settings.embedding.raw},
            },
        )
        # What the file holds is of the old recipe; it is a cache, and made again at once.
        with contextlib.suppress(OSError):
            context.folders.index_file.unlink(missing_ok=True)

    lock = context.folders.lock("clustering")
    current = catalog.clusterings.current()
    if current is None:
        # A clustering that is being made is of the recipe from before: it must not come after.
        with FileLock(lock, purpose="clustering"), catalog.transaction():
            change()
        return None, 0
    made = Recluster(
        catalog,
        recipe=recipe.name,
        settings=context.settings,
        lock=lock,
        charts_folder=context.folders.charts,
        progress=context.progress,
        stop=context.stop,
    ).cluster(
        k=str(current.k),
        space=current.space,
        seed=current.seed,
        chosen_by=current.chosen_by,
        provisional=current.provisional,
        also=change,
    )
    return made.k, len(made.kept)
