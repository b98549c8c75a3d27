"""Kills and soaks: see scripts/torture."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.driver import Driver, Process
from tests.pictures import encoded, photo

# Kills in one collection; then a new one with the next seed.
_KILLS_A_LIFE = 40
# Files that wait at most, so that a slow machine is not buried.
_BACKLOG = 2000
_SAMPLE_S = 10.0
_VECTOR_BYTES = 2048 * 2
# What all processes may use beside the index, and how much more in the second half.
_MOST_MB, _MORE_MB = 2500, 50
# Everything that is loaded late (the first clustering) is there after so many images.
_LOADED = 1500

SOAK = {
    "IMGCLUST_WATCH_RESCAN_S": "60",
    "IMGCLUST_EMBEDDING_BATCH": "32",
    "IMGCLUST_INDEX_CHECKPOINT_IMAGES": "1000",
    "IMGCLUST_INDEX_CHECKPOINT_SHARE": "0.05",
    "IMGCLUST_DECODE_WORKERS": "0",
    # One clustering at the beginning: every arrival is assigned and linked, none refits.
    "IMGCLUST_CLUSTERING_GROWTH": "1000000000",
}
# As a person has it, clusterings while files wait among it; only k is given, which saves time.
BACKLOG = {
    **SOAK,
    "IMGCLUST_WATCH_SETTLE_S": "1",
    "IMGCLUST_CLUSTERING_SPACE": "pca",
    "IMGCLUST_CLUSTERING_FIRST_IMAGES": "20",
    "IMGCLUST_CLUSTERING_GROWTH": "4",
}


def kills(count: int, seed: int, *, real: bool) -> int:
    """Run so many kills; 1 at the first disagreement."""
    more = {"TEST_IMGCLUST_BACKBONE": "real"} if real else None
    for life in itertools.count(seed):
        now = min(count, _KILLS_A_LIFE)
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        began = time.monotonic()
        try:
            driver = Driver(folder, life, more=more)
            driver.kills(now, told=lambda line: print(f"\r{line:60}", end="", file=sys.stderr))
            driver.quiesce()
            wrong = driver.judge()
        except AssertionError as error:
            wrong = [str(error)]
        if wrong:
            print(f"\nseed {life}: {len(wrong)} disagreements; everything is in {folder}")
            print(*wrong[:20], sep="\n")
            print(f"again: scripts/torture --kills {now} --seed {life}" + " --real" * real)
            return 1
        shutil.rmtree(folder)
        print(f"\rseed {life}: {now} kills survived in {time.monotonic() - began:.0f} s" + " " * 30)
        count -= now
        if not count:
            return 0
    return 0


def fresh_files(folder: Path) -> Iterator[Path]:
    """Write pictures for ever, each with bytes of its own, a hundred to a folder."""
    pictures = [encoded(photo(160, 120, seed), "JPEG") for seed in range(40)]
    for number in itertools.count():
        path = folder / f"{number // 100:05d}" / f"{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(random.choice(pictures) + b"%d" % number)  # after the end of the JPEG
        yield path


def soak(minutes: float) -> int:
    """Feed files at full speed and print what the processes use."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="torture-")))
    drop, index = folder / "drop", folder / "index"
    drop.mkdir()
    files = fresh_files(drop)
    written = 0
    with Process("watch", index, drop, **SOAK) as watch:
        used = Used(watch.pid)
        end = time.monotonic() + 60 * minutes
        sampled = time.monotonic()
        while time.monotonic() < end and watch.running:
            images, _ = _counts(index)
            for _ in range(max(0, min(200, images + _BACKLOG - written))):
                next(files)
                written += 1
            time.sleep(0.2)
            if time.monotonic() - sampled >= _SAMPLE_S:
                sampled = time.monotonic()
                used.sample(*_counts(index))
        alive = watch.running
        if not alive:
            print(watch.said[-2000:])
    if alive:
        shutil.rmtree(folder)
        used.judge()
    return 0 if alive else 1


