"""Folders of images that move: ids, names and links follow, nothing is embedded or doubled."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.collection import Collection
from imgclust.errors import LockedError, NothingThereError, StorageError, UsageError
from imgclust.failpoints import arm
from tests.conftest import inside
from tests.driver import quick_collection
from tests.test_survival import fill, picture


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "sub").mkdir(parents=True)
    fill(folder, 8)
    fill(folder / "sub", 4, first=20)
    return folder


@pytest.fixture
def collection(
    monkeypatch: pytest.MonkeyPatch, archive: Path, tmp_path: Path
) -> Iterator[Collection]:
    with quick_collection(monkeypatch, tmp_path / "index", archive) as opened:
        opened.watch([archive], once=True)
        yield opened


def ids(collection: Collection, folder: Path) -> dict[str, int]:
    """Id by path relative to the folder, of the images below it."""
    top = os.fsencode(folder) + b"/"
    return {
        os.fsdecode(image.path[len(top) :]): image.id
        for image in inside(collection).catalog.images.all()
        if image.path.startswith(top)
    }


def elsewhere(old: Path, new: Path) -> None:
    """Move to another disk: copies have other inodes."""
    shutil.copytree(old, new, dirs_exist_ok=True)
    shutil.rmtree(old)


def settled(collection: Collection, folder: Path, before: dict[str, int]) -> None:
    for _ in range(4):
        result = collection.watch(once=True)
        assert (result.ingested, result.held, result.missing) == (0, (), 0)
    assert ids(collection, folder) == before
    assert collection.status().images == len(before)
    assert (collection.links(check=True).links, collection.links(check=True).in_step) == (
        len(before),
        True,
    )
    assert collection.doctor().ok


@pytest.mark.parametrize("ingested", [False, True])
@pytest.mark.parametrize("name", ["newdisk", "de ep/er", "caf\udce9"])
def test_a_root_moves(
    collection: Collection, archive: Path, tmp_path: Path, ingested: bool, name: str
) -> None:
    before = ids(collection, archive)
    new = tmp_path / name
    elsewhere(archive, new)
    if ingested:  # the collection has each file twice
        result = collection.watch([new], once=True)
        assert collection.status().images == 24
        assert "imgclust roots move" in result.suggestions[0]
        assert str(archive) in result.suggestions[0]
    moved = collection.move_root(archive, new)
    assert (moved.images, moved.absent, moved.doubled) == (12, 0, 12 if ingested else 0)
    assert [row.path for row in collection.roots()] == [os.fsencode(new)]
    settled(collection, new, before)
    again = collection.move_root(archive, new)
    assert (again.already, again.images) == (True, 0)


def test_a_folder_below_a_root_moves_to_another_root(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (own,) = fill(other, 1, first=60)
    collection.watch([other], once=True)
    elsewhere(archive / "sub", other / "deep" / "sub")
    collection.move_root(archive / "sub", other / "deep" / "sub")
    assert {(row.path, row.images) for row in collection.roots()} == {
        (os.fsencode(archive), 8),
        (os.fsencode(other), 5),
    }
    for _ in range(4):
        assert collection.watch(once=True).ingested == 0
    after = ids(collection, other / "deep")
    assert after == {name: number for name, number in before.items() if name.startswith("sub/")}
    assert collection.status().images == 13
    assert own.exists()


def test_a_folder_above_roots_moves_with_them(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    collection.watch([archive / "sub"], once=True)  # a root in a root
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    collection.move_root(archive, new)
    assert [row.path for row in collection.roots()] == [os.fsencode(new), os.fsencode(new / "sub")]
    settled(collection, new, before)


def test_files_that_were_renamed_on_the_way_keep_their_ids(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = set(ids(collection, archive).values())
    new = tmp_path / "new"
    elsewhere(archive, new)
    first = next(path for path in sorted(new.iterdir()) if path.is_file())
    first.rename(new / "renamed.png")
    collection.watch([new], once=True)
    collection.move_root(archive, new)
    assert set(ids(collection, new).values()) == before
    assert ids(collection, new)["renamed.png"] in before


def test_what_does_not_match_is_refused_and_nothing_changes(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    other, part, changed = (tmp_path / name for name in ("other", "part", "changed"))
    other.mkdir()
    fill(other, 12, first=100)
    shutil.copytree(archive, part)
    shutil.rmtree(part / "sub")
    shutil.copytree(archive, changed)
    for path in changed.rglob("*.png"):
        path.write_bytes(bytes(path.stat().st_size))  # the same sizes
    for wrong, words in (
        (other, "does not have the files of"),
        (part, "4 of 12 are not there"),
        (changed, "have other content"),
        (tmp_path / "absent", "does not exist"),
        (next(archive.glob("*.png")), "is not a folder"),
        (collection.folders.root / "charts", "lie inside each other|does not exist"),
        (archive / "sub", "lie inside each other"),
        (tmp_path, "lie inside each other"),
        (archive, "already"),
    ):
        with pytest.raises(UsageError, match=words):
            collection.move_root(archive, wrong)
    with pytest.raises(NothingThereError, match=r"no image comes from .*archive"):
        collection.move_root(tmp_path / "unknown", other)
    assert ids(collection, archive) == before
    settled(collection, archive, before)


@pytest.mark.parametrize("point", ["before", "written", "after"])
def test_a_move_that_is_cut_off_is_done_by_the_next(
    collection: Collection, archive: Path, tmp_path: Path, point: str
) -> None:
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    collection.watch([new], once=True)
    arm(f"roots.move.{point}=eio@1")
    with pytest.raises((StorageError, OSError)):
        collection.move_root(archive, new)
    arm("")
    assert collection.status().images == (12 if point == "after" else 24)
    collection.move_root(archive, new)
    settled(collection, new, before)


def test_a_dry_run_changes_nothing(collection: Collection, archive: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    elsewhere(archive, new)
    assert collection.move_root(archive, new, dry_run=True).images == 12
    assert [row.path for row in collection.roots()] == [os.fsencode(archive)]


def test_what_a_file_is_now_counts_where_it_has_changed_on_the_way(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    edited = next(new.glob("*.png"))
    edited.write_bytes(picture(90))
    collection.watch([new], once=True)
    collection.move_root(archive, new)
    settled(collection, new, before)


def test_a_watcher_must_be_stopped(collection: Collection, archive: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(archive, new)
    with (
        inside(collection).ingest_lock(),
        pytest.raises(LockedError, match="stop it, run this command, and start it again"),
    ):
        collection.move_root(archive, new)
    with (
        inside(collection).ingest_lock(),
        pytest.raises(LockedError, match="stop it, run this command, and start it again"),
    ):
        collection.remove_root(archive)


def test_states_of_roots(collection: Collection, archive: Path, tmp_path: Path) -> None:
    def states() -> list[tuple[str, str, int, int]]:
        return [(row.kind, row.state, row.images, row.missing) for row in collection.roots()]

    assert states() == [("watched", "watched", 12, 0)]
    archive.rename(tmp_path / "away")
    assert states() == [("watched", "missing", 12, 0)]
    collection.watch(once=True)
    assert states() == [("watched", "offline", 12, 12)]
    assert collection.status().offline == ((os.fsencode(archive), 12),)
    (tmp_path / "away").rename(archive)
    collection.watch(once=True)
    assert states() == [("watched", "watched", 12, 0)]
    for path in sorted(archive.rglob("*.png"))[:10]:
        path.unlink()
    collection.watch(once=True)
    assert states() == [("watched", "held", 12, 10)]
    assert collection.status().offline == ()


@pytest.mark.parametrize("spelled", ["{0}", "{0}/", "{0}/../archive", "link"])
def test_a_root_is_not_watched_any_more(
    collection: Collection, archive: Path, tmp_path: Path, spelled: str
) -> None:
    (tmp_path / "link").symlink_to(archive)
    name = str(tmp_path / "link") if spelled == "link" else spelled.format(archive)
    before = ids(collection, archive)
    removed = collection.remove_root(name)
    assert (removed.watched, removed.images, removed.images_removed) == (True, 12, False)
    assert ids(collection, archive) == before
    with pytest.raises(UsageError, match="watches no folder"):
        collection.watch(once=True)
    assert not collection.remove_root(name).watched
    collection.watch([archive], once=True)
    settled(collection, archive, before)


def test_images_that_left_with_their_root_come_back_with_it(
    collection: Collection, archive: Path
) -> None:
    assert collection.remove_root(archive, remove_images=True, dry_run=True).images == 12
    assert collection.status().images == 12
    collection.remove_root(archive, remove_images=True)
    assert (collection.status().images, collection.roots()) == (0, ())
    assert collection.links(check=True).links == 0
    assert len(list(archive.rglob("*.png"))) == 12
    assert collection.watch([archive], once=True).ingested == 12
    with pytest.raises(NothingThereError, match=r"is not among the folders; there are .*archive"):
        collection.remove_root(archive / "sub")


PERMUTED = [
    {"000.png": "001.png", "001.png": "000.png"},
    {"000.png": "001.png", "001.png": "002.png", "002.png": "003.png", "003.png": "000.png"},
    {"000.png": "001.png", "001.png": "new.png"},  # mv b c; mv a b
    {"000.png": "sub/020.png", "sub/020.png": "000.png", "003.png": "sub/new.png"},
]


@pytest.mark.parametrize("names", PERMUTED)
@pytest.mark.parametrize("edited", [False, True])
def test_ids_follow_contents_where_names_were_permuted_on_the_way(
    collection: Collection, archive: Path, tmp_path: Path, names: dict[str, str], edited: bool
) -> None:
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    for name in names:
        (new / name).rename(new / f"{name}.aside")
    for name, other in names.items():
        (new / f"{name}.aside").rename(new / other)
    if edited:
        (new / "005.png").write_bytes(picture(300))
    collection.watch([new], once=True)
    collection.move_root(archive, new)
    settled(collection, new, {names.get(name, name): image for name, image in before.items()})


def test_a_file_that_was_overwritten_on_the_way_is_missing(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    (new / "000.png").rename(new / "001.png")
    collection.watch([new], once=True)
    collection.move_root(archive, new)
    gone = before.pop("001.png")
    before["001.png"] = before.pop("000.png")
    collection.watch(once=True)
    assert [image.id for image in collection.missing()] == [gone]
    (new / "late.png").write_bytes(picture(1))
    before["late.png"] = gone
    settled(collection, new, before)


def test_what_was_deleted_before_the_move_does_not_count(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    deleted = ["000.png", "001.png", "002.png", "sub/020.png"]
    for name in deleted:
        (archive / name).unlink()
    collection.watch(once=True)
    assert len(collection.missing()) == 4
    new = tmp_path / "new"
    elsewhere(archive, new)
    moved = collection.move_root(archive, new)
    assert (moved.images, moved.absent) == (12, 4)
    settled(collection, new, {name: one for name, one in before.items() if name not in deleted})


def test_a_folder_of_which_nothing_is_there_is_refused_also_where_all_was_missing(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    (archive / "sub").rename(tmp_path / "elsewhere")
    collection.watch(once=True)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match="4 of 4 are not there"):
        collection.move_root(archive / "sub", other)
    collection.move_root(archive / "sub", tmp_path / "elsewhere")
    assert collection.missing() == ()


@pytest.mark.parametrize("older", [False, True])
def test_what_was_taken_out_stays_out_in_a_folder_that_moved(
    monkeypatch: pytest.MonkeyPatch,
    collection: Collection,
    archive: Path,
    tmp_path: Path,
    older: bool,
) -> None:
    """`older`: a version took it out that noted the path alone."""
    collection.remove(archive / "000.png")
    before = ids(collection, archive)
    collection.close()
    if older:
        with contextlib.closing(sqlite3.connect(tmp_path / "index/default/catalog.sqlite3")) as raw:
            raw.execute("INSERT INTO removals_unread SELECT path FROM removals")
            raw.execute("DELETE FROM removals")
            raw.commit()
    new = tmp_path / "new"
    elsewhere(archive, new)
    with quick_collection(monkeypatch, tmp_path / "index") as again:
        again.move_root(archive, new)
        settled(again, new, before)
        (new / "000.png").rename(new / "renamed.png")
        settled(again, new, before)
    with contextlib.closing(sqlite3.connect(tmp_path / "index/default/catalog.sqlite3")) as raw:
        left = raw.execute("SELECT path FROM removals UNION SELECT path FROM removals_unread")
        assert {os.path.dirname(path) for (path,) in left} == {os.fsencode(new)}


def test_an_image_whose_path_another_one_has_waits_for_it_at_the_new_place(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    catalog = inside(collection).catalog
    image = catalog.images.at(os.fsencode(archive / "003.png"))
    assert image is not None
    with catalog.transaction():
        catalog.moves.displace(image)
    new = tmp_path / "new"
    elsewhere(archive, new)
    collection.move_root(archive, new)
    ((moved, former),) = catalog.moves.displaced(0, 10)
    assert moved.id == image.id
    assert former == os.fsencode(new / "003.png")
    assert moved.path.startswith(former)


def test_equal_files_are_told_apart_at_the_new_place(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    for name in ("copy-1.png", "copy-2.png"):
        shutil.copy(archive / "000.png", archive / name)
    collection.watch(once=True)
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    collection.watch([new], once=True)
    collection.move_root(archive, new)
    names = {"000.png": "copy-1.png", "copy-1.png": "copy-2.png", "copy-2.png": "000.png"}
    for name in names:
        (new / name).rename(new / f"{name}.aside")
    for name, other in names.items():
        (new / f"{name}.aside").rename(new / other)
    settled(collection, new, {names.get(name, name): image for name, image in before.items()})


@pytest.mark.parametrize("names", ["equal", "other", "of equal size"])
def test_two_roots_that_were_swapped_are_left_to_watch(
    collection: Collection, archive: Path, tmp_path: Path, names: str
) -> None:
    other = tmp_path / "other"
    for path in sorted(archive.rglob("*.png")):
        copy = other / path.relative_to(archive)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if names == "other":
            copy = copy.with_name(f"other-{path.name}")
        copy.write_bytes(picture(200 + int(path.stem)))
        if names == "of equal size":
            size = max(copy.stat().st_size, path.stat().st_size)
            for one in (copy, path):
                one.write_bytes(one.read_bytes().ljust(size, b"\0"))
    collection.watch([other], once=True)
    before, others = ids(collection, archive), ids(collection, other)
    assert len({**before, **{f"other/{name}": one for name, one in others.items()}}) == 24
    archive.rename(tmp_path / "aside")
    other.rename(archive)
    (tmp_path / "aside").rename(other)
    for old, new in ((archive, other), (other, archive)):
        with pytest.raises(UsageError, match=r"not there now.*nothing was changed"):
            collection.move_root(old, new)
    result = collection.watch(once=True)
    assert (result.ingested, result.reused) == (0, 24)
    assert (ids(collection, other), ids(collection, archive)) == (before, others)
    assert len(collection.roots()) == 2


def test_a_folder_moves_to_where_another_one_was(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    other, last = tmp_path / "other", tmp_path / "last"
    for number in range(6):
        (other / f"{number:03}.png").parent.mkdir(exist_ok=True)
        (other / f"{number:03}.png").write_bytes(picture(200 + number))
    collection.watch([other], once=True)
    others = ids(collection, other)
    elsewhere(other, last)
    elsewhere(archive, other)
    with pytest.raises(UsageError, match=f"imgclust roots move {other} NEW"):
        collection.move_root(archive, other)
    collection.move_root(other, last)
    collection.move_root(archive, other)
    assert (ids(collection, other), ids(collection, last)) == (before, others)
    assert collection.watch(once=True).ingested == 0
    assert (ids(collection, other), ids(collection, last)) == (before, others)


def test_a_single_image_of_the_new_folder_whose_path_has_another_file_is_missing(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    other = tmp_path / "other"
    other.mkdir()
    for number in (0, *range(100, 119)):
        (other / f"{number:03}.png").write_bytes(picture(200 + number))
    collection.watch([other], once=True)
    (overwritten,) = [one for name, one in ids(collection, other).items() if name == "000.png"]
    (other / "000.png").rename(tmp_path / "kept.png")
    elsewhere(archive, other)
    collection.move_root(archive, other)
    collection.watch(once=True)
    assert {name: ids(collection, other)[name] for name in before} == before
    assert [image.id for image in collection.missing()] == [overwritten]
    (tmp_path / "kept.png").rename(other / "found.png")
    assert collection.watch(once=True).ingested == 0
    assert ids(collection, other)["found.png"] == overwritten


def test_a_copy_that_was_taken_in_and_is_missing_since_joins_the_older_image(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    before = ids(collection, archive)
    new = tmp_path / "new"
    elsewhere(archive, new)
    collection.watch([new], once=True)
    new.rename(tmp_path / "away")
    collection.watch(once=True)
    (tmp_path / "away").rename(new)
    assert collection.move_root(archive, new).doubled == 12
    settled(collection, new, before)


def test_folders_that_are_not_watched_are_counted_while_they_have_images(
    collection: Collection, archive: Path, tmp_path: Path
) -> None:
    assert collection.status().added == 0
    collection.add([archive / "sub"])  # a watched folder has these images
    collection.watch(once=True)
    assert collection.status().added == 0
    shutil.copytree(archive, tmp_path / "other")
    collection.watch([tmp_path / "other"], once=True)
    collection.remove_root(tmp_path / "other")
    assert collection.status().added == 1
    collection.remove_root(tmp_path / "other", remove_images=True)
    assert collection.status().added == 0
