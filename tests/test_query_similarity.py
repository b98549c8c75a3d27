"""The order of similar images: by the cosine after half whitening, among the nearest ones."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust.catalog.catalog import Catalog
from imgclust.clusters.similarity import Similarity, current_similarity
from imgclust.search.catalog_index import CatalogIndex
from imgclust.search.similar_images import QueryResult, Subject, neighbours
from tests.command_line import Run
from tests.conftest import write_picture
from tests.made_up_clusters import RECIPE, World

DIMS = 24


def unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    rows = np.asarray(rows, np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def asked(world: World, vector: NDArray[Any], *, n: int, **how: Any) -> QueryResult:
    live = CatalogIndex(
        world.catalog,
        world.folder / "index.faiss",
        recipe=RECIPE,
        dimensions=len(vector),
        aside=world.folder,
    )
    subject = Subject(np.asarray(vector, np.float32), None, None)
    return neighbours(world.catalog, live, subject, queries=["x"], n=n, min_score=None, **how)


def half_white(rows: NDArray[np.float64], axes: int) -> NDArray[np.float64]:
    """What a point of the rows becomes, by a singular value decomposition."""
    centred = rows - rows.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(directions[:axes].T / np.sqrt(lengths[:axes] / np.sqrt(len(rows))))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, dims=DIMS)
    random = np.random.default_rng(4)
    for _ in range(100):
        made.add(1, vector=random.standard_normal(DIMS) * np.linspace(2, 0.3, DIMS) + 2)
    return made


def stored(world: World) -> NDArray[np.float64]:
    """All embeddings at unit length, in the order of the image ids."""
    keys = [image.content for image in world.catalog.images.all()]
    return unit(world.catalog.contents.embeddings(keys, RECIPE))


def test_the_order_is_that_of_the_similarity(world: World) -> None:
    world.cluster(4)
    similarity = current_similarity(world.catalog, RECIPE)
    rows = stored(world)
    axes = half_white(rows, 24)
    points = unit((rows - rows.mean(axis=0)) @ axes)
    for vector in np.random.default_rng(9).standard_normal((5, DIMS)) + 2:
        found = asked(world, vector, n=100, compare=similarity.between)
        own = unit((unit(vector) - rows.mean(axis=0)) @ axes)
        expected = points @ own
        assert found.order == "similarity"
        likenesses = [row.similarity for row in found.neighbours]
        assert likenesses == pytest.approx(sorted(expected)[::-1], abs=3e-3)
        for row in found.neighbours:
            assert row.similarity == pytest.approx(expected[row.id - 1], abs=3e-3)
            assert row.score == pytest.approx(rows[row.id - 1] @ unit(vector), abs=1e-3)
        scores = [row.score for row in found.neighbours]
        assert scores != sorted(scores)[::-1]  # another order than that of the scores
        plain = asked(world, vector, n=100)
        assert plain.order == "score"
        assert [row.score for row in plain.neighbours] == sorted(scores)[::-1]


class Favours:
    """A comparison that finds one vector more similar than all others."""

    def __init__(self, favourite: NDArray[Any]) -> None:
        self._favourite = unit(favourite)
        self.compared = 0

    def __call__(
        self, subject: NDArray[np.float32], vectors: NDArray[np.float32]
    ) -> tuple[Sequence[float], Sequence[int]]:
        self.compared = len(vectors)
        found = np.where(vectors @ self._favourite > 0.9995, 0.9, vectors @ subject * 0.1)
        return found.tolist(), [1] * len(vectors)


def no_copies(key: int, others: Sequence[int]) -> list[bool]:
    return [False] * len(others)


def test_two_hundred_pictures_are_put_in_order(tmp_path: Path) -> None:
    world = World(tmp_path, dims=40)
    random = np.random.default_rng(0)
    for _ in range(300):
        world.add(1, vector=random.standard_normal(40))
    vectors = stored(world)
    subject = np.eye(40)[0]
    order = np.argsort(-(vectors @ subject), kind="stable")
    for place, n, first in [(199, 10, True), (205, 10, False), (250, 251, True)]:
        favours = Favours(vectors[order[place]])
        found = asked(world, subject, n=n, compare=favours, near=no_copies)
        assert bool(found.neighbours[0].id == order[place] + 1) is first, (place, n)
        assert len(found.neighbours) == n


def test_copies_fill_no_place_among_the_two_hundred(tmp_path: Path) -> None:
    """A flood of near copies in front of a picture does not hide it."""
    world = World(tmp_path, dims=8)
    random = np.random.default_rng(0)
    flood = np.array([5, 1, 0, 0, 0, 0, 0, 0])
    for _ in range(450):
        world.add(1, vector=flood + random.standard_normal(8) * 0.01)
    for _ in range(300):
        world.add(1, vector=random.standard_normal(8) + np.eye(8)[0])
    vectors = stored(world)
    subject = np.eye(8)[0]
    order = np.argsort(-(vectors @ subject), kind="stable")
    others = [one for one in order if one >= 450]
    favours = Favours(vectors[others[120]])
    found = asked(world, subject, n=10, compare=favours, near=no_copies)
    assert found.neighbours[0].id == others[120] + 1


def test_near_copies_weigh_one_in_the_fit(tmp_path: Path, world: World) -> None:
    world.cluster(4)
    before = current_similarity(world.catalog, RECIPE)
    random = np.random.default_rng(5)
    scene = random.standard_normal(DIMS) + 2
    for _ in range(400):
        world.add(1, vector=scene + random.standard_normal(DIMS) * 0.002)
    rows = stored(world)[:100].astype(np.float32)
    world.cluster(4)
    after = current_similarity(world.catalog, RECIPE)
    assert before.projection is not None
    assert after.projection is not None
    assert after.projection.half.rows == 101
    one = np.array(before.between(rows[0], rows)[0])
    assert np.abs(one - after.between(rows[0], rows)[0]).max() < 0.1


def stored_number(world: World) -> int | None:
    current = world.catalog.clusterings.current()
    assert current is not None
    return current.similarity


def test_each_clustering_keeps_its_own(world: World) -> None:
    world.cluster(4)
    first = stored_number(world)
    world.cluster(5)  # of the same contents: nothing is stored twice
    assert stored_number(world) == first
    world.add(40)
    ids = world.cluster(5).sizes
    last = stored_number(world)
    assert last not in {None, first}
    world.recluster().split(min(ids), k="2")
    assert stored_number(world) == last
    for _ in range(2):
        world.recluster().undo()
    assert stored_number(world) == first
    world.cluster(3)  # which deletes what nothing refers to
    assert current_similarity(world.catalog, RECIPE).projection is not None


def changed(world: World, sentence: str) -> None:
    with closing(sqlite3.connect(world.path)) as connection, connection:
        connection.execute(sentence)


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ("UPDATE clusterings SET similarity = NULL", "unfitted"),
        ("UPDATE clusterings SET similarity = NULL, contents = 12", "images"),
        ("UPDATE projections SET blob = x'00' WHERE kind = 'similarity'", "damaged"),
    ],
)
def test_why_there_is_none(world: World, change: str, lacking: str) -> None:
    assert current_similarity(world.catalog, RECIPE) == Similarity(None, "clusters")
    world.cluster(4)
    assert current_similarity(world.catalog, RECIPE).lacking is None
    assert current_similarity(world.catalog, "another") == Similarity(None, "recipe")
    changed(world, change)
    assert current_similarity(world.catalog, RECIPE) == Similarity(None, lacking)
    world.add(1)
    world.cluster(4)
    assert current_similarity(world.catalog, RECIPE).lacking is None


@pytest.mark.parametrize("space", ["embedding", "pca", "smoothed", "tsne"])
def test_too_few_different_images_have_none(tmp_path: Path, space: str) -> None:
    world = World(tmp_path, space=space, dims=DIMS)
    random = np.random.default_rng(2)
    places = random.standard_normal((19, DIMS)) + 2
    for place in places:
        for _ in range(2):
            world.add(1, vector=place + random.standard_normal(DIMS) * 0.001)
    world.cluster(3)
    assert current_similarity(world.catalog, RECIPE).lacking == "unfitted"
    world.add(1, vector=random.standard_normal(DIMS) + 2)
    world.cluster(3)
    assert current_similarity(world.catalog, RECIPE).lacking is None


# The command line


def test_people_see_similarity_and_rarity(run: Run, ready: Path) -> None:
    found = run("query", "1", "-n", "3", "--json").document
    assert (found["order"], found["lacking"]) == ("similarity", None)
    said = run("query", "1", "-n", "3").out
    assert "similarity  rarity" in said
    for row in found["neighbours"]:
        assert -1 <= row["similarity"] <= 1
        assert row["score"] != row["similarity"]
        assert row["rarity"] in {1, 2, 5, 10, 20}
        assert f"{row['similarity']:.3f}" in said
        assert f"{row['score']:.4f}" not in said
    assert re.search("rarity 1 in [0-9]+: at most 1 in [0-9]+ pairs of images in this", said)
    assert (
        run("query", "1", "--include-self", "--json").document["neighbours"][0]["similarity"] == 1
    )


def test_the_least_similarity(run: Run, ready: Path) -> None:
    every = run("query", "1", "-n", "30", "--json").document["neighbours"]
    least = every[4]["similarity"]
    found = run("query", "1", "-n", "30", "--min-similarity", f"{least}", "--json").document
    assert found["neighbours"] == every[:5]
    nothing = run("query", "1", "--min-similarity", "1")
    assert (nothing.code, nothing.out) == (0, "no image is that similar\n")
    by_score = run("query", "1", "-n", "30", "--min-score", "0.5", "--json").document["neighbours"]
    assert by_score == [row for row in every if row["score"] >= 0.5]


def test_why_a_query_finds_nothing(run: Run, ready: Path, tmp_path: Path) -> None:
    """Nothing is said of similarity where none was asked for."""
    for words in (["--camera", "Nikon"], ["--since", "9999"], ["--until", "1901-02"]):
        found = run("query", "1", *words)
        assert (found.code, found.out) == (0, "there is no other image among those chosen\n")
        found = run("query", "1", *words, "--min-score", "0.5")
        assert found.out == "no image is that similar among those chosen\n"
    write_picture(tmp_path / "one" / "1.png", 1)
    assert run("--collection", "one", "watch", tmp_path / "one", "--once", "-q").code == 0
    assert run("--collection", "one", "query", "1").out == "there is no other image\n"
    found = run("--collection", "one", "query", "1", "--cluster", "1")
    assert found.out == "there is no other image among those chosen\n"


@pytest.mark.parametrize("least", ["1.01", "-2", "nan", "inf", "much"])
def test_what_no_similarity_can_be(run: Run, tmp_path: Path, least: str) -> None:
    """Refused before anything is opened: there is no collection here."""
    assert "--min-similarity" in run("query", "1", f"--min-similarity={least}").refused(2)


def test_without_a_similarity_the_order_is_that_of_the_scores(run: Run, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    for number in range(22):
        write_picture(drop / f"{number:02}.png", number, hue=number % 3)
    assert run("watch", "--once", "--no-cluster", "-q", drop).code == 0
    found = run("query", "1", "-n", "30", "--json").document
    assert (found["order"], found["lacking"]) == ("score", "clusters")
    scores = [row["score"] for row in found["neighbours"]]
    assert scores == sorted(scores)[::-1]
    assert {(row["similarity"], row["rarity"]) for row in found["neighbours"]} == {(None, None)}
    said = run("query", "1", "-n", "30").out
    assert "score  cluster" in said
    assert "similarity  rarity" not in said
    assert said.splitlines()[-1].startswith("by score: similarity is known after the first")
    assert "imgclust cluster" in run("query", "1", "--min-similarity", "0.5").refused(3)
    assert run("cluster", "-k", "2", "-q").code == 0
    assert run("query", "1", "--json").document["order"] == "similarity"


def test_a_region_is_compared_in_the_same_way(run: Run, ready: Path) -> None:
    found = run("query", "1", "--region", "0,0,0.5,1", "--json").document
    assert found["order"] == "similarity"
    likenesses = [row["similarity"] for row in found["neighbours"]]
    assert likenesses == sorted(likenesses)[::-1]


def test_the_same_numbers_in_a_cluster(run: Run, ready: Path) -> None:
    for row in run("clusters", "--json").document["clusters"]:
        shown = run("clusters", "show", str(row["id"]), "--json").document
        medoid = next(one for one in shown["images"] if one["path"] == row["medoid_path"])
        assert medoid["similarity"] == 1
        found = run(
            *("query", str(medoid["id"]), "-n", "30", "--include-self", "--copies", "--json")
        ).document["neighbours"]
        expected = {one["id"]: (one["similarity"], one["rarity"]) for one in found}
        for one in shown["images"]:
            likeness, rarity = expected[one["id"]]
            assert one["similarity"] == pytest.approx(likeness, abs=1e-3)
            assert one["rarity"] == rarity
        assert (
            "similarity: to the most central image" in run("clusters", "show", str(row["id"])).out
        )


def test_the_same_numbers_in_groups_of_similar_images(run: Run, drop: Path) -> None:
    with Image.open(drop / "picture-00.png") as picture:
        picture.crop((4, 3, 76, 57)).save(drop / "crop.png")
    assert run("watch", "--once", "-q", drop).code == 0
    (group,) = run("duplicates", "--json").document["similar"]
    best, other = group["images"]
    found = run("query", str(best["id"]), "--copies", "--json").document["neighbours"]
    expected = {one["id"]: one["similarity"] for one in found}
    assert best["similarity"] == 1
    assert other["similarity"] == pytest.approx(expected[other["id"]], abs=1e-5)
    said = run("duplicates", "--similar").out
    assert "similarity  rarity" in said
    assert "score  " not in said


def test_an_index_does_not_change_while_it_is_searched(world: World) -> None:
    """Queries of several threads share it: what one has found is there until it has ended."""
    catalog = Catalog(world.catalog.path)
    live = CatalogIndex(
        catalog,
        world.folder / "index.faiss",
        recipe=RECIPE,
        dimensions=DIMS,
        aside=world.folder,
    )
    seen = list[int]()

    def search() -> None:
        with live.searched():
            seen.append(len(live.index))

    with contextlib.closing(catalog):
        with live.searched():
            search()  # beside another one
            world.add(1, vector=np.ones(DIMS))
            late = threading.Thread(target=search)
            late.start()
            late.join(0.2)
            assert (late.is_alive(), len(live.index), seen) == (True, 100, [100])
        late.join(30)
        assert seen == [100, 101]
        with world.catalog.transaction():
            world.catalog.remove_image(next(iter(world.catalog.images.all())))
        search()
        assert seen == [100, 101, 100]
