"""The index: answers against brute force, and a file that notices every damage."""

from __future__ import annotations

import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import types
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imgclust import devices, failpoints
from imgclust.errors import (
    EmbeddingError,
    IndexFileError,
    NothingThereError,
    StorageError,
    UsageError,
)
from imgclust.index.index_file import FORMAT_VERSION, check, header_of, set_aside
from imgclust.index.vector_index import GpuCopy, RowSearch, VectorIndex

RECIPE = "inceptionv3/trunk/float"
Vectors = NDArray[np.float32]


def some_vectors(count: int, dimensions: int, seed: int = 0) -> Vectors:
    made: Vectors = np.random.default_rng(seed).standard_normal((count, dimensions), np.float32)
    return made * 3.5


def brute_force(stored: dict[int, Vectors], query: Vectors, n: int) -> list[tuple[int, float]]:
    """Cosine by its definition, in float64, best first, ties by key."""
    scored = [
        (key, float(np.dot(v.astype(float), query.astype(float))))
        for key, v in (
            (key, v / np.sqrt((v.astype(float) ** 2).sum())) for key, v in stored.items()
        )
    ]
    length = float(np.sqrt((query.astype(float) ** 2).sum()))
    return sorted(((k, s / length) for k, s in scored), key=lambda pair: (-pair[1], pair[0]))[:n]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_search_agrees_with_brute_force() -> None:
    vectors = some_vectors(300, 24)
    keys = np.random.default_rng(1).choice(2**62, 300, replace=False)
    index = VectorIndex(24)
    index.add(keys[:200], vectors[:200])
    index.add(keys[200:], vectors[200:])
    stored = dict(zip(keys.tolist(), vectors, strict=True))
    queries = some_vectors(7, 24, seed=2)
    found = index.search(queries, 10)
    assert found.scores.dtype == np.float32
    assert found.keys.dtype == np.int64
    for row, query in enumerate(queries):
        expected = brute_force(stored, query, 10)
        assert found.keys[row].tolist() == [key for key, _ in expected]
        assert found.scores[row] == pytest.approx([score for _, score in expected], abs=1e-3)


@pytest.mark.parametrize("dimensions", [768, 2048])
def test_an_identical_vector_scores_one(dimensions: int) -> None:
    # Square roots of non-negative numbers, as the recipes make them.
    vectors = np.sqrt(np.abs(some_vectors(50, dimensions)))
    index = VectorIndex(dimensions)
    index.add(np.arange(50), vectors)
    found = index.search(vectors * 1000, 1)
    assert found.keys[:, 0].tolist() == list(range(50))
    assert found.scores[:, 0] == pytest.approx(np.ones(50), abs=1e-3)
    assert found.scores.max() <= 1.0


def test_known_cosines() -> None:
    index = VectorIndex(2)
    index.add([1, 2, 3, 4], [[2.0, 0.0], [3.0, 3.0], [0.0, 0.1], [-5.0, 0.0]])
    found = index.search([7.0, 0.0], 6)
    assert found.keys.tolist() == [[1, 2, 3, 4, -1, -1]]
    assert found.scores[0, :4] == pytest.approx([1, 2**-0.5, 0, -1], abs=1e-3)
    assert np.isneginf(found.scores[0, 4:]).all()


def test_ties_come_by_key_even_at_the_cut() -> None:
    index = VectorIndex(3)
    keys = [900, 5, 70, 12, 3000, 8]
    index.add(keys, [[1.0, 1.0, 0.0]] * 6)
    index.add([1], [[0.0, 0.0, 1.0]])
    found = index.search([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], 3)
    assert found.keys.tolist() == [[5, 8, 12], [1, 5, 8]]


def test_empty_index_and_no_neighbours() -> None:
    index = VectorIndex(4)
    assert len(index) == 0
    assert index.search(some_vectors(2, 4), 3).keys.tolist() == [[-1] * 3] * 2
    assert index.search(np.empty((0, 4)), 3).keys.shape == (0, 3)
    index.add([3], some_vectors(1, 4))
    assert index.search(some_vectors(2, 4), 0).keys.shape == (2, 0)
    index.add([], np.empty((0, 4)))
    assert index.remove([]) == 0
    assert index.keys().tolist() == [3]
    assert 3 in index
    assert 4 not in index


