"""Clusters in the smoothed space: burst groups, arrivals, what places them, and the way back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.clusters import smoothed_space
from imgclust.clusters.feature_space import load_projection, project, unproject
from imgclust.clusters.smoothed_space import distances_alone, fit_smoothed, place
from imgclust.clusters.suggestions import current_drift
from imgclust.progress import silent
from imgclust.projection.half_white import (
    HalfWhiteProjection,
    SmoothedProjection,
    fit_half_white,
    projection_from_bytes,
)
from tests.made_up_clusters import World, look

DIMS = 24


def around(random: np.random.Generator, place: int, noise: float = 0.35) -> Any:
    """An embedding of one of several groups, far from their common mean."""
    return np.eye(DIMS)[place] * 3 + 1 + random.standard_normal(DIMS) * noise


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, space="smoothed", dims=DIMS)


def filled(world: World, groups: int = 5, each: int = 16) -> list[list[int]]:
    random = np.random.default_rng(1)
    return [
        [key for _ in range(each) for key in world.add(1, vector=around(random, place))]
        for place in range(groups)
    ]


def test_groups_are_found_and_arrivals_join_theirs(world: World) -> None:
    groups = filled(world)
    result = world.cluster(5)
    assert (result.k, result.space) == (5, "smoothed")
    now = look(world.path)
    owners = [{now.cluster_of[key] for key in group} for group in groups]
    assert all(len(one) == 1 for one in owners)
    random = np.random.default_rng(2)
    for group, owner in enumerate(owners):
        for _ in range(4):
            (key,) = world.add(1, vector=around(random, group))
            assert {look(world.path).cluster_of[key]} == owner
    again = world.cluster(5, seed=3)
    assert (again.moved, again.new) == (0, ())


def test_auto_counts_the_groups_and_noise_has_none(world: World, tmp_path: Path) -> None:
    filled(world, groups=5, each=24)
    found = world.cluster("auto")
    assert (found.k, found.chosen_by) == (5, "groups")
    (tmp_path / "noise").mkdir()
    noise = World(tmp_path / "noise", space="smoothed", dims=DIMS)
    random = np.random.default_rng(5)
    for _ in range(120):
        noise.add(1, vector=random.standard_normal(DIMS) + 2)
    swept = noise.recluster().sweep(k_min=1, k_max=None, space="smoothed", seed=0, chart=False)
    assert swept.knee is None
    assert swept.sentence.startswith("no clear structure; k = ")


def test_near_copies_weigh_one_and_stay_together(world: World) -> None:
    groups = filled(world, groups=4, each=12)
    random = np.random.default_rng(6)
    scene = around(random, 7)
    burst = [
        key
        for _ in range(150)
        for key in world.add(1, vector=scene + random.standard_normal(DIMS) * 0.004)
    ]
    world.cluster(5)
    now = look(world.path)
    assert len({now.cluster_of[key] for key in burst}) == 1
    # The four groups keep four clusters: the flood takes one.
    owners = [{now.cluster_of[key] for key in group} for group in groups]
    assert all(len(one) == 1 for one in owners)
    assert len(set().union(*owners)) == 4


def test_frozen_members_stay_though_their_group_leaves(world: World) -> None:
    filled(world, groups=3, each=12)
    random = np.random.default_rng(7)
    scene = around(random, 5)
    burst = [
        key
        for _ in range(12)
        for key in world.add(1, vector=scene + random.standard_normal(DIMS) * 0.004)
    ]
    world.cluster(4)
    cluster = look(world.path).cluster_of[burst[0]]
    parts = world.recluster().split(cluster, k="2").sizes
    now = look(world.path)
    named = min(set(parts) & {now.cluster_of[key] for key in burst})
    with world.catalog.transaction():
        world.catalog.clusterings.name(named, "mine")
    members = look(world.path).members(named)
    for seed in range(3):
        world.cluster(4, seed=seed, fresh=seed == 2)
        after = look(world.path)
        assert members <= after.members(named)


def test_what_is_stored_says_where_things_lie(world: World) -> None:
    groups = filled(world)
    world.cluster(5)
    current = world.catalog.clusterings.current()
    assert current is not None
    assert current.projection is not None
    projection = load_projection(world.catalog, current.projection)
    assert isinstance(projection, SmoothedProjection)
    keys = [group[0] for group in groups]
    rows = world.catalog.contents.embeddings(keys, "made up")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    points = project(projection, rows)
    apart = np.linalg.norm(points[:, np.newaxis] - current.centroids, axis=2)
    owners = [current.cluster_ids[one] for one in apart.argmin(axis=1)]
    assert owners == [look(world.path).cluster_of[key] for key in keys]
    # A stored distance is that to the place in the fit, not that of an arrival.
    stored = look(world.path).distances
    assert apart.min(axis=1) == pytest.approx([stored[key] for key in keys], abs=2e-3)
    back = unproject(projection, points)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    again = project(projection, back.astype(np.float32))
    nearest = np.linalg.norm(again[:, np.newaxis] - current.centroids, axis=2).argmin(axis=1)
    assert [current.cluster_ids[one] for one in nearest] == owners


def test_a_smoothed_projection_as_bytes() -> None:
    random = np.random.default_rng(8)
    rows = random.standard_normal((40, 12)).astype(np.float32)
    half = fit_half_white(rows)
    points = half.transform(rows)
    made = SmoothedProjection(half, points.astype(np.float16), points.astype(np.float16), 10)
    again = projection_from_bytes(made.to_bytes())
    assert isinstance(again, SmoothedProjection)
    assert isinstance(again.half, HalfWhiteProjection)
    assert (again.neighbours, again.dims) == (10, made.dims)
    assert np.array_equal(again.points, made.points)
    assert np.array_equal(again.half.axes, half.axes)
    assert made.to_bytes() == again.to_bytes()
    before, after = again.reference()
    assert np.linalg.norm(before, axis=1) == pytest.approx(np.ones(40), abs=1e-6)
    assert after.dtype == np.float32


def test_the_way_back_from_half_white_directions() -> None:
    random = np.random.default_rng(9)
    rows = (random.standard_normal((400, 6)) * [5, 4, 3, 2, 1, 1]).astype(np.float32)
    half = fit_half_white(rows)
    directions = half.transform(rows)
    assert half.transform(half.inverse(directions)) == pytest.approx(directions, abs=1e-4)
    radius = np.linalg.norm(half.inverse(directions) - half.mean, axis=1).mean()
    assert radius == pytest.approx(np.linalg.norm(rows - half.mean, axis=1).mean(), rel=0.2)
    nowhere = half.inverse(np.zeros((1, half.dims)))
    assert nowhere[0] == pytest.approx(half.mean)


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_few_images(world: World, count: int) -> None:
    world.add(count)
    result = world.cluster(min(count, 3))
    assert sum(result.sizes.values()) == count
    world.add(2)
    assert len(look(world.path).cluster_of) == count + 2
    world.cluster("auto")


def test_equal_embeddings_are_one_point(world: World) -> None:
    for _ in range(9):
        world.add(1, vector=np.ones(DIMS))
    result = world.cluster(4)
    assert result.k == 1
    world.add(2, vector=np.eye(DIMS)[0])
    assert len(look(world.path).cluster_of) == 11


def test_outliers_and_drift_are_those_of_arrivals(world: World) -> None:
    filled(world, groups=5, each=40)
    world.cluster(5)
    current = world.catalog.clusterings.current()
    assert current is not None
    random = np.random.default_rng(10)
    for number in range(100):
        world.add(1, vector=around(random, number % 5))
    assert not current_drift(world.catalog, current).overall.high
    far = sum(world.catalog.assignments.outliers(current.id).values())
    assert far < 0.1 * 300
    for _ in range(60):
        world.add(1, vector=random.standard_normal(DIMS) * 3)
    assert current_drift(world.catalog, current).overall.high


def test_steps_split_merge_and_undo(world: World) -> None:
    filled(world)
    world.cluster(4)
    first = look(world.path)
    finer = world.cluster(1, step="finer")
    assert finer.k == 6
    assert world.cluster(1, step="coarser").k == 4
    ids = sorted(look(world.path).centroids)
    world.recluster().merge(ids[:2])
    world.recluster().split(look(world.path).cluster_of[min(first.cluster_of)], k="2")
    for _ in range(4):
        world.recluster().undo()
    assert look(world.path).cluster_of == first.cluster_of


def test_a_centroid_is_the_mean_of_burst_groups(world: World) -> None:
    groups = filled(world, groups=3, each=12)
    random = np.random.default_rng(12)
    frame = world.catalog.contents.embeddings(groups[0][:1], "made up")[0]
    for _ in range(60):
        world.add(1, vector=frame + random.standard_normal(DIMS) * 0.004)
    world.cluster(3)
    keys, rows = world.catalog.contents.all_embeddings("made up")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = fit_smoothed(rows, seed=0, progress=silent, stop=None)
    assert len(np.unique(made.leaders)) == 36
    now = look(world.path)
    cluster = now.cluster_of[groups[0][0]]
    mine = np.unique(made.leaders[[now.cluster_of[int(key)] == cluster for key in keys]])
    assert now.centroids[cluster] == pytest.approx(made.points[mine].mean(axis=0), abs=1e-5)
    assert len(now.members(cluster)) == 72


def test_images_around_two_that_are_together_are_drawn_to_each_other() -> None:
    random = np.random.default_rng(5)
    centres = np.linalg.qr(random.standard_normal((DIMS, 6)))[0].T
    noise = 0.06 * random.standard_normal((120, DIMS))
    rows = np.asarray(np.repeat(centres, 20, axis=0) + noise, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    plain = fit_smoothed(rows, seed=0, progress=silent, stop=None)
    taught = fit_smoothed(rows, seed=0, together=[(3, 27)], clusters=6, progress=silent, stop=None)

    def between(points: Any, one: int, other: int) -> float:
        first, second = points[20 * one : 20 * one + 20], points[20 * other : 20 * other + 20]
        return float((first @ second.T).max())

    assert between(plain.points, 0, 1) < 0.1
    assert between(taught.points, 0, 1) > 0.4
    assert between(taught.points, 2, 3) == pytest.approx(between(plain.points, 2, 3), abs=0.05)
    # Not the two alone: those of their local groups too.
    close = (taught.points[:20] @ taught.points[27]) > 0.4
    assert close.sum() >= 2
    none = fit_smoothed(rows, seed=0, together=[], clusters=6, progress=silent, stop=None)
    assert np.array_equal(none.points, plain.points)


@pytest.mark.parametrize("bursts", [0, 30])
def test_how_far_arrivals_would_be_is_known_without_a_search(bursts: int) -> None:
    random = np.random.default_rng(13)
    rows = np.stack([around(random, place % 6) for place in range(240)]).astype(np.float32)
    for row in range(1, bursts):
        rows[row] = rows[0] + random.standard_normal(DIMS) * 0.004
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = fit_smoothed(rows, seed=0, progress=silent, stop=None)
    assert (len(np.unique(made.leaders)) < 240) == bool(bursts)
    centroids = made.points[:6]
    known = distances_alone(made.projection, rows, centroids, leaders=made.leaders)
    searched = distances_alone(made.projection, rows, centroids, leaders=None)
    placed = place(made.projection, rows, alone=True)
    expected = np.linalg.norm(placed[:, np.newaxis] - centroids, axis=2).min(axis=1)
    leading = np.unique(made.leaders)
    assert known[leading] == pytest.approx(expected[leading], abs=5e-3)
    assert searched == pytest.approx(expected, abs=1e-5)
    # Near copies are where the one is that represents them.
    assert np.array_equal(known, known[made.leaders])


@pytest.mark.parametrize("bursts", [0, 30])
def test_nothing_new_takes_the_stored_space(
    world: World, monkeypatch: pytest.MonkeyPatch, bursts: int
) -> None:
    groups = filled(world)
    random = np.random.default_rng(14)
    scene = around(random, 7)
    for _ in range(bursts):
        groups[0] += world.add(1, vector=scene + random.standard_normal(DIMS) * 0.004)
    fitted: list[int] = []

    def counted(rows: Any, **how: Any) -> Any:
        fitted.append(len(rows))
        return fit_smoothed(rows, **how)

    monkeypatch.setattr("imgclust.clusters.feature_space.fit_smoothed", counted)
    monkeypatch.setattr("imgclust.clusters.feature_space.LEAST_CONTENTS", 10)
    there = sum(len(one) for one in groups)
    world.cluster(5)
    before, stored = look(world.path), world.catalog.clusterings.current()
    again = world.cluster(5)
    after, current = look(world.path), world.catalog.clusterings.current()
    assert stored is not None
    assert current is not None
    assert fitted == [there]
    assert (again.moved, again.new, again.gone) == (0, (), ())
    assert after.cluster_of == before.cluster_of
    assert current.projection == stored.projection
    for key, distance in before.distances.items():
        assert after.distances[key] == pytest.approx(distance, abs=5e-3)
    limits = {one.cluster: one.outlier_from for one in stored.described}
    assert {one.cluster: one.outlier_from for one in current.described} == pytest.approx(
        limits, abs=1e-2
    )
    world.cluster(6)
    assert fitted == [there]
    world.cluster(6, seed=1)  # of another seed it is another space
    assert fitted == [there, there]
    world.add(1, vector=around(random, 1))
    world.cluster(6, seed=1)
    assert fitted == [there, there, there + 1]
    world.remove(groups[1][0])
    world.cluster(6, seed=1)
    assert fitted == [there, there, there + 1, there]


@pytest.mark.parametrize("blob", [b"", b"broken", None])
def test_a_stored_space_that_is_of_no_use_is_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch, blob: bytes | None
) -> None:
    filled(world)
    monkeypatch.setattr("imgclust.clusters.feature_space.LEAST_CONTENTS", 10)
    world.cluster(5)
    before = look(world.path)
    current = world.catalog.clusterings.current()
    assert current is not None
    assert current.projection is not None
    if blob is None:  # as earlier versions stored it
        projection = load_projection(world.catalog, current.projection)
        assert isinstance(projection, SmoothedProjection)
        assert projection.around is not None
        blob = replace(projection, around=None).to_bytes()
    with sqlite3.connect(world.path) as connection:
        connection.execute(
            "UPDATE projections SET blob = ? WHERE id = ?", (blob, current.projection)
        )
    world.catalog.close()
    world.catalog = Catalog(world.path)
    result = world.cluster(5, fresh=True)
    assert result.k == 5
    assert look(world.path).cluster_of == before.cluster_of
    renewed = world.catalog.clusterings.current()
    assert renewed is not None
    assert renewed.projection != current.projection


@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_what_comes_just_before_publication_is_placed_and_loads_nothing_in_it(
    world: World, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    groups = filled(world)
    world.cluster(5)
    random = np.random.default_rng(15)
    world.add(1, vector=around(random, 2))  # so that the space is another
    came: list[int] = []
    inside: list[bool] = []
    late: list[int] = []
    begin = world.catalog.transaction

    def progress(step: str, _: int, __: int | None) -> None:
        if step == "writing assignments":
            late.append(0)

    @contextmanager
    def transaction() -> Iterator[None]:
        if late:
            late.append(1)
        if sum(late) == before:
            other = World.__new__(World)
            other.__dict__.update(world.__dict__)
            with Catalog(world.path) as catalog:
                other.catalog = catalog
                came.extend(other.add(1, vector=around(random, 3)))
        inside.append(True)
        try:
            with begin():
                yield
        finally:
            inside.pop()

    def load(projection: SmoothedProjection) -> Any:
        assert smoothed_space.loaded(projection) or not (inside and late)
        return loading(projection)

    loading = smoothed_space.load
    monkeypatch.setattr(world.catalog, "transaction", transaction)
    monkeypatch.setattr(smoothed_space, "load", load)
    world.recluster(progress=progress).cluster(k="5", space="smoothed", seed=0)
    now = look(world.path)
    assert [now.cluster_of[key] for key in came] == [now.cluster_of[groups[3][0]]]
