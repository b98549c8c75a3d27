"""The index file: a header, keys, vectors in checksummed blocks; vectors as FAISS stores them.

Layout, little-endian: a prefix (magic, format version, header length, CRC-32 of the header), the
header as JSON, the keys (int64), the vectors (float16, row by row), the CRC-32 of the keys, one
CRC-32 for every block of vectors, and the CRC-32 of those checksums. The file is written in one
pass and its length follows from its header, so a cut is seen without reading it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import IndexFileError, StorageError, reason_of
from imgclust.failpoints import passing
from imgclust.fs import open_regular, replacing

# From so many queries on, products of matrices are faster than a query at a time.
_MANY, _ROWS_AT_ONCE = 100, 16_384


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
        if len(queries) >= _MANY:
            return self._search_many(queries, n)
        # A thread searches for a query of its own: more would only wait, and spin while they do.
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(max(1, min(threads, len(queries))))
        try:
            scores, rows = self._index.search(queries, n)
        finally:
            self._faiss.omp_set_num_threads(threads)
        return scores, rows

    def _search_many(
        self, queries: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same by products of matrices, a part of the rows at a time."""
        rows = self.rows()
        found = self._faiss.ResultHeap(len(queries), n, keep_max=True)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE].astype(np.float32)
            scores, places = self._faiss.knn(
                queries, part, min(n, len(part)), metric=self._faiss.METRIC_INNER_PRODUCT
            )
            found.add_result(scores, places + start)
        found.finalize()
        return found.D, found.I

    def _empty(self) -> Any:
        faiss = self._faiss
        return faiss.IndexScalarQuantizer(
            self._dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )


FORMAT_VERSION = 1
BLOCK_BYTES = 4 << 20

