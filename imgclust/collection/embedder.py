"""The network of a collection: its weights, its recipe, its embedder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust import devices, paths, weights
from imgclust.collection.images import read
from imgclust.embedding import Embedder, Recipe, open_embedder, recipe_of, why_engine
from imgclust.errors import (
    ImgclustError,
    RecipeError,
)
from imgclust.images import Decoded, Region
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
from pathlib import Path

from imgclust.paths import cache_folder
from imgclust.progress import Progress, StopFlag, silent


def list_weights() -> tuple[weights.Listed, ...]:
    """ImageNet's weights and the trunk's, and whether each can be used."""
    return weights.listing(cache_folder() / "weights")


def download_weights(
    *, progress: Progress = silent, stop: StopFlag | None = None
) -> weights.Weights:
    """Download what Keras publishes for ImageNet, verified before it is kept.

    Raises
    ------
    WeightsError
        When it cannot be had; nothing else is taken instead.
    """
    return weights.download(cache_folder() / "weights", progress=progress, stop=stop)


def verify_weights(path: Path) -> weights.Weights:
    """Check a weights file: its kind, its structure, its digest.

    Raises
    ------
    WeightsError
        Saying what is wrong with it.
    """
    return weights.verify(path)


# Query images embedded at a time.
_BATCH = 32


def require_packages() -> None:
    """Raise `MissingPackageError` unless FAISS and TensorFlow are installed."""
    devices.require("faiss")
    devices.require("tensorflow")


def choose_recipe(collection: Opened, *, waiting: int) -> None:
    """Settle on weights at the first ingest; later, check that they are still the same.

    The caller holds the ingest lock.
    """
    catalog = collection.catalog
    if catalog.setting("recipe") is not None:
        _ = collection.recipe
        return
    wanted = collection.settings.embedding
    chosen = weights.choose(
        wanted.weights,
        cache=paths.cache_folder() / "weights",
        say=collection.say,
        accept_trunk=lambda reason: collection.accept_trunk(reason, waiting),
        progress=collection.progress,
        stop=collection.stop,
    )
    recipe = recipe_of(chosen, raw=wanted.raw)
    with catalog.transaction():
        if catalog.setting("recipe") is None:  # a recipe is for good, whatever a download has taken
            catalog.store("recipe", recipe.name)
            catalog.store("weights", record_of(chosen))
    _ = collection.recipe


def record_of(chosen: weights.Weights) -> dict[str, str]:
    """What the catalog keeps of the weights that a collection is embedded with."""
    return {"name": chosen.name, "path": str(chosen.path.absolute()), "sha256": chosen.sha256}


def embedder_opener(collection: Opened) -> Callable[[], Embedder]:
    """What loads the network of the collection's recipe, in any thread: the catalog is read now.

    The loader raises RecipeError when the weights are not those of the recipe any more.
    """
    require_packages()
    recipe = Recipe.parse(collection.recipe)
    kept = collection.catalog.setting("weights")

    def load() -> Embedder:
        chosen = weights.choose(
            kept["path"] if kept["name"] == "file" else kept["name"],
            cache=paths.cache_folder() / "weights",
            say=collection.say,
            progress=collection.progress,
        )
        if chosen.sha256 != recipe.weights_sha256:
            raise RecipeError(
                f"the collection was embedded with weights {recipe.weights_sha256[:12]}, but "
                f"{chosen.name} is {chosen.sha256[:12]} now; embeddings of two recipes never mix: "
                "imgclust reembed changes over"
            )
        return open_chosen(collection, chosen, recipe)

    return load


def open_chosen(collection: Opened, chosen: weights.Weights, recipe: Recipe) -> Embedder:
    """Load the network of these weights as the settings say."""
    rules = collection.settings.embedding
    return open_embedder(
        chosen,
        recipe=recipe,
        cache=paths.cache_folder() / "networks",
        device=rules.device,
        precision=rules.precision,
        engine=rules.engine,
        threads=rules.threads,
        say=collection.say,
    )


def engine(collection: Opened) -> str | None:
    """See `Collection.engine`."""
    recipe = collection.catalog.setting("recipe")
    rules = collection.settings.embedding
    if recipe is None:
        return None
    return why_engine(
        Recipe.parse(recipe),
        cache=paths.cache_folder() / "networks",
        device=rules.device,
        precision=rules.precision,
        engine=rules.engine,
    )


def embed_files(
    collection: Opened, paths: Sequence[bytes], *, region: Region | None = None
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
    for path in paths:
        outcome = read(collection, os.path.realpath(path), thumbnail_px=0, region=region)
        if not isinstance(outcome, Decoded):
            reason = getattr(outcome, "reason", "it is not an image of a known kind")
            raise ImgclustError(f"{printable(path)} cannot be used: {reason}")
        pixels.append(outcome.pixels)
    embedder = embedder_opener(collection)()
    parts = [
        np.asarray(embedder.embed(np.stack(pixels[start : start + _BATCH])), np.float32)
        for start in range(0, len(pixels), _BATCH)
    ]
    embeddings: npt.NDArray[np.float32] = np.concatenate(parts)
    return embeddings
