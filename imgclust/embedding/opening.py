"""Making the embedder that a machine is best served by."""

from __future__ import annotations

from imgclust import devices
from imgclust.embedding.inception import InceptionV3Embedder, import_tensorflow
from imgclust.embedding.precision import AGREEMENT, agreement, candidates
from imgclust.embedding.protocol import Embedder
from imgclust.embedding.recipe import Recipe
from imgclust.errors import EmbeddingError, RecipeError
from imgclust.weights import Weights, load


def open_embedder(
    weights: Weights, *, recipe: Recipe, device: str = "auto", precision: str = "auto"
) -> Embedder:
    """Load the weights and build the network.

    Parameters
    ----------
    recipe
        What is wanted; must belong to `weights`.
    device
        "auto", "cpu" or "gpu".
    precision
        "auto", "float32", "bfloat16" or "float16". "auto" takes the reduced precision that the
        device computes faster in, provided that its embeddings of a few made pictures agree
        with float32's (cosine >= 0.999).

    Raises
    ------
    RecipeError
        When the recipe is another file's.
    WeightsError
        When the weights file is damaged.
    UsageError
        When the device or precision cannot be had here.
    EmbeddingError
        When the precision that was asked for does not agree with float32.
    MissingPackageError
        When TensorFlow is not installed.
    """
    if recipe.weights_sha256 != weights.sha256:
        raise RecipeError(
            f"the recipe needs weights {recipe.weights_sha256[:8]}, but {weights.path} is "
            f"{weights.sha256[:8]}; set weights to the file that the collection was made with"
        )
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
