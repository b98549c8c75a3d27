"""What a person takes out stays out by content; other files with the same bytes stay in."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgclust.catalog import migrations
from imgclust.catalog.catalog import Catalog
from tests.ingest_world import World, holds, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def touch(path: Path) -> Path:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000_000))
    return path


def rename(path: Path) -> Path:
    return path.rename(path.with_name("other name.png"))


def copy(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_name("a copy.png")))


def replace_by_a_copy(path: Path) -> Path:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def rename_folder(path: Path) -> Path:
    return path.parent.rename(path.parent.with_name("renamed")) / path.name


def move_to_another_root(path: Path) -> Path:
    return path.rename(path.parents[2] / "second" / path.name)


def copy_and_delete(path: Path) -> Path:
    new = copy(path)
    path.unlink()
    return new


HOW = [touch, rename, copy, replace_by_a_copy, rename_folder, move_to_another_root, copy_and_delete]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("scans", [0, 1, 4])
def test_what_was_taken_out_stays_out(
    world: World, how: Callable[[Path], Path], scans: int
) -> None:
    (world.folder / "second").mkdir()
    world.root(world.folder / "second")
    path = world.write("album/a.png", picture(1))
    other = world.write("album/b.png", picture(2))
    world.once()
    number = world.image(other).id
    world.remove(path)
    for _ in range(scans):
        world.once()
    new = how(path)
    result = world.once()
    assert world.embedded == 2
    assert [image.id for image in world.catalog.images.all()] == [number]
    assert world.state(new) == "removed"
    assert world.catalog.observations.pending() == 0
    assert [event.path for event in world.kinds("removed")] == [os.fsencode(new)]
    assert result.quarantined == result.skipped == 0
    world.once()
    assert world.decoder.claimed == [], "it is read once for each stat"


@pytest.mark.parametrize("how", [touch, rename, copy])
def test_add_brings_exactly_the_named_file_back(world: World, how: Callable[[Path], Path]) -> None:
    path, other = world.pictures(2)
    world.once()
    world.remove(path)
    new = how(path)
    world.once()
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(new), world.image(other).root)
    world.once(scan=False)
    assert holds(world, new, 0)
    assert world.catalog.images.count() == 2
    later = world.write("later.png", picture(0))
    world.once()
    assert holds(world, later, 0), "that it was taken out is forgotten"


def test_add_counts_for_a_file_that_is_still_being_written(world: World) -> None:
    path, other = world.pictures(2)
    world.once()
    world.remove(path)
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), world.image(other).root)
    decoded: list[bytes] = []

    def once_more(claimed: bytes) -> None:
        decoded.append(claimed)
        if len(decoded) == 1:
            touch(path)

    world.decoder.after = once_more
    world.once(scan=False)
    assert holds(world, path, 0)


def test_another_content_at_the_path_comes_in(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    world.remove(path)
    path.write_bytes(picture(7))
    world.once()
    assert holds(world, path, 7)
    path.write_bytes(picture(0))
    world.once()
    assert (world.state(path), world.catalog.images.count()) == ("removed", 0)


def test_a_file_that_has_changed_when_it_is_taken_out_is_read(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    path.write_bytes(picture(7))
    known = world.catalog.observations.at(os.fsencode(path))
    assert known is not None
    with world.catalog.transaction():  # a watcher has heard of it
        world.catalog.observations.see(
            os.fsencode(path), known.root, world.disk.stat(os.fsencode(path)) or known.stat, due=0.0
        )
    world.remove(path)
    world.once()
    assert holds(world, path, 7)


def twins(world: World) -> tuple[Path, Path, int]:
    """Two files of the same bytes in a folder, the first taken out; the id of the second."""
    first, second = (world.write(f"album/{name}.png", picture(1)) for name in ("a", "b"))
    world.write("other.png", picture(2))
    world.once()
    number = world.image(second).id
    world.remove(first)
    return first, second, number


def test_a_copy_that_was_in_stays_in(world: World) -> None:
    first, second, number = twins(world)
    touch(first)
    touch(second)
    world.once()
    assert (world.image(second).id, world.state(first)) == (number, "removed")
    renamed = rename(second)
    touch(first)
    world.once()
    assert (world.image(renamed).id, world.state(first)) == (number, "removed")
    assert world.embedded == 2


@pytest.mark.parametrize("how", ["rename", "copy"])
def test_a_folder_with_both_is_renamed(world: World, how: str) -> None:
    first, second, number = twins(world)
    new = first.parent.with_name("renamed")
    if how == "rename":
        first.parent.rename(new)
    else:  # as from one disk to another: no inode is the same
        shutil.copytree(first.parent, new)
        shutil.rmtree(first.parent)
    world.once()
    assert world.image(new / second.name).id == number
    assert world.state(new / first.name) == "removed"
    assert world.catalog.images.count() == 2


def test_both_are_hard_links_of_one_file(world: World) -> None:
    first = world.write("album/a.png", picture(1))
    second = first.with_name("b.png")
    os.link(first, second)
    world.once()
    number = world.image(second).id
    world.remove(first)
    new = first.parent.rename(first.parent.with_name("renamed"))
    world.once()
    assert world.image(new / "b.png").id == number
    assert world.state(new / "a.png") == "removed"


def test_copies_are_taken_out_too(world: World) -> None:
    first, second, _ = twins(world)
    world.remove(second, copies=True)
    for path in (first, second):
        touch(path)
    world.once()
    assert {world.state(first), world.state(second)} == {"removed"}
    assert world.catalog.images.count() == 1
    assert world.catalog.observations.count_removed() == 2


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_what_was_taken_out_of_a_lost_disk_stays_out(world: World, how: str) -> None:
    paths = world.pictures(12)
    world.once()
    away = world.drop.rename(world.folder / "away")
    if how == "empty":
        world.drop.mkdir()
    for _ in range(4):
        assert world.once().held
    world.remove(paths[3])
    world.once()
    if how == "empty":
        world.drop.rmdir()
    away.rename(world.drop)
    touch(paths[3])
    world.once()
    assert world.state(paths[3]) == "removed"
    assert world.catalog.images.count() == 11
    assert world.embedded == 12


def test_an_image_whose_file_is_missing_is_taken_out(world: World) -> None:
    path, _ = world.pictures(2)
    world.once()
    kept = path.rename(world.folder / "kept.png")
    world.once()
    assert world.image(path).state == "missing"
    world.remove(path)
    world.once()
    kept.rename(world.drop / "back.png")
    world.once()
    assert world.state(world.drop / "back.png") == "removed"
    assert world.catalog.images.count() == 1


def test_what_an_older_version_took_out_stays_out(world: World, tmp_path: Path) -> None:
    path, other, changed = world.pictures(3)
    old = tmp_path / "old.sqlite3"
    made = sqlite3.connect(old)
    for step in migrations.MIGRATIONS[:2]:
        made.executescript(step)
    made.execute("PRAGMA user_version = 2")
    made.execute("PRAGMA application_id = 0x696D6763")
    made.execute("INSERT INTO roots (path, kind) VALUES (?, 'watched')", (os.fsencode(world.drop),))
    for one in (path, changed):
        found = one.stat()
        made.execute(
            "INSERT INTO observations (path, root, device, inode, size, mtime_ns, ctime_ns, "
            "changed, state) VALUES (?, 1, 0, ?, ?, ?, ?, 0, 'removed')",
            (
                os.fsencode(one),
                *(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns),
            ),
        )
    made.commit()
    made.close()
    changed.write_bytes(picture(9))
    world.catalog.close()
    world.catalog = type(world.catalog)(old)
    world.once()
    assert [image.path for image in world.catalog.images.all()] == [
        os.fsencode(other),
        os.fsencode(changed),
    ]
    new = rename(touch(path))
    world.once()
    assert (world.state(new), world.embedded) == ("removed", 2)


def test_the_memory_is_of_the_whole_digest(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"one").digest()
    with Catalog(tmp_path / "catalog.sqlite3") as catalog:
        with catalog.transaction():
            catalog.removals.put(sha256, b"/a", 1)
        assert catalog.removals.among([sha256, sha256[:8] + bytes(24)]) == {sha256}
        with catalog.transaction():
            catalog.removals.forget(sha256)
        assert not catalog.removals.among([sha256])
