"""Duplicates: groups without chains, copies found among others, thresholds kept by recipe."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust.collection import (
    Collection,
    DuplicatesResult,
    Thresholds,
    duplicates,
    images,
)
from imgclust.duplicates import pair_search
from imgclust.duplicates.neighbour_cache import Neighbourhood
from imgclust.duplicates.pair_search import Pairs, grouped
from imgclust.duplicates.pixel_check import Pictures
from imgclust.duplicates.thresholds import LIKE, MEASURED
from imgclust.errors import NothingThereError, StoppedError, UsageError
from imgclust.images.pixel_similarity import cells
from imgclust.index.vector_index import RowSearch, VectorIndex
from imgclust.progress import Progress, StopFlag, silent
from tests.conftest import Open, inside, write_picture
from tests.fakes import FakeEmbedder


def pairs(*rows: tuple[int, int, float]) -> Pairs:
    return Pairs(
        np.array([row[:2] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float32),
    )


# Groups


def test_members_pass_against_the_best_copy_and_not_through_each_other() -> None:
    order = {1: (-300,), 2: (-200,), 3: (-100,), 4: (-50,)}
    # 1-2-3-4 is a chain: 3 and 4 do not pass against 1
    chain = pairs((1, 2, 0.9375), (2, 3, 0.9375), (3, 4, 0.9375))
    assert grouped(chain, order) == [[(1, 1.0), (2, 0.9375)], [(3, 1.0), (4, 0.9375)]]


def test_the_best_copy_is_first_and_the_others_by_score() -> None:
    order = {1: (-10, -5), 2: (-10, -9), 3: (-7, -99)}
    found = grouped(pairs((1, 2, 0.5), (1, 3, 0.5), (2, 3, 0.75)), order)
    assert found == [[(2, 1.0), (3, 0.75), (1, 0.5)]]
    assert grouped(pairs((1, 2, 0.5)), order, without=[2]) == []


def test_pairs_of_parts_are_there_once() -> None:
    both = Pairs.of([pairs((2, 1, 0.5)), pairs((1, 2, 0.5), (1, 3, 0.25))])
    assert both.keys.tolist() == [[1, 2], [1, 3]]
    assert len(Pairs.of([])) == 0


def test_row_search_is_exact() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    found = RowSearch(rows).nearest(rows[:9], 5)
    distances = np.linalg.norm(rows[:9, None].astype(np.float64) - rows[None], axis=2)
    assert (found == np.argsort(distances, axis=1)[:, :5]).all()
    assert RowSearch(rows[:3]).nearest(rows[:1], 5).shape == (1, 3)


def test_row_search_in_parts_finds_copies() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 16)).astype(np.float32)
    rows[1500:] = rows[:1500] + rng.normal(0, 0.01, (1500, 16)).astype(np.float32)
    found = RowSearch(rows, parts=100).nearest(rows, 2)
    assert (found[:, 0] == np.arange(3000)).all()
    assert (found[:, 1] == (np.arange(3000) + 1500) % 3000).mean() > 0.999


def test_pictures_are_read_once_and_held_against_each_other() -> None:
    rng = np.random.default_rng(0)
    shown = {key: png(rng.integers(0, 256, (32, 32, 3), np.uint8)) for key in range(6)}
    shown[3] = shown[0]
    read: list[int] = []

    def look(key: int) -> bytes | None:
        read.append(key)
        return shown.get(key)

    pictures = Pictures(look)
    some, others = np.array([0, 0, 1, 9, 2]), np.array([3, 1, 2, 0, 2])
    for _ in range(2):
        found = pictures.alike(some, others, least=0.9, stop=StopFlag())
        assert found.tolist() == [True, False, False, False, True]
    assert sorted(read) == [0, 1, 2, 3, 9]
    assert pictures.unseen == {9}
    nothing = Pictures(lambda key: None)
    assert not nothing.alike(some, others, least=0.9, stop=StopFlag()).any()
    assert nothing.unseen == {0, 1, 2, 3, 9}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# What is remembered

DIMS = 512
SHAPES = dict.fromkeys(range(200), (40, 30, 100))
LOOSE = Thresholds(0.8, 0.9, 0)


def crowd(count: int = 90) -> np.ndarray:
    """Vectors in bunches, each far from the others.

    Many dimensions: half precision, in which the index keeps them, must not change an order.
    """
    rng = np.random.default_rng(5)
    bunches = rng.standard_normal((count // 5, DIMS))
    noise = rng.uniform(0.05, 0.5, (count, 1)) * rng.standard_normal((count, DIMS))
    return (bunches[rng.integers(0, len(bunches), count)] + noise).astype(np.float32)


def album(read: list[int]) -> Pictures:
    """Pictures of which every third content has another one than the rest."""

    def look(key: int) -> bytes:
        read.append(key)
        return png(np.random.default_rng(key % 3 == 0).integers(0, 256, (32, 32, 3), np.uint8))

    return Pictures(look)


def looked(
    index: VectorIndex,
    kept: Neighbourhood,
    read: list[int],
    *,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> tuple[Pairs, Pairs]:
    return pair_search.search_pairs(
        index,
        kept,
        shapes=SHAPES,
        thresholds=LOOSE,
        pictures=album(read),
        progress=progress,
        stop=stop or StopFlag(),
    )


def listed(pairs: Pairs) -> dict[tuple[int, int], float]:
    keys = map(tuple, pairs.keys.tolist())
    return dict(zip(keys, pairs.scores.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_does_not_depend_on_what_came_when(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents come and go in any order, the file between; as one run over those that are left."""
    monkeypatch.setattr(pair_search, "_NEIGHBOURS", 3)
    monkeypatch.setattr(pair_search, "_FEW", 0.3)
    rng = np.random.default_rng(seed)
    vectors, file = crowd(), tmp_path / "kept.bin"
    index = VectorIndex(DIMS)
    there: set[int] = set()
    away = list(rng.permutation(len(vectors)).tolist())
    for _ in range(12):
        come = [away.pop() for _ in range(min(len(away), int(rng.integers(0, 20))))]
        go = rng.permutation(sorted(there))[: int(rng.integers(0, 6))].tolist()
        index.add(come, vectors[come].reshape(-1, DIMS))
        index.remove(go)
        there = (there | set(come)) - set(go)
        away = go + away
        keys = np.array(sorted(there), np.int64)
        kept = Neighbourhood.load(file, recipe="r", likeness=LIKE)
        kept = pair_search.updated_neighbourhood(kept, index, keys, stop=StopFlag())
        found = looked(index, kept, [])
        kept.save(file, recipe="r", likeness=LIKE)
        anew = looked(index, Neighbourhood.of(keys), [])
        for some, others in zip(found, anew, strict=True):
            assert some.keys.tolist() == others.keys.tolist()
            assert some.scores == pytest.approx(others.scores)
    assert len(listed(found[0])) > 20


