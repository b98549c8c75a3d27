"""Kills and soaks: see scripts/torture."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from imgclust.collection import embedder
from tests.driver import Driver, Process
from tests.oracle import Oracle
from tests.pictures import encoded, photo
from tests.watch_process import fake_embedder
from tests.year import ENVIRONMENT, Year

# Kills in one collection; then a new one with the next seed.
_KILLS_A_LIFE = 40
# Files that wait at most, so that a slow machine is not buried.
_BACKLOG = 2000
# How often the processes are looked at, and how often that is printed.
_SAMPLE_S, _LINE_S = 0.5, 10.0
_VECTOR_BYTES = 2048 * 2
# Everything that is loaded late (the first clustering) is there after so many images; and how
# many are needed in all before anything can be said of growth.
_LOADED, _ENOUGH = 1500, 20_000
# What all processes may use beside the index, and how much more in the second half.
_MOST_MB, _MORE_MB = 2500, 50
# How many more open files or threads there may be in the second half, in the middle and at most: a
# worker is replaced now and then, and the index file is written in a thread of its own.
_MORE_OPEN, _MORE_OPEN_AT_MOST = 1, 6

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
            wrong = driver.verdict()
        except AssertionError as error:
            wrong = [str(error)]
        if wrong:
            print(f"\nseed {life}: {len(wrong)} disagreements; everything is in {folder}")
            print(*wrong[:20], sep="\n")
            print(f"again: scripts/torture --kills {now} --seed {life}" + " --real" * real)
            return 1
        shutil.rmtree(folder)
        print(
            f"\rseed {life}: {now} kills and {driver.refusals} refusals survived in "
            f"{time.monotonic() - began:.0f} s" + " " * 30
        )
        count -= now
        if not count:
            return 0
    return 0


def years(count: int, seed: int) -> int:
    """Live through so many years, each with a seed of its own; 1 at the first disagreement."""
    vars(embedder)["open_embedder"] = fake_embedder
    os.environ.update(ENVIRONMENT)
    for life in range(seed, seed + count):
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        began = time.monotonic()
        with Year(
            folder, life, told=lambda line: print(f"\r{line[:60]:60}", end="", file=sys.stderr)
        ) as year:
            try:
                year.live()
            except AssertionError as error:
                print(f"\nseed {life}: {error}\neverything is in {folder}")
                print(f"again: scripts/torture --years 1 --seed {life}")
                return 1
            summary = year.summary
        shutil.rmtree(folder)
        print(f"\rseed {life}: {summary} in {time.monotonic() - began:.0f} s" + " " * 30)
    return 0


def fresh_files(folder: Path, originals: dict[bytes, bytes]) -> Iterator[Path]:
    """Write pictures for ever, each with bytes of its own, a hundred to a folder.

    `originals` gets the SHA-256 of each by path.
    """
    pictures = [encoded(photo(160, 120, seed), "JPEG") for seed in range(40)]
    for number in itertools.count():
        path = folder / f"{number // 100:05d}" / f"{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        content = random.choice(pictures) + b"%d" % number  # after the end of the JPEG
        path.write_bytes(content)
        originals[os.fsencode(path)] = hashlib.sha256(content).digest()
        yield path


class Fed:
    """A folder that files are put into, the collection that watches it, and what it uses."""

    def __init__(self) -> None:
        self.folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="torture-")))
        self.drop, self.index = self.folder / "drop", self.folder / "index"
        self.drop.mkdir()
        self.originals: dict[bytes, bytes] = {}
        self.files = fresh_files(self.drop, self.originals)
        self.wrong: list[str] = []

    def end(self, watch: Process) -> None:
        """Stop the watcher as a person does; it has to be there still."""
        if not watch.running:
            self.wrong.append(f"the watcher ended by itself: {watch.said[-2000:]}")
            return
        watch.send(signal.SIGTERM)
        if (code := watch.wait()) != 0:
            self.wrong.append(f"the watcher ended with {code}: {watch.said[-2000:]}")
        path = self.index / "default" / "index.faiss"
        size = path.stat().st_size if path.exists() else 0
        images, _ = _counts(self.index)
        print(f"the index file has {size / 1e6:.1f} MB for {images:,} images")

    def judge(self, used: Used, *, whole: bool, least: int) -> int:
        """Take in the rest (`whole`), ask the oracle, print what is wrong: 0 when nothing is."""
        if whole and not self.wrong:
            with Process("once", self.index, self.drop, **SOAK) as once:
                if once.wait(3600) != 0:
                    self.wrong.append(f"the last run failed: {once.said[-2000:]}")
        if not self.wrong:
            self.wrong += Oracle(
                self.index / "default",
                roots=[self.drop],
                links=self.index / "default" / "links",
                originals=self.originals,
                readable=set(self.originals.values()),
                foreign={},
                settled=whole,
            ).judge()
            print(f"the oracle found {len(self.wrong)} disagreements")
        self.wrong += used.judge(least=least)
        if self.wrong:
            print(*self.wrong[:20], sep="\n")
            print(f"everything is in {self.folder}")
            return 1
        shutil.rmtree(self.folder)
        return 0


def soak(minutes: float, *, least: int) -> int:
    """Feed files at full speed and print what the processes use; 1 when anything is wrong.

    That is: something was lost or doubled, memory, open files or threads grow, or there were
    fewer than `least` images, which say nothing of growth.
    """
    fed = Fed()
    written = 0
    with Process("watch", fed.index, fed.drop, **SOAK) as watch:
        used = Used(watch.pid)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end and watch.running:
            images, waiting = _counts(fed.index)
            for _ in range(max(0, min(200, images + _BACKLOG - written))):
                next(fed.files)
                written += 1
            used.look(images, waiting)
            time.sleep(_SAMPLE_S)
        fed.end(watch)
    return fed.judge(used, whole=True, least=least)


def backlog(count: int, *, minutes: float, real: bool, least: int) -> int:
    """Queue so many small files at once and print what the processes use while they go in.

    Ends when all are in, or after so many minutes (0: however long it takes). 1 when anything is
    wrong: see `soak`.
    """
    fed = Fed()
    for _ in itertools.islice(fed.files, count):
        pass
    more = {"TEST_IMGCLUST_BACKBONE": "real"} if real else {}
    end = time.monotonic() + (60 * minutes or float("inf"))
    with Process("watch", fed.index, fed.drop, **BACKLOG, **more) as watch:
        used = Used(watch.pid)
        images = 0
        while images < count and watch.running and time.monotonic() < end:
            time.sleep(_SAMPLE_S)
            images, waiting = _counts(fed.index)
            used.look(images, waiting)
        fed.end(watch)
    return fed.judge(used, whole=False, least=least)


class Sample(NamedTuple):
    """What all processes use together at one moment."""

    images: int
    beside_mb: float
    files: int
    threads: int


class Used:
    """What all processes of a watcher use together, over time.

    Resident memory is the sum over the processes, pages that they share counted in each; the
    index's own bytes are 4 KB an image, whatever else it takes.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._said = self._began
        self._samples: list[Sample] = []
        print("seconds  images waiting resident MB  beside index  index MB  open files  threads")

    def look(self, images: int, waiting: int) -> None:
        """Look once, and print a line now and then."""
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
        self._samples.append(Sample(images, (resident - own) / 1e6, files, threads))
        now = time.monotonic()
        if now - self._said < _LINE_S:
            return
        self._said = now
        print(
            f"{now - self._began:7.0f} {images:7,} {waiting:7,} {resident / 1e6:11.0f}"
            f" {(resident - own) / 1e6:13.0f} {own / 1e6:9.1f} {files:11} {threads:8}",
            flush=True,
        )

    def judge(self, *, least: int) -> list[str]:
        """Say how much there was beside the index, and return what is too much or grows.

        The first half of the images is held against the second: the middle values and the
        largest ones.
        """
        wrong: list[str] = []
        late = [one for one in self._samples if one.images >= _LOADED]
        if not late or late[-1].images < least:
            reached = self._samples[-1].images if self._samples else 0
            return [f"too short to judge: {reached:,} images came in, {least:,} are needed"]
        halfway = (late[0].images + late[-1].images) / 2
        halves = [
            [one for one in late if one.images <= halfway],
            [one for one in late if one.images > halfway],
        ]
        print(
            f"from {late[0].images:,} to {late[-1].images:,} images: first, at half, last; "
            "middle and largest value of each half"
        )
        for what, number, more, more_at_most in (
            ("MB beside the index", 1, _MORE_MB, _MORE_MB),
            ("open files", 2, _MORE_OPEN, _MORE_OPEN_AT_MOST),
            ("threads", 3, _MORE_OPEN, _MORE_OPEN_AT_MOST),
        ):
            moments = [late[0][number], halves[1][0][number], late[-1][number]]
            middles = [statistics.median(one[number] for one in half) for half in halves]
            largest = [max(one[number] for one in half) for half in halves]
            print(
                f"{what:>20}:",
                *(f"{one:5.0f}" for one in moments),
                f"; {middles[0]:.0f} and {largest[0]:.0f}, then {middles[1]:.0f} and "
                f"{largest[1]:.0f}",
            )
            if middles[1] - middles[0] > more or largest[1] - largest[0] > more_at_most:
                wrong.append(f"{what}: more in the second half")
        most = max(one.beside_mb for one in self._samples)
        print(f"at most {most:.0f} MB beside the index")
        if most > _MOST_MB:
            wrong.append(f"more than {_MOST_MB} MB beside the index")
        return wrong


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
    parser.add_argument("--years", type=int, default=0, help="live through so many years")
    parser.add_argument("--seed", type=int, default=1, help="decides every action and moment")
    parser.add_argument("--real", action="store_true", help="use the real network (not in a soak)")
    parser.add_argument("--soak-minutes", type=float, default=0, help="feed files for so long")
    parser.add_argument("--backlog", type=int, default=0, help="queue so many files at once")
    parser.add_argument("--minutes", type=float, default=0, help="end a backlog after so long")
    parser.add_argument(
        "--least",
        type=int,
        default=_ENOUGH,
        help="images below which a soak or backlog is too short to judge (20000)",
    )
    chosen = parser.parse_args()
    code = 0
    if chosen.backlog:
        code = backlog(chosen.backlog, minutes=chosen.minutes, real=chosen.real, least=chosen.least)
    if chosen.kills and not code:
        code = kills(chosen.kills, chosen.seed, real=chosen.real)
    if chosen.years and not code:
        code = years(chosen.years, chosen.seed)
    if chosen.soak_minutes and not code:
        code = soak(chosen.soak_minutes, least=chosen.least)
    return code


if __name__ == "__main__":
    sys.exit(main())
