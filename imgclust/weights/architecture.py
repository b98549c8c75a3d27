"""What a weights file holds: the 94 convolutions of InceptionV3, and the `Weights` type.

Convolutions are counted from 0 in the order in which `keras.applications.InceptionV3` creates
them (Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Structure = Literal["full", "trunk"]

# fmt: off
# Kernel shapes: height, width, channels in, channels out.
KERNELS: tuple[tuple[int, int, int, int], ...] = (
    (3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (1, 1, 64, 80), (3, 3, 80, 192),
    (1, 1, 192, 64), (1, 1, 192, 48), (5, 5, 48, 64), (1, 1, 192, 64), (3, 3, 64, 96),
    (3, 3, 96, 96), (1, 1, 192, 32), (1, 1, 256, 64), (1, 1, 256, 48), (5, 5, 48, 64),
    (1, 1, 256, 64), (3, 3, 64, 96), (3, 3, 96, 96), (1, 1, 256, 64), (1, 1, 288, 64),
    (1, 1, 288, 48), (5, 5, 48, 64), (1, 1, 288, 64), (3, 3, 64, 96), (3, 3, 96, 96),
    (1, 1, 288, 64), (3, 3, 288, 384), (1, 1, 288, 64), (3, 3, 64, 96), (3, 3, 96, 96),
    (1, 1, 768, 192), (1, 1, 768, 128), (1, 7, 128, 128), (7, 1, 128, 192), (1, 1, 768, 128),
    (7, 1, 128, 128), (1, 7, 128, 128), (7, 1, 128, 128), (1, 7, 128, 192), (1, 1, 768, 192),
    (1, 1, 768, 192), (1, 1, 768, 160), (1, 7, 160, 160), (7, 1, 160, 192), (1, 1, 768, 160),
    (7, 1, 160, 160), (1, 7, 160, 160), (7, 1, 160, 160), (1, 7, 160, 192), (1, 1, 768, 192),
    (1, 1, 768, 192), (1, 1, 768, 160), (1, 7, 160, 160), (7, 1, 160, 192), (1, 1, 768, 160),
    (7, 1, 160, 160), (1, 7, 160, 160), (7, 1, 160, 160), (1, 7, 160, 192), (1, 1, 768, 192),
    (1, 1, 768, 192), (1, 1, 768, 192), (1, 7, 192, 192), (7, 1, 192, 192), (1, 1, 768, 192),
    (7, 1, 192, 192), (1, 7, 192, 192), (7, 1, 192, 192), (1, 7, 192, 192), (1, 1, 768, 192),
    (1, 1, 768, 192), (3, 3, 192, 320), (1, 1, 768, 192), (1, 7, 192, 192), (7, 1, 192, 192),
    (3, 3, 192, 192), (1, 1, 1280, 320), (1, 1, 1280, 384), (1, 3, 384, 384), (3, 1, 384, 384),
    (1, 1, 1280, 448), (3, 3, 448, 384), (1, 3, 384, 384), (3, 1, 384, 384), (1, 1, 1280, 192),
    (1, 1, 2048, 320), (1, 1, 2048, 384), (1, 3, 384, 384), (3, 1, 384, 384), (1, 1, 2048, 448),
    (3, 3, 448, 384), (1, 3, 384, 384), (3, 1, 384, 384), (1, 1, 2048, 192),
)

# Convolutions of each structure: all of them, or those up to mixed8.
CONVOLUTIONS: dict[Structure, int] = {"full": len(KERNELS), "trunk": 76}

# Order in which Keras writes them into a .h5 file: by depth in the network.
FILE_ORDER: tuple[int, ...] = (
    0, 1, 2, 3, 4, 8, 6, 9, 5, 7, 10, 11, 15, 13, 16, 12, 14, 17, 18, 22,
    20, 23, 19, 21, 24, 25, 27, 28, 26, 29, 34, 35, 31, 36, 32, 37, 30, 33, 38, 39,
    44, 45, 41, 46, 42, 47, 40, 43, 48, 49, 54, 55, 51, 56, 52, 57, 50, 53, 58, 59,
    64, 65, 61, 66, 62, 67, 60, 63, 68, 69, 72, 73, 70, 74, 71, 75, 80, 77, 81, 78,
    79, 82, 83, 76, 84, 89, 86, 90, 87, 88, 91, 92, 85, 93,
)

# fmt: on
EPSILON = 1e-3  # of every batch normalisation


@dataclass(frozen=True)
class Weights:
    """A weights file that was verified.

    Attributes
    ----------
    name
        "imagenet" (Keras' official file), "trunk" (the one in this package) or "file".
    structure
        "full": Keras' InceptionV3 without its top. "trunk": its layers up to mixed8.
    sha256
        Digest of the file, hex.
    path
        Where the file is.
    """

    name: Literal["imagenet", "trunk", "file"]
    structure: Structure
    sha256: str
    path: Path


class Convolution(NamedTuple):
    """One convolution without bias, and the batch normalisation (without scale) after it.

    `kernel` is (height, width, in, out); `beta`, `mean` and `variance` are (out,); all float32.
    """

    kernel: NDArray[np.float32]
    beta: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
