"""How well embeddings and clusters agree with the categories of the committed photos.

Prints one table: nearest neighbour in the same category (kNN@1, leave one out) and adjusted mutual
information (AMI) of a clustering at the true number of categories, both over several seeds.
Embeddings: imgclust's (the trunk), the same network with random weights, a 64-bin colour histogram.
Pipelines on imgclust's embeddings: its own spaces, and the steps of other tools.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SAMPLES = Path(__file__).parent / "samples"


def photos() -> tuple[list[Path], Array]:
    """Paths of the sample photos and the category number of each."""
    categories = json.loads((SAMPLES / "categories.json").read_text("utf-8"))
    names = sorted(categories)
    numbers = {category: number for number, category in enumerate(sorted(set(categories.values())))}
    return (
        [SAMPLES / "photos" / name for name in names],
        np.array([numbers[categories[name]] for name in names]),
    )


def decoded(paths: list[Path]) -> Array:
    """All photos as the network gets them, uint8 (n, 299, 299, 3)."""
    from imgclust.images.reader import Decoded, claim

    outcomes = [claim(bytes(path), thumbnail_px=0) for path in paths]
    return np.stack([outcome.pixels for outcome in outcomes if isinstance(outcome, Decoded)])


def trunk_embeddings(pixels: Array) -> Array:
    """imgclust's embeddings with the embedded trunk."""
    from imgclust.embedding.engine_selection import open_embedder
    from imgclust.embedding.recipe import recipe_of
    from imgclust.weights import loader

    trunk = loader.trunk()
    return open_embedder(trunk, recipe=recipe_of(trunk)).embed(pixels)


def random_embeddings(pixels: Array) -> Array:
    """The same layers of an InceptionV3 with random weights, pooled the same way."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    network = keras.applications.InceptionV3(weights=None, include_top=False)
    layers = [network.get_layer(name).output for name in ("mixed6", "mixed8")]
    model = keras.Model(network.input, layers)
    rows = []
    for start in range(0, len(pixels), 32):
        outputs = model(tf.cast(pixels[start : start + 32], tf.float32) / 255.0, training=False)
        parts = [np.sqrt(np.maximum(part.numpy().mean(axis=(1, 2)), 0)) for part in outputs]
        rows.append(np.concatenate([unit(part) for part in parts], axis=1))
    return unit(np.concatenate(rows))


def histograms(pixels: Array) -> Array:
    """Colour histograms of 4 x 4 x 4 bins, square root, unit length."""
    bins = pixels // 64
    codes = (bins[..., 0] * 16 + bins[..., 1] * 4 + bins[..., 2]).reshape(len(pixels), -1)
    rows = np.stack([np.bincount(row, minlength=64) for row in codes]).astype(np.float64)
    return unit(np.sqrt(rows))


def unit(rows: Array) -> Array:
    """Rows at unit length."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def nearest_in_category(rows: Array, truth: Array) -> float:
    """Share of photos whose nearest other photo is of the same category."""
    scores = unit(rows) @ unit(rows).T
    np.fill_diagonal(scores, -np.inf)
    return float((truth[scores.argmax(axis=1)] == truth).mean())


def agreement(found: Array, truth: Array) -> float:
    """Adjusted mutual information."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(truth, found))


def pipelines(k: int) -> dict[str, Callable[[Array, int], Array]]:
    """Ways from embeddings `(n, d)` to clusters `(n,)`, by name; each takes a seed."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    from imgclust.clustering.kmeans import fit
    from imgclust.clusters.smoothed_space import fit_smoothed
    from imgclust.progress import silent
    from imgclust.projection.pca import fit_pca
    from imgclust.projection.tsne import fit_tsne

    def ours(space: str) -> Callable[[Array, int], Array]:
        def run(rows: Array, seed: int) -> Array:
            points = unit(rows).astype(np.float32)
            if space == "pca":
                points = fit_pca(points, dims=64, seed=seed).transform(points)
            elif space == "smoothed":
                points = fit_smoothed(points, seed=seed, progress=silent, stop=None).points
            elif space == "tsne":
                points = fit_tsne(points, dims=2, seed=seed).coordinates
            return fit(points, k, seed=seed).assigned

        return run

    def ancestor(rows: Array, seed: int) -> Array:
        scaled = StandardScaler().fit_transform(rows)
        reduced = PCA(min(50, len(rows)), random_state=seed).fit_transform(scaled)
        plane = TSNE(2, random_state=seed).fit_transform(reduced)
        return np.asarray(KMeans(k, n_init=10, random_state=seed).fit_predict(plane))

    def tasnif(rows: Array, seed: int) -> Array:
        reduced = PCA(16, random_state=seed).fit_transform(rows)
        return np.asarray(KMeans(k, n_init=10, random_state=seed).fit_predict(reduced))

    found = {
        "imgclust, space smoothed": ours("smoothed"),
        "imgclust, space pca": ours("pca"),
        "imgclust, space embedding": ours("embedding"),
        "imgclust, space tsne": ours("tsne"),
        "image_clustering (scale, PCA 50, t-SNE, k-means)": ancestor,
        "tasnif (PCA 16, k-means)": tasnif,
    }
    try:
        import umap
    except ImportError:
        print("(without imcluster's steps: pip install umap-learn to see them)")
        return found

    def imcluster(rows: Array, seed: int) -> Array:
        plane = umap.UMAP(n_components=2, random_state=seed).fit_transform(rows)
        return np.asarray(KMeans(k, n_init=10, random_state=seed).fit_predict(plane))

    return found | {"imcluster (UMAP 2, k-means)": imcluster}


