"""Images whose files give no picture now stay, unless their bytes are others."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust.images.filestat import stat_of
from imgclust.images.reader import Died, Outcome, ReadFailed, Skipped, Unreadable, claim
from tests.ingest_world import World, holds, opened, picture


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from opened(tmp_path, monkeypatch)


def unreadable(path: bytes) -> Outcome:
    found = stat_of(path)
    assert found is not None
    with open(path, "rb") as file:
        sha256 = hashlib.sha256(file.read()).digest()
    return Unreadable(path, found, sha256, "it cannot be decoded here")


def too_large(path: bytes) -> Outcome:
    return claim(path, thumbnail_px=0, size_cap_bytes=10)


def too_many_pixels(path: bytes) -> Outcome:
    return claim(path, thumbnail_px=0, pixel_cap=10)


def skipped(path: bytes) -> Outcome:
    found = stat_of(path)
    assert found is not None
    return Skipped(path, found, ".nef", raw=True)


def died(path: bytes) -> Outcome:
    return Died(path, stat_of(path), "the decode worker was killed")


def eio(path: bytes) -> Outcome:
    return ReadFailed(path, "the system reports: input/output error")


def fault(path: bytes) -> Outcome:
    raise ZeroDivisionError


ALL = [unreadable, too_large, too_many_pixels, skipped, died, eio, fault]
Fails = Callable[[bytes], Outcome]


def failing(world: World, path: Path, fails: Fails) -> None:
    bad = os.fsencode(path)
    world.decoder.instead = lambda one: fails(one) if one == bad else None


@pytest.mark.parametrize("fails", ALL)
@pytest.mark.parametrize("touched", ["time", "rewritten"])
def test_it_stays_and_that_is_said(world: World, fails: Fails, touched: str) -> None:
    paths = world.pictures(4)
    world.once()
    before = world.image(paths[0])
    if touched == "time":
        os.utime(paths[0], (1, 1))
    else:
        (world.drop / "new.part").write_bytes(paths[0].read_bytes())
        os.replace(world.drop / "new.part", paths[0])
    failing(world, paths[0], fails)
    result = world.once()
    assert (result.unchanged, result.quarantined, result.skipped) == (4, 0, 0)
    (said,) = world.kinds("trouble")
    assert said.path == os.fsencode(paths[0])
    assert said.sentence.endswith("; its image stays")
    for _ in range(3):
        assert world.once().unchanged == 4
    assert (world.image(paths[0]).id, world.image(paths[0]).state) == (before.id, "present")
    assert world.catalog.observations.quarantined() == []
    world.decoder.instead = lambda path: None
    world.once()
    assert world.image(paths[0]).id == before.id
    paths[0].write_bytes(picture(50))
    world.once()
    assert world.image(paths[0]).id == before.id
    assert holds(world, paths[0], 50)


@pytest.mark.parametrize("fails", ALL)
def test_other_bytes_that_give_no_picture_are_set_aside(world: World, fails: Fails) -> None:
    paths = world.pictures(4)
    world.once()
    size = paths[0].stat().st_size
    paths[0].write_bytes((picture(60) + bytes(size))[:size])
    failing(world, paths[0], fails)
    world.once()
    stays = fails is eio  # nobody can tell
    assert (world.catalog.images.at(os.fsencode(paths[0])) is not None) == stays
    expected = "done" if stays else "skipped" if fails is skipped else "quarantined"
    assert world.state(paths[0]) == expected


def test_what_cannot_be_read_is_read_when_it_can_be_again(world: World) -> None:
    """Its stat does not change when a disk works again."""
    paths = world.pictures(4)
    world.once()
    before = world.image(paths[1]).id
    paths[1].write_bytes(picture(70))
    failing(world, paths[1], eio)
    world.once()
    assert not holds(world, paths[1], 70)
    world.decoder.instead = lambda path: None
    world.once()
    assert holds(world, paths[1], 70)
    assert world.image(paths[1]).id == before
    world.once()
    assert world.decoder.claimed == []


def test_it_is_said_once_by_a_watcher(world: World) -> None:
    paths = world.pictures(3)
    world.once()
    os.utime(paths[0], (1, 1))
    failing(world, paths[0], eio)
    ends = 0

    def third_scan(event: object) -> bool:
        nonlocal ends
        ends += getattr(event, "kind", "") == "scanned"
        world.clock.now += 400.0 if getattr(event, "kind", "") == "kept" else 0.0
        return ends > 3

    world.watch(third_scan)
    assert len(world.kinds("trouble")) == 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOTCONN, errno.EREMOTEIO, errno.EPERM])
@pytest.mark.parametrize("call", ["open", "read"])
def test_whatever_the_system_reports(
    world: World, monkeypatch: pytest.MonkeyPatch, error: int, call: str
) -> None:
    paths = world.pictures(3)
    world.once()
    before = world.image(paths[0]).id
    os.utime(paths[0], (1, 1))
    bad = os.fsencode(paths[0])
    real_open, real_read = os.open, os.read
    opened_now: set[int] = set()

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == bad and call == "open":
            raise OSError(error, os.strerror(error))
        found = real_open(path, *args, **kwargs)
        if path == bad:
            opened_now.add(found)
        return found

    def refuse_read(descriptor: int, size: int) -> bytes:
        if descriptor in opened_now:
            raise OSError(error, os.strerror(error))
        return real_read(descriptor, size)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "read", refuse_read)
    world.once()
    monkeypatch.undo()
    assert world.image(paths[0]).id == before
    assert world.image(paths[0]).state == "present"