def test_nothing_is_looked_at_twice(tmp_path: Path) -> None:
    vectors, file, read = crowd(), tmp_path / "kept.bin", list[int]()
    index = VectorIndex(DIMS)
    index.add(np.arange(85), vectors[:85])
    kept = pair_search.updated_neighbourhood(
        Neighbourhood.load(file, recipe="r", likeness=LIKE), index, np.arange(85), stop=StopFlag()
    )
    first = looked(index, kept, read)
    assert len(read) > 40
    kept.save(file, recipe="r", likeness=LIKE)
    for recipe, likeness, contents in (("r", LIKE, 85), ("s", LIKE, 0), ("r", 0.5, 0)):
        again = Neighbourhood.load(file, recipe=recipe, likeness=likeness)
        assert len(again.keys) == contents
    kept = Neighbourhood.load(file, recipe="r", likeness=LIKE)
    read.clear()
    assert listed(looked(index, kept, read)[0]) == listed(first[0])
    assert read == []
    index.add([85, 86], vectors[85:87])
    kept = pair_search.updated_neighbourhood(kept, index, np.arange(87), stop=StopFlag())
    looked(index, kept, read)
    assert 0 < len(read) < 20


def test_a_copy_is_found_through_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 and 4 are no neighbours of each other: other pictures are nearer to both."""
    monkeypatch.setattr(pair_search, "_NEIGHBOURS", 2)
    degrees = {1: 0.0, 2: 2.0, 4: 4.1, 3: -1.0, 6: 5.0}
    vectors = np.zeros((5, DIMS), np.float32)
    angles = np.radians(np.array([degrees[key] for key in sorted(degrees)]))
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    index = VectorIndex(DIMS)
    index.add(sorted(degrees), vectors)
    kept = Neighbourhood.of(np.array(sorted(degrees)))
    near, _ = looked(index, kept, [])
    neighbours = {tuple(kept.keys[pair]) for pair in kept.pairs()[0]}
    assert (1, 4) not in neighbours
    assert listed(near).keys() == {(1, 2), (2, 4), (1, 4)}
    assert listed(near)[1, 4] == pytest.approx(np.cos(np.radians(4.1)), abs=1e-3)


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    file = tmp_path / "kept.bin"
    Neighbourhood.of(np.arange(50)).save(file, recipe="r", likeness=LIKE)
    whole = bytearray(file.read_bytes())
    assert len(Neighbourhood.load(file, recipe="r", likeness=LIKE).keys) == 50
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged[: rng.integers(len(damaged)) if rng.random() < 0.3 else None])
        found = Neighbourhood.load(file, recipe="r", likeness=LIKE)
        assert found.keys.tolist() in ([], list(range(50)))
        assert len(found.asked) == len(found.keys)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.bin"]


def test_an_interruption_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_search, "_BLOCK", 10)
    vectors, read = crowd(), list[int]()
    index = VectorIndex(DIMS)
    index.add(np.arange(90), vectors)
    kept = Neighbourhood.of(np.arange(90))
    stop = StopFlag()

    def progress(step: str, done: int, total: int | None) -> None:
        if done >= 40:
            stop.set()

    with pytest.raises(StoppedError):
        looked(index, kept, read, progress=progress, stop=stop)
    assert 0 < np.count_nonzero(kept.asked) < 90
    found = looked(
        index, pair_search.updated_neighbourhood(kept, index, np.arange(90), stop=StopFlag()), read
    )
    assert listed(found[0]) == listed(looked(index, Neighbourhood.of(np.arange(90)), [])[0])


def test_an_interruption_keeps_what_was_judged_before(tmp_path: Path) -> None:
    vectors, file, read = crowd(), tmp_path / "kept.bin", list[int]()
    index = VectorIndex(DIMS)
    index.add(np.arange(60), vectors[:60])
    kept = pair_search.updated_neighbourhood(
        Neighbourhood.load(file, recipe="r", likeness=LIKE), index, np.arange(60), stop=StopFlag()
    )
    looked(index, kept, [])
    kept.save(file, recipe="r", likeness=LIKE)
    assert len(kept.judged) > 20
    index.add(np.arange(60, 90), vectors[60:])  # so many that all are looked up again
    keys, stop = np.arange(90), StopFlag()
    again = Neighbourhood.load(file, recipe="r", likeness=LIKE)
    again = pair_search.updated_neighbourhood(again, index, keys, stop=stop)
    stop.set()
    with pytest.raises(StoppedError):
        looked(index, again, read, stop=stop)
    again.save(file, recipe="r", likeness=LIKE)
    assert read == []
    after = Neighbourhood.load(file, recipe="r", likeness=LIKE)
    assert after.judged.tolist() == kept.judged.tolist()
    found = looked(
        index, pair_search.updated_neighbourhood(after, index, keys, stop=StopFlag()), read
    )
    anew: list[int] = []
    assert listed(found[0]) == listed(looked(index, Neighbourhood.of(keys), anew)[0])
    assert len(read) < len(anew)


def test_a_file_of_another_version_is_as_none(tmp_path: Path) -> None:
    file = tmp_path / "kept.bin"
    for fields in ({"other": np.arange(3)}, {"made_by": np.array(["1", "r", repr(LIKE)])}):
        content = io.BytesIO()
        np.savez(content, **fields)
        checksum = zlib.crc32(content.getvalue()).to_bytes(4, "little")
        file.write_bytes(checksum + content.getvalue())
        assert not len(Neighbourhood.load(file, recipe="r", likeness=LIKE).keys)


# In a collection


@pytest.fixture
def copied(drop: Path) -> Path:
    """`drop` with an exact copy, a halved JPEG, a WebP and a crop of picture 0."""
    first = drop / "picture-00.png"
    picture = Image.open(first)
    big = picture.resize((320, 240))
    big.save(drop / "large.png")
    shutil.copy(drop / "large.png", drop / "exact.png")
    big.resize((160, 120)).save(drop / "half.jpg", quality=85)
    big.save(drop / "again.webp", quality=80)
    big.crop((40, 30, 320, 240)).save(drop / "crop.png")
    return drop


def names(found: DuplicatesResult, which: str = "groups") -> list[tuple[str, list[str]]]:
    return [
        (group.kind, [os.path.basename(os.fsdecode(one.path)) for one in group.images])
        for group in getattr(found, which)
    ]


def ingested(open_collection: Open, **options: object) -> Collection:
    one = open_collection(**options)
    one.watch([one.folders.root.parent.parent / "drop"], once=True, cluster=False)
    return one


def test_exact_and_near_copies(open_collection: Open, copied: Path) -> None:
    one = ingested(open_collection)
    found = one.duplicates()
    (group,) = found.groups
    relations = {os.path.basename(os.fsdecode(one.path)): one.relation for one in group.images}
    assert group.kind == "near"
    assert relations == {
        "picture-00.png": "best",  # the others were made from it, and enlarged
        "exact.png": "near",
        "large.png": "near",
        "again.webp": "near",
        "half.jpg": "near",
    }
    assert (group.images[0].score, group.reason) == (1.0, "enlarged")
    assert found.thresholds == MEASURED
    assert (found.images, found.unseen) == (29, 0)


def test_a_crop_is_similar_and_no_duplicate(
    open_collection: Open, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "known", lambda *_, **__: Thresholds(0.2, 0.2, 0))
    found = ingested(open_collection).duplicates()
    assert not any("crop.png" in group for _, group in names(found))
    assert any("crop.png" in group for _, group in names(found, "similar"))


def test_the_same_without_thumbnails(open_collection: Open, copied: Path) -> None:
    one = ingested(open_collection, flags={"decode.thumbnails": False})
    assert len(names(one.duplicates())[0][1]) == 5
    assert not list(one.folders.thumbnails.rglob("*.webp"))


def test_many_copies_are_one_group(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More copies than candidates are asked for at first."""
    monkeypatch.setattr(pair_search, "_NEIGHBOURS", 2)
    big = Image.open(drop / "picture-00.png").resize((160, 120))
    for quality in range(50, 95, 5):
        big.save(drop / f"copy-{quality}.jpg", quality=quality)
    one = ingested(open_collection)
    assert [len(group) for _, group in names(one.duplicates())] == [10]


