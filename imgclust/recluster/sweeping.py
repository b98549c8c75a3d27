"""Sweeps of a space: run, kept, drawn, and found again."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from imgclust.catalog import Catalog, StoredSweep
from imgclust.clustering import Fit, Suggestion, Sweep, assign, suggest, sweep
from imgclust.errors import StoppedError
from imgclust.progress import Progress, StopFlag
from imgclust.recluster.space import Space, Vectors, store

# Dimensions of a map, and up to how many contents a sweep of it is thorough: it takes seconds.
_PLANE = 3
_THOROUGH = 5_000
# Fits of a sweep stored in one transaction.
_FITS = 16


def sweep_and_store(
    catalog: Catalog,
    room: Space,
    *,
    recipe: str,
    k_min: int,
    k_max: int | None,
    seed: int,
    gpu: bool,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Sweep, Suggestion]:
    """Fit every k, suggest one, and keep the fits in place of the last sweep of this space.

    Of an interrupted sweep the fits that are done are kept, without a suggestion, unless more of
    the same are stored already.

    Raises
    ------
    StoppedError
        When `stop` was set before the first k was done.
    """
    found = sweep(
        room.points,
        k_min=k_min,
        k_max=k_max,
        seed=seed,
        gpu=gpu,
        thorough=room.points.shape[1] <= _PLANE and len(room.points) <= _THOROUGH,
        progress=progress,
        stop=stop,
    )
    whole = found.complete
    try:
        suggestion = suggest(found, room.points, seed=seed, progress=progress, stop=stop)
    except StoppedError:
        whole = False
        suggestion = Suggestion(None, 1, "rule", "interrupted; a whole sweep suggests a k")
        kept = stored_sweep(catalog, room, recipe=recipe, seed=seed)
        if kept is not None and len(kept.summary["k"]) >= len(found.k):
            return replace(found, complete=False), suggestion
    summary = {
        "k": found.k,
        "inertia": found.inertia,
        "knee": suggestion.k,
        "chosen": suggestion.chosen,
        "chosen_by": suggestion.chosen_by,
        "sentence": suggestion.sentence,
        **{name: _finite(values) for name, values in found.criteria.items()},
        "complete": whole,
        "asked": [k_min, k_max],
    }
    with catalog.transaction():
        projection = store(catalog, room, recipe)
        number = catalog.sweeps.put(
            space=room.name,
            projection=projection,
            recipe=catalog.contents.recipe_id(recipe),
            seed=seed,
            sequence=room.sequence,
            contents=len(room.keys),
            settings=room.settings,
            summary=summary,
        )
        catalog.projections.drop_unused_spaces()
    # In the space of the embeddings they can take hundreds of megabytes. A fit that a crash keeps
    # from being stored is made anew when it is asked for.
    fits = zip(found.k, found.inertia, found.centroids, strict=True)
    while part := list(islice(fits, _FITS)):
        with catalog.piece():
            catalog.sweeps.put_fits(number, part)
    return replace(found, complete=whole), suggestion


def draw_elbow(path: Path, found: Sweep, suggestion: Suggestion, space: str) -> None:
    """Draw the elbow curve with the knee and the simplified silhouette."""
    from imgclust import charts  # with Pillow, slow to load

    charts.elbow(
        path,
        k=found.k,
        inertia=found.inertia,
        suggested=suggestion.k,
        second=found.simplified_silhouette,
        second_name="simplified silhouette",
        title=f"Elbow curve in the space {space}",
    )


def stored_sweep(catalog: Catalog, room: Space, *, recipe: str, seed: int) -> StoredSweep | None:
    """The stored sweep of exactly these contents in exactly this space."""
    stored = catalog.sweeps.newest(room.name)
    if (
        stored is None
        or stored.recipe != recipe
        or stored.seed != seed
        or stored.sequence != room.sequence
        or dict(stored.settings) != dict(room.settings)
    ):
        return None
    return stored


def _finite(values: tuple[float, ...]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def fit_of(points: Vectors, centroids: Vectors) -> Fit:
    """A stored fit of a sweep as a fit of these points."""
    assigned, distances = assign(points, centroids)
    inertia = float(np.square(distances, dtype=np.float64).sum())
    return Fit(len(centroids), centroids, assigned, distances, inertia, len(centroids))
