"""The space that k-means runs in, and how new embeddings come into it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.integrity import must_be_numbers
from imgclust.catalog.projections import StoredSweep
from imgclust.clusters import burst_store
from imgclust.clusters.smoothed_space import (
    distances_alone,
    embeddings_at,
    fit_smoothed,
    place,
    stored_points,
)
from imgclust.config import Settings
from imgclust.errors import ClusteringError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.classic import fit_classic
from imgclust.projection.half_white import (
    HalfWhiteProjection,
    SmoothedProjection,
    projection_from_bytes,
)
from imgclust.projection.pca import PcaProjection, fit_pca, refreshed
from imgclust.projection.tsne import TsneProjection, fit_tsne
from imgclust.vectors import Rows, UnitRows, to_unit_length

_Number = TypeVar("_Number", bound=np.floating[Any])

# Fewer contents are fitted again in the same time, and then the axes depend on them alone.
LEAST_CONTENTS = 5_000
# With more new contents than this share, or so many, a new fit hardly takes longer
# (`scripts/bench cluster pca`); it needs no more for 100,000 contents than for 30,000.
FRESH_SHARE = 0.05
MOST_FRESH = 1_500
# Of what the axes stand for, the share that may have left.
GONE_SHARE = 0.05
# To so many times what they were fitted on they are carried on: so far they were seen to hold
# 99.9 % of what those of a new fit held (docs/how-it-decides.md).
MOST_GROWN = 1.5
# Leading numbers of embeddings that are compared first.
_HEAD = 8


def updated_pca(
    catalog: Catalog,
    keys: npt.NDArray[np.int64],
    rows: npt.NDArray[np.float32],
    *,
    recipe: str,
    sequence: int,
    settings: Mapping[str, Any],
) -> PcaProjection | None:
    """The last PCA of a space after it learnt the new contents.

    None where there is none, or a new fit is as cheap or better.

    Parameters
    ----------
    keys, rows
        Contents (n,), ascending, and what the axes are fitted on, float32 (n, d).
    sequence
        The last change that they hold.
    settings
        Of the space: only axes that were made with the same are carried on.
    """
    if len(keys) < LEAST_CONTENTS:
        return None
    last = catalog.projections.newest(kind="pca", purpose="space", recipe=recipe, settings=settings)
    if last is None:
        return None
    try:
        projection = projection_from_bytes(last.blob)
    except ClusteringError:  # damaged, or of a newer format: `cluster` replaces it
        return None
    if not isinstance(projection, PcaProjection) or projection.variances is None:
        return None
    fresh = np.isin(keys, catalog.contents.added_between(last.sequence, sequence))
    came = int(fresh.sum())
    learnt = projection.rows + came
    if (
        came > min(MOST_FRESH, FRESH_SHARE * len(keys))
        or learnt - len(keys) > GONE_SHARE * projection.rows
        or learnt > MOST_GROWN * projection.fitted
    ):
        return None
    return refreshed(projection, rows[fresh])


def equalised(
    rows: npt.NDArray[np.float32], points: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Points of equal embeddings made equal: a matrix product differs in the last digit.

    Otherwise such embeddings would count as different ones. Changes `points` in place.
    """
    # The first numbers tell most embeddings apart: few are compared in full.
    _, group, sizes = np.unique(rows[:, :_HEAD], axis=0, return_inverse=True, return_counts=True)
    first: dict[bytes, int] = {}
    for row in np.flatnonzero(sizes[group.ravel()] > 1):
        points[row] = points[first.setdefault(rows[row].tobytes(), int(row))]
    return points


SPACES = ("smoothed", "pca", "embedding", "tsne")
Vectors = npt.NDArray[np.float32]
Projection = PcaProjection | SmoothedProjection | TsneProjection
# Rows looked at together: a copy of all would double the memory of a large collection.
_BLOCK = 5000
# Neighbours in a map that stand for a place in it.
_NEAR = 10
# What image_clustering refused to go below.
_CLASSIC_LEAST = 250


