"""InceptionV3 as plain TensorFlow operations, from pixels to embeddings.

Written out rather than taken from `keras.applications`: it builds in a fraction of the time,
stops at the last layer that is asked for, and each batch normalisation is folded into the
convolution before it (kernel / sqrt(variance + epsilon); beta - mean / sqrt(variance + epsilon)),
computed in float64. A pooling branch averages after its 1 x 1 convolution instead of before:
both are linear, and there are fewer channels by then. tests/test_embedding.py compares the
outcome with a Keras model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.embedding.recipe import Recipe
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
