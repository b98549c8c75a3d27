"""The bench of answers: made-up sets whose result is known."""

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
        import bench_review

        yield bench_review
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def setting(bench: Any) -> Any:
    """Eight separated groups of 25, two of each of four categories."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(8), 25)
    rows = 1 + 0.6 * random.standard_normal((8, 64))[group]
    rows += 0.3 * random.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = bench.LabelledSet("made up", rows.astype(np.float32), group // 2, 4)
    return bench.Setting(found, bench.Chain.of(found.vectors), 0)


def test_answers_are_those_of_the_categories(setting: Any) -> None:
    for together, apart in (setting.chosen(10), setting.random(10)):
        assert len(together) + len(apart) == 10
        assert all(setting.truth[one] == setting.truth[other] for one, other in together)
        assert all(setting.truth[one] != setting.truth[other] for one, other in apart)


def test_chosen_answers_teach_what_random_ones_do_not(bench: Any, setting: Any) -> None:
    found = bench.measured(setting, 0.2, [0.0])
    assert found["questions"] == 40
    assert 0 < found["rest"] < 1
    assert found["review"] > found["none"] + 0.05
    assert found["review"] > found["random"]
    assert found["review 0"] == pytest.approx(found["none"], abs=0.03)


def test_an_interval_is_that_of_student(bench: Any) -> None:
    mean, low, high = bench.interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, low, high) == pytest.approx((2, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert bench.interval(np.array([1.0]))[1] == float("-inf")