def test_extreme_lengths_and_zeros() -> None:
    index = VectorIndex(2)
    index.add([1, 2, 3], [[3e38, 3e38], [1e-40, 0.0], [0.0, 0.0]])
    found = index.search([[1.0, 0.0]], 3)
    assert found.keys.tolist() == [[2, 1, 3]]
    assert found.scores[0] == pytest.approx([1, 2**-0.5, 0], abs=1e-3)


@pytest.mark.parametrize(
    "vectors", [np.ones((1, 5)), np.ones((2, 4)), np.array([[1, 2, np.nan, 4]]), [[1, 2, 1e300, 4]]]
)
def test_what_is_no_embedding_is_refused_whole(vectors: Any) -> None:
    index = VectorIndex(4)
    with pytest.raises(EmbeddingError):
        index.add([1], vectors)
    assert len(index) == 0
    assert index.search(np.ones(4), 1).keys.tolist() == [[-1]]


def test_reconstruct() -> None:
    index = VectorIndex(2)
    index.add([10, 20], [[3.0, 4.0], [0.0, -2.0]])
    back = index.reconstruct([20, 10, 20])
    assert back.dtype == np.float32
    assert back == pytest.approx(np.array([[0, -1], [0.6, 0.8], [0, -1]]), abs=1e-3)
    with pytest.raises(NothingThereError, match="30"):
        index.reconstruct([10, 30])


def test_the_last_of_a_key_given_twice_counts() -> None:
    index = VectorIndex(2)
    index.add([1, 1], [[1.0, 0.0], [0.0, 1.0]])
    assert len(index) == 1
    assert index.reconstruct([1]).tolist() == [[0.0, 1.0]]


changes = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "save"]),
        st.lists(st.integers(0, 12), max_size=5),
        st.integers(0, 2**31),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(changes)
def test_any_sequence_of_changes_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int], int]]
) -> None:
    path = tmp_path_factory.mktemp("index") / "index.faiss"
    index = VectorIndex(6)
    stored: dict[int, Vectors] = {}
    for what, keys, seed in steps:
        if what == "add":
            vectors = some_vectors(len(keys), 6, seed)
            index.add(keys, vectors.reshape(-1, 6))
            stored.update(zip(keys, vectors, strict=True))
        elif what == "remove":
            assert index.remove(keys) == len({key for key in keys if key in stored})
            for key in keys:
                stored.pop(key, None)
        else:
            index.save(path, recipe=RECIPE, sequence=seed)
            index, sequence = VectorIndex.load(path, recipe=RECIPE, dimensions=6, verify=True)
            assert sequence == seed
        assert sorted(index.keys().tolist()) == sorted(stored)
        query = some_vectors(1, 6, seed=7)[0]
        found = index.search(query, 5)
        expected = brute_force(stored, query, 5)
        assert found.scores[0, : len(expected)] == pytest.approx(
            [score for _, score in expected], abs=2e-3
        )
        for key, vector in stored.items():
            assert index.reconstruct([key])[0] == pytest.approx(
                vector / np.linalg.norm(vector), abs=1e-3
            )


# --- the file ---------------------------------------------------------------------------------


def saved(path: Path, count: int = 300, dimensions: int = 32) -> VectorIndex:
    index = VectorIndex(dimensions)
    index.add(np.arange(count) * 7 + 1, some_vectors(count, dimensions))
    index.save(path, recipe=RECIPE, sequence=42)
    return index


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgclust.index.index_file.BLOCK_BYTES", 1000)


def load(path: Path, *, verify: bool = False) -> VectorIndex:
    return VectorIndex.load(path, recipe=RECIPE, dimensions=32, verify=verify)[0]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 300])
