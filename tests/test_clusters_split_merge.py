"""Split, merge, undo and history: against an oracle that reads the catalog by itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from imgclust.clusters.clustering_history import history, life
from imgclust.clusters.service import Recluster
from imgclust.errors import ClusteringError, NothingThereError, RecipeError, UsageError
from tests.made_up_clusters import (
    State,
    World,
    look,
    most_that_can_stay,
    that_stayed,
    wrong_numbers,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """60 contents, 12 of them with three images, in 4 clusters; then 6 arrivals."""
    made = World(tmp_path)
    made.add(48)
    made.add(12, copies=3)
    made.cluster(4)
    made.add(6)
    return made


def assert_others_stay(before: State, after: State, changed: set[int]) -> None:
    """Every cluster but the changed ones has id, centroid, contents and distances as before."""
    for cluster in before.centroids.keys() - changed:
        assert after.members(cluster) == before.members(cluster)
        assert np.array_equal(after.centroids[cluster], before.centroids[cluster])
        assert after.facts["rows"][cluster] == before.facts["rows"][cluster]
        assert after.facts["arrivals"].get(cluster) == before.facts["arrivals"].get(cluster)
        for key in before.members(cluster):
            assert after.distances[key] == before.distances[key]
            assert (key in after.arrived) == (key in before.arrived)


def largest(state: State) -> int:
    sizes = state.sizes()
    return max(sizes, key=lambda one: (sizes[one], -one))


def test_a_split_leaves_all_other_clusters_as_they_are(world: World) -> None:
    before = look(world.path)
    cluster = largest(before)
    result = world.recluster().split(cluster, k="2")
    after = look(world.path)
    assert result.clustering == after.number == before.number + 1
    assert_others_stay(before, after, {cluster})
    parts = after.centroids.keys() - (before.centroids.keys() - {cluster})
    assert set().union(*(after.members(one) for one in parts)) == before.members(cluster)
    assert len(parts) == 2
    assert result.k == 5
    assert dict(result.sizes) == after.sizes()
    assert list(wrong_numbers(after, inertia=True)) == []
    assert result.inertia == pytest.approx(after.inertia, rel=1e-12)
    assert result.inertia < sum(one**2 for one in before.distances.values())
    # The larger part holds half or more: it goes on with the id, the other gets a new one.
    sizes = after.sizes()
    new = max(after.centroids)
    assert parts == {cluster, new}
    assert new > max(before.centroids)
    assert sizes[cluster] >= sizes[new]
    assert result.new == (new,)
    assert result.moved == sizes[new]
    assert result.chosen_by == "user"
    fitted = before.facts["contents"]
    assert after.facts["contents"] == fitted + len(before.members(cluster) & before.arrived)


def test_parts_without_three_tenths_all_get_new_ids(world: World) -> None:
    before = look(world.path)
    cluster = largest(before)
    with world.catalog.transaction():
        world.catalog.clusterings.name(cluster, "many things")
        world.catalog.clusterings.freeze(cluster, False)  # its name alone does not hold it
    result = world.recluster().split(cluster, k="12")
    after = look(world.path)
    sizes = after.sizes()
    total = before.sizes()[cluster]
    parts = sorted(after.centroids.keys() - (before.centroids.keys() - {cluster}))
    assert max(sizes[one] for one in parts) < 0.3 * total
    assert cluster not in parts
    assert result.gone == ({"id": cluster, "name": "many things"},)
    assert result.new == tuple(parts)
    assert result.split == ()  # no part holds a quarter
    newest, _ = history(world.catalog)
    assert newest.words[0].startswith(f"{cluster} (many things) split into {parts[0]}, ")
    told = life(world.catalog, cluster)
    assert (told.alive, told.name, told.events[-1].images) == (False, "many things", None)


def test_a_dry_run_says_what_the_split_does_and_changes_nothing(world: World) -> None:
    before = look(world.path)
    cluster = largest(before)
    would = world.recluster().split(cluster, k="3", dry_run=True)
    assert look(world.path).number == before.number
    done = world.recluster().split(cluster, k="3")
    assert would.clustering is None
    assert (would.sizes, would.kept, would.split) == (done.sizes, done.kept, done.split)
    assert (would.new, would.gone, would.moved) == (done.new, done.gone, done.moved)
    assert would.inertia == done.inertia


def test_the_knee_of_a_cluster_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    generator = np.random.default_rng(1)
    corners = [(1, 0, 0), (1, 0.3, 0), (1, 0, 0.3), (-1, 0, 0)]
    for corner in corners:
        for _ in range(40):
            world.add(1, vector=np.array(corner) + generator.normal(0, 0.01, 3))
    world.cluster(2)
    cluster = largest(look(world.path))
    result = world.recluster().split(cluster, k="auto")
    assert (result.chosen_by, result.k) == ("knee", 4)
    assert "into 3 clusters; k = 3: the knee" in result.sentence


def test_a_cluster_without_groups_stays_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add(6)
    world.cluster(1)
    before = look(world.path)
    result = world.recluster().split(1, k="auto")
    assert look(world.path).number == result.clustering == before.number
    assert (result.chosen_by, result.moved, result.new, result.gone) == ("rule", 0, (), ())
    assert result.sentence.startswith("cluster 1 stays whole: no clear knee: 6 embeddings")


def test_what_cannot_be_split_or_merged_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    recluster = world.recluster()
    with pytest.raises(NothingThereError, match="no clusters yet"):
        recluster.split(1, k="2")
    same = np.array([1, 0, 0, 0, 0, 0])
    other = np.array([0, 1, 0, 0, 0, 0])
    (alone,) = world.add(1, vector=other)
    world.add(3, vector=same)
    world.cluster(2)
    assert look(world.path).sizes() == {1: 3, 2: 1}
    with pytest.raises(
        NothingThereError, match="the 3 images of cluster 1 have identical embeddings"
    ):
        recluster.split(1, k="2")
    with pytest.raises(NothingThereError, match="cluster 2 has one image"):
        recluster.split(2, k="auto")
    with pytest.raises(NothingThereError, match="no cluster 9; there are 2 clusters: 1, 2"):
        recluster.split(9, k="2")
    with pytest.raises(NothingThereError, match="no cluster 9"):
        recluster.merge([1, 9])
    for k in ("1", "0", "-2", "many"):
        with pytest.raises(UsageError, match="neither auto nor a whole number from 2"):
            recluster.split(1, k=k)
    with pytest.raises(UsageError, match="two or more"):
        recluster.merge([1, 1])
    world.remove(alone)
    with pytest.raises(NothingThereError, match="cluster 2 has no images now"):
        recluster.split(2, k="2")
    assert recluster.merge([1, 2]).sizes == {1: 3}
    with pytest.raises(NothingThereError, match="never was a cluster 9"):
        life(world.catalog, 9)


def test_more_parts_than_different_images(tmp_path: Path) -> None:
    world = World(tmp_path)
    for corner in ((1, 0), (0, 1), (0, 1)):
        world.add(1, vector=corner)
    world.cluster(1)
    result = world.recluster().split(1, k="5")
    assert result.k == 2
    assert result.sentence == (
        "split cluster 1 into 2 clusters; k = 2: there are only 2 distinct embeddings; 5 was asked"
    )
    assert result.notes == ()


def test_clusters_of_another_recipe_are_not_mixed(world: World) -> None:
    other = Recluster(
        world.catalog,
        recipe="another",
        settings=world.recluster()._settings,
        lock=world.folder / "clustering.lock",
        charts_folder=world.folder,
    )
    with pytest.raises(RecipeError, match=r"made up.*another"):
        other.split(1, k="2")


def test_a_merge_is_the_mean_of_all_contents(world: World) -> None:
    before = look(world.path)
    first, second = sorted(before.centroids)[:2]
    result = world.recluster().merge([second, first])
    after = look(world.path)
    heir = max((first, second), key=lambda one: (before.sizes()[one], -one))
    (gone,) = {first, second} - {heir}
    assert_others_stay(before, after, {first, second})
    assert after.members(heir) == before.members(first) | before.members(second)
    rows = np.array([after.vectors[key].astype(np.float64) for key in after.members(heir)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert after.centroids[heir] == pytest.approx(rows.mean(axis=0), abs=1e-7)
    assert list(wrong_numbers(after, inertia=True)) == []
    assert result.merged == ({"from": [first, second], "into": heir},)
    assert result.gone == ({"id": gone, "name": None},)
    assert (result.k, result.new, result.moved) == (3, (), before.sizes()[gone])
    assert history(world.catalog)[0].words == (f"{first} and {second} merged into {heir}",)


def test_a_merge_of_many_equal_clusters_keeps_the_largest_with_the_lowest_id(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    for corner in np.eye(6):
        world.add(2, vector=corner)
    world.cluster(6)
    result = world.recluster().merge([6, 5, 4, 3, 2])
    assert dict(result.sizes) == {1: 2, 2: 10}
    assert result.kept == (
        {"id": 1, "images": 2, "jaccard": 1.0},
        {"id": 2, "images": 2, "jaccard": 0.2},
    )


def test_the_only_name_survives_a_merge_and_goes_back_with_undo(world: World) -> None:
    sizes = look(world.path).sizes()
    small, large = sorted(sizes, key=lambda one: (sizes[one], -one))[::3]
    third = next(one for one in sizes if one not in {small, large})

    def names() -> dict[int, str]:
        return world.catalog.clusterings.names()

    with world.catalog.transaction():
        world.catalog.clusterings.name(small, "cats")
    result = world.recluster().merge([small, large])
    assert result.gone == ({"id": small, "name": "cats"},)
    assert names()[large] == "cats"
    back = world.recluster().undo()
    assert names() == {small: "cats"}
    # An id that comes back is not new.
    assert (back.new, back.returned, back.gone) == ((), ({"id": small, "name": "cats"},), ())
    assert back.split == ({"from": large, "into": sorted((small, large))},)
    assert set(back.sizes) == {one["id"] for one in (*back.kept, *back.returned)}
    # A name given after the merge stays.
    world.recluster().merge([small, large])
    with world.catalog.transaction():
        world.catalog.clusterings.name(large, "dogs")
    world.recluster().undo()
    assert names() == {small: "cats", large: "dogs"}
    # Two names: that of the largest, or of the largest one that has a name.
    world.recluster().merge([small, large])
    assert names()[large] == "dogs"
    world.recluster().undo()
    with world.catalog.transaction():
        world.catalog.clusterings.name(large, None)
        world.catalog.clusterings.name(third, "birds")
    result = world.recluster().merge([small, large, third])
    assert names()[large] == "birds"
    assert f"the name ends: cats (cluster {small})" in result.sentence
    assert {one["name"] for one in history(world.catalog)[0].lineage["gone"]} == {"cats", "birds"}


def test_arrivals_join_the_nearest_of_the_new_centroids(world: World) -> None:
    world.recluster().split(largest(look(world.path)), k="3")
    keys = world.add(20)
    after = look(world.path)
    for key in keys:
        vector = after.vectors[key].astype(np.float64)
        vector /= np.linalg.norm(vector)
        apart = {one: ((vector - mean) ** 2).sum() for one, mean in after.centroids.items()}
        assert after.cluster_of[key] == min(apart, key=lambda one: apart[one])
        assert key in after.arrived


def test_what_comes_and_goes_while_a_split_is_written(world: World) -> None:
    before = look(world.path)
    cluster = largest(before)
    going = min(before.members(cluster))
    came: list[int] = []

    def meanwhile(step: str, done: int, total: int | None) -> None:
        if step == "writing assignments" and not came:
            other = World.__new__(World)
            other.__dict__.update(world.__dict__)
            with type(world.catalog)(world.path) as second:
                other.catalog = second
                came.extend(other.add(4))
                other.remove(going)
            world._made = other._made

    world.recluster(progress=meanwhile).split(cluster, k="2")
    after = look(world.path)
    assert len(came) == 4
    assert after.cluster_of.keys() == (before.cluster_of.keys() | set(came)) - {going}
    assert set(came) <= after.arrived


@pytest.mark.parametrize("space", ["pca", "tsne"])
def test_other_spaces_keep_their_projection(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=12)
    world.add(40)
    world.cluster(3)
    world.add(3)
    before = look(world.path)
    cluster = largest(before)
    clusterings = world.catalog.clusterings
    projection = clusterings.get(before.number).projection
    world.recluster().split(cluster, k="2")
    after = look(world.path)
    assert_others_stay(before, after, {cluster})
    assert clusterings.get(after.number).projection == projection is not None
    world.recluster().merge(sorted(after.centroids)[:2])
    world.add(3)
    merged = look(world.path)
    assert len(merged.cluster_of) == 46
    # Undone twice, all is as it was, and what came since has a cluster.
    world.recluster().undo()
    world.recluster().undo()
    back = look(world.path)
    assert back.number == before.number
    assert {key: back.cluster_of[key] for key in before.cluster_of} == before.cluster_of
    assert len(back.cluster_of) == 46


@pytest.mark.parametrize("seed", range(1, 5))
def test_another_seed_and_new_images_keep_all_ids_that_can_be_kept(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path)
    world.add(100, copies=1)
    world.add(20, copies=2)
    world.cluster(9)
    first = look(world.path)
    world.add(6)  # 5 per cent
    before = look(world.path)
    result = world.cluster(9, seed=seed)
    after = look(world.path)
    best = most_that_can_stay(before.cluster_of, after.cluster_of, after.images)
    assert that_stayed(before.cluster_of, after.cluster_of, after.images) == best
    assert result.moved == sum(before.sizes().values()) - best
    assert all(one > max(first.centroids) for one in result.new)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "cluster",
                "cluster",
                "step",
                "split",
                "merge",
                "undo",
                "undo",
                "name",
                "add",
                "remove",
            ]
        ),
        st.integers(0, 10_000),
    ),
    min_size=4,
    max_size=14,
)


class Story:
    """Plain Python's idea of what a sequence of commands leaves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.used: set[int] = set()
        self.stack: list[tuple[int, dict[int, int]]] = []
        self.check(look(world.path))

    def check(self, now: State) -> None:
        """What holds after every step."""
        assert now.cluster_of.keys() == self.world.catalog.contents.shapes().keys()
        assert set(now.cluster_of.values()) <= now.centroids.keys()
        assert list(wrong_numbers(now, inertia=False)) == []
        if not self.stack or self.stack[-1][0] != now.number:
            self.stack.append((now.number, now.cluster_of))
        self.used |= now.centroids.keys()

    def forward(self, before: State, result: Any) -> State:
        """A new clustering: ids of old clusters or never used ones, all that left are told."""
        now = look(self.world.path)
        assert list(wrong_numbers(now, inertia=True)) == []
        fresh = now.centroids.keys() - before.centroids.keys()
        assert not fresh & self.used
        assert fresh == set(result.new)
        lost = before.centroids.keys() - now.centroids.keys()
        assert {one["id"]: one["name"] for one in result.gone} == {
            one: before.names.get(one) for one in lost
        }
        kept = {one["id"] for one in result.kept}
        assert kept == before.centroids.keys() & now.centroids.keys()
        assert dict(result.sizes) == now.sizes()
        stayed = that_stayed(before.cluster_of, now.cluster_of, now.images)
        assert sum(one["images"] for one in result.kept) == stayed
        known = before.cluster_of.keys() & now.cluster_of.keys()
        assert result.moved == sum(now.images[key] for key in known) - stayed
        return now

    def one_step(self, before: State, which: str) -> None:
        """Images of clusters that are neither split nor united stay where they are."""
        if which == "coarser" and len(set(before.cluster_of.values())) == 1:
            with pytest.raises(UsageError, match="cannot be coarser"):
                self.world.cluster(9, step=which)
            return
        now = self.forward(before, self.world.cluster(9, step=which))
        there = set(before.cluster_of.values())
        if which == "finer":
            assert there <= now.centroids.keys()
            for key, cluster in now.cluster_of.items():
                assert cluster == before.cluster_of[key] or cluster not in there
        else:
            assert now.centroids.keys() < there
            for cluster in there:
                assert len({now.cluster_of[key] for key in before.members(cluster)}) == 1

    def step(self, kind: str, number: int) -> None:
        world = self.world
        before = look(world.path)
        choose = random.Random(number)
        ids = sorted(before.centroids)
        one = choose.choice(ids)
        if kind == "add":
            world.add(1 + number % 3, copies=1 + number % 2)
        elif kind == "remove":
            world.remove(choose.choice(sorted(before.cluster_of)))
        elif kind == "name":
            with world.catalog.transaction():
                # Of its own: this is below what refuses a name that another cluster has.
                world.catalog.clusterings.name(one, f"name {number} of {one}")
                world.catalog.clusterings.freeze(one, False)  # frozen ones: test_recluster_frozen
        elif kind == "cluster":
            fresh = number % 2 == 0
            result = world.cluster(1 + number % 6, seed=number % 3, fresh=fresh)
            now = self.forward(before, result)
            assert result.continued == (not fresh)
            if fresh:
                best = most_that_can_stay(before.cluster_of, now.cluster_of, now.images)
                assert that_stayed(before.cluster_of, now.cluster_of, now.images) == best
        elif kind == "step":
            self.one_step(before, "finer" if number % 2 else "coarser")
        elif kind == "split":
            try:
                result = world.recluster().split(one, k=str(2 + number % 3))
            except NothingThereError:
                assert len({tuple(before.vectors[key]) for key in before.members(one)}) < 2
                return
            now = self.forward(before, result)
            assert_others_stay(before, now, {one})
            parts = {now.cluster_of[key] for key in before.members(one)}
            best = most_that_can_stay(
                dict.fromkeys(before.members(one), one), now.cluster_of, now.images
            )
            assert (one in parts) == (best > 0)
        elif kind == "merge" and len(ids) > 1:
            some = choose.sample(ids, choose.randint(2, min(3, len(ids))))
            if not any(before.members(cluster) for cluster in some):
                return
            result = world.recluster().merge(some)
            now = self.forward(before, result)
            assert_others_stay(before, now, set(some))
            heir = min(some, key=lambda cluster: (-before.sizes()[cluster], cluster))
            named = [cluster for cluster in some if cluster in before.names]
            other = min(named, key=lambda one: (-before.sizes()[one], one), default=heir)
            name = before.names.get(heir, before.names.get(other))
            assert now.names.get(heir) == name
            assert now.members(heir) == set().union(*map(before.members, some))
        elif kind == "undo":
            if len(self.stack) < 2:
                with pytest.raises(NothingThereError):
                    world.recluster().undo()
                return
            result = world.recluster().undo()
            self.stack.pop()
            now = look(world.path)
            number_before, clusters = self.stack[-1]
            assert now.number == result.clustering == number_before
            still = clusters.keys() & now.cluster_of.keys()
            assert {key: now.cluster_of[key] for key in still} == {k: clusters[k] for k in still}
            assert dict(result.sizes) == now.sizes()
        self.check(look(world.path))


