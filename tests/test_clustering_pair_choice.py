"""Pairs to ask about, and what answers carry: known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.pair_choice import Known, PairChoice, carried, group_counts
from imgclust.clustering.smoother import smooth

# Eight tight groups of ten on a line: 0 and 1 near each other, 2 and 3 as well, then further.
PLACES = [0.0, 1.0, 10.0, 11.5, 20.0, 24.0, 40.0, 50.0]
EACH = 10


def line(places: list[float] = PLACES, each: int = EACH) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    rows = np.repeat(np.array(places), each)[:, np.newaxis]
    return np.asarray(rows + random.normal(0, 0.02, (len(rows), 1)), np.float32)


def group_of(row: int) -> int:
    return row // EACH


def nothing(rows: int = len(PLACES) * EACH) -> Known:
    return Known([], [], np.full(rows, -1))


def groups_asked(choice: PairChoice, count: int, known: Known) -> list[tuple[int, int]]:
    return [(group_of(one), group_of(other)) for one, other in choice.pairs(count, known)]


@pytest.fixture
def choice() -> PairChoice:
    return PairChoice(line(), 2)  # eight local groups at first


def test_the_nearest_groups_come_first(choice: PairChoice) -> None:
    assert groups_asked(choice, 3, nothing()) == [(0, 1), (2, 3), (4, 5)]


def test_no_pair_of_a_batch_follows_from_others_answered_with_yes(choice: PairChoice) -> None:
    found = groups_asked(choice, 7, nothing())
    # A tree of the eight groups.
    assert found == [(0, 1), (2, 3), (4, 5), (3, 4), (1, 2), (6, 7), (5, 6)]


def test_what_follows_from_answers_is_not_asked(choice: PairChoice) -> None:
    together = [(3, 13), (13, 23)]  # groups 0, 1 and 2
    apart = [(3, 33)]  # group 3 is apart from all of them
    known = Known(together, apart, np.full(80, -1))
    found = groups_asked(choice, 10, known)
    assert not {(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)} & set(found[:3])
    assert found[:2] == [(4, 5), (3, 4)]


def test_an_image_that_was_asked_about_represents_its_group(choice: PairChoice) -> None:
    known = Known([], [(7, 25)], np.full(80, -1))
    found = choice.pairs(2, known)
    assert 7 in found[0]
    assert 25 in found[1]


def test_given_clusters_are_not_asked_about(choice: PairChoice) -> None:
    fixed = np.full(80, -1)
    fixed[:10], fixed[10:20], fixed[20:30], fixed[30:40] = 5, 5, 9, 7
    found = groups_asked(choice, 3, Known([], [], fixed))
    assert found[0] == (4, 5)
    assert not {(0, 1), (2, 3), (1, 2), (1, 3), (0, 2), (0, 3)} & set(found)


def test_skipped_pairs_and_rows_that_cannot_be_shown_are_left_out() -> None:
    allowed = np.ones(80, np.bool_)
    allowed[40:] = False
    choice = PairChoice(line(), 2, allowed=allowed)
    found = choice.pairs(3, Known([], [], np.full(80, -1), skipped=[(4, 14)]))
    asked = [(group_of(one), group_of(other)) for one, other in found]
    assert asked[0] == (2, 3)
    assert (0, 1) not in asked
    assert max(row for pair in found for row in pair) < 40


def test_finer_groups_are_asked_about_when_all_pairs_are_known(choice: PairChoice) -> None:
    together = [(10 * one, 10 * one + 10) for one in range(7)]  # all eight groups
    found = choice.pairs(4, Known(together, [], np.full(80, -1)))
    assert len(found) == 4
    assert all(group_of(one) == group_of(other) for one, other in found)


def test_nothing_is_left_to_ask_of_a_few() -> None:
    assert PairChoice(line([0.0], 1), 1).pairs(5, nothing(1)) == []
    few = PairChoice(line([0.0, 9.0], 3), 1)
    (pair,) = few.pairs(5, nothing(6))
    assert few.pairs(5, Known([pair], [], np.full(6, -1))) == []


@pytest.mark.parametrize(
    ("rows", "clusters", "counts"),
    [
        (1, 1, [1]),
        (60, 2, [8, 16, 20]),
        (60, 100, [12, 20]),
        (100_000, 40, [160, 320, 640, 1000]),
        (100_000, 0, [4, 8, 16, 32, 64, 128, 256, 512, 1000]),
    ],
)
def test_numbers_of_local_groups(rows: int, clusters: int, counts: list[int]) -> None:
    assert group_counts(rows, clusters) == counts


def test_an_answer_carries_the_local_groups_of_its_images() -> None:
    camps = carried(line(), 2, [(3, 44)])
    assert set(camps[:10]) == set(camps[40:50])
    assert len(set(camps[:10])) == 1
    assert camps[0] >= 0
    rest = np.r_[camps[10:40], camps[50:]]
    assert (rest == -1).all()


def test_links_make_one_camp_and_no_answer_none() -> None:
    camps = carried(line(), 2, [(3, 13), (13, 53), (24, 33)])
    assert len(set(camps[np.r_[0:20, 50:60]])) == 1
    assert len(set(camps[20:40])) == 1
    assert camps[0] != camps[20]
    assert (camps[40:50] == -1).all()
    assert (carried(line(), 2, []) == -1).all()


def test_of_two_in_one_group_each_carries_what_is_nearer_to_it() -> None:
    points = line([0.0, 0.2, 50.0, 60.0, 70.0], 6)
    # One cluster makes four local groups: the first two places are in one of them.
    camps = carried(points, 1, [(0, 12), (6, 24)])
    assert set(camps[:6]) == {camps[12]}
    assert set(camps[6:12]) == {camps[24]}
    assert camps[12] != camps[24]


def test_camps_are_drawn_together_by_smoothing() -> None:
    random = np.random.default_rng(0)
    centres = np.linalg.qr(random.standard_normal((30, 3)))[0].T
    rows = np.repeat(centres, 12, axis=0) + 0.05 * random.standard_normal((36, 30))
    points = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    plain = smooth(points, neighbours=5)
    camps = np.full(36, -1)
    camps[:24] = 7
    found = plain.drawn(camps)
    between = found.smoothed[:12] @ found.smoothed[12:24].T
    assert (plain.smoothed[:12] @ plain.smoothed[12:24].T).max() < 0.2
    assert between.min() > 0.8
    assert np.array_equal(found.smoothed[24:], plain.smoothed[24:])  # nobody spoke of the third
    assert np.array_equal(found.points, plain.points)
    assert plain.drawn(np.full(36, -1)) is plain
    assert np.allclose(plain.drawn(camps, weight=0).smoothed, plain.smoothed, atol=1e-6)
