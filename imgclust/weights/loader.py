"""Reads a weights file, and says whether it is one.

It holds the 94 convolutions of InceptionV3, counted from 0 in the order in which
`keras.applications.InceptionV3` creates them (Szegedy et al., "Rethinking the Inception
Architecture for Computer Vision", 2016).
"""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import UsageError, WeightsError
from imgclust.fs import NotAFileError, open_to_read
from imgclust.wording import printable

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


# As in keras.applications.inception_v3.
OFFICIAL_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/"
    "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
OFFICIAL_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"

TRUNK_PATH = Path(__file__).resolve().parents[1] / "trunk" / "trunk.npz"
TRUNK_SHA256 = "7b73ba8b6b8018ec63552beec20dea3c87639d1d95d9b290cb3d8287ae117663"

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURE = b"PK\x03\x04"
# The weights of Keras are 88 MB.
_MOST_BYTES = 1 << 30


def digests(path: Path) -> tuple[str, str]:
    """SHA-256 and MD5 (hex) of a file, read once."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open_to_read(path) as source:
        while block := source.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def trunk() -> Weights:
    """Return the trunk that comes with imgclust.

    Raises
    ------
    WeightsError
        When its file is absent or is not the one that belongs to this version.
    """
    try:
        found = os.stat(TRUNK_PATH)
        sha256 = _trunk_sha256(found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{TRUNK_PATH} cannot be read; install imgclust again") from error
    if sha256 != TRUNK_SHA256:
        raise WeightsError(f"{TRUNK_PATH} is damaged; install imgclust again")
    return Weights("trunk", "trunk", sha256, TRUNK_PATH)


@functools.lru_cache(1)
def _trunk_sha256(*_: int) -> str:
    """SHA-256 of the trunk; read again when its file is another one."""
    return digests(TRUNK_PATH)[0]


def verify(path: Path, *, official_md5: str = OFFICIAL_MD5) -> Weights:
    """Say which weights a file holds, after reading all of them.

    Parameters
    ----------
    path
        A Keras .h5 file of InceptionV3 without its top, or a trunk file.

    Raises
    ------
    UsageError
        When there is no such file.
    WeightsError
        When the file is something else, truncated, or holds values that are not finite.
    """
    try:
        with open_to_read(path) as source:
            start = source.read(8)
            size = os.fstat(source.fileno()).st_size
        structure = _structure(path, start)
        if size > _MOST_BYTES:
            raise WeightsError(
                f"{printable(path)} is too large for weights of InceptionV3: {size:,} bytes"
            )
        sha256, md5 = digests(path)
    except FileNotFoundError as error:
        raise UsageError(
            f"{printable(path)}: no such file; weights are auto, imagenet, trunk or a file"
        ) from error
    except NotAFileError as error:
        raise UsageError(f"{printable(path)} is {error.kind}; weights are a file") from None
    except OSError as error:
        raise WeightsError(f"{printable(path)} cannot be read: {error.strerror}") from error
    weights = Weights("file", structure, sha256, path)
    load(weights)
    if md5 == official_md5:
        return Weights("imagenet", structure, sha256, path)
    if sha256 == TRUNK_SHA256:
        return Weights("trunk", structure, sha256, path)
    return weights


def _structure(path: Path, start: bytes) -> Structure:
    """Which structure the first bytes of a weights file announce."""
    if start.startswith(_HDF5_SIGNATURE):
        return "full"
    if start.startswith(_ZIP_SIGNATURE):
        return "trunk"
    raise WeightsError(
        f"{printable(path)} is not a weights file; use Keras' InceptionV3 .h5 file without top, "
        "or a trunk"
    )


def load(weights: Weights) -> tuple[Convolution, ...]:
    """Read the convolutions of a weights file, in the order of `KERNELS`.

    Returns
    -------
    tuple of Convolution
        94 of them, or the first 76 from a trunk.

    Raises
    ------
    WeightsError
        When a part is absent, of the wrong shape, or not finite.
    """
    reader = _read_keras if weights.structure == "full" else _read_trunk
    count = CONVOLUTIONS[weights.structure]
    try:
        found = dict(reader(weights.path))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{weights.path} is damaged or not of InceptionV3's structure ({error})"
        ) from error
    if len(found) != count:
        raise WeightsError(f"{weights.path} holds {len(found)} convolutions instead of {count}")
    convolutions = tuple(found[number] for number in range(count))
    for number, convolution in enumerate(convolutions):
        channels = KERNELS[number][-1:]
        if [part.shape for part in convolution] != [KERNELS[number], channels, channels, channels]:
            raise WeightsError(f"{weights.path}: convolution {number + 1} has other shapes")
        if not all(np.isfinite(part).all() for part in convolution):
            raise WeightsError(f"{weights.path}: convolution {number + 1} is not finite")
        if convolution.variance.min() < 0:
            raise WeightsError(f"{weights.path}: convolution {number + 1} has a negative variance")
    return convolutions


def _read_trunk(path: Path) -> Iterator[tuple[int, Convolution]]:
    """Dequantise a file of scripts/build_trunk.py: value = q * scale + minimum."""
    # np.load leaves a file open that it was given by name and that is not a zip file
    with open_to_read(path) as source, np.load(source, allow_pickle=False) as archive:
        ranges = zip(archive["scale"].tolist(), archive["minimum"].tolist(), strict=True)
        values: dict[str, NDArray[np.float32]] = {}
        for name, (scale, minimum) in zip(archive["names"].tolist(), ranges, strict=True):
            values[name] = (archive[name] * np.float64(scale) + minimum).astype(np.float32)
    for number in range(len(values) // 4):
        norm = f"batch_normalization_{number + 1}"
        yield (
            number,
            Convolution(
                values[f"conv2d_{number + 1}/kernel"],
                values[f"{norm}/beta"],
                values[f"{norm}/moving_mean"],
                values[f"{norm}/moving_variance"],
            ),
        )


def _read_keras(path: Path) -> Iterator[tuple[int, Convolution]]:
    """Read Keras' older .h5 layout, by position as Keras itself does; names are not looked at."""
    import h5py

    with h5py.File(path, "r") as file:
        if "layer_names" not in file.attrs:
            raise ValueError("no layer_names: not Keras' .h5 layout of weights")
        layers: list[list[NDArray[np.float32]]] = []
        for layer in file.attrs["layer_names"]:
            group: Any = file[layer]
            parts = [np.asarray(group[name], np.float32) for name in group.attrs["weight_names"]]
            if parts:
                layers.append(parts)
    kernels = [parts[0] for parts in layers if len(parts) == 1]
    norms = [parts for parts in layers if len(parts) == 3]
    if len(layers) != len(kernels) + len(norms):
        raise ValueError("layers of other kinds: the file with the top, or another network")
    for number, kernel, norm in zip(FILE_ORDER, kernels, norms, strict=True):
        yield number, Convolution(kernel, *norm)
