"""The network as a graph on disk: TensorFlow's Python is needed once, not at every start.

Everything here is a cache: a graph that is absent, damaged or of another version is made again.
Beside it is kept which arithmetic this machine may use: whose embeddings agree with float32's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import imgclust
from imgclust import devices
from imgclust.embedding.recipe import Recipe
from imgclust.embedding.tf_c_api import LibraryEmbedder, tensorflow_version
from imgclust.errors import UsageError, reason_of
from imgclust.fs import making_folder, read_regular, replacing

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


_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Verdict:
    """The result of trying an engine on this machine.

    Attributes
    ----------
    precision
        The precision to use, "" when none agrees.
    times
        Its rate by TensorFlow's in float32.
    reason
        One line on why, for people.
    model_sha256
        Digest of the converted model that is kept beside it, "" without one.
    """

    precision: str
    times: float
    reason: str
    model_sha256: str = ""


def folder_of(cache: Path, recipe: Recipe) -> Path:
    """Where the graph of this recipe, TensorFlow and processor is kept."""
    key = "\n".join(
        [
            recipe.name,
            imgclust.__version__,
            tensorflow_version(),
            " ".join(sorted(devices.cpu_flags())),
        ]
    )
    return cache / f"tensorflow-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def read_graph(folder: Path) -> bytes | None:
    """Return the kept graph; None where there is none, or it is not what was written."""
    try:
        content = read_regular(folder / "graph.pb")
    except OSError:
        return None
    graph, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return graph if graph and hashlib.sha256(graph).digest() == digest else None


def keep_graph(folder: Path, make: Callable[[], bytes], say: Callable[[str], None]) -> bytes:
    """Return the kept graph, or make and keep it; `say` is called when it cannot be kept.

    Its SHA-256 follows it in the same file; the folder appears whole or not at all.
    """
    graph = read_graph(folder)
    if graph is not None:
        return graph
    graph = make()
    try:
        with making_folder(folder) as made, replacing(made / "graph.pb") as file:
            file.write(graph)
            file.write(hashlib.sha256(graph).digest())
    except OSError as error:
        say(f"{_not_kept(folder, error)}; every start takes longer")
    return graph


def read_verdict(folder: Path, precisions: Sequence[str]) -> Verdict | None:
    """The result of these precisions; None where they have not been tried.

    float32 alone needs no trial: the others are compared with it.
    """
    if tuple(precisions) == ("float32",):
        return Verdict("float32", 1.0, "float32")
    try:
        return Verdict(**json.loads(read_regular(_verdict(folder, precisions))))
    except (OSError, ValueError, TypeError):
        return None


def try_precisions(
    folder: Path,
    graph: bytes,
    recipe: Recipe,
    precisions: Sequence[str],
    *,
    threads: int,
    say: Callable[[str], None],
) -> Verdict:
    """Compare reduced precisions with float32, both run by the library, and keep the result.

    Raises
    ------
    EmbeddingError
        When the library cannot run the graph.
    """
    known = read_verdict(folder, precisions)
    if known is not None:
        return known
    reference = LibraryEmbedder(graph, recipe, precision="float32", threads=threads)
    reasons: list[str] = []
    found = Verdict("", 0.0, "")
    for precision in precisions:
        if precision == "float32":
            found = Verdict("float32", 1.0, "; ".join([*reasons, "float32"]))
            break
        embedder = LibraryEmbedder(graph, recipe, precision=precision, threads=threads)
        cosine = agreement(embedder.embed, reference.embed, side=recipe.side)
        trial = pictures(recipe.side)
        times = times_as_fast(timed(embedder.embed, trial), timed(reference.embed, trial))
        reason = f"{precision}, cosine {cosine:.5f}, {times:.2f} times float32's rate"
        reasons.append(reason)
        if cosine >= AGREEMENT and (times > 1 or len(precisions) == 1):
            found = Verdict(precision, times, reason)
            break
    if not found.precision:
        found = Verdict("", 0.0, f"does not agree with float32 here ({'; '.join(reasons)})")
    try:
        with replacing(_verdict(folder, precisions), lasting=False) as file:
            file.write(json.dumps(dataclasses.asdict(found)).encode())
    except OSError as error:
        say(f"{_not_kept(folder, error)}; every start tries again")
    return found


def _verdict(folder: Path, precisions: Sequence[str]) -> Path:
    return folder / f"{'+'.join(precisions)}.json"


def _not_kept(folder: Path, error: OSError) -> str:
    return f"nothing can be kept in {folder.parent} ({reason_of(error)})"
