"""scripts/bench noise: how often data without groups are said to have a clear structure.

Uniform noise and Gaussian noise of which few directions hold most of the variance, 2048 values,
through the whole chain of a suggestion: burst groups, principal axes, half whitening, k-means, and
the same for the null model. One line for each kind and number of rows.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
DIMENSIONS = 2048


def uniform(rows: int, seed: int) -> Array:
    """Rows from the unit cube, about its middle, brought to unit length."""
    return unit(np.random.default_rng(seed).random((rows, DIMENSIONS), np.float32) - 0.5)


def correlated(rows: int, seed: int) -> Array:
    """Gaussian rows whose standard deviations fall as those of pictures do, about a common mean."""
    random = np.random.default_rng(seed)
    widths = np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.6
    widths /= np.linalg.norm(widths)
    mean = np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float32)
    return unit(mean + 0.45 * random.standard_normal((rows, DIMENSIONS), np.float32) * widths)


def unit(rows: Array) -> Array:
    """The rows at unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


KINDS = {"uniform": uniform, "correlated": correlated}


def main() -> None:
    """Print a line for each kind and number of rows."""
    from imgclust.clustering.burst_groups import burst_rule, group_bursts
    from imgclust.clustering.group_count import estimate_group_count

    parser = argparse.ArgumentParser(prog="scripts/bench noise", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[300, 1_000, 5_000])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", type=int, default=100, help="from 0 on")
    parser.add_argument("--seconds", type=float, default=0, help="for each line at most; 0: no end")
    chosen = parser.parse_args()
    for rows in chosen.rows:
        for kind in chosen.kinds:
            began = time.monotonic()
            largest, clear, done = 0.0, 0, 0
            for seed in range(chosen.seeds):
                if chosen.seconds and time.monotonic() - began > chosen.seconds:
                    break
                vectors = KINDS[kind](rows, seed)
                leaders = group_bursts(vectors, bounds=burst_rule(vectors).bounds(vectors))
                kept = np.unique(leaders)
                keys = np.random.default_rng(seed).permutation(rows)[kept]
                found = estimate_group_count(vectors[kept], keys, seed=seed)
                largest, clear, done = max(largest, found.ratio), clear + bool(found.k), done + 1
            print(
                f"{kind:10} {rows:6,} rows: no clear structure for {done - clear} of {done} seeds "
                f"(from 0), largest ratio {largest:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
