"""The steps of image_clustering: held against ten lines of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imgclust.clustering.k_sweep import sweep
from imgclust.collection import Collection
from imgclust.config import load
from imgclust.errors import ClusteringError, StoppedError
from imgclust.progress import StopFlag
from imgclust.projection.classic import fit_classic
from imgclust.projection.half_white import projection_from_bytes
from imgclust.projection.tsne import TsneProjection
from tests.conftest import Open, inside, write_picture

Vectors = NDArray[np.float32]


def ten_lines(vectors: Vectors, *, dims: int, perplexity: float = 30.0) -> Vectors:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(vectors)
    reduced = PCA(min(50, len(vectors)), random_state=0).fit_transform(scaled)
    plane: Vectors = TSNE(dims, perplexity=perplexity, random_state=0).fit_transform(reduced)
    return plane


def groups(n: int, d: int = 200) -> Vectors:
    """Rows of five groups, some values of which never change."""
    generator = np.random.default_rng(4)
    centres = generator.standard_normal((5, d)) * 0.5
    rows = centres[generator.integers(5, size=n)] + generator.standard_normal((n, d)) * 0.3
    rows[:, :3] = 0.25
    return np.abs(rows).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Sums of several threads may differ in their last digits, and t-SNE makes much of that."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("dims", [2, 3])
def test_coordinates_are_those_of_scikit_learn(dims: int) -> None:
    rows = groups(120)
    found = fit_classic(rows, dims=dims)
    np.testing.assert_array_equal(found.coordinates, ten_lines(rows, dims=dims))
    again = projection_from_bytes(found.to_bytes())
    assert isinstance(again, TsneProjection)
    np.testing.assert_allclose(again.transform(rows), found.coordinates, atol=1e-2)


def test_the_order_in_which_rows_are_given_can_be_chosen() -> None:
    rows = groups(80)
    order = np.random.default_rng(1).permutation(80)
    found = fit_classic(rows, order=order)
    np.testing.assert_array_equal(found.coordinates[order], ten_lines(rows[order], dims=2))


def test_arrivals_follow_the_same_steps() -> None:
    rows = groups(150)
    found = fit_classic(rows[:120])
    placed = found.place(rows[120:])
    near = np.linalg.norm(found.coordinates[:, None] - placed, axis=2).argmin(axis=0)
    apart = np.linalg.norm(rows[near] - rows[120:], axis=1)
    usual = np.linalg.norm(rows[:30] - rows[120:], axis=1)
    assert np.median(apart) < 0.7 * np.median(usual)


def test_without_standardising_raw_rows_go_to_pca() -> None:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = groups(60)
    plane = TSNE(2, random_state=0).fit_transform(PCA(50, random_state=0).fit_transform(rows))
    np.testing.assert_array_equal(fit_classic(rows, standardise=False).coordinates, plane)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 20])
def test_a_few_rows(n: int) -> None:
    found = fit_classic(groups(n))
    assert found.coordinates.shape == (n, 2)
    assert np.isfinite(found.coordinates).all()


def test_identical_rows_are_a_point() -> None:
    assert not fit_classic(np.ones((30, 8), np.float32)).coordinates.any()


def test_above_the_limit_a_sample_makes_the_map() -> None:
    found = fit_classic(groups(90), max_points=60)
    assert found.placed.sum() == 30
    assert np.isfinite(found.coordinates).all()


def test_a_stop_and_a_failure_come_through() -> None:
    flag = StopFlag()
    flag.set()
    with pytest.raises(StoppedError):
        fit_classic(groups(60), stop=flag)
    with pytest.raises(ClusteringError):
        fit_classic(groups(60), dims=4)
    with pytest.raises(ClusteringError, match="NaN"):
        fit_classic(np.full((20, 4), np.nan, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_inertia_is_within_one_per_cent_at_every_k(dims: int) -> None:
    """On real pictures: scikit-learn's digits, 8 x 8 pixels."""
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits

    rows = load_digits().data[:300].astype(np.float32)
    plane = ten_lines(rows, dims=dims)
    swept = sweep(fit_classic(rows, dims=dims).coordinates, k_max=99, thorough=True)
    assert swept.k == tuple(range(1, 100))
    for k, inertia in zip(swept.k, swept.inertia, strict=True):
        assert inertia <= 1.01 * KMeans(k, random_state=0).fit(plane).inertia_


CLASSIC = {
    "clustering.space": "tsne",
    "clustering.tsne": "scikit-learn",
    "clustering.standardise": True,
    "clustering.pca_dims": 50,
    "clustering.k_max": 20,
    "links.folder": "{id}_{count}",
    "views.elbow": "cost_{dims}D.png",
}


def test_a_classic_collection(open_collection: Open, drop: Path) -> None:
    """From files to folders, against the same steps on the same embeddings."""
    from sklearn.cluster import KMeans

    settings = load(["classic"]).settings
    assert {
        key: getattr(getattr(settings, key.split(".")[0]), key.split(".")[1]) for key in CLASSIC
    } == CLASSIC | {"clustering.k_max": 99}
    for number in range(24, 40):
        write_picture(drop / f"picture-{number:02d}.png", number, hue=number % 3)
    collection: Collection = open_collection(flags=CLASSIC)
    collection.watch([drop], once=True, cluster=False)
    swept = collection.sweep()
    assert swept.chart == collection.folders.charts / "cost_2D.png"
    assert swept.chart.is_file()
    assert "250" in swept.notes[0]
    ids, embeddings = collection.embeddings()
    plane = ten_lines(embeddings, dims=2)
    right = [KMeans(k, random_state=0).fit(plane).inertia_ for k in swept.k]
    for mine, theirs in zip(swept.inertia, right, strict=True):
        assert mine <= 1.01 * theirs + 1e-6
    assert collection.view().refitted
    shown = {
        image.id: image.coordinates
        for image in inside(collection).catalog.listing.page(
            after=0, until=1000, limit=1000, projection=newest(collection)
        )
    }
    found = np.array([shown[one] for one in ids.tolist()], np.float32)
    np.testing.assert_array_equal(found, plane)
    result = collection.cluster(k=4)
    assert "250" in result.notes[0]
    folders = {path.name for path in collection.link_folder.iterdir() if path.is_dir()}
    assert folders == {f"{cluster}_{size}" for cluster, size in result.sizes.items()}
    write_picture(drop / "late.png", 90, hue=1)
    collection.watch(once=True)
    assert collection.status().unassigned == 0
    assert sum(row.size for row in collection.clusters()) == 41
    assert collection.status().clustering is not None
    assert collection.view().placed == 1


def newest(collection: Collection) -> int:
    found = inside(collection).catalog.projections.newest_map(collection.recipe)
    assert found is not None
    return found[0]
