"""A service under load: pages and queries at a fixed rate over 100,000 images, beside an ingest.

Made-up embeddings and small pictures in a real catalog, and `imgclust serve` in a process of its
own that watches a folder. Requests are planned at equal distances, and each is timed from when it
was planned, whether or not the ones before it have been answered (no coordinated omission). First
the ingest alone, then both: photos are put into the folder as fast as they are taken. Of eight
requests four are for thumbnails, one is for a page of a cluster, one for an image, one a query,
and one the list of clusters.

Requests that took long are shown as pauses: times at which requests were planned that waited for
more than half a second, when such pauses began, how long they lasted, and what waited.

With --pages instead: how long Chromium takes to the first paint of each page, while the disk of all
images is away; and, one after another, answers over HTTP and by the socket of the command line.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import queue
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import psutil
from synthetic_collection import CLUSTERS, digest_of, make

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from imgclust import Collection
from imgclust.catalog.contents import key_of
from imgclust.collection import query_client
from imgclust.images.thumbnails import ThumbnailStore
from tests.served import HERE, Served, until

_DIFFERENT = 1200  # small pictures, so that none is twice among those of one centre
_SENDERS = (
    16  # of each kind: a kind that is answered slowly does not keep the others from being sent
)
_WAITING = 200  # files that wait at most, so that no more are made than are taken
_PAGES = ["", "clusters/5", "images/500", "search", "review", "k", "duplicates", "map"]
_PAGES += ["activity", "settings"]
_TIMES, _WARM = 5, 3
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
# A request that takes longer is part of a pause; one that begins so long after the last is another.
_SLOW_MS, _APART_S = 500.0, 1.0
_KINDS = ["thumbnail", "image", "thumbnail", "page", "thumbnail", "query", "thumbnail", "clusters"]


@dataclass
class Times:
    """Milliseconds of the answers to one kind of request, and what failed."""

    taken: list[float] = field(default_factory=list)
    errors: int = 0

    def shown(self) -> dict[str, float]:
        """Median, 99th percentile and longest."""
        if not self.taken:
            return {"requests": 0, "errors": self.errors, "p50": 0, "p99": 0, "max": 0}
        p50, p99 = np.percentile(self.taken, [50, 99])
        return {
            "requests": len(self.taken),
            "errors": self.errors,
            "p50": float(p50),
            "p99": float(p99),
            "max": max(self.taken),
        }


@dataclass(frozen=True)
class Slow:
    """A request that took long: seconds from the start at which it was planned, and its time."""

    planned: float
    kind: str
    milliseconds: float


@dataclass(frozen=True)
class Pause:
    """Slow requests that were planned soon after one another, from the first to the last answer."""

    at: float
    seconds: float
    kinds: dict[str, int]

    def __str__(self) -> str:
        waited = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        total = sum(self.kinds.values())
        return f"at {self.at:.1f} s, for {self.seconds:.1f} s, {total} requests: {waited}"


def pauses(slow: Iterable[Slow]) -> list[Pause]:
    """Put slow requests together into pauses."""
    parts: list[list[Slow]] = []
    for one in sorted(slow, key=lambda each: each.planned):
        if not parts or one.planned - parts[-1][-1].planned > _APART_S:
            parts.append([])
        parts[-1].append(one)
    return [
        Pause(
            part[0].planned,
            max(each.planned + each.milliseconds / 1e3 for each in part) - part[0].planned,
            dict(Counter(each.kind for each in part).most_common()),
        )
        for part in parts
    ]


@dataclass(frozen=True)
class Phase:
    """What happened in one part: images that came in, a second, and memory in MB over time."""

    seconds: float
    ingested: float
    memory: tuple[int, ...]
    times: dict[str, dict[str, float]]
    pauses: tuple[Pause, ...]
    processor: float


def pictures(folder: Path, n: int) -> None:
    """Small pictures of the made-up images."""
    from PIL import Image

    generator = np.random.default_rng(5)
    store, made = ThumbnailStore(folder), []
    for number in range(_DIFFERENT):
        field = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        file = io.BytesIO()
        field.resize((160, 120), Image.Resampling.BICUBIC).save(file, "WEBP", method=0)
        first = key_of(digest_of(number))
        store.put(first, file.getvalue())
        made.append(store.path(first).read_bytes())
    for number in range(n):
        path = store.path(key_of(digest_of(number)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[number % _DIFFERENT])


class Arrivals:
    """Puts photos of bytes of their own into a folder, as fast as they are taken."""

    def __init__(self, folder: Path, samples: list[bytes]) -> None:
        self._folder, self._samples = folder, samples
        self.made = 0

    def fill(self, taken: int) -> None:
        """Have as many wait as there should."""
        while self.made - taken < _WAITING:
            photo = self._samples[self.made % len(self._samples)]
            path = self._folder / f"{self.made:07}.jpg"
            part = path.with_suffix(".part")
            part.write_bytes(photo + b"%d" % self.made)
            os.rename(part, path)
            self.made += 1


class Load:
    """Sends requests at the times that are planned for them."""

    def __init__(self, address: str, n: int, *, seed: int) -> None:
        self._place = address.removeprefix("http://")
        self._n = n
        self._random = random.Random(seed)
        self._planned: dict[str, queue.SimpleQueue[tuple[float, str] | None]] = {
            kind: queue.SimpleQueue() for kind in dict.fromkeys(_KINDS)
        }
        self._lock = threading.Lock()
        self.times = {kind: Times() for kind in dict.fromkeys(_KINDS)}
        self.slow: list[Slow] = []
        self._began = 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(kind,))
            for kind in self._planned
            for _ in range(_SENDERS)
        ]

    def run(self, *, rate: float, seconds: float) -> None:
        """Send for so long, and wait for the answers."""
        for thread in self._threads:
            thread.start()
        self._began = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = self._began + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            kind = _KINDS[number % len(_KINDS)]
            self._planned[kind].put((due, self.path(kind)))
        for waiting in self._planned.values():
            for _ in range(_SENDERS):
                waiting.put(None)
        for thread in self._threads:
            thread.join()

    def path(self, kind: str) -> str:
        """What a request of this kind asks for, one of many."""
        image = self._random.randint(1, self._n)
        cluster = self._random.randint(1, CLUSTERS)
        offset = self._random.randrange(0, self._n // CLUSTERS, 100)
        return {
            "thumbnail": f"{HERE}/images/{image}/thumbnail",
            "image": f"{HERE}/images/{image}",
            "page": f"{HERE}/clusters/{cluster}/images?offset={offset}&limit=100",
            "query": f"{HERE}/query?image={image}",
            "clusters": f"{HERE}/clusters",
        }.get(kind, "")

    def _work(self, kind: str) -> None:
        channel = HTTPConnection(self._place, timeout=120)
        while (planned := self._planned[kind].get()) is not None:
            due, path = planned
            try:
                channel.request("GET", path)
                answer = channel.getresponse()
                answer.read()
                good = answer.status == 200
            except (OSError, HTTPException):
                channel.close()
                good = False
            taken = 1e3 * (time.perf_counter() - due)
            with self._lock:
                self.times[kind].taken.append(taken)
                self.times[kind].errors += not good
                if taken > _SLOW_MS:
                    self.slow.append(Slow(due - self._began, kind, taken))
        channel.close()


def phase(
    served: Served,
    catalog: Path,
    arrivals: Arrivals,
    n: int,
    *,
    rate: float,
    seconds: float,
    seed: int,
) -> Phase:
    """Ingest, and requests at this rate beside it, for so long."""
    process = psutil.Process(served.pid)
    load = Load(served.address, n, seed=seed)
    sender = threading.Thread(target=load.run, kwargs={"rate": rate, "seconds": seconds})
    memory: list[int] = []
    first, began, before = _images(catalog), time.perf_counter(), _processor(process)
    sender.start()
    while time.perf_counter() - began < seconds:
        arrivals.fill(_images(catalog) - n)
        if len(memory) < 10 * (time.perf_counter() - began) / seconds:
            memory.append(process.memory_info().rss >> 20)
        time.sleep(1.0)
    took, came = time.perf_counter() - began, _images(catalog) - first
    spent = _processor(process) - before
    sender.join()
    times = {kind: found.shown() for kind, found in load.times.items()}
    return Phase(took, came / took, tuple(memory), times, tuple(pauses(load.slow)), spent)


def _processor(process: psutil.Process) -> float:
    """Seconds of processor time that a process and its workers have taken."""
    used = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:2])
    return used


def _images(catalog: Path) -> int:
    """Images that are in, without a question to the service."""
    with contextlib.closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as opened:
        return int(opened.execute("SELECT count(*) FROM images").fetchone()[0])


def pages(index: Path, n: int) -> dict[str, list[float]]:
    """Milliseconds to the first paint of each page, in a browser without a cache, in turn."""
    from playwright.sync_api import sync_playwright

    from tests.browsing import CHROMIUM

    view = "from imgclust.cli import app; app()", "view", "--method", "pca"
    subprocess.run([sys.executable, "-c", *view, "--index", index], check=True)
    found: dict[str, list[float]] = {}
    with Served(index) as served, sync_playwright() as tools:
        until(lambda: served.get("status")["missing"] == n, seconds=300)
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for path in _PAGES * _TIMES:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.goto(f"{served.address}/c/default/{path}", wait_until="load", timeout=120_000)
            until(functools.partial(page.evaluate, _PAINT))
            found.setdefault(path or "clusters", []).append(page.evaluate(_PAINT))
            context.close()
    return found


def answers(index: Path, n: int, *, times: int, seed: int) -> dict[str, Times]:
    """How long answers take one after another, without anything else."""
    found = {kind: Times() for kind in [*dict.fromkeys(_KINDS), "again", "socket"]}
    with Served(index) as served, Collection.open(index) as collection:
        until(lambda: served.get("status")["missing"] == n, seconds=300)
        load = Load(served.address, n, seed=seed)
        channel = HTTPConnection(served.address.removeprefix("http://"), timeout=120)
        for kind, row in found.items():
            for number in range(times + _WARM):
                path = load.path("query" if kind == "again" else kind)
                began = time.perf_counter()
                if kind == "socket":
                    good = query_client.ask(collection, ["7"], {"n": 10}) is not None
                else:
                    channel.request("GET", f"{HERE}/query?image=7" if kind == "again" else path)
                    answer = channel.getresponse()
                    answer.read()
                    good = answer.status == 200
                if number >= _WARM:
                    row.taken.append(1e3 * (time.perf_counter() - began))
                    row.errors += not good
    return found


def alone(index: Path, n: int) -> None:
    """Print what pages and answers take without load."""
    load = os.getloadavg()[0]
    for kind, row in answers(index, n, times=100, seed=1).items():
        shown = row.shown()
        print(
            f"{kind:12} p50 {shown['p50']:7.1f} ms, p99 {shown['p99']:7.1f} ms, {row.errors} errors"
        )
    for path, taken in pages(index, n).items():
        print(
            f"{path:12} first paint {statistics.median(taken):6.0f} ms, the first {taken[0]:.0f}, "
            f"longest {max(taken):.0f}"
        )
    print(f"load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after")


def collection(index: Path, n: int) -> None:
    """A collection of n made-up images with pictures, whose disk is away."""
    make(index, n, photos=os.fsencode(index.parent / "photos"))
    pictures(index / "default" / "thumbnails", n)


def _copied(source: str, target: str) -> None:
    """Copy a file; a thumbnail is linked: it is replaced where its picture changes."""
    if f"{os.sep}thumbnails{os.sep}" in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="images of the collection")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long")
    parser.add_argument("--alone", type=float, default=60.0, help="how long the ingest alone")
    parser.add_argument("--pages", action="store_true", help="first paints, and answers alone")
    parser.add_argument(
        "--collection", type=Path, help="a folder where the collection is made once, and kept"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    samples = sorted((Path(__file__).parent / "samples" / "photos").iterdir())
    with tempfile.TemporaryDirectory(
        dir=chosen.collection and chosen.collection.parent
    ) as temporary:
        index, drop = Path(temporary) / "index", Path(temporary) / "drop"
        drop.mkdir()
        if chosen.collection is None:
            collection(index, chosen.n)
        else:
            if not chosen.collection.exists():
                collection(chosen.collection, chosen.n)
            shutil.copytree(chosen.collection, index, copy_function=_copied)
        if chosen.pages:
            alone(index, chosen.n)
            return
        catalog = index / "default" / "catalog.sqlite3"
        arrivals = Arrivals(drop, [one.read_bytes() for one in samples])
        with Served(index, drop) as served:
            measure = [
                (0.0, min(chosen.alone, chosen.seconds), "ingest alone"),
                (chosen.rate, chosen.seconds, "both"),
            ]
            found = {
                name: phase(served, catalog, arrivals, chosen.n, rate=rate, seconds=seconds, seed=1)
                for rate, seconds, name in measure
            }
    for name, one in found.items():
        print(
            f"{name}: {one.ingested:.1f} images a second, memory {one.memory} MB, processors "
            f"{one.processor / one.seconds:.2f}"
        )
        for kind, row in one.times.items():
            if row["requests"]:
                print(
                    f"  {kind:10} {row['requests']:6,.0f} requests, {row['errors']:.0f} errors, "
                    f"p50 {row['p50']:.0f} ms, p99 {row['p99']:.0f} ms, longest {row['max']:.0f} ms"
                )
        for pause in one.pauses:
            print(f"  pause {pause}")
    share = found["both"].ingested / found["ingest alone"].ingested
    print(f"share of the ingest that is left: {share:.2f}")
    if chosen.out:
        chosen.out.write_text(json.dumps({k: asdict(v) for k, v in found.items()}, indent=2))


if __name__ == "__main__":
    main()
