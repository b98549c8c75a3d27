"""Corrections in every clustering: random ones, and an oracle that reads them by its own SQL."""

from __future__ import annotations

import itertools
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.clusters.correction_conflicts import ContradictionError, TooFewClustersError
from imgclust.clusters.correction_demands import enforce, follow_lineage
from imgclust.clusters.model import ArrivalAssigner, Model
from imgclust.errors import NothingThereError, UsageError
from tests.made_up_clusters import RECIPE, World, look
from tests.oracle import violated


def wrong(world: World) -> list[str]:
    with sqlite3.connect(f"file:{world.path}?mode=ro", uri=True) as database:
        found = violated(database)
    database.close()
    return found


def say(
    world: World,
    kind: str,
    content: int,
    *,
    other: int | None = None,
    cluster: int | None = None,
    near: float = 2.0,
) -> int:
    """A correction as a command makes it."""
    catalog = world.catalog
    with catalog.transaction():
        for one in catalog.corrections.about([content]):
            if kind == one.kind == "in":
                catalog.corrections.end([one.id], "changed")
        number = catalog.corrections.add(
            kind, content, other=other, cluster=cluster, made_by="command", near=near
        )
        current = catalog.clusterings.current()
        assert current is not None
        enforce(catalog, Model(catalog, current), new=[number])
        catalog.clusterings.confirm(current.id)
    return number


def active(world: World) -> int:
    return sum(one.follows is None for one in world.catalog.corrections.active())


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.add(60)
    made.cluster(6)
    return made


@pytest.mark.parametrize("space", ["embedding", "pca", "smoothed", "tsne"])
def test_an_image_stays_where_a_person_put_it(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space)
    world.add(60)
    world.cluster(6)
    state = look(world.path)
    content = min(state.cluster_of)
    target = next(one for one in sorted(state.centroids) if one != state.cluster_of[content])
    say(world, "in", content, cluster=target)
    for seed in range(3):
        for fresh in (True, False):
            world.cluster(4 + seed, seed=seed, fresh=fresh)
            now = look(world.path)
            assert now.cluster_of[content] == target
            assert wrong(world) == []
    before = look(world.path).members(target)
    assert len(before) > 1  # the cluster lives on with others, not as an island of one


def test_a_cluster_that_an_image_was_put_into_continues_its_members(world: World) -> None:
    state = look(world.path)
    sizes = state.sizes()
    target = max(sizes, key=lambda one: sizes[one])
    stranger = next(key for key, one in sorted(state.cluster_of.items()) if one != target)
    members = state.members(target)
    say(world, "in", stranger, cluster=target)
    world.cluster(6, seed=5, fresh=True)
    now = look(world.path).members(target)
    assert len(now & members) >= len(members) / 2


def test_an_excluded_image_joins_the_nearest_other_cluster(world: World) -> None:
    state = look(world.path)
    content = min(state.cluster_of)
    home = state.cluster_of[content]
    vector = state.vectors[content].astype(np.float64)
    vector /= np.linalg.norm(vector)
    others = {
        one: np.linalg.norm(vector - row) for one, row in state.centroids.items() if one != home
    }
    say(world, "not_in", content, cluster=home)
    assert look(world.path).cluster_of[content] == min(others, key=lambda one: others[one])
    world.cluster(6, seed=1)
    assert look(world.path).cluster_of[content] != home
    assert wrong(world) == []


def test_together_and_apart(world: World) -> None:
    state = look(world.path)
    one, two, three = sorted(state.cluster_of)[:3]
    say(world, "together", one, other=two)
    say(world, "apart", one, other=three)
    for k in (2, 3, 9):
        world.cluster(k, seed=k, fresh=True)
        assert wrong(world) == []


def test_contradictions_name_the_correction_in_the_way(world: World) -> None:
    state = look(world.path)
    content = min(state.cluster_of)
    home, other = state.cluster_of[content], max(state.centroids)
    first = say(world, "not_in", content, cluster=home)
    with pytest.raises(ContradictionError, match=f"correction {first}: ") as error:
        say(world, "in", content, cluster=home)
    assert error.value.numbers == (first,)
    assert active(world) == 1  # what was refused is not stored
    second = max(set(state.cluster_of) - {content})
    third = say(world, "together", content, other=second)
    fourth = say(world, "in", content, cluster=other if other != home else min(state.centroids))
    with pytest.raises(ContradictionError) as error:
        say(world, "apart", second, other=content)
    assert set(error.value.numbers) & {third, fourth}