def digits(count: int) -> tuple[Array, Array]:
    """Handwritten digits of scikit-learn as pictures, with their classes: never tuned on."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    picked = np.random.default_rng(0).permutation(len(found.images))[:count]
    pictures = [
        np.asarray(
            Image.fromarray((15 * image).astype(np.uint8)).resize(
                (299, 299), Image.Resampling.BICUBIC
            )
        )
        for image in found.images[picked]
    ]
    return np.repeat(np.stack(pictures)[..., None], 3, axis=3), found.target[picked]


def choice_of_k(rows: Array, truth: Array, seeds: int) -> list[dict[str, float | str]]:
    """What `cluster -k auto` would choose, for several seeds, and how well it agrees."""
    from imgclust.clustering.choose_k import suggest
    from imgclust.clustering.k_sweep import sweep
    from imgclust.clustering.kmeans import assign
    from imgclust.projection.pca import fit_pca

    points = unit(rows).astype(np.float32)
    found: list[dict[str, float | str]] = []
    for seed in range(seeds):
        space = fit_pca(points, dims=64, seed=seed).transform(points)
        swept = sweep(space, k_min=1, seed=seed)
        chosen = suggest(swept, space, seed=seed)
        clusters, _ = assign(space, swept.centroids[swept.k.index(chosen.chosen)])
        found.append(
            {
                "seed": seed,
                "k": chosen.chosen,
                "by": chosen.chosen_by,
                "ami": agreement(clusters, truth),
            }
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of every clustering")
    parser.add_argument("--digits", type=int, default=600, help="digits for the choice of k")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    paths, truth = photos()
    k = len(set(truth.tolist()))
    print(f"{len(paths)} photos in {k} categories; AMI at k = {k}, mean of {chosen.seeds} seeds\n")
    pixels = decoded(paths)
    figures: dict[str, dict[str, float]] = {}
    embeddings = {
        "imgclust (trunk, mixed6 + mixed8)": trunk_embeddings(pixels),
        "InceptionV3 with random weights": random_embeddings(pixels),
        "64-bin colour histogram": histograms(pixels),
    }
    ways = pipelines(k)
    own = ways["imgclust, space smoothed"]
    print(f"{'embedding':50} {'kNN@1':>6} {'AMI':>6}")
    for name, rows in embeddings.items():
        scores = [agreement(own(rows, seed), truth) for seed in range(chosen.seeds)]
        figures[name] = {
            "knn": nearest_in_category(rows, truth),
            "ami": statistics.fmean(scores),
        }
        print(f"{name:50} {figures[name]['knn']:6.3f} {figures[name]['ami']:6.3f}")
    print(f"\n{'pipeline on the trunk embeddings':50} {'AMI':>6} {'min':>6} {'max':>6} {'s':>7}")
    rows = next(iter(embeddings.values()))
    for name, run in ways.items():
        began = time.perf_counter()
        scores = [agreement(run(rows, seed), truth) for seed in range(chosen.seeds)]
        seconds = (time.perf_counter() - began) / chosen.seeds
        figures[name] = {"ami": statistics.fmean(scores), "seconds": seconds}
        print(
            f"{name:50} {statistics.fmean(scores):6.3f} {min(scores):6.3f} {max(scores):6.3f} "
            f"{seconds:7.2f}"
        )
    print("\n-k auto, three seeds each")
    pictures, classes = digits(chosen.digits)
    choices = {
        f"{len(paths)} photos, {k} categories": choice_of_k(rows, truth, 3),
        f"{len(classes)} handwritten digits, 10 classes": choice_of_k(
            trunk_embeddings(pictures), classes, 3
        ),
    }
    for name, found in choices.items():
        print(
            f"{name:50} " + "  ".join(f"k={c['k']} ({c['by']}, AMI {c['ami']:.2f})" for c in found)
        )
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
