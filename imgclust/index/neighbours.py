"""Neighbours: what a search of the index found, in an order that is always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 6  # float32 sums over some thousand products hold no more


@dataclass(frozen=True)
class Neighbours:
    """The contents nearest to each query, best first, ties by key.

    Attributes
    ----------
    scores
        Cosine similarities, float32 `(m, n)`, rounded to 1e-6; -inf where there is no neighbour.
    keys
        Content keys, int64 `(m, n)`; -1 where there is no neighbour.
    """

    scores: NDArray[np.float32]
    keys: NDArray[np.int64]


def best(
    search: Callable[[int], tuple[NDArray[np.float32], NDArray[np.int64]]],
    keys: NDArray[np.int64],
    n: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best `n` <= count, ties by key even where the last of them is tied with the next.

    Parameters
    ----------
    search
        Gives scores and rows, each `(m, n)`, of the n best rows in any order among equals.
    keys
        Content key of each row, int64 `(count,)`.
    """
    ask = min(n + 1, len(keys))
    while True:
        scores, rows = search(ask)
        scores = np.clip(np.round(scores, _DECIMALS), -1.0, 1.0)
        found = keys[rows]
        order = np.lexsort((found, -scores), axis=1)
        scores = np.take_along_axis(scores, order, 1)
        if ask == len(keys) or (scores[:, ask - 1] < scores[:, n - 1]).all():
            return scores[:, :n], np.take_along_axis(found, order, 1)[:, :n]
        ask = min(2 * ask, len(keys))