def test_too_few_clusters_are_refused_before_anything_is_published(world: World) -> None:
    one, two, *_ = sorted(look(world.path).cluster_of)
    number = say(world, "apart", one, other=two)
    before = look(world.path).number
    with pytest.raises(UsageError, match=f"correction {number}"):
        world.cluster(1)
    assert look(world.path).number == before
    assert world.catalog.checking.unpublished() == []
    state = look(world.path)
    for content, cluster in list(
        zip(sorted(state.cluster_of), sorted(state.centroids), strict=False)
    )[2:5]:
        say(world, "in", content, cluster=cluster)
    with pytest.raises(UsageError, match="images were put into"):
        world.cluster(2)


def test_corrections_follow_a_split_a_merge_and_an_undo(world: World) -> None:
    state = look(world.path)
    sizes = state.sizes()
    divided = max(sizes, key=lambda one: sizes[one])
    inside = sorted(state.members(divided))[0]
    outside = next(key for key, one in sorted(state.cluster_of.items()) if one != divided)
    put = say(world, "in", inside, cluster=divided)
    kept_out = say(world, "not_in", outside, cluster=divided)
    world.recluster().split(divided, k=3)
    parts = set(look(world.path).centroids) - set(state.centroids) | {divided}
    now = {one.id: one for one in world.catalog.corrections.active()}
    assert now[put].cluster == look(world.path).cluster_of[inside]
    barred = {one.cluster for one in now.values() if one.content == outside}
    assert barred == parts
    assert wrong(world) == []
    world.recluster().undo()
    again = {one.id: one for one in world.catalog.corrections.active()}
    assert again.keys() == {put, kept_out}
    assert again[put].cluster == again[kept_out].cluster == divided
    other = next(
        one
        for one in sorted(state.centroids)
        if one not in (divided, look(world.path).cluster_of[outside])
    )
    world.recluster().merge([divided, other])
    heir = (set(state.centroids) & set(look(world.path).centroids)) & {divided, other}
    assert {one.cluster for one in world.catalog.corrections.active()} == heir
    assert wrong(world) == []
    with pytest.raises(ContradictionError, match=f"correction {kept_out}"):
        world.recluster().merge([*heir, look(world.path).cluster_of[outside]])


def test_an_undo_says_what_it_cannot_apply_and_keeps_it(world: World) -> None:
    before = set(look(world.path).centroids)
    world.cluster(9, seed=3, fresh=True)
    state = look(world.path)
    fresh = sorted(set(state.centroids) - before)[0]
    content = next(key for key, one in sorted(state.cluster_of.items()) if one != fresh)
    number = say(world, "in", content, cluster=fresh)
    result = world.recluster().undo()
    assert any(f"({number}: " in note for note in result.notes)
    assert active(world) == 1
    assert wrong(world) == []


def test_near_copies_follow(world: World) -> None:
    state = look(world.path)
    content = min(state.cluster_of)
    target = next(one for one in sorted(state.centroids) if one != state.cluster_of[content])
    say(world, "in", content, cluster=target, near=0.98)
    (late,) = world.add(1, vector=state.vectors[content].astype(np.float32) * 1.01)
    (stranger,) = world.add(1, vector=-state.vectors[content].astype(np.float32))
    now = look(world.path).cluster_of
    assert now[late] == target
    assert [one.content for one in world.catalog.corrections.active()] == [content, late]
    assert stranger in now
    world.cluster(5, seed=2, fresh=True)
    assert look(world.path).cluster_of[late] == target
    assert wrong(world) == []


