"""VectorIndex: vectors by content key, changed and searched by cosine; RowSearch, by distance."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgclust import devices
from imgclust.errors import EmbeddingError, IndexFileError, NothingThereError
from imgclust.index import index_file
from imgclust.index.index_file import Codes

_DECIMALS = 6  # float32 sums over some thousand products hold no more

# faiss-gpu's k-selection takes no more (faiss/gpu/utils/DeviceDefs.cuh, GPU_MAX_SELECTION_K).
MOST_NEIGHBOURS = 2048

_ROWS_AT_ONCE = 16_384

_PROBES = 32

_ROUNDS = 8

_SAMPLE = 64  # rows that each part is made from


@dataclass(frozen=True)
class Neighbours:
    """The contents nearest to each query, best first, ties by key.

    Attributes
    ----------
    scores
        Cosine similarities, float32 `(m, n)`, rounded to 1e-6; -inf where there is no neighbour.
    keys
        Content keys, int64 `(m, n)`; -1 where there is no neighbour.
    """

    scores: NDArray[np.float32]
    keys: NDArray[np.int64]


def best(
    search: Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]],
    queries: NDArray[np.float32],
    keys: NDArray[np.int64],
    n: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best `n` <= count, ties by key even where the last of them is tied with the next.

    Parameters
    ----------
    search
        Gives scores and rows, each `(m, n)`, of the n best rows for each of some queries, in any
        order among equals.
    queries
        float32 `(m, d)`.
    keys
        Content key of each row, int64 `(count,)`.
    """
    best_scores = np.empty((len(queries), n), np.float32)
    best_keys = np.empty((len(queries), n), np.int64)
    left, ask = np.arange(len(queries)), min(n + 1, len(keys))
    while len(left):
        scores, rows = search(queries[left], ask)
        scores = np.clip(np.round(scores, _DECIMALS), -1.0, 1.0)
        found = keys[rows]
        order = np.lexsort((found, -scores), axis=1)
        scores = np.take_along_axis(scores, order, 1)
        best_scores[left] = scores[:, :n]
        best_keys[left] = np.take_along_axis(found, order, 1)[:, :n]
        if ask == len(keys):
            break
        left = left[scores[:, ask - 1] >= scores[:, n - 1]]  # more may be tied with the last
        ask = min(2 * ask, len(keys))
    return best_scores, best_keys


def at_unit_length(vectors: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    """A float32 copy `(m, dimensions)` with each vector at unit length; zeros stay zeros.

    Raises
    ------
    EmbeddingError
        When shapes do not fit or a number is not finite.
    """
    with np.errstate(over="ignore"):  # what leaves float32's range is refused just below
        array = np.array(vectors, dtype=np.float32, ndmin=2, order="C")
    if array.ndim != 2 or array.shape[1] != dimensions:
        raise EmbeddingError(
            f"vectors of shape {array.shape} do not fit an index of {dimensions} numbers"
        )
    if not np.isfinite(array).all():
        raise EmbeddingError("a vector has a number that is not finite")
    # The largest value first: squares of very large or small numbers leave float32's range.
    array /= np.maximum(np.abs(array).max(axis=1, keepdims=True, initial=0), 1e-38)
    array /= np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-38)
    return array


_log = logging.getLogger(__name__)