@pytest.mark.slow
def test_a_large_collection_gives_what_all_pairs_give(
    open_collection: Open, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fewer dimensions and in parts, against every pair of images held up to each other."""
    monkeypatch.setattr(pair_search, "_MANY", 8)
    monkeypatch.setattr(pair_search, "_FEWER_DIMS", 16)
    monkeypatch.setattr(pair_search, "_VERY_MANY", 8)
    one = ingested(open_collection)
    found = one.duplicates().groups
    keys, vectors = inside(one).catalog.contents.all_embeddings(one.recipe)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    looks = [cells(inside(one).thumbnail(int(key)) or b"") for key in keys]
    expected = {
        frozenset((int(keys[i]), int(keys[j])))
        for i in range(len(keys))
        for j in range(i)
        if unit[i] @ unit[j] >= MEASURED.near and concordance(looks[i], looks[j]) >= LIKE
    }
    content = {image.id: image.content for image in inside(one).catalog.images.all()}
    assert {
        frozenset((content[group.images[0].id], content[image.id]))
        for group in found
        for image in group.images
        if image.relation == "near"
    } <= expected
    assert frozenset(key for pair in expected for key in pair) == {
        content[image.id] for group in found if group.kind == "near" for image in group.images
    }


def concordance(one: np.ndarray, other: np.ndarray) -> float:
    """Lin's coefficient of three colours, damped, written out."""
    a, b = one.reshape(-1, 3).astype(float), other.reshape(-1, 3).astype(float)
    shared = ((a - a.mean(axis=0)) * (b - b.mean(axis=0))).mean()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).mean()
    spread = a.var(axis=0).mean() + b.var(axis=0).mean()
    return float((2 * shared + 32) / (spread + apart + 32))


