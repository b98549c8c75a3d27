"""Added files and folders: roots of their own, that the scan checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest_world import World, holds, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def request(world: World, path: Path, root: Path) -> None:
    number = world.root(root, "added")
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), number)


def test_added_files_are_roots_of_their_own_that_the_scan_checks(world: World) -> None:
    away = world.folder / "away"
    away.mkdir()
    paths = [away / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
        request(world, path, path)
    (away / "not-asked-for.png").write_bytes(picture(9))
    result = world.once(scan=False)
    assert (result.seen, result.ingested) == (3, 3)
    assert not world.catalog.requests.oldest(10)
    paths[0].unlink()
    for _ in range(3):
        world.once()
    assert world.catalog.images.at(os.fsencode(paths[0])) is None
    assert world.catalog.images.count() == 2
    away.rename(world.folder / "elsewhere")
    for _ in range(4):
        assert len(world.once().held) == 2
    assert world.catalog.images.count() == 2


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_an_added_folder_that_is_lost_is_held(world: World, how: str) -> None:
    away = world.folder / "away"
    away.mkdir()
    for seed in range(3):
        (away / f"{seed}.png").write_bytes(picture(seed))
        request(world, away / f"{seed}.png", away)
    world.once(scan=False)
    away.rename(world.folder / "elsewhere")
    if how == "empty":
        away.mkdir()
    for _ in range(4):
        assert world.once().held == ((os.fsencode(away), f"the folder is {how}"),)
    assert world.catalog.images.count() == 3


def test_an_added_file_inside_a_watched_root_belongs_to_it(world: World) -> None:
    path = world.write("a.png", picture(1))
    request(world, path, path)
    world.once(scan=False)
    assert world.image(path).root == 1


def test_a_request_for_an_absent_file_is_answered(world: World) -> None:
    request(world, world.folder / "never.png", world.folder / "never.png")
    result = world.once(scan=False)
    assert (result.seen, result.ingested) == (0, 0), "there is no file to count"
    assert not world.catalog.requests.oldest(10)


def test_an_added_file_that_changes_is_found_by_the_scan(world: World, tmp_path: Path) -> None:
    path = tmp_path / "single.png"
    path.write_bytes(picture(1))
    root = world.root(path, "added")
    with world.catalog.transaction():
        world.catalog.requests.put(os.fsencode(path), root)
    assert world.once(scan=False).ingested == 1
    path.write_bytes(picture(2))
    assert world.once().ingested == 1
    assert holds(world, path, 2)
