"""Medoids, representatives, coherence: against every pair, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.cluster_stats import coherence, medoid, nearest_clusters, representatives


def cone(n: int = 60, d: int = 12, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.standard_normal((n, d)) + 3).astype(np.float32)


def test_the_medoid_is_most_like_all_the_others() -> None:
    rows = cone()
    units = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    assert medoid(rows) == int((units @ units.T).mean(axis=1).argmax())
    assert medoid(rows[:1]) == 0


def test_coherence_is_the_mean_cosine() -> None:
    assert coherence(np.array([[1, 0], [0, 1]], np.float32)) == pytest.approx(math.sqrt(0.5))
    assert coherence(np.array([[2, 0], [5, 0]], np.float32)) == pytest.approx(1.0)
    assert coherence(np.zeros((3, 2), np.float32)) == 0.0


def test_representatives_show_every_part_of_a_cluster() -> None:
    random = np.random.default_rng(1)
    part = np.repeat(np.arange(9), [40, 5, 5, 5, 5, 5, 5, 5, 5])
    rows = np.eye(9, 16)[part] + 0.01 * random.standard_normal((80, 16))
    chosen = representatives(rows.astype(np.float32))
    assert chosen[0] == medoid(rows)
    assert sorted(part[list(chosen)]) == list(range(9))
    assert part[chosen[0]] == 0


def test_representatives_are_different_images_and_few_where_there_are_few() -> None:
    rows = cone(4)
    assert sorted(representatives(rows)) == [0, 1, 2, 3]
    assert len(representatives(np.repeat(rows[:2], 10, axis=0))) == 2
    assert representatives(rows, 1) == (medoid(rows),)


def test_nearest_clusters_are_in_order() -> None:
    centroids = np.array([[0, 0], [3, 4], [1, 0], [0, 2]], np.float32)
    assert nearest_clusters(centroids, 0, 2) == ((2, 1.0), (3, 2.0))
    assert [one for one, _ in nearest_clusters(centroids, 0)] == [2, 3, 1]
