"""Ids follow contents: any permutation of names, mixed with edits and copies, in any mode."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgclust import devices
from imgclust.catalog.contents import key_of
from imgclust.errors import StorageError
from imgclust.failpoints import arm
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Outcome, claim
from imgclust.ingest import loop
from imgclust.ingest.environment import LocalDisk
from imgclust.ingest.events import Event
from tests.ingest_world import World, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def ids(world: World) -> dict[str, int]:
    """Ids of the images that are there, by name below the folder."""
    return {
        os.path.relpath(os.fsdecode(image.path), world.drop): image.id
        for image in world.catalog.images.all()
        if image.state == "present"
    }


def rename(world: World, new: dict[str, str]) -> None:
    """Give files other names, all at once; `new` by old name."""
    for old in new:
        os.rename(world.drop / old, world.drop / f".{old.replace('/', '_')}.moving")
    for old, name in new.items():
        (world.drop / name).parent.mkdir(exist_ok=True)
        os.rename(world.drop / f".{old.replace('/', '_')}.moving", world.drop / name)


def at_rest(world: World) -> None:
    rows = list(world.catalog.images.all())
    assert [image for image in rows if image.doubt] == []
    for image in rows:
        if image.state == "present":
            content = Path(os.fsdecode(image.path)).read_bytes()
            assert image.content == key_of(hashlib.sha256(content).digest())


CYCLES = [
    {"000.png": "001.png", "001.png": "new.png"},  # mv b c; mv a b
    {"000.png": "001.png", "001.png": "000.png"},
    {"000.png": "001.png", "001.png": "002.png", "002.png": "003.png", "003.png": "000.png"},
    {"000.png": "sub/000.png", "001.png": "000.png", "002.png": "001.png"},
]


@pytest.mark.parametrize("new", CYCLES)
@pytest.mark.parametrize("how", ["scan", "events", "network"])
def test_a_permutation_of_names_keeps_every_id(world: World, new: dict[str, str], how: str) -> None:
    world.pictures(4)
    if how == "network":
        world.network.add(1)
    world.once()
    before = ids(world)
    rename(world, new)
    if how == "events":
        ingest = world.ingest()
        ingest.begin(scan=False, watch=True)
        for name in sorted({*new, *new.values()}):
            world.events.on_path(os.fsencode(world.drop / name))
        world.idle(ingest)
        ingest._finish(complete=False)
        ingest.close()
    else:
        world.once()
    expected = {new.get(name, name): image for name, image in before.items()}
    assert ids(world) == expected
    assert world.embedded == 4
    at_rest(world)


@pytest.mark.parametrize("told", ["before", "after"])
@pytest.mark.parametrize("files", [2, 3, 7])
def test_files_renumbered_one_by_one_while_their_events_come(
    world: World, files: int, told: str
) -> None:
    world.pictures(files)
    world.once()
    before = ids(world)
    ingest = world.ingest()
    ingest.begin(scan=False, watch=True)
    for number in reversed(range(files)):
        name, new = f"{number:03d}.png", f"{number + 1:03d}.png"
        os.rename(world.drop / name, world.drop / new)
        for path in (name, new):  # at this moment nothing has the old name
            world.events.on_path(os.fsencode(world.drop / path))
        if told == "before":
            ingest.step(timeout_s=0.0)
    if told == "after":  # all are missing, and most of their paths have other files by now
        for number in range(files):
            image = world.catalog.images.at(os.fsencode(world.drop / f"{number:03d}.png"))
            assert image is not None
            with world.catalog.transaction():
                world.catalog.observations.lose([image.path])
                world.catalog.images.miss([image.id], scans=0)
    world.write("000.png", picture(100))
    world.events.on_path(os.fsencode(world.drop / "000.png"))
    world.idle(ingest)
    ingest._finish(complete=False)
    ingest.close()
    after = ids(world)
    assert after.pop("000.png") not in before.values()
    assert after == {f"{int(name[:3]) + 1:03d}.png": image for name, image in before.items()}
    assert world.embedded == files + 1
    at_rest(world)


@pytest.mark.parametrize("back", ["new.png", "001.png"])
def test_a_missing_image_comes_back_when_its_path_has_another_file(world: World, back: str) -> None:
    world.pictures(4)
    world.once()
    before = ids(world)
    os.rename(world.drop / "000.png", world.folder / "kept.png")
    world.once()
    os.rename(world.drop / "001.png", world.drop / "000.png")
    os.rename(world.folder / "kept.png", world.drop / back)
    world.once()
    after = ids(world)
    assert (after["000.png"], after[back]) == (before["001.png"], before["000.png"])
    assert (len(after), world.embedded) == (4, 4)
    at_rest(world)


def test_a_missing_image_whose_path_has_another_file_for_a_moment(world: World) -> None:
    world.pictures(3)
    world.once()
    before = ids(world)
    os.rename(world.drop / "000.png", world.folder / "kept.png")
    world.once()
    ingest = world.ingest()
    ingest.begin(scan=False, watch=True)
    path = world.write("000.png", picture(50))
    world.events.on_path(os.fsencode(path))
    ingest.step(timeout_s=0.0)
    path.unlink()
    world.events.on_path(os.fsencode(path))
    world.idle(ingest)
    ingest._finish(complete=False)
    ingest.close()
    at_rest(world)
    os.rename(world.folder / "kept.png", world.drop / "new.png")
    world.once()
    assert ids(world)["new.png"] == before["000.png"]
    at_rest(world)


def test_sixty_files_renumbered_behind_a_new_one(world: World) -> None:
    world.pictures(60)
    world.once()
    before = ids(world)
    rename(world, {f"{number:03d}.png": f"{number + 1:03d}.png" for number in range(60)})
    world.write("000.png", picture(100))
    result = world.once()
    after = ids(world)
    assert {name: after[name] for name in after if name != "000.png"} == {
        f"{number + 1:03d}.png": before[f"{number:03d}.png"] for number in range(60)
    }
    assert world.embedded == 61
    assert after["000.png"] not in before.values()
    assert (result.ingested, result.missing) == (1, 0)
    at_rest(world)


def test_a_rotation_across_two_roots(world: World) -> None:
    other = world.folder / "other"
    other.mkdir()
    world.root(other)
    files = [world.drop / "a", other / "a", world.drop / "b"]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    world.once()
    before = [world.image(file).id for file in files]
    os.rename(files[0], world.folder / "aside")
    os.rename(files[1], files[0])
    os.rename(files[2], files[1])
    os.rename(world.folder / "aside", files[2])
    world.once()
    assert [world.image(file).id for file in files] == [before[1], before[2], before[0]]
    assert world.embedded == 3


def test_equal_contents_are_told_apart_by_their_inode(world: World) -> None:
    one, two = world.write("a", picture(1)), world.write("b", picture(1))
    world.once()
    before = ids(world)
    rename(world, {"a": "b", "b": "a"})
    world.once()
    assert ids(world) == {"a": before["b"], "b": before["a"]}
    assert (one.exists(), two.exists()) == (True, True)


def test_hard_links_keep_their_ids(world: World) -> None:
    world.write("a", picture(1))
    world.once()
    before = ids(world)["a"]
    os.link(world.drop / "a", world.drop / "b")
    os.link(world.drop / "a", world.drop / "c")
    world.once()
    assert ids(world)["a"] == before
    again = ids(world)
    world.once()
    assert ids(world) == again


def test_an_edit_keeps_its_id_and_so_do_several_of_one_size(world: World) -> None:
    files = world.pictures(3)
    world.once()
    before = ids(world)
    for number, file in enumerate(files):
        size = file.stat().st_size
        other = picture(50 + number)
        file.write_bytes(other + bytes(max(0, size - len(other))))
    world.once()
    assert ids(world) == before
    assert (world.embedded, world.catalog.contents.count()) == (6, 3)
    at_rest(world)


def test_a_copy_takes_the_id_when_the_original_is_edited_at_once(world: World) -> None:
    path = world.write("a", picture(1))
    world.once()
    number = ids(world)["a"]
    shutil.copy(path, world.drop / "b")
    path.write_bytes(picture(2))
    world.once()
    assert ids(world)["b"] == number
    # Not when it was known as an image of its own.
    path.write_bytes(picture(3))
    before = ids(world)
    world.once()
    assert ids(world) == before


def test_a_file_that_is_overwritten_by_another_one_is_missing(world: World) -> None:
    world.pictures(2)
    world.once()
    before = ids(world)
    os.rename(world.drop / "000.png", world.drop / "001.png")
    world.once()
    assert ids(world) == {"001.png": before["000.png"]}
    assert [image.id for image in world.catalog.images.missing()] == [before["001.png"]]
    world.write("late.png", picture(1))
    world.once()
    assert ids(world)["late.png"] == before["001.png"], "it was found elsewhere after all"
    assert world.embedded == 2


def test_a_damaged_file_in_the_place_of_one_that_moved(world: World) -> None:
    world.pictures(2)
    world.once()
    before = ids(world)
    rename(world, {"000.png": "zzz.png"})
    world.write("000.png", b"\x89PNG\r\n\x1a\n damaged")
    world.once()
    assert ids(world) == {"zzz.png": before["000.png"], "001.png": before["001.png"]}
    assert world.embedded == 2


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_between_the_commits_of_a_permutation(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Each commit holds a few files only; the next run goes on where the last one was cut off."""
    count = 40
    monkeypatch.setattr(devices, "batch_images", lambda **_: 2)
    world.pictures(count)
    world.once()
    before = ids(world)
    rename(world, {f"{n:03d}.png": f"{(n + 7) % count:03d}.png" for n in range(count)})
    arm(f"commit.after=eio@{at}")
    with pytest.raises(StorageError):
        world.once()
    arm("")
    assert world.catalog.observations.pending(), "the permutation was cut off"
    world.once()
    assert ids(world) == {
        f"{(n + 7) % count:03d}.png": before[f"{n:03d}.png"] for n in range(count)
    }
    assert world.embedded == count
    at_rest(world)