class VectorIndex:
    """Exact nearest neighbours by cosine over vectors named by content keys.

    Vectors are kept once, at unit length, as float16 in a FAISS scalar-quantiser index: half the
    memory of float32 and a single query in a quarter of the time; sums run in float32. Adding
    costs the same at any size (the storage grows by doubling). A removed row is filled with the
    last one, so that removal costs the same at any size too (FAISS's own `remove_ids` moves every
    row behind the hole).

    Every method may be called from any thread: one lock covers the rows. `save` holds it only
    while it copies a block (4 MiB), and writes the rows as they were when it was called; changes
    made meanwhile keep the old bytes of the rows they touch until those are written.

    Parameters
    ----------
    dimensions
        Numbers in a vector.
    device
        "cpu", "gpu" or "auto". On a GPU a float32 copy is searched, beside the rows here.

    Raises
    ------
    UsageError
        For "gpu" where FAISS sees none.
    """

    def __init__(self, dimensions: int, *, device: str = "cpu") -> None:
        self._dimensions = dimensions
        self._codes = Codes(dimensions)
        self._keys = np.empty(1024, dtype=np.int64)
        self._row_of: dict[int, int] = {}
        self._lock = threading.RLock()
        self._save_lock = threading.Lock()
        self._kept: dict[int, NDArray[np.float16]] | None = None
        self._gpu: GpuCopy | None = None
        if device != "cpu" and devices.choose(device, devices.faiss_gpus()) == "gpu":
            self._gpu = GpuCopy(dimensions)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: int) -> bool:
        return key in self._row_of

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return self._dimensions

    @property
    def device(self) -> str:
        """Where searches run now: "cpu" or "gpu"."""
        return "gpu" if self._gpu is not None else "cpu"

    def keys(self) -> NDArray[np.int64]:
        """All content keys, int64 `(count,)`, in no particular order."""
        with self._lock:
            return self._keys[: len(self)].copy()

    def add(self, keys: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors, bringing each to unit length; a key that is there already is replaced.

        Works on a float32 copy of what it is given, so large sets are best added in pieces.

        Parameters
        ----------
        keys
            Content keys, int64 `(n,)`; of a key given twice the last counts.
        vectors
            float `(n, dimensions)`; a vector of zeros stays one (its score is 0 with everything).

        Raises
        ------
        EmbeddingError
            When shapes do not fit or a number is not finite; nothing is added then.
        """
        names = np.asarray(keys, dtype=np.int64).reshape(-1)
        unit = at_unit_length(vectors, self._dimensions)
        if len(names) != len(unit):
            raise EmbeddingError(f"{len(names)} keys were given for {len(unit)} vectors")
        last = {key: position for position, key in enumerate(names.tolist())}
        with self._lock:
            self._codes.own()
            new = [at for key, at in last.items() if key not in self._row_of]
            rows = self._codes.rows()
            for key in last.keys() & self._row_of.keys():
                row = self._row_of[key]
                self._touch(row)
                rows[row] = unit[last[key]].astype(np.float16)
            if new:
                self._append(names[new], unit[new])

    def remove(self, keys: ArrayLike) -> int:
        """Remove contents; unknown keys are ignored. Returns how many were there."""
        names = np.asarray(keys, dtype=np.int64).reshape(-1).tolist()
        with self._lock:
            self._codes.own()
            rows = self._codes.rows()
            before = count = len(self)
            for key in names:
                row = self._row_of.pop(key, None)
                if row is None:
                    continue
                count -= 1
                self._touch(row)
                if row != count:
                    self._touch(count)
                    rows[row] = rows[count]
                    self._keys[row] = self._keys[count]
                    self._row_of[int(self._keys[row])] = row
            self._codes.resize(count)
            return before - count

    def search(self, vectors: ArrayLike, n: int) -> Neighbours:
        """Find the `n` contents most similar to each vector.

        Parameters
        ----------
        vectors
            float `(m, dimensions)`, of any length greater than 0.
        n
            Neighbours wanted; where the index holds fewer, the rest is -1 and -inf.

        Returns
        -------
        Neighbours
            Exact but for float16 storage (scores within 1e-3, usually 1e-5).

        Raises
        ------
        EmbeddingError
            When shapes do not fit or a number is not finite.
        """
        queries = at_unit_length(vectors, self._dimensions)
        scores = np.full((len(queries), max(n, 0)), -np.inf, dtype=np.float32)
        keys = np.full(scores.shape, -1, dtype=np.int64)
        with self._lock:
            here = min(scores.shape[1], len(self))
            if here and len(queries):
                scores[:, :here], keys[:, :here] = best(
                    self._search_rows, queries, self._keys[: len(self)], here
                )
        return Neighbours(scores, keys)

    def reconstruct(self, keys: ArrayLike) -> NDArray[np.float32]:
        """Return the stored vectors of `keys`, at unit length, float32 `(n, dimensions)`.

        Raises
        ------
        NothingThereError
            When a key is not in the index.
        """
        names = np.asarray(keys, dtype=np.int64).reshape(-1).tolist()
        with self._lock:
            try:
                rows = [self._row_of[key] for key in names]
            except KeyError as error:
                raise NothingThereError(
                    f"content {error} is not in the index; run imgclust doctor --repair"
                ) from None
            return self._codes.rows()[rows].astype(np.float32)

    def save(self, path: Path, *, recipe: str, sequence: int) -> None:
        """Write the index to `path`, whole or not at all.

        Parameters
        ----------
        path
            The index file; replaced by a rename once the new one is on disk.
        recipe
            The recipe of the embeddings.
        sequence
            The last row of the catalog's `changes` that was applied here, read before this call:
            rows applied since may be in the file already, and replaying them changes nothing.

        Raises
        ------
        StorageError
            When the disk refuses; the old file is as it was.
        """
        with self._save_lock:
            with self._lock:
                keys = self.keys()
                self._kept = {}
            try:
                header = index_file.IndexHeader(recipe, self._dimensions, len(keys), sequence)
                index_file.write(path, header, keys, self._kept_block)
            finally:
                with self._lock:
                    self._kept = None

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        recipe: str,
        dimensions: int,
        device: str = "cpu",
        verify: bool = False,
        mapped: bool = False,
    ) -> tuple[Self, int]:
        """Read an index file.

        Header, length and keys are always checked; the vectors with `verify` only. `mapped` leaves
        the vectors in the file until a search looks at them, or until they are to be changed.

        Returns
        -------
        VectorIndex, int
            The index and the last `changes` sequence that is in it.

        Raises
        ------
        FileNotFoundError
            When there is no file.
        IndexFileError
            When it is damaged, cut, of a newer format, of another recipe, or no index file.
        """
        with index_file.IndexFile(path) as source:
            header = source.header
            if (header.recipe, header.dimensions) != (recipe, dimensions):
                raise IndexFileError(
                    f"the index file {path} holds {header.dimensions} numbers by the recipe "
                    f"{header.recipe}, not {dimensions} by {recipe}; it has to be rebuilt"
                )
            index = cls(dimensions, device=device)
            index._keys = source.keys.astype(np.int64)
            index._row_of = {key: row for row, key in enumerate(index._keys.tolist())}
            if len(index) != header.count:
                raise IndexFileError(f"the index file {path} contains a duplicate key")
            if mapped and header.count:
                index._codes.map(source.map_vectors())
            else:
                index._codes.make_room(header.count)
                source.read_vectors(index._codes.rows(), verify=verify)
        return index, header.sequence

    # Below: the lock is held by the caller.

    def _append(self, keys: NDArray[np.int64], unit: NDArray[np.float32]) -> None:
        count = len(self)
        if count + len(keys) > len(self._keys):
            grown = np.empty(2 * (count + len(keys)), dtype=np.int64)
            grown[:count] = self._keys[:count]
            self._keys = grown
        self._codes.append(unit)
        self._keys[count : count + len(keys)] = keys
        self._row_of.update(zip(keys.tolist(), range(count, count + len(keys)), strict=True))

    def _touch(self, row: int) -> None:
        """Note that `row` is about to change or go."""
        if self._kept is not None and row not in self._kept:
            self._kept[row] = self._codes.rows()[row].copy()
        if self._gpu is not None:
            self._gpu.changed(row)

    def _kept_block(self, start: int, stop: int) -> NDArray[np.float16]:
        """Copy rows as they were when the save began (takes the lock itself)."""
        with self._lock:
            block = np.empty((stop - start, self._dimensions), dtype=np.float16)
            here = self._codes.rows()[start:stop]
            block[: len(here)] = here
            kept = self._kept or {}
            for row in [row for row in kept if start <= row < stop]:
                block[row - start] = kept.pop(row)
            return block

    def _search_rows(
        self, queries: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self._gpu is not None and n <= MOST_NEIGHBOURS:
            try:
                return self._gpu.search(self._codes.rows(), queries, n)
            except RuntimeError as error:
                _log.warning(
                    "the GPU cannot hold the index, searching on the CPU from now on: %s",
                    str(error).splitlines()[0],
                )
                self._gpu = None
        return self._codes.search(queries, n)


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
