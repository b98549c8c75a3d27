"""Which arithmetic a machine may use, and whether its embeddings agree with float32's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Set

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import UsageError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Run = Callable[[], float]

AGREEMENT = 0.999  # least cosine with float32 that a reduced precision needs

# Runs of four pictures: 4 s in all where the processor embeds 15 a second.
_TURNS = 7

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def candidates(wanted: str, *, device: str, flags: Set[str]) -> tuple[str, ...]:
    """Precisions to try in order; the last one needs no agreement check when it is float32.

    Parameters
    ----------
    wanted
        One of `PRECISIONS`.
    device
        "cpu" or "gpu".
    flags
        Instruction sets of the processor, as `devices.cpu_flags` gives them.

    Raises
    ------
    UsageError
        When the device cannot do what is wanted.
    """
    if wanted not in PRECISIONS:
        raise UsageError(f"precision = {wanted!r} is unknown; use {', '.join(PRECISIONS)}")
    if device == "gpu":
        reduced = "float16"
        why = "on a GPU, use float16 or float32"
    else:
        reduced = "bfloat16" if _BFLOAT16_FLAGS & flags else ""
        why = "this processor has neither AVX512_BF16 nor AMX; use auto or float32"
        if wanted == "float16":
            why = "float16 is for GPUs; use auto, float32 or bfloat16"
    if wanted == "auto":
        return (reduced, "float32") if reduced else ("float32",)
    if wanted not in {"float32", reduced}:
        raise UsageError(f"precision = {wanted} cannot be used here: {why}")
    return (wanted,)


def agreement(
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    reference: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    *,
    side: int,
) -> float:
    """Least cosine between two embedders' embeddings of the trial pictures."""
    trial = pictures(side)
    return least_cosine(embed(trial), reference(trial))


def least_cosine(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Least cosine between rows of the same number, both (n, d)."""
    a, b = one.astype(np.float64), two.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(lengths, 1e-30)).min())


def timed(embed: Embed, trial: NDArray[np.uint8]) -> Run:
    """What embeds the trial pictures once and returns the seconds that took."""

    def run() -> float:
        began = time.perf_counter()
        embed(trial)
        return time.perf_counter() - began

    return run


def times_as_fast(one: Run, other: Run) -> float:
    """How many times as fast as the other: the median of ratios of runs in turn.

    What else the machine does at a moment slows both down; the first runs do not count.
    """
    one(), other()
    return statistics.median(other() / one() for _ in range(_TURNS))


def pictures(side: int) -> NDArray[np.uint8]:
    """Return four trial pictures with structure at all scales, the same on every machine."""
    generator = np.random.default_rng(1602)
    mixed = np.zeros((4, side, side, 3))
    for cells in (2, 5, 12, 40, 150):
        coarse = generator.random((4, cells, cells, 3))
        places = np.arange(side) * cells // side
        mixed += coarse[:, places][:, :, places] / 5
    return (mixed * 255).astype(np.uint8)
