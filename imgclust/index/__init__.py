"""The index: the embeddings of all contents at unit length, searched exactly through FAISS."""

from __future__ import annotations

from imgclust.index.index_file import FORMAT_VERSION, IndexHeader, check, header_of, set_aside
from imgclust.index.vector_index import Neighbours, RowSearch, VectorIndex

__all__ = [
    "FORMAT_VERSION",
    "IndexHeader",
    "Neighbours",
    "RowSearch",
    "VectorIndex",
    "check",
    "header_of",
    "set_aside",
]
