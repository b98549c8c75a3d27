"""Making the embedder that a machine is best served by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imgclust import devices
from imgclust.embedding import graph_cache, openvino
from imgclust.embedding.graph_cache import AGREEMENT, Embed, Verdict, agreement, candidates
from imgclust.embedding.inception_graph import InceptionV3Embedder, frozen_graph, import_tensorflow
from imgclust.embedding.recipe import Embedder, Recipe
from imgclust.embedding.tf_c_api import LibraryEmbedder
from imgclust.errors import EmbeddingError, RecipeError, UsageError
from imgclust.weights.loader import Weights, load

ENGINES = ("auto", "openvino", "tensorflow")

Say = Callable[[str], None]


def open_embedder(
    weights: Weights,
    *,
    recipe: Recipe,
    cache: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    threads: int = 0,
    say: Say = lambda line: None,
) -> Embedder:
    """Load the network, or build it where it is not kept yet.

    Parameters
    ----------
    recipe
        What is wanted; must belong to `weights`.
    cache
        Folder of this user's saved networks; without one nothing is kept, and OpenVINO not used.
    device
        "auto", "cpu" or "gpu".
    precision
        "auto", "float32", "bfloat16" or "float16". "auto" takes the reduced precision that the
        device computes faster in, provided that its embeddings of a few made pictures agree
        with float32's (cosine >= 0.999).
    engine
        "tensorflow"; "openvino" (CPU, needs the extra); "auto": OpenVINO where it is installed,
        agrees with TensorFlow in a trial and is not slower, and there is no GPU to use.
    threads
        How many threads of a CPU one operation is divided among; 0: one for each processor that
        this process may use.
    say
        Called with one line each, what is tried once on this machine and the result.

    Raises
    ------
    RecipeError
        When the recipe is another file's.
    WeightsError
        When the weights file is damaged.
    UsageError
        When the device, precision or engine cannot be had here.
    EmbeddingError
        When the precision or engine that was asked for does not agree with TensorFlow's float32.
    MissingPackageError
        When TensorFlow or, asked for, OpenVINO is not installed.
    StorageError
        When OpenVINO's model cannot be kept in the cache folder.
    """
    if recipe.weights_sha256 != weights.sha256:
        raise RecipeError(
            f"the recipe needs weights {recipe.weights_sha256[:8]}, but {weights.path} is "
            f"{weights.sha256[:8]}; set weights to the file that the collection was made with"
        )
    if engine not in ENGINES:
        raise UsageError(f"engine = {engine!r} is unknown; use {', '.join(ENGINES)}")
    threads = threads or devices.processors()
    if engine == "openvino":
        openvino.require()
        if cache is None:
            raise UsageError("engine = openvino needs a cache folder")
        if device == "gpu":
            raise UsageError("engine = openvino runs on the CPU; use device = cpu or auto")
    elif devices.expects_gpu(device=device, engine=engine):
        import_tensorflow()
        device = devices.choose(device, len(devices.tensorflow_gpus()))
    else:
        device = devices.choose(device, 0)
    if device == "gpu" or cache is None:
        return _traced(weights, recipe, device, precision, threads)
    return _on_cpu(weights, recipe, cache, precision, engine, threads, say)


def why_engine(
    recipe: Recipe, *, cache: Path, device: str, precision: str, engine: str
) -> str | None:
    """Which engine and precision `open_embedder` would take on this machine and why, in one line.

    From what is kept of earlier trials; None while there was none, or where the settings cannot
    be had here. Loads no engine.
    """
    if devices.expects_gpu(device=device, engine=engine):
        return "tensorflow, on the GPU" + (" where it sees one" if device == "auto" else "")
    try:
        words = candidates(precision, device="cpu", flags=devices.cpu_flags())
    except UsageError:
        return None
    usual = graph_cache.read_verdict(graph_cache.folder_of(cache, recipe), words)
    other = None
    if engine != "tensorflow" and openvino.installed():
        other = openvino.read_verdict(openvino.folder_of(cache, recipe, words))
        if other is None:
            return None
    if usual is None:
        return None
    if other is None:
        absent = "" if engine == "tensorflow" else "; openvino is not installed"
        return f"tensorflow {usual.reason}{absent}"
    if engine == "openvino" or _prefers(other, usual):
        return f"openvino {other.reason}"
    return f"tensorflow {usual.reason}; openvino {other.reason}"


def _prefers(openvino_found: Verdict, tensorflow_found: Verdict) -> bool:
    """Whether OpenVINO is what `auto` takes: both rates are by TensorFlow's in float32."""
    return bool(openvino_found.precision) and openvino_found.times >= tensorflow_found.times


