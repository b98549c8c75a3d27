"""Makes a collection of made-up images, as large as wanted, without a picture or a network.

The embeddings lie around 200 centres, as those of photos do; paths lead nowhere. What the
benchmarks of the store need: `scripts/bench links`, `recluster`, `start`, `commit` and
`duplicates` use it.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import DescribedCluster
from imgclust.catalog.contents import Content, key_of
from imgclust.embedding.recipe import recipe_of
from imgclust.index.vector_index import VectorIndex
from imgclust.projection.half_white import LEAST_DIFFERENT, SimilarityProjection, fit_similarity
from imgclust.projection.pca import fit_pca
from imgclust.weights import loader

DIMENSIONS = 2048
CLUSTERS = 50
_CENTRES = 200
_CHUNK = 2000
PHOTOS = b"/photos"
_SAMPLE = 500  # of these the projection is fitted: of more it would cost more than all the rest


def digest_of(number: int) -> bytes:
    """SHA-256 of the made-up image `number`."""
    return hashlib.sha256(b"%d" % number).digest()


def path_of(number: int, photos: bytes = PHOTOS) -> bytes:
    """Path of the made-up image `number`."""
    return photos + b"/%03d/%07d.jpg" % (number // 1000, number)


def vectors_of(first: int, count: int) -> np.ndarray:
    """Embeddings `(count, d)` float32 at unit length, the same for the same numbers."""
    centres = np.abs(np.random.default_rng(0).standard_normal((_CENTRES, DIMENSIONS), np.float32))
    generator = np.random.default_rng((1, first))
    vectors = centres[generator.integers(0, _CENTRES, count)]
    vectors += np.float32(0.7) * np.abs(generator.standard_normal((count, DIMENSIONS), np.float32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def fill(
    folder: Path,
    n: int,
    *,
    recipe: str,
    photos: bytes = PHOTOS,
    vectors_of: Callable[[int, int], np.ndarray] = vectors_of,
    digest_of: Callable[[int], bytes] = digest_of,
) -> Catalog:
    """A catalog with index file in `folder`: n images, seen, embedded, clustered, links queued."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(folder / "catalog.sqlite3")
    sample = vectors_of(0, min(n, _SAMPLE))
    projection = fit_pca(sample, dims=64, seed=0)
    centroids = projection.transform(sample[:CLUSTERS])
    with catalog.transaction():
        catalog.store("recipe", recipe)
        catalog.store("first_pass_over", True)
        root = catalog.roots.put(photos, "watched").id
        stored = catalog.projections.put(
            kind="pca",
            purpose="space",
            recipe=catalog.contents.recipe_id(recipe),
            sequence=0,
            settings={"space": "pca", "standardise": False, "pca_dims": 64, "seed": 0},
            contents=n,
            blob=projection.to_bytes(),
        )
        similarity = None
        if len(sample) >= LEAST_DIFFERENT:
            similarity = catalog.projections.put(
                kind=SimilarityProjection.kind,
                purpose="space",
                recipe=catalog.contents.recipe_id(recipe),
                sequence=0,
                settings={},
                contents=n,
                blob=fit_similarity(sample).to_bytes(),
            )
        clustering = catalog.clusterings.begin(
            provisional=False,
            space="pca",
            chosen_by="user",
            inertia=1.0,
            mean_distance=0.5,
            seed=0,
            recipe=catalog.contents.recipe_id(recipe),
            projection=stored,
            similarity=similarity,
            sequence=0,
            contents=n,
            centroids=centroids,
        )
        rows = [
            DescribedCluster(c + 1, 0.5, 0.8, key_of(digest_of(c))) for c in range(len(centroids))
        ]
        catalog.clusterings.set_clusters(clustering, rows)
        new = [row.cluster for row in rows]
        catalog.clusterings.publish(
            clustering,
            {"kept": [], "split": [], "merged": [], "new": new, "gone": [], "moved": 0},
        )
    index = VectorIndex(DIMENSIONS)
    for first in range(0, n, _CHUNK):
        numbers = range(first, min(first + _CHUNK, n))
        vectors = vectors_of(first, len(numbers))
        contents = [made_up(number, digest_of) for number in numbers]
        with catalog.transaction():
            see(catalog, numbers, root, photos)
            catalog.contents.put_embedded(
                list(zip(contents, vectors, strict=True)), recipe, "synthetic"
            )
            paths = [path_of(number, photos) for number in numbers]
            images = catalog.images.insert_all(
                [(path, root, one.key) for path, one in zip(paths, contents, strict=True)]
            )
            catalog.observations.done(paths)
            catalog.ledger.queue_links(images)
            catalog.assignments.assign(
                clustering,
                [
                    (one.key, 1 + number % len(centroids), 0.5)
                    for number, one in zip(numbers, contents, strict=True)
                ],
                arrived=False,
            )
        index.add([one.key for one in contents], vectors)
    index.save(folder / "index.faiss", recipe=recipe, sequence=catalog.contents.sequence())
    return catalog


def made_up(number: int, digest_of: Callable[[int], bytes] = digest_of) -> Content:
    """The content of the made-up image `number`."""
    digest = digest_of(number)
    return Content(key_of(digest), digest, 100_000, 640, 480, "JPEG", 0.01)


def see(catalog: Catalog, numbers: range, root: int, photos: bytes = PHOTOS) -> None:
    """What a scan writes of files that are new; the caller holds the transaction."""
    for number in numbers:
        catalog.observations.see(path_of(number, photos), root, (1, number, 100_000, 1, 1), due=0.0)


def main() -> None:
    """Make the collection `default` in an index folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path, help="a new index folder")
    parser.add_argument("--n", type=int, default=100_000, help="how many images")
    chosen = parser.parse_args()
    make(chosen.index, chosen.n)


def make(
    index: Path,
    n: int,
    *,
    photos: bytes = PHOTOS,
    vectors_of: Callable[[int, int], np.ndarray] = vectors_of,
    digest_of: Callable[[int], bytes] = digest_of,
) -> None:
    """Make the collection `default` of n images in an index folder, ready for every command."""
    trunk = loader.trunk()
    recipe = recipe_of(trunk).name
    filled = fill(
        index / "default",
        n,
        recipe=recipe,
        photos=photos,
        vectors_of=vectors_of,
        digest_of=digest_of,
    )
    with filled as catalog, catalog.transaction():
        catalog.store(
            "weights", {"name": trunk.name, "path": str(trunk.path), "sha256": trunk.sha256}
        )


if __name__ == "__main__":
    main()
