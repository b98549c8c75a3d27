"""The `Weights` type: which weights file, of which structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
    structure: Literal["full", "trunk"]
    sha256: str
    path: Path