def test_a_correction_while_a_fit_runs_counts_in_it(world: World) -> None:
    state = look(world.path)
    content = min(state.cluster_of)
    target = next(one for one in sorted(state.centroids) if one != state.cluster_of[content])
    told: list[str] = []

    def interfere(step: str, done: int, total: int | None) -> None:
        if step == "writing assignments" and not told:
            told.append(step)
            with Catalog(world.path) as other, other.transaction():
                other.corrections.add("in", content, cluster=target, made_by="command")
                current = other.clusterings.current()
                assert current is not None
                enforce(other, Model(other, current))

    world.recluster(progress=interfere).cluster(k="6", space="embedding", seed=4, fresh=True)
    assert told
    assert look(world.path).cluster_of[content] == target
    assert wrong(world) == []


def tell_something(world: World, choose: random.Random) -> bool:
    """A random correction; False when it was refused."""
    state = look(world.path)
    contents, clusters = sorted(state.cluster_of), sorted(state.centroids)
    kind = choose.choice(["in", "in", "not_in", "together", "apart"])
    one, two = choose.sample(contents, 2)
    try:
        if kind in {"together", "apart"}:
            say(world, kind, one, other=two)
        else:
            say(world, kind, one, cluster=choose.choice(clusters))
    except ContradictionError:
        return False
    return True


def change_something(world: World, choose: random.Random, step: int) -> None:
    state = look(world.path)
    clusters = sorted(state.centroids)
    way = choose.choice(["fit", "fit", "fresh", "split", "merge", "undo", "add", "remove"])
    try:
        if way in {"fit", "fresh"}:
            world.cluster(choose.randint(2, 14), seed=step, fresh=way == "fresh")
        elif way == "split":
            world.recluster().split(choose.choice(clusters), k=2)
        elif way == "merge":
            world.recluster().merge(choose.sample(clusters, 2))
        elif way == "undo":
            world.recluster().undo()
        elif way == "add":
            world.add(3)
        else:
            spoken = {key for one in world.catalog.corrections.active() for key in one.contents}
            free = sorted(set(state.cluster_of) - spoken)
            if free:
                world.remove(choose.choice(free))
    except (UsageError, NothingThereError):
        pass  # what cannot be satisfied is refused, and nothing changes


def wander(world: World, *, corrections: int, changes: int, seed: int) -> None:
    choose = random.Random(seed)
    made = 0
    lost = {one.id for one in world.catalog.corrections.every() if one.ended is not None}
    for step in range(corrections):
        made += tell_something(world, choose)
        assert wrong(world) == []
        if step % 10 == 9:
            change_something(world, choose, step)
            assert wrong(world) == []
    assert made > corrections / 4
    said = {
        (one.kind, one.content, one.other)
        for one in world.catalog.corrections.active()
        if one.follows is None
    }
    for step in range(changes):
        change_something(world, choose, step)
        assert wrong(world) == [], step
        now = {
            (one.kind, one.content, one.other)
            for one in world.catalog.corrections.active()
            if one.follows is None
        }
        assert now == said, step
        ArrivalAssigner(world.catalog).catch_up(RECIPE)
        assert wrong(world) == [], step
    assert lost == set()


@pytest.mark.parametrize(("seed", "space"), [(1, "embedding"), (2, "smoothed"), (3, "pca")])
def test_random_corrections(tmp_path: Path, seed: int, space: str) -> None:
    world = World(tmp_path, space=space)
    world.add(60)
    world.cluster(6)
    wander(world, corrections=20, changes=8, seed=seed)


@pytest.mark.slow
def test_two_hundred_corrections_and_a_hundred_changes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(150)
    world.cluster(10)
    wander(world, corrections=200, changes=100, seed=3)


def test_what_was_taken_out_of_a_split_cluster_may_be_in_one_that_was_there(world: World) -> None:
    """An image is in a cluster of its own and not in the one it came from, which then splits."""
    before = look(world.path)
    origin = max(before.centroids, key=[*before.cluster_of.values()].count)
    content = next(key for key, one in before.cluster_of.items() if one == origin)
    there = next(one for one in before.centroids if one != origin)
    say(world, "in", content, cluster=there)
    say(world, "not_in", content, cluster=origin)
    part = max(before.centroids) + 1
    with world.catalog.transaction():
        current = world.catalog.clusterings.current_id()
        assert current is not None
        follow_lineage(world.catalog, current, split={origin: (there, part)}, merged={}, new=[part])
    found = {(one.kind, one.cluster) for one in world.catalog.corrections.active()}
    assert found == {("in", there), ("not_in", origin), ("not_in", part)}


