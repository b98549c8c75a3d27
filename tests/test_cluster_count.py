"""How many clusters there are after a re-cluster that leaves the number open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.clusters.cluster_count import with_steps
from imgclust.config import Settings, load
from imgclust.errors import UsageError
from tests.conftest import Open, write_picture
from tests.made_up_clusters import World, look

DIMS = 24


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, space="smoothed", dims=DIMS)


def group(world: World, place: int, size: int, *, seed: int = 0) -> list[int]:
    """Contents around one of several directions that are far apart."""
    random = np.random.default_rng((seed, place))
    return [
        key
        for _ in range(size)
        for key in world.add(
            1, vector=np.eye(DIMS)[place] * 3 + 1 + random.standard_normal(DIMS) * 0.35
        )
    ]


def noise(world: World, count: int) -> None:
    random = np.random.default_rng(5)
    for _ in range(count):
        world.add(1, vector=random.standard_normal(DIMS) + 2)


def settings(world: World, **rules: Any) -> Any:
    """A maker of clusterings with other settings."""
    made = world.recluster()
    chosen: Settings = load(flags={f"clustering.{key}": one for key, one in rules.items()}).settings
    made._settings = chosen
    return made


def test_the_number_stays_while_the_groups_do(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    first = world.cluster("auto")
    assert (first.k, first.chosen_by, first.continued) == (5, "groups", False)
    # A sweep would have had no say.
    assert world.catalog.sweeps.newest("smoothed") is None
    for batch in range(1, 5):
        for place in range(5):
            group(world, place, 2, seed=batch)
        found = world.cluster("auto", seed=batch)
        assert (found.k, found.continued, found.new) == (5, True, ())
        assert found.sentence.startswith("k = 5: as before; ")


def test_another_number_that_is_clearly_better_is_taken(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    world.cluster(3)
    found = world.cluster("auto")
    assert (found.k, found.chosen_by) == (5, "groups")
    assert "clearly better than 3" in found.sentence
    group(world, 5, 24)
    group(world, 6, 24)
    more = world.cluster("auto")
    assert (more.k, len(more.new)) == (7, 2)


@pytest.mark.parametrize("now", [2, 6, 11])
def test_without_clear_structure_the_number_stays(world: World, now: int) -> None:
    noise(world, 120)
    world.cluster(now)
    found = world.cluster("auto")
    assert (found.k, found.moved) == (now, found.moved)
    assert found.sentence.startswith(f"k = {now}: as before; no clear structure")


def test_one_cluster_of_noise_is_looked_at_by_a_sweep(world: World) -> None:
    noise(world, 120)
    world.cluster(1)
    found = world.cluster("auto")
    assert found.chosen_by in {"silhouette", "rule"}
    assert found.sentence.startswith("no clear")


def test_what_automatic_ones_do_is_the_same(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    world.cluster("auto", provisional=True, automatic=True)
    for batch in range(1, 4):
        group(world, batch, 6, seed=batch)
        found = world.cluster("auto", provisional=True, automatic=True)
        assert found.k == 5
        assert "--finer" not in found.sentence


def test_settings_and_names_bound_the_number(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    few = settings(world, k_max=3)
    assert few.cluster(k="auto", space="smoothed", seed=0).k == 3
    again = few.cluster(k="auto", space="smoothed", seed=0)
    assert (again.k, again.continued) == (3, True)
    assert "settings" in again.sentence
    many = world.cluster(7).sizes
    with world.catalog.transaction():
        for number, one in enumerate(many):
            world.catalog.clusterings.name(one, f"name {number}")
    kept = world.cluster("auto")
    assert kept.k == 7
    assert set(kept.frozen) == set(look(world.path).names) == set(many)


def test_groups_of_the_same_contents_are_not_counted_again(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    seen: list[str] = []

    def note(step: str, done: int, total: int | None) -> None:
        seen.append(step)

    def counted(seed: int = 0) -> tuple[int, bool]:
        seen.clear()
        found = world.recluster(progress=note).cluster(k="auto", space="smoothed", seed=seed)
        return found.k, "null model" in seen

    assert counted() == (5, True)
    assert counted() == (5, False)
    assert counted(seed=1) == (5, True)
    group(world, 5, 24)
    assert counted(seed=1) == (6, True)
    assert counted(seed=1) == (6, False)


def test_a_sweep_of_the_same_contents_is_not_made_again(world: World) -> None:
    for place in range(5):
        group(world, place, 24)
    world.cluster(5)
    seen: list[str] = []
    world.recluster().sweep(k_min=1, k_max=8, space="smoothed", seed=0, chart=False)

    def note(step: str, done: int, total: int | None) -> None:
        seen.append(step)

    found = world.recluster(progress=note).cluster(k="auto", space="smoothed", seed=0)
    assert found.k == 5
    assert "null model" not in seen
    assert "sweep" not in seen


@pytest.mark.parametrize(
    ("k", "least", "most", "said"),
    [
        (20, 1, 999, "; --coarser gives 14, --finer gives 28"),
        (20, 19, 999, "; --coarser gives 19, --finer gives 28"),
        (1, 1, 2, "; --finer gives 2"),
        (7, 7, 10, "; --finer gives 10"),
        (20, 1, 21, "; --coarser gives 14, --finer gives 21"),
        (20, 1, 20, "; --coarser gives 14"),
        (1, 1, 1, ""),
    ],
)
def test_what_a_step_would_give(k: int, least: int, most: int, said: str) -> None:
    assert with_steps("why", k, least=least, most=most) == "why" + said


@pytest.mark.parametrize(
    ("pictures", "named", "most"),
    [
        ([1], False, 1),
        ([1, 2], False, 2),
        ([*range(12)], False, 12),
        ([*range(12)], True, 1),
    ],
)
def test_a_finer_step_is_named_where_there_is_one(
    open_collection: Open, tmp_path: Path, pictures: list[int], named: bool, most: int
) -> None:
    """What the sentence says is what the step then gives."""
    for number in pictures:
        write_picture(tmp_path / "new" / f"{number}.png", 100 + number)
    collection = open_collection()
    collection.watch([tmp_path / "new"], once=True, cluster=False)
    collection.cluster(k=1)
    if named:
        collection.name_cluster(1, "all")
    found = collection.cluster(k="auto")
    assert ("--finer gives" in found.sentence) == (found.k < most)
    if found.k < most:
        gives = int(found.sentence.split("--finer gives ")[1])
        assert collection.cluster(step="finer").k == gives
    else:
        with pytest.raises(UsageError, match="cannot be finer"):
            collection.cluster(step="finer")


def test_the_order_in_which_images_came_has_no_say(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    steps = 0.12 * random.standard_normal((4, 40, DIMS))  # series in which each is near the next
    centres = 1 + 3 * np.eye(DIMS)[:4, np.newaxis]
    rows = (centres + np.cumsum(steps, axis=1)).reshape(-1, DIMS)
    said = set()
    groups = set()
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, space="smoothed", dims=DIMS)
        order = random.permutation(len(rows)).tolist()
        for row in order[:60]:
            world.add(1, vector=rows[row], number=row)
        world.cluster(4)
        for row in order[60:]:
            world.add(1, vector=rows[row], number=row)
        said.add(world.cluster("auto", fresh=True).sentence)
        rule = world.catalog.bursts.current_id("made up")
        assert rule is not None
        groups.add(len(world.catalog.bursts.representatives(rule)[0]))
    assert len(groups) > 1
    assert len(said) == 1