def test_an_id_named_twice_dismisses_no_copies(open_collection: Open, copied: Path) -> None:
    one = open_collection()
    one.add([copied])
    ids = {
        os.path.basename(os.fsdecode(row.path)): row.id for row in inside(one).catalog.images.all()
    }
    one.dismiss_duplicates([ids["large.png"], ids["large.png"], ids["half.jpg"]])
    content = inside(one).catalog.images.get(ids["large.png"])
    assert content is not None
    assert (content.content, content.content) not in inside(one).catalog.dismissals.pairs()


def test_what_is_dismissed_is_remembered(open_collection: Open, copied: Path) -> None:
    one = ingested(open_collection)
    ids = {
        os.path.basename(os.fsdecode(image.path)): image.id
        for group in one.duplicates().groups
        for image in group.images
    }
    one.dismiss_duplicates([ids["large.png"], ids["exact.png"]])
    assert [len(group) for _, group in names(one.duplicates())] == [4]
    one.dismiss_duplicates([ids["picture-00.png"], ids["half.jpg"]])
    one.close()
    again = open_collection()
    assert not any(
        "half.jpg" in group and "picture-00.png" in group for _, group in names(again.duplicates())
    )
    dismissed = [ids[name] for name in ("large.png", "exact.png", "half.jpg", "picture-00.png")]
    again.dismiss_duplicates(dismissed, undo=True)
    assert [len(group) for _, group in names(again.duplicates())] == [5]
    with pytest.raises(NothingThereError, match="99"):
        again.dismiss_duplicates([1, 99])
    with pytest.raises(UsageError, match="two images"):
        again.dismiss_duplicates([1, 1])


