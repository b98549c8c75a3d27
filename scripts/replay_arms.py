"""The strategies of `bench replay`: what each makes of the same arrivals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.clustering.constraints import constrained_fit
from imgclust.clustering.group_count import estimate_group_count
from imgclust.clustering.id_map import match
from imgclust.clustering.kmeans import assign
from imgclust.clustering.smoother import Smoothed, smooth
from imgclust.clustering.warm_start import EXCHANGE, MARGIN, continued
from imgclust.projection.half_white import HalfWhiteProjection, fit_half_white
from imgclust.projection.pca import fit_pca

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Chain:
    """Burst groups, half whitening, smoothing: the space that k-means runs in."""

    representatives: Array
    group: Array
    projection: HalfWhiteProjection
    space: Smoothed

    @classmethod
    def of(cls, vectors: Array, *, bursts: bool = True) -> Chain:
        """The chain fitted on vectors (n, d)."""
        groups = np.arange(len(vectors))
        if bursts:
            groups = group_bursts(vectors, bounds=burst_rule(vectors).bounds(vectors))
        representatives, group = np.unique(groups, return_inverse=True)
        projection = fit_half_white(vectors, rows=representatives)
        space = smooth(projection.transform(vectors[representatives]))
        return cls(representatives, group, projection, space)


class Step:
    """The images that are there at one time, and the spaces made of them, each made once.

    Attributes
    ----------
    vectors
        float32 (n, d).
    before
        Cluster ids until now, int64 (n,); -1 for arrivals.
    named
        Ids of the clusters whose members stay.
    keys
        The rows of the replay that they are, int64 (n,).
    """

    def __init__(self, vectors: Array, keys: Array) -> None:
        self.vectors = vectors
        self.keys = keys
        self._chains: dict[bool, tuple[Chain, float]] = {}

    @cached_property
    def pca(self) -> tuple[Array, float]:
        """Today's space, and the processor seconds that it took."""
        began = time.process_time()
        space = fit_pca(self.vectors, dims=64).transform(self.vectors)
        return space, time.process_time() - began

    def chain(self, bursts: bool) -> tuple[Chain, float]:
        """The chain with or without burst groups, and the processor seconds that it took."""
        if bursts not in self._chains:
            began = time.process_time()
            chain = Chain.of(self.vectors, bursts=bursts)
            self._chains[bursts] = chain, time.process_time() - began
        return self._chains[bursts]


@dataclass
class Run:
    """One strategy on its way through a replay.

    Attributes
    ----------
    ids
        Cluster id of every row that has come, int64 (all rows,); -1 before.
    seconds
        Processor time of each step.
    """

    strategy: Strategy
    k: int
    seed: int
    ids: Array
    named: tuple[int, ...] = ()
    seconds: list[float] = field(default_factory=list)
    next_id: int = 1
    kept: Any = None

    def step(self, step: Step, present: Array, number: int) -> None:
        """Cluster the rows that are present."""
        began = time.process_time()
        before = self.ids[present]
        if self.strategy.auto:
            self._count(step, before)
        if number == 0:
            found, spent = _fresh(self, step, before, number)
        else:
            found, spent = self.strategy.step(self, step, before, number)
        self.ids[:] = -1
        self.ids[present] = found
        self.next_id = max(self.next_id, int(found.max()) + 1)
        self.seconds.append(time.process_time() - began if spent < 0 else spent)

    def _count(self, step: Step, before: Array) -> None:
        """The number of clusters: another than now only where it is clearly better."""
        rows = step.chain(self.strategy.bursts)[0].representatives
        counted = estimate_group_count(step.vectors[rows], step.keys[rows], seed=self.seed)
        now = len(np.unique(before[before >= 0]))
        if not now or counted.clearly_better(now):
            self.k = counted.k or 1
        else:
            self.k = now


@dataclass(frozen=True)
class Strategy:
    """A way to cluster again, and what it is called in tables."""

    name: str
    step: Callable[[Run, Step, Array, int], tuple[Array, float]]
    space: str = "smoothed"
    bursts: bool = True
    margin: float = 0.0
    exchange: float = float("inf")
    auto: bool = False


