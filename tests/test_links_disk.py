"""A link folder on a disk that goes away: nothing is made in its place, and it is continued."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust import fs
from imgclust.collection import Collection, Event
from imgclust.links.inspect import LinksOfflineError
from tests.conftest import Open, inside, write_picture


class Stick:
    """A disk that the link folder is on, as the mount table and its folder show it."""

    def __init__(self, top: Path, links: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.point = top / "usb stick"
        self.links = self.point / links
        self._away, self._table = top / "away", top / "mountinfo"
        self._volumes: dict[Path, int | None] = {self.point: 7}
        self.point.mkdir()
        monkeypatch.setattr(fs, "_MOUNTS", self._table)
        monkeypatch.setattr(
            "imgclust.links.inspect.volume_number",
            lambda point: self._volumes.get(Path(os.fsdecode(point)), 1),
        )
        self._write(mounted=True)

    def _write(self, *, mounted: bool) -> None:
        lines = [b"22 1 0:1 / / rw - ext4 /dev/sda1 rw"]
        point = os.fsencode(self.point).replace(b" ", rb"\040")
        if mounted:
            lines.append(b"23 22 8:1 / %s rw - ext4 /dev/sdb1 rw" % point)
        self._table.write_bytes(b"\n".join(lines) + b"\n")

    def unmount(self, *, bare: bool) -> None:
        self.point.rename(self._away)
        if bare:
            self.point.mkdir()
        self._write(mounted=False)

    def mount(self) -> None:
        if self.point.exists():
            self.point.rmdir()
        self._away.rename(self.point)
        self._volumes[self.point] = 7
        self._write(mounted=True)

    def mount_another(self) -> None:
        self.point.mkdir(exist_ok=True)
        self._volumes[self.point] = 8
        self._write(mounted=True)

    def is_mounted(self) -> bool:
        return b"/dev/sdb1" in self._table.read_bytes()

    def join_the_disk_above(self) -> None:
        self._write(mounted=False)

    def is_untouched(self) -> bool:
        return not self.point.exists() or not any(self.point.iterdir())


PLACES = [("links", True), (".", True), ("deep/down/links", False)]


@pytest.fixture(params=PLACES, ids=["below", "the mount itself", "mount point gone"])
def place(request: pytest.FixtureRequest) -> tuple[str, bool]:
    found: tuple[str, bool] = request.param
    return found


def collection_on(
    stick: Stick, open_collection: Open, drop: Path, said: list[str]
) -> tuple[Collection, int]:
    collection = open_collection(say=said.append)
    collection.watch([drop], once=True, links=stick.links)
    count = len(list(drop.iterdir()))
    assert collection.links(check=True).links == count
    said.clear()
    return collection, count


def test_nothing_is_made_while_it_is_away_and_all_is_when_it_is_back(
    open_collection: Open,
    drop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[str, bool],
) -> None:
    said: list[str] = []
    events: list[Event] = []
    stick = Stick(tmp_path, place[0], monkeypatch)
    collection, count = collection_on(stick, open_collection, drop, said)
    stick.unmount(bare=place[1])
    write_picture(drop / "late.png", 77)
    collection.watch(once=True, emit=events.append)
    assert stick.is_untouched()
    assert len(said) == 1
    assert f"is not mounted at {stick.point}" in said[0]
    assert f"{count} links are kept until it is back" in said[0]
    assert "imgclust links --links DIR" in said[0]
    assert not [one for one in events if one.kind == "trouble"]
    collection.cluster(k=2, fresh=True)
    collection.name_cluster(min(row.id for row in collection.clusters()), "boats")
    for dry_run, check in ((False, False), (True, False), (False, True)):
        with pytest.raises(LinksOfflineError, match="not mounted"):
            collection.links(dry_run=dry_run, check=check)
    status = collection.status()
    assert status.links_offline is not None
    assert stick.is_untouched()
    assert next(one for one in collection.doctor().checks if one.name == "links").ok
    assert stick.is_untouched()
    stick.mount()
    assert collection.status().links_offline is None
    collection.sync_links()
    found = collection.links(check=True)
    assert (found.in_step, found.links, found.foreign) == (True, count + 1, ())


def test_another_disk_in_its_place_gets_links_when_a_person_says_so(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stick = Stick(tmp_path, "links", monkeypatch)
    collection, count = collection_on(stick, open_collection, drop, said)
    stick.unmount(bare=True)
    stick.mount_another()
    with pytest.raises(LinksOfflineError, match="another disk is mounted"):
        collection.links()
    assert stick.is_untouched()
    assert collection.move_links(stick.links).links == count
    assert collection.links(check=True).links == count


def test_links_moved_elsewhere_while_it_is_away(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stick = Stick(tmp_path, "links", monkeypatch)
    collection, count = collection_on(stick, open_collection, drop, said)
    stick.unmount(bare=True)
    assert collection.move_links(tmp_path / "elsewhere").links == count
    assert stick.is_untouched()
    assert collection.links(check=True).links == count


def test_a_disk_whose_files_are_now_on_the_disk_above_is_not_away(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = Stick(tmp_path, "links", monkeypatch)
    collection, count = collection_on(stick, open_collection, drop, [])
    stick.join_the_disk_above()
    assert collection.links().links == count
    shutil.rmtree(stick.links)  # a person deleted the tree: it is made again
    assert collection.links().created == count


def test_a_disk_that_goes_before_the_first_link_is_made(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stick = Stick(tmp_path, "links", monkeypatch)
    collection = open_collection(say=said.append)

    def goes(event: Event) -> None:
        if event.kind == "ingested" and stick.is_mounted():
            stick.unmount(bare=True)

    collection.watch([drop], once=True, links=stick.links, emit=goes)
    assert stick.is_untouched()
    assert len(said) == 1
    assert "no link is made until it is back" in said[0]
    stick.mount()
    assert collection.links().links == len(list(drop.iterdir()))


@pytest.mark.parametrize("made", [False, True])
def test_a_disk_that_is_mounted_over_the_link_folder(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    """Where links are hidden by it they are not made again on it, unasked."""
    stick = Stick(tmp_path, "links", monkeypatch)
    stick.unmount(bare=True)
    collection = open_collection()
    collection.watch([drop], once=True, links=stick.links, cluster=made)
    count = len(list(drop.iterdir()))
    shutil.rmtree(stick.links)  # out of sight
    stick.mount()
    if made:
        with pytest.raises(LinksOfflineError, match="another disk is mounted"):
            collection.links()
        assert not stick.links.exists()
        assert collection.move_links(stick.links).links == count
    else:
        collection.cluster(k=2)
        assert collection.links(check=True).links == count


@contextlib.contextmanager
def bound(source: Path, point: Path) -> Iterator[None]:
    try:
        subprocess.run(["mount", "--bind", source, point], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=True, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_real_mount(open_collection: Open, drop: Path, tmp_path: Path) -> None:
    said: list[str] = []
    disk, point = tmp_path / "disk", tmp_path / "point"
    disk.mkdir()
    point.mkdir()
    collection = open_collection(say=said.append)
    count = len(list(drop.iterdir()))
    with bound(disk, point):
        collection.watch([drop], once=True, links=point / "links")
    collection.cluster(k=2)
    assert list(point.iterdir()) == []
    assert ["is not mounted at" in line for line in said] == [True]
    with bound(disk, point):
        assert collection.links().links == count
        assert collection.links(check=True).in_step
    assert list(point.iterdir()) == []
    assert inside(collection).catalog.ledger.count() == count
