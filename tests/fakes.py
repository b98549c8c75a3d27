"""Stand-ins for tests of other modules: no network, no TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgclust.catalog.catalog import Catalog
from imgclust.embedding.recipe import Recipe
from imgclust.errors import EmbeddingError, StorageError

_GRID = 8


class RefusingCatalog(Catalog):
    """A catalog on a disk that refuses: each write asks `allows`, and False undoes all of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.allows: Callable[[], bool] = lambda: True
        self.refused = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Catalog.transaction`."""
        with super().transaction():
            yield
            if not self.allows():
                self.refused += 1
                raise StorageError("the disk is full")


class FakeEvents:
    """A source of events that the test plays: it calls `on_path` and sets `lost`."""

    def __init__(self) -> None:
        self.lost = False
        self.on_path: Callable[[bytes], None] = lambda path: None

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def check(self) -> None: ...

    def overflowed(self) -> bool:
        lost, self.lost = self.lost, False
        return lost


class FakeEmbedder:
    """Mean colours on an 8 x 8 grid, projected to `dimensions`, at unit length.

    Deterministic; similar pictures get similar embeddings, equal pixels equal ones.
    `calls` holds the number of images of each call of `embed`.
    """

    def __init__(self, dimensions: int = 32, *, weights_sha256: str | None = None) -> None:
        digest = hashlib.sha256(b"fake %d" % dimensions).hexdigest()
        self.recipe = Recipe(
            backbone="fake",
            weights_sha256=weights_sha256 or digest,
            layers=("grid",),
            dimensions=dimensions,
            preprocessing="x/255",
            pooling="average",
            square_root=False,
            normalisation="whole",
        )
        self.provenance = "fake float32"
        self.calls: list[int] = []
        generator = np.random.default_rng(20)
        self._projection = generator.standard_normal((_GRID * _GRID * 3 + 1, dimensions))

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = self.recipe.side
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise EmbeddingError(f"pixels are {pixels.dtype} {pixels.shape}")
        self.calls.append(len(pixels))
        edges = np.linspace(0, side, _GRID + 1).astype(int)
        starts, heights = edges[:-1], np.diff(edges)
        sums = np.add.reduceat(pixels, starts, axis=1, dtype=np.int64)
        sums = np.add.reduceat(sums, starts, axis=2)
        means = sums / (heights[:, None, None] * heights[None, :, None]) / 255 - 0.5
        # a constant keeps a mid-grey picture away from the zero vector
        rows = np.concatenate(
            [means.reshape(len(pixels), _GRID * _GRID * 3), np.full((len(pixels), 1), 0.1)], 1
        )
        embeddings = rows @ self._projection
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings.astype(np.float32)
