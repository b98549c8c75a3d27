"""The choice of k: known numbers of groups, noise, too little to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.choose_k import clear_knee, preferred, suggest
from imgclust.clustering.k_sweep import Sweep, sweep
from imgclust.errors import StoppedError
from imgclust.progress import StopFlag


def groups(k: int, d: int, spread: float, seed: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((k, d)) * spread
    member = random.integers(0, k, 600)
    return (centres[member] + random.standard_normal((600, d))).astype(np.float32)


def uniform(n: int, d: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(np.float32)


@pytest.mark.parametrize("d", [16, 2048])
@pytest.mark.parametrize("k", [3, 8, 25])
def test_the_knee_is_the_number_of_separated_groups(k: int, d: int) -> None:
    rows = groups(k, d, spread=6.0 if d == 16 else 1.0)
    found = clear_knee(rows, k_max=40)
    assert found is not None
    assert found[0] == k


def test_what_the_other_criteria_prefer() -> None:
    rows = groups(3, 16, spread=6.0)
    swept = sweep(rows, k_max=600)
    assert swept.simplified_silhouette[-1] > max(swept.simplified_silhouette[1:20])
    names = ("simplified_silhouette", "calinski_harabasz", "bic")
    assert preferred(swept, n=len(rows)) == dict.fromkeys(names, 3)
    assert preferred(sweep(rows[:5], k_max=1), n=5).keys() == set()


@pytest.mark.parametrize("d", [2, 50, 2048])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_has_no_clear_knee(d: int, seed: int) -> None:
    assert clear_knee(uniform(500, d, seed), k_max=40, seed=seed) is None


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 50, 2048])
def test_much_noise_has_no_clear_knee(d: int) -> None:
    assert clear_knee(uniform(5000, d, 5), k_max=100) is None


def test_a_gaussian_cloud_has_no_clear_knee() -> None:
    scales = 1 / np.arange(1, 31)
    rows = np.random.default_rng(0).standard_normal((800, 30)) * scales
    assert clear_knee(rows.astype(np.float32), k_max=40) is None


def test_a_suggestion_says_the_knee_in_a_sentence() -> None:
    rows = groups(8, 16, spread=6.0)
    found = suggest(sweep(rows, k_max=30), rows)
    assert (found.k, found.chosen, found.chosen_by) == (8, 8, "knee")
    assert "k = 8: the knee" in found.sentence


def test_the_same_seed_gives_the_same_suggestion() -> None:
    rows = groups(4, 8, spread=1.0)
    swept = sweep(rows, k_max=20)
    assert suggest(swept, rows, seed=3) == suggest(swept, rows, seed=3)


def test_without_a_knee_the_largest_silhouette_is_taken() -> None:
    rows = uniform(400, 2, 0)
    swept = sweep(rows, k_max=30)
    found = suggest(swept, rows)
    assert (found.k, found.chosen_by) == (None, "silhouette")
    best = max(range(2, 21), key=lambda k: swept.simplified_silhouette[k - 1])
    assert found.chosen == best
    assert "no clear knee" in found.sentence


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((1, 4), np.float32),
        np.ones((50, 4), np.float32),
        np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32),
    ],
    ids=["one row", "identical rows", "four rows"],
)
def test_too_little_to_tell_is_one_cluster(rows: NDArray[Any]) -> None:
    found = suggest(sweep(rows), rows)
    assert (found.k, found.chosen, found.chosen_by) == (None, 1, "rule")


def test_only_the_swept_range_is_suggested() -> None:
    rows = groups(8, 16, spread=6.0)
    found = suggest(sweep(rows, k_min=10, k_max=14), rows)
    assert found.k is None or found.k >= 10


def test_progress_is_told_and_a_stop_is_heard() -> None:
    rows = groups(3, 8, spread=6.0)
    swept: Sweep = replace(sweep(rows, k_max=6), complete=False)
    told: list[tuple[str, int, int | None]] = []
    suggest(swept, rows, progress=lambda step, done, total: told.append((step, done, total)))
    assert told[0] == ("null model", 0, 5)
    assert told[-1] == ("null model", 5, 5)
    stop = StopFlag()
    stop.set()
    with pytest.raises(StoppedError):
        suggest(swept, rows, stop=stop)
