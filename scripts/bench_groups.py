"""scripts/bench groups: whether the suggested number of clusters holds still, and how good it is.

scripts/bench groups photos digits NAME=FOLDER[,depth=N][,least=N][,most=N] ...

A first suggestion of the space `smoothed` for labelled sets (those of `bench replay`): in five
orders of arrival, for five seeds, for five draws of 90 % of the images, and as a setting of k_max
allows; and AMI with the categories there, as a share of the best at any k up to 100.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from replay_arms import Chain
from replay_sets import LabelledSet, load

from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clustering.choose_k import suggest_counted
from imgclust.clustering.group_count import GroupCount, estimate_group_count
from imgclust.clustering.kmeans import fit

Array = npt.NDArray[Any]

_TIMES = 5
_SHARE = 0.9
_LARGEST = 100
_FINE_TO = 40  # every k until here, then every third


def counted(
    vectors: Array, keys: Array, *, order: Array | None = None, seed: int = 0
) -> GroupCount:
    """The count of groups of images that came in an order, as `cluster` makes it of few images."""
    came = np.arange(len(vectors)) if order is None else order
    by_key = came[np.argsort(keys[came], kind="stable")]
    rows = vectors[by_key]
    chosen = by_key[np.unique(group_bursts(rows, bounds=burst_rule(rows).bounds(rows)))]
    return estimate_group_count(vectors[chosen], keys[chosen], seed=seed)


def agreements(found: LabelledSet, asked: list[int]) -> dict[int, float]:
    """AMI with the categories at each k, mean of three seeds."""
    from sklearn.metrics import adjusted_mutual_info_score

    chain = Chain.of(found.vectors)
    points = chain.space.smoothed
    return {
        k: statistics.fmean(
            float(
                adjusted_mutual_info_score(
                    found.labels, fit(points, k, seed=seed).assigned[chain.group]
                )
            )
            for seed in range(3)
        )
        for k in asked
        if k < len(points)
    }


def spread(numbers: list[int]) -> float:
    """How far the largest and the smallest are apart, as a share of the one in the middle."""
    return (max(numbers) - min(numbers)) / statistics.median(numbers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help="photos, digits or NAME=FOLDER")
    parser.add_argument("--cache", type=Path, default=Path("replay-cache"), help="for embeddings")
    chosen = parser.parse_args()
    shares = []
    for spec in chosen.sets:
        found = load(spec, chosen.cache)
        n = len(found.vectors)
        random = np.random.default_rng(0)
        keys = random.permutation(n)
        first = counted(found.vectors, keys)
        if first.k is None:
            print(f"{found.name}, {n} in {found.k}: no clear structure, ratio {first.ratio:.2f}")
            continue

        def numbers(made: list[GroupCount]) -> list[int]:
            return [one.k or 1 for one in made]

        orders = [counted(found.vectors, keys, order=random.permutation(n)) for _ in range(_TIMES)]
        seeds = [counted(found.vectors, keys, seed=seed) for seed in range(_TIMES)]
        drawn = [np.sort(random.permutation(n)[: round(_SHARE * n)]) for _ in range(_TIMES)]
        parts = [counted(found.vectors[rows], keys[rows]) for rows in drawn]
        capped = [
            suggest_counted(first, k_min=1, k_max=times * first.k) for times in range(2, 2 + _TIMES)
        ]
        asked = {*range(2, _FINE_TO), *range(_FINE_TO, _LARGEST + 1, 3), first.k}
        known = agreements(found, sorted(asked))
        best = max(known, key=lambda k: known[k])
        share = known[first.k] / known[best]
        shares.append(share)
        print(f"{found.name}, {n} in {found.k}: {first.k}")
        print(f"  k_max of 2 to 6 times it   {[one.k for one in capped if one]}")
        for name, made in (("orders of arrival", orders), ("seeds", seeds), ("90 %", parts)):
            print(f"  {name:26} {numbers(made)}, spread {spread(numbers(made)):.0%}")
        print(
            f"  AMI there {known[first.k]:.3f}, best {known[best]:.3f} (k = {best}): {share:.3f}",
            flush=True,
        )
    if shares:
        print(f"share of the best AMI, mean {statistics.fmean(shares):.3f}")


if __name__ == "__main__":
    main()
