"""The real loop on a real folder: what is new, moves, changes, leaves and comes back."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.collection import images
from imgclust.errors import StorageError
from imgclust.images.reader import Again, Decoded, claim
from imgclust.ingest import root_scan, upkeep
from imgclust.ingest.events import Event
from imgclust.ingest.loop import Ingest
from imgclust.progress import StopFlag
from tests.ingest_world import World, holds, opened, picture
from tests.pictures import encoded, photo


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def test_new_images_are_embedded_once_and_said_after_the_commit(world: World) -> None:
    paths = world.pictures(40)
    there: list[bool] = []

    def emit(event: Event) -> None:
        if event.kind == "ingested" and event.path is not None:
            with Catalog(world.path) as other:
                there.append(other.images.at(event.path) is not None)

    result = world.ingest(emit=emit).run(once=True)
    assert (result.seen, result.ingested, result.reused, result.unchanged) == (40, 40, 0, 0)
    assert there == [True] * 40
    assert world.embedded == 40
    assert sorted(world.assigned.keys) == sorted(world.catalog.contents.shapes())
    assert [world.state(path) for path in paths] == ["done"] * 40
    again = world.once()
    assert (again.seen, again.unchanged, again.ingested) == (40, 40, 0)
    assert world.decoder.claimed == []


def test_equal_bytes_are_embedded_once(world: World) -> None:
    for name in ("a.png", "b.png", "sub/c.png"):
        world.write(name, picture(1))
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (1, 2, 1)
    world.write("later.png", picture(1))
    assert (world.once().reused, world.embedded) == (1, 1)
    assert world.catalog.contents.count() == 1
    assert world.catalog.images.count() == 4


def test_a_rename_keeps_id_and_content_and_embeds_nothing(world: World) -> None:
    first, second = world.pictures(2)
    world.once()
    before = world.image(first)
    after = world.drop / "sub" / "renamed.png"
    after.parent.mkdir()
    first.rename(after)
    result = world.once()
    assert world.image(after).id == before.id
    assert world.image(after).content == before.content
    assert world.catalog.images.at(os.fsencode(first)) is None
    assert world.state(first) is None
    assert world.embedded == 2
    assert (result.reused, result.missing) == (1, 0)
    assert world.image(second).state == "present"


def test_a_move_to_another_root_keeps_the_id(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    number = world.root(other)
    path, _ = world.pictures(2)
    world.once()
    before = world.image(path)
    moved = other / path.name
    shutil.copy2(path, moved)  # another inode, as between two disks
    path.unlink()
    world.once()
    assert (world.image(moved).id, world.image(moved).root) == (before.id, number)
    assert world.embedded == 2


def test_an_image_that_moved_hides_no_missing_one(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    world.root(other)
    paths = world.pictures(4)
    world.once()
    paths[0].unlink()
    assert world.once().missing == 1
    (other / "back.png").write_bytes(picture(0))  # missing since the run before, moved in this one
    paths[1].unlink()
    paths[2].rename(other / "moved.png")
    result = world.once()
    assert (result.missing, result.reused) == (1, 2)
    assert world.once().missing == 0


def test_what_leaves_and_returns_within_a_run_is_not_missing(world: World) -> None:
    path, _ = world.pictures(2)
    world.once()
    away = world.folder / "away.png"
    scans = 0

    def until(event: Event) -> bool:
        nonlocal scans
        scans += event.kind == "scanned"
        if event.kind == "scanned" and scans == 1:
            path.rename(away)
            world.events.on_path(os.fsencode(path))
        elif event.kind == "missing":
            away.rename(path)
            world.events.on_path(os.fsencode(path))
        return event.kind in {"back", "touched"}

    world.said.clear()
    ingest = world.ingest(emit=lambda event: world.stop.set() if until(event) else None)
    assert ingest.run(once=False).missing == 0


def test_a_renamed_folder_keeps_every_id(world: World) -> None:
    paths = [world.write(f"old/{seed}.png", picture(seed % 3)) for seed in range(6)]
    world.once()
    before = {path.name: world.image(path).id for path in paths}
    (world.drop / "old").rename(world.drop / "new")
    world.once()
    after = {path.name: world.image(world.drop / "new" / path.name).id for path in paths}
    assert after == before
    assert world.embedded == 3


def test_a_copy_of_a_present_image_is_another_image(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    shutil.copy2(path, world.drop / "copy.png")
    world.once()
    assert world.image(world.drop / "copy.png").id != world.image(path).id


def test_one_of_two_missing_images_is_moved_by_its_inode(world: World) -> None:
    one, two = world.write("one.png", picture(1)), world.write("two.png", picture(1))
    world.once()
    number = world.image(two).id
    one.unlink()
    two.rename(world.drop / "three.png")
    world.once()
    assert world.image(world.drop / "three.png").id == number


def test_a_file_replaced_in_place_is_embedded_again_and_its_old_content_leaves(
    world: World,
) -> None:
    (path,) = world.pictures(1)
    world.once()
    before = world.image(path)
    temporary = world.drop / ".new"
    temporary.write_bytes(picture(7))
    temporary.rename(path)
    result = world.once()
    after = world.image(path)
    assert (after.id, result.ingested, world.embedded) == (before.id, 1, 2)
    assert after.content != before.content
    assert world.catalog.contents.get(before.content) is None
    changes = world.catalog.contents.changes_after(0, 100)
    assert [(content, action) for _, content, action in changes] == [
        (before.content, "add"),
        (after.content, "add"),
        (before.content, "remove"),
    ]


def test_a_replacement_of_the_same_size_and_mtime_is_noticed(world: World) -> None:
    contents = [encoded(photo(9, 9, seed), "BMP") for seed in (1, 2)]
    assert len(contents[0]) == len(contents[1])
    path = world.write("a.bmp", contents[0])
    stat = path.stat()
    world.once()
    before = world.image(path).content
    path.write_bytes(contents[1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    world.once()
    assert world.image(path).content != before


def test_a_touched_file_is_read_but_not_embedded(world: World) -> None:
    (path,) = world.pictures(1)
    world.once()
    os.utime(path)
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (0, 1, 1)
    assert world.kinds("touched")


def test_an_image_becomes_no_image(world: World) -> None:
    (path,) = world.pictures(1)
    kept = world.write("kept.png", picture(9))
    world.once()
    before = world.image(path)
    path.write_bytes(b"not a picture any more")
    world.once()
    assert world.catalog.images.at(os.fsencode(path)) is None
    assert world.catalog.contents.get(before.content) is None
    assert world.state(path) == "quarantined"
    assert world.image(kept)


def test_a_content_whose_last_image_leaves_in_the_same_batch_is_kept(
    world: World,
) -> None:
    path = world.write("a", picture(1))
    world.once()
    number = world.image(path).id
    path.write_bytes(b"no picture")
    other = world.write("b", picture(1))
    world.once()
    assert (world.state(path), world.image(other).state) == ("skipped", "present")
    assert (world.catalog.contents.count(), world.embedded) == (1, 1)
    assert world.image(other).id == number


def test_a_deleted_image_is_missing_and_gone_after_three_scans(world: World) -> None:
    path, kept = world.pictures(2)
    world.once()
    number, content = world.image(path).id, world.image(path).content
    path.unlink()
    for scan in (1, 2):
        result = world.once()
        assert (world.image(path).state, world.image(path).misses) == ("missing", scan)
        assert result.missing == (1 if scan == 1 else 0)
    world.once()
    assert world.kinds("gone")[0].image == number
    assert world.catalog.images.at(os.fsencode(path)) is None
    assert world.catalog.contents.get(content) is None
    assert world.state(path) is None
    assert world.image(kept).state == "present"
    again = world.write("again.png", picture(0))
    world.once()
    assert world.image(again).id > number


def test_a_missing_image_that_comes_back_costs_nothing(world: World) -> None:
    path, _ = world.pictures(2)
    world.once()
    number = world.image(path).id
    away = world.folder / "away.png"
    path.rename(away)
    world.once()
    away.rename(path)  # its ctime is another now: it is read, and not embedded
    world.once()
    assert (world.image(path).id, world.image(path).state) == (number, "present")
    assert (world.image(path).misses, world.embedded) == (0, 2)


@pytest.mark.parametrize(("vanished", "held"), [(9, False), (10, True)])
def test_a_mass_vanishing_is_held_until_it_is_accepted(
    world: World, vanished: int, held: bool
) -> None:
    paths = world.pictures(20)
    world.once()
    for path in paths[:vanished]:
        path.unlink()
    for _ in range(4):
        result = world.once()
        assert bool(result.held) is held
    assert world.catalog.images.count() == (20 if held else 11)
    if held:
        assert world.accept() == vanished
        assert world.catalog.images.count() == 20 - vanished
        assert not world.once().held


@pytest.mark.parametrize("to", ["drop", "a-root-before", "later-root"])
def test_a_folder_that_moves_between_two_runs_is_not_held(world: World, to: str) -> None:
    world.drop.joinpath("old").mkdir()
    paths = [world.drop / "old" / f"{seed}.png" for seed in range(20)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    world.once()
    ids = [world.image(path).id for path in paths]
    (world.folder / to).mkdir(exist_ok=True)
    world.root(world.folder / to)
    new = world.folder / to / "new"
    paths[0].parent.rename(new)
    assert not world.once().held
    assert [world.image(new / path.name).id for path in paths] == ids
    assert (world.embedded, world.catalog.images.count()) == (20, 20)


@pytest.mark.parametrize("to", ["drop", "a-root-before"])
def test_a_folder_that_moves_while_a_scan_is_on_is_not_held(
    world: World, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setattr(root_scan, "_SLICE", 1)
    old, new = world.drop / "old", world.folder / to / "a-new"
    old.mkdir()
    world.pictures(1)
    (world.folder / to).mkdir(exist_ok=True)
    if to != "drop":
        world.root(world.folder / to)
    paths = [old / f"{seed}.png" for seed in range(20, 40)]
    for seed, path in enumerate(paths, 20):
        path.write_bytes(picture(seed))
    world.once()
    ids = [world.image(path).id for path in paths]
    walk = root_scan.RootScanner.walk

    def moving(self: root_scan.RootScanner) -> bool:
        done = walk(self)
        if old.exists() and self.files:
            old.rename(new)
        return done

    monkeypatch.setattr(root_scan.RootScanner, "walk", moving)
    result = world.once()
    assert (result.held, result.seen, result.unchanged) == ((), 21, 1)
    assert [world.image(new / path.name).id for path in paths] == ids


def test_a_folder_that_is_copied_and_lost_is_held(world: World) -> None:
    paths = world.pictures(20)
    world.once()
    for path in paths[:12]:  # the bytes are the same, and no file has moved
        shutil.copy2(path, path.with_name(f"copy-of-{path.name}"))
        path.unlink()
    assert world.once().held
    assert {world.image(path).state for path in paths[:12]} == {"missing"}


def test_two_paths_with_one_hash_hide_a_missing_file_in_one_scan_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = world.pictures(3)
    world.once()
    paths[0].unlink()
    real, salts = root_scan._hash, set()

    def colliding(path: bytes, salt: bytes) -> int:
        salts.add(salt)
        return 7 if len(salts) == 1 and path != os.fsencode(paths[2]) else real(path, salt)

    monkeypatch.setattr(root_scan, "_hash", colliding)
    world.once()
    assert world.image(paths[0]).state == "present"
    world.once()
    assert world.image(paths[0]).state == "missing"
    assert len(salts) == 2


def test_accepting_goes_on_after_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_CHUNK", 5)
    paths = world.pictures(20)
    world.once()
    for path in paths[:12]:
        path.unlink()
    world.once()
    remove, calls = Catalog.remove_image, []

    def refuse(self: Catalog, image: Image) -> bool:
        calls.append(image.id)
        if len(calls) == 8:
            raise StorageError("full")
        return remove(self, image)

    monkeypatch.setattr(Catalog, "remove_image", refuse)
    with pytest.raises(StorageError):
        world.accept()
    assert world.catalog.images.count() == 15  # whole chunks only
    assert [root.held is not None for root in world.catalog.roots.all()] == [True]
    assert world.accept() == 7
    assert world.catalog.images.count() == 8
    assert [root.held for root in world.catalog.roots.all()] == [None]
    assert world.catalog.observations.pending() == 0
    assert not world.once().held


def test_a_held_root_is_said_once_and_freed_when_its_images_are_back(world: World) -> None:
    paths = world.pictures(12)
    world.once()
    away = world.folder / "away"
    shutil.copytree(world.drop, away)
    for path in paths:
        path.unlink()
    world.once()
    assert [event.sentence.partition(";")[0] for event in world.kinds("held")] == [
        "the folder is empty"
    ]
    world.once()
    assert not world.kinds("held")
    ids = {path: world.image(path).id for path in paths}
    for path in paths:
        shutil.copy2(away / path.name, path)
    assert not world.once().held
    assert {path: world.image(path).id for path in paths} == ids
    assert {world.image(path).state for path in paths} == {"present"}
    assert world.embedded == 12


def test_a_root_that_is_away_keeps_everything_and_reads_nothing_again(world: World) -> None:
    paths = world.pictures(3)
    text, bad = world.write("a.txt", b"text"), world.write("bad.png", b"bad")
    world.once()
    world.remove(paths[0])
    away = world.folder / "away"
    world.drop.rename(away)
    for _ in range(4):
        assert world.once().held == ((os.fsencode(world.drop), "the folder is gone"),)
    away.rename(world.drop)
    result = world.once()
    assert world.decoder.claimed == []
    assert (result.held, world.catalog.images.count()) == ((), 2)
    assert {world.image(path).state for path in paths[1:]} == {"present"}
    assert world.state(paths[0]) == "removed"
    assert (world.state(text), world.state(bad)) == ("skipped", "quarantined")


def test_a_change_that_was_not_read_before_the_root_left_is_read_when_it_is_back(
    world: World,
) -> None:
    paths = world.pictures(3)
    world.once()
    paths[0].write_bytes(picture(40))
    paths[1].write_bytes(b"no picture any more")
    away = world.folder / "away"

    def unplug(claimed: bytes) -> None:
        if world.drop.exists():
            world.drop.rename(away)

    world.decoder.instead = lambda path: Again(path, "it is no longer there")
    world.decoder.after = unplug
    world.once()
    assert world.once().held
    assert {world.state(path) for path in paths} == {"missing"}
    away.rename(world.drop)
    world.decoder.instead = lambda path: None
    world.decoder.after = lambda path: None
    world.once()
    assert holds(world, paths[0], 40)
    assert (world.state(paths[1]), world.state(paths[2])) == ("quarantined", "done")


def test_a_removed_image_stays_away_until_asked_for_or_changed(world: World) -> None:
    path, other = world.pictures(2)
    world.once()
    world.remove(path)
    world.once()
    assert world.catalog.images.at(os.fsencode(path)) is None
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), world.image(other).root)
    world.once(scan=False)
    assert world.image(path).state == "present"
    world.remove(path)
    path.write_bytes(picture(5))
    world.once()
    assert world.image(path).state == "present"


def test_a_folder_that_cannot_be_listed_says_nothing_about_its_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [world.write(f"locked/{seed}.png", picture(seed)) for seed in range(3)]
    outside = world.write("outside.png", picture(8))
    world.once()
    real = os.scandir

    def refusing(path: Any) -> Any:
        if os.fsencode(path).endswith(b"/locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for path in [*inside, outside]:
        path.unlink()
    for _ in range(3):
        world.once()
    assert world.kinds("trouble")[0].path == os.fsencode(world.drop / "locked")
    assert {world.image(path).state for path in inside} == {"present"}
    gone = [event.path for event in world.kinds("gone")]
    assert gone == [os.fsencode(outside)], "what is not below the trouble is as always"


def test_nested_roots_take_each_file_once(world: World) -> None:
    inner = world.drop / "inner"
    inner.mkdir()
    number = world.root(inner)
    outer_file, inner_file = (
        world.write("a.png", picture(1)),
        world.write("inner/b.png", picture(2)),
    )
    result = world.once()
    assert (result.seen, result.ingested) == (2, 2)
    assert world.image(inner_file).root == number
    assert world.image(outer_file).root != number


def test_a_root_inside_another_that_came_later_doubles_nothing(world: World) -> None:
    inner_file = world.write("inner/b.png", picture(2))
    world.write("inner/c.png", picture(3))
    world.once()
    number = world.image(inner_file).id
    inner = world.root(world.drop / "inner")
    world.once()
    assert (world.catalog.images.count(), world.image(inner_file).id) == (2, number)
    assert world.image(inner_file).root == inner, "it is lost or kept with the inner root now"
    inner_file.unlink()
    world.write("a.png", picture(1))
    for _ in range(3):
        world.once()
    assert world.catalog.images.count() == 2


def test_our_own_folders_and_excluded_names_are_left_alone(world: World) -> None:
    for name in ("ours/links/x.png", ".hidden/x.png", ".x.png", "@eaDir/x.png", "x.png.part"):
        world.write(name, picture(1))
    world.once()
    assert world.catalog.images.count() == 0


def test_what_is_gone_leaves_a_few_at_a_time_and_all_of_it_in_one_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SLICE", 2)
    paths = world.pictures(6)
    world.once()
    for path in paths[1:]:
        path.unlink()
    for _ in range(2):
        world.once()
    ingest = world.ingest()
    ingest.begin(scan=True, watch=False)
    counts = [6]
    while counts[-1] > 1:
        ingest.step(timeout_s=0.0)
        counts.append(world.catalog.images.count())
    assert [count for count, _ in itertools.groupby(counts)] == [6, 4, 2, 1]
    again = world.pictures(6)
    world.once()
    for path in again[1:]:
        path.unlink()
    for _ in range(3):
        world.once()
    assert world.catalog.images.count() == 1


def test_a_watcher_that_is_stopped_leaves_the_rest_to_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SLICE", 2)
    paths = world.pictures(6)
    world.once()
    for path in paths[1:]:
        path.unlink()
    for _ in range(2):
        world.once()
    world.watch(lambda event: event.kind == "gone")
    assert world.catalog.images.count() == 4
    world.stop = StopFlag()
    world.watch(lambda event: world.catalog.images.count() == 1)
    assert world.catalog.images.count() == 1


def test_a_stop_commits_what_is_embedded_and_the_next_run_takes_the_rest(world: World) -> None:
    world.pictures(80)
    world.watch(lambda event: event.kind == "ingested")
    first = world.catalog.images.count()
    assert 0 < first < 80
    assert world.embedded == first
    world.stop = StopFlag()
    assert world.once().ingested == 80 - first
    assert world.embedded == 80


def test_pixels_of_a_content_that_waits_are_not_embedded_twice(world: World) -> None:
    for seed in range(100):
        world.write(f"{seed:03d}.png", picture(seed % 2))
    result = world.once()
    assert (result.ingested, result.reused, world.embedded) == (2, 98, 2)


def test_thumbnails_and_index_hear_of_each_new_content_once(world: World) -> None:
    heard: list[bytes] = []
    real = world.ingest

    def ingest(*, emit: Callable[[Event], None] = lambda event: None) -> Ingest:
        made = real(emit=emit)
        parts = made._parts
        object.__setattr__(parts, "after_commit", lambda fresh: heard.extend(o.path for o in fresh))
        return made

    for name in ("a.png", "b.png"):
        world.write(name, picture(1))
    ingest().run(once=True)
    assert len(heard) == 1
    assert isinstance(claim(heard[0]), Decoded)


def test_a_rename_found_by_the_last_scan_keeps_the_row(world: World) -> None:
    path = world.write("one.png", picture(1))
    for seed in range(5):
        world.write(f"other-{seed}.png", picture(10 + seed))
    world.once()
    before = world.image(path)
    away = world.drop.parent / "away.png"
    path.rename(away)
    world.once()
    world.once()
    back = world.drop / "renamed.png"
    away.rename(back)
    world.once()  # the third scan without the old path finds the new one
    assert world.image(back).id == before.id
