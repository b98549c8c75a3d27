"""Suggestions: made while images arrive, stored, shown, and right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.catalog.clusterings import Suggestion
from imgclust.clusters.suggestions import (
    SuggestionUpkeep,
    find_suggestions,
    is_due,
    new_suggestions,
)
from imgclust.collection.json_documents import document
from imgclust.progress import StopFlag
from imgclust.wording import suggested
from tests.command_line import Run
from tests.made_up_clusters import World

DIMS = 30


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


def around(random: np.random.Generator, *places: int, width: float = 0.5) -> Any:
    """An embedding between some orthogonal places, far from the origin."""
    return np.eye(DIMS)[list(places)].mean(axis=0) * 4 + 1 + random.standard_normal(DIMS) * width


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Six groups of 40, in six clusters."""
    made = World(tmp_path, dims=DIMS)
    random = np.random.default_rng(0)
    for number in range(240):
        made.add(1, vector=around(random, number % 6))
    made.cluster(6)
    return made


def added(world: World, count: int, *places: int, seed: int = 1, width: float = 0.5) -> list[int]:
    random = np.random.default_rng(seed)
    return [
        key
        for _ in range(count)
        for key in world.add(1, vector=around(random, *places, width=width))
    ]


def owner_of(world: World, key: int) -> int:
    current = world.catalog.clusterings.current_id()
    assert current is not None
    owner = world.catalog.assignments.cluster_of(current, key)
    assert owner is not None
    return owner


def now(world: World) -> tuple[Suggestion, ...]:
    return new_suggestions(world.catalog, stop=StopFlag())


def test_nothing_is_suggested_after_a_fit_nor_for_more_of_the_same(world: World) -> None:
    assert now(world) == ()
    for place in range(6):
        added(world, 20, place, seed=place)
    assert now(world) == ()
    assert world.catalog.suggestions.of(world.catalog.clusterings.current_id()) == ()


def test_a_new_group_in_a_cluster_is_a_split_and_the_split_divides_it(world: World) -> None:
    """Near one of the groups, so that nearly all of it joins that cluster."""
    random = np.random.default_rng(3)
    new = [
        key
        for _ in range(100)
        for key in world.add(1, vector=around(random, 0) + np.eye(DIMS)[10] * 3)
    ]
    owner = owner_of(world, new[0])
    (found,) = now(world)
    assert (found.kind, found.clusters, found.groups) == ("split", (owner,), 2)
    assert found.images == pytest.approx(100, abs=8)
    sentence = suggested(**vars(found))
    assert (
        sentence == f"cluster {owner} has become two groups: imgclust clusters split {owner} -k 2"
    )
    world.recluster().split(owner, k="2")
    owners = [owner_of(world, key) for key in new]
    assert max(owners.count(one) for one in owners) >= 95
    # What was suggested about the clusters before is not about these.
    assert world.catalog.suggestions.of(world.catalog.clusterings.current_id()) == ()
    assert now(world) == ()


def test_a_named_cluster_is_suggested_and_left_alone(world: World) -> None:
    random = np.random.default_rng(3)
    owner = owner_of(world, world.add(1, vector=around(random, 0))[0])
    with world.catalog.transaction():
        world.catalog.clusterings.name(owner, "mine")
    for _ in range(100):
        world.add(1, vector=around(random, 0) + np.eye(DIMS)[10] * 3)
    before = world.catalog.clusterings.current_id()
    (found,) = now(world)
    assert (found.kind, found.clusters) == ("split", (owner,))
    assert world.catalog.clusterings.current_id() == before


def test_a_group_that_lies_between_clusters_fits_none(world: World) -> None:
    added(world, 100, 10)
    found = now(world)
    assert {one.kind for one in found} <= {"cluster", "split"}
    assert sum(one.images for one in found) == pytest.approx(100, abs=8)


def test_clusters_that_have_met_are_a_merge(world: World) -> None:
    random = np.random.default_rng(4)
    first, second = (owner_of(world, added(world, 1, place)[0]) for place in (0, 1))
    for _ in range(220):
        share = random.uniform(0, 1)
        place = np.eye(DIMS)[0] * (1 - share) + np.eye(DIMS)[1] * share
        world.add(1, vector=place * 4 + 1 + random.standard_normal(DIMS) * 0.5)
    found = [one for one in now(world) if one.kind == "merge"]
    pair = tuple(sorted((first, second)))
    assert [one.clusters for one in found] == [pair]
    assert suggested(**vars(found[0])).endswith(f"imgclust clusters merge {pair[0]} {pair[1]}")
    assert world.recluster().merge(pair).k == 5


@pytest.mark.parametrize("space", ["embedding", "smoothed"])
def test_near_copies_are_no_group(world: World, space: str) -> None:
    """A burst of one scene is one picture."""
    world.space = space
    world.cluster(6)
    random = np.random.default_rng(5)
    scene = around(random, 12)
    for _ in range(120):
        world.add(1, vector=scene + random.standard_normal(DIMS) * 0.004)
    assert now(world) == ()


def test_a_new_category_is_named_by_its_hundredth_image(world: World) -> None:
    """Among four times as many of the known ones, in batches of twenty."""
    random = np.random.default_rng(8)
    current = world.catalog.clusterings.current_id()
    named = []
    for _ in range(27):
        for number in range(20):
            place = around(random, int(random.integers(6)))
            if number < 4:
                place = around(random, 0) + np.eye(DIMS)[10] * 3
            world.add(1, vector=place)
        if is_due(world.catalog):
            now(world)
        named.append(bool(world.catalog.suggestions.of(current)))
    assert all(named[-3:])  # the hundredth came two batches ago
    assert not any(named[:3])  # so few are no group


