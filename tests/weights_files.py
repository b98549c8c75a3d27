"""Weights files for tests, in the layout of Keras' official one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_small_official(path: Path, *, damage: str = "") -> None:
    """Write the official structure with constant values; compressed, a few hundred kB.

    `damage` is "", "shape", "nan" or "missing".
    """
    import h5py

    from imgclust.weights.loader import FILE_ORDER, KERNELS

    with h5py.File(path, "w") as file:
        names = ["input_1"]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for number in FILE_ORDER:
            kernel = KERNELS[number]
            if damage == "shape" and number == 50:
                kernel = (7, 1, *kernel[2:])
            parts: dict[str, dict[str, NDArray[np.float32]]]
            parts = {f"conv2d_{number + 1}": {"kernel:0": np.full(kernel, 0.01, np.float32)}}
            if damage == "nan" and number == 93:
                parts[f"conv2d_{number + 1}"]["kernel:0"][0, 0, 0, 0] = np.nan
            zeros = np.zeros(kernel[3], np.float32)
            parts[f"batch_normalization_{number + 1}"] = {
                "beta:0": zeros,
                "moving_mean:0": zeros,
                "moving_variance:0": zeros + 1,
            }
            for layer, arrays in parts.items():
                if damage == "missing" and layer == "batch_normalization_7":
                    continue
                names.append(layer)
                group = file.create_group(layer)
                group.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in arrays]
                for name, array in arrays.items():
                    group.create_dataset(f"{layer}/{name}", data=array, compression="gzip")
        file.attrs["layer_names"] = [name.encode() for name in names]


def write_keras_official(path: Path, seed: int = 0) -> object:
    """Let Keras write a randomly initialised InceptionV3 in that layout; return the model.

    Batch normalisations get values of their own, so that one in another's place shows.
    """
    import h5py
    import keras
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    keras.utils.set_random_seed(seed)
    model = keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(299, 299, 3)
    )
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.beta.shape
            layer.set_weights(
                [
                    generator.normal(0.1, 0.1, shape),
                    generator.normal(0, 0.05, shape),
                    generator.uniform(0.05, 0.15, shape),
                ]
            )
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return model