@pytest.mark.parametrize("stories", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_any_sequence_of_commands(stories: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(
        max_examples=stories,
        deadline=None,
        phases=[Phase.generate],  # to shrink a story takes longer than to read it
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(steps=STEPS)
    def follow_each(steps: list[Step]) -> None:
        follow(steps, tmp_path_factory.mktemp("world"))

    follow_each()


def follow(steps: list[Step], folder: Path) -> None:
    """One story: what the catalog says of it at its end, and of each cluster that it had."""
    world = World(folder)
    world.add(18)
    world.add(4, copies=2)
    world.cluster(4)
    story = Story(world)
    for kind, number in steps:
        story.step(kind, number)
    past = history(world.catalog)
    line = {number for number, _ in story.stack}
    assert {one.id for one in past if not one.undone} == line
    assert [one.id for one in past if one.current] == [story.stack[-1][0]]
    for cluster in story.used:
        told = life(world.catalog, cluster)
        assert told.alive == (cluster in look(world.path).centroids)
        assert told.events[0].words
    world.catalog.close()


def test_rows_that_are_no_numbers_are_named(world: World) -> None:
    key = min(look(world.path).cluster_of)
    with world.catalog.transaction():
        world.catalog._connection.execute(
            "UPDATE embeddings SET vector = ? WHERE content = ?",
            (np.full(6, np.nan, "<f2").tobytes(), key),
        )
    image = world.catalog.images.with_content(key)[0]
    said = rf"image {image.id} \(/made/.* holds NaN .* imgclust remove"
    with pytest.raises(ClusteringError, match=said):
        world.cluster(2)
    with pytest.raises(ClusteringError, match=said):
        world.recluster().split(look(world.path).cluster_of[key], k="2")