def test_files_that_are_away_or_changed_are_left_out(open_collection: Open, copied: Path) -> None:
    one = ingested(open_collection)
    (copied / "exact.png").unlink()
    (copied / "large.png").write_bytes(b"something else by now")
    found = names(one.duplicates())
    assert [kind for kind, _ in found] == ["near"]
    assert found[0][1][0] == "picture-00.png"  # the best of those that are still there
    for thumbnail in one.folders.thumbnails.rglob("*.webp"):
        thumbnail.unlink()
    one.folders.neighbourhood.unlink()
    assert one.duplicates().unseen == 0  # what is left out is not told as unseen


def test_the_second_call_reads_no_picture(
    open_collection: Open, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ingested(open_collection)
    first = one.duplicates()
    one.close()
    again = open_collection()
    with monkeypatch.context() as patch:
        patch.setattr(images, "picture", lambda *_: pytest.fail("a picture is read"))
        patch.setattr(duplicates, "DecodePool", lambda **_: pytest.fail("a file is decoded"))
        written = again.folders.neighbourhood.stat().st_mtime_ns
        assert again.duplicates() == first
        assert again.folders.neighbourhood.stat().st_mtime_ns == written
    Image.open(copied / "large.png").save(copied / "later.webp", quality=60)
    again.watch([copied], once=True, cluster=False)
    assert "later.webp" in names(again.duplicates())[0][1]
    (copied / "again.webp").unlink()
    assert "again.webp" not in names(again.duplicates())[0][1]


def test_interruption(open_collection: Open, copied: Path) -> None:
    one = ingested(open_collection)
    inside(one).stop.set()
    with pytest.raises(StoppedError):
        one.duplicates()


# Thresholds


def test_another_recipe_is_calibrated_once(
    open_collection: Open, copied: Path, embedder: FakeEmbedder
) -> None:
    said: list[str] = []
    one = ingested(open_collection, flags={"embedding.raw": True}, say=said.append)
    before = sum(embedder.calls)
    found = one.duplicates()
    assert any("measured once" in line for line in said)
    contents = inside(one).catalog.contents.count()
    assert sum(embedder.calls) == before + 3 * contents
    # Copies of these pictures score 0.999, the stand-in sees little else than mean colours.
    assert 0.95 < found.thresholds.near < 1
    assert found.thresholds.near <= found.thresholds.similar < 1
    assert found.thresholds.images == contents
    assert [kind for kind, _ in names(found)] == ["near"]
    assert one.duplicates() == found
    assert sum(embedder.calls) == before + 3 * contents


def test_too_few_images_to_calibrate(open_collection: Open, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "one.png", 1)
    one = ingested(open_collection, flags={"embedding.raw": True})
    with pytest.raises(NothingThereError, match="--min-score"):
        one.duplicates()
    assert one.duplicates(min_score=0.9).thresholds == Thresholds(0.9, 0.9, 0)
    with pytest.raises(UsageError, match="cosine"):
        one.duplicates(min_score=1.5)


@pytest.mark.slow
def test_copies_of_photos_with_the_real_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    path = Path(__file__).parents[1] / "scripts" / "bench_duplicates.py"
    spec = importlib.util.spec_from_file_location("bench_duplicates", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = bench  # dataclasses look their module up there
    spec.loader.exec_module(bench)
    figures = bench.measure(tmp_path, photos=16)
    score = next(one for one in figures.scores if (one.method, one.half) == ("imgclust", "all"))
    assert score.negatives > 600
    assert score.precision >= 0.99
    assert score.recall >= 0.98
    assert figures.strangers == 0


def test_names_of_one_file_are_one_image_in_groups(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    write_picture(drop / "a.png", 1)
    write_picture(drop / "other.png", 2, hue=1)
    os.link(drop / "a.png", drop / "b.png")
    alone = ingested(open_collection).duplicates()
    assert ([group for group in alone.groups if group.kind == "exact"], alone.hard_links) == ([], 1)
    shutil.copy(drop / "a.png", drop / "c.png")
    found = ingested(open_collection).duplicates()
    (group,) = (group for group in found.groups if group.kind == "exact")
    first, copy = group.images
    assert {Path(os.fsdecode(first.path)).name, Path(os.fsdecode(copy.path)).name} == {
        "a.png",
        "c.png",
    }
    assert (first.hard_links, first.freed) == ((bytes(drop / "b.png"),), 0)
    assert (copy.hard_links, copy.freed) == ((), copy.bytes)
