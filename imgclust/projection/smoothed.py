"""Half-whitened directions averaged over their neighbours: what places arrivals among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imgclust.projection.half_white import HalfWhiteProjection
from imgclust.projection.pca import packed, to_unit_length


@dataclass(frozen=True, eq=False)
class SmoothedProjection:
    """A space in which points were averaged over their nearest neighbours.

    The reference is two numbers of 2 bytes for each axis: 1 kB a row at 256 axes.

    Attributes
    ----------
    half
        What brings embeddings to the points before smoothing.
    points, smoothed
        The reference before and after smoothing, float16, shape (m, q).
    neighbours
        How many points each was averaged with, itself included.
    """

    kind: ClassVar[str] = "smoothed"

    half: HalfWhiteProjection
    points: NDArray[np.float16]
    smoothed: NDArray[np.float16]
    neighbours: int

    @property
    def dims(self) -> int:
        return self.half.dims

    def reference(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The reference before and after smoothing, float32 (m, q), at unit length."""
        before, after = self.points.astype(np.float32), self.smoothed.astype(np.float32)
        return to_unit_length(before), to_unit_length(after)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the projection consists of, by name."""
        own = {
            "points": self.points,
            "smoothed": self.smoothed,
            "neighbours": np.array([self.neighbours]),
        }
        return self.half.arrays() | own

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> SmoothedProjection:
        """The projection that consists of these arrays."""
        half = HalfWhiteProjection.of(arrays)
        return cls(half, arrays["points"], arrays["smoothed"], int(arrays["neighbours"][0]))

    def to_bytes(self) -> bytes:
        """The projection as an npz archive without pickled objects."""
        return packed(self.kind, self.arrays())
