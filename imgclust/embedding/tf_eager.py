"""InceptionV3 by TensorFlow: one traced function, a short list of batch shapes.

What a GPU is served by. On a CPU this only writes the graph down, once, which
`imgclust.embedding.tf_c_api` then runs.
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
from imgclust.embedding.inception_graph import embeddings
from imgclust.embedding.recipe import CPU_SHAPES, Recipe, check_embeddings, check_pixels, in_batches
from imgclust.embedding.tf_c_api import without_greetings
from imgclust.weights.loader import Convolution

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
