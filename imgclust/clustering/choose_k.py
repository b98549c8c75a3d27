"""Choosing k: the knee of the elbow curve, believed only where a null model rules out chance.

Every inertia curve falls and bends, that of noise as well. So the curve is compared with those
of reference data that have no clusters but the same covariance: uniform along the principal
axes, the reference of the gap statistic (Tibshirani, Walther and Hastie 2001, section 3,
choice b), scaled by standard deviation instead of range. The logarithm of the reference's
inertia less that of the data is the excess; a knee is searched for in the excess (kneed,
after Satopaa et al. 2011), and only where the excess is larger than chance explains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.clustering.group_count import GroupCount
from imgclust.clustering.k_sweep import Sweep, sweep
from imgclust.progress import Progress, StopFlag, silent

_ROWS_PER_K = 10  # of the sample that is compared with its references
_LEAST_SAMPLE, _LARGEST_SAMPLE = 1_000, 3_000
_AXES = 50  # principal axes kept in the comparison
_REFERENCES = 4
_SIGMAS = 5.0  # standard errors that the largest excess must reach
_LEAST_EXCESS = 0.05  # and this much: inertia 5 % below that of data without clusters
# Where the first reference finds less than this, the others would have to lie four of their
# standard deviations from it for a knee to be found.
_HOPELESS = _LEAST_EXCESS / 2
_LEAST_ROWS = 10  # fewer rows than this prove nothing


@dataclass(frozen=True)
class Suggestion:
    """A number of clusters and why.

    Attributes
    ----------
    k
        The knee, or None where there is no clear one.
    chosen
        The number to use in any case.
    chosen_by
        "knee", "groups" (by `estimate_group_count`), "silhouette" (neither is clear: the largest
        simplified silhouette) or "rule" (too few different images: one cluster).
    sentence
        The reason, for a person.
    """

    k: int | None
    chosen: int
    chosen_by: str
    sentence: str


def suggest(
    swept: Sweep,
    vectors: NDArray[Any],
    *,
    seed: int = 0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Suggestion:
    """Suggest a number of clusters from a sweep.

    Parameters
    ----------
    swept
        The sweep; only its range of k and its criteria are used.
    vectors
        What was swept, float32, shape (n, d).
    seed
        For the sample and the references.
    progress, stop
        Once for each reference; a stop raises.

    Raises
    ------
    StoppedError
        When `stop` was set.
    """
    rows = checked(vectors)
    knee = clear_knee(
        rows, k_min=swept.k[0], k_max=swept.k[-1], seed=seed, progress=progress, stop=stop
    )
    if knee is not None:
        k, excess = knee
        return Suggestion(
            k,
            k,
            "knee",
            f"k = {k}: the knee of the elbow curve (suggested number of clusters); "
            "the inertia there is "
            f"{-100 * math.expm1(-excess):.0f} % below that of data without clusters",
        )
    return _without_knee(
        swept, len(rows), "no clear knee: the curve falls as it does without clusters"
    )


def suggest_from(counted: GroupCount, swept: Sweep, *, n: int) -> Suggestion:
    """The suggestion that a count of groups makes for a sweep of n rows."""
    found = suggest_counted(counted, k_min=swept.k[0], k_max=swept.k[-1])
    return _without_knee(swept, n, "no clear structure") if found is None else found


def suggest_counted(counted: GroupCount, *, k_min: int, k_max: int) -> Suggestion | None:
    """The suggestion that a count of groups makes, from `k_min` to `k_max`; None without groups."""
    if counted.k is None:
        return None
    k = min(max(counted.k, k_min), k_max)
    return Suggestion(
        k,
        k,
        "groups",
        f"k = {k}: {clearest(counted)}",
    )


def clearest(counted: GroupCount) -> str:
    """What is said of the number at which groups are clearest."""
    return f"groups are clearest there, {counted.ratio:.1f} times as clear as by chance"


def _without_knee(swept: Sweep, n: int, why: str) -> Suggestion:
    k = preferred(swept, n=n).get("simplified_silhouette", 1)
    score = swept.simplified_silhouette[swept.k.index(k)] if k in swept.k else 0.0
    if score > 0 and n >= _LEAST_ROWS:
        return Suggestion(
            None,
            k,
            "silhouette",
            f"{why}; k = {k} has the largest simplified silhouette ({score:.2f})",
        )
    return Suggestion(
        None,
        1,
        "rule",
        f"no clear knee: {_embeddings(n)} no groups; one cluster",
    )


def largest_compared(n: int) -> int:
    """The largest k of n rows that the criteria of a sweep are compared up to."""
    return max(2, math.isqrt(n))


def preferred(swept: Sweep, *, n: int) -> dict[str, int]:
    """The k that each criterion of a sweep of n rows is largest at, by its name.

    Of k from 2 to the square root of n: towards single rows they rise for no reason. Of equals
    the smallest.
    """
    most = largest_compared(n)
    found = {}
    for name, values in swept.criteria.items():
        scored = [
            (value, -k)
            for k, value in zip(swept.k, values, strict=True)
            if 2 <= k <= most and math.isfinite(value)
        ]
        if scored:
            found[name] = -max(scored)[1]
    return found


def _embeddings(n: int) -> str:
    return "1 embedding shows" if n == 1 else f"{n} embeddings show"


def clear_knee(
    rows: Vectors,
    *,
    k_min: int = 1,
    k_max: int,
    seed: int = 0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> tuple[int, float] | None:
    """The knee and the excess there, or None where chance explains the curve."""
    if len(rows) < _LEAST_ROWS:
        return None
    from kneed import KneeLocator

    size = min(max(_LEAST_SAMPLE, _ROWS_PER_K * k_max), _LARGEST_SAMPLE)
    scores = principal_scores(rows, size=size, seed=seed)
    last = min(k_max, len(scores) // 2)
    if len(scores) < _LEAST_ROWS or last < 2 or not scores.any():
        return None
    progress("null model", 0, _REFERENCES + 1)
    curve = _log_curve(scores, last, seed, stop)
    references: list[NDArray[np.float64]] = []
    random = np.random.default_rng(seed)
    for done in range(_REFERENCES):
        progress("null model", done + 1, _REFERENCES + 1)
        reference = _reference(scores, random)
        references.append(_log_curve(reference, last, seed + done + 1, stop))
        length = min(len(curve), *(len(one) for one in references))
        stack = np.stack([one[:length] for one in references])
        excess = stack.mean(axis=0) - curve[:length]
        if excess.max() < _HOPELESS:
            progress("null model", _REFERENCES + 1, _REFERENCES + 1)
            return None
    progress("null model", _REFERENCES + 1, _REFERENCES + 1)
    # One spread for all k: with few references the spread at a single k is a poor estimate.
    chance = float(np.sqrt(stack.var(axis=0, ddof=1).mean() * (1 + 1 / _REFERENCES)))
    k = np.arange(1, length + 1)
    if excess.max() < max(_SIGMAS * chance, _LEAST_EXCESS):
        return None
    locator = KneeLocator(k, excess, curve="concave", direction="increasing", online=True)
    knees = [int(knee) for knee in locator.all_knees if max(2, k_min) <= knee]
    if not knees:
        return None
    # kneed names the first knee it meets; the most prominent one is meant.
    knee = max(knees, key=lambda one: float(locator.y_difference[one - 1]))
    return knee, float(excess[knee - 1])


def principal_scores(rows: Vectors, *, size: int, seed: int) -> Vectors:
    """A sample of the rows on its own principal axes, float32, shape (m, q), centred."""
    from sklearn.utils.extmath import randomized_svd

    if len(rows) > size:
        picked = np.random.default_rng(seed).choice(len(rows), size, replace=False)
        rows = rows[np.sort(picked)]
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    if min(centred.shape) > 4 * _AXES:
        left, singular, _ = randomized_svd(centred, _AXES, random_state=seed)
    else:
        left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    kept = singular[:_AXES] > 1e-6 * max(float(singular[0]), 1e-30)
    scores = (left[:, :_AXES] * singular[:_AXES])[:, kept]
    return np.ascontiguousarray(scores, dtype=np.float32)


def _reference(scores: Vectors, random: np.random.Generator) -> Vectors:
    """Uniform rows of exactly the covariance of the scores, which is diagonal."""
    uniform = random.uniform(-1, 1, scores.shape)
    uniform -= uniform.mean(axis=0)
    factor = np.linalg.cholesky(uniform.T @ uniform / len(uniform))
    white = np.linalg.solve(factor, uniform.T).T
    return np.ascontiguousarray(white * scores.std(axis=0), dtype=np.float32)


def _log_curve(scores: Vectors, last: int, seed: int, stop: StopFlag | None) -> NDArray[np.float64]:
    if stop is not None:
        stop.check()
    inertia = np.array(sweep(scores, k_max=last, seed=seed, stop=stop).inertia)
    if stop is not None:
        stop.check()
    return np.asarray(np.log(np.maximum(inertia, 1e-12 * inertia[0])))
