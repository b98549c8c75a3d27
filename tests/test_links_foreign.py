"""What is not ours in a link folder, and file systems that refuse."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from imgclust.errors import StorageError, UsageError
from imgclust.links import apply_plan, fs_ops
from imgclust.links.ledger import LedgerRow, Mode
from imgclust.links.link_plan import LinkPlan
from tests.link_world import MODES, World, refusing


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=MODES)
def any_world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, mode=request.param)


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

    monkeypatch.setattr("imgclust.links.apply_plan.passing", passing)
    assert any_world.sync().created == 1
    any_world.assert_in_step({b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")})


@pytest.mark.parametrize("refuse_links", [False, True])
def test_nothing_is_replaced_without_renameat2(
    any_world: World, monkeypatch: pytest.MonkeyPatch, refuse_links: bool
) -> None:
    monkeypatch.setattr("imgclust.links.fs_ops._renameat2", lambda: None)
    if refuse_links and any_world.mode != "hardlink":
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    any_world.original(1, b"003")
    mine = any_world.root / "003" / "a.jpg"

    def passing(name: str) -> None:
        if name == "links.made" and not mine.exists():
            mine.parent.mkdir()
            mine.write_text("mine")

    monkeypatch.setattr("imgclust.links.apply_plan.passing", passing)
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


def test_a_hard_link_with_another_inode_is_foreign(tmp_path: Path) -> None:
    world = World(tmp_path, mode="hardlink")
    path = world.original(1, b"003")
    world.sync()
    entry = world.root / "003" / "a.jpg"
    entry.unlink()
    shutil.copy2(path, entry)
    del world.folders[1]
    assert world.sync(1).foreign == (b"003/a.jpg",)
    assert entry.exists()


@pytest.mark.parametrize("how", ["deleted", "on its very place", "another link"])
def test_a_hard_link_that_is_the_last_name_of_a_file_stays(tmp_path: Path, how: str) -> None:
    world = World(tmp_path, mode="hardlink")
    path = world.original(1, b"003")
    world.original(2, b"003", "pics/b.jpg")
    world.sync()
    entry = world.root / "003" / "a.jpg"
    if how == "on its very place":
        entry.unlink()
        path.rename(entry)
    elif how == "another link":
        os.link(path, tmp_path / "mine.jpg")
        path.unlink()
    else:
        path.unlink()
    world.sync(1)  # missing: it stays
    assert entry.read_bytes() == b"picture 1"
    del world.folders[1]
    last = how != "another link"
    applied = world.sync(1)
    assert applied.foreign == ((b"003/a.jpg",) if last else ())
    assert ("last names" in (applied.fell_back or "")) is last
    assert entry.exists() is last
    del world.folders[2]
    world.sync(2)
    assert not (world.root / "003" / "b.jpg").exists()  # its original is there
    assert entry.exists() is last


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
    applied = apply_plan.apply(
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
        apply_plan.apply(LinkPlan(remove=(row,)), world.root, mode="symlink", ledger=world.ledger)


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
        fs_ops.place(source, destination)

    any_world.original(1, b"003", "pics/at 12:30.png")
    any_world.original(2, b"003", "more/at 12:30.png")
    monkeypatch.setattr("imgclust.links.apply_plan.place", place)
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
        with pytest.raises(StorageError, match="imgclust links tries it again"):
            world.sync()
    world.sync()
    world.assert_in_step()