def test_what_was_taken_out_of_a_merged_cluster_stays_in_its_own(world: World) -> None:
    before = look(world.path)
    heir, gone = sorted(before.centroids)[:2]
    content = next(key for key, one in before.cluster_of.items() if one == heir)
    other = next(key for key, one in before.cluster_of.items() if one not in {heir, gone})
    say(world, "not_in", content, cluster=gone)
    say(world, "not_in", other, cluster=gone)
    with world.catalog.transaction():
        current = world.catalog.clusterings.current_id()
        assert current is not None
        follow_lineage(world.catalog, current, split={}, merged={gone: heir}, new=[])
    found = {(one.content, one.cluster) for one in world.catalog.corrections.active()}
    assert found == {(content, gone), (other, heir)}


def apart_each(world: World, contents: list[int]) -> list[int]:
    return [
        say(world, "apart", one, other=other)
        for place, one in enumerate(contents)
        for other in contents[:place]
    ]


def test_only_corrections_in_the_way_are_named(world: World) -> None:
    contents = sorted(look(world.path).cluster_of)
    clusters = sorted(look(world.path).centroids)
    for one, other in zip(contents[20:40:2], contents[21:40:2], strict=True):  # nothing of it
        say(world, "apart", one, other=other)
    say(world, "in", contents[50], cluster=clusters[0])
    first = say(world, "together", contents[0], other=contents[1])
    say(world, "together", contents[1], other=contents[4])  # tied to them, and not in the way
    second = say(world, "together", contents[1], other=contents[2])
    with pytest.raises(ContradictionError) as error:
        say(world, "apart", contents[0], other=contents[2])
    assert error.value.numbers == (first, second)
    third = say(world, "in", contents[2], cluster=clusters[1])
    with pytest.raises(ContradictionError) as error:
        say(world, "not_in", contents[0], cluster=clusters[1])
    assert set(error.value.numbers) == {first, second, third}
    assert f"--remove {first} (or {second}, or {third})" in str(error.value)
    with pytest.raises(ContradictionError) as error:
        say(world, "not_in", contents[2], cluster=clusters[1])
    assert error.value.numbers == (third,)
    assert str(error.value).endswith(
        f"to take it back: imgclust clusters corrections --remove {third}"
    )


def test_of_a_long_chain_only_the_links_between_are_named(world: World) -> None:
    contents = sorted(look(world.path).cluster_of)
    clusters = sorted(look(world.path).centroids)
    chain = [
        say(world, "together", one, other=other) for one, other in itertools.pairwise(contents[:56])
    ]
    branch = say(world, "together", contents[10], other=contents[56])
    with pytest.raises(ContradictionError) as error:
        say(world, "apart", contents[8], other=contents[56])
    assert error.value.numbers == (chain[8], chain[9], branch)
    put = say(world, "in", contents[20], cluster=clusters[0])
    with pytest.raises(ContradictionError) as error:
        say(world, "not_in", contents[23], cluster=clusters[0])
    assert error.value.numbers == (*chain[20:23], put)
    with pytest.raises(ContradictionError) as error:
        say(world, "apart", contents[0], other=contents[55])  # all of the chain
    assert error.value.numbers == tuple(chain)
    assert "and 52 more" in str(error.value)
    say(world, "apart", contents[57], other=contents[3])
    with pytest.raises(ContradictionError) as error:  # what is new ties the two together
        say(world, "together", contents[57], other=contents[1])
    assert set(error.value.numbers) == {chain[1], chain[2], max(error.value.numbers)}
    assert len(error.value.numbers) == 3


