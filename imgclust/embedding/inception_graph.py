"""InceptionV3 by TensorFlow: its operations from pixels to embeddings, traced once.

Written out rather than taken from `keras.applications`: it builds in a fraction of the time,
stops at the last layer that is asked for, and each batch normalisation is folded into the
convolution before it (kernel / sqrt(variance + epsilon); beta - mean / sqrt(variance + epsilon)),
computed in float64. A pooling branch averages after its 1 x 1 convolution instead of before:
both are linear, and there are fewer channels by then. tests/test_embedding.py compares the
outcome with a Keras model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.devices import require
from imgclust.embedding.recipe import CPU_SHAPES, Recipe, check_embeddings, check_pixels, in_batches
from imgclust.embedding.tf_c_api import without_greetings
from imgclust.weights.loader import EPSILON, Convolution

Folded = tuple[NDArray[np.float32], NDArray[np.float32]]
# Where the feature map shrinks.
_HALVE: dict[str, Any] = {"stride": 2, "padding": "VALID"}


def fold(convolution: Convolution) -> Folded:
    """Kernel and bias that do what the convolution and its batch normalisation do."""
    scale = 1.0 / np.sqrt(convolution.variance.astype(np.float64) + EPSILON)
    kernel = convolution.kernel * scale
    bias = convolution.beta - convolution.mean * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


def embeddings(pixels: Any, convolutions: Sequence[Convolution], recipe: Recipe) -> Any:
    """Embed a tensor of pixels.

    Parameters
    ----------
    pixels
        (n, 299, 299, 3) uint8 tensor; n may be unknown.
    convolutions
        As `imgclust.weights.loader.load` returns them, at least up to the recipe's last layer.

    Returns
    -------
    tensor
        (n, recipe.dimensions) float32.
    """
    import tensorflow as tf

    x = tf.cast(pixels, tf.float32)
    x = x / 255.0 if recipe.preprocessing == "x/255" else x / 127.5 - 1.0
    layers = outputs(x, convolutions, recipe.layers[-1])
    parts = []
    for name in recipe.layers:
        part = tf.reduce_mean(layers[name], axis=(1, 2))
        if recipe.square_root:
            part = tf.sqrt(part)
        if recipe.normalisation == "parts+whole":
            part = tf.math.l2_normalize(part, axis=1)
        parts.append(part)
    whole = tf.concat(parts, axis=1)
    return whole if recipe.normalisation == "none" else tf.math.l2_normalize(whole, axis=1)


def outputs(x: Any, convolutions: Sequence[Convolution], last: str) -> dict[str, Any]:
    """Outputs of the layers mixed0, mixed1, ... `last` by name, for preprocessed pixels `x`."""
    return _Layers(convolutions).up_to(last, x)


class _Layers:
    """Takes convolutions in the order of creation while the network is written down."""

    def __init__(self, convolutions: Sequence[Convolution]) -> None:
        self._folded = map(fold, convolutions)

    def up_to(self, last: str, x: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        x = self._stem(x)
        blocks = [self._block_a] * 3 + [self._reduction_a] + [self._block_b] * 4
        blocks += [self._reduction_b] + [self._block_c] * 2
        for number, block in enumerate(blocks):
            x = found[f"mixed{number}"] = block(x)
            if f"mixed{number}" == last:
                break
        return found

    def _conv(self, x: Any, *, stride: int = 1, padding: str = "SAME") -> Any:
        import tensorflow as tf

        kernel, bias = next(self._folded)
        x = tf.nn.conv2d(x, tf.constant(kernel), stride, padding)
        return tf.nn.relu(tf.nn.bias_add(x, tf.constant(bias)))

    def _chain(self, x: Any, count: int) -> Any:
        for _ in range(count):
            x = self._conv(x)
        return x

    def _pooled(self, x: Any) -> Any:
        import tensorflow as tf

        kernel, bias = next(self._folded)
        x = tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")
        x = tf.nn.avg_pool2d(x, 3, 1, "SAME")
        return tf.nn.relu(tf.nn.bias_add(x, tf.constant(bias)))

    @staticmethod
    def _halved(x: Any) -> Any:
        import tensorflow as tf

        return tf.nn.max_pool2d(x, 3, 2, "VALID")

    @staticmethod
    def _join(*branches: Any) -> Any:
        import tensorflow as tf

        return tf.concat(branches, axis=3)

    def _stem(self, x: Any) -> Any:
        x = self._conv(x, **_HALVE)
        x = self._conv(x, padding="VALID")
        x = self._halved(self._conv(x))
        x = self._conv(x, padding="VALID")
        return self._halved(self._conv(x, padding="VALID"))

    def _block_a(self, x: Any) -> Any:
        return self._join(self._conv(x), self._chain(x, 2), self._chain(x, 3), self._pooled(x))

    def _reduction_a(self, x: Any) -> Any:
        one = self._conv(x, **_HALVE)
        two = self._conv(self._chain(x, 2), **_HALVE)
        return self._join(one, two, self._halved(x))

    def _block_b(self, x: Any) -> Any:
        return self._join(self._conv(x), self._chain(x, 3), self._chain(x, 5), self._pooled(x))

    def _reduction_b(self, x: Any) -> Any:
        one = self._conv(self._conv(x), **_HALVE)
        two = self._conv(self._chain(x, 3), **_HALVE)
        return self._join(one, two, self._halved(x))

    def _block_c(self, x: Any) -> Any:
        one = self._conv(x)
        two = self._conv(x)
        two = self._join(self._conv(two), self._conv(two))
        three = self._chain(x, 2)
        three = self._join(self._conv(three), self._conv(three))
        return self._join(one, two, three, self._pooled(x))


SHAPES = {"cpu": CPU_SHAPES, "gpu": (1, 4, 16, 64)}

# The settings of TensorFlow's graph optimiser. In float32 on a CPU it costs 1.5 s of start-up and
# was measured to gain nothing on this graph, whose batch normalisations are folded already.
_OPTIMIZER: dict[tuple[str, str], dict[str, bool]] = {
    ("cpu", "float32"): {"disable_meta_optimizer": True},
    ("cpu", "bfloat16"): {"auto_mixed_precision_onednn_bfloat16": True},
    ("gpu", "float32"): {},
    ("gpu", "float16"): {"auto_mixed_precision": True},
}


def import_tensorflow() -> Any:
    """Import TensorFlow, quietly and without Keras.

    TensorFlow's own `__init__` loads all of Keras, and with it scikit-learn and matplotlib, only
    to register optimizers for saved models: half of the import's time. It tolerates the absence
    of that one module, which stays importable afterwards.

    Raises
    ------
    MissingPackageError
        When TensorFlow is not installed.
    """
    if "tensorflow" not in sys.modules:
        require("tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        eager = "keras.src.optimizers"
        blocked = eager not in sys.modules
        if blocked:
            # None makes its import fail (documented for sys.modules; the stub knows modules only).
            sys.modules[eager] = None  # type: ignore[assignment]
        try:
            with without_greetings():
                import tensorflow as tf
        finally:
            if blocked:
                del sys.modules[eager]
    import tensorflow as tf

    return tf


class InceptionV3Embedder:
    """Embeds by TensorFlow; an `Embedder`.

    It has one traced function and a short list of batch shapes. A GPU is served by it; on a CPU it
    only writes the graph down, once, which `imgclust.embedding.tf_c_api` then runs.

    Parameters
    ----------
    convolutions
        As `imgclust.weights.loader.load` returns them.
    device
        "cpu" or "gpu".
    precision
        "float32", "bfloat16" (CPU) or "float16" (GPU).
    threads
        How many threads one operation is divided among; for the whole process, and only until
        TensorFlow has run for the first time. 0 leaves that to TensorFlow.
    """

    def __init__(
        self,
        convolutions: Sequence[Convolution],
        recipe: Recipe,
        *,
        device: str,
        precision: str,
        threads: int = 0,
    ) -> None:
        tf = import_tensorflow()
        self.recipe = recipe
        self.provenance = f"tensorflow {tf.__version__} {device} {precision}"
        self._shapes = SHAPES[device]
        self._device = f"/{device.upper()}:0"
        self._tf = tf
        if threads:
            with suppress(RuntimeError):  # it has run already
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        with _optimizer_options(tf, _OPTIMIZER[device, precision]):
            self._function = _traced(tf, convolutions, recipe, self._device)
            # the options are read when the function first runs
            self.embed(np.zeros((1, recipe.side, recipe.side, 3), np.uint8))

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pixels; see `Embedder.embed`."""
        check_pixels(pixels, self.recipe)
        found = in_batches(self._run, pixels, self._shapes, self.recipe.dimensions)
        return check_embeddings(found, self.recipe)

    def _run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        tf = self._tf
        with tf.device(self._device):
            found: NDArray[np.float32] = self._function(tf.constant(batch)).numpy()
        return found


def frozen_graph(convolutions: Sequence[Convolution], recipe: Recipe) -> bytes:
    """Return the network, from uint8 pixels to embeddings, as a serialised GraphDef.

    It begins with the operation "pixels" and ends with "Identity".
    """
    function = _traced(import_tensorflow(), convolutions, recipe, "/CPU:0")
    graph: bytes = function.graph.as_graph_def().SerializeToString()
    return graph


def _traced(tf: Any, convolutions: Sequence[Convolution], recipe: Recipe, device: str) -> Any:
    def traced(pixels: Any) -> Any:
        with tf.device(device):
            return embeddings(pixels, convolutions, recipe)

    side = recipe.side
    return tf.function(
        traced,
        input_signature=[tf.TensorSpec((None, side, side, 3), tf.uint8, name="pixels")],
        autograph=False,
    ).get_concrete_function()


@contextmanager
def _optimizer_options(tf: Any, options: dict[str, bool]) -> Iterator[None]:
    """Set options of TensorFlow's graph optimiser, which are global, for a while."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(options)
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(
            {name: before.get(name, False) for name in options}
        )
