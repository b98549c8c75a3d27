"""Burst groups that are kept with a collection: at arrival, at fits, over removals and renewals."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.clustering.burst_groups import BurstRule, Representatives, burst_rule, group_bursts
from imgclust.clusters.burst_store import BurstFinder
from imgclust.clusters.model import ArrivalAssigner
from imgclust.errors import ClusteringError
from tests.made_up_clusters import RECIPE, World, bursts, look, torn

DIMS = 24


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, space="smoothed", dims=DIMS)


def around(random: np.random.Generator, place: int, noise: float = 0.35) -> Any:
    """An embedding of one of several groups, far from their common mean."""
    return np.eye(DIMS)[place] * 3 + 1 + random.standard_normal(DIMS) * noise


def filled(world: World, groups: int = 4, each: int = 12) -> list[int]:
    random = np.random.default_rng(1)
    return [
        key
        for place in range(groups)
        for _ in range(each)
        for key in world.add(1, vector=around(random, place))
    ]


def frames(world: World, scene: Any, count: int, seed: int = 3) -> list[int]:
    """Near copies of one scene, one after the other."""
    random = np.random.default_rng(seed)
    return [
        key
        for _ in range(count)
        for key in world.add(1, vector=scene + random.standard_normal(DIMS) * 0.004)
    ]


def rows(count: int, series: int, *, seed: int = 0) -> Any:
    """Unit rows, float32 (n, d): single ones and series of near copies, mixed."""
    random = np.random.default_rng(seed)
    scenes = random.standard_normal((count, DIMS))
    found = np.concatenate(
        [scenes, *(scenes[:series] + 0.01 * random.standard_normal((series, DIMS)) for _ in "abc")]
    )[random.permutation(count + 3 * series)]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def move(world: World, key: int, cluster: int) -> None:
    """Put one content into another cluster, as nothing in the product does."""
    number = world.catalog.clusterings.current_id()
    assert number is not None
    with world.catalog.transaction():
        world.catalog.assignments.assign(number, [(key, cluster, 1.0)], arrived=False)


def test_a_fit_stores_the_groups_and_arrivals_join_them(world: World) -> None:
    filled(world)
    scene = around(np.random.default_rng(9), 6)
    first = frames(world, scene, 5)
    assert bursts(world.path) == {}
    world.cluster(5)
    stored = bursts(world.path)
    (leader,) = {stored[key] for key in first}
    assert leader in first
    assert sum(key == other for key, other in stored.items()) == 49
    later = frames(world, scene, 4, seed=4)
    assert {bursts(world.path)[key] for key in later} == {leader}
    (alone,) = world.add(1, vector=around(np.random.default_rng(10), 8))
    assert bursts(world.path)[alone] == alone
    assert torn(world.path) == []


def test_an_arrival_follows_its_representative_wherever_it_is(world: World) -> None:
    filled(world)
    scene = around(np.random.default_rng(9), 0)
    (first,) = frames(world, scene, 1)
    world.cluster(4)
    usual = look(world.path).cluster_of[first]
    other = min(set(look(world.path).centroids) - {usual})
    move(world, first, other)
    (second,) = frames(world, scene, 1, seed=5)
    assert look(world.path).cluster_of[second] == other
    (third,) = world.add(1, vector=around(np.random.default_rng(11), 0))
    assert look(world.path).cluster_of[third] == usual
    now = look(world.path)
    assert now.distances[second] > now.distances[third]


def test_frames_of_one_batch_stay_together(world: World) -> None:
    filled(world)
    world.cluster(4)
    random = np.random.default_rng(12)
    # Half way between two groups, where single arrivals go either way.
    scene = np.eye(DIMS)[0] * 1.5 + np.eye(DIMS)[1] * 1.5 + 1
    vectors = (scene + random.standard_normal((24, DIMS)) * 0.01).astype(np.float32)
    keys = frames(world, scene, 24)
    assigner = ArrivalAssigner(world.catalog)
    with world.catalog.transaction():
        assigner.assign(keys, vectors)
    stored = bursts(world.path)
    assert len({stored[key] for key in keys}) == 1
    assert torn(world.path) == []


def test_a_frozen_member_stays_where_a_person_has_it(world: World) -> None:
    filled(world)
    scene = around(np.random.default_rng(9), 0)
    first, second = frames(world, scene, 2)
    world.cluster(4)
    usual = look(world.path).cluster_of[first]
    named = min(set(look(world.path).centroids) - {usual})
    stored = bursts(world.path)
    member = second if stored[second] == first else first
    move(world, member, named)
    with world.catalog.transaction():
        world.catalog.clusterings.name(named, "mine")
    for seed in range(3):
        world.cluster(4, seed=seed, fresh=seed == 2)
        now = look(world.path)
        assert now.cluster_of[member] == named
        assert now.cluster_of[stored[member]] != named
        assert torn(world.path) == []


def test_without_its_representative_a_group_finds_another(world: World) -> None:
    filled(world)
    scene = around(np.random.default_rng(9), 6)
    keys = frames(world, scene, 6)
    world.cluster(5)
    leader = bursts(world.path)[keys[0]]
    world.remove(leader)
    rest = [key for key in keys if key != leader]
    rest += frames(world, scene, 2, seed=7)  # nothing of them is compared with what has left
    world.cluster(5)
    stored = bursts(world.path)
    assert len({stored[key] for key in rest}) == 1
    assert all(stored[other] == other for other in stored.values())
    assert torn(world.path) == []


def test_what_was_rolled_back_represents_nothing(world: World) -> None:
    filled(world)
    world.cluster(4)
    scene = around(np.random.default_rng(9), 6)
    assigner = ArrivalAssigner(world.catalog)
    (gone,) = frames(world, scene, 1)
    before = bursts(world.path)
    vectors = np.asarray([scene], np.float32)

    def fail() -> None:
        with world.catalog.transaction():
            assigner.assign([gone], vectors)
            world.remove(gone)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert bursts(world.path) == before
    world.remove(gone)
    (kept,) = frames(world, scene, 1, seed=8)
    with world.catalog.transaction():
        assigner.assign([kept], vectors)
    assert bursts(world.path)[kept] == kept


def test_the_rule_is_renewed_as_the_collection_grows(world: World) -> None:
    filled(world, groups=2, each=10)
    world.cluster(2)

    def rule() -> tuple[int, int]:
        with sqlite3.connect(f"file:{world.path}?mode=ro", uri=True) as connection:
            ((number, contents),) = connection.execute(
                "SELECT id, contents FROM burst_rules WHERE current"
            ).fetchall()
            (count,) = connection.execute("SELECT count(*) FROM burst_rules").fetchone()
        connection.close()
        assert count <= 2, "old ones leave"
        return number, contents

    first = rule()
    assert first[1] == 20
    world.add(8)
    world.cluster(2)
    assert rule() == first
    frames(world, around(np.random.default_rng(4), 7), 30)
    world.cluster(3)
    second = rule()
    assert second[0] > first[0]
    assert second[1] == 58
    assert set(bursts(world.path)) == set(look(world.path).cluster_of)
    assert torn(world.path) == []


def test_a_dry_run_stores_no_groups(world: World) -> None:
    filled(world)
    world.cluster(4, dry_run=True)
    with sqlite3.connect(world.path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM burst_rules").fetchone()
    connection.close()
    assert count == 0


def test_a_damaged_rule_is_made_again(world: World) -> None:
    filled(world)
    scene = around(np.random.default_rng(9), 6)
    keys = frames(world, scene, 3)
    world.cluster(5)
    with world.catalog.transaction():
        number = world.catalog.bursts.put(
            recipe=world.catalog.contents.recipe_id(RECIPE), contents=51, blob=b"nothing"
        )
        world.catalog.bursts.make_current(number)
    keys += frames(world, scene, 2, seed=6)
    assert set(keys) <= set(look(world.path).cluster_of)
    world.cluster(5)
    stored = bursts(world.path)
    assert len({stored[key] for key in keys}) == 1


@pytest.mark.parametrize("space", ["pca", "embedding"])
def test_other_spaces_have_no_groups(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=DIMS)
    filled(world)
    world.cluster(4)
    frames(world, around(np.random.default_rng(4), 7), 3)
    assert bursts(world.path) == {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_groups_found_one_by_one_are_those_of_all_at_once(
    tmp_path: Path, seed: int, batch: int
) -> None:
    vectors = rows(40, 12, seed=seed)
    rule = burst_rule(vectors)
    wanted = group_bursts(vectors, bounds=rule.bounds(vectors))
    world = World(tmp_path, space="smoothed", dims=DIMS)
    with world.catalog.transaction():
        number = world.catalog.bursts.put(
            recipe=world.catalog.contents.recipe_id(RECIPE), contents=1, blob=rule.to_bytes()
        )
        world.catalog.bursts.make_current(number)
    keys = [key for row in vectors for key in world.add(1, vector=row)]
    stored = world.catalog.contents.embeddings(keys, RECIPE)
    finder = BurstFinder(world.catalog, number)
    for start in range(0, len(keys), batch):
        part = slice(start, start + batch)
        if batch > 1:  # as after a restart
            finder = BurstFinder(world.catalog, number)
        with world.catalog.transaction():
            finder.take_in(keys[part], stored[part])
    found = bursts(world.path)
    assert [found[key] for key in keys] == [keys[row] for row in wanted]
    assert len(set(found.values())) == 40


def test_no_representative_that_is_near_enough_is_missed() -> None:
    vectors = rows(300, 40, seed=5)
    rule = burst_rule(vectors)
    keys = np.arange(len(vectors)) * 7
    known = Representatives(rule, keys[:100], rule.places(vectors[:100]))
    known.add(keys[100:], rule.places(vectors[100:]))
    bounds = np.full(len(vectors), 0.99)
    near = known.near(rule.places(vectors), bounds)
    cosines = vectors.astype(np.float64) @ vectors.T
    for row, found in enumerate(near):
        assert set(keys[cosines[row] >= 0.99]) <= set(found.tolist())
        assert found[0] == keys[row]


@pytest.mark.parametrize("spread", [0.02, 0.6])
def test_the_nearest_are_those_of_all_pairs_however_many_are_left(spread: float) -> None:
    """On the axes of others rows may lie close to most of them; some are equal there."""
    random = np.random.default_rng(6)
    others, mine = random.standard_normal((2, 3_000, 24)).astype(np.float32)
    middle = random.standard_normal(24).astype(np.float32)
    others, mine = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (middle + spread * others, middle + spread * mine[:40])
    )
    others[100:200] = others[0]
    rule = burst_rule(others)
    keys = random.permutation(len(others)).astype(np.int64)
    known = Representatives(rule, keys[:1_500], rule.places(others[:1_500]))
    known.add(keys[1_500:], rule.places(others[1_500:]))
    places = rule.places(np.concatenate([mine, others[:1]]))
    bounds = np.full(len(places), 0.98)
    alone = [known.near(places[row : row + 1], bounds[:1])[0] for row in range(len(places))]
    there = rule.places(others).astype(np.float32)
    for row, found in enumerate(known.near(places, bounds)):
        apart = ((places[row].astype(np.float32) - there) ** 2).sum(axis=1)
        near = np.flatnonzero(apart <= (np.sqrt(2 * 0.02) + 2e-3) ** 2)
        # To the sixth digit: sums are in another order here.
        nearest = apart[near[np.lexsort((keys[near], apart[near]))[:16]]]
        place = np.argsort(keys)[found]
        np.testing.assert_allclose(apart[place], nearest, atol=1e-6)
        assert len(set(found.tolist())) == min(16, len(near))
        np.testing.assert_array_equal(found, alone[row])
        if row < len(mine):
            assert (len(near) > 1_000) == (spread < 0.1)


def test_a_rule_as_bytes() -> None:
    vectors = rows(60, 5)
    rule = burst_rule(vectors)
    again = BurstRule.from_bytes(rule.to_bytes())
    np.testing.assert_array_equal(again.bounds(vectors), rule.bounds(vectors))
    np.testing.assert_array_equal(again.places(vectors), rule.places(vectors))
    for damaged in (b"", b"PK", rule.to_bytes()[:200]):
        with pytest.raises(ClusteringError, match="damaged"):
            BurstRule.from_bytes(damaged)
