"""A re-cluster of 100,000 images while another process commits arrivals: what it holds up.

Made-up embeddings in a real catalog, space pca. The other process writes batches of 8 new images
by the ingest's own commit, 4 batches a second, and times each from before the commit until it
stands: alone first, then beside the clustering. At the end nothing may be lost or unassigned.

With --alone instead: what `cluster --fresh` and a re-cluster after it take, without arrivals
and after 1,000 of them, in the space --space. --like FILE.npz takes embeddings (from the cache of
`bench replay`) that the made-up ones resemble in their groups and their covariance. With
OMP_NUM_THREADS=1 processor times can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_commit import RECIPE, commit, decoded, writer
from synthetic_collection import digest_of, fill, see, vectors_of

from imgclust import config
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.clusters.model import ArrivalAssigner
from imgclust.clusters.service import Recluster
from imgclust.config import Watch
from imgclust.ingest.commit import Committer, Embedded
from imgclust.ingest.environment import LocalDisk, Scope, SystemClock
from imgclust.ingest.events import Counts

BATCH = 8
ARRIVALS = 1_000
PAUSE_S = 0.25
ALONE_S = 10.0


def commit_until(folder: Path, n: int) -> None:
    """Commit batches until the file `stop` is there; print when each began and what it took."""
    catalog = Catalog(folder / "catalog.sqlite3")
    place = Scope(tuple(catalog.roots.all()), (), frozenset(), 1.0)
    committing = Committer(
        catalog,
        recipe=RECIPE,
        rules=Watch(),
        disk=LocalDisk(),
        clock=SystemClock(),
        assigner=ArrivalAssigner(catalog),
        counts=Counts(),
        emit=lambda event: None,
    )
    taken: list[tuple[float, float]] = []
    first = n
    while not (folder / "stop").exists():
        numbers = range(first, first + BATCH)
        vectors = dict(
            zip(
                (key_of(digest_of(number)) for number in numbers),
                vectors_of(first, BATCH),
                strict=True,
            )
        )
        began = time.time()
        with catalog.transaction():
            see(catalog, numbers, place.roots[0].id)
        committing.write([decoded(number) for number in numbers], Embedded(vectors, ""), place)
        taken.append((began, time.time() - began))
        first += BATCH
        time.sleep(PAUSE_S)
    catalog.close()
    json.dump({"added": first - n, "taken": taken}, sys.stdout)


def resembling(files: list[Path]) -> Callable[[int, int], np.ndarray]:
    """A maker of embeddings with the groups and the covariance in groups of real ones."""
    rows, groups = [], []
    for file in files:
        with np.load(file) as archive:
            rows.append(archive["v"].astype(np.float32))
            groups.append([f"{file.stem}/{one}" for one in archive["labels"]])
    vectors = np.concatenate(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    _, member, sizes = np.unique(np.concatenate(groups), return_inverse=True, return_counts=True)
    centres = np.stack([vectors[member == one].mean(axis=0) for one in range(len(sizes))])
    apart = (vectors - centres[member]) * np.sqrt(sizes / np.maximum(sizes - 1, 1))[member, None]
    _, widths, axes = np.linalg.svd(apart / np.sqrt(len(apart)), full_matrices=False)
    spread = (widths[:, np.newaxis] * axes).astype(np.float32)
    shares = np.random.default_rng(5).dirichlet(np.full(len(centres), 1.5))

    def made(first: int, count: int) -> np.ndarray:
        random = np.random.default_rng((2, first))
        own = random.standard_normal((count, len(spread)), np.float32)
        own *= random.gamma(4, 0.25, (count, 1)).astype(np.float32)
        found = centres[random.choice(len(centres), count, p=shares)] + own @ spread
        found = np.maximum(found, 0)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    return made


def cluster_alone(
    folder: Path, n: int, k: str, space: str, maker: Callable[[int, int], np.ndarray]
) -> None:
    """Print what clustering takes from nothing, again from the clusters, and after arrivals."""
    fill(folder, n, recipe=RECIPE, vectors_of=maker).close()
    with Catalog(folder / "catalog.sqlite3") as catalog:
        made = Recluster(
            catalog,
            recipe=RECIPE,
            settings=config.Settings(),
            lock=folder / "clustering.lock",
            charts_folder=folder,
        )
        for case in ("fresh", "again", f"{ARRIVALS} new"):
            if case.endswith("new"):
                committing = writer(catalog)
                for first in range(n, n + ARRIVALS, BATCH):
                    commit(catalog, committing, first, BATCH, maker)
                del committing  # what it holds to place arrivals, the watcher does
            wall, spent = time.perf_counter(), time.process_time()
            result = made.cluster(k=k, space=space, seed=0, fresh=case == "fresh")
            print(
                f"{space:9} {case:8}  k = {result.k:4d} "
                f"{time.perf_counter() - wall:7.1f} s, processor "
                f"{time.process_time() - spent:7.1f} s, memory at most "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="images there before")
    parser.add_argument("-k", default="60", help="number of clusters, or auto")
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    parser.add_argument("--commit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help="no arrivals: time and memory")
    parser.add_argument("--space", default="pca", help="with --alone")
    parser.add_argument("--like", type=Path, nargs="+", help="with --alone: what to resemble")
    chosen = parser.parse_args()
    if chosen.alone:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            maker = resembling(chosen.like) if chosen.like else vectors_of
            cluster_alone(Path(name), chosen.n, chosen.k, chosen.space, maker)
        return
    if chosen.commit:
        commit_until(chosen.commit, chosen.n)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        fill(folder, chosen.n, recipe=RECIPE).close()
        other = subprocess.Popen(
            [sys.executable, __file__, "--commit", name, "--n", str(chosen.n)],
            stdout=subprocess.PIPE,
        )
        try:
            with Catalog(folder / "catalog.sqlite3") as catalog:
                before = catalog.contents.sequence()
                while catalog.contents.sequence() == before:  # until it has started
                    time.sleep(PAUSE_S)
            time.sleep(ALONE_S)
            began = time.time()
            with Catalog(folder / "catalog.sqlite3") as catalog:
                result = Recluster(
                    catalog,
                    recipe=RECIPE,
                    settings=config.Settings(),
                    lock=folder / "clustering.lock",
                    charts_folder=folder,
                ).cluster(k=chosen.k, space="pca", seed=0)
            ended = time.time()
            time.sleep(4 * PAUSE_S)
        finally:
            (folder / "stop").touch()
            said = json.loads(other.communicate()[0])
        with Catalog(folder / "catalog.sqlite3") as catalog:
            assert result.clustering is not None
            images = catalog.images.count()
            lost = chosen.n + said["added"] - images
            unassigned = len(catalog.assignments.unassigned(result.clustering, RECIPE))
            assigned = sum(catalog.assignments.sizes(result.clustering).values())
    alone = [took for at, took in said["taken"] if at < began]
    beside = [took for at, took in said["taken"] if at + took >= began and at <= ended]
    figures = {
        "n": chosen.n,
        "seconds": ended - began,
        "added": said["added"],
        "lost": lost,
        "unassigned": unassigned + images - assigned,
        "alone_ms": 1000 * statistics.median(alone),
        "beside_ms": 1000 * statistics.median(beside),
        "longest_ms": 1000 * max(beside),
    }
    print(f"{chosen.n} images clustered again in {figures['seconds']:.1f} s, k = {result.k}")
    print(f"committed meanwhile    {said['added']:10d} images, {len(beside)} batches beside it")
    print(f"lost, unassigned       {lost:10d}, {figures['unassigned']}   (asked: 0, 0)")
    print(f"commit alone, median   {figures['alone_ms']:10.1f} ms")
    print(f"commit beside, median  {figures['beside_ms']:10.1f} ms")
    print(f"commit beside, longest {figures['longest_ms']:10.1f} ms   (asked: 1000 ms at most)")
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
