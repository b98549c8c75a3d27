"""Sweeps of a space: run, kept, drawn, found again; the clusters that one has found for a k."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.integrity import finite
from imgclust.catalog.projections import StoredSweep
from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clustering.choose_k import Suggestion, suggest, suggest_from
from imgclust.clustering.group_count import GroupCount, estimate_group_count
from imgclust.clustering.k_sweep import Sweep, sweep
from imgclust.clustering.kmeans import Fit, all_distinct, assign
from imgclust.clusters.feature_space import Space, Vectors, load_projection, project, store, unit
from imgclust.errors import NothingThereError, StoppedError
from imgclust.progress import Progress, StopFlag
from imgclust.projection.tsne import TsneProjection

# Dimensions of a map, and up to how many contents a sweep of it is thorough: it takes seconds.
_PLANE = 3
_THOROUGH = 5_000
# Fits of a sweep stored in one transaction.
_FITS = 16
# Bytes of centroids that are kept of a sweep: those of k up to 100 on 400 axes.
_CENTROID_BYTES = 8 << 20
# Contents that are put into burst groups again where their groups are counted: it takes a second.
_REGROUPED = 5_000


def different_rows(space: Space) -> npt.NDArray[np.int64]:
    """Positions of one of each burst group, whatever the order in which few contents came.

    Which content represents a group depends on that order. So they are grouped again in the order
    of their keys; of many contents that would take long, and decide little.
    """
    if len(space.keys) > _REGROUPED:
        return space.weighing()[0]
    rows = space.vectors
    return np.unique(group_bursts(rows, bounds=burst_rule(rows).bounds(rows)))


def sweep_and_store(
    catalog: Catalog,
    space: Space,
    *,
    recipe: str,
    k_min: int,
    k_max: int | None,
    seed: int,
    gpu: bool,
    counted: GroupCount | None = None,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Sweep, Suggestion]:
    """Fit every k, suggest one, and keep the fits in place of the last sweep of this space.

    In the space `smoothed` groups are counted, unless they are `counted` already.

    Of an interrupted sweep the fits that are done are kept, without a suggestion, unless more of
    the same are stored already.

    Raises
    ------
    StoppedError
        When `stop` was set before the first k was done.
    """
    rows, _ = space.weighing()
    points = space.points if len(rows) == len(space.points) else space.points[rows]
    found = sweep(
        points,
        k_min=k_min,
        k_max=k_max,
        seed=seed,
        gpu=gpu,
        thorough=space.points.shape[1] <= _PLANE and len(space.points) <= _THOROUGH,
        progress=progress,
        stop=stop,
    )
    last = found.k[-1]
    fewer = all_distinct(last, k_max)
    in_words = {fewer: all_distinct(last, k_max, space.group(last))}
    found = replace(found, notes=tuple(in_words.get(note, note) for note in found.notes))
    whole = found.complete
    try:
        if space.leaders is None:
            suggestion = suggest(found, points, seed=seed, progress=progress, stop=stop)
        else:
            # Smoothing makes groups of noise: what has none must go through it as well.
            counted = counted or estimate_group_count(
                space.vectors,
                space.keys,
                rows=different_rows(space),
                seed=seed,
                progress=progress,
                stop=stop,
            )
            suggestion = suggest_from(counted, found, n=len(rows))
    except StoppedError:
        counted = None
        whole = False
        suggestion = Suggestion(None, 1, "rule", "interrupted; a whole sweep suggests a k")
        kept = stored_sweep(catalog, space, recipe=recipe, seed=seed)
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
        **({} if counted is None else {"groups": counted.k, "ratios": counted.ratios}),
        "asked": [k_min, k_max],
    }
    with catalog.transaction():
        projection = store(catalog, space, recipe)
        number = catalog.sweeps.put(
            space=space.name,
            projection=projection,
            recipe=catalog.contents.recipe_id(recipe),
            seed=seed,
            sequence=space.sequence,
            contents=len(space.keys),
            settings=space.settings,
            summary=summary,
        )
        catalog.projections.drop_unused_spaces()
    # A fit that is not stored, or that a crash keeps from it, is made again when it is asked for.
    sizes = {k: fit.nbytes for k, fit in zip(found.k, found.centroids, strict=True)}
    few = worth_keeping(sizes, suggestion.chosen)
    fits = (
        one for one in zip(found.k, found.inertia, found.centroids, strict=True) if one[0] in few
    )
    while part := list(islice(fits, _FITS)):
        with catalog.piece():
            catalog.sweeps.put_fits(number, part)
    return replace(found, complete=whole), suggestion


def worth_keeping(sizes: Mapping[int, int], chosen: int) -> set[int]:
    """The k whose fits are stored: the chosen one, and those that are small or near it.

    Parameters
    ----------
    sizes
        Bytes of the centroids of each k.
    chosen
        The k that the sweep suggests: its fit is kept, however large.
    """
    kept, used = set(), 0
    for k in sorted(sizes, key=lambda k: (min(abs(k - chosen), k), k)):
        if k != chosen and used + sizes[k] > _CENTROID_BYTES:
            continue
        kept.add(k)
        used += sizes[k]
    return kept


def trim(catalog: Catalog) -> None:
    """Delete fits that no clustering can use any more, and those beyond what a sweep may keep."""
    sequence = catalog.contents.sequence()
    for stored in catalog.sweeps.all():
        sizes = catalog.sweeps.fit_bytes(stored.id)
        kept: set[int] = set()
        if stored.sequence == sequence:
            kept = worth_keeping(sizes, int(stored.summary["chosen"]))
        drop = sorted(sizes.keys() - kept)
        for start in range(0, len(drop), _FITS):
            with catalog.piece():
                catalog.sweeps.drop_fits(stored.id, drop[start : start + _FITS])


def draw_elbow(
    path: Path, found: Sweep, suggestion: Suggestion, space: str, *, compared_to: int
) -> None:
    """Draw the elbow curve with the knee, and the simplified silhouette where it is compared."""
    from imgclust.charts import elbow_curve  # with Pillow, slow to load

    elbow_curve.elbow(
        path,
        k=found.k,
        inertia=found.inertia,
        suggested=suggestion.k,
        second=found.simplified_silhouette,
        second_name="simplified silhouette",
        second_to=compared_to,
        title=f"Elbow curve in the space {space}",
    )


def stored_sweep(catalog: Catalog, space: Space, *, recipe: str, seed: int) -> StoredSweep | None:
    """The stored sweep of exactly these contents in exactly this space."""
    stored = catalog.sweeps.newest(space.name)
    if (
        stored is None
        or stored.recipe != recipe
        or stored.seed != seed
        or stored.sequence != space.sequence
        or dict(stored.settings) != dict(space.settings)
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


# So many contents are looked at, evenly chosen: then a preview takes moments in any collection.
_SAMPLE = 5_000
# Pictures of each cluster.
_SHOWN = 4


@dataclass(frozen=True)
class PreviewedCluster:
    """A cluster of a preview.

    `images` is about how many it would have, `representatives` are ids of images, the most central
    one first. Of them `share` are in the current cluster `cluster` now, more than in any other;
    None where no image is in a cluster yet.
    """

    images: int
    representatives: tuple[int, ...]
    cluster: int | None
    name: str | None
    share: float | None


@dataclass(frozen=True)
class SweepPreview:
    """The clusters of one k of a sweep, the largest first.

    `sampled` contents of `distinct` were looked at.
    """

    k: int
    sampled: int
    distinct: int
    clusters: tuple[PreviewedCluster, ...]


class Previewer:
    """Shows the fits of one stored sweep; costs seconds when it is made, then little."""

    def __init__(self, catalog: Catalog, stored: StoredSweep) -> None:
        self._catalog = catalog
        self._stored = stored
        keys = catalog.contents.embedded(stored.recipe)
        self._distinct = len(keys)
        rows = np.arange(0, len(keys), max(1, -(-len(keys) // _SAMPLE)))
        keys = keys[rows]
        with catalog.snapshot():
            there = [
                row
                for row, key in enumerate(keys.tolist())
                if catalog.contents.has_embedding(key, stored.recipe)
            ]
            keys, rows = keys[there], rows[there]
            vectors = catalog.contents.embeddings(keys.tolist(), stored.recipe)
            counts = catalog.images.counts_of(keys.tolist())
        sound = finite(vectors) if there else np.zeros(0, bool)
        self._keys = keys[sound]
        self._points = self._placed(vectors[sound], rows[sound])
        self._counts = np.array([counts.get(key, 0) for key in self._keys.tolist()], np.int64)

    @property
    def sweep(self) -> int:
        """Number of the sweep that is shown."""
        return self._stored.id

    def _placed(self, vectors: Vectors, rows: npt.NDArray[np.int64]) -> Vectors:
        """The sample in the space of the sweep."""
        if not len(vectors):
            return vectors
        given = vectors if self._stored.settings.get("standardise") else unit(vectors)
        if self._stored.projection is None:
            return given
        projection = load_projection(self._catalog, self._stored.projection)
        if isinstance(projection, TsneProjection) and len(projection.coordinates) == self._distinct:
            return projection.coordinates[rows]
        return project(projection, given)

    def show(self, k: int) -> SweepPreview:
        """The clusters that the sweep has found for a k.

        Raises
        ------
        NothingThereError
            When no fit of this k is kept.
        """
        catalog = self._catalog
        centroids = catalog.sweeps.fit(self._stored.id, k)
        if centroids is None:
            raise NothingThereError(f"the sweep has no fit of k = {k} any more; run it again")
        if not len(self._keys):
            return SweepPreview(k, 0, self._distinct, ())
        assigned, distances = assign(self._points, centroids)
        current = catalog.clusterings.current_id()
        now: dict[int, int] = {}
        if current is not None:
            now = catalog.assignments.clusters_of(current, self._keys.tolist())
        names = catalog.clusterings.names()
        scale = catalog.images.count() / max(1, int(self._counts.sum()))
        found = []
        order = np.lexsort((distances, assigned))
        edges = np.searchsorted(assigned[order], np.arange(len(centroids) + 1))
        for first, last in pairwise(edges.tolist()):
            rows = order[first:last]
            if len(rows):
                found.append(self._described(rows, scale, now, names))
        clusters = tuple(sorted(found, key=lambda one: -one.images))
        return SweepPreview(k, len(self._keys), self._distinct, clusters)

    def _described(
        self, rows: npt.NDArray[np.int64], scale: float, now: dict[int, int], names: dict[int, str]
    ) -> PreviewedCluster:
        """One cluster; its rows are ordered from the centre outwards."""
        steps = np.unique(np.linspace(0, len(rows) - 1, _SHOWN).astype(int))
        shown = [self._catalog.images.with_content(int(self._keys[rows[at]])) for at in steps]
        homes = Counter(now[key] for key in self._keys[rows].tolist() if key in now)
        cluster = max(homes, key=lambda one: homes[one], default=None)
        return PreviewedCluster(
            images=max(1, round(float(self._counts[rows].sum()) * scale)),
            representatives=tuple(images[0].id for images in shown if images),
            cluster=cluster,
            name=None if cluster is None else names.get(cluster),
            share=None if cluster is None else round(homes[cluster] / len(rows), 3),
        )