def test_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    small_blocks(monkeypatch)  # 15 rows a block
    path = tmp_path / "index.faiss"
    index = saved(path, count)
    check(path)
    again, sequence = VectorIndex.load(path, recipe=RECIPE, dimensions=32, verify=True)
    assert sequence == 42
    assert again.keys().tolist() == index.keys().tolist()
    assert np.array_equal(again.reconstruct(again.keys()), index.reconstruct(index.keys()))
    again.add([5_000_000], some_vectors(1, 32, seed=9))
    assert len(again) == count + 1
    header = header_of(path)
    assert (header.recipe, header.dimensions, header.count, header.sequence) == (
        RECIPE,
        32,
        count,
        42,
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.faiss"]


@pytest.mark.parametrize("count", [0, 1, 47])
@pytest.mark.parametrize("change", ["add", "replace", "remove"])
def test_an_index_that_is_mapped_is_copied_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, change: str
) -> None:
    small_blocks(monkeypatch)
    path = tmp_path / "index.faiss"
    index = saved(path, count)
    before = path.read_bytes()
    mapped, sequence = VectorIndex.load(path, recipe=RECIPE, dimensions=32, mapped=True)
    queries = some_vectors(5, 32, seed=3)
    saved(path, 3)  # another takes its place
    assert (sequence, len(mapped)) == (42, count)
    for _ in range(2):
        found, expected = mapped.search(queries, 10), index.search(queries, 10)
        assert found.keys.tolist() == expected.keys.tolist()
        assert found.scores.tolist() == expected.scores.tolist()
        assert np.array_equal(mapped.reconstruct(index.keys()), index.reconstruct(index.keys()))
        for one in (mapped, index):
            if change == "remove":
                one.remove(index.keys()[::2])
            elif change == "replace":
                one.add(index.keys()[::2], some_vectors(len(index.keys()[::2]), 32, seed=8))
            else:
                one.add([5_000_000], some_vectors(1, 32, seed=9))
    mapped.save(path, recipe=RECIPE, sequence=43)
    check(path)
    index.save(tmp_path / "other.faiss", recipe=RECIPE, sequence=43)
    assert path.read_bytes() == (tmp_path / "other.faiss").read_bytes() != before


def test_an_absent_file_is_told_apart(tmp_path: Path) -> None:
    for read in (load, check, header_of):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "index.faiss")
    with pytest.raises(IndexFileError):
        load(tmp_path)


def test_every_truncation_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    path = tmp_path / "index.faiss"
    saved(path)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    lengths = [0, 1, 19, 20, 21, len(whole) - 1, *random.integers(0, len(whole), 60).tolist()]
    for length in lengths:
        path.write_bytes(whole[:length])
        for read in (load, header_of, check):
            with pytest.raises(IndexFileError):
                read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(IndexFileError):
        load(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    path = tmp_path / "index.faiss"
    saved(path, 40)
    whole = path.read_bytes()
    header_end = 20 + struct.unpack_from("<8sIII", whole)[2]
    vectors_at = header_end + 8 * 40
    vectors_end = vectors_at + 40 * 64
    random = np.random.default_rng(6)
    offsets = [*range(header_end + 8), *random.integers(0, len(whole), 300).tolist()]
    offsets += range(vectors_end, len(whole))
    for offset in offsets:
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(IndexFileError):
            load(path, verify=True)
        with pytest.raises(IndexFileError):
            check(path)
        if not vectors_at <= offset < vectors_end:  # header, keys and checksums need no verify
            with pytest.raises(IndexFileError):
                load(path)


def test_newer_foreign_and_unrelated_files(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    saved(path)
    with pytest.raises(IndexFileError, match=r"another/recipe"):
        VectorIndex.load(path, recipe="another/recipe", dimensions=32)
    with pytest.raises(IndexFileError, match=r"32 numbers .* not 64"):
        VectorIndex.load(path, recipe=RECIPE, dimensions=64)
    newer = bytearray(path.read_bytes())
    struct.pack_into("<I", newer, 8, FORMAT_VERSION + 1)
    path.write_bytes(newer)
    with pytest.raises(IndexFileError, match="newer"):
        load(path)
    path.write_bytes(b"IxFI" + bytes(500))
    with pytest.raises(IndexFileError, match="not written by imgclust") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_content_named_twice_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    saved(path, 2, 32)
    content = bytearray(path.read_bytes())
    keys_at = 20 + struct.unpack_from("<8sIII", content)[2]
    content[keys_at + 8 : keys_at + 16] = content[keys_at : keys_at + 8]
    vectors_end = keys_at + 16 + 128
    table = struct.pack("<I", zlib.crc32(content[keys_at : keys_at + 16]))
    table += content[vectors_end + 4 : vectors_end + 8]
    content[vectors_end:] = table + struct.pack("<I", zlib.crc32(table))
    path.write_bytes(content)
    with pytest.raises(IndexFileError, match="twice"):
        load(path)


def test_set_aside_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        kept = set_aside(path, tmp_path / "set-aside")
        assert kept.read_bytes() == content
        assert not path.exists()
    assert len(list((tmp_path / "set-aside").iterdir())) == 1


@pytest.mark.parametrize("point", ["checkpoint.temporary", "checkpoint.rename"])
def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, point: str) -> None:
    path = tmp_path / "index.faiss"
    saved(path)
    before = path.read_bytes()
    program = (
        "import sys, pathlib; from imgclust.index.vector_index import VectorIndex\n"
        "index = VectorIndex(32); index.add([1], [[1.0] * 32])\n"
        "index.save(pathlib.Path(sys.argv[1]), recipe='r', sequence=43)"
    )
    died = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "IMGCLUST_FAILPOINTS": f"{point}=crash"},
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert died.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2  # the temporary stays behind a crash
    saved(path, 5)
    assert header_of(path).count == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.faiss"]


