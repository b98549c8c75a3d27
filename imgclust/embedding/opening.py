"""Making the embedder that a machine is best served by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imgclust import devices
from imgclust.embedding import openvino
from imgclust.embedding.inception import InceptionV3Embedder, import_tensorflow
from imgclust.embedding.precision import AGREEMENT, agreement, candidates
from imgclust.embedding.protocol import Embedder
from imgclust.embedding.recipe import Recipe
from imgclust.errors import EmbeddingError, RecipeError, UsageError
from imgclust.weights import Weights, load

ENGINES = ("auto", "openvino", "tensorflow")

# Of TensorFlow's rate; an OpenVINO that is slower than this does not make up by its faster start.
_SLOWEST = 0.9
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def open_embedder(
    weights: Weights,
    *,
    recipe: Recipe,
    cache: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Embedder:
    """Load the weights and build the network.

    Parameters
    ----------
    recipe
        What is wanted; must belong to `weights`.
    cache
        Folder of this user's converted networks; OpenVINO is not used without one.
    device
        "auto", "cpu" or "gpu".
    precision
        "auto", "float32", "bfloat16" or "float16". "auto" takes the reduced precision that the
        device computes faster in, provided that its embeddings of a few made pictures agree
        with float32's (cosine >= 0.999).
    engine
        "tensorflow"; "openvino" (CPU, needs the extra); "auto": OpenVINO where it is installed,
        agrees with TensorFlow in a trial and is no slower, and there is no GPU to use.
    say
        Told, in one line, that OpenVINO is being tried and what came of it.

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
        When the cache folder cannot be written.
    """
    if recipe.weights_sha256 != weights.sha256:
        raise RecipeError(
            f"the recipe needs weights {recipe.weights_sha256[:8]}, but {weights.path} is "
            f"{weights.sha256[:8]}; set weights to the file that the collection was made with"
        )
    if engine not in ENGINES:
        raise UsageError(f"engine = {engine!r} is unknown; use {', '.join(ENGINES)}")
    if engine == "openvino":
        openvino.require()
        if cache is None:
            raise UsageError("engine = openvino needs a cache folder")
        if device == "gpu":
            raise UsageError("engine = openvino runs on the CPU; use device = cpu or auto")
        return _openvino(weights, recipe, cache, precision, say, needed=True)
    on_cpu = device == "cpu" or (device == "auto" and not _NVIDIA_DRIVER.exists())
    if engine == "auto" and cache is not None and on_cpu and openvino.installed():
        return _openvino(weights, recipe, cache, precision, say, needed=False)
    return _tensorflow(weights, recipe, device, precision)


def _tensorflow(weights: Weights, recipe: Recipe, device: str, precision: str) -> Embedder:
    convolutions = load(weights)
    import_tensorflow()
    device = devices.choose(device, len(devices.tensorflow_gpus()))
    words = candidates(precision, device=device, flags=devices.cpu_flags())
    embedder = InceptionV3Embedder(convolutions, recipe, device=device, precision=words[0])
    if words[0] == "float32":
        return embedder
    reference = InceptionV3Embedder(convolutions, recipe, device=device, precision="float32")
    cosine = agreement(embedder.embed, reference.embed, side=recipe.side)
    if cosine >= AGREEMENT:
        return embedder
    if words[-1] == "float32":
        return reference
    raise EmbeddingError(
        f"precision = {words[0]} does not agree with float32 here (cosine {cosine:.4f}); "
        "use auto or float32"
    )


def _openvino(
    weights: Weights,
    recipe: Recipe,
    cache: Path,
    precision: str,
    say: Callable[[str], None],
    *,
    needed: bool,
) -> Embedder:
    """OpenVINO by the kept verdict or a new one; TensorFlow where that says no."""
    words = candidates(precision, device="cpu", flags=devices.cpu_flags())
    folder = openvino.folder_of(cache, recipe, words)
    verdict = openvino.read_verdict(folder)
    if verdict is None:
        say("trying OpenVINO on this machine, once")
        reference = InceptionV3Embedder(load(weights), recipe, device="cpu", precision="float32")
        verdict = openvino.probe(
            folder,
            graph=reference.graph(),
            reference=reference.embed,
            recipe=recipe,
            precisions=words,
        )
        say(f"OpenVINO tried: {verdict.reason}")
    if verdict.precision and (needed or verdict.times >= _SLOWEST):
        return openvino.open_kept(folder, recipe, verdict)
    if needed:
        raise EmbeddingError(f"{verdict.reason}; use engine = tensorflow")
    return _tensorflow(weights, recipe, "cpu", precision)
