"""Codes: the vectors of an index as FAISS stores them, in memory or where a file holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Codes:
    """Rows of float16 in a FAISS scalar-quantiser index, searched by inner product.

    Parameters
    ----------
    dimensions
        Numbers in a row.
    """

    def __init__(self, dimensions: int) -> None:
        import faiss

        self._faiss: Any = faiss
        self._dimensions = dimensions
        self._index = self._empty()
        self._mapped: NDArray[np.uint8] | None = None

    def rows(self) -> NDArray[np.float16]:
        """View the rows; valid until the next growth."""
        codes = self._index.codes
        if not codes.size():
            return np.empty((0, self._dimensions), dtype=np.float16)
        view: NDArray[np.uint8] = self._faiss.rev_swig_ptr(codes.data(), codes.size())
        return view.view(np.float16).reshape(-1, self._dimensions)

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add rows behind the last."""
        self._index.add(vectors)

    def resize(self, count: int) -> None:
        """Cut the rows, or add unset ones, to `count`."""
        self._index.codes.resize(count * self._index.code_size)
        self._index.ntotal = count

    def make_room(self, count: int) -> None:
        """Resize an empty index so that the first rows appended later copy nothing."""
        self.resize(count + count // 16 + 64)
        self.resize(count)

    def map(self, codes: NDArray[np.uint8]) -> None:
        """Search rows that belong to somebody else; FAISS ends the process that resizes them."""
        self._mapped = codes  # FAISS keeps its address only
        address = self._faiss.cast_integer_to_void_ptr(codes.ctypes.data)
        self._index.codes = self._faiss.MaybeOwnedVectorUInt8.create_view(
            address, codes.size, self._index.codes.owner
        )
        self._index.ntotal = codes.size // self._index.code_size

    def own(self) -> None:
        """Copy rows that are mapped: they are about to change."""
        if self._mapped is None:
            return
        rows = self._mapped.view(np.float16).reshape(-1, self._dimensions)
        self._index = self._empty()
        self.make_room(len(rows))
        self.rows()[:] = rows
        self._mapped = None

    def search(
        self, queries: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Inner products and positions, each `(m, n)`, of the rows best for each query."""
        # A thread searches for a query of its own: more would only wait, and spin while they do.
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(max(1, min(threads, len(queries))))
        try:
            scores, rows = self._index.search(queries, n)
        finally:
            self._faiss.omp_set_num_threads(threads)
        return scores, rows

    def _empty(self) -> Any:
        faiss = self._faiss
        return faiss.IndexScalarQuantizer(
            self._dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
