"""Clusters that persist: strategies side by side while a labelled folder arrives in batches.

scripts/bench replay photos digits NAME=FOLDER[,depth=N][,least=N][,most=N][,k=N] ...
scripts/bench replay photos --scenarios shuffled season tenfold flood ending --frontier
scripts/bench replay mine=INDEX_FOLDER --scenarios history      a collection in the order it came

The first 40 % are clustered, the rest comes in ten batches with a re-cluster after each, at a fixed
k (the number of categories). "kept" is the share of the images of the first day that are there
still and have their first cluster id; AMI and ARI are those of all images with the categories.
"ours, k auto" has its k from the images; "changes" is how often the number of clusters differed
from one batch to the next, in the order in which that was most often.
Embeddings are computed once, with the built-in weights, and kept in --cache.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from replay_arms import Chain, Run, Step, Strategy, strategies
from replay_sets import SCENARIOS, LabelledSet, Replay, load, replay_of

from imgclust.clustering.kmeans import assign, fit
from imgclust.clustering.smoother import smooth

Array = npt.NDArray[Any]

_NAMED = 10
_ALONE = 60  # arrivals that are smoothed alone


def agreement(found: Array, truth: Array) -> tuple[float, float]:
    """AMI and ARI of the rows that have a label."""
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    labelled = truth >= 0
    pair = truth[labelled], found[labelled]
    return float(adjusted_mutual_info_score(*pair)), float(adjusted_rand_score(*pair))


def replayed(
    replay: Replay, found: LabelledSet, chosen: list[Strategy], *, seed: int, named: bool
) -> dict[str, list[dict[str, float]]]:
    """For each strategy what was measured after each batch, the first clustering before them."""
    n = len(replay.vectors)
    runs = [Run(one, found.k, seed, np.full(n, -1, np.int64)) for one in chosen]
    figures: dict[str, list[dict[str, float]]] = {run.strategy.name: [] for run in runs}
    present = np.sort(replay.first)
    nothing = np.empty(0, np.int64)
    first: dict[str, Array] = {}
    members: dict[str, Array] = {}
    for number, (arriving, leaving) in enumerate(
        zip((nothing, *replay.batches), (nothing, *replay.leaving), strict=True)
    ):
        came_before = present
        # The order of arrival, in which a catalog has its contents.
        present = np.concatenate([present, np.setdiff1d(arriving, leaving)])
        present = present[~np.isin(present, leaving)]
        step = Step(replay.vectors[present], present)
        for run in runs:
            name = run.strategy.name
            before = run.ids.copy()
            run.step(step, present, number)
            if number == 0:
                first[name] = run.ids.copy()
                if named:
                    ids, sizes = np.unique(run.ids[present], return_counts=True)
                    largest = ids[np.argsort(-sizes, kind="stable")]
                    run.named = tuple(sorted(largest[: min(_NAMED, found.k // 2)].tolist()))
                members[name] = np.flatnonzero(np.isin(run.ids, run.named))
            ami, ari = agreement(run.ids[present], replay.labels[present])
            day_one = replay.first[np.isin(replay.first, present)]
            stayed = came_before[np.isin(came_before, present)]
            there = members[name][np.isin(members[name], present)]
            row = {
                "kept": _same(run.ids, first[name], day_one),
                "kept_since": _same(run.ids, before, stayed) if number else 1.0,
                "named": _same(run.ids, first[name], there),
                "ami": ami,
                "ari": ari,
                "k": len(np.unique(run.ids[present])),
                "seconds": run.seconds[-1],
            }
            if number and number - 1 == replay.watched:
                old = agreement(before[stayed], replay.labels[stayed])[0]
                row["change"] = agreement(run.ids[stayed], replay.labels[stayed])[0] - old
            figures[name].append(row)
    fresh = next((run for run in runs if run.strategy.name == "smoothed, fresh"), None)
    for run in runs:
        if fresh is not None:
            last = figures[run.strategy.name][-1]
            last["ami_fresh"] = agreement(run.ids[present], fresh.ids[present])[0]
    return figures


def _same(now: Array, then: Array, rows: Array) -> float:
    return float((now[rows] == then[rows]).mean()) if len(rows) else 1.0


def summary(orders: list[list[dict[str, float]]]) -> dict[str, float]:
    """The last batch, mean of the orders; the worst batch, the change and the whole time."""
    last = [one[-1] for one in orders]
    found = {key: statistics.fmean(one[key] for one in last) for key in last[0] if key != "change"}
    found["kept_since"] = statistics.fmean(row["kept_since"] for one in orders for row in one[1:])
    changes_of_k = [
        sum(one["k"] != other["k"] for one, other in itertools.pairwise(rows)) for rows in orders
    ]
    found["changes"] = max(changes_of_k)
    found["seconds"] = statistics.fmean(sum(row["seconds"] for row in one) for one in orders)
    changes = [row["change"] for one in orders for row in one if "change" in row]
    if changes:
        found["change"] = statistics.fmean(changes)
    return found


_COLUMNS = {
    "kept": "kept",
    "kept_since": "a batch",
    "named": "named",
    "ami": "AMI",
    "ari": "ARI",
    "ami_fresh": "to fresh",
    "k": "clusters",
    "changes": "changes",
    "change": "others",
    "seconds": "cpu s",
}


def placement(found: LabelledSet, seed: int, arriving: float) -> tuple[float, float, float]:
    """Share of arrivals that join the cluster in which smoothing with all would put them.

    A share arrives: alone, which is the first number, and all together, the second. The third is
    the share that smoothing puts into the same cluster alone and together: what does not know the
    other arrivals can hardly be above it.
    """
    order = np.random.default_rng(seed).permutation(len(found.vectors))
    count = max(1, round(arriving * len(order)))
    old, new = found.vectors[order[count:]], found.vectors[order[:count]]
    chain = Chain.of(old)
    points, space = chain.space.points, chain.space
    centroids = fit(space.smoothed, found.k, seed=seed).centroids
    arrivals = chain.projection.transform(new)
    placed = assign(space.place(arrivals), centroids)[0]

    def together(rows: Array) -> Array:
        smoothed = smooth(np.concatenate([points, rows])).smoothed[len(points) :]
        return assign(smoothed, centroids)[0]

    some = range(min(count, _ALONE))
    alone = np.concatenate([together(arrivals[row : row + 1]) for row in some])
    everyone = together(arrivals)
    return (
        float((placed[: len(alone)] == alone).mean()),
        float((placed == everyone).mean()),
        float((alone == everyone[: len(alone)]).mean()),
    )


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    """One table: a strategy on each line."""
    columns = [key for key in _COLUMNS if any(key in row for row in table.values())]
    print(f"\n{title}\n{'':24}" + "".join(f"{_COLUMNS[key]:>10}" for key in columns))
    for name, row in table.items():
        cells = [
            f"{row[key]:10.1f}" if key in {"k", "changes", "seconds"} else f"{row[key]:10.3f}"
            for key in columns
        ]
        print(f"{name:24}" + "".join(cells), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help="photos, digits, NAME=FOLDER or NAME=INDEX_FOLDER")
    parser.add_argument(
        "--scenarios",
        nargs="+",
        default=["shuffled", "season"],
        choices=[*SCENARIOS, "history"],
        help="how the images arrive",
    )
    parser.add_argument("--orders", type=int, default=3, help="orders that are averaged")
    parser.add_argument("--named", action="store_true", help="the ten largest clusters are named")
    parser.add_argument("--frontier", action="store_true", help="other margins too")
    parser.add_argument("--batches", action="store_true", help="print every batch of order 0")
    parser.add_argument(
        "--placement",
        action="store_true",
        help="only where arrivals go, against smoothing with all",
    )
    parser.add_argument(
        "--arriving", type=float, default=0.1, help="with --placement: the share that arrives"
    )
    parser.add_argument("--cache", type=Path, default=Path("replay-cache"), help="for embeddings")
    parser.add_argument("--out", type=Path, help="write all figures as JSON too")
    chosen = parser.parse_args()
    everything: dict[str, Any] = {}
    totals: dict[str, list[dict[str, float]]] = {}
    for spec in chosen.sets:
        found = load(spec, chosen.cache)
        if chosen.placement:
            draws = [placement(found, seed, chosen.arriving) for seed in range(chosen.orders)]
            shares = np.mean(draws, axis=0)
            print(
                f"{found.name:12} alone {shares[0]:.3f}, together {shares[1]:.3f}; "
                f"smoothing alone and together {shares[2]:.3f}",
                flush=True,
            )
            continue
        for scenario in chosen.scenarios:
            arms = strategies(frontier=chosen.frontier, ablation=scenario == "flood")
            orders = []
            for seed in range(chosen.orders):
                replay = replay_of(found, scenario, seed, chosen.cache)
                orders.append(replayed(replay, found, arms, seed=seed, named=chosen.named))
            table = {one.name: summary([order[one.name] for order in orders]) for one in arms}
            title = f"{found.name}, {len(found.vectors)} in {found.labels.max() + 1}, {scenario}"
            show(f"{title}, k = {found.k}", table)
            if chosen.batches:
                for name, rows in orders[0].items():
                    show(name, {f"batch {number}": row for number, row in enumerate(rows)})
            everything[f"{found.name} {scenario}"] = orders
            for name, row in table.items():
                totals.setdefault(name, []).append(row)
    if not totals:
        return
    mean = {
        name: {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
        for name, rows in totals.items()
        if all(rows[0].keys() <= row.keys() for row in rows)
    }
    show("mean of all", mean)
    if chosen.out:
        chosen.out.write_text(json.dumps(everything, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