@pytest.mark.parametrize("failure", ["eio", "enospc"])
def test_a_refusing_disk_leaves_the_old_file(tmp_path: Path, failure: str) -> None:
    path = tmp_path / "index.faiss"
    index = saved(path)
    before = path.read_bytes()
    failpoints.arm(f"checkpoint.temporary={failure}")
    index.add([5], some_vectors(1, 32, seed=3))
    with pytest.raises(StorageError, match="cannot be saved"):
        index.save(path, recipe=RECIPE, sequence=50)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.faiss"]
    failpoints.arm("")
    index.save(path, recipe=RECIPE, sequence=50)
    assert header_of(path).sequence == 50


def test_a_save_writes_what_was_there_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    index = VectorIndex(32)
    keys = np.arange(200)
    index.add(keys, some_vectors(200, 32))
    before = index.reconstruct(keys)
    real = index._kept_block
    random = np.random.default_rng(8)

    def changing(start: int, stop: int) -> NDArray[np.float16]:
        """Change the index between any two blocks, as another thread may."""
        index.remove(random.choice(200, 9))
        some = random.choice(400, 6)
        index.add(some, some_vectors(6, 32, seed=start))
        return real(start, stop)

    monkeypatch.setattr(index, "_kept_block", changing)
    path = tmp_path / "index.faiss"
    index.save(path, recipe=RECIPE, sequence=1)
    again = load(path, verify=True)
    assert again.keys().tolist() == keys.tolist()
    assert np.array_equal(again.reconstruct(keys), before)
    assert not np.array_equal(np.sort(index.keys()), keys)


