"""Rows in half precision and of unit length."""

from __future__ import annotations

import numpy as np
import pytest

from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clustering.cluster_stats import medoid_and_coherence
from imgclust.errors import ClusteringError
from imgclust.projection.half_white import fit_half_white, fit_similarity
from imgclust.vectors import UnitRows, to_unit_length, widened


def halves() -> np.ndarray:
    """Every number that half precision has, with both zeros, infinities and NaN."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("shape", [(256, 256), (65_536, 1), (1, 65_536)])
def test_every_half_is_widened_to_the_bit(shape: tuple[int, int]) -> None:
    numbers = halves()
    for kept in (numbers, np.where(np.isfinite(numbers), numbers, np.float16(-0.0))):
        rows = kept.reshape(shape)
        found = widened(rows)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(
            found.view(np.uint32), rows.astype(np.float32).view(np.uint32)
        )


def test_no_rows_and_rows_that_do_not_lie_together() -> None:
    assert widened(np.empty((0, 4), np.float16)).shape == (0, 4)
    assert widened(np.empty((3, 0), np.float16)).shape == (3, 0)
    rows = np.random.default_rng(1).standard_normal((300, 6_000)).astype(np.float16)
    np.testing.assert_array_equal(widened(rows[::-3, ::2]), rows[::-3, ::2].astype(np.float32))


def test_what_is_taken_has_unit_length() -> None:
    random = np.random.default_rng(2)
    stored = (3 * random.standard_normal((1_234, 7))).astype(np.float16)
    stored[5] = 0
    rows = UnitRows(stored)
    wanted = to_unit_length(stored.astype(np.float32))
    assert rows.shape == (1_234, 7)
    assert len(rows) == 1_234
    assert rows.finite.all()
    for part in (slice(None), slice(1_000, None, 3), np.array([7, 5, 7]), np.arange(1_234) < 9):
        np.testing.assert_array_equal(rows[part], wanted[part])
    np.testing.assert_allclose(np.linalg.norm(np.delete(rows[:], 5, axis=0), axis=1), 1, rtol=1e-6)
    assert not rows[np.array([5])].any()
    rows[:][:] = 9  # a copy
    np.testing.assert_array_equal(rows[:], wanted)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_numbers_are_found(wrong: float) -> None:
    stored = np.full((600, 3), 65_504, np.float16)
    stored[[3, 599], [0, 2]] = wrong
    np.testing.assert_array_equal(np.flatnonzero(~UnitRows(stored).finite), [3, 599])


def test_what_works_on_blocks_gives_the_same_as_on_all_rows() -> None:
    random = np.random.default_rng(3)
    groups = np.repeat(random.standard_normal((40, 24)), 30, axis=0)
    stored = (groups + 0.02 * random.standard_normal(groups.shape)).astype(np.float16)
    rows, halves = to_unit_length(stored.astype(np.float32)), UnitRows(stored)
    rule = burst_rule(halves)
    np.testing.assert_array_equal(rule.different, burst_rule(rows).different)
    bounds = rule.bounds(halves)
    np.testing.assert_array_equal(bounds, rule.bounds(rows))
    leaders = group_bursts(halves, bounds=bounds)
    np.testing.assert_array_equal(leaders, group_bursts(rows, bounds=bounds))
    assert len(np.unique(leaders)) == 40
    np.testing.assert_array_equal(fit_half_white(halves).axes, fit_half_white(rows).axes)
    assert fit_similarity(halves).to_bytes() == fit_similarity(rows).to_bytes()


def test_the_medoid_of_more_members_than_a_block() -> None:
    random = np.random.default_rng(4)
    stored = (1 + random.standard_normal((12_345, 16))).astype(np.float16)
    stored[7_777] = 1000
    halves, rows = UnitRows(stored), to_unit_length(stored.astype(np.float64))
    for members in (np.arange(12_345), np.arange(1, 12_345, 2), np.arange(7_000, 8_000)):
        mean = rows[members].mean(axis=0)
        cosines = rows[members] @ (mean / np.linalg.norm(mean))
        for vectors in (halves, rows.astype(np.float32)):
            found, alike = medoid_and_coherence(vectors, members)
            assert found == cosines.argmax()
            assert alike == pytest.approx(cosines.mean(), abs=1e-6)


def test_what_cannot_be_used_is_refused() -> None:
    stored = np.ones((30, 4), np.float16)
    stored[[4, 9], 1] = np.nan
    for use in (burst_rule, fit_half_white, fit_similarity, medoid_and_coherence):
        with pytest.raises(ClusteringError, match=r"2 of 30 .* NaN or infinity .* row 4"):
            use(UnitRows(stored))
        with pytest.raises(ClusteringError, match=r"shape \(0, 4\)"):
            use(UnitRows(stored[:0]))
