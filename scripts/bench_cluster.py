"""Sweeps against scikit-learn, the knee on noise and on groups, maps and PCA against refits.

scripts/bench cluster sweep [--n 10000 --d 2048 --k-max 100 --every 1]
scripts/bench cluster null [--seeds 100 --n 500 5000 --d 2 50 2048]
scripts/bench cluster map [--n 20000 --arrivals 1000 --alone --large]
scripts/bench cluster pca [--n 12000 --new 600 --turns 5]

All arms run in one process, by turns. Beside the wall clock stands the processor's time, which
hardly depends on what else runs on the machine. scikit-learn for all 100 k of the whole sweep takes
an hour or two; `--every 10` times it at every tenth k and interpolates, and says so.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from cluster_arms import (
    Array,
    Timed,
    agreement,
    judged,
    real_like,
    separated,
    timed,
    trustworthiness,
)

if TYPE_CHECKING:
    from imgclust.projection.pca import PcaProjection

_TURNS = 3
_BLOCK = 5000


def bench_sweep(arguments: argparse.Namespace) -> None:
    """Sweeps in the spaces `embedding` and `pca` against KMeans(n_init=1) for each k."""
    from sklearn.cluster import KMeans

    from imgclust.clustering.k_sweep import sweep
    from imgclust.projection.pca import fit_pca

    n, d, last = arguments.n, arguments.d, arguments.k_max
    asked = sorted({1, last, *range(arguments.every, last + 1, arguments.every)})
    print(f"{n} x {d}, k = 1..{last}, scikit-learn at {len(asked)} of the {last} k")
    if len(asked) < last:
        print("its time for the other k is interpolated linearly between those")
    rows, _ = real_like(n, d, seed=0)

    def on_axes() -> object:
        return sweep(fit_pca(rows, dims=64).transform(rows), k_max=last, seed=0)

    small = real_like(300, 64, seed=9)[0]
    sweep(fit_pca(small, dims=2).transform(small), k_max=3)  # libraries load before the clock runs
    KMeans(2, n_init=1).fit(small)
    lifted: list[Timed] = []
    reduced: list[Timed] = []
    theirs: list[Timed] = []
    ratios: list[float] = []
    turns = {round(turn) for turn in np.linspace(0, len(asked) - 1, min(_TURNS, len(asked)))}
    for number, k in enumerate(asked):
        if number in turns:
            lifted.append(timed(partial(sweep, rows, k_max=last, seed=0)))
            reduced.append(timed(on_axes))
            print(f"  embedding {lifted[-1]}; pca with its PCA {reduced[-1]}", flush=True)
        theirs.append(timed(partial(KMeans(k, n_init=1, random_state=k).fit, rows)))
        inertia = judged(rows, theirs[-1].result.cluster_centers_)
        ratios.append(judged(rows, lifted[0].result.centroids[k - 1]) / inertia)
        print(f"  k = {k}: scikit-learn {theirs[-1]}; inertia ratio {ratios[-1]:.4f}", flush=True)
    for name, own in (("embedding", lifted), ("pca", reduced)):
        wall, processor = (
            _whole(asked, last, [getattr(one, clock) for one in theirs])
            / statistics.median(getattr(one, clock) for one in own)
            for clock in ("wall_s", "cpu_s")
        )
        print(f"{name}: {wall:.0f} times as fast, {processor:.0f} in processor time")
    print(f"inertia ratio at those k: mean {np.mean(ratios):.4f}, max {max(ratios):.4f}")


def _whole(asked: list[int], last: int, seconds: list[float]) -> float:
    """Seconds for every k = 1..last from those of the k that were asked."""
    return float(np.interp(np.arange(1, last + 1), asked, seconds).sum())


def bench_null(arguments: argparse.Namespace) -> None:
    """How often uniform noise has no clear knee, and what is found of separated groups."""
    from imgclust.clustering.choose_k import clear_knee, suggest
    from imgclust.clustering.k_sweep import sweep
    from imgclust.clustering.kmeans import fit

    print("uniform noise\n     n     d   no clear knee", flush=True)
    for n in arguments.n:
        for d in arguments.d:
            wrong = {}
            for seed in range(arguments.seeds):
                rows = np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(np.float32)
                knee = clear_knee(rows, k_max=100, seed=seed)
                if knee is not None:
                    wrong[seed] = knee[0]
            said = "".join(f"; seed {seed}: k = {k}" for seed, k in wrong.items())
            print(f"{n:6d} {d:5d}   {arguments.seeds - len(wrong)} of {arguments.seeds}{said}")
    seeds = min(arguments.seeds, 10)
    print("separated Gaussian groups\n     k     d   knee right   groups recovered exactly")
    for k in (3, 8, 25):
        for d in (16, 2048):
            right = exact = 0
            for seed in range(seeds):
                rows, member = separated(k, d, seed=seed)
                suggestion = suggest(sweep(rows, k_max=50, seed=seed), rows, seed=seed)
                right += suggestion.k == k
                pairs = np.unique(np.stack([member, fit(rows, k, seed=seed).assigned]), axis=1)
                exact += pairs.shape[1] == k
            print(f"{k:6d} {d:5d}   {right:2d} of {seeds}     {exact} of {seeds}", flush=True)


def bench_map(arguments: argparse.Namespace) -> None:
    """openTSNE's map against scikit-learn's, and arrivals placed against a refit."""
    from sklearn.manifold import TSNE

    from imgclust.clustering.kmeans import fit
    from imgclust.projection.pca import fit_pca
    from imgclust.projection.tsne import fit_tsne

    n, arrivals = arguments.n, arguments.arrivals
    ways = {"dims": arguments.dims, "max_points": 0 if arguments.large else None}
    rows, _ = real_like(n + arrivals, arguments.d, seed=0)
    fit_tsne(rows[:300])  # libraries load before the clock runs
    first = rows[:n]
    ours = timed(partial(fit_tsne, first, **ways))
    one = ours.result
    print(f"map of {n}: {ours}, {int(one.placed.sum())} of them placed among the others")
    print(f"trustworthiness {trustworthiness(first, one.coordinates):.4f}", flush=True)
    if arrivals:
        one.place(rows[n : n + 1])
        placed = timed(lambda: one.place(rows[n:]))
        refit = timed(partial(fit_tsne, rows, **ways))
        print(
            f"{arrivals} placed in {placed.wall_s:.2f} s (processor {placed.cpu_s:.2f} s); refit "
            f"{refit}: 1/{refit.wall_s / placed.wall_s:.0f} of a refit "
            f"(1/{refit.cpu_s / placed.cpu_s:.0f} in processor time)"
        )
        clusters = fit(fit_pca(rows, dims=64).transform(rows), 40, seed=0).assigned
        known, fresh = clusters[:n], clusters[n:]
        near = agreement(one.coordinates, known, placed.result, fresh)
        whole = refit.result.coordinates
        anew = agreement(whole[:n], known, whole[n:], fresh)
        error = float((near - anew).std() / np.sqrt(arrivals))
        print(
            f"ten map neighbours of the same cluster: placed {near.mean():.3f}, refit "
            f"{anew.mean():.3f}, standard error of the difference {error:.3f}"
        )
    if not arguments.alone:
        theirs = timed(lambda: _by_scikit_learn(TSNE(arguments.dims, random_state=0), first))
        print(
            f"scikit-learn's TSNE on 50 axes: {theirs}, {theirs.wall_s / ours.wall_s:.1f} times as "
            f"long ({theirs.cpu_s / ours.cpu_s:.1f} in processor time)"
        )
        print(f"its trustworthiness {trustworthiness(first, theirs.result):.4f}")


def _by_scikit_learn(model: Any, rows: Array) -> Array:
    from sklearn.decomposition import PCA

    return np.asarray(model.fit_transform(PCA(50, random_state=0).fit_transform(rows)))


def bench_pca(arguments: argparse.Namespace) -> None:
    """A PCA that is carried on with new rows, turn after turn, against one fitted anew."""
    from imgclust.projection.pca import fit_pca, refreshed

    n, fresh, turns = arguments.n, arguments.new, arguments.turns
    rows, _ = real_like(n + turns * fresh, arguments.d, seed=0)
    onward = fit_pca(rows[:n], dims=64)
    refreshed(onward, rows[:64])  # libraries load before the clock runs
    print(f"{n} x {arguments.d}, 64 axes; {fresh} more at every turn")
    print("share of the variance held in brackets")
    ratios = []
    for turn in range(turns):
        until = n + (turn + 1) * fresh
        carried = timed(partial(refreshed, onward, rows[until - fresh : until]))
        onward = carried.result
        anew = timed(partial(fit_pca, rows[:until], dims=64))
        ratios.append((anew.wall_s / carried.wall_s, anew.cpu_s / carried.cpu_s))
        held = (f"({_held(one.result, rows[:until]):.4f})" for one in (carried, anew))
        print(f"  carried on {carried} {next(held)}, anew {anew} {next(held)}", flush=True)
    wall, processor = np.median(ratios, axis=0)
    print(f"carried on {wall:.1f} times as fast, {processor:.1f} in processor time (medians)")


def _held(projection: PcaProjection, rows: Array) -> float:
    """Share of the rows' variance on the axes, in float64."""
    inside = total = 0.0
    for first in range(0, len(rows), _BLOCK):
        centred = rows[first : first + _BLOCK].astype(np.float64) - projection.mean
        inside += float(np.square(centred @ projection.components.T).sum())
        total += float(np.square(centred).sum())
    return inside / total


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
    part.add_argument("--every", type=int, default=1, metavar="STEP", help="scikit-learn's k")
    part = parts.add_parser("null", help=bench_null.__doc__)
    part.set_defaults(run=bench_null)
    part.add_argument("--seeds", type=int, default=100)
    part.add_argument("--n", type=int, nargs="*", default=[500, 5000])
    part.add_argument("--d", type=int, nargs="*", default=[2, 50, 2048])
    part = parts.add_parser("map", help=bench_map.__doc__)
    part.set_defaults(run=bench_map)
    part.add_argument("--n", type=int, default=20_000)
    part.add_argument("--d", type=int, default=2048)
    part.add_argument("--dims", type=int, default=2, choices=(2, 3))
    part.add_argument("--arrivals", type=int, default=1000)
    part.add_argument("--alone", action="store_true", help="without scikit-learn's TSNE")
    part.add_argument("--large", action="store_true", help="as maps of over 50,000 are made")
    part = parts.add_parser("pca", help=bench_pca.__doc__)
    part.set_defaults(run=bench_pca)
    part.add_argument("--n", type=int, default=12_000)
    part.add_argument("--new", type=int, default=600)
    part.add_argument("--turns", type=int, default=5)
    part.add_argument("--d", type=int, default=2048)
    arguments = parser.parse_args()
    began = time.perf_counter()
    arguments.run(arguments)
    print(f"({time.perf_counter() - began:.0f} s in all)")


if __name__ == "__main__":
    main()
