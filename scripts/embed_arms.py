"""One arm of scripts/bench_embed.py: a process that measures what it is asked, a JSON line each.

The arms run in processes of their own, so that peak memory is each one's own and no engine
shares its threads with another. The first argument names the arm, the second its settings.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from imgclust import devices
from imgclust.embedding.engine_selection import open_embedder
from imgclust.embedding.recipe import CPU_SHAPES, Embedder, recipe_of
from imgclust.images.decoder import SIDE, Picture, decode
from imgclust.weights import loader

Pixels = NDArray[np.uint8]
_PEAK_SIZE = 2048


def full_decode(content: bytes) -> Pixels:
    """Decode all pixels with Pillow, then resize: what most scripts do."""
    with Image.open(io.BytesIO(content)) as image:
        plain = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def ours(content: bytes) -> Pixels:
    """Decode as the workers do, without the thumbnail."""
    picture = decode(content, thumbnail_px=0)
    assert isinstance(picture, Picture)
    return picture.pixels


# The network, by an engine


class Kernel:
    """Embeds pixels that are there already."""

    def __init__(self, *, engine: str, precision: str, cache: str, traced: bool = False) -> None:
        trunk = loader.trunk()
        self._embedder: Embedder = open_embedder(
            trunk,
            recipe=recipe_of(trunk),
            cache=None if traced else Path(cache),
            device="cpu",
            engine=engine,
            precision=precision,
        )
        self._pixels: Pixels = np.zeros((0, SIDE, SIDE, 3), np.uint8)

    def load(self, pixels: str) -> dict[str, Any]:
        """Take pixels (.npy); the first runs of every shape do not count."""
        self._pixels = np.load(pixels)
        for count in CPU_SHAPES:
            self._embedder.embed(self._pixels[:count])
        return {"provenance": self._embedder.provenance}

    def rate(self, n: int, batch: int) -> dict[str, Any]:
        """Images a second over n images."""
        began = time.perf_counter()
        for start in range(0, n, batch):
            places = np.arange(start, min(start + batch, n)) % len(self._pixels)
            self._embedder.embed(self._pixels[places])
        return {"rate": n / (time.perf_counter() - began), "memory": _peak_mb()}

    def embed(self, pixels: str, out: str, batch: int) -> dict[str, Any]:
        """Embeddings of pixels (.npy), kept in a file."""
        wanted = np.load(pixels)
        starts = range(0, len(wanted), batch)
        parts = [self._embedder.embed(wanted[start : start + batch]) for start in starts]
        np.save(out, np.concatenate(parts))
        return {}


# The baseline: Keras, one image at a time


class Baseline:
    """Full Pillow decode and Keras' `predict` for each image; same weights, same layers."""

    def __init__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import keras

        shape = (SIDE, SIDE, 3)
        base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=shape)
        convolutions = _in_order(base, keras.layers.Conv2D)
        norms = _in_order(base, keras.layers.BatchNormalization)
        trunk = loader.trunk()
        flop = 0
        # the trunk ends at mixed8, and what comes after it does not belong to the model below
        for one, layer, norm in zip(loader.load(trunk), convolutions, norms, strict=False):
            layer.set_weights([one.kernel])
            norm.set_weights([one.beta, one.mean, one.variance])
            flop += 2 * one.kernel.size * int(np.prod(layer.output.shape[1:3]))
        self._gflop = flop / 1e9
        pool = keras.layers.GlobalAveragePooling2D
        layers = [pool()(base.get_layer(name).output) for name in recipe_of(trunk).layers]
        self._model = keras.Model(base.input, layers)

    def load(self) -> dict[str, Any]:
        """Say how much arithmetic an image takes; the first run does not count."""
        self._embed(np.zeros((1, SIDE, SIDE, 3), np.uint8))
        return {"gflop": self._gflop}

    def rate(self, files: list[str]) -> dict[str, Any]:
        """Images a second, one file after the other."""
        began = time.perf_counter()
        for name in files:
            self._embed(full_decode(Path(name).read_bytes())[None])
        return {"rate": len(files) / (time.perf_counter() - began), "memory": _peak_mb()}

    def embed(self, pixels: str, out: str) -> dict[str, Any]:
        """Embeddings of pixels (.npy), kept in a file."""
        np.save(out, self._embed(np.load(pixels)))
        return {}

    def peak(self, precision: str) -> dict[str, Any]:
        """Fastest matrix product of numpy and TensorFlow, GFLOP/s."""
        import tensorflow as tf

        one = np.random.default_rng(0).random((_PEAK_SIZE, _PEAK_SIZE), np.float32)
        other = tf.constant(one, precision)
        products: list[Callable[[], Any]] = [lambda: tf.linalg.matmul(other, other).numpy()]
        if precision == "float32":
            products.append(lambda: one @ one)
        seconds = []
        for product in products:
            product()
            for _ in range(4):
                began = time.perf_counter()
                product()
                seconds.append(time.perf_counter() - began)
        return {"gflops": 2 * _PEAK_SIZE**3 / min(seconds) / 1e9}

    def _embed(self, pixels: Pixels) -> NDArray[np.float64]:
        parts = self._model.predict(pixels.astype(np.float32) / 255, batch_size=16, verbose=0)
        roots = [np.sqrt(np.asarray(part, np.float64)) for part in parts]
        whole = np.hstack([root / np.linalg.norm(root, axis=1, keepdims=True) for root in roots])
        normal: NDArray[np.float64] = whole / np.linalg.norm(whole, axis=1, keepdims=True)
        return normal


