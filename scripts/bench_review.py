"""What answers of `clusters review` teach about images that nobody was asked about.

scripts/bench review photos digits NAME=FOLDER[,depth=N][,least=N][,most=N][,k=N] ...

A labelled set is clustered, at k = the number of its categories. Then pairs of its images are
answered by their categories, as many as 2, 10 and 20 % of the images: pairs that `review` chooses
one after the other, and random pairs. The clusters continue once with the answers. "none",
"review" and "random" are the AMI with the categories after that, without answers and with each, of
the images that neither asked about; intervals are 95 % (Student's t over the seeds). With --weights
the mean of a camp weighs differently in smoothing; at 0 an answer counts for its two images alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench_replay import agreement
from replay_arms import Chain
from replay_sets import LabelledSet, load

from imgclust.clustering.constraints import contracted
from imgclust.clustering.kmeans import fit
from imgclust.clustering.pair_choice import Known, PairChoice, carried
from imgclust.clustering.smoother import CAMP_WEIGHT
from imgclust.clustering.warm_start import continued

Array = npt.NDArray[Any]
Pairs = list[tuple[int, int]]

SHARES = (0.02, 0.1, 0.2)


class Setting:
    """A set in its smoothed space, clustered once, and the category of each row there."""

    def __init__(self, found: LabelledSet, chain: Chain, seed: int) -> None:
        self.found, self.chain, self.seed = found, chain, seed
        self.points = chain.space.smoothed
        self.truth = found.labels[chain.representatives]
        self.before = fit(self.points, found.k, seed=seed).assigned

    def chosen(self, count: int) -> tuple[Pairs, Pairs]:
        """Pairs that review asks about, together and apart."""
        choice = PairChoice(self.points, self.found.k, seed=self.seed)
        together: Pairs = []
        apart: Pairs = []
        for _ in range(count):
            free = np.full(len(self.points), -1)
            pairs = choice.pairs(1, Known(together, apart, free))
            if not pairs:
                break
            self.answer(pairs[0], together, apart)
        return together, apart

    def random(self, count: int) -> tuple[Pairs, Pairs]:
        """As many pairs of two rows that are drawn, together and apart."""
        drawn = np.random.default_rng(self.seed)
        pairs: set[tuple[int, int]] = set()
        while len(pairs) < count:
            one, other = sorted(drawn.choice(len(self.points), 2, replace=False).tolist())
            pairs.add((one, other))
        together: Pairs = []
        apart: Pairs = []
        for pair in sorted(pairs):
            self.answer(pair, together, apart)
        return together, apart

    def answer(self, pair: tuple[int, int], together: Pairs, apart: Pairs) -> None:
        """Note what the categories say of a pair."""
        same = self.truth[pair[0]] == self.truth[pair[1]]
        (together if same else apart).append(pair)

    def taught(self, together: Pairs, weight: float) -> Array:
        """The cluster of each image of the set after the answers."""
        camps = carried(self.points, self.found.k, together, seed=self.seed)
        points = self.chain.space.drawn(camps, weight=weight).smoothed
        points = contracted(points, _linked(len(points), together))
        assigned = continued(points, self.before, self.found.k).assigned
        return np.asarray(assigned[self.chain.group])


def _linked(rows: int, pairs: Pairs) -> Array:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one)), (one, other)), (rows, rows))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def measured(setting: Setting, share: float, weights: list[float]) -> dict[str, float]:
    """AMI of the images that were not asked about, without answers and with each kind."""
    labels = setting.found.labels
    count = round(share * len(labels))
    answers = {"review": setting.chosen(count), "random": setting.random(count)}
    asked = [row for pair in answers.values() for pairs in pair for two in pairs for row in two]
    rest = ~np.isin(setting.chain.group, asked)
    found = {"none": agreement(setting.taught([], 0)[rest], labels[rest])[0]}
    for name, (together, apart) in answers.items():
        found[f"{name} yes"] = len(together) / max(1, len(together) + len(apart))
        for weight in [CAMP_WEIGHT, *weights]:
            key = name if weight == CAMP_WEIGHT else f"{name} {weight:g}"
            clusters = setting.taught(together, weight)
            found[key] = agreement(clusters[rest], labels[rest])[0]
    return found | {"questions": count, "rest": float(rest.mean())}


def interval(values: Array) -> tuple[float, float, float]:
    """Mean, and the two ends of its 95 % interval."""
    from scipy.stats import t

    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("-inf"), float("inf")
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half


def show(found: LabelledSet, share: float, rows: list[dict[str, float]]) -> None:
    """One line of the table, and one for each other weight."""
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    none = columns["none"]
    gains = {key: interval(columns[key] - none) for key in ("review", "random")}
    ahead = interval(columns["review"] - columns["random"])
    print(
        f"{found.name:8} {share:4.0%} {rows[0]['questions']:5.0f} "
        + "".join(f"{columns[key].mean():8.3f}" for key in ("none", "review", "random"))
        + f"   gain {_said(gains['review'])}, of random pairs {_said(gains['random'])}"
        + f"   difference {_said(ahead)}   yes {columns['review yes'].mean():.2f}"
        + f" {columns['random yes'].mean():.2f}, others {columns['rest'].mean():.2f}",
        flush=True,
    )
    for key in columns:
        if key.startswith("review ") and key != "review yes":
            print(f"    weight {key.split()[1]}: gain {_said(interval(columns[key] - none))}")


def _said(found: tuple[float, float, float]) -> str:
    return f"{found[0]:+.3f} [{found[1]:+.3f} {found[2]:+.3f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help="photos, digits or NAME=FOLDER, as in bench replay")
    parser.add_argument("--seeds", type=int, default=10, help="seeds that are averaged")
    parser.add_argument("--weights", nargs="*", type=float, default=[], help="other weights too")
    parser.add_argument("--cache", type=Path, default=Path("replay-cache"), help="for embeddings")
    parser.add_argument("--out", type=Path, help="write all figures as JSON too")
    chosen = parser.parse_args()
    everything: dict[str, Any] = {}
    for spec in chosen.sets:
        found = load(spec, chosen.cache)
        chain = Chain.of(found.vectors)
        settings = [Setting(found, chain, seed) for seed in range(chosen.seeds)]
        for share in SHARES:
            rows = [measured(one, share, chosen.weights) for one in settings]
            show(found, share, rows)
            everything[f"{found.name} {share}"] = rows
    if chosen.out:
        chosen.out.write_text(json.dumps(everything, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
