"""Exports as text: JSON, CSV, and the label file of image_clustering, each written in a stream."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, BinaryIO

from imgclust.catalog import Facts, ListedImage
from imgclust.export.rows import Rows, in_base64, loses, text, vector_in_words


def write_json(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write `{"images": [...]}`, an image a line; returns how many."""
    written = 0
    stream.write(b'{"images":[')
    for page in rows.pages(embeddings=embeddings):
        facts = rows.facts(page)
        for image in page:
            stream.write(b",\n" if written else b"\n")
            found = facts.get(image.id, Facts())
            stream.write(_json(rows, image, found, embeddings=embeddings).encode())
            written += 1
    stream.write(b"\n]}\n")
    return written


def write_csv(stream: BinaryIO, rows: Rows, *, embeddings: bool) -> int:
    """Write a line an image under a line of titles (RFC 4180, UTF-8); returns how many.

    An embedding is one cell, a JSON list.
    """
    titles = ["id", "path", "cluster", "name", "distance", *rows.axes, "missing"]
    titles += ["taken", "taken_from", "camera", "damage"]
    titles += ["path_bytes"] * rows.lossy + ["embedding"] * embeddings
    written = 0
    lines = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        writer = csv.writer(lines)
        writer.writerow(titles)
        for page in rows.pages(embeddings=embeddings):
            facts = rows.facts(page)
            writer.writerows(
                _cells(rows, image, facts.get(image.id, Facts()), embeddings=embeddings)
                for image in page
            )
            written += len(page)
    finally:
        lines.detach()  # the stream is the caller's to close
    return written


def write_classic(stream: BinaryIO, rows: Rows) -> int:
    """Write `{"data": [...]}` as image_clustering did, an image a line; returns how many.

    Images that belong to no cluster are left out.
    """
    written = 0
    stream.write(b'{"data":[')
    for page in rows.pages(embeddings=False):
        for image in page:
            if image.cluster is None:
                continue
            entry = {
                "img_file": text(os.path.basename(image.path)),
                "label": str(image.cluster),
                "prob": "1.0",
            }
            stream.write(b",\n" if written else b"\n")
            stream.write(json.dumps(entry, ensure_ascii=False).encode())
            written += 1
    stream.write(b"\n]}\n")
    return written


def _json(rows: Rows, image: ListedImage, facts: Facts, *, embeddings: bool) -> str:
    entry: dict[str, Any] = {"id": image.id, "path": text(image.path)}
    if loses(image.path):
        entry["path_bytes"] = in_base64(image.path)
    entry["cluster"] = image.cluster
    entry["name"] = rows.names.get(image.cluster or 0)
    entry["distance"] = image.distance
    entry |= dict(zip(rows.axes, _coordinates(rows, image), strict=True))
    entry["missing"] = image.missing
    entry |= {"taken": facts.taken, "taken_from": facts.taken_from, "camera": facts.camera}
    entry["damage"] = facts.damage or None
    written = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    if not embeddings:
        return written
    vector = "null" if image.embedding is None else _list(image)
    return f'{written[:-1]}, "embedding": {vector}}}'


def _cells(rows: Rows, image: ListedImage, facts: Facts, *, embeddings: bool) -> list[Any]:
    name = rows.names.get(image.cluster or 0)
    cells = [image.id, text(image.path), image.cluster, name, image.distance]
    cells += [*_coordinates(rows, image), "true" if image.missing else "false"]
    cells += [facts.taken, facts.taken_from, facts.camera, facts.damage or None]
    if rows.lossy:
        cells.append(in_base64(image.path) if loses(image.path) else None)
    if embeddings:
        cells.append(None if image.embedding is None else _list(image))
    return cells


def _coordinates(rows: Rows, image: ListedImage) -> tuple[float | None, ...]:
    return image.coordinates or (None,) * len(rows.axes)


def _list(image: ListedImage) -> str:
    assert image.embedding is not None
    return f"[{vector_in_words(image.embedding, ',')}]"
