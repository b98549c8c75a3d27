"""The clusters that a stored sweep has found for a k: sizes, pictures, where the images are now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog, StoredSweep, finite
from imgclust.clustering import assign
from imgclust.clusters.feature_space import Vectors, load_projection, project, unit
from imgclust.errors import NothingThereError
from imgclust.projection import TsneProjection

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