@pytest.mark.parametrize("link", [False, True])
def test_many_equal_contents_cost_the_same_each(
    world: World, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    asked: list[bytes] = []
    stat = world.disk.stat

    def counted(path: bytes) -> FileStat | None:
        asked.append(path)
        return stat(path)

    monkeypatch.setattr(world.disk, "stat", counted)
    first = world.write("a", picture(1))
    costs = []
    for count in (50, 150, 450):
        asked.clear()
        for number in range(count):
            copy = world.drop / f"{count}-{number}"
            (os.link if link else shutil.copyfile)(first, copy)
        world.once()
        files = len(os.listdir(world.drop))
        costs.append(len(asked) / files)
    assert costs[0] < 40, costs  # a few are looked at each time, in case one has moved
    assert max(costs[1:]) < 2, costs
    assert world.embedded == 1


class FoldingDisk(LocalDisk):
    """Finds a file under every name that `key` makes one, as exFAT, NTFS or APFS do."""

    def __init__(self, drop: Path) -> None:
        self._drop = os.fsencode(drop)

    def key(self, name: bytes) -> str:
        text = unicodedata.normalize("NFC", os.fsdecode(name)).casefold().rstrip(".")
        return text.replace("photo-of-summer", "photo-~1")

    def real(self, path: bytes) -> bytes:
        """The path by which the file is listed."""
        if not path.startswith(self._drop + b"/"):
            return path
        found = self._drop
        for part in path[len(self._drop) + 1 :].split(b"/"):
            try:
                names = os.listdir(found)
            except OSError:
                return path
            alike = [name for name in names if self.key(name) == self.key(part)]
            found = os.path.join(found, alike[0] if alike else part)
        return found

    def stat(self, path: bytes) -> FileStat | None:
        return super().stat(self.real(path))

    def is_folder(self, path: bytes) -> bool:
        return super().is_folder(self.real(path))

    def names(self, folder: bytes) -> Collection[bytes]:
        return super().names(self.real(folder))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.jpg", "A.JPG"),
        ("Dir/a.jpg", "dir/a.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("photo-~1.jpg", "photo-of-summer.jpg"),
        ("a.", "a"),
    ],
)
@pytest.mark.parametrize("told", [(), (0, 1), (1, 0), (0,), (1,)])
def test_a_name_that_a_stat_finds_is_there_only_if_it_is_listed(
    world: World, old: str, new: str, told: Sequence[int]
) -> None:
    disk = world.disk = FoldingDisk(world.drop)

    def read(path: bytes) -> Outcome | None:
        found = claim(disk.real(path), thumbnail_px=0)
        object.__setattr__(found, "path", path)
        return found

    world.decoder.instead = read
    world.write(old, picture(1))
    world.write("other", picture(2))
    world.once()
    before = ids(world)
    os.renames(world.drop / old, world.drop / new)
    if told:

        def tell(event: Event) -> bool:
            if event.kind == "scanned":
                for number in told:
                    world.events.on_path(os.fsencode(world.drop / (old, new)[number]))
                world.events.on_path(os.fsencode(world.write("last", picture(3))))
            return event.path == os.fsencode(world.drop / "last")

        world.watch(tell)
    world.once()
    after = ids(world)
    after.pop("last", None)
    assert after == {new: before[old], "other": before["other"]}
    assert world.catalog.images.count_missing() == 0