def test_in_one_cluster_a_no_says_that_more_clusters_are_needed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(30)
    world.cluster(1)
    contents = sorted(look(world.path).cluster_of)
    for one in contents[10:20]:
        say(world, "together", one, other=contents[20])
    for kind in ({"other": contents[1]}, {"cluster": min(look(world.path).centroids)}):
        with pytest.raises(TooFewClustersError) as error:
            say(world, "apart" if "other" in kind else "not_in", contents[0], **kind)
        assert (error.value.numbers, error.value.clusters, error.value.needed) == ((), 1, 2)
        assert "make more with imgclust cluster -k 2" in str(error.value)
        assert "--remove" not in str(error.value)
    world.catalog.clusterings.freeze(min(look(world.path).centroids), True)
    with pytest.raises(TooFewClustersError, match=r"with imgclust clusters split \d+ -k 2$"):
        say(world, "apart", contents[0], other=contents[1])
    assert active(world) == 10


def test_as_many_clusters_are_asked_for_as_it_takes(world: World) -> None:
    contents = sorted(look(world.path).cluster_of)
    numbers = apart_each(world, contents[:4])
    say(world, "apart", contents[10], other=contents[11])
    with pytest.raises(TooFewClustersError, match="use -k 4 or more") as error:
        world.cluster(3, fresh=True)
    assert set(error.value.numbers) == set(numbers)
    assert error.value.needed == 4
    with pytest.raises(TooFewClustersError, match="2 clusters are too few for") as error:
        world.cluster(2)
    assert (len(error.value.numbers), error.value.needed) == (3, 4)
    with pytest.raises(TooFewClustersError, match="1 cluster is too few for") as error:
        world.cluster(1)
    assert (len(error.value.numbers), error.value.needed) == (1, 4)
    assert "--remove" not in str(error.value)  # taking that one back would not do
    assert wrong(world) == []
    world.cluster(4)
    for one in contents[:3]:
        say(world, "apart", one, other=contents[4])
    with pytest.raises(TooFewClustersError, match="make more with imgclust cluster -k 5"):
        say(world, "apart", contents[3], other=contents[4])
    assert world.catalog.clusterings.count(look(world.path).number) == 4


@pytest.mark.parametrize("fresh", [True, False])
def test_a_number_that_nobody_asked_for_is_raised(world: World, fresh: bool) -> None:
    contents = sorted(look(world.path).cluster_of)
    say(world, "apart", contents[10], other=contents[11])
    say(world, "apart", contents[20], other=contents[21])
    apart_each(world, contents[:5])
    done = world.recluster().cluster(
        k="3", space="embedding", seed=1, fresh=fresh, chosen_by="config"
    )
    assert done.k == 5
    assert done.sentence == "k = 5: as few as what people said allows"
    assert wrong(world) == []


def test_what_was_contradicted_while_an_image_was_away_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    contents = world.add(60)
    world.cluster(6)
    state = look(world.path)
    clusters = sorted(state.centroids)
    one, other, third = contents[:3]
    vector = state.vectors[one].astype(np.float32)
    old = say(world, "in", one, cluster=clusters[0])
    kept = say(world, "apart", one, other=other)
    tied = say(world, "together", other, other=third)
    world.remove(one)
    new = say(world, "in", other, cluster=clusters[0])
    unrelated = say(world, "in", contents[10], cluster=clusters[2])
    (back,) = world.add(1, vector=vector, number=0)
    assert back == one
    rows = {row.id: row.reason for row in world.catalog.corrections.every()}
    assert rows == {old: "contradicted", kept: None, tied: None, new: None, unrelated: None}
    assert wrong(world) == []
    said = [sentence for _, kind, sentence in world.catalog.events(5) if kind == "corrections"]
    assert len(said) == 1
    assert f"correction {old} ends (image" in said[0]
    world.cluster(5, seed=2)
    assert wrong(world) == []


def test_an_image_that_comes_back_to_too_few_clusters_ends_no_arrival(tmp_path: Path) -> None:
    world = World(tmp_path)
    contents = world.add(60)
    world.cluster(6)
    vector = look(world.path).vectors[contents[0]].astype(np.float32)
    numbers = apart_each(world, contents[:3])
    world.remove(contents[0])
    world.cluster(2, fresh=True)
    world.add(1, vector=vector, number=0)
    rows = {row.id: row.reason for row in world.catalog.corrections.every()}
    assert sorted(rows) == sorted(numbers)
    assert [*rows.values()].count("contradicted") == 1
    assert wrong(world) == []
