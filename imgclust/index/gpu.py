"""The copy of the index on an NVIDIA card: float32, searched exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# faiss-gpu's k-selection takes no more (faiss/gpu/utils/DeviceDefs.cuh, GPU_MAX_SELECTION_K).
MOST_NEIGHBOURS = 2048
_ROWS_AT_ONCE = 16_384


class GpuCopy:
    """The vectors of an index on the first card, brought up to date when they are searched.

    Rows that were appended are sent alone; after a change to a row that is there already,
    everything is sent again (a GPU flat index can neither remove nor overwrite rows).

    Parameters
    ----------
    dimensions
        Numbers in a vector.
    """

    def __init__(self, dimensions: int) -> None:
        import faiss

        self._resources = faiss.StandardGpuResources()
        configuration = faiss.GpuIndexFlatConfig()
        configuration.device = 0
        configuration.useFloat16 = False
        self._index = faiss.GpuIndexFlatIP(self._resources, dimensions, configuration)
        self._there = 0

    def changed(self, row: int) -> None:
        """Say that `row` no longer is what it was, if it is on the card at all."""
        if row < self._there:
            self._index.reset()
            self._there = 0

    def search(
        self, rows: NDArray[np.float16], queries: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Inner products and row numbers of the `n` best of `rows` for each query.

        Parameters
        ----------
        rows
            The whole index, float16 `(count, d)`, count >= n.
        queries
            float32 `(m, d)`.
        n
            At most `MOST_NEIGHBOURS`.

        Raises
        ------
        RuntimeError
            From FAISS, when the card has no room.
        """
        for start in range(self._there, len(rows), _ROWS_AT_ONCE):
            piece = rows[start : start + _ROWS_AT_ONCE]
            self._index.add(piece.astype(np.float32))
            self._there += len(piece)
        scores, found = self._index.search(queries, n)
        return scores, found
