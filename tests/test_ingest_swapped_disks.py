"""Another disk with the same names in the place of one: ids follow contents, never the path."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.ingest.events import Event
from imgclust.ingest.mounts import held_folders
from imgclust.reconcile import OTHER_DISK
from tests.ingest_world import World, holds, opened, picture
from tests.test_ingest_mounts import MountDisk, disk_of


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for made in opened(tmp_path, monkeypatch):
        made.disk = MountDisk()
        yield made


class Cards:
    """Memory cards that are put into one place, one at a time."""

    def __init__(self, world: World, place: Path, *, mounted: bool = True) -> None:
        self._world = world
        self.place = place
        self._mounted = mounted
        self._inside: Path | None = None

    def card(self, name: str, seeds: list[int]) -> Path:
        folder = self._world.folder / name
        (folder / "DCIM").mkdir(parents=True)
        for number, seed in enumerate(seeds):
            (folder / "DCIM" / f"{number:04d}.png").write_bytes(picture(seed))
        return folder

    def put(self, card: Path, place: Path | None = None) -> None:
        self.place = place or self.place
        if self.place.exists():
            self.place.rmdir()
        card.rename(self.place)
        self._inside = card
        if self._mounted:  # one slot: the device number is always the same
            disk_of(self._world).mounted[os.fsencode(self.place)] = 50

    def take(self) -> None:
        assert self._inside is not None
        self.place.rename(self._inside)
        self.place.mkdir()
        disk_of(self._world).mounted.pop(os.fsencode(self.place), None)
        self._inside = None

    def swap(self, card: Path) -> None:
        self.take()
        self.put(card)

    def file(self, number: int) -> Path:
        return self.place / "DCIM" / f"{number:04d}.png"

    def ids(self, count: int) -> list[int]:
        return [self._world.image(self.file(number)).id for number in range(count)]


def places(world: World, where: str) -> Cards:
    world.pictures(3) if where == "below" else None
    place = world.drop / "usb" if where == "below" else world.drop
    return Cards(world, place, mounted=where != "folder")


def states(world: World, ids: list[int]) -> list[tuple[str, bool]]:
    found = world.catalog.images.some(ids)
    return [(found[one].state, found[one].kept is not None) for one in ids]


def scans(world: World, times: int = 5) -> None:
    for _ in range(times):
        world.once()


everywhere = pytest.mark.parametrize("where", ["below", "root", "folder"])


@everywhere
@pytest.mark.parametrize("seeds", [[20], [20, 21, 22, 23], [20, 11, 22, 23, 24], [21, 13, 12]])
def test_another_card_with_the_same_names(world: World, where: str, seeds: list[int]) -> None:
    """Some pictures are on both cards, or at another place on the second one."""
    old = [10, 11, 12, 13]
    cards = places(world, where)
    first, second = cards.card("a", old), cards.card("b", seeds)
    cards.put(first)
    world.once()
    before = dict(zip(old, cards.ids(4), strict=True))
    cards.swap(second)
    scans(world)
    for number, seed in enumerate(seeds):
        assert holds(world, cards.file(number), seed)
        image = world.image(cards.file(number))
        assert (image.state, image.id) == ("present", before.get(seed, image.id))
        assert seed in before or image.id not in before.values()
    away = [number for seed, number in before.items() if seed not in seeds]
    assert states(world, away) == [("missing", True)] * len(away)
    (held,) = held_folders(world.catalog)
    assert held.path == os.fsencode(cards.place)
    assert held.missing == len(away)
    later = cards.ids(len(seeds))
    cards.swap(first)
    scans(world)
    assert cards.ids(4) == list(before.values())
    gone = [number for number in later if number not in before.values()]
    assert states(world, gone) == [("missing", True)] * len(gone), "the other card may come back"
    assert world.embedded == len({*old, *seeds}) + 3 * (where == "below")
    cards.swap(second)
    scans(world, 2)
    assert cards.ids(len(seeds)) == later


@everywhere
def test_it_is_said_and_can_be_accepted(world: World, where: str) -> None:
    cards = places(world, where)
    first, second = cards.card("a", [10, 11]), cards.card("b", [20, 21])
    cards.put(first)
    world.once()
    cards.swap(second)
    world.once()
    (said,) = world.kinds("held")
    assert said.path == os.fsencode(cards.place)
    assert OTHER_DISK in said.sentence
    assert "missing accept" in said.sentence
    assert world.accept() == 2
    world.once()
    assert held_folders(world.catalog) == ()
    assert world.catalog.images.count() == 2 + 3 * (where == "below")


@everywhere
@pytest.mark.parametrize("edited", [1, 3])
def test_edits_on_the_card_that_is_there_keep_their_ids(
    world: World, where: str, edited: int
) -> None:
    cards = places(world, where)
    cards.put(cards.card("a", [10, 11, 12]))
    scans(world, 2)
    before = cards.ids(3)
    for number in range(edited):
        other = cards.file(number).with_name("new")  # as many programs save
        other.write_bytes(picture(30 + number))
        other.rename(cards.file(number))
    scans(world)
    assert cards.ids(3) == before
    assert world.catalog.images.count_missing() == 0
    # And also after the card was away, under another device number.
    away = cards.place.with_name("kept")
    cards.place.rename(away)
    if where != "folder":
        disk_of(world).mounted.clear()
    scans(world)
    away.rename(cards.place)
    if where != "folder":
        disk_of(world).mounted[os.fsencode(cards.place)] = 77
    cards.file(0).write_bytes(picture(40))
    scans(world)
    assert cards.ids(3) == before


@everywhere
def test_a_running_watcher_sees_another_card(world: World, where: str) -> None:
    cards = places(world, where)
    first, second = cards.card("a", [10, 11]), cards.card("b", [20, 21])
    cards.put(first)
    world.once()
    before = cards.ids(2)
    swapped = False

    def tell(event: Event) -> bool:
        nonlocal swapped
        if event.kind == "scanned" and not swapped:
            swapped = True
            cards.swap(second)
            for number in (1, 0):
                world.events.on_path(os.fsencode(cards.file(number)))
            return False
        return event.kind == "held"

    world.watch(tell)
    scans(world)
    assert states(world, before) == [("missing", True)] * 2
    assert not set(cards.ids(2)) & set(before)


@pytest.mark.parametrize(
    ("names", "hidden"), [(["0000.png"], 0), (["0000.png", "0001.png", "new.png"], 3)]
)
def test_files_in_the_folder_of_a_lost_mount(world: World, names: list[str], hidden: int) -> None:
    """Where all names are there again it is a folder with images, which a mount hides."""
    cards = places(world, "below")
    first = cards.card("a", [10, 11])
    cards.put(first)
    world.once()
    before = cards.ids(2)
    cards.take()
    world.once()
    (cards.place / "DCIM").mkdir()
    for number, name in enumerate(names):
        (cards.place / "DCIM" / name).write_bytes(picture(20 + number))
    scans(world)
    found = world.catalog.images.some(before)
    assert {image.state for image in found.values()} == {"missing"}
    shutil.rmtree(cards.place / "DCIM")
    cards.put(first)
    scans(world)
    assert cards.ids(2) == before
    assert world.catalog.images.count() == 5 + hidden


def test_a_folder_that_becomes_ordinary_again(world: World) -> None:
    cards = places(world, "below")
    cards.put(cards.card("a", [10, 11]))
    world.once()
    before = cards.ids(2)
    cards.take()
    (cards.place / "DCIM").mkdir()
    for number in range(2):
        cards.file(number).write_bytes(picture(20 + number))
    scans(world)
    assert states(world, before) == [("missing", True)] * 2
    now = cards.ids(2)
    cards.file(0).write_bytes(picture(30))
    scans(world)
    assert cards.ids(2) == now


def test_a_card_is_mounted_on_a_folder_with_images(world: World) -> None:
    below = [world.write(f"usb/DCIM/{number:04d}.png", picture(number)) for number in range(2)]
    world.once()
    before = [world.image(path).id for path in below]
    aside = world.folder / "beneath"
    (world.drop / "usb").rename(aside)
    cards = Cards(world, world.drop / "usb")
    first = cards.card("a", [10, 11])
    cards.put(first)
    scans(world)
    assert not set(cards.ids(2)) & set(before)
    assert states(world, before) == [("missing", True)] * 2
    cards.take()
    cards.place.rmdir()
    aside.rename(cards.place)
    scans(world)
    assert [world.image(path).id for path in below] == before


@pytest.mark.parametrize("how", ["disk", "copy", "root"])
@pytest.mark.parametrize("seen_away", [False, True])
def test_a_disk_comes_back_at_another_place(world: World, how: str, seen_away: bool) -> None:
    cards = places(world, "below")
    first = cards.card("a", [10, 11, 12])
    cards.put(first)
    world.once()
    before = cards.ids(3)
    cards.take()
    if seen_away:
        scans(world, 2)
    place = world.drop / "deep" / "usb2"
    if how == "root":
        place = world.folder / "other"
        place.mkdir()
        world.root(place)
    place.parent.mkdir(exist_ok=True)
    if how == "copy":
        shutil.copytree(first, first.with_name("b"))
        first = first.with_name("b")
    cards.put(first, place)
    scans(world, 2)
    assert cards.ids(3) == before
    assert (world.catalog.images.count(), world.catalog.images.count_missing()) == (6, 0)
    assert world.embedded == 6
    (world.drop / "usb").rmdir()
    cards.take()
    cards.put(first, world.drop / "usb")  # and home again
    scans(world, 2)
    assert cards.ids(3) == before


def test_where_nothing_tells_the_disks_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.disk, "volume", lambda folder: None)
    cards = places(world, "below")
    first, second = cards.card("a", [10, 11, 12]), cards.card("b", [20, 21, 22])
    cards.put(first)
    world.once()
    before = cards.ids(3)
    cards.file(1).write_bytes(picture(15))
    scans(world)
    assert cards.ids(3) == before, "the others show that it is the same disk"
    cards.swap(second)
    scans(world)
    assert states(world, before) == [("missing", True)] * 3
    cards.swap(first)
    scans(world)
    assert cards.ids(3) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "ext4"])
@pytest.mark.parametrize("place", ["usb", "."])
def test_real_disks_in_one_place(world: World, tmp_path: Path, kind: str, place: str) -> None:
    from imgclust.ingest.environment import LocalDisk

    world.disk = LocalDisk()
    point = world.drop / place
    (world.drop / "usb").mkdir()

    def mount(card: int) -> None:
        source = tmp_path / f"card{card}"
        command = ["mount", "-t", "tmpfs", "tmpfs", point]
        if kind == "bind":
            source.mkdir(exist_ok=True)
            command = ["mount", "--bind", source, point]
        elif kind == "ext4":
            if not source.exists():
                source.write_bytes(b"")
                os.truncate(source, 8 << 20)
                run("mkfs.ext4", "-q", str(source))
            command = ["mount", "-o", "loop", source, point]
        run(*map(str, command))
        for number in range(3):
            path = point / f"{number}.png"
            if not path.exists():
                path.write_bytes(picture(card + number))

    def run(*command: str) -> None:
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError as error:
            pytest.skip(f"{command[0]}: {error}")
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")

    def unmount() -> None:
        subprocess.run(["umount", "--lazy", point], check=True)

    def ids() -> list[int]:
        return [world.image(point / f"{number}.png").id for number in range(3)]

    mount(10)
    try:
        scans(world, 2)
        first = ids()
    finally:
        unmount()
    mount(20)
    try:
        scans(world)
        second = ids()
        (point / "0.png").write_bytes(picture(40))
        scans(world, 2)
        assert ids() == second
    finally:
        unmount()
    assert not set(first) & set(second)
    assert states(world, first) == [("missing", True)] * 3
    mount(10)
    try:
        scans(world)
        assert ids() == first
    finally:
        unmount()


@everywhere
def test_a_card_that_another_one_replaced_is_put_elsewhere(world: World, where: str) -> None:
    cards = places(world, where)
    first, second = cards.card("a", [10, 11]), cards.card("b", [20, 21])
    cards.put(first)
    world.once()
    before = cards.ids(2)
    cards.swap(second)
    world.once()
    later = cards.ids(2)
    place = world.folder / "other"
    place.mkdir()
    world.root(place)
    place.rmdir()
    first.rename(place)
    scans(world)
    found = [world.image(place / "DCIM" / f"{number:04d}.png").id for number in range(2)]
    assert (found, cards.ids(2)) == (before, later)
    assert world.catalog.images.count_missing() == 0