def _in_order(model: Any, kind: Any) -> list[Any]:
    """Layers of a kind in the order in which they were made: Keras numbers their names."""

    def number(layer: Any) -> int:
        last = layer.name.rpartition("_")[2]
        return int(last) if last.isdigit() else 0

    return sorted((layer for layer in model.layers if isinstance(layer, kind)), key=number)


# Decoding


class Decoding:
    """Decodes files in this process, one thread, as one worker does."""

    def rate(self, files: list[str], how: str) -> dict[str, Any]:
        """Images a second; the files are in the page cache."""
        contents = [Path(name).read_bytes() for name in files]
        run = {"full": full_decode, "ours": ours}[how]
        began = time.process_time()
        for content in contents:
            run(content)
        return {"rate": len(files) / (time.process_time() - began), "memory": _peak_mb()}


# The program itself: a run of `imgclust add` in this process, told apart into its parts


class Add:
    """`imgclust add PATH`, once; then this process has to end."""

    def run(self, path: str, index: str, files: int, traced: bool = False) -> dict[str, Any]:
        """Time of each part, the rate between the first and the last commit, and memory."""
        from imgclust.cli import main

        marks: list[tuple[str, float]] = [("command line imported", time.time())]
        commits: list[tuple[float, int]] = []
        with _marked(marks, commits, traced), _memory() as most:
            sys.argv = ["imgclust", "--index", index, "-q", "add", path]
            try:
                main()
            except SystemExit as end:
                if end.code:
                    raise RuntimeError(f"imgclust add ended with {end.code}") from None
        marks.append(("ended", time.time()))
        began = psutil.Process().create_time()
        rows = np.cumsum([count for _, count in commits])
        first, last = commits[0], commits[-1]
        steady = (rows[-1] - first[1]) / (last[0] - first[0]) if len(commits) > 1 else 0.0
        assert rows[-1] == files, f"{rows[-1]} of {files} files were ingested"
        return {
            "rate": float(steady),
            "first": first[0] - began,
            "whole": marks[-1][1] - began,
            "parts": [(name, at - began) for name, at in marks],
            "memory": max(most),
        }


@contextmanager
def _marked(
    marks: list[tuple[str, float]], commits: list[tuple[float, int]], traced: bool
) -> Iterator[None]:
    """Note when each part of the program is done; `traced` keeps no network, as before."""
    from imgclust.collection import embedder, ingest
    from imgclust.ingest import commit, embedding_thread

    opener, prepared = vars(embedder)["open_embedder"], ingest._prepared
    embed, write = embedding_thread.EmbeddingThread._embed, commit.Committer.write

    def noted(name: str) -> None:
        if name not in dict(marks):
            marks.append((name, time.time()))

    def opening(*positional: Any, **named: Any) -> Embedder:
        noted("file read and decoded")
        found: Embedder = opener(*positional, **(named | ({"cache": None} if traced else {})))
        noted("network loaded")
        return found

    def preparing(*positional: Any, **named: Any) -> Any:
        found = prepared(*positional, **named)
        noted("collection, index and workers ready")
        return found

    def embedding(*positional: Any) -> Any:
        found = embed(*positional)
        noted("embedded")
        return found

    def writing(self: Any, outcomes: Any, embedded: Any, scope: Any, **named: Any) -> bool:
        found = write(self, outcomes, embedded, scope, **named)
        if embedded.vectors:
            commits.append((time.time(), len(embedded.vectors)))
            noted("committed")
        return found

    vars(embedder)["open_embedder"], vars(ingest)["_prepared"] = opening, preparing
    embedding_thread.EmbeddingThread._embed = embedding  # type: ignore[assignment,method-assign]
    commit.Committer.write = writing  # type: ignore[method-assign]
    yield


@contextmanager
def _memory() -> Iterator[list[float]]:
    """Most resident memory of this process and its children together, MB, twenty times a second."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            most[0] = max(most[0], total / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Answer requests, a line each, until the other side closes."""
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr
    arm = {"kernel": Kernel, "baseline": Baseline, "decoding": Decoding, "add": Add}[kind](
        **settings
    )
    threads = devices.processors()
    answers.write(json.dumps({"threads": threads}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        found = getattr(arm, request.pop("do"))(**request)
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
