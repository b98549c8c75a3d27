"""Small pictures: copies that the network does not see, whatever came when."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust.duplicates import pair_search
from imgclust.duplicates.neighbour_cache import Neighbourhood
from imgclust.duplicates.pair_search import Pairs
from imgclust.duplicates.pixel_check import Pictures, least_likeness, small_pairs
from imgclust.duplicates.thresholds import LIKE, Thresholds
from imgclust.index.vector_index import VectorIndex
from imgclust.progress import StopFlag

DIMS = 256
COUNT = 60
# Each third content is a photo, the next one its quarter, and the third another picture.
SHAPES = {key: [(320, 213, 1000), (80, 53, 100), (300, 200, 1000)][key % 3] for key in range(COUNT)}
COPIES = {(key, key + 1) for key in range(0, COUNT, 3)}


def photo(key: int) -> Image.Image:
    colours = np.random.default_rng(key).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(colours).resize((320, 213), Image.Resampling.BICUBIC)


def pictures(read: list[int]) -> Pictures:
    def look(key: int) -> bytes:
        read.append(key)
        shown = photo(key - 1 if key % 3 == 1 else key).resize(SHAPES[key][:2])
        file = io.BytesIO()
        shown.save(file, "PNG")
        return file.getvalue()

    return Pictures(look)


def vectors() -> np.ndarray:
    """Embeddings that have nothing to do with what the pictures show."""
    return np.random.default_rng(1).standard_normal((COUNT, DIMS)).astype(np.float32)


def look(
    index: VectorIndex, kept: Neighbourhood, read: list[int], *, stop: StopFlag | None = None
) -> set[tuple[int, int]]:
    near, _ = pair_search.search_pairs(
        index,
        kept,
        shapes=SHAPES,
        thresholds=Thresholds(0.9, 0.95, 0),
        pictures=pictures(read),
        progress=lambda *_: None,
        stop=stop or StopFlag(),
    )
    assert isinstance(near, Pairs)
    return {(one, other) for one, other in near.keys.tolist()}


@pytest.mark.parametrize("seed", range(4))
def test_copies_that_are_no_neighbours(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found in any order of arrival, with the file between; what has left is not."""
    monkeypatch.setattr(pair_search, "_NEIGHBOURS", 2)
    rng = np.random.default_rng(seed)
    rows, file, there = vectors(), tmp_path / "kept.bin", set[int]()
    away = rng.permutation(COUNT).tolist()
    index = VectorIndex(DIMS)
    for _ in range(10):
        come = [away.pop() for _ in range(min(len(away), int(rng.integers(1, 15))))]
        go = rng.permutation(sorted(there))[: int(rng.integers(0, 5))].tolist()
        index.add(come, rows[come].reshape(-1, DIMS))
        index.remove(go)
        there = (there | set(come)) - set(go)
        away = go + away
        keys = np.array(sorted(there), np.int64)
        kept = Neighbourhood.load(file, recipe="r", likeness=LIKE)
        kept = pair_search.updated_neighbourhood(kept, index, keys, stop=StopFlag())
        assert look(index, kept, []) == {pair for pair in COPIES if set(pair) <= there}
        kept.save(file, recipe="r", likeness=LIKE)


def test_thumbnails_are_read_once(tmp_path: Path) -> None:
    index, keys, file, read = VectorIndex(DIMS), np.arange(COUNT), tmp_path / "kept.bin", [0]
    index.add(keys, vectors())
    kept = Neighbourhood.of(keys)
    assert look(index, kept, read) == COPIES
    assert len(read) > COUNT / 2
    kept.save(file, recipe="r", likeness=LIKE)
    read.clear()
    assert look(index, Neighbourhood.load(file, recipe="r", likeness=LIKE), read) == COPIES
    assert read == []


def test_which_pairs_are_of_a_small_picture() -> None:
    sides = np.array(
        [[80, 53], [320, 213], [90, 60], [213, 320], [160, 106], [161, 107], [640, 427]]
    )
    rows = [[0, 1], [1, 0], [0, 2], [0, 3], [4, 1], [5, 1], [0, 6], [1, 6]]
    pairs = np.array(rows, np.int64)
    expected = [True, True, False, False, True, False, True, False]
    assert small_pairs(sides.astype(np.float64), pairs).tolist() == expected
    likeness = least_likeness(sides.astype(np.float64), pairs)
    assert (likeness < np.float32(LIKE)).tolist() == expected


def test_a_collection_without_small_pictures_reads_nothing_for_them() -> None:
    index, keys, read = VectorIndex(DIMS), np.arange(0, COUNT, 3), list[int]()
    index.add(keys, vectors()[keys])
    assert look(index, Neighbourhood.of(keys), read) == set()
    assert read == []
