"""Crashes at every point and before every step, and random lives, against an oracle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclust import failpoints
from imgclust.errors import StorageError
from imgclust.links import apply_plan
from imgclust.links.ledger import Mode
from tests.link_world import MODES, POINTS, SCRATCH, World, survives


@pytest.fixture(params=MODES)
def any_world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, mode=request.param)


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    yield
    failpoints.arm("")


def stages(world: World) -> Iterator[tuple[str, Callable[[], object]]]:
    """A short life: links are made; moved, removed and made anew; renamed; made in another mode."""
    for image in range(6):
        world.original(image, b"00%d" % (image % 2), f"pics/{image % 4}/{image // 4}.jpg")
    world.original(6, b"006", "pics/alone.jpg")
    yield "make", world.sync
    for image in (0, 1, 2):
        world.folders[image] = b"007"
    path = world.originals[3]
    world.originals[3] = path.rename(path.with_name("renamed.jpg"))
    del world.folders[5], world.folders[6]
    yield "change", world.sync
    for image in (0, 1, 2):
        world.folders[image] = b"007-cats"
    yield "rename", lambda: apply_plan.rename_folder(b"007", b"007-cats", world.root, world.ledger)
    world.mode = MODES[(MODES.index(world.mode) + 1) % 3]
    yield "mode", world.sync


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_an_error_at_any_point_is_repaired_by_the_next_sync(
    any_world: World, point: str, at: int
) -> None:
    for _, work in stages(any_world):
        failpoints.arm(f"{point}=eio@{at}")
        try:
            work()
        except StorageError:
            assert not (any_world.root / ".syncing").exists()
        failpoints.arm("")
        any_world.sync()
        any_world.assert_in_step()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("killed", ["make", "change", "rename", "mode"])
def test_a_kill_before_any_step_is_repaired_by_the_next_sync(mode: Mode, killed: str) -> None:
    survived = False
    step = 0
    while not survived:
        step += 1
        with tempfile.TemporaryDirectory(dir=SCRATCH) as base:
            world = World(Path(base), mode=mode, file=Path(base) / "ledger.json")
            for stage, work in stages(world):
                if stage == killed:
                    survived = survives(work, step)
                    world.reload_ledger()
                    intents = len(world.ledger.open_intents())
                    recovered = apply_plan.recover(world.root, world.ledger)
                    assert recovered.settled + recovered.forgotten == intents
                    assert not (world.root / ".syncing").exists()
                else:
                    work()
                world.sync()
                world.assert_in_step()
                if stage == killed:
                    break
    assert step > 10


@pytest.mark.parametrize("point", POINTS)
def test_the_failpoints_stand_where_they_say(any_world: World, point: str) -> None:
    any_world.original(1, b"003")
    failpoints.arm(f"{point}=eio@1")
    with pytest.raises(StorageError):
        any_world.sync()
    made = point in ("links.renamed", "links.done")
    assert set(any_world.entries()) == ({b"003/a.jpg"} if made else set())
    (row,) = any_world.ledger.all_rows()
    assert row.state == ("done" if point == "links.done" else "intent")


def test_a_plan_after_a_crash_counts_what_was_made(any_world: World) -> None:
    for image in range(3):
        any_world.original(image, b"003", f"pics/{image}.jpg")
    failpoints.arm("links.renamed=eio@2")
    with pytest.raises(StorageError):
        any_world.sync()
    failpoints.arm("")
    plan = any_world.plan()
    assert (plan.kept, len(plan.make), len(plan.drop)) == (2, 1, 1)
    assert any_world.check().links == 2
    any_world.sync()
    any_world.assert_in_step()


def test_recovery_leaves_no_empty_folder_of_ours(any_world: World) -> None:
    any_world.original(1, b"003")
    any_world.sync()
    any_world.folders[1] = b"004"
    any_world.sync()
    any_world.original(2, b"005", "pics/b.jpg")
    failpoints.arm("links.intent=eio@1")
    with pytest.raises(StorageError):
        any_world.sync()
    failpoints.arm("")
    (any_world.root / "005").mkdir()
    recovered = apply_plan.recover(any_world.root, any_world.ledger)
    assert (recovered.settled, recovered.forgotten) == (0, 1)
    assert [path.name for path in any_world.root.iterdir()] == ["004"]


def test_recovery_of_a_move_forgets_where_it_came_from(any_world: World) -> None:
    any_world.original(1, b"003")
    any_world.sync()
    failpoints.arm("links.renamed=eio@1")
    with pytest.raises(StorageError):
        apply_plan.rename_folder(b"003", b"004", any_world.root, any_world.ledger)
    failpoints.arm("")
    assert apply_plan.recover(any_world.root, any_world.ledger).settled == 1
    any_world.folders[1] = b"004"
    any_world.assert_in_step()


def test_a_foreign_file_at_an_open_intent_is_not_ours(any_world: World) -> None:
    any_world.original(1, b"003")
    failpoints.arm("links.intent=eio@1")
    with pytest.raises(StorageError):
        any_world.sync()
    failpoints.arm("")
    (any_world.root / "003").mkdir()
    (any_world.root / "003" / "a.jpg").write_text("mine")
    any_world.sync()
    any_world.assert_in_step({b"003/a.jpg": any_world.fingerprint(b"003/a.jpg")})


_IMAGES = st.integers(0, 5)
_FOLDERS = st.sampled_from([b"000", b"001", b"002-cats"])
_NAMES = st.sampled_from([b"a.jpg", b"b.jpg", b"a~1.jpg", b"\xff.jpg", b".hidden"])
_ACTIONS = st.one_of(
    st.tuples(st.just("want"), _IMAGES, _FOLDERS),
    st.tuples(st.just("gone"), _IMAGES),
    st.tuples(st.just("rename"), _IMAGES, _NAMES),
    st.tuples(st.just("drop"), _FOLDERS, _NAMES),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("edit"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("aside"), _FOLDERS),
    st.tuples(st.just("name"), _FOLDERS, _FOLDERS),
    st.tuples(st.just("sync")),
    st.tuples(st.just("crash"), st.integers(1, 40)),
)


class Person:
    """Does to a world what people do, and remembers what is theirs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.foreign: dict[bytes, str] = {}
        self.clock = 0

    def act(self, action: tuple[Any, ...]) -> None:
        getattr(self, action[0])(*action[1:])

    def want(self, image: int, folder: bytes) -> None:
        if image in self.world.folders:
            self.world.folders[image] = folder
        else:
            self.world.original(image, folder, f"pics/{image}/{'ab'[image % 2]}.jpg")

    def gone(self, image: int) -> None:
        if image in self.world.folders:
            del self.world.folders[image]
            self.world.originals[image].unlink()

    def rename(self, image: int, name: bytes) -> None:
        if image in self.world.folders:
            path = self.world.originals[image]
            self.world.originals[image] = path.rename(path.with_name(os.fsdecode(name)))

    def drop(self, folder: bytes, name: bytes) -> None:
        path = os.path.join(os.fsencode(self.world.root), folder, name)
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(b"a person's own, number %d" % len(self.foreign))
            self._remember(os.path.join(folder, name))

    def delete(self, which: int) -> None:
        if path := self._one_of_ours(which):
            os.unlink(os.path.join(os.fsencode(self.world.root), path))

    def edit(self, which: int, as_link: bool) -> None:
        if path := self._one_of_ours(which):
            full = os.path.join(os.fsencode(self.world.root), path)
            os.unlink(full)
            if as_link:
                os.symlink(b"/a/person/knows/where/number/%d" % which, full)
            else:
                with open(full, "wb") as file:
                    file.write(b"edited by a person, number %d" % which)
            self._remember(path)

    def aside(self, folder: bytes) -> None:
        self.clock += 1
        new = b"aside %d" % self.clock
        top = os.fsencode(self.world.root)
        if os.path.isdir(os.path.join(top, folder)):
            os.rename(os.path.join(top, folder), os.path.join(top, new))
            for path in [p for p in self.foreign if p.startswith(folder + b"/")]:
                del self.foreign[path]
            for name in os.listdir(os.path.join(top, new)):
                self._remember(os.path.join(new, name))
            if not os.listdir(os.path.join(top, new)):
                os.rmdir(os.path.join(top, new))

    def name(self, old: bytes, new: bytes) -> None:
        apply_plan.rename_folder(old, new, self.world.root, self.world.ledger)
        self.world.folders = {
            image: new if folder == old else folder for image, folder in self.world.folders.items()
        }

    def sync(self) -> None:
        self.world.sync()
        found = self.world.check()
        assert found.in_step
        assert set(found.foreign) == self.world.as_reported(self.foreign)
        self._assert()

    def crash(self, step: int) -> None:
        survives(self.world.sync, step)
        self.world.reload_ledger()

    def _one_of_ours(self, which: int) -> bytes | None:
        entries = self.world.entries().keys() - self.foreign.keys()
        # What a crash leaves in `.syncing` is nobody's but ours.
        ours = sorted(path for path in entries if not path.startswith(b".syncing/"))
        return ours[which % len(ours)] if ours else None

    def _remember(self, path: bytes) -> None:
        self.foreign[path] = self.world.fingerprint(path)

    def _assert(self) -> None:
        entries = self.world.entries().keys()
        assert {path: self.world.fingerprint(path) for path in self.foreign} == self.foreign
        ours = entries - self.foreign.keys()
        seen = {self.world.image_of(path): os.path.dirname(path) for path in ours}
        assert len(seen) == len(ours)
        assert seen == self.world.folders
        for image in self.world.folders:
            assert self.world.originals[image].read_bytes() == b"picture %d" % image
        assert {os.path.join(*key) for key in self.world.ledger.rows} == ours
        assert all(row.state == "done" for row in self.world.ledger.rows.values())
        assert self.world.plan().is_empty


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(actions=st.lists(_ACTIONS, min_size=3, max_size=25))
def test_any_life_ends_in_step(mode: Mode, actions: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as base:
        person = Person(World(Path(base), mode=mode, file=Path(base) / "ledger.json"))
        for action in actions:
            person.act(action)
        person.sync()
