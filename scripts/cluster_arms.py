"""Made-up vectors, clocks and judges of `bench cluster`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BLOCK = 5000
_JUDGED_AT_ONCE = 100


def real_like(n: int, d: int, *, seed: int, groups: int = 80) -> tuple[Array, Array]:
    """Vectors float32 (n, d) that resemble pooled features, and the group of each.

    Overlapping groups of unequal size on a decaying spectrum, square root, unit length.
    """
    random = np.random.default_rng(seed)
    rank = min(256, d)
    member = random.choice(groups, n, p=random.dirichlet(np.full(groups, 1.5)))
    spectrum = (1 + np.arange(rank)) ** -0.6
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((d, rank)))[0].T
    centres = np.random.default_rng(2).standard_normal((groups, rank)) * spectrum * 0.5
    scale = 3 * np.sqrt(d / 2048)
    found = np.empty((n, d), np.float32)
    for first in range(0, n, _BLOCK):
        part = member[first : first + _BLOCK]
        own = random.standard_normal((len(part), rank)) * spectrum
        own *= random.gamma(4, 0.25, (len(part), 1))
        rows = 0.6 + scale * ((centres[part] + own) @ basis)
        rows += 0.12 * random.standard_normal((len(part), d))
        rows = np.sqrt(np.maximum(rows, 0))
        found[first : first + _BLOCK] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found, member


def separated(k: int, d: int, *, seed: int) -> tuple[Array, Array]:
    """Gaussian groups of unit variance that do not touch, float32 (n, d); the group of each."""
    random = np.random.default_rng(seed)
    spread = max(2, 24 / np.sqrt(d))
    member = np.repeat(np.arange(k), random.integers(30, 60, k))
    rows = spread * random.standard_normal((k, d))[member]
    rows += random.standard_normal((len(member), d))
    return rows.astype(np.float32), member


@dataclass(frozen=True)
class Timed:
    """Wall and processor seconds of some work, and what it gave."""

    wall_s: float
    cpu_s: float
    result: Any

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s (processor {self.cpu_s:.1f} s)"


def timed(work: Callable[[], Any]) -> Timed:
    """Do the work by both clocks; the processor's hardly depends on what else runs here."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, result)


def judged(rows: Array, centroids: Array) -> float:
    """Inertia in float64 over all rows: the one judge for every arm."""
    centres = centroids.astype(np.float64)
    total = 0.0
    for first in range(0, len(rows), _BLOCK):
        part = rows[first : first + _BLOCK].astype(np.float64)
        squared = (part**2).sum(axis=1)[:, None] - 2 * part @ centres.T + (centres**2).sum(axis=1)
        total += float(squared.min(axis=1).sum())
    return total


def agreement(known: Array, groups: Array, fresh: Array, theirs: Array) -> Array:
    """For each fresh point, the share of its ten nearest known ones that are of its own group."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=10).fit(known).kneighbors(fresh, return_distance=False)
    return np.asarray((groups[nearest] == theirs[:, None]).mean(axis=1))


def trustworthiness(rows: Array, flat: Array, *, rows_asked: int = 1000, count: int = 10) -> float:
    """Trustworthiness (Venna and Kaski 2001) of a map, for a sample of its rows.

    Each sampled row is held against all rows, so that the figure is that of the whole map but for
    the sampling: scikit-learn's function would need n x n distances.
    """
    n = len(rows)
    picked = np.random.default_rng(0).choice(n, min(n, rows_asked), replace=False)
    squares = np.einsum("ij,ij->i", rows, rows)
    late = 0.0
    for first in range(0, len(picked), _JUDGED_AT_ONCE):
        block = picked[first : first + _JUDGED_AT_ONCE]
        far = squares - 2 * (rows[block] @ rows.T)
        for one, here in zip(block, far, strict=True):
            there = np.square(flat - flat[one]).sum(axis=1)
            here[one], there[one] = -np.inf, np.inf
            near = np.argpartition(there, count)[:count]
            ranks = np.searchsorted(np.sort(here), here[near])
            late += float(np.maximum(ranks - count, 0).sum())
    return 1 - 2 * late / (len(picked) * count * (2 * n - 3 * count - 1))
