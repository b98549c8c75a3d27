"""The index: the embeddings of all contents at unit length, searched exactly through FAISS."""

from __future__ import annotations

from imgclust.index.file import FORMAT_VERSION, IndexHeader, check, header_of, set_aside
from imgclust.index.neighbours import Neighbours
from imgclust.index.rows import RowSearch
from imgclust.index.vectors import VectorIndex

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
