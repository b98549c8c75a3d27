"""The bench that replays arrivals: what arrives, and answers that are known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="module")
def bench() -> Any:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import bench_replay

        yield bench_replay
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def found(bench: Any) -> Any:
    """Five separated categories of 40."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 40)
    rows = 1 + 0.6 * random.standard_normal((5, 64))[labels]
    rows += 0.1 * random.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return bench.LabelledSet("made up", rows.astype(np.float32), labels, 5)


@pytest.mark.parametrize("scenario", ["shuffled", "season", "tenfold", "ending", "history"])
def test_every_image_arrives_once(bench: Any, found: Any, scenario: str, tmp_path: Path) -> None:
    replay = bench.replay_of(found, scenario, 1, tmp_path)
    assert len(replay.first) == 80
    assert len(replay.batches) == len(replay.leaving) == 10
    came = np.concatenate([replay.first, *replay.batches])
    assert np.array_equal(np.sort(came), np.arange(200))
    sizes = [len(batch) for batch in replay.batches]
    if scenario == "tenfold":
        assert sizes[4] >= 9 * max(sizes[:4] + sizes[5:])
    else:
        assert set(sizes) == {12}
    left = np.concatenate(replay.leaving)
    assert len(np.unique(found.labels[left])) == (1 if scenario == "ending" else 0)
    if scenario == "history":
        assert np.array_equal(came, np.arange(200))


def test_a_season_brings_categories_one_after_the_other(
    bench: Any, found: Any, tmp_path: Path
) -> None:
    shuffled = bench.replay_of(found, "shuffled", 0, tmp_path)
    season = bench.replay_of(found, "season", 0, tmp_path)

    def largest(rows: Any) -> float:
        return float(np.bincount(found.labels[rows], minlength=5).max() / len(rows))

    assert largest(season.batches[-1]) > largest(shuffled.batches[-1])


def test_a_flood_counts_in_no_agreement(bench: Any, found: Any, tmp_path: Path) -> None:
    frames = found.vectors[:1].repeat(30, axis=0)
    np.savez(tmp_path / "frames.npz", v=frames)
    replay = bench.replay_of(found, "flood", 0, tmp_path)
    assert replay.watched == 4
    assert len(replay.batches[4]) == 12 + 30
    assert (replay.labels[200:] == -1).all()
    assert bench.agreement(np.array([1, 1, 2, 2, 9]), np.array([0, 0, 3, 3, -1])) == (1, 1)


@pytest.mark.parametrize("scenario", ["shuffled", "tenfold", "ending"])
def test_separated_categories_keep_their_ids(
    bench: Any, found: Any, scenario: str, tmp_path: Path
) -> None:
    replay = bench.replay_of(found, scenario, 0, tmp_path)
    arms = bench.strategies()
    figures = bench.replayed(replay, found, arms, seed=0, named=False)
    assert len(figures["ours"]) == 11
    assert figures["ours"][0]["ami"] == pytest.approx(1)
    if scenario != "ending":
        last = figures["ours"][-1]
        assert (last["kept"], last["ami"], last["k"]) == (1, pytest.approx(1), 5)
    assert all(row["kept"] == 1 for row in figures["arrivals only"])


@pytest.mark.slow
def test_named_clusters_keep_all_their_images(bench: Any, found: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((200, 64)).astype(np.float32)  # anything may move
    set_of_noise = bench.LabelledSet("noise", noise, found.labels, 6)
    replay = bench.replay_of(set_of_noise, "shuffled", 0, tmp_path)
    figures = bench.replayed(replay, set_of_noise, bench.strategies(), seed=0, named=True)
    assert all(row["named"] == 1 for rows in figures.values() for row in rows)
    assert figures["today: PCA 64, fresh"][-1]["kept"] < 1


def test_a_labelled_folder_is_embedded_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import replay_sets

    for category in ("a", "b"):
        (tmp_path / "pictures" / category).mkdir(parents=True)
        for number in range(9):
            (tmp_path / "pictures" / category / f"{number}.png").write_bytes(b"")
    calls = []

    def embedded(pictures: Any) -> Any:
        listed = list(pictures)
        calls.append(listed)
        return np.eye(len(listed), 20, dtype=np.float32), np.array([one[1] for one in listed])

    monkeypatch.setattr(replay_sets, "embedded", embedded)
    spec = f"mine={tmp_path / 'pictures'},most=8,k=3"
    first, again = bench.load(spec, tmp_path / "cache"), bench.load(spec, tmp_path / "cache")
    assert len(calls) == 1
    assert len(first.vectors) == 16
    assert first.labels.tolist() == [0] * 8 + [1] * 8
    assert first.k == again.k == 3
    assert np.array_equal(first.vectors, again.vectors)
