"""Maps of a collection: arrivals placed and marked, aged maps made anew, turned to the old one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgclust.catalog.contents import Contents
from imgclust.maps import AGED_SHARE, make_map
from tests.conftest import Open, inside, write_picture


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_takes_arrivals_in_until_it_has_aged(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)

    def drawn() -> tuple[bool, int, str]:
        result = collection.view(method=method)
        return result.refitted, result.placed, result.sentence

    def come(numbers: range) -> None:
        paths = [write_picture(drop / f"new-{n}.png", 50 + n, hue=n % 3) for n in numbers]
        collection.add(paths, cluster=False)

    assert drawn() == (True, 0, "")
    before = (collection.folders.charts / f"map-{method}-2d.png").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Contents, "all_embeddings", None)  # what is new is enough
        assert drawn() == (False, 0, "")
        assert (collection.folders.charts / f"map-{method}-2d.png").read_bytes() == before
        come(range(10))
        refitted, placed, sentence = drawn()
    assert (refitted, placed) == (False, 10)
    assert sentence.startswith("10 placed in the map of the others; a new one is made when more")
    options: dict[str, Any] = {
        "recipe": collection.recipe,
        "settings": collection.settings,
        "method": method,
    }
    old = make_map(inside(collection).catalog, dims=2, **options)
    assert int(old.placed.sum()) == 10
    come(range(10, 11))
    assert AGED_SHARE < 11 / 35
    new = make_map(inside(collection).catalog, dims=2, **options)
    assert new.refitted
    assert not new.placed.any()
    # Turned to the old one: no turn or mirror brings the two nearer to each other.
    both = np.isin(new.keys, old.keys)
    moved = new.coordinates[both] - new.coordinates[both].mean(axis=0)
    stood = old.coordinates - old.coordinates.mean(axis=0)
    best = np.linalg.svd(stood.T @ moved, compute_uv=False).sum()
    assert float((stood * moved).sum()) == pytest.approx(best, rel=1e-3)


def test_a_map_is_made_anew_when_asked(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.view(method="pca", dims=3)
    result = collection.view(method="pca", dims=3, refit=True)
    assert result.refitted
    assert "rotated to match" in result.sentence


@pytest.mark.parametrize("dims", [2, 3])
def test_a_map_counts_corrected_and_missing_images(
    open_collection: Open, drop: Path, dims: int
) -> None:
    one, other = sorted(drop.iterdir())[:2]
    shutil.copy(one, drop / "copy.png")
    collection = open_collection()
    collection.watch([drop], once=True)
    collection.cluster(k=2)
    clusters = [row.id for row in collection.clusters()]
    result = collection.view(method="pca", dims=dims)
    assert (result.corrected, result.missing) == (0, 0)
    plain = result.path.read_bytes()
    collection.corrections.move([one], to=clusters[0])  # and its copy
    (drop / "copy.png").unlink()
    other.unlink()
    collection.watch(once=True)
    assert len(collection.missing()) == 2
    result = collection.view(method="pca", dims=dims)
    assert (result.corrected, result.missing) == (2, 2)
    assert result.path.read_bytes() != plain
