#!/usr/bin/env python3
"""Hold embedding, k-means, sweep and search on the GPU against the CPU; print one table.

Ends 0 only when everything agrees. Run by scripts/check_gpu, or by the Python of any environment
that holds imgclust[gpu].
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from imgclust import devices
from imgclust.clustering.k_sweep import sweep
from imgclust.clustering.kmeans import fit
from imgclust.embedding.engine_selection import open_embedder
from imgclust.embedding.inception_graph import import_tensorflow
from imgclust.embedding.recipe import recipe_of
from imgclust.errors import ImgclustError
from imgclust.images.decoder import Picture, decode
from imgclust.index.vector_index import VectorIndex
from imgclust.weights.loader import trunk

PHOTOS = Path(__file__).resolve().parent / "samples" / "photos"
DIMENSIONS = 2048
K = 100
QUERIES = 1000
NEIGHBOURS = 10

P = ParamSpec("P")
T = TypeVar("T")
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of the table; `agrees` is the verdict on `figure`."""

    what: str
    cpu_s: float
    gpu_s: float
    figure: str
    wanted: str
    agrees: bool


class Warnings(logging.Handler):
    """Collects what imgclust warns of: a GPU result that was thrown away is no agreement."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        self.texts.append(record.getMessage())


def timed(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> tuple[T, float]:
    """Return the result of `work` with these arguments and the seconds it took."""
    began = time.perf_counter()
    result = work(*arguments, **options)
    return result, time.perf_counter() - began


def embedding_rows() -> Iterator[Row]:
    """The sample photos by the trunk: float32 on both, then what `auto` takes on the GPU."""
    pictures = [decode(path.read_bytes()) for path in sorted(PHOTOS.glob("*.jpg"))]
    pixels = np.stack([one.pixels for one in pictures if isinstance(one, Picture)])
    weights = trunk()
    recipe = recipe_of(weights)
    cpu = open_embedder(weights, recipe=recipe, device="cpu", precision="float32")
    cpu.embed(pixels[:64])
    expected, cpu_s = timed(cpu.embed, pixels)
    for precision in ("float32", "auto"):
        gpu = open_embedder(weights, recipe=recipe, device="gpu", precision=precision)
        gpu.embed(pixels[:64])  # traced and compiled before the clock runs
        found, gpu_s = timed(gpu.embed, pixels)
        cosine = float((expected * found).sum(axis=1).min())
        yield Row(
            f"{len(pixels)} photos embedded, {precision} ({gpu.provenance})",
            cpu_s,
            gpu_s,
            f"least cosine {cosine:.6f}",
            ">= 0.999",
            cosine >= 0.999,
        )


def made_vectors(count: int) -> Vectors:
    """`count` rows at unit length around 200 centres, like pooled features never negative."""
    random = np.random.default_rng(0)
    centres = random.gamma(0.5, size=(200, DIMENSIONS)).astype(np.float32)
    rows = centres[random.integers(len(centres), size=count)]
    rows *= random.gamma(4.0, 0.25, size=rows.shape).astype(np.float32)
    np.sqrt(rows, out=rows)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def clustering_rows(vectors: Vectors) -> Iterator[Row]:
    """One k-means and one sweep; a low inertia with one swollen cluster would be no agreement."""
    size = f"{len(vectors)} x {vectors.shape[1]}"
    cpu, cpu_s = timed(fit, vectors, K, seed=0)
    gpu, gpu_s = timed(fit, vectors, K, seed=0, gpu=True)
    ratio = gpu.inertia / cpu.inertia
    yield Row(
        f"k-means, k = {K}, {size}",
        cpu_s,
        gpu_s,
        f"inertia ratio {ratio:.5f}",
        "0.99 to 1.01",
        0.99 <= ratio <= 1.01,
    )
    shares = [np.bincount(one.assigned).max() / len(vectors) for one in (cpu, gpu)]
    yield Row(
        "its largest cluster's share",
        cpu_s,
        gpu_s,
        f"CPU {shares[0]:.4f}, GPU {shares[1]:.4f}",
        "GPU <= 2 x CPU",
        shares[1] <= 2 * shares[0],
    )
    slow, cpu_s = timed(sweep, vectors, k_max=20, seed=0)
    fast, gpu_s = timed(sweep, vectors, k_max=20, seed=0, gpu=True)
    ratios = np.array(fast.inertia) / np.array(slow.inertia)
    yield Row(
        f"sweep, k = 1..20, {size}",
        cpu_s,
        gpu_s,
        f"inertia ratios {ratios.min():.5f} to {ratios.max():.5f}",
        "0.98 to 1.02",
        bool(fast.k == slow.k and ratios.min() >= 0.98 and ratios.max() <= 1.02),
    )


def index_rows(vectors: Vectors) -> Iterator[Row]:
    """The same vectors and queries in two indexes."""
    queries = vectors[:: max(1, len(vectors) // QUERIES)][:QUERIES]
    keys = np.arange(len(vectors))
    found = []
    seconds = []
    used = "cpu"
    for device in ("cpu", "gpu"):
        index = VectorIndex(vectors.shape[1], device=device)
        for first in range(0, len(keys), 10_000):
            part = slice(first, first + 10_000)
            index.add(keys[part], vectors[part])
        index.search(queries[:1], 1)  # the copy to the card is made at the first search
        neighbours, took = timed(index.search, queries, NEIGHBOURS)
        found.append(neighbours)
        seconds.append(took)
        used = index.device
    same = [
        len(set(one) & set(other))
        for one, other in zip(found[0].keys.tolist(), found[1].keys.tolist(), strict=True)
    ]
    recall = sum(same) / (len(queries) * NEIGHBOURS)
    scores = float(np.abs(found[0].scores - found[1].scores).max())
    yield Row(
        f"{len(queries)} queries in {len(keys)} x {vectors.shape[1]}",
        seconds[0],
        seconds[1],
        f"recall@{NEIGHBOURS} {recall:.4f}, scores within {scores:.1e}",
        ">= 0.995, 1e-3",
        used == "gpu" and recall >= 0.995 and scores <= 1e-3,
    )


def seen() -> str | None:
    """Why the check cannot run, or None when TensorFlow and FAISS both see a GPU."""
    import_tensorflow()
    tensorflow, faiss = len(devices.tensorflow_gpus()), devices.faiss_gpus()
    if tensorflow and faiss:
        return None
    return f"no GPU is seen: TensorFlow sees {tensorflow}, FAISS {faiss}"


def machine() -> str:
    """The card, its driver, and the versions of what runs on it."""
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        card = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        card = "a card that nvidia-smi does not name"
    versions = [
        f"{package.name} {package.version}"
        for package in importlib.metadata.distributions()
        if package.name.lower() in {"tensorflow", "faiss-gpu"}
    ]
    return "; ".join([*card.strip().splitlines(), *sorted(versions), date.today().isoformat()])


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, ready for docs."""
    lines = ["| what | CPU | GPU | agreement | wanted | |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.cpu_s:.2f} s | {row.gpu_s:.2f} s | {row.figure} | {row.wanted} "
        f"| {'agrees' if row.agrees else 'DIFFERS'} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="vectors (default 100000)")
    count: int = parser.parse_args().rows
    complaints = Warnings()
    logging.getLogger("imgclust").addHandler(complaints)
    rows: list[Row] = []
    try:
        why_not = seen()
        if why_not is not None:
            print(f"check_gpu: {why_not}", file=sys.stderr)
            return 1
        print(machine(), flush=True)
        vectors = made_vectors(count)
        rows += [*embedding_rows(), *clustering_rows(vectors), *index_rows(vectors)]
    except ImgclustError as error:
        print(f"check_gpu: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    for text in complaints.texts:
        print(f"warned: {text}")
    agrees = all(row.agrees for row in rows) and not complaints.texts
    print("GPU and CPU agree" if agrees else "GPU and CPU do not agree")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
