"""The link folder as an interface: what people do in it with a file manager, and what it is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.collection import Collection
from imgclust.collection.link_corrections import name_in
from imgclust.locks import FileLock
from tests.conftest import Open, inside

# What a test does is much the same in all modes; a few look at what is not.
MODES = ["symlink", *(pytest.param(one, marks=pytest.mark.slow) for one in ("hardlink", "copy"))]


class Desk:
    """A collection with a watcher running, as far as its link folder is concerned."""

    def __init__(self, collection: Collection, said: list[str]) -> None:
        self.collection = collection
        self.said = said
        self.links = collection.link_folder
        self.before = self.places()

    def sync(self) -> None:
        self.collection.sync_links()

    def settle(self) -> None:
        """Sync as a watcher does, until nothing young is left."""
        for _ in range(4):
            self.sync()
            time.sleep(0.05)

    def places(self) -> dict[str, str]:
        """Folder of each link, by name."""
        return {
            entry.name: folder.name
            for folder in self.links.iterdir()
            if folder.is_dir() and not folder.name.startswith(".")
            for entry in folder.iterdir()
        }

    def folders(self) -> list[Path]:
        return sorted(one for one in self.links.iterdir() if one.is_dir())

    def corrections(self) -> list[tuple[str, str, int | None]]:
        """Kind, name of the file and cluster."""
        return [
            (row.kind, os.fsdecode(os.path.basename(row.path or b"")), row.cluster)
            for row in self.collection.corrections.rows()
            if row.follows is None
        ]

    def right(self) -> bool:
        found = self.collection.links(check=True)
        return found.in_step and found.links == len(self.before)


@pytest.fixture(params=MODES)
def desk(request: pytest.FixtureRequest, open_collection: Open, drop: Path) -> Iterator[Desk]:
    """Three clusters of eight pictures."""
    said: list[str] = []
    collection = open_collection(flags={"links.mode": request.param}, say=said.append)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.sync_links()
    context = inside(collection)
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        with context.catalog.transaction():
            context.catalog.store("watching_since", time.time() - 60)
        collection.sync_links()
        said.clear()
        yield Desk(collection, said)


def number(folder: Path) -> int:
    return int(folder.name.split("-")[0])


def test_a_link_moved_to_another_folder_is_a_correction(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    os.rename(link, second / link.name)
    desk.sync()
    assert desk.corrections() == [("in", link.name, number(second))]
    assert desk.places() == {**desk.before, link.name: second.name}
    assert desk.right()
    desk.collection.cluster(k=3, fresh=True, seed=4)
    assert desk.places()[link.name] == second.name
    os.rename(second / link.name, first / link.name)  # and back
    desk.sync()
    assert desk.corrections() == [("in", link.name, number(first))]
    assert desk.right()


def test_a_name_that_is_taken_gets_a_number_and_loses_it(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    os.rename(link, second / f"{link.stem} (1){link.suffix}")
    desk.sync()
    assert desk.corrections() == [("in", link.name, number(second))]
    assert desk.places() == {**desk.before, link.name: second.name}
    assert desk.right()


def test_a_deleted_link_is_restored_and_said_once(desk: Desk) -> None:
    first = desk.folders()[0]
    sorted(first.iterdir())[0].unlink()
    desk.settle()
    assert desk.places() == desk.before
    assert desk.corrections() == []
    assert sum("deleted" in line for line in desk.said) == 1
    shutil.rmtree(first)
    desk.settle()
    assert desk.places() == desk.before


def test_a_link_moved_out_of_the_tree_is_restored(desk: Desk, tmp_path: Path) -> None:
    link = sorted(desk.folders()[0].iterdir())[0]
    shutil.move(link, tmp_path / "elsewhere")
    desk.settle()
    assert desk.places() == desk.before
    assert desk.corrections() == []


def test_a_copy_means_nothing_until_the_first_one_is_gone(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    copy = second / f"copy of {link.name}"
    shutil.copy2(link, copy, follow_symlinks=False)
    desk.settle()
    assert desk.corrections() == []
    assert desk.places() == {**desk.before, copy.name: second.name}  # theirs, and left alone
    copy.unlink()
    shutil.copy2(link, second / link.name, follow_symlinks=False)
    link.unlink()
    desk.sync()
    assert desk.corrections() == []  # perhaps half a move
    assert link.name not in {one.name for one in first.iterdir()}
    time.sleep(0.05)
    desk.settle()
    assert desk.corrections() == [("in", link.name, number(second))]
    assert desk.places() == {**desk.before, link.name: second.name}
    assert desk.right()


def age(folder: Path, seconds: float = 20.0) -> None:
    """As if nothing had changed in a folder for so long."""
    os.utime(folder, (time.time() - seconds,) * 2)


def test_a_copy_that_was_made_long_before_counts_when_the_first_one_goes(desk: Desk) -> None:
    first, second, third = desk.folders()
    link, other = sorted(first.iterdir())[:2]
    shutil.copy2(link, second / link.name, follow_symlinks=False)
    age(second)
    desk.settle()
    assert desk.corrections() == []
    age(second)
    desk.sync()
    link.unlink()
    other.unlink()  # of this one there is no copy
    desk.settle()
    assert desk.corrections() == [("in", link.name, number(second))]
    assert desk.places() == {**desk.before, link.name: second.name}
    assert sum("1 link was deleted" in line for line in desk.said) == 1
    assert desk.right()
    assert third.is_dir()


def test_a_copy_in_a_folder_of_ones_own_invents_no_cluster_later(desk: Desk) -> None:
    mine = desk.links / "Favourites"
    mine.mkdir()
    link = sorted(desk.folders()[0].iterdir())[0]
    shutil.copy2(link, mine / f"best {link.name}", follow_symlinks=False)
    desk.settle()
    age(mine)
    desk.settle()
    link.unlink()
    desk.settle()
    assert desk.corrections() == []
    assert len(desk.collection.clusters()) == 3
    assert desk.places() == {**desk.before, f"best {link.name}": mine.name}


def test_a_copy_beside_the_first_one_does_not_take_its_place(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    shutil.copy2(link, first / f"copy of {link.name}", follow_symlinks=False)
    desk.settle()
    link.unlink()
    desk.settle()
    assert desk.corrections() == []
    assert desk.places() == {**desk.before, f"copy of {link.name}": first.name}
    shutil.copy2(link, second / link.name, follow_symlinks=False)
    link.unlink()
    desk.settle()  # the copy elsewhere counts, whichever is found first
    assert desk.corrections() == [("in", link.name, number(second))]


def test_a_new_folder_is_a_new_cluster(desk: Desk) -> None:
    first, second, _ = desk.folders()
    (desk.links / "Our dogs").mkdir()
    moved = [sorted(first.iterdir())[0], sorted(second.iterdir())[1]]
    for link in moved:
        os.rename(link, desk.links / "Our dogs" / link.name)
    desk.settle()
    row = next(row for row in desk.collection.clusters() if row.name == "Our dogs")
    assert row.frozen
    assert row.size == 2
    for link in moved:
        assert desk.places()[link.name] == f"{row.id:03d}-Our dogs"
    assert not (desk.links / "Our dogs").exists()
    assert desk.right()
    assert {kind for kind, _, _ in desk.corrections()} == {"in"}
    desk.collection.cluster(k=4, seed=3, fresh=True)
    again = next(one for one in desk.collection.clusters() if one.id == row.id)
    assert again.name == "Our dogs"


@pytest.mark.parametrize("name", ["2024", "x" * 101])
def test_a_folder_that_cannot_be_a_name_gives_its_links_back(desk: Desk, name: str) -> None:
    link = sorted(desk.folders()[0].iterdir())[0]
    (desk.links / name).mkdir()
    os.rename(link, desk.links / name / link.name)
    desk.settle()
    assert desk.places() == desk.before
    assert desk.corrections() == []
    assert any("put back" in line for line in desk.said)


@pytest.mark.parametrize("name", ["Beach", "{}-Beach", "{} Beach"])
def test_a_renamed_folder_names_its_cluster(desk: Desk, name: str) -> None:
    first = desk.folders()[0]
    os.rename(first, desk.links / name.format(first.name))
    desk.settle()
    row = next(row for row in desk.collection.clusters() if row.id == number(first))
    assert row.name == "Beach"
    named = f"{first.name}-Beach"
    assert desk.places() == {
        link: named if folder == first.name else folder for link, folder in desk.before.items()
    }
    assert desk.right()
    assert desk.corrections() == []
    os.rename(desk.links / named, desk.links / "Sea")
    desk.settle()
    row = next(row for row in desk.collection.clusters() if row.id == number(first))
    assert row.name == "Sea"


@pytest.mark.parametrize(
    ("text", "cluster", "name"),
    [
        ("Beach", 7, "Beach"),
        ("007", 7, ""),
        ("7", 7, ""),
        ("007-Beach", 7, "Beach"),
        ("7 - Beach", 7, "Beach"),
        ("07_Beach", 7, "Beach"),
        ("007-2019 trip", 7, "2019 trip"),
        ("7-11 store", 7, "7-11 store"),
        ("1.5 km", 1, "1.5 km"),
        ("1st of May", 1, "1st of May"),
        ("123-2019 trip", 123, "2019 trip"),
        ("0077", 7, "0077"),
    ],
)
def test_the_name_in_the_name_of_a_folder(text: str, cluster: int, name: str) -> None:
    assert name_in(text, cluster, own=f"{cluster:03d}") == name


def test_a_folder_renamed_to_a_name_that_exists_gets_its_own_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    desk.collection.name_cluster(number(second), "Sea")
    desk.sync()
    os.rename(first, desk.links / "Sea")
    desk.settle()
    assert (desk.links / first.name).is_dir()
    assert any("already" in line for line in desk.said)
    assert desk.right()


def test_what_contradicts_is_put_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    image = next(
        one.id
        for one in desk.collection.cluster_details(number(first)).members
        if os.path.basename(one.path) == os.fsencode(link.name)
    )
    desk.collection.corrections.exclude([image], of=number(second))
    before = desk.places()
    os.rename(link, second / link.name)
    desk.sync()
    assert desk.places() == before
    assert any("contradicts correction" in line for line in desk.said)
    assert desk.right()


def test_many_moves_wait_for_a_person(desk: Desk) -> None:
    first, second, third = desk.folders()
    groups = [(sorted(one.iterdir()), other) for one, other in ((first, second), (second, third))]
    groups.append((sorted(third.iterdir()), first))
    for links, folder in groups:
        for link in links:
            os.rename(link, folder / link.name)
    moved = desk.places()
    assert sum(moved[name] != place for name, place in desk.before.items()) == 24
    desk.settle()
    assert desk.corrections() == []
    assert desk.places() == moved
    assert desk.right()
    assert desk.collection.corrections.accept().put_back == ()
    assert len(desk.corrections()) == 24
    assert desk.right()
    assert [one.name for one in desk.folders()] == [first.name, second.name, third.name]


def test_moves_while_no_watcher_ran_wait(desk: Desk) -> None:
    first, second, _ = desk.folders()
    catalog = inside(desk.collection).catalog
    link, other = sorted(first.iterdir())[:2]
    os.rename(link, second / link.name)
    os.rename(other, second / other.name)
    with catalog.transaction():
        catalog.store("watching_since", time.time() + 1)  # a watcher that began later
    desk.sync()
    assert desk.corrections() == []
    assert {one.link for one in desk.collection.corrections.waiting()} == {
        os.fsencode(f"{second.name}/{one.name}") for one in (link, other)
    }
    moved = {**desk.before, link.name: second.name, other.name: second.name}
    assert desk.places() == moved
    desk.collection.links()  # a whole sync leaves them too
    assert desk.places() == moved
    assert desk.right()
    os.rename(second / other.name, first / other.name)  # taken back by hand
    desk.sync()
    assert desk.collection.corrections.accept().accepted
    assert ("in", link.name, number(second)) in desk.corrections()
    assert desk.places()[link.name] == second.name
    assert desk.right()


def wait_for_a_person(desk: Desk, moves: dict[Path, Path]) -> None:
    """Move links while no watcher ran, and have that read."""
    for link, folder in moves.items():
        os.rename(link, folder / link.name)
    catalog = inside(desk.collection).catalog
    with catalog.transaction():
        catalog.store("watching_since", time.time() + 1)
    desk.sync()
    assert len(desk.collection.corrections.waiting()) == len(moves)


@pytest.mark.parametrize("desk", ["symlink"], indirect=True)
@pytest.mark.parametrize("named", [False, True])
def test_moves_that_wait_follow_a_cluster_that_merges_away(desk: Desk, named: bool) -> None:
    if named:
        desk.collection.name_cluster(number(desk.folders()[1]), "boats")
        desk.sync()
    first, second, third = desk.folders()
    links = sorted(first.iterdir())[:2]
    wait_for_a_person(desk, dict.fromkeys(links, second))
    desk.collection.merge_clusters([number(third), number(second)])
    heir = {row.id for row in desk.collection.clusters()} - {number(first)}
    done = desk.collection.corrections.accept()
    assert [os.path.basename(one.path) for one in done.accepted] == [
        os.fsencode(link.name) for link in links
    ]
    assert done.put_back == ()
    assert sorted(desk.corrections()) == [("in", link.name, max(heir)) for link in links]
    assert desk.right()
    assert not desk.collection.corrections.waiting()


@pytest.mark.parametrize("desk", ["symlink"], indirect=True)
def test_moves_that_wait_for_a_cluster_that_is_gone_are_put_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    desk.collection.split_cluster(number(second), k=2)
    part = max(desk.folders(), key=number)
    link = sorted(first.iterdir())[0]
    wait_for_a_person(desk, {link: part})
    desk.collection.undo()
    assert number(part) not in {row.id for row in desk.collection.clusters()}
    done = desk.collection.corrections.accept()
    assert done.accepted == ()
    assert [one.reason for one in done.put_back] == [
        f"cluster {number(part)} is gone since; move the images with imgclust clusters move"
    ]
    assert desk.corrections() == []
    assert desk.places() == desk.before
    assert desk.right()


@pytest.mark.parametrize("desk", ["symlink"], indirect=True)
def test_of_moves_that_wait_only_those_that_contradict_are_put_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    links = sorted(first.iterdir())[:8]
    image = next(
        one.id
        for one in desk.collection.cluster_details(number(first)).members
        if os.path.basename(one.path) == os.fsencode(links[1].name)
    )
    desk.collection.corrections.exclude([image], of=number(second))
    wait_for_a_person(desk, dict.fromkeys(links, second))
    done = desk.collection.corrections.accept()
    assert len(done.accepted) == 7
    # In halves: four at once, two, and one.
    assert sum("moved in the link folder: " in line for line in desk.said) == 3
    assert [one.id for one in done.put_back] == [image]
    assert "contradicts correction" in done.put_back[0].reason
    assert desk.places()[links[1].name] == first.name
    assert desk.places()[links[2].name] == second.name
    assert desk.right()


@pytest.mark.parametrize("desk", ["symlink"], indirect=True)
def test_moves_by_hand_are_counted_until_they_count(desk: Desk) -> None:
    first, second, third = desk.folders()
    catalog = inside(desk.collection).catalog
    links = sorted(first.iterdir())[:3]
    for link in links:
        os.rename(link, second / link.name)
    before = desk.collection.links(check=True)
    assert (before.unread, before.missing, before.foreign) == (3, 0, ())
    assert not before.in_step
    would = desk.collection.links(dry_run=True)
    assert (would.unread, would.created) == (3, 0)
    with catalog.transaction():
        catalog.store("watching_since", None)
    done = desk.collection.sync_links()
    assert (done.corrected, done.waiting) == (0, 3)
    assert desk.collection.links(check=True).waiting == 3
    desk.collection.corrections.accept()
    assert desk.collection.links(check=True).waiting == 0
    with catalog.transaction():
        catalog.store("watching_since", time.time() - 60)
    other = sorted(third.iterdir())[0]
    os.rename(other, second / other.name)
    done = desk.collection.sync_links()
    assert (done.corrected, done.waiting, done.unread) == (1, 0, 0)


def test_moves_that_wait_can_be_put_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    catalog = inside(desk.collection).catalog
    link = sorted(first.iterdir())[0]
    os.rename(link, second / link.name)
    with catalog.transaction():
        catalog.store("watching_since", None)
    desk.sync()
    assert desk.collection.corrections.reject() == 1
    assert desk.places() == desk.before
    assert desk.corrections() == []
    assert desk.right()


def test_what_was_moved_before_the_upgrade_does_not_count(desk: Desk) -> None:
    first, second, _ = desk.folders()
    catalog = inside(desk.collection).catalog
    link = sorted(first.iterdir())[0]
    os.rename(link, second / link.name)
    with catalog.transaction():
        catalog.store("link_tree_read", None)
    desk.settle()
    assert desk.places() == desk.before
    assert desk.corrections() == []
    assert sum("does not count" in line for line in desk.said) == 1


def test_foreign_files_and_hard_links_of_people_stay(desk: Desk, drop: Path) -> None:
    first, second, _ = desk.folders()
    note = second / "note.txt"
    note.write_text("mine")
    link = sorted(first.iterdir())[0]
    os.link(drop / link.name, second / "mine.png")  # the original's inode alone says nothing
    link.unlink()
    desk.settle()
    if desk.collection.settings.links.mode != "hardlink":
        assert desk.corrections() == []
        assert desk.places() == {**desk.before, "note.txt": second.name, "mine.png": second.name}
    assert note.read_text() == "mine"


def test_outliers_can_be_pinned(open_collection: Open, drop: Path) -> None:
    said: list[str] = []
    collection = open_collection(flags={"links.outliers": True}, say=said.append)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.sync_links()
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        catalog = inside(collection).catalog
        with catalog.transaction():
            catalog.store("watching_since", time.time() - 60)
        desk = Desk(collection, said)
        first = desk.folders()[0]
        link = sorted(first.iterdir())[0]
        outliers = desk.links / "outliers"
        outliers.mkdir(exist_ok=True)
        os.rename(link, outliers / link.name)
        desk.sync()
        assert desk.corrections() == [("outlier", link.name, None)]
        collection.cluster(k=3, seed=2)
        assert desk.places()[link.name] == "outliers"
        assert sum(row.outliers for row in collection.clusters()) >= 1
        os.rename(outliers / link.name, desk.folders()[0] / link.name)
        desk.sync()
        assert [kind for kind, _, _ in desk.corrections()] == ["in"]
        assert desk.places()[link.name] != "outliers"


def test_the_setting_turns_it_off(open_collection: Open, drop: Path) -> None:
    collection = open_collection(flags={"links.corrections": False})
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    desk = Desk(collection, [])
    first, second, _ = desk.folders()
    link = sorted(first.iterdir())[0]
    os.rename(link, second / link.name)
    collection.links()
    assert desk.corrections() == []
    assert link.name in {one.name for one in first.iterdir()}


def test_a_tree_that_is_not_there_is_no_deletion(desk: Desk) -> None:
    for folder in desk.folders():
        shutil.rmtree(folder)
    desk.sync()
    assert not any("deleted" in line for line in desk.said)
    desk.collection.links()
    assert desk.places() == desk.before


def test_a_link_that_replaces_another_one_is_moved_and_the_other_comes_back(desk: Desk) -> None:
    first, second, _ = desk.folders()
    link, victim = sorted(first.iterdir())[0], sorted(second.iterdir())[0]
    os.rename(link, victim)  # "replace" in a file manager
    desk.settle()
    assert desk.corrections() == [("in", link.name, number(second))]
    assert desk.places() == {**desk.before, link.name: second.name}
    assert desk.right()


def test_a_link_that_waits_and_is_taken_back_is_no_correction(desk: Desk) -> None:
    first, second, _ = desk.folders()
    catalog = inside(desk.collection).catalog
    with catalog.transaction():
        catalog.store("watching_since", None)
    link = sorted(first.iterdir())[0]
    os.rename(link, second / link.name)
    desk.sync()
    assert len(desk.collection.corrections.waiting()) == 1
    os.rename(second / link.name, link)
    desk.sync()
    assert desk.collection.corrections.waiting() == ()
    assert desk.corrections() == []
    assert desk.right()


def test_equal_files_move_together(open_collection: Open, drop: Path) -> None:
    twin = drop / "twin.png"
    shutil.copy(sorted(drop.glob("*.png"))[0], twin)
    said: list[str] = []
    collection = open_collection(say=said.append)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.sync_links()
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        catalog = inside(collection).catalog
        with catalog.transaction():
            catalog.store("watching_since", time.time() - 60)
        collection.sync_links()
        desk = Desk(collection, said)
        home = desk.before["twin.png"]
        target = next(one for one in desk.folders() if one.name != home)
        os.rename(desk.links / home / "twin.png", target / "twin.png")
        desk.sync()
        places = desk.places()
        assert places["twin.png"] == target.name
        assert places[sorted(drop.glob("*.png"))[0].name] == target.name
        assert any("the same bytes" in line for line in said)


@pytest.mark.parametrize("point", ["links.read", "links.intent", "links.renamed", "links.done"])
def test_a_kill_while_moves_are_taken_in_loses_and_invents_nothing(
    open_collection: Open, drop: Path, point: str
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.sync_links()
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        with inside(collection).catalog.transaction():
            inside(collection).catalog.store("watching_since", time.time() - 60)
        collection.sync_links()
        desk = Desk(collection, [])
        first, second, _ = desk.folders()
        link, other = sorted(first.iterdir())[:2]
        os.rename(link, second / f"{link.stem} (1){link.suffix}")
        other.unlink()
        killed = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from imgclust.collection import Collection; "
                "Collection.open(sys.argv[1]).sync_links()",
                str(collection.folders.root.parent),
            ],
            env={**os.environ, "IMGCLUST_FAILPOINTS": f"{point}=crash"},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        desk.settle()
        assert desk.corrections() == [("in", link.name, number(second))]
        assert desk.places() == {**desk.before, link.name: second.name}
        assert desk.right()


def the_last(name: str, *places: Path) -> list[Path]:
    return [path for place in places for path in place.rglob(name) if path.is_file()]


@pytest.mark.parametrize(
    ("mode", "ours", "live"),
    [
        ("copy", "deleted", True),
        ("copy", "deleted", False),
        ("copy", "there", True),
        ("copy", "written over", True),
        ("hardlink", "deleted", True),
        ("hardlink", "deleted", False),
        ("hardlink", "there", True),
        ("hardlink", "written over", True),
        ("hardlink", "written over", False),
    ],
)
def test_an_original_that_a_person_moves_into_the_tree_is_never_ours(
    open_collection: Open, drop: Path, mode: str, ours: str, live: bool
) -> None:
    collection = open_collection(flags={"links.mode": mode})
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.sync_links()
    first, second, _ = sorted(one for one in collection.link_folder.iterdir() if one.is_dir())
    link = sorted(one for one in first.iterdir() if not one.name.startswith("."))[0]
    original = next(path for path in drop.rglob(link.name))
    bytes_of_it = original.read_bytes()
    if live:
        with inside(collection).catalog.transaction():
            inside(collection).catalog.store("watching_since", time.time() - 60)
    moved = (first if ours == "written over" else second) / link.name
    if ours != "there":
        link.unlink()
    original.rename(moved)
    for _ in range(3):
        collection.sync_links()
        time.sleep(0.05)
    collection.corrections.reject()
    for _ in range(4):
        collection.watch(once=True)
        collection.accept_missing()
    collection.links()
    assert inside(collection).catalog.images.at(os.fsencode(original)) is None
    assert [one.read_bytes() for one in the_last(link.name, drop, moved.parent)] == [bytes_of_it]
    assert moved.exists()


@pytest.mark.parametrize("way", ["new folder", "copied and deleted", "two new folders"])
def test_one_sync_says_what_it_saw_and_when_that_counts(desk: Desk, way: str) -> None:
    first, second, _ = desk.folders()
    one, other = sorted(first.iterdir())[:2]
    if way == "copied and deleted":
        shutil.copy2(one, second / one.name, follow_symlinks=False)
        one.unlink()
        expected = f"1 link was moved to {second.name} just now; it counts from the next sync on"
    else:
        for link, name in ((one, "Cats"), (other, "Dogs" if "two" in way else "Cats")):
            (desk.links / name).mkdir(exist_ok=True)
            os.rename(link, desk.links / name / link.name)
        where = "Cats, Dogs" if "two" in way else "Cats"
        expected = f"2 links were moved to {where} just now; they count from the next sync on"
    desk.collection.links()
    assert sum(line.startswith(expected) for line in desk.said) == 1
    desk.settle()
    assert desk.corrections()
    desk.said.clear()
    desk.collection.links()
    assert not any("just now" in line for line in desk.said)
