"""Projections to and from bytes: npz archives in which nothing is pickled."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError

_FORMAT = 1


def packed(kind: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays and what they are; the same arrays give the same bytes."""
    stream = io.BytesIO()
    everything: dict[str, Any] = {**arrays, "kind": np.array(kind), "format": np.array(_FORMAT)}
    np.savez(stream, **everything)
    return stream.getvalue()


def unpacked(blob: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """What `packed` was given.

    Raises
    ------
    ClusteringError
        When the bytes are not a projection, damaged, or of a newer format.
    """
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        kind, version = str(arrays.pop("kind")), int(arrays.pop("format"))
    except (KeyError, ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile) as problem:
        raise ClusteringError(
            f"the stored projection cannot be read ({problem}); cluster again to replace it"
        ) from problem
    if version > _FORMAT:
        raise ClusteringError(
            f"the stored projection has format {version}, newer than {_FORMAT}; update imgclust"
        )
    return kind, arrays
