"""What a process keeps from one query to the next: its workers are replaced when they fail."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from imgclust.collection.query_cache import QueryCache
from imgclust.config import Decode
from imgclust.images.pixel_similarity import cells, outlines
from imgclust.images.pool import DecodePool
from tests.conftest import write_picture

WAIT_S = 60.0
POOLS: dict[str, Callable[[QueryCache], DecodePool]] = {
    "whole pictures": lambda cache: cache.pool(Decode()),
    "small pictures": QueryCache.start,
}


def answer(pool: DecodePool, path: Path) -> object:
    future: Future[object] = Future()
    pool.submit(os.fsencode(path), future.set_result)
    return future.result(WAIT_S)


@pytest.mark.parametrize("kind", POOLS)
def test_workers_that_did_not_start_are_replaced(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = write_picture(tmp_path / "one.png", 1)
    with contextlib.closing(QueryCache()) as cache:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        first = POOLS[kind](cache)
        for _ in range(50):
            if first.broken:
                break
            answer(first, picture)
        assert first.broken
        monkeypatch.undo()
        second = POOLS[kind](cache)
        assert second is not first
        answer(second, picture)
        assert not second.broken
        assert POOLS[kind](cache) is second


def test_outlines_are_read_again_after_workers_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [write_picture(tmp_path / f"{number}.png", number) for number in range(5)]
    names = [os.fsencode(picture) for picture in pictures]
    with contextlib.closing(QueryCache()) as cache:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        first = cache.start()
        for _ in range(50):
            if first.broken:
                break
            assert cache.outlines(names) == {}
        assert first.broken
        monkeypatch.undo()
        found = cache.outlines(names)
    expected = outlines(np.stack([cells(picture.read_bytes()) for picture in pictures]))
    assert sorted(found) == list(range(5))
    assert np.array_equal(np.stack([found[place] for place in range(5)]), expected)