def test_threads_search_add_remove_and_save_together(tmp_path: Path) -> None:
    index = VectorIndex(32)
    lasting = some_vectors(50, 32)
    index.add(np.arange(50), lasting)
    failures: list[BaseException] = []

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                for turn in range(40):
                    work(turn)
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def search(turn: int) -> None:
        found = index.search(lasting[turn : turn + 1], 1)
        assert found.keys.tolist() == [[turn]]

    def change(turn: int) -> None:
        index.add(np.arange(100, 200), some_vectors(100, 32, seed=turn + 100))
        index.remove(np.arange(100, 200, 2))

    def save(turn: int) -> None:
        path = tmp_path / f"{turn % 2}.faiss"
        index.save(path, recipe=RECIPE, sequence=turn)
        check(path)

    threads = [guarded(work) for work in (search, search, change, save, save)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- GPU --------------------------------------------------------------------------------------


def fake_card(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand the CPU in for a card, behind the names that faiss-gpu 1.15.1 has."""
    import faiss

    made: list[Any] = []

    def flat(resources: object, dimensions: int, configuration: Any) -> Any:
        assert (configuration.device, configuration.useFloat16) == (0, False)
        index = faiss.IndexFlatIP(dimensions)
        made.append(index)
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatConfig", types.SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", flat, raising=False)
    monkeypatch.setattr(devices, "faiss_gpus", lambda: 1)
    return made


def test_row_search_in_parts_finds_as_many_as_asked() -> None:
    rows = np.random.default_rng(0).standard_normal((800, 6)).astype(np.float32)
    found = RowSearch(rows, parts=400).nearest(rows, 200)  # 32 parts of two hold too few
    assert all(len(set(row)) == 200 and min(row) >= 0 for row in found.tolist())
    assert (found[:, 0] == np.arange(800)).all()


def test_without_a_card_auto_is_the_cpu_and_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "faiss_gpus", lambda: 0)
    assert VectorIndex(4, device="auto").device == "cpu"
    with pytest.raises(UsageError):
        VectorIndex(4, device="gpu")


def test_the_copy_on_a_card_follows_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_card(monkeypatch)
    index = VectorIndex(8, device="auto")
    plain = VectorIndex(8)
    assert index.device == "gpu"
    queries = some_vectors(3, 8, seed=1)
    random = np.random.default_rng(2)
    for turn in range(12):
        keys = random.choice(60, 10)
        for one in (index, plain):
            if turn % 3 == 2:
                one.remove(keys)
            else:
                one.add(keys + 20 * turn, some_vectors(10, 8, seed=turn))
        if turn % 2:
            continue
        on_card, here = index.search(queries, 5), plain.search(queries, 5)
        assert np.array_equal(on_card.keys, here.keys)
        assert on_card.scores == pytest.approx(here.scores, abs=1e-5)
        assert made[0].ntotal == len(index)


def test_a_full_card_falls_back_to_the_cpu_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_card(monkeypatch)

    def full(*_: object) -> None:
        raise RuntimeError("Error in cudaMalloc\nout of memory")

    monkeypatch.setattr(GpuCopy, "search", full)
    index = VectorIndex(4, device="gpu")
    index.add([1], some_vectors(1, 4))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert index.search(some_vectors(1, 4), 1).keys.tolist() == [[1]]
    assert len(caplog.records) == 1
    assert index.device == "cpu"


@pytest.mark.gpu
def test_a_real_card_agrees_with_the_cpu() -> None:
    if not devices.faiss_gpus():
        pytest.skip("FAISS sees no GPU here")
    vectors = some_vectors(20_000, 256)
    keys = np.arange(20_000)
    index, plain = VectorIndex(256, device="gpu"), VectorIndex(256)
    for one in (index, plain):
        one.add(keys, vectors)
        one.remove(keys[:100])
    queries = some_vectors(50, 256, seed=1)
    on_card, here = index.search(queries, 10), plain.search(queries, 10)
    assert index.device == "gpu"
    assert (on_card.keys == here.keys).mean() > 0.99
    assert on_card.scores == pytest.approx(here.scores, abs=1e-3)


def test_many_queries_at_once_find_what_each_finds_alone() -> None:
    """Their products are made otherwise; equal vectors still come by key, at the cut too."""
    generator = np.random.default_rng(8)
    vectors = generator.standard_normal((300, 24)).astype(np.float32)
    vectors[100:140] = vectors[3]  # more equals than are asked for
    index = VectorIndex(24)
    index.add(np.arange(300)[::-1].copy(), vectors)
    queries = np.concatenate([vectors[:120], vectors[100:130]])
    together = index.search(queries, 7)
    for place, query in enumerate(queries):
        alone = index.search(query[None], 7)
        assert together.keys[place].tolist() == alone.keys[0].tolist()
        assert np.allclose(together.scores[place], alone.scores[0], atol=2e-6)
    everything = index.search(queries, 300)
    assert (np.sort(everything.keys, axis=1) == np.arange(300)).all()
