"""Originals, a link folder, a ledger and an oracle that asks only the disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from imgclust.links import apply_plan, fs_ops, link_plan
from imgclust.links.apply_plan import Applied
from imgclust.links.ledger import LedgerRow, Mode, Wanted
from imgclust.links.link_plan import Check, LinkPlan

MODES: tuple[Mode, ...] = ("symlink", "hardlink", "copy")
# Where there is memory to write to, hundreds of crashes do not wait for a disk.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
POINTS = ("links.intent", "links.made", "links.renamed", "links.done")


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def survives(work: Callable[[], object], kill_before_step: int) -> bool:
    """Run `work` in a child that is killed before its n-th change to disk or ledger."""
    passed = 0

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == kill_before_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return step

    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; this child only calls the kernel.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        for name in ("unlink", "rmdir", "mkdir", "symlink", "link", "rename", "utime", "replace"):
            setattr(os, name, counting(getattr(os, name)))
        setattr(apply_plan, "place", counting(fs_ops.place))  # noqa: B010 (not a name sync exports)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


class FakeLedger:
    """A ledger in memory, kept in a JSON file when it has to outlive its process."""

    def __init__(self, file: Path | None = None) -> None:
        self.rows: dict[tuple[bytes, bytes], LedgerRow] = {}
        self.file = file
        self.transactions = 0
        if file is not None and file.exists():
            for fields in json.loads(file.read_text()):
                for key in ("folder", "entry", "target"):
                    fields[key] = bytes.fromhex(fields[key])
                self._put(LedgerRow(**fields))

    def _put(self, row: LedgerRow) -> None:
        self.rows[row.folder, row.entry] = row

    def _save(self) -> None:
        self.transactions += 1
        if self.file is None:
            return
        rows = [
            {k: v.hex() if isinstance(v, bytes) else v for k, v in dataclasses.asdict(row).items()}
            for row in self.rows.values()
        ]
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(rows))
        os.replace(temporary, self.file)

    def rows_of(self, images: Sequence[int]) -> list[LedgerRow]:
        assert len(images) <= 500
        return [row for row in self.rows.values() if row.image in set(images)]

    def rows_in(self, folder: bytes) -> list[LedgerRow]:
        return [row for row in self.rows.values() if row.folder == folder]

    def row_at(self, folder: bytes, entry: bytes) -> LedgerRow | None:
        return self.rows.get((folder, entry))

    def all_rows(self) -> list[LedgerRow]:
        return list(self.rows.values())

    def open_intents(self) -> list[LedgerRow]:
        return [row for row in self.rows.values() if row.state == "intent"]

    def intend(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            assert row.state == "intent"
            assert (row.folder, row.entry) not in self.rows
            self._put(row)
        self._save()

    def done(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            assert row.state == "done"
            self._put(row)
        self._save()

    def forget(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            self.rows.pop((row.folder, row.entry), None)
        self._save()


class World:
    """Originals, a link folder and a ledger in one folder; an oracle that asks only the disk."""

    def __init__(self, base: Path, *, mode: Mode = "symlink", file: Path | None = None) -> None:
        self.base = base
        self.root = base / "out" / "links"
        self.mode: Mode = mode
        self.ledger = FakeLedger(file)
        self.originals: dict[int, Path] = {}
        self.folders: dict[int, bytes] = {}

    def reload_ledger(self) -> None:
        """Read again what a process that was killed left behind."""
        assert self.ledger.file
        self.ledger = FakeLedger(self.ledger.file)

    def original(self, image: int, folder: bytes, where: str | bytes = "pics/a.jpg") -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.base), os.fsencode(where))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture %d" % image)
        self.originals[image] = path
        self.folders[image] = folder
        return path

    def wanted(self, image: int) -> Wanted:
        target = os.fsencode(self.originals[image])
        return Wanted(image, self.folders[image], os.path.basename(target), target)

    def plan(self, *images: int) -> LinkPlan:
        named = images or tuple(self.originals)
        return link_plan.plan(
            [self.wanted(i) for i in named if i in self.folders],
            [i for i in named if i not in self.folders],
            self.ledger,
            self.root,
            self.mode,
        )

    def sync(self, *images: int, **options: Any) -> Applied:
        plan = self.plan(*images)
        return apply_plan.apply(plan, self.root, mode=self.mode, ledger=self.ledger, **options)

    def check(self) -> Check:
        return link_plan.check(self.root, [self.wanted(i) for i in self.folders], self.ledger)

    def entries(self) -> dict[bytes, os.stat_result]:
        """Everything below the link folder but folders, by path relative to it."""
        top = os.fsencode(self.root)
        found = {}
        for here, directories, files in os.walk(top):
            linked = [d for d in directories if os.path.islink(os.path.join(here, d))]
            for name in files + linked:
                path = os.path.join(here, name)
                found[os.path.relpath(path, top)] = os.lstat(path)
        return found

    def image_of(self, path: bytes) -> int:
        """Whose original an entry leads to, from its bytes alone: each original has its own."""
        with open(os.path.join(os.fsencode(self.root), path), "rb") as file:
            return int(file.read().removeprefix(b"picture "))

    def assert_in_step(self, foreign: dict[bytes, str] | None = None) -> None:
        """One entry of the right kind for each wanted image, and nothing else but `foreign`."""
        foreign = foreign or {}
        entries = self.entries()
        assert {path: self.fingerprint(path) for path in foreign} == foreign
        ours = {path: found for path, found in entries.items() if path not in foreign}
        seen = {self.image_of(path): os.path.dirname(path) for path in ours}
        assert len(seen) == len(ours)
        assert seen == self.folders
        for path in ours:
            full = os.path.join(os.fsencode(self.root), path)
            original = self.originals[self.image_of(path)]
            assert os.path.islink(full) == (self.mode == "symlink")
            assert os.path.samefile(full, original) == (self.mode != "copy")
            if self.mode == "symlink":
                assert not os.path.isabs(os.readlink(full))
            stem = os.path.splitext(os.fsencode(original.name))[0]
            assert os.path.basename(path).startswith(stem)
        assert all(row.state == "done" for row in self.ledger.rows.values())
        assert {os.path.join(*key) for key in self.ledger.rows} == set(ours)
        assert not (self.root / ".syncing").exists()
        folders = [d for d in self.root.iterdir() if d.is_dir()] if self.root.exists() else []
        assert all(any(d.iterdir()) for d in folders)
        for image in self.folders:
            assert self.originals[image].read_bytes() == b"picture %d" % image
        found = self.check()
        assert found.links == len(self.folders)
        assert found.in_step
        assert set(found.foreign) == self.as_reported(foreign)

    def as_reported(self, foreign: Iterable[bytes]) -> set[bytes]:
        """A folder in which nothing is ours is named once, not entry by entry."""
        shared = set(self.folders.values())
        return {
            path if os.path.dirname(path) in shared else path.split(b"/")[0] for path in foreign
        }

    def fingerprint(self, path: bytes) -> str:
        full = os.path.join(os.fsencode(self.root), path)
        if os.path.islink(full):
            return "-> " + os.fsdecode(os.readlink(full))
        with open(full, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
