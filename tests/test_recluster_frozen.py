"""Named clusters do not move: fits, undo, split, merge, and what happens while they run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.clusters.clustering_history import history
from imgclust.errors import StoppedError, UsageError
from tests.made_up_clusters import State, World, look, wrong_numbers

SPACES = ["embedding", "pca", "smoothed", "tsne"]


def frozen(world: World) -> set[int]:
    return set(world.catalog.clusterings.frozen())


def name(world: World, cluster: int, words: str | None) -> None:
    with world.catalog.transaction():
        world.catalog.clusterings.name(cluster, words)


def members(world: World) -> dict[int, set[int]]:
    """Contents of each frozen cluster."""
    now = look(world.path)
    return {one: now.members(one) for one in frozen(world)}


def largest(state: State) -> int:
    sizes = state.sizes()
    return max(sizes, key=lambda one: (sizes[one], -one))


def assert_kept(world: World, before: dict[int, set[int]], *, named: dict[int, str]) -> None:
    """All members are where they were, nobody else is frozen, no name is lost."""
    now = look(world.path)
    assert frozen(world) == before.keys()
    for cluster, contents in before.items():
        assert contents & now.cluster_of.keys() <= now.members(cluster)
        assert now.names[cluster] == named[cluster]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """60 contents in 6 clusters, of which two are named."""
    made = World(tmp_path)
    made.add(60)
    made.cluster(6)
    ids = sorted(look(made.path).centroids)
    name(made, ids[1], "cats")
    name(made, ids[4], "dogs")
    return made


@pytest.mark.parametrize("space", SPACES)
def test_named_clusters_stay_whatever_is_fitted(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=8)
    world.add(60)
    world.cluster(6)
    for cluster in sorted(look(world.path).centroids)[::2]:
        name(world, cluster, f"name of {cluster}")
    names = look(world.path).names
    for step in range(8):
        before = members(world)
        other = SPACES[(SPACES.index(space) + step // 3) % 3]
        result = world.recluster().cluster(k=str(3 + step), space=other, seed=step)
        assert_kept(world, before, named=names)
        assert result.frozen == tuple(sorted(before))
        assert {one["id"] for one in result.kept} >= before.keys()
        assert result.k == len(look(world.path).centroids)
        world.add(2)
        world.remove(min(look(world.path).cluster_of))


def test_centroids_are_the_means_of_the_members(world: World) -> None:
    before = members(world)
    world.cluster(8, seed=2)
    now = look(world.path)
    for cluster, contents in before.items():
        rows = np.array([now.vectors[key].astype(np.float64) for key in sorted(contents)])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert now.centroids[cluster] == pytest.approx(rows.mean(axis=0), abs=1e-6)
    assert list(wrong_numbers(now, inertia=True)) == []


def test_nothing_named_is_the_same_as_before(tmp_path: Path) -> None:
    plain, other = World(tmp_path / "a"), World(tmp_path / "b")
    for one in (plain, other):
        one.add(40)
        one.cluster(4)
    cluster = min(look(other.path).centroids)
    name(other, cluster, "cats")
    with other.catalog.transaction():
        other.catalog.clusterings.freeze(cluster, False)
    assert plain.cluster(5, seed=3).inertia == other.cluster(5, seed=3).inertia
    assert look(plain.path).cluster_of == look(other.path).cluster_of


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for one in "ab":
        (tmp_path / one).mkdir()


def test_fewer_clusters_than_named_ones(world: World) -> None:
    recluster = world.recluster()
    said = "k = 1 is less than the 2 named clusters"
    for dry_run in (False, True):
        with pytest.raises(UsageError, match=said):
            recluster.cluster(k="1", space="embedding", seed=0, dry_run=dry_run)
    before = members(world)
    raised = recluster.cluster(k="1", space="embedding", seed=0, chosen_by="config")
    assert (raised.k, raised.sentence) == (2, "k = 1 raised to 2, the number of named clusters")
    assert set(look(world.path).centroids) == before.keys()
    assert_kept(world, before, named=look(world.path).names)
    automatic = recluster.cluster(k="1", space="embedding", seed=0, automatic=True)
    assert automatic.k == 2


def test_auto_is_raised_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(12)
    world.cluster(8)
    for cluster in look(world.path).centroids:
        name(world, cluster, f"name of {cluster}")
    before = members(world)
    result = world.cluster("auto")
    assert result.k == 8
    assert "; raised to 8, the number of named clusters" in result.sentence
    assert look(world.path).cluster_of.keys() == set().union(*before.values())
    assert_kept(world, before, named=look(world.path).names)
    more = world.cluster(11)
    assert (more.k, more.notes) == (8, ("k reduced from 11 to 8: there are no other images",))


def test_arrivals_of_a_named_cluster_are_frozen_at_once(world: World) -> None:
    now = look(world.path)
    cluster = min(frozen(world))
    arrived = world.add(3, vector=now.centroids[cluster])
    assert set(arrived) <= look(world.path).members(cluster)
    for seed in range(3):
        world.cluster(5 + seed, seed=seed)
        assert set(arrived) <= look(world.path).members(cluster)


@pytest.mark.parametrize("space", SPACES)
def test_an_empty_named_cluster_stays(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=8)
    world.add(40)
    for _ in range(5):
        world.add(1, vector=np.eye(8)[0] * 9 + np.eye(8)[7] * world._made / 100)
    world.cluster(6)
    (last,) = world.add(1, vector=np.eye(8)[0] * 9)
    apart = look(world.path).cluster_of[last]
    name(world, apart, "rare")
    for key in look(world.path).members(apart):
        world.remove(key)
    for step, other in enumerate([space, *SPACES, space]):
        result = world.recluster().cluster(k=str(5 + step), space=other, seed=step)
        assert result.sizes[apart] == 0
        assert apart in look(world.path).centroids
        assert look(world.path).names[apart] == "rare"
    if space not in {"tsne", "smoothed"}:  # where it lay depends on what is around it
        (back,) = world.add(1, vector=np.eye(8)[0] * 9)
        assert look(world.path).cluster_of[back] == apart


def test_release(world: World) -> None:
    one, other = sorted(frozen(world))
    with world.catalog.transaction():
        world.catalog.clusterings.freeze(one, False)
    assert frozen(world) == {other}
    assert look(world.path).names[one] == "cats"
    name(world, other, None)
    assert frozen(world) == set()
    assert world.cluster(1).k == 1


# Split, merge, undo


def test_the_part_that_keeps_the_id_keeps_the_name(world: World) -> None:
    cluster = max(frozen(world), key=lambda one: len(members(world)[one]))
    before = members(world)
    result = world.recluster().split(cluster, k=str(min(8, len(before[cluster]))))
    now = look(world.path)
    assert cluster in now.centroids
    assert frozen(world) == before.keys()
    parts = {now.cluster_of[key] for key in before[cluster]}
    sizes = now.sizes()
    assert sizes[cluster] == max(sizes[one] for one in parts)
    assert result.frozen == tuple(sorted(before.keys() - {cluster}))
    # Undone, it is as it was; a part that was named since stays.
    part = max(parts - {cluster}, key=lambda one: sizes[one])
    name(world, part, "kittens")
    kittens = look(world.path).members(part)
    world.recluster().undo()
    now = look(world.path)
    assert now.members(cluster) == before[cluster] - kittens
    assert now.members(part) == kittens
    assert frozen(world) == {*before, part}
    assert list(wrong_numbers(now, inertia=False)) == []


def test_a_merge_of_two_named_clusters_says_which_name_ends(world: World) -> None:
    before = look(world.path)
    one, other = sorted(frozen(world), key=lambda c: before.sizes()[c])
    result = world.recluster().merge([one, other])
    assert result.sentence == (
        f"{min(one, other)} and {max(one, other)} merged into {other}; the name ends: "
        f"{before.names[one]} (cluster {one})"
    )
    assert frozen(world) == {other}
    late = world.add(1, vector=before.centroids[one])
    union = before.members(one) | before.members(other) | set(late)
    assert look(world.path).members(other) == union
    world.cluster(4, seed=5)
    assert union <= look(world.path).members(other)
    world.recluster().undo()
    world.recluster().undo()
    now = look(world.path)
    assert frozen(world) == {one, other}
    assert now.members(other) >= before.members(other)
    assert now.members(one) >= before.members(one)
    assert {*late} <= now.members(one) | now.members(other)
    assert now.names == before.names


def test_a_merge_with_a_name(world: World) -> None:
    before = look(world.path)
    one, other = sorted(frozen(world), key=lambda c: before.sizes()[c])
    free = min(before.centroids.keys() - {one, other})
    with pytest.raises(UsageError, match="is called 'cats' already"):
        world.recluster().merge(
            [free, max(frozen(world), key=lambda c: before.names[c])], name="cats"
        )
    world.recluster().merge([one, other], name="pets")
    assert look(world.path).names[other] == "pets"
    assert frozen(world) == {other}
    world.recluster().undo()
    assert look(world.path).names == before.names
    assert frozen(world) == {one, other}
    unnamed = sorted(before.centroids.keys() - {one, other})[:2]
    result = world.recluster().merge(unnamed, name="pets")
    heir = result.merged[0]["into"]
    assert frozen(world) == {one, other, heir}
    world.recluster().undo()
    assert frozen(world) == {one, other}
    assert look(world.path).names == before.names


def test_a_merge_without_named_ones_freezes_nothing(world: World) -> None:
    unnamed = sorted(look(world.path).centroids.keys() - frozen(world))[:2]
    before = frozen(world)
    world.recluster().merge(unnamed)
    assert frozen(world) == before


def test_undo_keeps_what_was_named_after_the_clustering_before(world: World) -> None:
    first = look(world.path)
    world.cluster(8, seed=3)
    later = sorted(look(world.path).centroids.keys() - first.centroids.keys())
    assert later
    name(world, later[0], "new things")
    moved = largest(look(world.path))
    name(world, moved, "many")
    before, names = members(world), look(world.path).names
    result = world.recluster().undo()
    now = look(world.path)
    assert result.clustering == now.number == first.number
    assert_kept(world, before, named=names)
    for cluster, contents in before.items():
        assert now.members(cluster) == contents  # nobody joins a named cluster by an undo
    free = first.cluster_of.keys() - set().union(*before.values())
    stay = [key for key in free if first.cluster_of[key] not in before]
    assert {key: now.cluster_of[key] for key in stay} == {k: first.cluster_of[k] for k in stay}
    assert set(now.cluster_of.values()) <= now.centroids.keys()
    assert dict(result.sizes) == now.sizes()
    assert result.k == len(now.centroids)
    assert list(wrong_numbers(now, inertia=False)) == []


def test_undo_of_an_undo_and_after_names_changed(world: World) -> None:
    world.cluster(7, seed=1)
    world.cluster(9, seed=2)
    name(world, largest(look(world.path)), "many")
    world.add(5)
    for key in sorted(look(world.path).cluster_of)[:3]:
        world.remove(key)
    for _ in range(2):
        before, names = members(world), look(world.path).names
        world.recluster().undo()
        assert_kept(world, before, named=names)
    released = min(frozen(world))
    name(world, released, None)
    world.cluster(6, seed=3)
    before = members(world)
    world.recluster().undo()
    assert_kept(world, before, named=look(world.path).names)


def test_a_clustering_that_an_undo_left_half_adapted_can_be_gone_back_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.clusters import frozen_adaptation

    world.cluster(8, seed=3)
    for cluster in look(world.path).centroids:
        name(world, cluster, f"name of {cluster}")
    before, names = members(world), look(world.path).names
    monkeypatch.setattr(frozen_adaptation, "_CHUNK", 3)
    crashes = 0
    while crashes < 20:
        steps: list[str] = []

        def crash(point: str, steps: list[str] = steps, last: int = crashes) -> None:
            steps.append(point)
            if len(steps) > last:
                raise RuntimeError("crash")

        with monkeypatch.context() as patch:
            patch.setattr(frozen_adaptation, "passing", crash)
            try:
                world.recluster().undo()
            except RuntimeError:
                crashes += 1
                assert_kept(world, before, named=names)
            else:
                break
    assert 1 <= crashes < 20
    assert_kept(world, before, named=names)
    assert set(look(world.path).cluster_of.values()) <= look(world.path).centroids.keys()


# What happens meanwhile


def meanwhile(step: str, act: Callable[[Catalog], None]) -> Callable[[str, int, int | None], None]:
    """Progress that acts once, on a catalog of another process, when a step begins."""
    done: list[int] = []

    def progress(now: str, _: int, __: int | None) -> None:
        if now == step and not done:
            done.append(1)
            act_on(act)

    def act_on(act: Callable[[Catalog], None]) -> None:
        with Catalog(path_of[0]) as catalog:
            act(catalog)

    return progress


path_of: list[Path] = []


@pytest.mark.parametrize("step", ["reading embeddings", "k-means", "writing assignments"])
def test_a_cluster_that_is_named_while_another_process_clusters(world: World, step: str) -> None:
    path_of[:] = [world.path]
    for seed in range(3):
        free = sorted(look(world.path).centroids.keys() - frozen(world))
        if not free:
            break
        chosen = free[0]

        def act(catalog: Catalog, chosen: int = chosen, seed: int = seed) -> None:
            with catalog.transaction():
                catalog.clusterings.name(chosen, f"late {seed}")

        before = look(world.path)
        world.recluster(progress=meanwhile(step, act)).cluster(
            k="9", space="embedding", seed=seed + 1
        )
        now = look(world.path)
        assert now.number > before.number
        assert now.names[chosen] == f"late {seed}"
        assert before.members(chosen) <= now.members(chosen)
        assert chosen in frozen(world)
        assert world.catalog.checking.unpublished() == []


def test_arrivals_and_departures_of_named_clusters_meanwhile(world: World) -> None:
    before = look(world.path)
    cluster = min(frozen(world))
    leaves = min(before.members(cluster))
    came: list[int] = []

    def progress(step: str, _: int, __: int | None) -> None:
        if step == "writing assignments" and not came:
            other = World.__new__(World)
            other.__dict__.update(world.__dict__)
            with Catalog(world.path) as catalog:
                other.catalog = catalog
                came.extend(other.add(60))
                other.remove(leaves)
            world._made = other._made

    seen: dict[int, int] = {}
    assign = type(world.catalog.assignments).assign

    def watch(self: Any, clustering: int, rows: Any, *, arrived: bool) -> None:
        rows = list(rows)
        if arrived and clustering == before.number:
            seen.update({key: one for key, one, _ in rows})
        assign(self, clustering, rows, arrived=arrived)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.catalog.assignments), "assign", watch)
        world.recluster(progress=progress).cluster(k="40", space="embedding", seed=4)
    now = look(world.path)
    assert leaves not in now.cluster_of
    joined = {key: one for key, one in seen.items() if one in frozen(world)}
    assert len(joined) > 5
    assert {key: now.cluster_of[key] for key in joined} == joined
    assert set(came) <= now.cluster_of.keys()


def test_an_automatic_refit_does_not_undo_a_naming(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(40)
    recluster = world.recluster()
    recluster.cluster(k="4", space="embedding", seed=0, provisional=True, automatic=True)
    path_of[:] = [world.path]
    first = look(world.path)

    def act(catalog: Catalog) -> None:
        with catalog.transaction():
            catalog.clusterings.name(min(first.centroids), "mine")
            catalog.clusterings.confirm(first.number)

    with pytest.raises(StoppedError, match="made final meanwhile"):
        world.recluster(progress=meanwhile("writing assignments", act)).cluster(
            k="7", space="embedding", seed=1, provisional=True, automatic=True
        )
    now = look(world.path)
    assert now.number == first.number
    assert now.cluster_of == first.cluster_of
    assert not world.catalog.clusterings.get(now.number).provisional
    # One that is not automatic (the change to another recipe) goes on, and is final.
    done = world.recluster().cluster(k="5", space="embedding", seed=1, provisional=True)
    assert not world.catalog.clusterings.get(look(world.path).number).provisional
    assert done.frozen == (min(first.centroids),)


@pytest.mark.parametrize("kind", ["split", "merge"])
def test_a_name_that_is_given_during_a_change(world: World, kind: str) -> None:
    world.cluster(7, seed=1)
    path_of[:] = [world.path]
    before = look(world.path)
    free = sorted(before.centroids.keys() - frozen(world), key=lambda c: -before.sizes()[c])
    chosen = free[0] if kind == "split" else free[1]

    def act(catalog: Catalog) -> None:
        with catalog.transaction():
            catalog.clusterings.name(chosen, "late")

    recluster = world.recluster(progress=meanwhile("writing assignments", act))
    if kind == "split":
        recluster.split(chosen, k=str(min(9, len(before.members(chosen)))))
    else:
        recluster.merge(free[:2])
    now = look(world.path)
    heir = chosen if kind == "split" else free[0]
    assert now.names[heir] == "late"
    assert heir in frozen(world)
    assert world.catalog.checking.frozen_and_lost(now.number) == []


# Any order of commands


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))]
)
def test_a_random_walk(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    world = World(tmp_path, dims=8)
    world.add(50)
    world.cluster(9)
    names: dict[int, str] = {}
    stories: list[tuple[str, int]] = []
    for step in range(30):
        now = look(world.path)
        held = members(world)
        named = {one: now.names[one] for one in held}
        kind = choose.choice(
            ["cluster"] * 4
            + ["split", "merge", "undo", "undo", "name", "name", "release"]
            + ["add", "add", "remove"]
        )
        stories.append((kind, step))
        ids = sorted(now.centroids)
        one = choose.choice(ids)
        if kind == "cluster":
            k = max(len(held), choose.randint(1, 14))
            world.recluster().cluster(
                k=str(k), space=choose.choice(SPACES), seed=choose.randint(0, 5)
            )
            assert_kept(world, held, named=named)
        elif kind == "split" and len({tuple(now.vectors[k]) for k in now.members(one)}) > 1:
            world.recluster().split(one, k=str(choose.randint(2, 4)))
            assert_kept(
                world,
                {o: m for o, m in held.items() if o != one}
                | ({one: look(world.path).members(one)} if one in held else {}),
                named=named,
            )
        elif kind == "merge" and len(ids) > 2:
            some = choose.sample(ids, 2)
            if not any(now.members(c) for c in some):
                continue
            result = world.recluster().merge(some)
            heir = result.merged[0]["into"]
            after = members(world)
            assert (heir in after) == bool(held.keys() & {*some})
            assert look(world.path).members(heir) == now.members(some[0]) | now.members(some[1])
            for other in held.keys() - {*some}:
                assert held[other] == after[other]
        elif kind == "undo":
            current = world.catalog.clusterings.current()
            assert current is not None
            if current.previous is None:
                continue
            asked = current.lineage.get("asked", {})
            involved = {*asked.get("merge", []), asked.get("split")}
            world.recluster().undo()
            after, names_now = members(world), look(world.path).names
            for other in held.keys() - involved:
                assert held[other] == after[other], stories
                assert names_now[other] == named[other]
            back = look(world.path)
            assert after.keys() - held.keys() <= involved
            for other in held.keys() & involved:
                if "split" in asked:
                    assert held[other] <= back.members(other)
        elif kind == "name":
            name(world, one, f"name {step}")
        elif kind == "release":
            name(world, one, None)
        elif kind == "add":
            world.add(choose.randint(1, 4))
            after = members(world)
            assert all(held[c] <= after[c] for c in held)
        elif kind == "remove" and len(now.cluster_of) > 20:
            contents = sorted(now.cluster_of)
            if choose.random() < 0.2 and now.members(one):
                contents = sorted(now.members(one))[:20]
                for key in contents:
                    world.remove(key)
            else:
                world.remove(choose.choice(contents))
        now = look(world.path)
        assert world.catalog.checking.frozen_and_lost(now.number) == [], stories
        assert set(now.cluster_of.values()) <= now.centroids.keys(), stories
        assert now.cluster_of.keys() == world.catalog.contents.shapes().keys()
        names |= now.names
    assert all(one.words for one in history(world.catalog))
