"""Kills and soaks: see scripts/torture."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sqlite3
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
# What all processes may use beside the index, and how much more in the second half of a backlog.
_MOST_MB, _MORE_MB = 2500, 50

SOAK = {
    "IMGCLUST_WATCH_RESCAN_S": "60",
    "IMGCLUST_EMBEDDING_BATCH": "32",
    "IMGCLUST_INDEX_CHECKPOINT_IMAGES": "1000",
    "IMGCLUST_INDEX_CHECKPOINT_SHARE": "0.05",
    # One clustering at the beginning: every arrival is assigned and linked, none refits.
    "IMGCLUST_CLUSTERING_GROWTH": "1000000000",
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
    print("seconds  images  resident MB  less index MB  index MB  open files  threads")
    with Process("watch", index, drop, **SOAK) as watch:
        end = time.monotonic() + 60 * minutes
        began = sampled = time.monotonic()
        while time.monotonic() < end and watch.running:
            images = _images(index)
            for _ in range(max(0, min(200, images + _BACKLOG - written))):
                next(files)
                written += 1
            time.sleep(0.2)
            if time.monotonic() - sampled >= _SAMPLE_S:
                sampled = time.monotonic()
                _sample(watch.pid, images, sampled - began)
        alive = watch.running
        if not alive:
            print(watch.said[-2000:])
    if alive:
        shutil.rmtree(folder)
    return 0 if alive else 1


def backlog(count: int) -> int:
    """Queue so many small files at once and print what the processes use while they go in.

    1 when that, less the index's own bytes, reaches the limit or grows with what was ingested.
    """
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="torture-")))
    drop, index = folder / "drop", folder / "index"
    drop.mkdir()
    for _ in itertools.islice(fresh_files(drop), count):
        pass
    print("seconds  images  resident MB  less index MB  index MB  open files  threads")
    least: list[float] = []  # less the index's bytes, from the first thousand images on
    began = time.monotonic()
    with Process("watch", index, drop, **SOAK) as watch:
        images = 0
        while images < count and watch.running:
            time.sleep(_SAMPLE_S / 2)
            images = _images(index)
            used = _sample(watch.pid, images, time.monotonic() - began)
            if images >= min(1000, count // 10):
                least.append(used)
        said = watch.said
    shutil.rmtree(folder)
    if images < count:
        print(said[-2000:])
        return 1
    half = len(least) // 2
    more = max(least[half:]) - max(least[: half or 1])
    print(f"at most {max(least):.0f} MB beside the index; {more:+.0f} MB in the second half")
    return 0 if max(least) < _MOST_MB and more < _MORE_MB else 1


def _images(index: Path) -> int:
    path = index / "default" / "catalog.sqlite3"
    if not path.exists():
        return 0
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM images").fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0
    finally:
        database.close()


def _sample(pid: int, images: int, seconds: float) -> float:
    """One line: all processes of the watcher together; returns the MB beside the index."""
    parent = psutil.Process(pid)
    resident = files = threads = 0
    for process in [parent, *parent.children(recursive=True)]:
        try:
            resident += process.memory_info().rss
            files += process.num_fds()
            threads += process.num_threads()
        except psutil.NoSuchProcess:
            continue
    index = images * _VECTOR_BYTES
    print(
        f"{seconds:7.0f} {images:7,} {resident / 1e6:12.0f} {(resident - index) / 1e6:14.0f} "
        f"{index / 1e6:9.1f} {files:11} {threads:8}",
        flush=True,
    )
    return (resident - index) / 1e6


def main() -> int:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill the watcher so many times")
    parser.add_argument("--seed", type=int, default=1, help="decides every action and moment")
    parser.add_argument("--real", action="store_true", help="use the real network")
    parser.add_argument("--soak-minutes", type=float, default=0, help="feed files for so long")
    parser.add_argument("--backlog", type=int, default=0, help="queue so many files at once")
    chosen = parser.parse_args()
    code = backlog(chosen.backlog) if chosen.backlog else 0
    if chosen.kills and not code:
        code = kills(chosen.kills, chosen.seed, real=chosen.real)
    if chosen.soak_minutes and not code:
        code = soak(chosen.soak_minutes)
    return code


if __name__ == "__main__":
    sys.exit(main())
