"""Folders below a root that are on disks of their own: lost, swapped, replaced, removed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from imgclust.images.filestat import FileStat
from imgclust.ingest import root_scan
from imgclust.ingest.environment import LocalDisk
from tests.ingest_world import World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


class MountDisk(LocalDisk):
    """A disk on which folders are mounted: each has a device number, or (0) that of its parent."""

    def __init__(self) -> None:
        self.mounted: dict[bytes, int] = {}
        self.failing: set[bytes] = set()
        self.during: Callable[[bytes], None] = lambda path: None

    def device(self, path: bytes, real: int) -> int:
        over = [one for one in self.mounted if path == one or path.startswith(one + b"/")]
        numbers = [self.mounted[one] for one in sorted(over, key=len) if self.mounted[one]]
        return numbers[-1] if numbers else real

    def fail(self, path: bytes) -> None:
        if any(path == one or path.startswith(one + b"/") for one in self.failing):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    def stat(self, path: bytes) -> FileStat | None:
        self.fail(path)
        found = super().stat(path)
        return found and found._replace(device=self.device(path, found.device))

    def identity(self, path: bytes) -> tuple[int, int] | None:
        found = super().identity(path)
        if found is None or any(path == one for one in self.failing):
            return None
        return self.device(path, found[0]), found[1]

    def mount_points(self, folder: bytes) -> set[bytes]:
        return {
            path
            for path, device in self.mounted.items()
            if device < 1000 and (path == folder or path.startswith(folder + b"/"))
        }

    def scan(
        self,
        root: bytes,
        *,
        skip: Sequence[bytes],
        trouble: Callable[[bytes, str], None],
        anchor: bytes | None = None,
    ) -> Iterator[tuple[bytes, FileStat]]:
        for one in self.failing:
            trouble(one, "stale file handle")
        for path, found in super().scan(root, skip=[*skip, *self.failing], trouble=trouble):
            self.during(path)
            yield path, found._replace(device=self.device(path, found.device))


TMPFS, BIND, SUBVOLUME = 50, 0, 1050  # a subvolume (device from 1000 on) is in no mount table
kinds = pytest.mark.parametrize("kind", [TMPFS, BIND, SUBVOLUME])


def disk_of(world: World) -> MountDisk:
    assert isinstance(world.disk, MountDisk)
    return world.disk


def mount(world: World, name: str, device: int) -> Path:
    if not isinstance(world.disk, MountDisk):
        world.disk = MountDisk()
    folder = world.drop / name
    folder.mkdir(parents=True, exist_ok=True)
    disk_of(world).mounted[os.fsencode(folder)] = device
    return folder


def unmount(world: World, folder: Path) -> Path:
    """What was mounted is out of reach; an empty folder is left."""
    away = world.folder / f"away-{folder.name}"
    folder.rename(away)
    folder.mkdir()
    for path in list(disk_of(world).mounted):
        if path == os.fsencode(folder) or path.startswith(os.fsencode(folder) + b"/"):
            del disk_of(world).mounted[path]
    return away


def fill(world: World, folder: Path, count: int, first: int = 0) -> list[Path]:
    name = folder.relative_to(world.drop)
    return [
        world.write(f"{name}/{seed:03d}.png", picture(seed)) for seed in range(first, first + count)
    ]


def ids(world: World, paths: Sequence[Path]) -> list[int]:
    return [world.image(path).id for path in paths]


def scans(world: World, times: int = 4) -> None:
    for _ in range(times):
        world.once()


@kinds
@pytest.mark.parametrize(("inside", "outside"), [(12, 60), (1, 5), (3, 0)])
def test_a_lost_mount_is_held_however_few_images_it_has(
    world: World, kind: int, inside: int, outside: int
) -> None:
    fill(world, world.drop, outside, first=100)
    usb = mount(world, "usb", kind)
    paths = fill(world, usb, inside)
    world.once()
    before = ids(world, paths)
    away = unmount(world, usb)
    scans(world)
    assert (world.catalog.images.count(), world.catalog.images.count_missing()) == (
        inside + outside,
        inside,
    )
    usb.rmdir()
    away.rename(usb)
    disk_of(world).mounted[os.fsencode(usb)] = kind and kind + 7  # under another number
    result = world.once()
    assert (result.held, world.catalog.images.count_missing(), world.embedded) == (
        (),
        0,
        inside + outside,
    )
    assert ids(world, paths) == before
    assert not world.catalog.mounts.held()


def test_the_rest_of_the_root_goes_on_as_usual(world: World) -> None:
    rest = fill(world, world.drop, 20, first=100)
    usb = mount(world, "usb", TMPFS)
    fill(world, usb, 12)
    world.once()
    unmount(world, usb)
    rest[0].unlink()
    scans(world)
    assert world.catalog.images.count() == 31
    assert world.catalog.roots.all()[0].held is None
    assert world.once().held == ((os.fsencode(usb), "nothing is mounted here any more"),)


def test_a_lost_mount_is_said_once_a_run(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    fill(world, world.drop, 2, first=100)
    fill(world, usb, 3)
    world.once()
    unmount(world, usb)
    world.once()
    assert [(event.path, event.sentence) for event in world.kinds("held")] == [
        (
            os.fsencode(usb),
            "nothing is mounted here any more; offline: 3 images are kept until the disk is back",
        )
    ]
    assert not world.kinds("missing")
    world.once()
    assert not world.kinds("held")
    assert [event.path for event in world.kinds("offline")] == [os.fsencode(usb)]
    assert [kind for _, kind, _ in world.catalog.events(9)] == ["held"]


@pytest.mark.parametrize("how", ["file left beneath", "folder gone", "empty disk", "other disk"])
def test_what_is_in_the_place_of_a_mount(world: World, how: str) -> None:
    usb = mount(world, "usb", TMPFS)
    fill(world, world.drop, 30, first=100)
    paths = fill(world, usb, 6)
    world.once()
    before = ids(world, paths)
    away = unmount(world, usb)
    if how == "file left beneath":
        fill(world, usb, 2, first=50)
    elif how == "folder gone":
        usb.rmdir()
    else:
        mount(world, "usb", TMPFS)  # the same device number: a number proves nothing
    if how == "other disk":
        fill(world, usb, 7, first=50)
    scans(world)
    assert world.catalog.images.count_missing() == 6
    shutil.rmtree(usb, ignore_errors=True)
    away.rename(usb)
    mount(world, "usb", TMPFS)
    world.once()
    assert ids(world, paths) == before
    scans(world)
    # Of two disks that take turns, the images of the one that is not there are kept.
    assert world.catalog.images.count_missing() == (7 if how == "other disk" else 0)


def test_another_disk_with_many_images_frees_nothing(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    paths = fill(world, usb, 3)
    fill(world, world.drop, 3, first=100)
    world.once()
    unmount(world, usb)
    mount(world, "usb", TMPFS)
    fill(world, usb, 60, first=200)
    scans(world, 5)
    assert [world.image(path).state for path in paths] == ["missing"] * 3


@kinds
def test_a_real_folder_with_copies_of_all_files_takes_over(world: World, kind: int) -> None:
    usb = mount(world, "usb", kind)
    fill(world, world.drop, 3, first=100)
    paths = fill(world, usb, 5)
    world.once()
    before = ids(world, paths)
    away = unmount(world, usb)
    shutil.copytree(away, usb, dirs_exist_ok=True)
    scans(world)
    assert (ids(world, paths), world.embedded) == (before, 8)
    assert not world.catalog.mounts.all()
    paths[0].unlink()  # an ordinary folder now: a file that is deleted is gone
    scans(world)
    assert world.catalog.images.count() == 7


def test_copies_elsewhere_do_not_take_the_place_of_images_on_a_lost_mount(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    (path,) = fill(world, usb, 1)
    fill(world, world.drop, 3, first=100)
    world.once()
    before = ids(world, [path])
    away = unmount(world, usb)
    copy = world.write("copy.png", picture(0))
    scans(world)
    assert ids(world, [path]) == before
    assert ids(world, [copy]) != before
    usb.rmdir()
    away.rename(usb)
    mount(world, "usb", TMPFS)
    scans(world)
    assert (ids(world, [path]), world.catalog.images.count()) == (before, 5)


def test_files_that_move_out_of_a_bind_mount_keep_their_ids(world: World) -> None:
    inbox = mount(world, "inbox", BIND)
    paths = fill(world, inbox, 4)
    fill(world, world.drop, 2, first=100)
    world.once()
    before = ids(world, paths)
    (world.drop / "2024").mkdir()
    moved = [path.rename(world.drop / "2024" / path.name) for path in paths]
    scans(world)
    assert (ids(world, moved), world.catalog.images.count()) == (before, 6)
    assert not world.once().held


def test_some_files_of_a_mount_are_deleted(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    paths = fill(world, usb, 5)
    world.once()
    for path in paths[:2]:
        path.unlink()
    scans(world)
    assert world.catalog.images.count() == 3


def test_nested_mounts_are_held_each_for_itself(world: World) -> None:
    outer = mount(world, "outer", TMPFS)
    inner = mount(world, "outer/inner", TMPFS + 1)
    fill(world, world.drop, 9, first=100)
    above = fill(world, outer, 3)
    below = fill(world, inner, 3, first=10)
    world.once()
    before = ids(world, above + below)
    kept = unmount(world, inner)
    scans(world)
    assert [one.path for one in world.catalog.mounts.held()] == [os.fsencode(inner)]
    assert [world.image(path).state for path in above] == ["present"] * 3
    away = unmount(world, outer)
    scans(world)
    assert [path for path, _ in world.once().held] == [os.fsencode(outer)]
    outer.rmdir()
    away.rename(outer)
    mount(world, "outer", TMPFS + 2)
    inner.rmdir()
    kept.rename(inner)
    mount(world, "outer/inner", TMPFS + 3)
    world.once()
    assert (ids(world, above + below), world.catalog.images.count_missing()) == (before, 0)


@pytest.mark.parametrize("moment", [0, 3, 7])
def test_a_mount_that_goes_during_a_scan(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(root_scan, "_SLICE", 2)
    usb = mount(world, "usb", TMPFS)
    paths = fill(world, usb, 6)
    fill(world, world.drop, 4, first=100)
    world.once()
    before = ids(world, paths)
    met = 0
    away: list[Path] = []

    def during(path: bytes) -> None:
        nonlocal met
        if met == moment and not away:
            away.append(unmount(world, usb))
        met += 1

    disk_of(world).during = during
    scans(world)
    assert away
    assert world.catalog.images.count() == 10
    usb.rmdir()
    away[0].rename(usb)
    mount(world, "usb", TMPFS)
    world.once()
    assert (ids(world, paths), world.catalog.images.count_missing()) == (before, 0)


def test_a_mount_with_a_stale_handle_proves_nothing(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    paths = fill(world, usb, 4)
    fill(world, world.drop, 4, first=100)
    world.once()
    disk_of(world).failing.add(os.fsencode(usb))
    scans(world)
    assert {world.image(path).state for path in paths} == {"present"}
    disk_of(world).failing.clear()
    assert world.once().held == ()


def test_what_was_removed_or_set_aside_is_remembered_until_the_mount_is_back(world: World) -> None:
    usb = mount(world, "usb", TMPFS)
    fill(world, world.drop, 2, first=100)
    (path,) = fill(world, usb, 1)
    broken = world.write("usb/broken.png", b"\x89PNG\r\n\x1a\nno more")
    world.once()
    world.remove(path)
    away = unmount(world, usb)
    scans(world)
    assert world.state(broken) == "quarantined"
    usb.rmdir()
    away.rename(usb)
    mount(world, "usb", TMPFS)
    scans(world)
    assert world.catalog.images.at(os.fsencode(path)) is None


@kinds
def test_a_mount_that_was_removed_for_good_is_accepted(world: World, kind: int) -> None:
    usb = mount(world, "usb", kind)
    fill(world, usb, 4)
    fill(world, world.drop, 4, first=100)
    world.once()
    unmount(world, usb)
    world.once()
    assert world.accept() == 4
    assert not world.catalog.mounts.all()
    assert (world.once().held, world.catalog.images.count()) == ((), 4)


@kinds
def test_a_mount_below_an_added_folder(world: World, kind: int) -> None:
    folder = world.folder / "added"
    folder.mkdir()
    number = world.root(folder, "added")
    usb = mount(world, "../added/usb", kind)
    usb = folder / "usb"
    disk_of(world).mounted = {os.fsencode(usb): kind}
    paths = []
    for seed in range(6):
        path = (usb if seed < 2 else folder) / f"{seed}.png"
        path.write_bytes(picture(seed))
        paths.append(path)
    with world.catalog.transaction():
        for path in paths:
            world.catalog.requests.put(os.fsencode(path), number)
    scans(world, 2)
    unmount(world, usb)
    scans(world)
    assert [world.image(path).state for path in paths] == ["missing"] * 2 + ["present"] * 4


def test_a_root_that_was_a_bind_mount_is_held_with_few_images(world: World) -> None:
    mount(world, ".", BIND)
    disk_of(world).mounted = {os.fsencode(world.drop): BIND}
    paths = fill(world, world.drop, 5)
    world.once()
    away = unmount(world, world.drop)
    fill(world, world.drop, 3, first=50)  # files that lay beneath
    scans(world)
    assert [world.image(path).state for path in paths] == ["missing"] * 5
    assert away.exists()


def test_what_comes_later_does_not_free_a_held_root(world: World) -> None:
    paths = fill(world, world.drop, 40)
    world.once()
    for path in paths[:12]:
        path.unlink()
    world.once()
    fill(world, world.drop, 100, first=100)  # 12 of 140 are less than a fifth
    scans(world)
    assert world.catalog.images.count_missing() == 12


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("how", ["tmpfs", "bind"])
def test_a_real_mount_goes_and_comes_back(world: World, how: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    usb = world.drop / "usb"
    for folder in (source, usb):
        folder.mkdir()
    command = ["mount", "-t", "tmpfs", "tmpfs"] if how == "tmpfs" else ["mount", "--bind", source]
    done = subprocess.run([*command, usb], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        paths = fill(world, usb, 4)
        fill(world, world.drop, 20, first=100)
        world.once()
        before = ids(world, paths)
    finally:
        subprocess.run(["umount", "--lazy", usb], check=True)
    scans(world)
    assert [(one.path, one.held) for one in world.catalog.mounts.held()] == [
        (os.fsencode(usb), "nothing is mounted here any more")
    ]
    assert world.catalog.images.count() == 24
    subprocess.run([*command, usb], check=True)
    try:
        fill(world, usb, 4)  # the same files, on a tmpfs of another number
        world.once()
        assert ids(world, paths) == before
        assert (world.embedded, world.catalog.images.count_missing()) == (24, 0)
        assert not world.catalog.mounts.held()
    finally:
        subprocess.run(["umount", "--lazy", usb], check=True)