def backlog(count: int, *, minutes: float, real: bool) -> int:
    """Queue so many small files at once and print what the processes use while they go in.

    Ends when all are in, or after so many minutes (0: however long it takes). 1 when the memory,
    less the index's own bytes, reaches the limit or grows with what was ingested.
    """
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="torture-")))
    drop, index = folder / "drop", folder / "index"
    drop.mkdir()
    for _ in itertools.islice(fresh_files(drop), count):
        pass
    more = {"TEST_IMGCLUST_BACKBONE": "real"} if real else {}
    end = time.monotonic() + (60 * minutes or float("inf"))
    with Process("watch", index, drop, **BACKLOG, **more) as watch:
        used = Used(watch.pid)
        images = 0
        while images < count and watch.running and time.monotonic() < end:
            time.sleep(_SAMPLE_S / 2)
            images, waiting = _counts(index)
            used.sample(images, waiting)
        died = images < count and not watch.running
        said = watch.said
    shutil.rmtree(folder)
    if died:
        print(said[-2000:])
        return 1
    return 0 if used.judge() else 1


class Used:
    """What all processes of a watcher use together, over time.

    Resident memory is the sum over the processes, pages that they share counted in each; the
    index's own bytes are 4 KB an image, whatever else it takes.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._samples: list[tuple[int, float]] = []  # images, MB beside the index
        print("seconds  images waiting resident MB  beside index  index MB  open files  threads")

    def sample(self, images: int, waiting: int) -> None:
        """Look once, and print a line."""
        resident = files = threads = 0
        try:
            parent = psutil.Process(self._pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                resident += process.memory_info().rss
                files += process.num_fds()
                threads += process.num_threads()
            except psutil.NoSuchProcess:
                continue
        own = images * _VECTOR_BYTES
        self._samples.append((images, (resident - own) / 1e6))
        print(
            f"{time.monotonic() - self._began:7.0f} {images:7,} {waiting:7,} {resident / 1e6:11.0f}"
            f" {(resident - own) / 1e6:13.0f} {own / 1e6:9.1f} {files:11} {threads:8}",
            flush=True,
        )

    def judge(self) -> bool:
        """Say how much there was beside the index; True when it is little and does not grow."""
        most = max(beside for _, beside in self._samples)
        late = [one for one in self._samples if one[0] >= _LOADED]
        print(f"at most {most:.0f} MB beside the index")
        if len(late) < 2:
            return most < _MOST_MB
        middle = (late[0][0] + late[-1][0]) / 2
        first = statistics.median(beside for images, beside in late if images <= middle)
        second = statistics.median(beside for images, beside in late if images > middle)
        print(
            f"median {first:.0f} MB from {late[0][0]:,} to {middle:,.0f} images, "
            f"{second:.0f} MB from there to {late[-1][0]:,}"
        )
        return most < _MOST_MB and second - first < _MORE_MB


def _counts(index: Path) -> tuple[int, int]:
    """Images in the catalog, and files that are known to it and wait."""
    path = index / "default" / "catalog.sqlite3"
    if not path.exists():
        return 0, 0
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        images = database.execute("SELECT count(*) FROM images").fetchone()
        waiting = "SELECT count(*) FROM observations WHERE state = 'seen'"
        return int(images[0]), int(database.execute(waiting).fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0, 0
    finally:
        database.close()


def main() -> int:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill the watcher so many times")
    parser.add_argument("--seed", type=int, default=1, help="decides every action and moment")
    parser.add_argument("--real", action="store_true", help="use the real network (not in a soak)")
    parser.add_argument("--soak-minutes", type=float, default=0, help="feed files for so long")
    parser.add_argument("--backlog", type=int, default=0, help="queue so many files at once")
    parser.add_argument("--minutes", type=float, default=0, help="end a backlog after so long")
    chosen = parser.parse_args()
    code = 0
    if chosen.backlog:
        code = backlog(chosen.backlog, minutes=chosen.minutes, real=chosen.real)
    if chosen.kills and not code:
        code = kills(chosen.kills, chosen.seed, real=chosen.real)
    if chosen.soak_minutes and not code:
        code = soak(chosen.soak_minutes)
    return code


if __name__ == "__main__":
    sys.exit(main())