def _space(run: Run, step: Step) -> tuple[Array, Array, Array, float]:
    """Rows that weigh, each row's place among them, their points, processor seconds."""
    if run.strategy.space == "pca":
        points, spent = step.pca
        every = np.arange(len(points))
        return every, every, points, spent
    chain, spent = step.chain(run.strategy.bursts)
    return chain.representatives, chain.group, chain.space.smoothed, spent


def _given(run: Run, before: Array) -> Array:
    """The place of each row's named cluster, -1 for those that are in none."""
    given = np.full(len(before), -1, np.int32)
    for place, one in enumerate(run.named):
        given[before == one] = place
    return given


def _spread(run: Run, found: Array, group: Array, before: Array) -> Array:
    """Members follow their representative; members of named clusters stay."""
    ids = found[group]
    stays = np.isin(before, run.named)
    ids[stays] = before[stays]
    return ids


def _fresh(run: Run, step: Step, before: Array, number: int) -> tuple[Array, float]:
    rows, group, points, spent = _space(run, step)
    began = time.process_time()
    given = _given(run, before)[rows]
    held = len(run.named)
    anchors = np.full((held, points.shape[1]), 1e5, np.float32)
    fitted = constrained_fit(points, run.k, given=given, anchors=anchors, seed=run.seed + number)
    matched = match(
        before[rows], fitted.assigned, k=fitted.k, next_id=run.next_id, pinned=run.named
    )
    ids = _spread(run, np.array(matched.ids)[fitted.assigned], group, before)
    if run.strategy.step is _arrivals_only and number == 0:
        chain, _ = step.chain(run.strategy.bursts)
        run.kept = chain, fitted.centroids, np.array(matched.ids)
    return ids, spent + time.process_time() - began


def _warm(run: Run, step: Step, before: Array, number: int) -> tuple[Array, float]:
    rows, group, points, spent = _space(run, step)
    began = time.process_time()
    others = np.setdiff1d(before[before >= 0], run.named)
    known = np.array([*run.named, *others])
    places = {int(one): place for place, one in enumerate(known)}
    now = np.array([places.get(int(one), -1) for one in before[rows]], np.int32)
    held = len(run.named)
    anchors = np.full((held, points.shape[1]), 1e5, np.float32)
    given = _given(run, before)[rows]
    found = continued(
        points,
        now,
        run.k,
        given=given,
        anchors=anchors,
        margin=run.strategy.margin,
        exchange=run.strategy.exchange,
    )
    fresh = iter(range(run.next_id, run.next_id + found.k))
    ids = np.array([known[one] if one >= 0 else next(fresh) for one in found.origins])
    return (
        _spread(run, ids[found.assigned], group, before),
        spent + time.process_time() - began,
    )


def _arrivals_only(run: Run, step: Step, before: Array, number: int) -> tuple[Array, float]:
    began = time.process_time()
    chain, centroids, ids = run.kept
    found = before.copy()
    fresh = before < 0
    if fresh.any():
        points = chain.space.place(chain.projection.transform(step.vectors[fresh]))
        found[fresh] = ids[assign(points, centroids)[0]]
    return found, time.process_time() - began


_NEVER = float("inf")
# Margin and exchange of other points on the frontier between ids kept and agreement.
_OTHERS = ((0.0, 2.0), (0.1, 2.0), (0.2, _NEVER), (0.2, 1.5), (0.3, 2.0), (0.4, _NEVER))


def strategies(*, frontier: bool = False, ablation: bool = False) -> list[Strategy]:
    """Those that are compared; with other points of the frontier, without burst groups."""
    found = [
        Strategy("today: PCA 64, fresh", _fresh, space="pca"),
        Strategy("smoothed, fresh", _fresh),
        Strategy("smoothed, warm", _warm),
        Strategy("arrivals only", _arrivals_only),
        Strategy("ours", _warm, margin=MARGIN, exchange=EXCHANGE),
        Strategy("ours, k auto", _warm, margin=MARGIN, exchange=EXCHANGE, auto=True),
    ]
    if frontier:
        found += [
            Strategy(f"margin {margin}, swap {swap}", _warm, margin=margin, exchange=swap)
            for margin, swap in _OTHERS
        ]
    if ablation:
        name = "ours, no burst groups"
        found.append(Strategy(name, _warm, bursts=False, margin=MARGIN, exchange=EXCHANGE))
    return found
