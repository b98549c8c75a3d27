"""Clusterings of made-up embeddings, and an oracle of lasting ids that shares no code with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import Content, key_of
from imgclust.clusters.model import ArrivalAssigner
from imgclust.clusters.service import Recluster
from imgclust.config import Settings
from tests import oracle

RECIPE = "made up"


class World:
    """A catalog with contents around a few centres, and what a watcher would do to it."""

    def __init__(self, folder: Path, *, space: str = "embedding", dims: int = 6) -> None:
        self.folder = folder
        self.space = space
        self.path = folder / "catalog.sqlite3"
        self.catalog = Catalog(self.path)
        self._random = np.random.default_rng(7)
        self._centres = np.random.default_rng(3).standard_normal((5, dims)) * 2
        self._made = 0
        with self.catalog.transaction():
            self.root = self.catalog.roots.put(b"/made", "watched").id

    def add(
        self, count: int, *, copies: int = 1, vector: Any = None, number: int | None = None
    ) -> list[int]:
        """New contents with `copies` images each, assigned as an ingest does it.

        `number` decides the key of the first.
        """
        keys = []
        self._made = self._made if number is None else number
        for _ in range(count):
            digest = hashlib.sha256(b"%d" % self._made).digest()
            centre = self._centres[int(self._random.integers(len(self._centres)))]
            made = centre + self._random.standard_normal(len(centre)) * 0.6
            found = np.asarray(made if vector is None else vector, np.float32)
            content = Content(key_of(digest), digest, 10, 4, 4, "PNG", 0.01)
            with self.catalog.transaction():
                self.catalog.contents.put(content)
                self.catalog.contents.put_embedding(content.key, RECIPE, found, "made up")
                for copy in range(copies):
                    path = b"/made/%d-%d" % (self._made, copy)
                    self.catalog.images.insert(path, self.root, content.key)
                stored = self.catalog.contents.embeddings([content.key], RECIPE)
                ArrivalAssigner(self.catalog).assign([content.key], stored)
            keys.append(content.key)
            self._made += 1
        return keys

    def remove(self, key: int) -> None:
        """Take all images of a content out."""
        with self.catalog.transaction():
            for image in self.catalog.images.with_content(key):
                self.catalog.remove_image(image)

    def recluster(self, **options: Any) -> Recluster:
        return Recluster(
            self.catalog,
            recipe=RECIPE,
            settings=Settings(),
            lock=self.folder / "clustering.lock",
            charts_folder=self.folder / "charts",
            **options,
        )

    def cluster(self, k: int | str, *, seed: int = 0, **how: Any) -> Any:
        return self.recluster().cluster(k=str(k), space=self.space, seed=seed, **how)


@dataclass(frozen=True)
class State:
    """The current clustering as sqlite3 finds it."""

    number: int
    cluster_of: dict[int, int]
    distances: dict[int, float]
    arrived: set[int]
    images: dict[int, int]
    centroids: dict[int, Any]
    vectors: dict[int, Any]
    names: dict[int, str]
    inertia: float
    facts: dict[str, Any] = field(default_factory=dict)

    def members(self, cluster: int) -> set[int]:
        return {key for key, one in self.cluster_of.items() if one == cluster}

    def sizes(self) -> dict[int, int]:
        found = dict.fromkeys(self.centroids, 0)
        for key, cluster in self.cluster_of.items():
            found[cluster] += self.images[key]
        return found


def look(path: Path) -> State:
    """Read the catalog with Python's own sqlite3."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        (text,) = connection.execute(
            "SELECT value FROM settings WHERE key = 'current_clustering'"
        ).fetchone()
        number = json.loads(text)
        assigned = connection.execute(
            "SELECT content, cluster, distance, arrived FROM assignments WHERE clustering = ?",
            (number,),
        ).fetchall()
        dims, blob, inertia, mean, contents = connection.execute(
            "SELECT dims, centroids, inertia, mean_distance, contents FROM clusterings "
            "WHERE id = ?",
            (number,),
        ).fetchone()
        rows = connection.execute(
            "SELECT cluster, mean_distance, coherence, medoid, contents, outlier_from "
            "FROM clustering_clusters WHERE clustering = ? ORDER BY position",
            (number,),
        ).fetchall()
        arrivals = connection.execute(
            "SELECT cluster, contents, distances, squares FROM arrivals WHERE clustering = ?",
            (number,),
        )
        images = connection.execute("SELECT content, count(*) FROM images GROUP BY content")
        embeddings = connection.execute("SELECT content, vector FROM embeddings")
        names = connection.execute("SELECT id, name FROM clusters WHERE name IS NOT NULL")
        state = State(
            number=number,
            cluster_of={row[0]: row[1] for row in assigned},
            distances={row[0]: row[2] for row in assigned},
            arrived={row[0] for row in assigned if row[3]},
            images=dict(images.fetchall()),
            centroids={
                row[0]: centroid
                for row, centroid in zip(
                    rows, np.frombuffer(blob, "<f4").reshape(-1, dims), strict=True
                )
            },
            vectors={key: np.frombuffer(one, "<f2") for key, one in embeddings},
            names=dict(names.fetchall()),
            inertia=inertia,
            facts={
                "mean_distance": mean,
                "contents": contents,
                "rows": {r[0]: r for r in rows},
                "arrivals": {r[0]: r for r in arrivals},
            },
        )
    connection.close()
    return state