@dataclass(frozen=True)
class Space:
    """Contents in the space of a clustering.

    `points` `(n, d)` and the embeddings `vectors` belong to `keys` `(n,)`, ascending; `counts` are
    the images of each; `settings` is everything that decides what the space is, besides recipe
    and sequence; `stored` the projection's number once it is in the catalog. In the space
    `smoothed` the row `leaders` `(n,)` represents each row's burst group, elsewhere it is None;
    `half` is what similarity can be measured by, where it was fitted with the space.
    """

    name: str
    keys: npt.NDArray[np.int64]
    points: Vectors
    vectors: Rows
    counts: npt.NDArray[np.int64]
    sequence: int
    settings: Mapping[str, Any]
    projection: Projection | None
    stored: int | None = None
    leaders: npt.NDArray[np.int64] | None = None
    half: HalfWhiteProjection | None = None

    def weighing(
        self, apart: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows that count in a fit, (m,), and the place of each row's own among them, (n,).

        Rows `apart` (n,) count whatever group they are in.
        """
        if self.leaders is None:
            every = np.arange(len(self.keys))
            return every, every
        leaders = self.leaders
        if apart is not None:
            leaders = np.where(apart, np.arange(len(leaders)), leaders)
        rows, group = np.unique(leaders, return_inverse=True)
        return rows, group

    def group(self, k: int) -> tuple[str, str]:
        """What its points are, one and many, where only k of them differ.

        In the smoothed space near copies are one point, and of few images others may be so too.
        """
        if self.leaders is None or k >= len(self.keys):
            return "distinct embedding", "distinct embeddings"
        apart = f"that the space {self.name} tells apart"
        return f"group of images {apart}", f"groups of images {apart}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the space, a sentence each."""
        if self.settings.get("tsne") != "scikit-learn" or len(self.keys) >= _CLASSIC_LEAST:
            return ()
        few = f"only {len(self.keys)} distinct images: with fewer than {_CLASSIC_LEAST}"
        return (f"{few} the steps of image_clustering are unreliable",)


def unit(vectors: Vectors) -> Vectors:
    """The vectors `(n, d)` at unit length; zero vectors stay."""
    return to_unit_length(vectors.copy())


def settings_of(name: str, settings: Settings, seed: int) -> dict[str, Any]:
    """What decides a space besides recipe and sequence."""
    if name == "smoothed":
        return {"space": name, "standardise": False, "seed": seed}
    chosen: dict[str, Any] = {"space": name, "standardise": settings.clustering.standardise}
    if name != "embedding":
        chosen |= {"pca_dims": settings.clustering.pca_dims, "seed": seed}
    if name == "tsne":
        chosen |= {
            "dims": settings.views.dims,
            "perplexity": settings.views.perplexity,
            "tsne": settings.clustering.tsne,
        }
    return chosen


def build(
    catalog: Catalog,
    name: str,
    *,
    recipe: str,
    settings: Settings,
    seed: int,
    keep: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Space:
    """Bring all contents into the space `name`, as the catalog is now.

    `keep`: burst groups that were found are stored.

    Raises
    ------
    ClusteringError
        When there is no content, or an embedding holds NaN.
    """
    if name == "smoothed":
        return _build_smoothed(
            catalog,
            recipe=recipe,
            settings=settings,
            seed=seed,
            keep=keep,
            progress=progress,
            stop=stop,
        )
    chosen, rules = settings_of(name, settings, seed), settings.clustering
    keys, vectors, images, sequence = _contents(catalog, catalog.contents.all_embeddings, recipe)
    must_be_numbers(catalog, keys, vectors)
    rows = vectors if chosen["standardise"] else to_unit_length(vectors)
    space = Space(name, keys, rows, rows, images, sequence, chosen, None)
    if name == "embedding":
        return space
    kept = catalog.sweeps.newest(name)
    if kept is not None and kept.projection is not None and _is_of(kept, space, recipe):
        # Nothing has changed since the sweep: its projection, and so its centroids, serve.
        projection = load_projection(catalog, kept.projection)
        return replace(
            space, points=_points(projection, rows), projection=projection, stored=kept.projection
        )
    if name == "pca":
        projection = updated_pca(
            catalog, keys, rows, recipe=recipe, sequence=sequence, settings=chosen
        ) or fit_pca(rows, dims=rules.pca_dims, standardise=rules.standardise, seed=seed)
    else:
        order = np.argsort(catalog.images.oldest(keys), kind="stable")
        classic = partial(fit_classic, order=order)
        projection = (fit_tsne if rules.tsne == "opentsne" else classic)(
            rows,
            dims=settings.views.dims,
            pca_dims=rules.pca_dims,
            standardise=rules.standardise,
            perplexity=settings.views.perplexity,
            seed=seed,
            progress=progress,
            stop=stop,
        )
    return replace(space, points=_points(projection, rows), projection=projection)


def _contents(
    catalog: Catalog,
    read: Callable[[str], tuple[npt.NDArray[np.int64], npt.NDArray[_Number]]],
    recipe: str,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[_Number], npt.NDArray[np.int64], int]:
    """Keys (n,), embeddings (n, d) and numbers of images (n,) at a change, and its number."""
    with catalog.snapshot():
        sequence = catalog.contents.sequence()
        counts = catalog.images.counts_by_content()
    keys, vectors = read(recipe)
    # What came while they were read is assigned like every other arrival.
    now = catalog.contents.sequence()
    late = np.isin(keys, catalog.contents.added_between(sequence, now))
    if late.any():
        keys, vectors = keys[~late], vectors[~late]
    if not len(keys):
        raise ClusteringError("there are no embeddings to cluster")
    images = np.array([counts.get(int(key), 0) for key in keys], np.int64)
    return keys, vectors, images, sequence


def _build_smoothed(
    catalog: Catalog,
    *,
    recipe: str,
    settings: Settings,
    seed: int,
    keep: bool,
    progress: Progress,
    stop: StopFlag | None,
) -> Space:
    chosen = settings_of("smoothed", settings, seed)
    read = catalog.contents.stored_embeddings
    keys, stored, images, sequence = _contents(catalog, read, recipe)
    rows = UnitRows(stored)
    must_be_numbers(catalog, keys, rows)
    kept = catalog.sweeps.newest("smoothed")
    pairs, clusters = _together(catalog, keys)
    if pairs:  # what they draw together is another space
        answers = hashlib.sha256(repr((clusters, pairs)).encode()).hexdigest()[:16]
        chosen["together"] = answers
    nothing = np.empty((len(keys), 0), np.float32)
    space = Space("smoothed", keys, nothing, rows, images, sequence, chosen, None)
    bursts = burst_store.bursts_of(catalog, keys, rows, recipe=recipe)
    if keep:
        burst_store.keep(catalog, bursts, keys, recipe=recipe, since=sequence)
    leaders = bursts.leaders
    del bursts
    if (last := _smoothed_again(catalog, space, leaders, recipe)) is not None:
        return last
    made = fit_smoothed(
        rows,
        seed=seed,
        leaders=leaders,
        together=pairs,
        clusters=clusters,
        progress=progress,
        stop=stop,
    )
    devices.give_back_memory()
    # Of equal contents it is the same each time.
    same = kept is not None and _is_of(kept, space, recipe)
    return replace(
        space,
        points=made.points,
        projection=made.projection,
        stored=kept.projection if kept is not None and same else None,
        leaders=made.leaders,
        half=made.half,
    )


def _smoothed_again(
    catalog: Catalog, space: Space, leaders: npt.NDArray[np.int64], recipe: str
) -> Space | None:
    """The smoothed space as it was stored, where it is of the same contents.

    Few contents are smoothed again in the same time.
    """
    if len(space.keys) < LEAST_CONTENTS:
        return None
    last = catalog.projections.newest(
        kind="smoothed",
        purpose="space",
        recipe=recipe,
        settings=space.settings,
        sequence=space.sequence,
    )
    if last is None or last.contents != len(space.keys):
        return None
    try:
        projection = projection_from_bytes(last.blob)
    except ClusteringError:  # damaged, or of a newer format: `cluster` replaces it
        return None
    if not isinstance(projection, SmoothedProjection):
        return None
    points = stored_points(projection, leaders)
    if points is None:
        return None
    return replace(space, points=points, projection=projection, stored=last.id, leaders=leaders)


def _together(catalog: Catalog, keys: npt.NDArray[np.int64]) -> tuple[list[tuple[int, int]], int]:
    """Pairs of contents that a person wants together, as rows of `keys`, and how many clusters are.

    Those of images that were put into one cluster by hand are not among them: they may be there
    because they are unlike all others.
    """
    with catalog.snapshot():
        current = catalog.clusterings.current_id()
        active = catalog.corrections.active()
        clusters = 0 if current is None else catalog.clusterings.count(current)
    row = {key: place for place, key in enumerate(keys.tolist())} if active else {}
    pairs = [
        (row[one.content], row[one.other])
        for one in active
        if one.kind == "together" and one.content in row and one.other in row
    ]
    return pairs, clusters


def _is_of(sweep: StoredSweep, space: Space, recipe: str) -> bool:
    """True when a stored sweep is of exactly these contents in exactly this space."""
    return (
        sweep.recipe == recipe
        and sweep.sequence == space.sequence
        and len(space.keys) == sweep.contents
        and dict(sweep.settings) == dict(space.settings)
    )


def _points(projection: Projection, rows: Vectors) -> Vectors:
    """The contents that a projection was fitted on, in its space."""
    if isinstance(projection, TsneProjection):
        return projection.coordinates
    if isinstance(projection, SmoothedProjection):
        return place(projection, rows)
    return equalised(rows, projection.transform(rows))


def store(catalog: Catalog, space: Space, recipe: str) -> int | None:
    """Store the projection of a space; the caller holds the transaction."""
    if space.projection is None or space.stored is not None:
        return space.stored
    return catalog.projections.put(
        kind=space.name,
        purpose="space",
        recipe=catalog.contents.recipe_id(recipe),
        sequence=space.sequence,
        settings=space.settings,
        contents=len(space.keys),
        blob=space.projection.to_bytes(),
    )


def load_projection(catalog: Catalog, number: int) -> Projection:
    """A stored projection."""
    return projection_from_bytes(catalog.projections.get(number).blob)


def project(projection: Projection | None, rows: Vectors) -> Vectors:
    """New embeddings `(n, d)`, at unit length where they are to be, in a projection's space."""
    if projection is None:
        return rows
    if isinstance(projection, TsneProjection):
        return projection.place(rows)
    if isinstance(projection, SmoothedProjection):
        return equalised(rows, place(projection, rows))
    return equalised(rows, projection.transform(rows))


def distances_as_arrivals(space: Space, centroids: Vectors) -> npt.NDArray[np.float64] | None:
    """How far contents would be from the nearest centroid had they come after the space was made.

    float64 (n,); None where that is how far they are: there, leave one out does what this is for.
    """
    if not isinstance(space.projection, SmoothedProjection):
        return None
    return distances_alone(space.projection, space.vectors, centroids, leaders=space.leaders)


def unproject(projection: Projection | None, points: Vectors) -> Vectors:
    """Embeddings `(n, d)` that a projection brings to points `(n, dims)`, as nearly as can be.

    Those of a t-SNE map are the mean of the ten nearest that the map was made from.
    """
    if projection is None:
        return points
    if isinstance(projection, PcaProjection):
        return projection.inverse(points)
    if isinstance(projection, SmoothedProjection):
        return embeddings_at(projection, points)
    places = np.empty((len(points), projection.reference.shape[1]), np.float32)
    for row, point in enumerate(points):
        apart = ((projection.coordinates - point) ** 2).sum(axis=1)
        near = np.argsort(apart, kind="stable")[:_NEAR]
        places[row] = projection.reference[near].mean(axis=0)
    return projection.pca.inverse(places)


def residual_distances(
    projection: Projection | None, vectors: Rows, points: Vectors, distances: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Distances to centroids as they are before the projection, float64 (n,).

    PCA shortens what it was not fitted on: in its space arrivals seem nearer than they are, by a
    fifth with 300 images, and what is new about them may lie across its axes altogether. In other
    spaces the distances stay as they are.

    Parameters
    ----------
    vectors, points
        Rows that go into the projection, `(n, d)`, and what comes out of it, `(n, dims)`.
    distances
        To the centroids in the projection's space, `(n,)`.
    """
    if not isinstance(projection, PcaProjection):
        return np.asarray(distances, np.float64)
    found = np.empty(len(vectors))
    for first in range(0, len(vectors), _BLOCK):
        part = slice(first, first + _BLOCK)
        found[part] = np.hypot(projection.residuals(vectors[part], points[part]), distances[part])
    return found
