"""A re-clustering continues the clusters there are: ids, images, steps; and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.errors import NothingThereError, UsageError
from tests.made_up_clusters import State, World, look, that_stayed


def groups(world: World, sizes: list[int], *, noise: float = 0.05) -> list[list[int]]:
    """Contents around directions that are far apart, by group."""
    random = np.random.default_rng(len(sizes))
    return [
        [
            key
            for _ in range(size)
            for key in world.add(1, vector=np.eye(8)[place] * 3 + random.standard_normal(8) * noise)
        ]
        for place, size in enumerate(sizes)
    ]


def name(world: World, cluster: int, words: str | None) -> None:
    with world.catalog.transaction():
        world.catalog.clusterings.name(cluster, words)


def share_kept(before: State, now: State) -> float:
    both = before.cluster_of.keys() & now.cluster_of.keys()
    stayed = that_stayed(before.cluster_of, now.cluster_of, now.images)
    return stayed / sum(now.images[key] for key in both)


@pytest.mark.parametrize("space", ["embedding", "pca"])
def test_images_keep_their_cluster_whatever_the_seed(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=8)
    world.add(120)
    world.cluster(9)
    first = look(world.path)
    for seed in range(1, 6):
        world.add(12)
        result = world.cluster(9, seed=seed)
        assert result.continued
    now = look(world.path)
    assert share_kept(first, now) > 0.8
    assert now.centroids.keys() >= first.centroids.keys() - {one["id"] for one in result.gone}
    world.cluster(9, seed=9, fresh=True)
    assert share_kept(first, look(world.path)) < share_kept(first, now)


def test_a_new_group_takes_an_id_and_the_others_stay(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    old = groups(world, [12, 12, 12])
    world.cluster(3)
    first = look(world.path)
    new = [key for _ in range(9) for key in world.add(1, vector=np.eye(8)[6] * 3)]
    result = world.cluster(4)
    now = look(world.path)
    assert share_kept(first, now) > 0.99
    (fresh,) = result.new
    assert {now.cluster_of[key] for key in new} == {fresh}
    for group in old:
        assert {now.cluster_of[key] for key in group} == {first.cluster_of[group[0]]}
    assert [one["id"] for one in result.kept] == sorted(first.centroids)


def test_another_space_continues_them_too(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    groups(world, [15, 10, 8])
    world.cluster(3)
    first = look(world.path)
    result = world.recluster().cluster(k="3", space="pca", seed=4)
    assert (result.moved, result.new, result.continued) == (0, (), True)
    assert look(world.path).cluster_of == first.cluster_of
    plane = world.recluster().cluster(k="3", space="tsne", seed=4)
    assert not plane.continued


def test_what_came_since_has_no_advantage_where_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    groups(world, [10, 10])
    world.cluster(2)
    first = look(world.path)
    between = np.eye(8)[0] * 1.55 + np.eye(8)[1] * 1.45  # on the side of the first
    (arrival,) = world.add(1, vector=between)
    home = look(world.path).cluster_of[arrival]
    nearest = {
        one: float(np.linalg.norm(between / np.linalg.norm(between) - centroid))
        for one, centroid in first.centroids.items()
    }
    assert home == min(nearest, key=lambda one: nearest[one])
    # The second group moves towards it; a member with an advantage would stay nevertheless.
    for _ in range(4):
        world.add(1, vector=np.eye(8)[0] * 0.9 + np.eye(8)[1] * 1.5)
    world.cluster(2)
    now = look(world.path)
    unit = between / np.linalg.norm(between)
    assert now.cluster_of[arrival] == min(
        now.centroids, key=lambda one: float(np.linalg.norm(unit - now.centroids[one]))
    )
    assert now.cluster_of[arrival] != home


def test_a_cluster_whose_first_images_left_keeps_its_arrivals(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    old = groups(world, [10, 10, 5])
    world.cluster(3)
    cluster = look(world.path).cluster_of[old[2][0]]
    came = world.add(4, vector=np.eye(8)[2] * 3 + 0.01)
    for key in old[2]:
        world.remove(key)
    world.cluster(3)
    assert look(world.path).members(cluster) == set(came)


@pytest.mark.parametrize(("step", "expected"), [("finer", 7), ("coarser", 4)])
def test_one_step(tmp_path: Path, step: str, expected: int) -> None:
    world = World(tmp_path, dims=8)
    groups(world, [14, 11, 9, 8, 7], noise=0.3)
    world.cluster(5)
    world.add(5)
    first = look(world.path)
    seen = world.recluster().cluster(k="3", space="pca", seed=1, step=step, dry_run=True)
    result = world.recluster().cluster(k="3", space="pca", seed=1, step=step)
    assert seen.sizes == result.sizes
    assert (result.k, result.chosen_by) == (expected, "user")
    assert result.sentence == f"k = {expected}: one step {step} than 5"
    now = look(world.path)
    changed = {one for lost in result.merged for one in lost["from"]}
    changed |= {
        first.cluster_of[key]
        for key in first.cluster_of
        if now.cluster_of[key] not in first.centroids
    }
    for cluster in first.centroids.keys() - changed:
        assert now.members(cluster) == first.members(cluster)
    assert len(changed) < 5
    world.recluster().undo()
    assert look(world.path).cluster_of == first.cluster_of


def test_steps_leave_named_clusters_alone(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    groups(world, [9, 9, 9, 9])
    world.cluster(4)
    ids = sorted(look(world.path).centroids)
    for cluster in ids[:2]:
        name(world, cluster, f"name of {cluster}")
    before = {one: look(world.path).members(one) for one in ids[:2]}
    for step, k in (("finer", 6), ("coarser", 4), ("coarser", 3)):
        assert world.cluster(9, step=step).k == k
        assert {one: look(world.path).members(one) for one in ids[:2]} == before
    with pytest.raises(UsageError, match="cannot be coarser: the named clusters stay"):
        world.cluster(9, step="coarser")
    assert world.cluster(2).k == 2  # what has no name joins the nearest named one
    assert len(look(world.path).cluster_of) == 36


def test_a_step_needs_clusters(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(5)
    with pytest.raises(NothingThereError, match="no clusters yet"):
        world.cluster(9, step="finer")
    world.cluster(1)
    with pytest.raises(UsageError, match="cannot be coarser: there is one"):
        world.cluster(9, step="coarser")
    assert world.cluster(9, step="finer").k == 2


def test_steps_where_embeddings_are_equal(tmp_path: Path) -> None:
    world = World(tmp_path)
    for place in range(3):
        for _ in range(4):
            world.add(1, vector=np.eye(6)[place])
    world.cluster(3)
    first = look(world.path)
    current = world.catalog.clusterings.current_id()
    with pytest.raises(UsageError, match=r"cannot be finer: .* no other holds images that differ"):
        world.cluster(9, step="finer")
    assert look(world.path).cluster_of == first.cluster_of
    assert world.catalog.clusterings.current_id() == current  # nothing for --undo to take back


def test_a_coarser_step_leaves_one_cluster_beside_the_named_ones(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    groups(world, [6] * 8)
    world.cluster(8)
    for cluster in sorted(look(world.path).centroids)[:6]:
        name(world, cluster, f"name of {cluster}")
    assert world.cluster(9, step="coarser").k == 7  # a step without named ones would lead to 6


def test_a_provisional_clustering_keeps_its_ids_as_it_grows(tmp_path: Path) -> None:
    world = World(tmp_path, dims=8)
    options: dict[str, Any] = {"provisional": True, "automatic": True}
    groups(world, [7, 7, 6])
    world.cluster(3, **options)
    first = look(world.path)
    groups(world, [20, 20, 20, 20])
    for seed in range(1, 4):
        result = world.cluster(4, seed=seed, **options)
        assert result.provisional
    now = look(world.path)
    assert share_kept(first, now) == 1
    assert now.centroids.keys() > first.centroids.keys()
