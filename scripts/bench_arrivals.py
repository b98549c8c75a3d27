"""What the space of the clusters costs a watcher: arrivals among 100,000 images, in turn.

Two collections of the same made-up images, clustered in the space `pca` and in `smoothed`, and a
watcher of each. The same photos, parts of the samples, come to both, one at a time: from when each
is there until its link is. Then many at once, to one and to the other: processor time of the
watcher with its workers, and wall time. The network is the real one; on a busy machine the ratios
of processor time count.

With --like FILE.npz (from the cache of `bench replay`) the made-up images resemble real ones, those
that arrive among them; without it photos arrive among images of another kind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bench_quality import SAMPLES
from bench_recluster import resembling
from PIL import Image
from synthetic_collection import make, vectors_of

SPACES = ("pca", "smoothed")
_RUN = "from imgclust.cli import app; app()"
_PATIENCE_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


def parts_of(photos: list[Path], count: int, folder: Path) -> list[Path]:
    """So many different photos: the samples, then parts of them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    found = photos[:count]
    while len(found) < count:
        with Image.open(photos[len(found) % len(photos)]) as whole:
            width, height = whole.size
            share = random.uniform(0.6, 0.9)
            left, top = random.uniform(0, 1 - share, 2)
            right, bottom = (left + share) * width, (top + share) * height
            one = whole.convert("RGB").crop((left * width, top * height, right, bottom))
        found.append(folder / f"{len(found):05}.jpg")
        one.save(found[-1], quality=85)
    return found


def prepared(folder: Path, n: int, maker: Callable[[int, int], np.ndarray]) -> None:
    """The same collection in each space, with links and an empty folder to watch."""
    make(folder / "made", n, vectors_of=maker)
    for space in SPACES:
        shutil.copytree(folder / "made", folder / space)
        (folder / f"photos-{space}").mkdir()
        for command in (("cluster", "-k", "60", "--space", space, "-q"), ("links", "-q")):
            run = [sys.executable, "-c", _RUN, *command, "--index", str(folder / space)]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def watcher(folder: Path, space: str) -> Iterator[int]:
    """A watcher of one of them; yields its process."""
    arguments = ["watch", str(folder / f"photos-{space}"), "--index", str(folder / space)]
    with (folder / f"{space}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *arguments], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def processor_seconds(pid: int) -> float:
    """Of a process and all that it started."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for one in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = one.read_text().rpartition(")")[2].split()
            number = int(one.parent.name)
            parents[number] = int(fields[1])
            spent[number] = sum(int(fields[place]) for place in (11, 12, 13, 14)) / _TICKS
    ours = {pid}
    while more := {one for one, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent[one] for one in ours)


class Collection:
    """One of the collections, as the catalog says that it stands."""

    def __init__(self, folder: Path, space: str) -> None:
        self.photos = folder / f"photos-{space}"
        path = folder / space / "default" / "catalog.sqlite3"
        self._catalog = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def put(self, photo: Path, number: int) -> Path:
        """Put a photo there at once, under a name of its own."""
        there = self.photos / f"{number:04}-{photo.name}"
        hidden = self.photos / f".{there.name}"
        shutil.copyfile(photo, hidden)
        hidden.rename(there)
        return there

    def linked(self) -> int:
        """Links of photos that came."""
        (count,) = self._catalog.execute(
            "SELECT count(DISTINCT images.id) FROM images "
            "JOIN link_ledger ON link_ledger.image = images.id "
            "WHERE link_ledger.state = 'done' AND images.path >= ?1 AND images.path < ?2",
            (os.fsencode(f"{self.photos}/"), os.fsencode(f"{self.photos}0")),
        ).fetchone()
        return int(count)

    def wait(self, count: int) -> float:
        """Wait until so many have a link; returns the time."""
        end = time.monotonic() + _PATIENCE_S
        while self.linked() < count:
            if time.monotonic() > end:
                raise SystemExit(f"{self.photos}: {self.linked()} of {count} links after 2 minutes")
            time.sleep(0.005)
        return time.monotonic()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000, help="images there before")
    parser.add_argument("--arrivals", type=int, default=100, help="that come one at a time")
    parser.add_argument("--batches", type=int, default=3, help="that come at once")
    parser.add_argument("--size", type=int, default=200, help="photos in a batch")
    parser.add_argument("--like", type=Path, nargs="+", help="what the images resemble")
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    chosen = parser.parse_args()
    samples = sorted((SAMPLES / "photos").iterdir())
    wanted = chosen.arrivals + 1 + chosen.batches * chosen.size
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        prepared(folder, chosen.n, resembling(chosen.like) if chosen.like else vectors_of)
        photos = parts_of(samples, wanted, folder / "parts")
        watchers = {space: stack.enter_context(watcher(folder, space)) for space in SPACES}
        there = {space: Collection(folder, space) for space in SPACES}
        number = 0
        delays: dict[str, list[float]] = {space: [] for space in SPACES}
        for turn in range(chosen.arrivals + 1):
            for space in SPACES if turn % 2 else reversed(SPACES):
                began = time.monotonic()
                there[space].put(photos[number], number)
                took = there[space].wait(number + 1) - began
                if turn:  # the first waits for the network
                    delays[space].append(took)
            number += 1
        spent: dict[str, list[float]] = {space: [] for space in SPACES}
        walls: dict[str, list[float]] = {space: [] for space in SPACES}
        for turn in range(chosen.batches):
            for space in SPACES if turn % 2 else reversed(SPACES):
                before, began = processor_seconds(watchers[space]), time.monotonic()
                for place in range(number, number + chosen.size):
                    there[space].put(photos[place], place)
                walls[space].append(there[space].wait(number + chosen.size) - began)
                spent[space].append(processor_seconds(watchers[space]) - before)
            number += chosen.size
    for space in SPACES:
        print(
            f"{space:9} arrival to link, median {1000 * statistics.median(delays[space]):7.0f} ms; "
            f"{chosen.size} at once, processor {statistics.median(spent[space]):6.2f} s, "
            f"wall {statistics.median(walls[space]):6.2f} s"
        )
    pairs = zip(delays["smoothed"], delays["pca"], strict=True)
    more = 1000 * statistics.median(one - other for one, other in pairs)
    print(f"smoothed - pca, median of pairs {more:.0f} ms")
    ratios = [a / b for a, b in zip(spent["smoothed"], spent["pca"], strict=True)]
    print(f"processor time, ratios {', '.join(f'{one:.3f}' for one in ratios)}")
    ratios = [a / b for a, b in zip(walls["smoothed"], walls["pca"], strict=True)]
    print(f"wall time, ratios {', '.join(f'{one:.3f}' for one in ratios)}")


if __name__ == "__main__":
    main()
