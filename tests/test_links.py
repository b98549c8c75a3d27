"""Link folders: known cases, mode by mode."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imgclust.errors import StoppedError
from imgclust.links import apply_plan
from imgclust.progress import StopFlag
from tests.link_world import MODES, World, refusing


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=MODES)
def any_world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, mode=request.param)


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


def test_a_name_in_the_ledger_is_taken_even_when_its_entry_was_deleted(any_world: World) -> None:
    any_world.original(1, b"003", "one/a.jpg")
    any_world.sync()
    (any_world.root / "003" / "a.jpg").unlink()
    any_world.original(2, b"003", "two/a.jpg")
    any_world.sync(2)
    assert set(any_world.entries()) == {b"003/a~2.jpg"}
    any_world.sync()
    any_world.assert_in_step()


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
    if any_world.mode == "hardlink":  # the last name of a file stays
        path.with_name("another").hardlink_to(path)
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
    applied = apply_plan.rename_folder(b"003", b"003-cats", any_world.root, any_world.ledger)
    assert applied.moved == 3
    any_world.folders = dict.fromkeys(any_world.folders, b"003-cats")
    any_world.assert_in_step({b"003/notes.txt": any_world.fingerprint(b"003/notes.txt")})
    (any_world.root / "003" / "notes.txt").unlink()
    apply_plan.rename_folder(b"003-cats", b"003", any_world.root, any_world.ledger)
    any_world.folders = dict.fromkeys(any_world.folders, b"003")
    assert not (any_world.root / "003-cats").exists()
    assert any_world.plan().is_empty


def test_a_stop_ends_the_naming_of_a_large_cluster(any_world: World) -> None:
    for image in range(600):
        any_world.original(image, b"003", f"pics/{image}.jpg")
    any_world.sync()
    stop = StopFlag()
    stop.set()
    rename = partial(
        apply_plan.rename_folder, b"003", b"003-cats", any_world.root, any_world.ledger
    )
    with pytest.raises(StoppedError):
        rename(stop=stop)
    assert sorted(map(len, map(list, map(Path.iterdir, any_world.root.iterdir())))) == [100, 500]
    assert rename(stop=stop).moved == 100  # nothing is left to be stopped
    any_world.folders = dict.fromkeys(any_world.folders, b"003-cats")
    any_world.assert_in_step()


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
