"""Exports as Parquet, a row group a page, by pyarrow."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from imgclust.catalog import Facts, ListedImage
from imgclust.errors import MissingPackageError
from imgclust.export.rows import Rows
from imgclust.wording import loses, path_text


def write_parquet(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write a column for each fact about an image; returns the number of images.

    Where a path is not UTF-8, `path_bytes` holds it exactly; an embedding is a list of float32.

    Raises
    ------
    MissingPackageError
        When pyarrow is not installed.
    """
    pa = require_pyarrow()
    from pyarrow import parquet

    fields = [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("cluster", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("distance", *rows.axes)),
        pa.field("missing", pa.bool_(), nullable=False),
        pa.field("corrected", pa.bool_(), nullable=False),
        *(
            pa.field(name, pa.string())
            for name in ("taken", "taken_from", "camera", "damage", "name", "cluster_name", "map")
        ),
    ]
    if rows.lossy:
        fields.append(pa.field("path_bytes", pa.binary()))
    if embeddings:
        fields.append(pa.field("embedding", pa.list_(pa.float32())))
    schema = pa.schema(fields)
    written = 0
    with parquet.ParquetWriter(stream, schema) as writer:
        for page in rows.pages(embeddings=embeddings):
            columns = _columns(rows, page)
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            written += len(page)
    return written


def require_pyarrow() -> Any:
    """Import pyarrow.

    Raises
    ------
    MissingPackageError
        Naming the extra that brings it.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingPackageError(
            'Parquet needs pyarrow; install it with pip install "imgclust[parquet]"'
        ) from None
    return pyarrow


def _columns(rows: Rows, page: list[ListedImage]) -> dict[str, list[Any]]:
    found = rows.facts(page)
    facts = [found.get(image.id, Facts()) for image in page]
    places = [image.coordinates or (None,) * len(rows.axes) for image in page]
    names = [rows.names.get(image.cluster or 0) for image in page]
    return {
        "name": names,
        "cluster_name": names,
        "map": [None if image.coordinates is None else rows.map for image in page],
        "id": [image.id for image in page],
        "path": [path_text(image.path) for image in page],
        "cluster": [image.cluster for image in page],
        "distance": [image.distance for image in page],
        "missing": [image.missing for image in page],
        "corrected": [image.content in rows.corrected for image in page],
        "taken": [one.taken for one in facts],
        "taken_from": [one.taken_from for one in facts],
        "camera": [one.camera for one in facts],
        "damage": [one.damage or None for one in facts],
        "path_bytes": [image.path if loses(image.path) else None for image in page],
        "embedding": [
            None if image.embedding is None else image.embedding.astype(np.float32)
            for image in page
        ],
        **{name: [place[axis] for place in places] for axis, name in enumerate(rows.axes)},
    }
