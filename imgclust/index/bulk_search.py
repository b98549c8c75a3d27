"""RowSearch: exact nearest rows for many queries at once, through matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PROBES = 32
_ROUNDS = 8
_SAMPLE = 64  # rows that each part is made from


class RowSearch:
    """Finds the rows nearest to many others by Euclidean distance.

    `VectorIndex.search` reads all it holds for each query, which serves a few; this multiplies
    blocks of queries with all rows (FAISS's flat index), ten times faster for thousands.

    Parameters
    ----------
    rows
        float32 `(n, d)`; a copy is kept.
    parts
        Into how many parts the rows are divided by k-means (FAISS's inverted file); the nearest
        32 of them are searched. 1: all rows are, so that what is found is exact.
    """

    def __init__(self, rows: NDArray[np.float32], *, parts: int = 1) -> None:
        import faiss

        rows = np.ascontiguousarray(rows, np.float32)
        self._index: Any = faiss.IndexFlatL2(rows.shape[1])
        if parts > 1:
            self._index = faiss.IndexIVFFlat(self._index, rows.shape[1], parts)
            self._index.nprobe = _PROBES
            self._index.cp.niter = _ROUNDS
            self._index.cp.min_points_per_centroid = 1
            self._index.cp.max_points_per_centroid = _SAMPLE
            self._index.train(rows)
        self._index.add(rows)

    def nearest(self, queries: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """Positions `(m, min(n, count))` of the rows nearest to each query, nearest first.

        -1 for a query that is not finite.
        """
        import faiss

        count = min(n, int(self._index.ntotal))
        found: NDArray[np.int64] = self._index.search(queries, count)[1]
        few = np.flatnonzero((found < 0).any(axis=1))  # the parts searched hold too little
        if few.size and hasattr(self._index, "nlist"):
            every = faiss.SearchParametersIVF()
            every.nprobe = self._index.nlist
            found[few] = self._index.search(queries[few], count, params=every)[1]
        return found
