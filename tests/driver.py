"""Drives a collection through a seeded life of files, kills and restarts, then asks the oracle."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from imgclust.collection import Collection, embedder
from tests.fixtures.facts import facts
from tests.oracle import Oracle, digest_of, torn
from tests.pictures import encoded, photo
from tests.watch_process import fake_embedder

CHECKOUT = Path(__file__).parent.parent

# Everything small and quick; what is tested does not depend on these.
QUICK = {
    "IMGCLUST_WATCH_SETTLE_S": "0.1",
    "IMGCLUST_WATCH_RESCAN_S": "0.5",
    "IMGCLUST_WATCH_YOUNG_S": "0.5",
    "IMGCLUST_WATCH_RETRY_S": "0.1,0.2,0.3",
    "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
    "IMGCLUST_EMBEDDING_BATCH": "8",
    "IMGCLUST_CLUSTERING_K": "3",
    "IMGCLUST_CLUSTERING_FIRST_IMAGES": "5",
    "IMGCLUST_INDEX_CHECKPOINT_IMAGES": "3",
    "IMGCLUST_INDEX_CHECKPOINT_SHARE": "0",
    "IMGCLUST_DECODE_WORKERS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

# A crash in a worker costs that file a try only, so that the watcher is killed later as well.
WORKER_POINTS = ("claimed", "read", "decoded")
WATCHER_POINTS = (
    "embedded",
    "commit.before",
    "commit.after",
    "index.add.before",
    "index.add.after",
    "checkpoint.temporary",
    "checkpoint.rename",
    "links.intent",
    "links.made",
    "links.renamed",
    "links.done",
    "links.read",
    "scan.missed",
)
BURST_POINTS = ("bursts.rule", "bursts.chunk", "bursts.current", "bursts.dropped")
CLUSTER_POINTS = (
    "recluster.chunk",
    "recluster.publish",
    *BURST_POINTS,
)
BACKUP_POINTS = ("backup.copied", "backup.written", "backup.renamed")
MOVE_POINTS = ("roots.move.before", "roots.move.written", "roots.move.after")
RESTORE_POINTS = ("restore.copied", "restore.prepared", "restore.renamed")
# What a watcher has to recover from by itself, in the midst of its work.
REFUSALS = ("eio", "enospc")
# How long a process may take to pass a point that is armed; the real network takes long to load.
_PATIENCE_S, _REAL_PATIENCE_S = 2.5, 25.0


class Process:
    """One watch_process, its output in a file."""

    def __init__(self, mode: str, index: Path, *paths: Path, **more: str) -> None:
        self.log = index.parent / "log.txt"
        with self.log.open("ab") as log:
            self._offset = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.watch_process", mode, str(index), *map(str, paths)],
                cwd=CHECKOUT,
                env={**os.environ, **QUICK, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What it has printed so far."""
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode("utf-8", "replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> bool:
        """Wait until something holds; False when the process ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            if not self.running:
                return condition()
            time.sleep(0.02)
        return False

    def wait(self, seconds: float = 120.0) -> int:
        """Exit status, negative after a signal."""
        return self._process.wait(seconds)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it for good (-9), unless it has ended."""
        if self.running:
            self._process.kill()
        self._process.wait()


class Driver:
    """Two roots, a collection, and a person who never rests.

    Parameters
    ----------
    folder
        An empty folder of ours.
    seed
        Decides every action, point and moment.
    """

    def __init__(self, folder: Path, seed: int, *, more: dict[str, str] | None = None) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.index = self.folder / "index"
        self.roots = [self.folder / "one", self.folder / "two"]
        for root in self.roots:
            root.mkdir()
        self.links = self.index / "default" / "links"
        self.backup = self.folder / "photos.imgclust"
        self._seed = seed
        self._rng = random.Random(seed)
        self._more = more or {}
        real = "TEST_IMGCLUST_BACKBONE" in self._more
        self._patience_s = _REAL_PATIENCE_S if real else _PATIENCE_S
        self._numbers = itertools.count()
        self.originals: dict[bytes, bytes] = {}
        self.foreign: dict[bytes, bytes] = {}
        self.readable: set[bytes] = set()
        self.away: list[Path] = []
        self.refusals = 0
        self._started: Callable[[], bool] = lambda: False
        self._contents = [self._picture(seed * 1000 + number) for number in range(12)]
        for _ in range(8):
            self.create()

    # What a person does

    def act(self) -> None:
        """One action on the files."""
        choices = [
            (self.create, 6),
            (self.write_slowly, 2),
            (self.rename, 3),
            (self.replace, 2),
            (self.overwrite, 2),
            (self.delete, 1),
            (self.rename_folder, 1),
            (self.lose_root, 1),
            (self.move_link, 3),
        ]
        actions, weights = zip(*choices, strict=True)
        self._rng.choices(actions, weights)[0]()

    def create(self) -> None:
        """A new file: a picture, a copy of one, a damaged one, or none at all."""
        content = self._content()
        path = self._new_path(content)
        path.write_bytes(content)
        self._note(path)

    def write_slowly(self) -> None:
        """A file in three pieces, with pauses longer than the settle delay."""
        content = self._content()
        path = self._new_path(content)
        third = len(content) // 3 + 1
        with path.open("wb") as file:
            for start in range(0, len(content), third):
                file.write(content[start : start + third])
                file.flush()
                time.sleep(self._rng.choice((0.0, 0.05, 0.25)))
        self._note(path)

    def rename(self) -> None:
        """Another name, often in another folder or root."""
        old = self._some_path()
        new = self._new_path(old.read_bytes())
        old.rename(new)
        self._forget(old)
        self._note(new)

    def replace(self) -> None:
        """Another file is renamed over it."""
        path = self._some_path()
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(self._content())
        temporary.rename(path)
        self._note(path)

    def overwrite(self) -> None:
        """Other bytes in the same file, at times with the old modification time."""
        path = self._some_path()
        before = path.stat()
        path.write_bytes(self._content())
        if self._rng.random() < 0.3:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self._note(path)

    def delete(self) -> None:
        if len(self.originals) > 8:
            path = self._some_path()
            path.unlink()
            self._forget(path)

    def rename_folder(self) -> None:
        folders = [path for root in self.roots for path in root.iterdir() if path.is_dir()]
        if not folders:
            return
        old = self._rng.choice(folders)
        new = self._rng.choice(self.roots) / f"folder-{next(self._numbers)}"
        inside = [path for path in old.rglob("*") if path.is_file()]
        old.rename(new)
        for path in inside:
            self._forget(path)
            self._note(new / path.relative_to(old))

    def lose_root(self) -> None:
        """A root that is away for about a scan, and back unchanged."""
        root = self._rng.choice(self.roots)
        if not self._started():  # a folder that is named and not there is refused
            return
        elsewhere = self.folder / "away"
        root.rename(elsewhere)
        time.sleep(self._rng.choice((0.05, 0.4, 0.8)))
        elsewhere.rename(root)

    def move_link(self) -> None:
        """A link is dragged from one cluster's folder to another's, or deleted."""
        if not self.links.is_dir():
            return
        folders = [one for one in self.links.iterdir() if one.name.isdigit()]
        links = [link for one in folders for link in one.iterdir() if link.is_symlink()]
        if len(folders) < 2 or not links:
            return
        link = self._rng.choice(sorted(links))
        folder = self._rng.choice(sorted(one for one in folders if one != link.parent))
        target = folder / link.name
        with contextlib.suppress(FileNotFoundError):  # it has just gone
            if self._rng.random() < 0.2:
                link.unlink()
            elif not os.path.lexists(target):
                link.rename(target)

    def put_foreign(self) -> None:
        """A file of the person's own in the link folder."""
        if not self.links.is_dir():
            return
        folders = [self.links, *(child for child in self.links.iterdir() if child.is_dir())]
        folder = self._rng.choice([one for one in folders if one.name != ".syncing"])
        path = folder / f"mine-{next(self._numbers)}.txt"
        with contextlib.suppress(FileNotFoundError):  # the folder was ours, and has just gone
            path.write_text("mine")
            self.foreign[os.fsencode(path)] = digest_of(path)

    # Kills

    def kills(
        self,
        count: int,
        *,
        points: Sequence[str] = (),
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Kill the watcher so many times; every named point (or `points`) gets its turn."""
        turns: Iterator[str | None] = itertools.cycle(points or self._order())
        for number in range(count):
            point = next(turns)
            told(f"kill {number + 1} of {count}: {point or 'at a random time'}")
            # How many actions there is time for differs each time; what follows shall not.
            self._rng = random.Random(f"{self._seed} {number}")
            self._one_kill(point, self._refusals(but=point))
            self.put_foreign()
            wrong = self._oracle(settled=False)
            assert not wrong, f"after kill {number + 1} ({point}): {wrong}"

    def _order(self) -> list[str | None]:
        order: list[str | None] = [*WORKER_POINTS, *WATCHER_POINTS, *CLUSTER_POINTS]
        order += [*BACKUP_POINTS, *RESTORE_POINTS, *MOVE_POINTS]
        self._rng.shuffle(order)
        return [*order, *[None] * (len(order) // 4)]

    def _refusals(self, *, but: str | None) -> str:
        """Refuse the disk at some points, once each, in about half of all runs."""
        count = self._rng.choice((0, 0, 3, 6))
        points = [one for one in (*WORKER_POINTS, *WATCHER_POINTS) if one != but]
        self.refusals += count
        return ";".join(
            f"{point}={self._rng.choice(REFUSALS)}@{self._rng.choice((1, 1, 2, 3))}"
            for point in self._rng.sample(points, count)
        )

    def _one_kill(self, point: str | None, refusals: str) -> None:
        if point in MOVE_POINTS:
            self._kill_move(f"{point}={self._rng.choice(('crash', *REFUSALS))}")
            return
        elsewhere = point in (*CLUSTER_POINTS, *BACKUP_POINTS, *RESTORE_POINTS)
        how = self._rng.choice(("crash", *REFUSALS)) if elsewhere else "crash"
        once = point in (*BACKUP_POINTS, *RESTORE_POINTS)
        passage = 1 if once else self._rng.choice((1, 1, 2, 3))
        crash = "" if point is None else f"{point}={how}@{passage}"
        in_watcher = refusals if elsewhere else f"{refusals};{crash}"
        with Process(
            "watch", self.index, *self.roots, **self._more, **_arming(in_watcher)
        ) as watch:
            self._started = lambda: "\nscanned" in watch.said
            opened = watch.until(lambda: self._started() or "open" in watch.said)
            assert opened or not watch.running, watch.said
            if point in CLUSTER_POINTS:
                self._kill_cluster(crash)
            if point in BACKUP_POINTS:
                self._kill_backup(crash)
            if point in RESTORE_POINTS:
                self._kill_restore(crash)
            deadline = time.monotonic() + (
                self._patience_s if point in WATCHER_POINTS else self._rng.uniform(0.0, 2.0)
            )
            while watch.running and time.monotonic() < deadline:
                self.act()
                time.sleep(self._rng.uniform(0.0, 0.25))
            if (
                point is None and refusals and watch.until(self._started)
            ):  # it recovers by itself, and not by a new start
                recovered = watch.until(self._all_in, seconds=90)
                assert recovered, f"still not in: {self._not_in()}; {watch.said[-3000:]}"
            # Only a kill ends a watcher once it has begun; a start may be refused.
            refused = not self._started() and "(failpoint" in watch.said
            ended = None if watch.running else watch.wait()
            assert ended in {None, -signal.SIGKILL, 1 if refused else None}, watch.said[-3000:]
            assert "Traceback" not in watch.said, watch.said[-3000:]

    def _not_in(self) -> set[bytes]:
        """Pictures that are not in as they are now.

        But for those whose workers were killed three times, or whose disk failed: they lie in
        quarantine, rightly, and `verdict` has them tried again.
        """
        wanted = {path: one for path, one in self.originals.items() if one in self.readable}
        with contextlib.closing(
            sqlite3.connect(self.index / "default/catalog.sqlite3")
        ) as database:
            found = dict(
                database.execute(
                    "SELECT path, sha256 FROM images JOIN contents ON content = key "
                    "WHERE state = 'present'"
                ).fetchall()
            )
            struck = {
                path
                for (path,) in database.execute(
                    "SELECT path FROM quarantine WHERE reason LIKE '%worker was killed%' "
                    "OR reason LIKE '%(failpoint %' OR reason LIKE 'the system reports: %'"
                )
            }
        return {path for path, one in wanted.items() if found.get(path) != one} - struck

    def _all_in(self) -> bool:
        return not self._not_in()

    def _kill_cluster(self, armed: str) -> None:
        wanted = str(self._rng.randint(2, 5))
        more = {**self._more, "TEST_IMGCLUST_K": wanted, **_arming(armed)}
        with Process("cluster", self.index, **more) as cluster:
            while cluster.running:
                self.act()
                time.sleep(0.1)

    def _back_up(self, *, acting: bool = True) -> None:
        """A backup, beside the watcher where one runs, while a person goes on; it succeeds."""
        with Process("backup", self.index, self.backup, **self._more) as backup:
            while acting and backup.running:
                self.act()
                time.sleep(0.1)
            assert backup.wait() == 0, backup.said[-3000:]
        assert not list(self.folder.glob(".imgclust-backup-*"))

    def _kill_backup(self, armed: str) -> None:
        if not self.backup.exists():
            self._back_up()
        with Process("backup", self.index, self.backup, **self._more, **_arming(armed)) as backup:
            assert backup.wait() != 0, backup.said[-3000:]
        self._restore_and_compare()  # the older one or the new one, whole
        self._back_up()
        self._restore_and_compare()

    def _kill_restore(self, armed: str) -> None:
        self._back_up()
        elsewhere = self.folder / "restored"
        shutil.rmtree(elsewhere, ignore_errors=True)
        with Process("restore", elsewhere, self.backup, **self._more, **_arming(armed)) as restore:
            assert restore.wait() != 0, restore.said[-3000:]
        whole = (elsewhere / "default" / "catalog.sqlite3").exists()
        assert whole == armed.startswith("restore.renamed"), restore.said[-3000:]
        self._restore_and_compare(fresh=False)

    def _kill_move(self, armed: str) -> None:
        """A root is on another disk now, or has another name; the command that says so is cut off.

        The same command given again does what is left. No watcher runs meanwhile.
        """
        with Process("once", self.index, *self.roots, **self._more) as once:
            assert once.wait() == 0, once.said[-3000:]
        number = self._rng.randrange(len(self.roots))
        old, new = self.roots[number], self.folder / f"moved-{next(self._numbers)}"
        before = self._ids_below(old)
        if self._rng.random() < 0.5:
            old.rename(new)
        else:
            shutil.copytree(old, new)
            shutil.rmtree(old)
        with Process("move", self.index, old, new, **self._more, **_arming(armed)) as move:
            assert move.wait() != 0, move.said[-3000:]
        done = armed.startswith("roots.move.after")
        assert self._ids_below(new) == (before if done else {}), move.said[-3000:]
        assert self._ids_below(old) == ({} if done else before), move.said[-3000:]
        self._back_up(acting=False)  # as it was left
        with Process("move", self.index, old, new, **self._more) as again:
            assert again.wait() == 0, again.said[-3000:]
        assert self._ids_below(new) == before
        assert not self._ids_below(old)
        self.roots[number] = new
        top = os.fsencode(old) + b"/"
        for path in [one for one in self.originals if one.startswith(top)]:
            digest = self.originals.pop(path)
            self.originals[os.fsencode(new) + path[len(top) - 1 :]] = digest

    def _ids_below(self, folder: Path) -> dict[bytes, int]:
        """Id by path below a folder."""
        top = os.fsencode(folder) + b"/"
        return {path[len(top) :]: image for path, image in self._ids() if path.startswith(top)}

    def _restore_and_compare(self, *, fresh: bool = True) -> None:
        """Restore the backup, and hold each table that a restore leaves alone against it."""
        elsewhere = self.folder / "restored"
        if fresh:
            shutil.rmtree(elsewhere, ignore_errors=True)
        with Process("restore", elsewhere, self.backup, **self._more) as restore:
            there = (elsewhere / "default").exists()
            assert restore.wait() == (2 if there and not fresh else 0), restore.said[-3000:]
        # A kill after the last step leaves the place of work, which the next restore uses again.
        assert {one.name for one in elsewhere.iterdir()} <= {"default", ".restoring"}
        assert not list(elsewhere.glob(".restoring/*/*"))
        restored, kept = facts(elsewhere / "default" / "catalog.sqlite3"), facts(self.backup)
        for name in restored.keys() - {"events", "settings"}:
            assert restored[name] == kept[name], f"{name} is not as in the backup"
        with contextlib.closing(
            sqlite3.connect(elsewhere / "default" / "catalog.sqlite3")
        ) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    # The end

    def verdict(self) -> list[str]:
        """What the oracle finds at rest; while a root is away, as a disk is; when it is back."""
        self._scan_for_long()
        with Process("accept", self.index, **self._more) as accept:  # links moved between two runs
            assert accept.wait() == 0, accept.said[-3000:]
        # Pictures whose workers were killed, or whose disk failed, lie among the bad ones.
        with Process("retry", self.index, **self._more) as retry:
            assert retry.wait() in {0, 3}, retry.said[-3000:]  # 3: there is nothing in quarantine
        more = {**self._more, "TEST_IMGCLUST_K": "12"}  # above what links were moved into
        with Process("cluster", self.index, **more) as cluster:
            assert cluster.wait() == 0, cluster.said[-3000:]
        with Process("once", self.index, *self.roots, **self._more) as once:  # links follow
            assert once.wait() == 0, once.said[-3000:]
        wrong = self._oracle(settled=True)
        with contextlib.closing(
            sqlite3.connect(self.index / "default/catalog.sqlite3")
        ) as database:
            wrong += torn(database, whole=True)
        ids = self._ids()
        root, elsewhere = self._rng.choice(self.roots), self.folder / "away"
        self.away = [root]
        root.rename(elsewhere)
        self._scan_for_long()
        wrong += [f"a root is away: {one}" for one in self._oracle(settled=True)]
        elsewhere.rename(root)
        self.away = []
        self._scan_for_long()
        wrong += [f"a root is back: {one}" for one in self._oracle(settled=True)]
        if self._ids() != ids:
            wrong.append("images have other ids, and nothing but a root was away for a while")
        return wrong

    def _scan_for_long(self) -> None:
        """As many scans as make what was deleted gone."""
        there = [root for root in self.roots if root not in self.away]
        for _ in range(3):
            with Process("once", self.index, *there, **self._more) as once:
                assert once.wait() == 0, once.said[-3000:]

    def _ids(self) -> list[tuple[bytes, int]]:
        with contextlib.closing(
            sqlite3.connect(self.index / "default/catalog.sqlite3")
        ) as database:
            return database.execute("SELECT path, id FROM images ORDER BY path").fetchall()

    def _oracle(self, *, settled: bool) -> list[str]:
        if not (self.index / "default" / "catalog.sqlite3").exists():
            return []
        copy = self.folder / "copy"  # so that the oracle repairs nothing by opening it
        if not settled:
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            for file in (self.index / "default").glob("catalog.sqlite3*"):
                shutil.copy(file, copy)
        return Oracle(
            copy if not settled else self.index / "default",
            roots=self.roots,
            links=self.links,
            originals={
                path: digest
                for path, digest in self.originals.items()
                if not path.startswith(tuple(os.fsencode(root) + b"/" for root in self.away))
            },
            foreign=self.foreign,
            readable=self.readable,
            away=self.away,
            settled=settled,
        ).judge()

    # Below: names and contents

    def _picture(self, number: int) -> bytes:
        made = encoded(photo(40, 30, number), self._rng.choice(("PNG", "JPEG", "WEBP")))
        self.readable.add(hashlib.sha256(made).digest())
        return made

    def _content(self) -> bytes:
        kind = self._rng.random()
        if kind < 0.6:
            fresh = self._picture(self._rng.getrandbits(32))
            self._contents.append(fresh)
            return fresh
        if kind < 0.85:
            return self._rng.choice(self._contents)
        if kind < 0.95:
            return self._rng.choice(self._contents)[:60]
        return b"no picture %d" % self._rng.getrandbits(32)

    def _new_path(self, content: bytes) -> Path:
        suffix = ".txt" if content.startswith(b"no picture") else ".png"
        name = self._rng.choice(("a", "é", "with space", "line\nbreak", "b%s"))
        parts = [f"{name}-{next(self._numbers)}{suffix}"]
        if self._rng.random() < 0.4:
            parts.insert(0, self._rng.choice(("x", "y", "z")))
        path = self._rng.choice(self.roots).joinpath(*parts)
        path.parent.mkdir(exist_ok=True)
        return path

    def _some_path(self) -> Path:
        return Path(os.fsdecode(self._rng.choice(sorted(self.originals))))

    def _note(self, path: Path) -> None:
        self.originals[os.fsencode(path)] = digest_of(path)

    def _forget(self, path: Path) -> None:
        del self.originals[os.fsencode(path)]


def _arming(points: str) -> dict[str, str]:
    return {"IMGCLUST_FAILPOINTS": points}


def quick_collection(monkeypatch: pytest.MonkeyPatch, index: Path, *roots: Path) -> Collection:
    """A collection in this process, with the quick settings and a network that takes no time."""
    monkeypatch.setattr(embedder, "open_embedder", fake_embedder)
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    return Collection.open(index, create_for=[os.fsencode(root) for root in roots])