def test_a_look_is_due_after_enough_has_arrived(world: World) -> None:
    assert not is_due(world.catalog)
    added(world, 19, 0)
    assert not is_due(world.catalog)
    added(world, 1, 0)
    assert is_due(world.catalog)
    now(world)
    assert not is_due(world.catalog)
    added(world, 20, 1)
    assert is_due(world.catalog)
    world.cluster(6)
    assert not is_due(world.catalog)


def test_large_collections_are_sampled_with_the_newest(world: World) -> None:
    newest = added(world, 60, 2)
    added(world, 30, 3)
    current = world.catalog.clusterings.current_id()
    assert current is not None
    every = world.catalog.suggestions.sample(current, old=1_000, arrived=1_000, newest=10)
    assert (len(every[0]), int(every[2].sum())) == (330, 90)
    assert (np.diff(every[0]) > 0).all()
    keys, owners, arrived = world.catalog.suggestions.sample(current, old=60, arrived=20, newest=30)
    assert 30 <= int((~arrived).sum()) <= 90
    assert 30 <= int(arrived.sum()) <= 65
    assert len(set(keys[arrived].tolist()) - set(newest)) == 30  # the newest are all there
    for key, owner in zip(keys.tolist(), owners.tolist(), strict=True):
        assert world.catalog.assignments.cluster_of(current, key) == owner


def test_a_look_that_is_overtaken_stores_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.clusters import suggestions

    def meanwhile(*_: object, **__: object) -> tuple[Suggestion, ...]:
        world.cluster(5)
        return (Suggestion("cluster", (), 3),)

    added(world, 40, 10)
    monkeypatch.setattr(suggestions, "find_suggestions", meanwhile)
    assert now(world) == ()
    for number in (1, 2):
        assert world.catalog.suggestions.of(number) == ()


def test_the_watchers_upkeep_looks_and_tells_once(world: World) -> None:
    told: list[Suggestion] = []
    ticks = [0.0]
    upkeep = SuggestionUpkeep(
        world.catalog, path=world.path, tell=told.append, stop=StopFlag(), clock=lambda: ticks[0]
    )
    upkeep(over=True)
    assert told == []
    random = np.random.default_rng(3)
    for _ in range(100):
        world.add(1, vector=around(random, 0) + np.eye(DIMS)[10] * 3)
    upkeep(over=False)
    upkeep.close()
    assert [one.kind for one in told] == ["split"]
    for _ in range(40):
        world.add(1, vector=around(random, 0) + np.eye(DIMS)[10] * 3)
    upkeep(over=True)
    assert len(told) == 1  # it was said
    (stored,) = world.catalog.suggestions.of(world.catalog.clusterings.current_id())
    assert stored.images > 120


def test_a_stopped_look_changes_nothing(world: World) -> None:
    added(world, 100, 10)
    stop = StopFlag()
    stop.set()
    upkeep = SuggestionUpkeep(world.catalog, path=world.path, tell=print, stop=stop)
    upkeep(over=True)
    assert is_due(world.catalog)


def test_without_a_similarity_there_are_none(world: World) -> None:
    added(world, 100, 10)
    current = world.catalog.clusterings.current()
    assert current is not None
    assert find_suggestions(world.catalog, current, stop=StopFlag())
    with world.catalog.transaction():
        world.catalog.clusterings.publish(current.id, {})
    from dataclasses import replace

    assert find_suggestions(world.catalog, replace(current, similarity=None), stop=StopFlag()) == ()


@pytest.mark.parametrize(
    ("suggestion", "sentence"),
    [
        (
            Suggestion("split", (7,), 40, 2),
            "cluster 7 has become two groups: imgclust clusters split 7 -k 2",
        ),
        (
            Suggestion("split", (7,), 40, 5),
            "cluster 7 has become 5 groups: imgclust clusters split 7 -k 5",
        ),
        (
            Suggestion("merge", (3, 9), 80),
            "clusters 3 and 9 show the same: imgclust clusters merge 3 9",
        ),
        (Suggestion("cluster", (), 41), "41 images fit no cluster: imgclust cluster"),
        (Suggestion("cluster", (), 1), "1 image fits no cluster: imgclust cluster"),
    ],
)
def test_what_is_said(suggestion: Suggestion, sentence: str) -> None:
    assert suggested(**vars(suggestion)) == sentence
    assert set(document(suggestion)) == {"kind", "clusters", "images", "groups"}


def test_status_and_clusters_name_them(run: Run, ready: Path, tmp_path: Path) -> None:
    from imgclust.catalog.catalog import Catalog

    assert run("status", "--json").document["suggestions"] == []
    assert run("clusters", "--json").document["suggestions"] == []
    with Catalog(tmp_path / "index" / "default" / "catalog.sqlite3") as catalog:
        current = catalog.clusterings.current_id()
        assert current is not None
        with catalog.transaction():
            catalog.suggestions.replace(
                current, [Suggestion("split", (1,), 12), Suggestion("cluster", (), 41)]
            )
    expected = [
        {"kind": "split", "clusters": [1], "images": 12, "groups": 1},
        {"kind": "cluster", "clusters": [], "images": 41, "groups": 1},
    ]
    assert run("status", "--json").document["suggestions"] == expected
    assert run("clusters", "--json").document["suggestions"] == expected
    for command in ("status", "clusters"):
        said = run(command).out
        assert "imgclust clusters split 1" in said
        assert "41 images fit no cluster: imgclust cluster" in said
    assert run("cluster", "-k", "2", "-y").code == 0
    assert run("status", "--json").document["suggestions"] == []