_MAGIC = b"imgclust"
_PREFIX = struct.Struct("<8sIII")
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class IndexHeader:
    """What an index file says about itself.

    Attributes
    ----------
    recipe
        The recipe of the embeddings.
    dimensions, count
        Numbers in a vector, and vectors.
    sequence
        The last row of the catalog's `changes` that the vectors take in for certain.
    """

    recipe: str
    dimensions: int
    count: int
    sequence: int

    @property
    def rows_per_block(self) -> int:
        """Vectors that one checksum covers (about 4 MiB of them)."""
        return max(1, BLOCK_BYTES // (2 * self.dimensions))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row and row after the last of each block."""
        for start in range(0, self.count, self.rows_per_block):
            yield start, min(start + self.rows_per_block, self.count)


def _damaged(path: Path, what: str) -> IndexFileError:
    return IndexFileError(f"the index file {path} is damaged ({what}); it has to be rebuilt")


def _foreign(path: Path, what: str) -> IndexFileError:
    return IndexFileError(f"the index file {path} {what}; it has to be rebuilt")


class IndexFile:
    """An index file opened for reading; header, length, keys and checksum table already checked.

    Raises
    ------
    FileNotFoundError
        When there is none.
    IndexFileError
        When it is damaged, cut, of a newer format, or no index file at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = FileIO(open_regular(path), "rb")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _foreign(path, f"cannot be opened ({error.strerror})") from error
        try:
            self.header = self._read_header()
            keys = self._exactly(8 * self.header.count)
            self.keys = np.frombuffer(keys, dtype="<i8")
            self._vectors_at = self._file.tell()
            self._checksums = self._read_checksums(zlib.crc32(keys))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> IndexFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read_vectors(self, into: NDArray[np.float16], *, verify: bool) -> None:
        """Read all vectors into `into`, float16 `(count, dimensions)`, checking blocks if asked.

        Raises
        ------
        IndexFileError
            When the file ends early or a block differs from its checksum.
        """
        self._file.seek(self._vectors_at)
        for number, (start, stop) in enumerate(self.header.blocks()):
            self._read_block(into[start:stop], number, verify=verify)

    def map_vectors(self) -> NDArray[np.uint8]:
        """The bytes of all vectors where they lie in the file, read when they are looked at.

        The file may be replaced meanwhile, as `write` does it: what is mapped stays.
        """
        size = 2 * self.header.dimensions * self.header.count
        return np.memmap(self._file, np.uint8, "r", offset=self._vectors_at, shape=(size,))

    def check_vectors(self) -> None:
        """Read every block and compare it with its checksum; raises `IndexFileError`."""
        self._file.seek(self._vectors_at)
        block = np.empty((self.header.rows_per_block, self.header.dimensions), dtype=np.float16)
        for number, (start, stop) in enumerate(self.header.blocks()):
            self._read_block(block[: stop - start], number, verify=True)

    def _read_block(self, block: NDArray[np.float16], number: int, *, verify: bool) -> None:
        content = block.reshape(-1).view(np.uint8).data
        self._fill(content)
        if verify and zlib.crc32(content) != self._checksums[number]:
            raise _damaged(self.path, f"block {number} differs from its checksum")

    def _read_header(self) -> IndexHeader:
        magic, version, length, checksum = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if magic != _MAGIC:
            raise _foreign(self.path, "was not written by imgclust")
        if version > FORMAT_VERSION:
            raise _foreign(
                self.path,
                f"is of format {version}, from a newer imgclust (this one knows {FORMAT_VERSION})",
            )
        if version != FORMAT_VERSION or length > _LONGEST_HEADER:
            raise _damaged(self.path, "unknown format")
        text = self._exactly(length)
        if zlib.crc32(text) != checksum:
            raise _damaged(self.path, "the header differs from its checksum")
        header = IndexHeader(**json.loads(text))
        expected = _PREFIX.size + length + header.count * (8 + 2 * header.dimensions)
        expected += 4 * (len(list(header.blocks())) + 2)
        actual = os.fstat(self._file.fileno()).st_size
        if actual != expected:
            raise _damaged(self.path, f"{actual} bytes long instead of {expected}")
        return header

    def _read_checksums(self, keys_checksum: int) -> list[int]:
        self._file.seek(self._vectors_at + 2 * self.header.dimensions * self.header.count)
        blocks = len(list(self.header.blocks()))
        table = self._exactly(4 * (blocks + 1))
        (checksum,) = struct.unpack("<I", self._exactly(4))
        if zlib.crc32(table) != checksum:
            raise _damaged(self.path, "the checksum table is corrupt")
        of_keys, *of_blocks = struct.unpack(f"<{blocks + 1}I", table)
        if keys_checksum != of_keys:
            raise _damaged(self.path, "the keys differ from their checksum")
        return of_blocks

    def _exactly(self, size: int) -> bytearray:
        buffer = bytearray(size)
        self._fill(memoryview(buffer))
        return buffer

    def _fill(self, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                got = self._file.readinto(buffer[done:])
            except OSError as error:
                raise _damaged(self.path, f"reading failed: {error.strerror}") from error
            if not got:
                raise _damaged(self.path, "it ends too early")
            done += got


def write(
    path: Path,
    header: IndexHeader,
    keys: NDArray[np.int64],
    block: Callable[[int, int], NDArray[np.float16]],
) -> None:
    """Write an index file beside `path` under a temporary name, and rename it when it is on disk.

    Parameters
    ----------
    path
        The file to make or replace; the temporary is `path` with `.tmp` after it.
    header
        What to write at the front.
    keys
        Content keys, int64 `(count,)`.
    block
        Called with a first row and the row after the last; returns those vectors, float16.

    Raises
    ------
    StorageError
        When the disk refuses; the old file is untouched and the temporary is gone.
    """

    def written(temporary: Path) -> None:
        passing("checkpoint.temporary")
        passing("checkpoint.rename")

    temporary = path.with_name(path.name + ".tmp")  # only one process writes here
    try:
        with replacing(path, temporary=temporary, mode=0o600, check=written) as file:
            _write_all(file, header, keys, block)
    except OSError as error:
        raise StorageError(f"the index cannot be saved to {path}: {reason_of(error)}") from error


def _write_all(
    file: BinaryIO,
    header: IndexHeader,
    keys: NDArray[np.int64],
    block: Callable[[int, int], NDArray[np.float16]],
) -> None:
    def put(piece: bytes) -> int:
        file.write(piece)
        return zlib.crc32(piece)

    text = json.dumps(asdict(header)).encode()
    put(_PREFIX.pack(_MAGIC, FORMAT_VERSION, len(text), zlib.crc32(text)))
    put(text)
    checksums = [put(keys.astype("<i8").tobytes())]
    for start, stop in header.blocks():
        checksums.append(put(block(start, stop).astype("<f2").tobytes()))
    table = struct.pack(f"<{len(checksums)}I", *checksums)
    put(table)
    put(struct.pack("<I", zlib.crc32(table)))


def header_of(path: Path) -> IndexHeader:
    """Read the header of the index file `path`, its length, keys and checksum table checked.

    Raises
    ------
    FileNotFoundError, IndexFileError
        As `VectorIndex.load`.
    """
    with IndexFile(path) as file:
        return file.header


def check(path: Path) -> None:
    """Compare every block of the index file `path` with its checksum.

    Raises
    ------
    FileNotFoundError
        When there is no file.
    IndexFileError
        When any byte of it is not what was written.
    """
    with IndexFile(path) as file:
        file.check_vectors()


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file that cannot be trusted into `folder`; returns where it is now.

    Only the newest is kept: it is evidence of a cache, and may be large.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder / path.name
    path.replace(kept)
    return kept