def _on_cpu(
    weights: Weights,
    recipe: Recipe,
    cache: Path,
    precision: str,
    engine: str,
    threads: int,
    say: Say,
) -> Embedder:
    """The network from the cache folder, saved and tried there first where it is not yet."""
    words = candidates(precision, device="cpu", flags=devices.cpu_flags())
    folder = graph_cache.folder_of(cache, recipe)

    @functools.cache
    def graph() -> bytes:
        return graph_cache.keep_graph(folder, lambda: frozen_graph(load(weights), recipe), say)

    usual = graph_cache.read_verdict(folder, words)
    if engine == "openvino" or (engine == "auto" and openvino.installed()):
        if usual is None and engine == "auto":
            usual = _tried(folder, graph(), recipe, words, threads, say)
        kept = openvino.folder_of(cache, recipe, words)
        found = openvino.read_verdict(kept)
        if found is None:
            say("trying OpenVINO on this machine, once")
            found = openvino.probe(
                kept,
                graph=graph(),
                reference=_reference(graph(), weights, recipe, threads),
                recipe=recipe,
                precisions=words,
                threads=threads,
            )
            say(f"OpenVINO tried: {found.reason}")
        if engine == "openvino" and not found.precision:
            raise EmbeddingError(f"{found.reason}; use engine = tensorflow")
        if engine == "openvino" or (usual is not None and _prefers(found, usual)):
            return openvino.open_kept(kept, recipe, found, threads=threads)
    if usual is None:
        usual = _tried(folder, graph(), recipe, words, threads, say)
    if usual is None:
        return _traced(weights, recipe, "cpu", precision, threads)
    if not usual.precision:
        raise EmbeddingError(f"precision = {precision} {usual.reason}; use auto or float32")
    try:
        embedder = LibraryEmbedder(graph(), recipe, precision=usual.precision, threads=threads)
        embedder.embed(np.zeros((1, recipe.side, recipe.side, 3), np.uint8))
    except EmbeddingError as error:
        say(f"{error}; TensorFlow is loaded in another way, which takes longer")
        return _traced(weights, recipe, "cpu", precision, threads)
    return embedder


def _tried(
    folder: Path, graph: bytes, recipe: Recipe, words: tuple[str, ...], threads: int, say: Say
) -> Verdict | None:
    """The result of TensorFlow's precisions; None where its library cannot be used."""
    say("trying the precisions of this processor, once")
    try:
        found = graph_cache.try_precisions(folder, graph, recipe, words, threads=threads, say=say)
    except EmbeddingError as error:
        say(f"{error}; TensorFlow is loaded in another way, which takes longer")
        return None
    say(f"TensorFlow tried: {found.reason}")
    return found


def _reference(graph: bytes, weights: Weights, recipe: Recipe, threads: int) -> Embed:
    """Embed in float32 by TensorFlow."""
    try:
        return LibraryEmbedder(graph, recipe, precision="float32", threads=threads).embed
    except EmbeddingError:
        return _traced(weights, recipe, "cpu", "float32", threads).embed


def _traced(
    weights: Weights, recipe: Recipe, device: str, precision: str, threads: int
) -> Embedder:
    """The network built and traced in this process."""
    convolutions = load(weights)
    words = candidates(precision, device=device, flags=devices.cpu_flags())

    def built(word: str) -> InceptionV3Embedder:
        return InceptionV3Embedder(
            convolutions, recipe, device=device, precision=word, threads=threads
        )

    embedder = built(words[0])
    if words[0] == "float32":
        return embedder
    reference = built("float32")
    cosine = agreement(embedder.embed, reference.embed, side=recipe.side)
    if cosine >= AGREEMENT:
        return embedder
    if words[-1] == "float32":
        return reference
    raise EmbeddingError(
        f"precision = {words[0]} does not agree with float32 here (cosine {cosine:.4f}); "
        "use auto or float32"
    )
