"""Sweeps against scikit-learn, the null model on noise, maps against scikit-learn and a refit.

scripts/bench cluster sweep [--n 10000 --d 2048 --k-max 100 --k-step 11 --rounds 1]
scripts/bench cluster null [--seeds 100]
scripts/bench cluster map [--n 20000 --arrivals 1000]

Every arm of a round runs in the same process right after the other; ratios are taken within a
round and their median over the rounds is printed. The vectors are made up: overlapping groups of
unequal size on a decaying spectrum, square root, unit length, as pooled features are.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def real_like(n: int, d: int, *, seed: int, groups: int = 80) -> tuple[Array, Array]:
    """Vectors float32 (n, d) that resemble pooled features, and the group of each."""
    random = np.random.default_rng(seed)
    rank = min(256, d)
    member = random.choice(groups, n, p=random.dirichlet(np.full(groups, 1.5)))
    spectrum = (1 + np.arange(rank)) ** -0.6
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((d, rank)))[0].T
    centres = np.random.default_rng(2).standard_normal((groups, rank)) * spectrum * 0.5
    own = random.standard_normal((n, rank)) * spectrum * random.gamma(4, 0.25, (n, 1))
    scale = 3 * np.sqrt(d / 2048)
    rows = 0.6 + scale * ((centres[member] + own) @ basis) + 0.12 * random.standard_normal((n, d))
    rows = np.sqrt(np.maximum(rows, 0))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), member


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that the work took, and what it gave."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def judged(rows: Array, centroids: Array) -> float:
    """Inertia in float64 over all rows: the one judge for every arm."""
    wide, centres = rows.astype(np.float64), centroids.astype(np.float64)
    total = 0.0
    for first in range(0, len(wide), 2000):
        part = wide[first : first + 2000]
        squared = (part**2).sum(axis=1)[:, None] - 2 * part @ centres.T + (centres**2).sum(axis=1)
        total += float(squared.min(axis=1).sum())
    return total


def bench_sweep(arguments: argparse.Namespace) -> None:
    """Sweeps in the spaces `embedding` and `pca` against KMeans(n_init=1) for each k."""
    from sklearn.cluster import KMeans

    from imgclust.clustering import sweep
    from imgclust.projection import fit_pca

    n, d, last = arguments.n, arguments.d, arguments.k_max
    every = np.arange(1, last + 1)
    sampled = sorted({1, last, *range(1, last + 1, arguments.k_step)})
    shown = f"k = 1..{last}"
    print(f"{n} x {d}, {shown}; scikit-learn timed at k = {', '.join(map(str, sampled))}")
    if len(sampled) < last:
        print("its time for the other k is interpolated linearly between those")

    def on_axes(rows: Array, seed: int) -> object:
        return sweep(fit_pca(rows, dims=64).transform(rows), k_max=last, seed=seed)

    ratios: list[float] = []
    pca_ratios: list[float] = []
    inertia: list[float] = []
    fit_pca(real_like(300, 64, seed=9)[0], dims=2)  # libraries load before the clock runs
    sweep(real_like(300, 64, seed=9)[0], k_max=3)
    for turn in range(arguments.rounds):
        rows, _ = real_like(n, d, seed=turn)
        ours_s, ours = timed(partial(sweep, rows, k_max=last, seed=turn))
        theirs_s = []
        for k in sampled:
            model = KMeans(k, n_init=1, random_state=turn)
            seconds, fitted = timed(partial(model.fit, rows))
            theirs_s.append(seconds)
            theirs = judged(rows, fitted.cluster_centers_)
            inertia.append(judged(rows, ours.centroids[k - 1]) / theirs)
        pca_s, _ = timed(partial(on_axes, rows, seed=turn))
        total_s = float(np.interp(every, sampled, theirs_s).sum())
        ratios.append(total_s / ours_s)
        pca_ratios.append(total_s / pca_s)
        print(
            f"round {turn + 1}: embedding {ours_s:.1f} s, pca with its PCA {pca_s:.1f} s, "
            f"scikit-learn {total_s:.0f} s"
        )
    print(f"embedding: {statistics.median(ratios):.1f} times as fast (median of {len(ratios)})")
    print(f"pca: {statistics.median(pca_ratios):.1f} times as fast")
    print(f"inertia ratio at those k: mean {np.mean(inertia):.4f}, max {max(inertia):.4f}")


def bench_null(arguments: argparse.Namespace) -> None:
    """How often uniform noise is said to have no clear knee."""
    from imgclust.clustering.knee import clear_knee

    print("     n     d   no clear knee")
    for n in (500, 5000):
        for d in (2, 50, 2048):
            silent = 0
            for seed in range(arguments.seeds):
                rows = np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(np.float32)
                silent += clear_knee(rows, k_max=100, seed=seed) is None
            print(f"{n:6d} {d:5d}   {silent} of {arguments.seeds}", flush=True)


def bench_map(arguments: argparse.Namespace) -> None:
    """openTSNE's map against scikit-learn's, and arrivals placed against a refit."""
    from sklearn.manifold import TSNE, trustworthiness

    from imgclust.projection import fit_pca, fit_tsne

    n, arrivals = arguments.n, arguments.arrivals
    rows, member = real_like(n + arrivals, arguments.d, seed=0)
    fit_tsne(rows[:300])  # libraries load before the clock runs
    ours_s, ours = timed(lambda: fit_tsne(rows[:n]))
    refit_s, refit = timed(lambda: fit_tsne(rows))
    ours.place(rows[n : n + 1])
    placed_s, placed = timed(lambda: ours.place(rows[n:]))
    print(f"map of {n}: {ours_s:.1f} s; refit with {arrivals} more {refit_s:.1f} s")
    print(f"{arrivals} placed: {placed_s:.2f} s, 1/{refit_s / placed_s:.0f} of a refit")
    near = agreement(ours.coordinates, member[:n], placed, member[n:])
    anew = agreement(refit.coordinates[:n], member[:n], refit.coordinates[n:], member[n:])
    print(f"ten neighbours of the same group: placed {near:.3f}, refit {anew:.3f}")
    if arguments.against:
        reduced = fit_pca(rows[:n], dims=50).transform(rows[:n])
        theirs_s, theirs = timed(lambda: TSNE(random_state=0).fit_transform(reduced))
        pick = np.random.default_rng(0).choice(n, min(n, 3000), replace=False)
        trusts = [
            trustworthiness(rows[:n][pick], one[pick], n_neighbors=10)
            for one in (ours.coordinates, theirs)
        ]
        print(f"scikit-learn's TSNE {theirs_s:.1f} s: {theirs_s / ours_s:.1f} times as long")
        print(f"trustworthiness over {len(pick)} rows: {trusts[0]:.3f}, theirs {trusts[1]:.3f}")


def agreement(known: Array, groups: Array, fresh: Array, theirs: Array) -> float:
    """Mean share of the ten nearest known points that are of the point's own group."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=10).fit(known).kneighbors(fresh, return_distance=False)
    return float((groups[nearest] == theirs[:, None]).mean())


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("sweep", help=bench_sweep.__doc__)
    part.set_defaults(run=bench_sweep)
    part.add_argument("--n", type=int, default=10_000)
    part.add_argument("--d", type=int, default=2048)
    part.add_argument("--k-max", type=int, default=100)
    part.add_argument("--k-step", type=int, default=11)
    part.add_argument("--rounds", type=int, default=1)
    part = parts.add_parser("null", help=bench_null.__doc__)
    part.set_defaults(run=bench_null)
    part.add_argument("--seeds", type=int, default=100)
    part = parts.add_parser("map", help=bench_map.__doc__)
    part.set_defaults(run=bench_map)
    part.add_argument("--n", type=int, default=20_000)
    part.add_argument("--d", type=int, default=2048)
    part.add_argument("--arrivals", type=int, default=1000)
    part.add_argument("--against", action="store_true", help="time scikit-learn's TSNE as well")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
