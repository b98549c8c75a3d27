"""What it costs to keep a batch of 32 new images for good, at 100,000 images.

A: the ingest's own commit (SQLite, write-ahead log, synchronous=FULL) of 32 contents, embeddings,
images, observations, assignments and link requests. B: writing the whole FAISS index file anew, as
tools do that keep nothing else. In turn, several times; the median of the paired ratios counts.
C: the time that the network takes for the batch, for the share of A in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from imgclust.catalog import Catalog, Content, key_of
from imgclust.index import VectorIndex

RECIPE = '{"bench":1}'
DIMENSIONS = 2048
BATCH = 32


def content(number: int) -> Content:
    """A made-up content."""
    import hashlib

    sha256 = hashlib.sha256(b"%d" % number).digest()
    return Content(key_of(sha256), sha256, 100_000, 640, 480, "JPEG", 0.01)


def path_of(number: int) -> bytes:
    """A made-up path."""
    return b"/photos/%03d/%07d.jpg" % (number // 1000, number)


def see(catalog: Catalog, first: int, count: int, root: int) -> None:
    """What the scan writes before a batch is read: its files were seen."""
    with catalog.transaction():
        for number in range(first, first + count):
            stat = (1, number, 100_000, number, number)
            catalog.observations.see(path_of(number), root, stat, due=0.0)


def write(catalog: Catalog, first: int, vectors: np.ndarray, clustering: int, root: int) -> None:
    """What the ingest writes for a batch, in one transaction."""
    with catalog.transaction():
        rows = []
        for number, vector in enumerate(vectors, first):
            one = content(number)
            path = path_of(number)
            catalog.contents.put(one)
            catalog.contents.put_embedding(one.key, RECIPE, vector, "bench")
            catalog.observations.settle(path, "done")
            image = catalog.images.insert(path, root, one.key)
            catalog.images.queue_links([image])
            rows.append((one.key, 1 + number % 50, 0.5))
        catalog.clusterings.assign(clustering, rows, arrived=True)


def filled(folder: Path, n: int) -> tuple[Catalog, VectorIndex, int, int]:
    """A catalog and an index of n contents."""
    catalog = Catalog(folder / "catalog.sqlite3")
    index = VectorIndex(DIMENSIONS)
    generator = np.random.default_rng(0)
    with catalog.transaction():
        root = catalog.images.put_root(b"/photos", "watched").id
        clustering = catalog.clusterings.begin(
            provisional=False,
            space="pca",
            chosen_by="user",
            inertia=1.0,
            mean_distance=1.0,
            seed=0,
            recipe=catalog.contents.recipe_id(RECIPE),
            projection=None,
            sequence=0,
            contents=n,
            centroids=np.zeros((50, 64), np.float32),
        )
        catalog.clusterings.set_clusters(clustering, [(c + 1, 0.0, 1.0, 0) for c in range(50)])
        catalog.clusterings.publish(clustering, {})
    for start in range(0, n, 2000):
        vectors = generator.standard_normal((min(2000, n - start), DIMENSIONS)).astype(np.float32)
        see(catalog, start, len(vectors), root)
        write(catalog, start, vectors, clustering, root)
        keys = [content(number).key for number in range(start, start + len(vectors))]
        index.add(np.array(keys, np.int64), vectors)
    return catalog, index, clustering, root


def embedding_seconds(times: int) -> float:
    """Median time of the network for one batch."""
    from imgclust import weights
    from imgclust.embedding import open_embedder, recipe_of

    trunk = weights.trunk()
    embedder = open_embedder(trunk, recipe=recipe_of(trunk))
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 299, 299, 3), np.uint8)
    embedder.embed(pixels)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        embedder.embed(pixels)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="images there before")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        catalog, index, clustering, root = filled(folder, chosen.n)
        generator = np.random.default_rng(1)
        commits, files = [], []
        for round_ in range(chosen.rounds):
            vectors = generator.standard_normal((BATCH, DIMENSIONS)).astype(np.float32)
            see(catalog, chosen.n + round_ * BATCH, BATCH, root)
            began = time.perf_counter()
            write(catalog, chosen.n + round_ * BATCH, vectors, clustering, root)
            commits.append(time.perf_counter() - began)
            began = time.perf_counter()
            index.save(folder / "index.faiss", recipe=RECIPE, sequence=round_)
            files.append(time.perf_counter() - began)
        catalog.close()
    ratios = [file / commit for file, commit in zip(files, commits, strict=True)]
    network = embedding_seconds(3)
    figures = {
        "n": chosen.n,
        "commit_ms": 1000 * statistics.median(commits),
        "index_file_ms": 1000 * statistics.median(files),
        "ratio": statistics.median(ratios),
        "embedding_ms": 1000 * network,
        "commit_share": statistics.median(commits) / network,
    }
    print(f"{chosen.n} images of {DIMENSIONS} numbers, batch of {BATCH}, {chosen.rounds} rounds")
    print(f"durable commit         {figures['commit_ms']:10.1f} ms")
    print(f"index file rewritten   {figures['index_file_ms']:10.1f} ms")
    print(f"ratio (median of pairs) {figures['ratio']:9.0f} x   (asked: 200 x)")
    print(f"network, this batch    {figures['embedding_ms']:10.1f} ms")
    print(f"commit's share of it   {figures['commit_share']:10.2%}     (asked: 2 % at most)")
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
