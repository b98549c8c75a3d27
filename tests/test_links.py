"""Link folders: known cases, every crash point, and random months against an independent oracle."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclust import failpoints, links
from imgclust.errors import StoppedError, StorageError, UsageError
from imgclust.links import LedgerRow, LinkPlan, Mode, Wanted, making, sync
from imgclust.progress import StopFlag

MODES: tuple[Mode, ...] = ("symlink", "hardlink", "copy")
# Where there is memory to write to, hundreds of crashes do not wait for a disk.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
POINTS = ("links.intent", "links.made", "links.renamed", "links.done")


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
        return links.plan(
            [self.wanted(i) for i in named if i in self.folders],
            [i for i in named if i not in self.folders],
            self.ledger,
            self.root,
            self.mode,
        )

    def sync(self, *images: int, **options: Any) -> links.Applied:
        plan = self.plan(*images)
        return links.apply(plan, self.root, mode=self.mode, ledger=self.ledger, **options)

    def check(self) -> links.Check:
        return links.check(self.root, [self.wanted(i) for i in self.folders], self.ledger)

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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=MODES)
def any_world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, mode=request.param)


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    yield
    failpoints.arm("")


# --- names


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("{id:03d}", None, b"007"),
        ("{id:03d}", "cats", b"007-cats"),
        ("{id:03d}-{name}", None, b"007"),
        ("{id:03d}-{name}", "cats", b"007-cats"),
        ("{id}_{count}", None, b"7_41"),
        ("{id}_{count}", "cats", b"7_41-cats"),
        ("{name} ({id})", "cats", b"cats (7)"),
        ("{id:03d}", "a/b\\c\n:d\x00", b"007-a_b_c__d_"),
        ("{id:03d}", "../../etc", b"007-_.._etc"),
        ("{id:03d}", "trailing . ", b"007-trailing"),
        ("{id:03d}", " . ", b"007"),
        (".-{id}", None, b"7"),
        ("{name}{id}", "com", b"com7_"),
        ("{id:03d}", "Ka\u0308se", "007-Käse".encode()),
        ("{id:03d}", "\udcff", b"007-_"),
    ],
)
def test_folder_name_is_one_harmless_component(
    template: str, name: str | None, expected: bytes
) -> None:
    assert links.folder_name(template, id=7, name=name, count=41) == expected


@pytest.mark.parametrize("template", ["cluster", "{name}", "{id", "{id}{x}", "{}{id}", "{id:q}"])
def test_a_bad_folder_template_is_a_usage_error(template: str) -> None:
    with pytest.raises(UsageError, match="folder template"):
        links.folder_name(template, id=1, name="x", count=1)


@pytest.mark.parametrize("template", ["{id:03d}", "{name}-{id}"])
def test_a_long_folder_name_keeps_its_id_and_whole_characters(template: str) -> None:
    name = links.folder_name(template, id=1234, name="ä" * 300, count=1)
    assert 250 <= len(name) <= 255
    assert "1234" in name.decode()


@given(st.text(max_size=300), st.integers(0, 10**9))
def test_any_cluster_name_makes_a_folder_name(name: str, cluster: int) -> None:
    made = links.folder_name("{id:03d}", id=cluster, name=name, count=0)
    assert 1 <= len(made) <= 255
    assert not set(made) & set(b'/\\:*?"<>|\x00\n')
    assert made.startswith(b"%03d" % cluster)
    assert not made.endswith((b".", b" "))
    made.decode()


def test_entry_name_is_the_base_name_or_has_the_image_id() -> None:
    def name(base: bytes, *taken: bytes) -> bytes:
        return links.entry_name(base, 7, set(taken).__contains__)

    assert name(b"a.jpg") == b"a.jpg"
    assert name(b"a.jpg", b"a.jpg") == b"a~7.jpg"
    assert name(b"a.jpg", b"a.jpg", b"a~7.jpg") == b"a~7-2.jpg"
    assert name(b"\xff\n.jpg", b"\xff\n.jpg") == b"\xff\n~7.jpg"
    assert name(b"README", b"README") == b"README~7"
    long = "ä".encode() * 125 + b".jpeg"
    assert name(long) == long
    assert len(name(long, long)) <= 255
    assert name(long, long).decode().endswith("ä~7.jpeg")
    odd = b"a." + b"x" * 253
    assert len(name(odd, odd)) == 255


# --- known cases


def test_a_first_sync_makes_relative_links(any_world: World) -> None:
    for image in range(5):
        any_world.original(image, b"00%d" % (image % 2), f"pics/{image}.jpg")
    applied = any_world.sync()
    assert (applied.created, applied.removed, applied.moved) == (5, 0, 0)
    assert applied.fell_back is None
    any_world.assert_in_step()
    assert any_world.plan().is_empty
    assert any_world.plan().kept == 5


def test_a_symlink_says_the_relative_real_path(world: World) -> None:
    world.original(1, b"003", "pics/sub/a.jpg")
    (world.base / "really").mkdir()
    (world.base / "out").symlink_to("really")
    world.sync()
    assert os.readlink(world.root / "003" / "a.jpg") == "../../../pics/sub/a.jpg"
    world.assert_in_step()


def test_the_tree_survives_moving_with_its_originals(tmp_path: Path) -> None:
    before = World(tmp_path / "before")
    before.original(1, b"003")
    before.sync()
    os.rename(tmp_path / "before", tmp_path / "after")
    after = World(tmp_path / "after")
    after.ledger = before.ledger
    assert (after.root / "003" / "a.jpg").read_bytes() == b"picture 1"
    after.originals[1] = after.base / "pics" / "a.jpg"
    after.folders[1] = b"003"
    applied = after.sync()
    assert (applied.created, applied.removed) == (0, 0)
    assert after.ledger.all_rows()[0].target == os.fsencode(after.originals[1])
    after.assert_in_step()


def test_a_link_folder_moved_alone_is_repaired_in_place(world: World) -> None:
    world.original(1, b"003")
    world.sync()
    deeper = world.base / "much" / "deeper"
    deeper.mkdir(parents=True)
    os.rename(world.root, deeper / "links")
    world.root = deeper / "links"
    assert [row.image for row in world.check().stale] == [1]
    world.sync()
    assert list(world.entries()) == [b"003/a.jpg"]
    world.assert_in_step()


def test_equal_base_names_both_get_a_link(any_world: World) -> None:
    any_world.original(1, b"003", "one/a.jpg")
    any_world.original(2, b"003", "two/a.jpg")
    any_world.original(3, b"003", b"two/\xff\n.jpg")
    any_world.sync()
    assert set(any_world.entries()) == {b"003/a.jpg", b"003/a~2.jpg", b"003/\xff\n.jpg"}
    any_world.assert_in_step()
    assert any_world.plan().is_empty


def test_another_cluster_moves_the_same_entry(any_world: World) -> None:
    any_world.original(1, b"003")
    any_world.original(2, b"004", "pics/b.jpg")
    any_world.sync()
    before = any_world.entries()[b"003/a.jpg"]
    any_world.folders[1] = b"004"
    applied = any_world.sync(1)
    assert (applied.created, applied.removed, applied.moved) == (0, 0, 1)
    after = any_world.entries()[b"004/a.jpg"]
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not (any_world.root / "003").exists()
    any_world.assert_in_step()


def test_a_renamed_original_has_a_renamed_link(any_world: World) -> None:
    path = any_world.original(1, b"003")
    any_world.sync()
    any_world.originals[1] = path.rename(path.with_name("b.jpg"))
    any_world.sync(1)
    assert list(any_world.entries()) == [b"003/b.jpg"]
    any_world.assert_in_step()


def test_a_gone_image_loses_its_link_and_an_empty_folder_goes(any_world: World) -> None:
    path = any_world.original(1, b"003")
    any_world.sync()
    del any_world.folders[1]
    path.unlink()
    applied = any_world.sync(1)
    assert applied.removed == 1
    any_world.assert_in_step()
    assert list(any_world.root.iterdir()) == []


def test_a_missing_image_keeps_and_moves_its_link(any_world: World) -> None:
    path = any_world.original(1, b"003")
    any_world.sync()
    saved = path.rename(path.with_name("elsewhere"))
    assert any_world.sync(1).kept == 1
    any_world.folders[1] = b"004"
    assert any_world.sync(1).moved == 1
    assert any_world.check().in_step
    saved.rename(path)
    any_world.assert_in_step()


def test_a_copy_follows_its_original(tmp_path: Path) -> None:
    world = World(tmp_path, mode="copy")
    path = world.original(1, b"003")
    world.sync()
    path.write_bytes(b"picture 1 ")
    os.utime(path, ns=(1, 1))
    world.sync(1)
    assert (world.root / "003" / "a.jpg").read_bytes() == b"picture 1 "
    assert os.stat(world.root / "003" / "a.jpg").st_mtime_ns == 1


def test_a_hard_link_follows_an_original_that_was_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, mode="hardlink")
    path = world.original(1, b"003")
    world.sync()
    other = path.with_name("new")
    other.write_bytes(b"picture 1")
    os.replace(other, path)
    assert [row.image for row in world.check().stale] == [1]
    world.sync(1)
    world.assert_in_step()


def test_an_absent_original_cannot_be_copied(tmp_path: Path) -> None:
    for mode in MODES:
        world = World(tmp_path / mode, mode=mode)
        world.original(1, b"003").unlink()
        assert world.sync().unmade == (() if mode == "symlink" else (1,))
        assert world.check().missing == (() if mode == "symlink" else (1,))
        assert (world.root / "003").exists() == (mode == "symlink")


def test_a_pipe_in_place_of_the_original_hangs_nothing(tmp_path: Path) -> None:
    for mode in ("hardlink", "copy"):
        world = World(tmp_path / mode, mode=mode)
        path = world.original(1, b"003")
        path.unlink()
        os.mkfifo(path)
        assert world.sync().unmade == (1,)
        assert world.entries() == {}
        assert world.ledger.rows == {}


def test_every_mode_changes_into_every_other_in_place(tmp_path: Path) -> None:
    for before in MODES:
        for after in MODES:
            world = World(tmp_path / before / after, mode=before)
            world.original(1, b"003")
            world.sync()
            world.mode = after
            world.sync()
            assert list(world.entries()) == [b"003/a.jpg"]
            world.assert_in_step()


def test_a_change_of_mode_does_not_remove_what_it_cannot_make_again(tmp_path: Path) -> None:
    world = World(tmp_path, mode="hardlink")
    world.original(1, b"003").unlink()
    world.originals[1].write_bytes(b"picture 1")
    world.sync()
    world.originals[1].unlink()
    for mode in MODES:
        world.mode = mode
        assert world.sync().kept == 1
        assert (world.root / "003" / "a.jpg").read_bytes() == b"picture 1"


def test_a_batch_is_a_few_transactions(world: World) -> None:
    for image in range(600):
        world.original(image, b"003", f"pics/{image}")
    seen: list[int] = []
    world.sync(progress=lambda step, done, total: seen.append(done))
    assert world.ledger.transactions <= 10
    assert seen == [500, 600]
    world.assert_in_step()


def test_stop_keeps_what_is_done(any_world: World) -> None:
    for image in range(600):
        any_world.original(image, b"003", f"pics/{image}")
    stop = StopFlag()
    with pytest.raises(StoppedError):
        any_world.sync(stop=stop, progress=lambda *_: stop.set())
    assert len(any_world.entries()) == 500
    with pytest.raises(StoppedError):
        any_world.sync(stop=stop)
    assert not (any_world.root / ".syncing").exists()
    assert any_world.sync().created == 100
    any_world.assert_in_step()


def test_naming_a_cluster_moves_only_our_entries(any_world: World) -> None:
    for image in range(3):
        any_world.original(image, b"003", f"pics/{image}.jpg")
    any_world.sync()
    (any_world.root / "003" / "notes.txt").write_text("mine")
    applied = links.rename_folder(b"003", b"003-cats", any_world.root, any_world.ledger)
    assert applied.moved == 3
    any_world.folders = dict.fromkeys(any_world.folders, b"003-cats")
    any_world.assert_in_step({b"003/notes.txt": any_world.fingerprint(b"003/notes.txt")})
    (any_world.root / "003" / "notes.txt").unlink()
    links.rename_folder(b"003-cats", b"003", any_world.root, any_world.ledger)
    any_world.folders = dict.fromkeys(any_world.folders, b"003")
    assert not (any_world.root / "003-cats").exists()
    assert any_world.plan().is_empty


# --- what is not ours


def test_a_foreign_file_with_our_name_is_left_alone(any_world: World) -> None:
    any_world.original(1, b"003")
    (any_world.root / "003").mkdir(parents=True)
    (any_world.root / "003" / "a.jpg").write_text("mine")
    mine = {b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")}
    any_world.sync()
    any_world.assert_in_step(mine)
    del any_world.folders[1]
    any_world.sync(1)
    any_world.assert_in_step(mine)


def test_a_foreign_file_that_appears_at_the_last_moment_is_left_alone(
    any_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_world.original(1, b"003")
    mine = any_world.root / "003" / "a.jpg"

    def passing(name: str) -> None:
        if name == "links.made" and not mine.exists():
            mine.parent.mkdir()
            mine.write_text("mine")

    monkeypatch.setattr("imgclust.links.sync.passing", passing)
    assert any_world.sync().created == 1
    any_world.assert_in_step({b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")})


@pytest.mark.parametrize("refuse_links", [False, True])
def test_nothing_is_replaced_without_renameat2(
    any_world: World, monkeypatch: pytest.MonkeyPatch, refuse_links: bool
) -> None:
    monkeypatch.setattr("imgclust.links.making._renameat2", lambda: None)
    if refuse_links and any_world.mode != "hardlink":
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    any_world.original(1, b"003")
    mine = any_world.root / "003" / "a.jpg"

    def passing(name: str) -> None:
        if name == "links.made" and not mine.exists():
            mine.parent.mkdir()
            mine.write_text("mine")

    monkeypatch.setattr("imgclust.links.sync.passing", passing)
    any_world.sync()
    any_world.assert_in_step({b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")})


def test_an_edited_link_becomes_foreign_and_is_made_anew(any_world: World) -> None:
    any_world.original(1, b"003")
    any_world.sync()
    entry = any_world.root / "003" / "a.jpg"
    entry.unlink()
    entry.write_text("edited by a person")
    mine = {b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")}
    found = any_world.check()
    assert (found.missing, found.stale, found.foreign) == ((1,), (), (b"003/a.jpg",))
    assert any_world.sync(1).foreign == (b"003/a.jpg",)
    any_world.assert_in_step(mine)
    del any_world.folders[1]
    any_world.sync(1)
    any_world.assert_in_step(mine)


def test_a_link_pointed_elsewhere_is_foreign(world: World) -> None:
    world.original(1, b"003")
    world.sync()
    entry = world.root / "003" / "a.jpg"
    entry.unlink()
    entry.symlink_to("/nowhere/in/particular")
    assert world.sync(1).foreign == (b"003/a.jpg",)
    world.assert_in_step({b"003/a.jpg": "-> /nowhere/in/particular"})


def test_a_copy_with_another_time_is_foreign(tmp_path: Path) -> None:
    world = World(tmp_path, mode="copy")
    world.original(1, b"003")
    world.sync()
    os.utime(world.root / "003" / "a.jpg", ns=(5, 5))
    del world.folders[1]
    assert world.sync(1).foreign == (b"003/a.jpg",)
    assert (world.root / "003" / "a.jpg").exists()


def test_an_original_is_never_removed_through_its_cluster_folder(tmp_path: Path) -> None:
    for mode in MODES:
        world = World(tmp_path / mode, mode=mode)
        path = world.original(1, b"003")
        world.sync()
        (world.root / "003").rename(world.base / "aside")
        (world.root / "003").symlink_to(path.parent)
        applied = world.sync(1)
        assert applied.unmade == (1,)
        assert applied.foreign == (b"003",)
        del world.folders[1]
        world.sync(1)
        assert path.read_bytes() == b"picture 1"
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_an_entry_that_is_the_original_itself_is_not_removed(tmp_path: Path, mode: Mode) -> None:
    # What is seen when a person mounts the originals' folder over a cluster's folder.
    world = World(tmp_path, mode=mode)
    path = world.original(1, b"003")
    world.sync()
    (row,) = world.ledger.all_rows()
    found = os.stat(path)
    entry = world.root / "003" / "a.jpg"
    entry.unlink()
    path.rename(entry)
    path.parent.rmdir()
    path.parent.symlink_to(entry.parent)
    mtime_ns = found.st_mtime_ns
    world.ledger.done([dataclasses.replace(row, inode=found.st_ino, mtime_ns=mtime_ns)])
    applied = links.apply(
        LinkPlan(remove=tuple(world.ledger.all_rows())),
        world.root,
        mode=mode,
        ledger=world.ledger,
    )
    assert applied.removed == 0
    assert path.read_bytes() == b"picture 1"


def test_originals_inside_the_link_folder_are_refused(any_world: World) -> None:
    any_world.original(1, b"003", "out/links/mine/a.jpg")
    with pytest.raises(UsageError, match="choose another with --links"):
        any_world.sync()
    assert any_world.entries().keys() == {b"mine/a.jpg"}


def test_a_file_with_the_name_of_a_cluster_folder_blocks_only_that_cluster(world: World) -> None:
    world.original(1, b"003")
    world.original(2, b"004", "pics/b.jpg")
    world.root.mkdir(parents=True)
    (world.root / "003").write_text("mine")
    applied = world.sync()
    assert applied.unmade == (1,)
    assert world.check().missing == (1,)
    assert world.check().foreign == (b"003",)
    world.folders[2] = b"003"
    assert world.sync(2).unmade == (2,)
    assert world.image_of(b"004/b.jpg") == 2
    (world.root / "003").unlink()
    world.sync()
    world.assert_in_step()


def test_something_else_called_syncing_is_not_touched(world: World) -> None:
    world.original(1, b"003")
    world.root.mkdir(parents=True)
    (world.root / ".syncing").write_text("mine")
    with pytest.raises(StorageError, match="move it elsewhere"):
        world.sync()
    assert (world.root / ".syncing").read_text() == "mine"


def test_names_that_leave_the_folder_are_refused(world: World) -> None:
    world.original(1, b"../003")
    with pytest.raises(ValueError, match="not a name"):
        world.sync()
    world.folders[1] = b"003"
    row = LedgerRow(b"003", b"../../../pics/a.jpg", 1, b"/x", "hardlink", "done")
    with pytest.raises(ValueError, match="not a name"):
        links.apply(LinkPlan(remove=(row,)), world.root, mode="symlink", ledger=world.ledger)


def test_check_names_everything_that_is_off(world: World) -> None:
    for image in range(6):
        world.original(image, b"003", f"pics/{image}.jpg")
    world.sync()
    for image in (0, 5):
        (world.root / "003" / f"{image}.jpg").unlink()
    world.folders[1] = b"004"
    del world.folders[2], world.folders[5]
    (world.root / "003" / "mine").write_text("x")
    (world.root / "empty").mkdir()
    (world.root / "note").write_text("x")
    found = world.check()
    assert found.links == 2
    assert found.missing == (0,)
    assert sorted(row.image for row in found.stale) == [1, 2, 5]
    assert found.foreign == (b"003/mine", b"empty", b"note")
    assert not found.in_step
    world.sync(*found.missing, *(row.image for row in found.stale))
    assert world.check().in_step


# --- file systems that refuse


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_refused_hard_links_become_symlinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    world = World(tmp_path, mode="hardlink")
    world.original(1, b"003")
    world.original(2, b"003", "pics/b.jpg")
    monkeypatch.setattr(os, "link", refusing(code))
    fell_back = world.sync().fell_back
    assert fell_back
    assert fell_back.count("symbolic links made instead") == 1
    again = world.sync()
    assert (again.created, again.removed, again.kept, again.fell_back) == (0, 0, 2, None)
    world.folders[1] = b"004"
    assert world.sync().moved == 1
    world.mode = "symlink"
    world.assert_in_step()
    world.mode = "hardlink"
    monkeypatch.undo()
    world.sync()
    world.assert_in_step()


def test_refused_symlinks_become_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("symlink", "hardlink"):
        world = World(tmp_path / mode, mode=mode)
        world.original(1, b"003")
        with monkeypatch.context() as vfat:
            vfat.setattr(os, "link", refusing(errno.EPERM))
            vfat.setattr(os, "symlink", refusing(errno.EPERM))
            fell_back = world.sync().fell_back
            assert fell_back
            assert "copies made instead" in fell_back
            before = world.entries()
            assert world.sync().kept == 1
            assert world.entries() == before
            world.mode = "copy"
            world.assert_in_step()


def test_a_name_that_the_file_system_refuses_is_made_plain(
    any_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(source: bytes, destination: bytes) -> None:
        if b":" in destination:
            raise OSError(errno.EINVAL, "Invalid argument")
        making.place(source, destination)

    any_world.original(1, b"003", "pics/at 12:30.png")
    any_world.original(2, b"003", "more/at 12:30.png")
    monkeypatch.setattr("imgclust.links.sync.place", place)
    any_world.sync()
    assert set(any_world.entries()) == {b"003/at 12_30.png", b"003/at 12_30~2.png"}
    assert any_world.plan().is_empty


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/").stat().st_dev,
    reason="needs a second file system at /dev/shm",
)
def test_hard_links_across_real_devices(tmp_path: Path) -> None:
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the temporary folder is on /dev/shm itself")
    world = World(tmp_path, mode="hardlink")
    world.original(1, b"003")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        world.root = Path(other) / "links"
        fell_back = world.sync().fell_back
        assert fell_back
        assert "hard links refused" in fell_back
        world.mode = "symlink"
        world.assert_in_step()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_is_a_storage_error(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    world.original(1, b"003")
    with monkeypatch.context() as failing:
        failing.setattr(os, "symlink", refusing(code))
        with pytest.raises(StorageError, match="run links again"):
            world.sync()
    world.sync()
    world.assert_in_step()


# --- cost


def test_cost_grows_with_what_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for image in range(1500):
        world.original(image, b"%03d" % (image % 40), f"pics/{image}.jpg")
    world.sync()
    for image in range(1500, 1520):
        world.original(image, b"%03d" % (image % 40), f"pics/{image}.jpg")
    for image in range(20):
        world.folders[image] = b"039"
    calls = {"lstat": 0}
    listed: list[bytes] = []
    real_lstat, real_listdir = os.lstat, os.listdir

    def lstat(*arguments: Any, **options: Any) -> os.stat_result:
        calls["lstat"] += 1
        return real_lstat(*arguments, **options)

    def listdir(path: Any = ".") -> list[Any]:
        listed.append(os.path.basename(path))
        return real_listdir(path)

    with monkeypatch.context() as counting:
        counting.setattr(os, "lstat", lstat)
        counting.setattr(os, "listdir", listdir)
        counting.setattr(os, "scandir", refusing(errno.EIO))
        counting.setattr(world.ledger, "all_rows", None)
        applied = world.sync(*range(20), *range(1500, 1520))
    assert (applied.created, applied.moved) == (20, 20)
    assert calls["lstat"] <= 20 * 40
    assert set(listed) <= {b".syncing"}
    world.assert_in_step()


# --- crashes


def stages(world: World) -> Iterator[tuple[str, Callable[[], object]]]:
    """A short life: links are made; moved, removed and made anew; renamed; made in another mode."""
    for image in range(6):
        world.original(image, b"00%d" % (image % 2), f"pics/{image % 4}/{image // 4}.jpg")
    yield "make", world.sync
    for image in (0, 1, 2):
        world.folders[image] = b"007"
    path = world.originals[3]
    world.originals[3] = path.rename(path.with_name("renamed.jpg"))
    del world.folders[5]
    yield "change", world.sync
    for image in (0, 1, 2):
        world.folders[image] = b"007-cats"
    yield "rename", lambda: links.rename_folder(b"007", b"007-cats", world.root, world.ledger)
    world.mode = MODES[(MODES.index(world.mode) + 1) % 3]
    yield "mode", world.sync


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_an_error_at_any_point_is_repaired_by_the_next_sync(
    any_world: World, point: str, at: int
) -> None:
    for _, work in stages(any_world):
        failpoints.arm(f"{point}=eio@{at}")
        try:
            work()
        except StorageError:
            assert not (any_world.root / ".syncing").exists()
        failpoints.arm("")
        any_world.sync()
        any_world.assert_in_step()


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
        setattr(sync, "place", counting(making.place))  # noqa: B010 (not a name sync exports)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("killed", ["make", "change", "rename", "mode"])
def test_a_kill_before_any_step_is_repaired_by_the_next_sync(mode: Mode, killed: str) -> None:
    survived = False
    step = 0
    while not survived:
        step += 1
        with tempfile.TemporaryDirectory(dir=SCRATCH) as base:
            world = World(Path(base), mode=mode, file=Path(base) / "ledger.json")
            for stage, work in stages(world):
                if stage == killed:
                    survived = survives(work, step)
                    world.reload_ledger()
                    intents = len(world.ledger.open_intents())
                    recovered = links.recover(world.root, world.ledger)
                    assert recovered.settled + recovered.forgotten == intents
                    assert not (world.root / ".syncing").exists()
                else:
                    work()
                world.sync()
                world.assert_in_step()
                if stage == killed:
                    break
    assert step > 10


@pytest.mark.parametrize("point", POINTS)
def test_the_failpoints_stand_where_they_say(any_world: World, point: str) -> None:
    any_world.original(1, b"003")
    failpoints.arm(f"{point}=eio@1")
    with pytest.raises(StorageError):
        any_world.sync()
    made = point in ("links.renamed", "links.done")
    assert set(any_world.entries()) == ({b"003/a.jpg"} if made else set())
    (row,) = any_world.ledger.all_rows()
    assert row.state == ("done" if point == "links.done" else "intent")


def test_a_plan_after_a_crash_counts_what_was_made(any_world: World) -> None:
    for image in range(3):
        any_world.original(image, b"003", f"pics/{image}.jpg")
    failpoints.arm("links.renamed=eio@2")
    with pytest.raises(StorageError):
        any_world.sync()
    failpoints.arm("")
    plan = any_world.plan()
    assert (plan.kept, len(plan.make), len(plan.drop)) == (2, 1, 1)
    assert any_world.check().links == 2
    any_world.sync()
    any_world.assert_in_step()


def test_a_foreign_file_at_an_open_intent_is_not_ours(any_world: World) -> None:
    any_world.original(1, b"003")
    failpoints.arm("links.intent=eio@1")
    with pytest.raises(StorageError):
        any_world.sync()
    failpoints.arm("")
    (any_world.root / "003").mkdir()
    (any_world.root / "003" / "a.jpg").write_text("mine")
    any_world.sync()
    any_world.assert_in_step({b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")})


# --- random months

_IMAGES = st.integers(0, 5)
_FOLDERS = st.sampled_from([b"000", b"001", b"002-cats"])
_NAMES = st.sampled_from([b"a.jpg", b"b.jpg", b"a~1.jpg", b"\xff.jpg", b".hidden"])
_ACTIONS = st.one_of(
    st.tuples(st.just("want"), _IMAGES, _FOLDERS),
    st.tuples(st.just("gone"), _IMAGES),
    st.tuples(st.just("rename"), _IMAGES, _NAMES),
    st.tuples(st.just("drop"), _FOLDERS, _NAMES),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("edit"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("aside"), _FOLDERS),
    st.tuples(st.just("name"), _FOLDERS, _FOLDERS),
    st.tuples(st.just("sync")),
    st.tuples(st.just("crash"), st.integers(1, 40)),
)


class Person:
    """Does to a world what people do, and remembers what is theirs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.foreign: dict[bytes, str] = {}
        self.clock = 0

    def act(self, action: tuple[Any, ...]) -> None:
        getattr(self, action[0])(*action[1:])

    def want(self, image: int, folder: bytes) -> None:
        if image in self.world.folders:
            self.world.folders[image] = folder
        else:
            self.world.original(image, folder, f"pics/{image}/{'ab'[image % 2]}.jpg")

    def gone(self, image: int) -> None:
        if image in self.world.folders:
            del self.world.folders[image]
            self.world.originals[image].unlink()

    def rename(self, image: int, name: bytes) -> None:
        if image in self.world.folders:
            path = self.world.originals[image]
            self.world.originals[image] = path.rename(path.with_name(os.fsdecode(name)))

    def drop(self, folder: bytes, name: bytes) -> None:
        path = os.path.join(os.fsencode(self.world.root), folder, name)
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(b"a person's own, number %d" % len(self.foreign))
            self._remember(os.path.join(folder, name))

    def delete(self, which: int) -> None:
        if path := self._one_of_ours(which):
            os.unlink(os.path.join(os.fsencode(self.world.root), path))

    def edit(self, which: int, as_link: bool) -> None:
        if path := self._one_of_ours(which):
            full = os.path.join(os.fsencode(self.world.root), path)
            os.unlink(full)
            if as_link:
                os.symlink(b"/a/person/knows/where/number/%d" % which, full)
            else:
                with open(full, "wb") as file:
                    file.write(b"edited by a person, number %d" % which)
            self._remember(path)

    def aside(self, folder: bytes) -> None:
        self.clock += 1
        new = b"aside %d" % self.clock
        top = os.fsencode(self.world.root)
        if os.path.isdir(os.path.join(top, folder)):
            os.rename(os.path.join(top, folder), os.path.join(top, new))
            for path in [p for p in self.foreign if p.startswith(folder + b"/")]:
                del self.foreign[path]
            for name in os.listdir(os.path.join(top, new)):
                self._remember(os.path.join(new, name))
            if not os.listdir(os.path.join(top, new)):
                os.rmdir(os.path.join(top, new))

    def name(self, old: bytes, new: bytes) -> None:
        links.rename_folder(old, new, self.world.root, self.world.ledger)
        self.world.folders = {
            image: new if folder == old else folder for image, folder in self.world.folders.items()
        }

    def sync(self) -> None:
        self.world.sync()
        found = self.world.check()
        assert found.in_step
        assert set(found.foreign) == self.world.as_reported(self.foreign)
        self._assert()

    def crash(self, step: int) -> None:
        survives(self.world.sync, step)
        self.world.reload_ledger()

    def _one_of_ours(self, which: int) -> bytes | None:
        ours = sorted(self.world.entries().keys() - self.foreign.keys())
        return ours[which % len(ours)] if ours else None

    def _remember(self, path: bytes) -> None:
        self.foreign[path] = self.world.fingerprint(path)

    def _assert(self) -> None:
        entries = self.world.entries().keys()
        assert {path: self.world.fingerprint(path) for path in self.foreign} == self.foreign
        ours = entries - self.foreign.keys()
        seen = {self.world.image_of(path): os.path.dirname(path) for path in ours}
        assert len(seen) == len(ours)
        assert seen == self.world.folders
        for image in self.world.folders:
            assert self.world.originals[image].read_bytes() == b"picture %d" % image
        assert {os.path.join(*key) for key in self.world.ledger.rows} == ours
        assert all(row.state == "done" for row in self.world.ledger.rows.values())
        assert self.world.plan().is_empty


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(actions=st.lists(_ACTIONS, min_size=3, max_size=25))
def test_any_life_ends_in_step(mode: Mode, actions: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as base:
        person = Person(World(Path(base), mode=mode, file=Path(base) / "ledger.json"))
        for action in actions:
            person.act(action)
        person.sync()
