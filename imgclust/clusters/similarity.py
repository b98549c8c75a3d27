"""Similarity between images as people see it: fitted with a clustering, stored, and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clusters.feature_space import Space, Vectors, unit
from imgclust.errors import ClusteringError
from imgclust.projection.half_white import (
    LEAST_DIFFERENT,
    SimilarityProjection,
    fit_similarity,
    similarity_from_bytes,
)

# Contents that the axes are fitted on: more hardly change them. Fewer where near copies have to be
# found first, which takes more than anything else.
_MOST_ROWS = 20_000
_MOST_GROUPED = 5_000
_BLOCK = 1_000


@dataclass(frozen=True)
class Similarity:
    """What compares embeddings now.

    Attributes
    ----------
    projection
        None where there is nothing but the raw cosine.
    lacking
        Why: "clusters" (there are none), "images" (they were made from too few), "unfitted" (from
        too few different ones, or by an earlier version), "recipe" (by other weights), "damaged".
    """

    projection: SimilarityProjection | None
    lacking: str | None = None

    def of_pairs(self, first: Vectors, second: Vectors) -> tuple[list[float], list[int]]:
        """Similarities of vectors (n, d), or one (1, d), to vectors (n, d), and their rarities.

        Only where there is a projection.
        """
        assert self.projection is not None
        found = self.projection.similarities(unit(first), unit(second))
        return [round(one, 6) for one in found.tolist()], self.projection.rarities(found).tolist()

    def between(self, subject: Vectors, vectors: Vectors) -> tuple[list[float], list[int]]:
        """The same of one vector (d,) to others (n, d)."""
        return self.of_pairs(subject[np.newaxis], vectors)


def likeness_to(
    catalog: Catalog, similarity: Similarity, recipe: str, key: int, others: Sequence[int]
) -> dict[int, tuple[float, int]]:
    """Similarity and rarity of contents to one of them, of those that are there."""
    found: dict[int, tuple[float, int]] = {}
    if similarity.projection is None:
        return found
    try:
        subject = catalog.contents.embeddings([key], recipe)[0]
    except KeyError:  # it has none, or has just left
        return found
    if not np.isfinite(subject).all():
        return found
    for start in range(0, len(others), _BLOCK):
        with catalog.snapshot():  # a content does not leave between these two
            part = [
                one
                for one in others[start : start + _BLOCK]
                if catalog.contents.has_embedding(one, recipe)
            ]
            vectors = catalog.contents.embeddings(part, recipe)
        sound = np.flatnonzero(np.isfinite(vectors).all(axis=1))  # doctor finds the others
        part, vectors = [part[one] for one in sound], vectors[sound]
        if part:
            likenesses, rarities = similarity.between(subject, vectors)
            found |= dict(zip(part, zip(likenesses, rarities, strict=True), strict=True))
    if key in found:
        found[key] = (1.0, found[key][1])
    return found


def fit_and_pack(catalog: Catalog, space: Space, *, recipe: str, seed: int) -> bytes | int | None:
    """The similarity of the contents of a space, as bytes; None where they are too few.

    The number of the current clustering's where that is of the same contents. Near copies weigh
    one: burst groups are those of the space, or made here.
    """
    current = catalog.clusterings.current()
    stored = None if current is None or current.recipe != recipe else current.similarity
    if stored is not None and catalog.projections.get(stored).sequence == space.sequence:
        return stored
    leaders = space.leaders
    chosen = np.arange(len(space.keys)) if leaders is None else np.unique(leaders)
    most = _MOST_GROUPED if leaders is None else _MOST_ROWS
    if len(chosen) > most:
        picked = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
        chosen = chosen[np.sort(picked)]
    rows = space.vectors
    if leaders is None:
        rows = rows[:] if len(chosen) == len(rows) else rows[chosen]
        if space.settings.get("standardise"):
            rows = unit(rows)
        chosen = np.unique(group_bursts(rows, bounds=burst_rule(rows).bounds(rows)))
    if len(chosen) < LEAST_DIFFERENT:
        return None
    return fit_similarity(rows, rows=chosen, half=space.half, seed=seed).to_bytes()


def store_similarity(
    catalog: Catalog, space: Space, recipe: str, made: bytes | int | None
) -> int | None:
    """Store what `fit_and_pack` has made; the caller holds the transaction."""
    if not isinstance(made, bytes):
        return made
    return catalog.projections.put(
        kind=SimilarityProjection.kind,
        purpose="space",
        recipe=catalog.contents.recipe_id(recipe),
        sequence=space.sequence,
        settings={},
        contents=len(space.keys),
        blob=made,
    )


def current_similarity(catalog: Catalog, recipe: str) -> Similarity:
    """The similarity of the current clustering."""
    return similarity_of(catalog, catalog.clusterings.current(), recipe)


def similarity_of(catalog: Catalog, clustering: Clustering | None, recipe: str) -> Similarity:
    """The similarity that was stored with a clustering."""
    if clustering is None:
        return Similarity(None, "clusters")
    if clustering.recipe != recipe:
        return Similarity(None, "recipe")
    if clustering.similarity is None:
        few = clustering.contents < LEAST_DIFFERENT
        return Similarity(None, "images" if few else "unfitted")
    try:
        blob = catalog.projections.get(clustering.similarity).blob
        return Similarity(similarity_from_bytes(blob))
    except ClusteringError:
        return Similarity(None, "damaged")
