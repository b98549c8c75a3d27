"""Thresholds: which cosine a copy reaches, by the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.embedding.recipe import Embedder
from imgclust.errors import NothingThereError
from imgclust.images.decoder import Picture, decode
from imgclust.images.pixel_similarity import copies, likeness
from imgclust.index.vector_index import VectorIndex
from imgclust.progress import Progress, StopFlag

# Likeness from which two pictures show the same pixels; it knows no recipe. On the sample photos
# (docs/duplicates.md) copies of half the size or more reach 0.98, different photos 0.92 at most,
# and crops to nine tenths 0.972.
LIKE = 0.975

_IMAGES = 200
_LEAST_IMAGES = 10
_BATCH = 32
_NEIGHBOURS = 8
# Of copies that may score below `near`, and of nearest others that may above `similar`, in percent.
_LOST = 2.0
_STRANGE = 0.5
_SETTING = "duplicate_thresholds"


@dataclass(frozen=True)
class Thresholds:
    """From which cosine similarity two images of a recipe are looked at.

    Attributes
    ----------
    near
        Copies reach it; those that do and show the same pixels are near duplicates.
    similar
        Images that are not related stay below it; those above it that show other pixels are
        similar: crops, bursts.
    images
        How many images this was measured on.
    """

    near: float
    similar: float
    images: int


# By weights: the trunk that comes with imgclust, on the sample photos (scripts/bench duplicates).
MEASURED = Thresholds(near=0.75, similar=0.985, images=245)


def known(catalog: Catalog, recipe: str, *, trunk: str) -> Thresholds | None:
    """The thresholds of a recipe: as measured for the trunk's, else as calibrated here.

    None asks for `calibrate`: never done, or on few images of a collection that has since doubled.
    """
    if recipe == trunk:
        return MEASURED
    kept = (catalog.setting(_SETTING) or {}).get(recipe)
    if kept is None:
        return None
    found = Thresholds(**kept)
    few = found.images < _IMAGES and catalog.contents.count(recipe) >= 2 * found.images
    return None if few else found


def calibrate(
    catalog: Catalog,
    recipe: str,
    *,
    index: VectorIndex,
    embedder: Embedder,
    read: Callable[[int], bytes | None],
    cells: Callable[[int], npt.NDArray[np.uint8] | None],
    progress: Progress,
    stop: StopFlag,
) -> Thresholds:
    """Measure what copies of 200 images of the collection score, and store it.

    Each is encoded again twice and halved once; `near` is what 98 % of the copies reach,
    `similar` what the nearest other images stay below.

    Parameters
    ----------
    read
        Bytes of a content's file, None where it is not there as it was.
    cells
        What a content looks like (`images.cells`), None where that is unknown.

    Raises
    ------
    NothingThereError
        When fewer than 10 images can be read.
    """
    # Keys are hashes: the first are a random sample, and the same one every time.
    keys = np.sort(index.keys())
    scores: list[float] = []
    used: list[int] = []
    waiting: list[npt.NDArray[np.uint8]] = []
    owners: list[int] = []

    def embed() -> None:
        found = index.reconstruct(owners)
        rows = embedder.embed(np.stack(waiting))
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        scores.extend(np.einsum("ij,ij->i", rows, found).tolist())
        waiting.clear()
        owners.clear()

    for key in map(int, keys):
        if len(used) == min(_IMAGES, len(keys)):
            break
        stop.check()
        progress("measuring what copies score", len(used), min(_IMAGES, len(keys)))
        made = list(_decoded_copies(read(key)))
        if not made:
            continue
        used.append(key)
        waiting += made
        owners += [key] * len(made)
        if len(waiting) >= _BATCH:
            embed()
    if waiting:
        embed()
    if len(used) < _LEAST_IMAGES:
        raise NothingThereError(
            f"{_LEAST_IMAGES} readable images are needed to measure what a copy scores, and there "
            f"are {len(used)}; give a threshold with --min-score"
        )
    others = _nearest_others(index, used, cells)
    near = math.floor(1000 * float(np.percentile(scores, _LOST))) / 1000
    strange = float(np.percentile(others, 100 - _STRANGE)) if others else near
    similar = min(math.ceil(1000 * max(near, strange)) / 1000, 0.999)
    found = Thresholds(near, similar, len(used))
    with catalog.transaction():
        kept = catalog.setting(_SETTING) or {}
        catalog.store(_SETTING, kept | {recipe: asdict(found)})
    return found


def _decoded_copies(content: bytes | None) -> Iterable[npt.NDArray[np.uint8]]:
    if content is None:
        return
    try:
        made = copies(content)
    except Exception:  # whatever Pillow raises for a kind of file that it does not read
        return
    for copy in made:
        picture = decode(copy, thumbnail_px=0)
        if isinstance(picture, Picture):
            yield picture.pixels


def _nearest_others(
    index: VectorIndex, keys: list[int], cells: Callable[[int], npt.NDArray[np.uint8] | None]
) -> list[float]:
    """The best score of each content with one that shows other pixels."""
    found = []
    for key in keys:
        near = index.search(index.reconstruct([key]), _NEIGHBOURS)
        own = cells(key)
        for score, other in zip(near.scores[0].tolist(), near.keys[0].tolist(), strict=True):
            if other in {key, -1}:
                continue
            beside = cells(other)
            if own is None or beside is None or likeness(own[None], beside[None])[0] < LIKE:
                found.append(score)
                break
    return found