def most_that_can_stay(old: Mapping[int, int], new: Mapping[int, int], images: Any) -> int:
    """Images that keep their id under the best pairing: the assignment problem, by subsets.

    Pairs count from a Jaccard index of three tenths, over contents that both know.
    """
    both = old.keys() & new.keys()
    shared: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[str, int], int] = {}
    for key in both:
        shared[old[key], new[key]] = shared.get((old[key], new[key]), 0) + images[key]
        for side, cluster in (("old", old[key]), ("new", new[key])):
            sizes[side, cluster] = sizes.get((side, cluster), 0) + images[key]
    worth: dict[int, list[tuple[int, int]]] = {}
    places = {cluster: place for place, cluster in enumerate(sorted({b for _, b in shared}))}
    for (one, other), count in shared.items():
        union = sizes["old", one] + sizes["new", other] - count
        if Fraction(count, union) >= Fraction(3, 10):
            worth.setdefault(one, []).append((places[other], count))
    best = {0: 0}  # images that stay, by the set of new clusters that are taken
    for choices in worth.values():
        grown = dict(best)
        for taken, stay in best.items():
            for place, count in choices:
                if not taken >> place & 1:
                    key = taken | 1 << place
                    grown[key] = max(grown.get(key, 0), stay + count)
        best = grown
    return max(best.values())


def that_stayed(old: Mapping[int, int], new: Mapping[int, int], images: Any) -> int:
    """Images whose cluster id is the same."""
    return sum(images[key] for key in old.keys() & new.keys() if old[key] == new[key])


def wrong_numbers(state: State, *, inertia: bool) -> Iterator[str]:
    """What in a clustering of the space `embedding` is not as its centroids say.

    The inertia is that of the moment in which the clustering was made.
    """
    squared = 0.0
    for key, cluster in state.cluster_of.items():
        vector = state.vectors[key].astype(np.float64)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32).astype(np.float64)
        apart = float(np.sqrt(((vector - state.centroids[cluster].astype(np.float64)) ** 2).sum()))
        squared += apart**2
        if abs(apart - state.distances[key]) > 1e-5 * (1 + apart):
            yield f"distance of {key}: {state.distances[key]} instead of {apart}"
    if inertia and abs(squared - state.inertia) > 1e-5 * squared:
        yield f"inertia {state.inertia} instead of {squared}"


def bursts(path: Path) -> dict[int, int]:
    """The representative of each content by the current rule, as sqlite3 finds it."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT content, representative FROM burst_groups WHERE rule = "
            "(SELECT id FROM burst_rules WHERE current)"
        ).fetchall()
    connection.close()
    return dict(rows)


def torn(path: Path) -> list[str]:
    """Members of a burst group in another cluster than what represents it, as the oracle says."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return oracle.torn(connection)
