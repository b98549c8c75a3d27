"""A year with a collection: ids follow contents, named clusters keep all that is in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.watch_process import fake_embedder
from tests.year import ENVIRONMENT, Year
from tests.year_model import Model, Seen


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from imgclust.collection import embedder

    monkeypatch.setattr(embedder, "open_embedder", fake_embedder)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMGCLUST_CACHE", str(tmp_path / "cache"))


A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
FILES = {b"/a": A, b"/b": B, b"/c": C}


def world(**changed: Any) -> Seen:
    """Three images; A and B are in the cluster "cats", C in the one without a name."""
    images = [(1, b"/a", A, "present"), (2, b"/b", B, "present"), (3, b"/c", C, "present")]
    rows = Seen(images, clusters={7: {A, B}, 8: {C}}, names={"cats": 7}, frozen={7})
    return replace(rows, **changed)


def changed_image(number: int, *image: Any) -> list[Any]:
    return [image if one[0] == number else one for one in world().images]


WRONG: list[tuple[dict[str, Any], dict[bytes, bytes], str]] = [
    ({"images": changed_image(1, 9, b"/a", A, "present")}, FILES, "had the ids [1], now [9]"),
    (
        {"images": [(2, b"/a", A, "present"), (1, b"/b", B, "present"), *world().images[2:]]},
        FILES,
        "id 2 of 62626262 has come to 61616161",
    ),
    ({"images": world().images[1:]}, FILES, "b'/a' is nowhere"),
    ({"images": changed_image(1, 1, b"/a", A, "missing")}, FILES, "b'/a' is missing"),
    ({"images": changed_image(1, 1, b"/a", B, "present")}, FILES, "with another"),
    ({"images": [*world().images, (4, b"/a", A, "present")]}, FILES, "two images at b'/a'"),
    ({"images": [*world().images, (4, b"/d", A, "present")]}, FILES, "an image too many: b'/d'"),
    ({"clusters": {7: {A}, 8: {B, C}}}, FILES, "cats has lost [('62626262', [8])]"),
    ({"clusters": {7: {A, B, C}, 8: set()}, "names": {}}, FILES, "names are []"),
    ({"names": {"cats": 8}}, FILES, "cats has lost"),
    ({"frozen": set()}, FILES, "cats is not frozen"),
]


@pytest.mark.parametrize(("changed", "files", "words"), WRONG)
def test_the_model_finds_what_is_wrong(
    changed: dict[str, Any], files: dict[bytes, bytes], words: str
) -> None:
    model = Model()
    model.named["cats"] = {A, B}
    assert model.check(world(), files, set()) == []
    assert model.check(world(), files, set()) == []
    wrong = model.check(world(**changed), files, set())
    assert any(words in one for one in wrong), wrong


def test_the_model_lets_a_person_edit_and_joins_what_arrives() -> None:
    model = Model()
    model.named["cats"] = {A}
    assert model.check(world(), FILES, set()) == []
    assert model.named["cats"] == {A, B}, "what has joined has to stay"
    other = b"d" * 32
    images = changed_image(3, 3, b"/c", other, "present")
    model.edited(C, other)
    files = {**FILES, b"/c": other}
    assert model.check(world(images=images, clusters={7: {A, B}, 8: {other}}), files, set()) == []
    assert model.check(world(clusters={7: {A}, 8: {B, C}}), FILES, set()) != []


@pytest.mark.slow
def test_a_year(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_IMGCLUST_SEED", "0"))
    with Year(tmp_path, seed) as year:
        year.live()
        assert year.clusterings >= 40
        assert year.kills >= 5
        assert year.model.ids_checked > 10_000
        assert year.model.members_checked > 5_000


def test_a_few_weeks(tmp_path: Path) -> None:
    with Year(tmp_path, 1, images=40, names=4, kills=False) as year:
        year.live(weeks=4)
        assert year.clusterings >= 2
