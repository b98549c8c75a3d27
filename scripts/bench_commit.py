"""What it costs to keep a batch of 32 new images for good, at 100,000 images.

A: the ingest's own commit (SQLite, write-ahead log, synchronous=FULL) of 32 new images, with
contents, embeddings, observations, assignments and link requests. B: writing the whole FAISS index
file anew, as tools do that keep nothing else. In turn, several times; the median of the paired
ratios counts. C: the time that the network takes for the batch, for the share of A in it.

With --spaces instead: the same commit, of 32 images and of one, where the clusters are in the space
`pca` and where they are in `smoothed`, in turn; and what finding the burst groups takes of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from synthetic_collection import DIMENSIONS, digest_of, fill, path_of, see, vectors_of

from imgclust import config
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.clustering.burst_groups import BurstRule, Representatives
from imgclust.clusters.model import ArrivalAssigner
from imgclust.clusters.service import Recluster
from imgclust.config import Watch
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Decoded
from imgclust.index.vector_index import VectorIndex
from imgclust.ingest.commit import Committer, Embedded
from imgclust.ingest.environment import LocalDisk, Scope, SystemClock
from imgclust.ingest.events import Counts

RECIPE = '{"bench":1}'
BATCH = 32


def decoded(number: int) -> Decoded:
    """What the workers hand over for the made-up image `number`."""
    stat = FileStat(1, number, 100_000, 1, 1)
    pixels = np.zeros((1, 1, 3), np.uint8)
    return Decoded(path_of(number), stat, digest_of(number), 640, 480, "JPEG", pixels, None, 0.01)


def embedding_seconds(times: int) -> float:
    """Median time of the network for one batch."""
    from imgclust.embedding.engine_selection import open_embedder
    from imgclust.embedding.recipe import recipe_of
    from imgclust.weights import loader

    trunk = loader.trunk()
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
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    parser.add_argument("--spaces", action="store_true", help="compare the spaces of clusters")
    chosen = parser.parse_args()
    if chosen.spaces:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            compare_spaces(Path(name), chosen.n, chosen.rounds)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        fill(folder, chosen.n, recipe=RECIPE).close()
        commits, files = measure(folder, chosen.n, chosen.rounds)
    ratios = [file / commit for file, commit in zip(files, commits, strict=True)]
    network = embedding_seconds(3)
    figures = {
        "n": chosen.n,
        "commit_ms": 1000 * statistics.median(commits),
        "commit_mean_ms": 1000 * statistics.fmean(commits),
        "index_file_ms": 1000 * statistics.median(files),
        "ratio": statistics.median(ratios),
        "embedding_ms": 1000 * network,
        "commit_share": statistics.fmean(commits) / network,
    }
    print(f"{chosen.n} images of {DIMENSIONS} numbers, batch of {BATCH}, {chosen.rounds} rounds")
    print(f"durable commit         {figures['commit_ms']:10.1f} ms")
    print(f"  the mean of them     {figures['commit_mean_ms']:10.1f} ms   (checkpoints included)")
    print(f"index file rewritten   {figures['index_file_ms']:10.1f} ms")
    print(f"ratio (median of pairs) {figures['ratio']:9.0f} x   (asked: 200 x)")
    print(f"network, this batch    {figures['embedding_ms']:10.1f} ms")
    print(f"mean commit's share    {figures['commit_share']:10.2%}     (asked: 2 % at most)")
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def compare_spaces(folder: Path, n: int, rounds: int) -> None:
    """Print what a commit takes with clusters in each space, and the network for such a batch."""
    fill(folder, n, recipe=RECIPE).close()
    writers = {}
    for space in ("pca", "smoothed"):
        own = folder / space
        own.mkdir()
        shutil.copy(folder / "catalog.sqlite3", own)
        catalog = Catalog(own / "catalog.sqlite3")
        Recluster(
            catalog,
            recipe=RECIPE,
            settings=config.Settings(),
            lock=own / "clustering.lock",
            charts_folder=own,
        ).cluster(k=60, space=space, seed=0)
        writers[space] = catalog, writer(catalog)
    bursts = writers["smoothed"][0].bursts
    number = bursts.current_id(RECIPE)
    assert number is not None
    rule = BurstRule.from_bytes(bursts.get(number).blob)
    keys, blobs = bursts.representatives(number)
    places = np.frombuffer(b"".join(blobs), np.float16).reshape(len(keys), -1)
    known = Representatives(rule, keys, places)
    first = n
    for size in (BATCH, 1):
        taken: dict[str, list[float]] = {space: [] for space in writers}
        groups = []
        for round_ in range(-1, rounds):  # the first opens files and loads the clustering
            for space, (catalog, committing) in writers.items():
                took = commit(catalog, committing, first, size)
                if round_ >= 0:
                    taken[space].append(took)
            first += size
        for round_ in range(rounds):
            vectors = vectors_of(first + round_, size)
            began = time.perf_counter()
            known.near(rule.places(vectors), rule.bounds(vectors))
            groups.append(time.perf_counter() - began)
        for space, times in taken.items():
            print(f"commit of {size:2d}, {space:8} {1000 * statistics.median(times):8.1f} ms")
        print(f"  search for burst groups {1000 * statistics.median(groups):6.1f} ms")
    print(f"network, {BATCH} images   {1000 * embedding_seconds(3):10.1f} ms")


def writer(catalog: Catalog) -> Committer:
    """What commits arrivals to a catalog, as the ingest does."""
    return Committer(
        catalog,
        recipe=RECIPE,
        rules=Watch(),
        disk=LocalDisk(),
        clock=SystemClock(),
        assigner=ArrivalAssigner(catalog),
        counts=Counts(),
        emit=lambda event: None,
    )


def commit(
    catalog: Catalog,
    committing: Committer,
    first: int,
    size: int,
    maker: Callable[[int, int], np.ndarray] = vectors_of,
) -> float:
    """Commit made-up images; returns the seconds that the commit itself took."""
    place = Scope(tuple(catalog.roots.all()), (), frozenset(), 1.0)
    numbers = range(first, first + size)
    with catalog.transaction():
        see(catalog, numbers, place.roots[0].id)
    vectors = {
        key_of(digest_of(number)): vector
        for number, vector in zip(numbers, maker(first, size), strict=True)
    }
    outcomes = [decoded(number) for number in numbers]
    began = time.perf_counter()
    committing.write(outcomes, Embedded(vectors, "bench"), place)
    return time.perf_counter() - began


def measure(folder: Path, n: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each commit, and of each index file, in turn."""
    catalog = Catalog(folder / "catalog.sqlite3")
    index, _ = VectorIndex.load(folder / "index.faiss", recipe=RECIPE, dimensions=DIMENSIONS)
    committing = writer(catalog)
    commits, files = [], []
    # The first batch opens files and loads the clustering, once for a whole run: not counted.
    for round_ in range(-1, rounds):
        first = n + (round_ + 1) * BATCH
        commits.append(commit(catalog, committing, first, BATCH))
        began = time.perf_counter()
        index.save(folder / "index.faiss", recipe=RECIPE, sequence=round_ + 1)
        files.append(time.perf_counter() - began)
    assert catalog.contents.count() == n + (rounds + 1) * BATCH
    catalog.close()
    return commits[1:], files[1:]


if __name__ == "__main__":
    main()