names = st.sampled_from([f"{letter}" for letter in "abcdefgh"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("permute"), st.permutations("abcdefgh")),
        st.tuples(st.just("edit"), names),
        st.tuples(st.just("new"), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=4,
)


@given(
    rounds=st.lists(steps, min_size=1, max_size=3),
    network=st.booleans(),
    one_size=st.booleans(),
    restart=st.booleans(),
)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_random_permutations_and_edits(
    rounds: list[list[tuple[str, object]]], network: bool, one_size: bool, restart: bool
) -> None:
    """The model: an id is that of its content; of a new content, that of its path if it is free."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        loop_wait = loop._WAIT_S
        loop._WAIT_S = 0.002
        try:
            if network:
                world.network.add(1)
            fresh = iter(range(1000))

            def content() -> bytes:
                made = picture(next(fresh))
                return made + bytes(5000 - len(made)) if one_size else made

            for name in "abcdefgh":
                world.write(name, content())
            world.once()
            for changes in rounds:
                known = {
                    digest(world.drop / name): (name, number) for name, number in ids(world).items()
                }
                for what, value in changes:
                    if what == "permute":
                        present = sorted(os.listdir(world.drop))[:8]
                        assert isinstance(value, list | tuple)
                        order = [present["abcdefgh".index(letter)] for letter in value]
                        rename(world, dict(zip(present, order, strict=True)))
                    elif what == "edit":
                        world.write(str(value), content())
                    else:
                        world.write(f"new{value}", content())
                if restart:
                    ingest = world.ingest()
                    ingest.begin(scan=True, watch=False)
                    for _ in range(4):
                        ingest.step(timeout_s=0.0)
                    ingest.close()
                world.once()
                after = ids(world)
                assert set(after) == set(os.listdir(world.drop))
                at_rest(world)
                now = {digest(world.drop / name): name for name in after}
                for key, (_, number) in known.items():
                    if key in now:
                        assert after[now[key]] == number, "an id follows its content"
                for key, name in now.items():
                    was = next((k for k, (old, _) in known.items() if old == name), None)
                    if key not in known and was is not None and was not in now:
                        assert after[name] == known[was][1], "an edit keeps its id"
        finally:
            loop._WAIT_S = loop_wait
            world.catalog.close()


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
