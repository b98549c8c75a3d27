"""A seeded year of a collection: a person, disks that come and go, kills, and a model beside it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from imgclust import config
from imgclust.collection import Collection, restore_collection
from tests.driver import (
    BACKUP_POINTS,
    CLUSTER_POINTS,
    MOVE_POINTS,
    QUICK,
    RESTORE_POINTS,
    WATCHER_POINTS,
    Process,
)
from tests.oracle import Oracle, torn
from tests.pictures import encoded, photo
from tests.year_model import Model, Seen, below, seen

ENVIRONMENT = QUICK | {
    "IMGCLUST_WATCH_SETTLE_S": "0.02",
    "IMGCLUST_WATCH_YOUNG_S": "0",
    "IMGCLUST_CLUSTERING_PCA_DIMS": "8",
    "IMGCLUST_DECODE_THUMBNAILS": "false",
    "IMGCLUST_LINKS_PAGES": "false",
}
Action = Callable[[], None]
# Scans after which a file that is gone is forgotten.
_SCANS = 3
_NAMES = ("a", "é", "with space", "line\nbreak", "b%s", "IMG_0001", "\udce9")


class Year:
    """A collection and what a person does with it; call `live`, then `close`.

    Parameters
    ----------
    folder
        An empty folder of ours.
    seed
        Decides everything.
    images, names
        How many pictures there are in the beginning, and how many clusters get a name.
    kills
        Whether processes are killed in between.
    told
        Called with a line about each step.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        images: int = 130,
        names: int = 10,
        kills: bool = True,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.index = self.folder / "index"
        self.roots = [self.folder / "pictures", self.folder / "archive", self.folder / "phone"]
        self.steps: list[str] = []
        self.kills = self.clusterings = 0
        self.model = Model()
        self._told = told
        self._kills = kills
        self._names = names
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._seeds = itertools.count(seed * 100_000)
        self._content: dict[bytes, bytes] = {}
        self._files: dict[Path, bytes] = {}
        self._bad: dict[Path, bytes] = {}
        self._out: set[Path] = set()
        self._removed: set[bytes] = set()
        self._away: dict[Path, Path] = {}
        self._let_go = False
        # What the newest clustering came from, while undoing it is right: see `_undo`.
        self._undoable: dict[str, set[bytes]] | None = None
        for root in self.roots:
            root.mkdir()
        self._disk, self._usb = self.folder / "disk", self.roots[0] / "usb"
        self._mounting = self._mount_disk()
        for number in range(images):
            root = self.roots[number % 2] if number % 10 else self.roots[2]
            self._write(root / f"{number // 30}" / f"{number:04d}.png", self._picture())
        for _ in range(images // 12):
            self._write(self._new_path(self._usb), self._picture())
        self.collection = Collection.open(
            self.index, create_for=[os.fsencode(root) for root in self.roots]
        )

    def close(self) -> None:
        """Close the collection, and unmount what was mounted."""
        self.collection.close()
        if self._mounting:
            for point in (self._usb, self._disk):
                subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)

    def __enter__(self) -> Year:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def summary(self) -> str:
        """How much was done and compared so far."""
        return (
            f"{len(self.steps)} steps, {self.clusterings} re-clusterings, {self.kills} kills; "
            f"{self.model.ids_checked:,} ids and {self.model.members_checked:,} named members "
            f"compared; {'with' if self._mounting else 'without'} a mounted disk"
        )

    # Time

    def live(self, weeks: int = 48) -> None:
        """So many weeks, in months of four; raises AssertionError at the first disagreement."""
        self._step("began", lambda: self.collection.watch(self.roots, once=True))
        self._recluster()
        self._give_names()
        for week in range(1, weeks + 1):
            self._week()
            if not week % 4 or week == weeks:
                self._month(week // 4)

    def _week(self) -> None:
        self._at_rest()
        for _ in range(self._rng.randint(2, 7)):
            action = self._any(
                [
                    (self._create, 5),
                    (self._copy, 2),
                    (self._rename, 3),
                    (self._permute, 3),
                    (self._renumber, 1),
                    (self._rename_folder, 1),
                    (self._copy_and_delete, 1),
                    (self._edit, 2),
                    (self._exchange, 1),
                    (self._overwrite, 1),
                    (self._delete, 1),
                    (self._touch, 1),
                    (self._touch_removed, 3),
                    (self._put_bad, 1),
                ]
            )
            self._say(action.__name__.strip("_"))
            action()
        if self._kills and self._rng.random() < 0.3:
            self._killed_watcher()
        self._step("scanned", self._scan)
        if self._rng.random() < 0.8:
            self._recluster()
        for _ in range(self._rng.choice((0, 1, 1, 2))):
            self._clusters()

    def _at_rest(self) -> None:
        """What a person does when nothing waits."""
        action = self._any(
            [
                (lambda: None, 4),
                (self._remove, 3),
                (self._add_back, 2),
                (self._disk_away, 3),
                (self._root_away, 2),
                (self._come_back, 4),
                (self._let_root_go, 1),
            ]
        )
        action()

    def _month(self, month: int) -> None:
        if self._rng.random() < 0.6 or month % 4 == 0 or not self._mounting:
            self._come_back()
        for _ in range(_SCANS):
            self._scan()
        self._step(f"month {month} is over", self._scan)
        self._judge(f"month {month}")
        if self._away:
            return
        if month % 3 == 1:
            self._move_archive()
        if month % 4 == 2:
            self._back_up_and_restore()
        if month == 5:
            self._reembed()

    def _scan(self) -> None:
        self.collection.watch(once=True)

    # What is compared

    def _say(self, line: str) -> None:
        self.steps.append(line)
        self._told(line)

    def _step(self, line: str, work: Callable[[], object]) -> None:
        self._say(line)
        work()
        self._check()

    @contextlib.contextmanager
    def _closed(self) -> Iterator[None]:
        """Two SQLite libraries in one process undo each other's locks: ours is closed."""
        self.collection.close()
        yield
        self._open()

    def _seen(self) -> Seen:
        with self._closed():
            return seen(self.index / "default" / "catalog.sqlite3")

    def _check(self) -> None:
        files = {os.fsencode(path): sha256 for path, sha256 in self._files.items()}
        inside = {
            path: one for path, one in files.items() if Path(os.fsdecode(path)) not in self._out
        }
        wrong = self.model.check(self._seen(), inside, below(inside, self._away))
        assert not wrong, f"after {self.steps[-12:]}: {wrong[:8]}"

    def _judge(self, when: str) -> None:
        there = {**self._files, **self._bad}
        paths = {os.fsencode(path): one for path, one in there.items()}
        gone = below(paths, self._away)
        index = self.index / "default"
        with self._closed():
            wrong = self._oracle(index, paths, gone)
        assert not wrong, f"{when}, after {self.steps[-12:]}: {wrong[:8]}"

    def _oracle(self, index: Path, paths: dict[bytes, bytes], gone: set[bytes]) -> list[str]:
        return Oracle(
            index,
            roots=self.roots,
            links=index / "links",
            originals={path: one for path, one in paths.items() if path not in gone},
            foreign={},
            readable=set(self._content),
            out={os.fsencode(path) for path in self._out},
            away=[folder for folder in self._away if folder in self.roots],
            unmounted=[folder for folder in self._away if folder not in self.roots],
        ).judge()

    # Files

    def _any(self, choices: list[tuple[Action, int]]) -> Action:
        """One of some actions, by their weights."""
        weights = [weight for _, weight in choices]
        return self._rng.choices([action for action, _ in choices], weights)[0]

    def _picture(self) -> bytes:
        made = encoded(photo(40, 30, next(self._seeds)), self._rng.choice(("PNG", "JPEG")))
        self._content[hashlib.sha256(made).digest()] = made
        return made

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._now_at(path, hashlib.sha256(content).digest())

    def _now_at(self, path: Path, sha256: bytes) -> None:
        """A file has come to be there by itself, or got this content."""
        old = self._files.get(path)
        if old == sha256:
            return
        if old is not None:
            self.model.edited(old, sha256)
        self._files[path] = sha256
        self._out.discard(path)
        if sha256 in self._removed:
            self._out.add(path)

    def _within_reach(self) -> list[Path]:
        """Files that a person can do something with, by name."""
        away = below(map(os.fsencode, self._files), self._away)
        held = self.roots[2] if self._let_go else None
        return sorted(
            path
            for path in self._files
            if os.fsencode(path) not in away and (held is None or held not in path.parents)
        )

    def _movable(self, *, keeps_inode: bool) -> list[Path]:
        """Files that can move; the inode alone tells which of equal ones is out."""
        halves = {self._files[path] for path in self._out} & {
            sha256 for path, sha256 in self._files.items() if path not in self._out
        }
        return [
            path
            for path in self._within_reach()
            if self._files[path] not in halves or (keeps_inode and self._usb not in path.parents)
        ]

    def _folders(self) -> list[Path]:
        roots = [root for root in self.roots if root not in self._away]
        if self._let_go:
            roots.remove(self.roots[2])
        folders = [root / name for root in roots for name in ("", "x", "y", "0")]
        return folders if self._usb in self._away else [*folders, self._usb]

    def _new_path(self, folder: Path | None = None) -> Path:
        chosen = folder or self._rng.choice(self._folders())
        return chosen / f"{self._rng.choice(_NAMES)}-{next(self._numbers)}.png"

    def _move(self, old: Path, new: Path) -> None:
        """Rename a file, or copy it where that is another disk; nothing is at the new path."""
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            old.rename(new)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(old, new)
            old.unlink()

    def _renamed(self, pairs: dict[Path, Path]) -> None:
        """Move files all at once, each to a path that is free or that of another one of them."""
        aside = {old: old.with_name(f".moving-{next(self._numbers)}") for old in pairs}
        for old, middle in aside.items():
            old.rename(middle)
        known = {old: (self._files.pop(old), old in self._out) for old in pairs}
        self._out -= set(pairs)
        for old, new in pairs.items():
            self._move(aside[old], new)
            self._files[new], out = known[old]
            if out:
                self._out.add(new)

    def _create(self) -> None:
        self._write(self._new_path(), self._picture())

    def _copy(self) -> None:
        path = self._rng.choice(self._movable(keeps_inode=False))
        self._write(self._new_path(), path.read_bytes())

    def _rename(self) -> None:
        old = self._rng.choice(self._movable(keeps_inode=True))
        mine = [one for one in self._folders() if one != self._usb]
        half = old not in self._movable(keeps_inode=False)
        self._renamed({old: self._new_path(self._rng.choice(mine) if half else None)})

    def _permute(self) -> None:
        """Two or more files take each other's names, over folders and roots."""
        count = self._rng.choice((2, 2, 3, 5))
        chosen = self._rng.sample(self._movable(keeps_inode=False), count)
        turned = [*chosen[1:], chosen[0] if self._rng.random() < 0.7 else self._new_path()]
        self._renamed(dict(zip(chosen, turned, strict=True)))

    def _renumber(self) -> None:
        """All files of a folder move up by one, and a new one comes in front."""
        folder = self._rng.choice([root / "series" for root in self.roots[:2]])
        if folder.parent in self._away:
            return
        inside = sorted(path for path in self._files if path.parent == folder)
        while len(inside) < 6:
            path = folder / f"{len(inside):03d}.png"
            self._write(path, self._picture())
            inside.append(path)
        if len(inside) > 9:
            return
        numbered = [folder / f"{number:03d}.png" for number in range(len(inside) + 1)]
        moved = {old: new for old, new in zip(inside, numbered[1:], strict=True) if old != new}
        self._renamed(moved)
        self._write(numbered[0], self._picture())

    def _rename_folder(self) -> None:
        homes = [root for root in self.roots[:2] if root not in self._away]
        folders = [
            path
            for root in homes
            for path in root.iterdir()
            if path.is_dir() and path not in (self._usb, root / "series")
        ]
        if not folders:
            return
        old = self._rng.choice(sorted(folders))
        new = self._rng.choice(homes) / f"folder-{next(self._numbers)}"
        old.rename(new)
        self._took(old, new)

    def _took(self, old: Path, new: Path) -> None:
        """All below a folder is below another one now."""
        for files in (self._files, self._bad):
            for path in [one for one in files if old in one.parents]:
                files[new / path.relative_to(old)] = files.pop(path)
        for path in [one for one in self._out if old in one.parents]:
            self._out.remove(path)
            self._out.add(new / path.relative_to(old))

    def _copy_and_delete(self) -> None:
        """A move by a program that copies."""
        old = self._rng.choice(self._movable(keeps_inode=False))
        new = self._new_path()
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(old, new)
        old.unlink()
        self._files[new] = self._files.pop(old)
        if old in self._out:
            self._out.remove(old)
            self._out.add(new)

    def _edit(self) -> None:
        """Other bytes in the same file: new ones, or those of another picture."""
        path = self._rng.choice(self._movable(keeps_inode=False))
        other = self._rng.choice(self._movable(keeps_inode=False))
        content = self._picture() if self._rng.random() < 0.7 else other.read_bytes()
        self._write(path, content)

    def _exchange(self) -> None:
        """Two files exchange what is in them."""
        one, two = self._rng.sample(self._movable(keeps_inode=False), 2)
        if self._out & {one, two}:
            return
        contents = two.read_bytes(), one.read_bytes()
        self._write(one, contents[0])
        self._write(two, contents[1])

    def _overwrite(self) -> None:
        """A file is renamed over another one."""
        old, new = self._rng.sample(self._movable(keeps_inode=False), 2)
        self.model.edited(self._files.pop(new), self._files[old])
        self._out.discard(new)
        self._move(old, new)
        self._files[new] = self._files.pop(old)
        if old in self._out:
            self._out.remove(old)
            self._out.add(new)

    def _delete(self) -> None:
        path = self._rng.choice(self._movable(keeps_inode=False))
        path.unlink()
        del self._files[path]
        self._out.discard(path)

    def _touch(self) -> None:
        path = self._rng.choice(self._within_reach())
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))

    def _touch_removed(self) -> None:
        """What is out is touched, renamed, copied."""
        out = sorted(self._out & set(self._movable(keeps_inode=True)))
        if not out:
            return
        path = self._rng.choice(out)
        half = path not in self._movable(keeps_inode=False)
        how = self._rng.randrange(3)
        if how == 0:
            os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
        elif how == 1:
            self._renamed({path: self._new_path(path.parent if half else None)})
        else:
            self._write(self._new_path(), path.read_bytes())

    def _put_bad(self) -> None:
        """A file that is no picture, or half of one."""
        content = self._rng.choice((b"no picture", self._picture()[:60]))
        # Not where nobody looks at times: of a folder that is let go only images stay known.
        watched = [one for one in self._folders() if self.roots[2] not in (one, *one.parents)]
        path = self._new_path(self._rng.choice(watched))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._bad[path] = hashlib.sha256(content).digest()

    # What a person says

    def _remove(self) -> None:
        inside = [path for path in self._within_reach() if path not in self._out]
        path = self._rng.choice(inside)
        sha256, copies = self._files[path], self._rng.random() < 0.5
        alike = [one for one, other in self._files.items() if other == sha256]
        staying = [one for one in alike if one not in self._out and one != path]
        if copies and below(map(os.fsencode, staying), self._away):
            copies = False
        leaving = [path, *staying] if copies else [path]
        ids = {at: number for number, at, _, _ in self._seen().images}
        self._removed.add(sha256)
        self._out |= set(leaving)
        for number, one in enumerate(leaving, 1):
            last = number == len(leaving) and (copies or not staying)
            self.model.removed(sha256, ids[os.fsencode(one)], last=last)
        self._step("removed", lambda: self.collection.remove(path, copies=copies))

    def _add_back(self) -> None:
        alone = [
            path
            for path in sorted(self._out & set(self._within_reach()))
            if list(self._files.values()).count(self._files[path]) == 1
        ]
        if not alone:
            return
        path = self._rng.choice(alone)
        self._removed.discard(self._files[path])
        self._out.remove(path)
        self._step("added back", lambda: self.collection.add([path]))

    def _let_root_go(self) -> None:
        """A root is watched no more; its images stay. Later it is watched again."""
        if self._away:
            return
        phone = self.roots[2]
        if self._let_go:
            self._let_go = False
            self._step("watched again", lambda: self.collection.watch([phone], once=True))
        else:
            self._let_go = True
            self._step("let go", lambda: self.collection.remove_root(phone))

    # Disks

    def _mount_disk(self) -> bool:
        """Mount a disk below the first root, where that is possible."""
        self._disk.mkdir()
        self._usb.mkdir()
        mounts = (["-t", "tmpfs", "tmpfs", self._disk], ["--bind", self._disk, self._usb])
        for number, arguments in enumerate(mounts):
            done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True)
            if done.returncode:
                if number:
                    subprocess.run(["umount", str(self._disk)], check=False)
                return False
        return True

    def _disk_away(self) -> None:
        if self._usb in self._away or self.roots[0] in self._away:
            return
        self._away[self._usb] = self._disk
        if self._mounting:
            subprocess.run(["umount", str(self._usb)], check=True)
        else:
            self._disk.rmdir()
            self._usb.rename(self._disk)
        self._step("a disk is away", self._scan)

    def _root_away(self) -> None:
        root = self._rng.choice(self.roots[:2])
        if self._away or (root == self.roots[0] and self._mounting):
            return
        elsewhere = self.folder / "elsewhere"
        root.rename(elsewhere)
        self._away[root] = elsewhere
        self._step("a root is away", self._scan)

    def _come_back(self) -> None:
        if not self._away:
            return
        for place, elsewhere in self._away.items():
            if place != self._usb:
                elsewhere.rename(place)
            elif self._mounting:
                subprocess.run(["mount", "--bind", elsewhere, place], check=True)
            else:
                elsewhere.rename(place)
                elsewhere.mkdir()
        self._away = {}
        self._step("all disks are back", self._scan)

    def _move_archive(self) -> None:
        """The archive is on another disk now; at times it was watched there before it is said."""
        old = self.roots[1]
        new = self.folder / f"archive-{next(self._numbers)}"
        copied, known = self._rng.random() < 0.5, self._rng.random() < 0.5
        if copied:
            shutil.copytree(old, new)
            shutil.rmtree(old)
        else:
            old.rename(new)
        self._took(old, new)
        self.roots[1] = new
        if known:
            self.collection.watch([new], once=True)
        if self._kills:
            point = self._rng.choice(MOVE_POINTS)
            self._killed(f"{point}=crash", "move", old, new)
        self._step("the archive moved", lambda: self.collection.move_root(old, new))
        self._step("and was scanned", self._scan)

    def _back_up_and_restore(self) -> None:
        """A backup, perhaps after one that was cut off; life goes on in a restored collection."""
        file = self.folder / f"photos-{next(self._numbers)}.imgclust"
        if self._kills:
            self._killed(f"{self._rng.choice(BACKUP_POINTS)}=crash", "backup", file)
        self.collection.backup(file)
        self.collection.close()
        elsewhere = self.folder / f"index-{next(self._numbers)}"
        if self._kills:
            self._killed(f"{self._rng.choice(RESTORE_POINTS)}=crash", "restore", file, at=elsewhere)
        if not (elsewhere / "default").exists():
            restore_collection(file, elsewhere)
        shutil.rmtree(self.index)
        self.index = elsewhere
        self._open()
        self._step("restored", lambda: None)
        self._step("restored and scanned", self._scan)

    def _reembed(self) -> None:
        self.collection.close()
        self._undoable = None
        changed = config.load(flags={"embedding.raw": True})
        changing = frozenset({"embedding.raw"})
        with Collection.open(self.index, effective=changed, changing=changing) as collection:
            collection.reembed()
        self._open()
        self._step("embedded again", lambda: None)

    # Clusters

    def _clusters(self) -> None:
        self._any(
            [
                (self._recluster, 4),
                (self._split, 3),
                (self._merge, 3),
                (self._undo, 3),
                (self._release_and_name, 1),
                (self._killed_recluster, 2 if self._kills else 0),
            ]
        )()

    def _recluster(self) -> None:
        k = self._rng.randint(max(self._names, len(self.model.named)) + 1, 2 * self._names + 4)
        space = self._rng.choice(("smoothed", "smoothed", "smoothed", "pca", "embedding"))
        seed = self._rng.randrange(1000)
        self.clusterings += 1
        self._undoable = dict(self.model.named)
        self._step(
            f"clustered with k = {k} in {space}",
            lambda: self.collection.cluster(k=k, seed=seed, space=space),
        )
        if space == "smoothed":
            path = self.index / "default" / "catalog.sqlite3"
            with self._closed(), contextlib.closing(sqlite3.connect(path)) as database:
                assert not (wrong := torn(database)), f"after {self.steps[-12:]}: {wrong[:8]}"

    def _give_names(self) -> None:
        """Name clusters until there are as many named ones as there shall be."""
        now = self._seen()
        free = [one for one in now.clusters if one not in now.frozen and now.clusters[one]]
        free.sort(key=lambda one: (-len(now.clusters[one]), one))
        for cluster in free[: max(0, self._names - len(self.model.named))]:
            name = f"album {next(self._numbers)}"
            self.model.named[name] = set(now.clusters[cluster])
            self.collection.name_cluster(cluster, name)
        self._step("named", lambda: None)

    def _release_and_name(self) -> None:
        if self.model.named:
            name = self._rng.choice(sorted(self.model.named))
            cluster = self._seen().names[name]
            members = self.model.named.pop(name)
            if self._rng.random() < 0.5:
                self.collection.name_cluster(cluster, "")
            else:
                other = f"renamed {next(self._numbers)}"
                self.collection.name_cluster(cluster, other)
                self.model.named[other] = members
        self._undoable = None
        self._give_names()

    def _split(self) -> None:
        now = self._seen()
        large = sorted(one for one, members in now.clusters.items() if len(members) >= 6)
        if not large:
            return
        cluster = self._rng.choice(large)
        name = next((name for name, one in now.names.items() if one == cluster), None)
        before = {**self.model.named}
        result = self.collection.split_cluster(cluster, k=2)
        self._say(f"split {cluster}, called {name}")
        then = self._seen()
        parts = set().union(*(then.clusters[one] for one in {cluster, *result.new}))
        assert now.clusters[cluster] == parts, f"a split lost or took images: {self.steps[-12:]}"
        if name is not None:
            assert then.names.get(name) == cluster
            self.model.named[name] = then.clusters[cluster]
        self._check()
        self._undoable = before
        if self._rng.random() < 0.6:
            self._undo()

    def _merge(self) -> None:
        now = self._seen()
        chosen = self._rng.sample(sorted(now.clusters), 2)
        if not all(now.clusters[one] for one in chosen):
            return
        before = {**self.model.named}
        members = now.clusters[chosen[0]] | now.clusters[chosen[1]]
        names = {name for name, one in now.names.items() if one in chosen}
        self.collection.merge_clusters(chosen)
        self._say(f"merged {chosen}, called {sorted(names)}")
        then = self._seen()
        staying = names & then.names.keys()
        assert len(staying) == min(1, len(names)), f"names {names} became {staying}"
        for name in names:
            del self.model.named[name]
        for name in staying:
            self.model.named[name] = members
        self._check()
        self._undoable = before
        if self._rng.random() < 0.6:
            self._undo()
        else:
            self._give_names()

    def _undo(self) -> None:
        """Go back by one, which brings back the names and members of before a split or merge."""
        if self._undoable is None:
            return
        before, self._undoable = self._undoable, None
        living = {self._files[path] for path in self._files if path not in self._out}
        for name, members in before.items():
            self.model.named[name] = members & living
        self._step("undone", lambda: self.collection.undo())

    # Kills

    def _killed(self, armed: str, mode: str, *paths: Path, at: Path | None = None) -> None:
        """Run a process that is killed at an armed point, if it comes there."""
        k = str(self._rng.randint(len(self.model.named) + 1, 2 * self._names + 4))
        self.collection.close()
        more = {**ENVIRONMENT, "TEST_IMGCLUST_K": k, "IMGCLUST_FAILPOINTS": armed}
        with Process(mode, at or self.index, *paths, **more) as process:
            code = process.wait()
            assert code in {0, -signal.SIGKILL}, (self.steps[-12:], process.said[-3000:])
            assert "Traceback" not in process.said, process.said[-3000:]
        killed = code != 0
        self.kills += killed
        self._say(f"{mode} {'was killed' if killed else 'ended'} at {armed}")
        self._open()

    def _killed_watcher(self) -> None:
        point = self._rng.choice(WATCHER_POINTS)
        self._killed(f"{point}=crash@{self._rng.choice((1, 1, 2, 3))}", "once")

    def _killed_recluster(self) -> None:
        point = self._rng.choice((*CLUSTER_POINTS, "links.renamed", "links.made"))
        self._undoable = None
        self._killed(f"{point}=crash@{self._rng.choice((1, 1, 2))}", "cluster")
        self.clusterings += 1
        self._step("and went on", self._scan)

    def _open(self) -> None:
        self.collection = Collection.open(self.index)


@contextlib.contextmanager
def lived(
    folder: Path, seed: int, *, weeks: int = 48, told: Callable[[str], None] = lambda line: None
) -> Iterator[Year]:
    """A year that was lived through."""
    with Year(folder, seed, told=told) as year:
        year.live(weeks)
        yield year
