"""Documents about images coming in, asked for and going out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, facts, moment, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import (
        DamagedImage,
        Event,
        IngestResult,
        MissingImage,
        Quarantined,
        QueryResult,
        Removed,
    )


def query(result: QueryResult) -> Document:
    """`query`."""
    return {
        "query": text(os.fsencode(result.query)),
        "neighbours": [
            {
                "id": row.id,
                **path_keys(row.path),
                "score": row.score,
                "cluster": row.cluster,
                "name": row.name,
                "missing": row.missing,
                **facts(row.facts),
            }
            for row in result.neighbours
        ],
        "queries": [text(os.fsencode(one)) for one in result.queries],
        "sheet": None if result.sheet is None else text(os.fsencode(result.sheet)),
    }


def ingested(result: IngestResult) -> Document:
    """`watch --once`, `add`, `quarantine retry`."""
    return {
        "seen": result.seen,
        "ingested": result.ingested,
        "reused": result.reused,
        "unchanged": result.unchanged,
        "skipped": result.skipped,
        "quarantined": result.quarantined,
        "missing": result.missing,
        "seconds": round(result.seconds, 3),
        "held": [{**path_keys(path), "reason": reason} for path, reason in result.held],
        "offline": [{**path_keys(path), "images": images} for path, images in result.offline],
        "suggestions": list(result.suggestions),
        "removed": result.removed,
        "pending": result.pending,
        "excluded": result.excluded,
    }


def event(one: Event, wall: float) -> Document:
    """A line of `watch`."""
    return {
        "event": one.kind,
        "time": moment(wall),
        **({"path": None} if one.path is None else path_keys(one.path)),
        "id": one.image,
        "cluster": one.cluster,
        "cluster_name": one.cluster_name,
        "message": one.sentence,
    }


def quarantine(rows: Sequence[Quarantined]) -> Document:
    """`quarantine`."""
    return {
        "quarantined": [
            {
                **path_keys(row.path),
                "reason": row.reason,
                "tries": row.tries,
                "since": moment(row.since),
            }
            for row in rows
        ]
    }


def damaged(rows: Sequence[DamagedImage]) -> Document:
    """`quarantine --damaged`."""
    return {
        "damaged": [{"id": row.id, **path_keys(row.path), "reason": row.reason} for row in rows]
    }


def missing(rows: Sequence[MissingImage]) -> Document:
    """`missing`."""
    return {
        "missing": [
            {
                "id": row.id,
                **path_keys(row.path),
                "scans": row.scans,
                "held": row.held,
                **facts(row.facts),
            }
            for row in rows
        ]
    }


def accepted(rows: Sequence[MissingImage]) -> Document:
    """`missing accept`."""
    return {"accepted": [{"id": row.id, **path_keys(row.path)} for row in rows]}


def removed(results: Sequence[Removed]) -> Document:
    """`remove`; the keys of the first image are repeated outside the list."""
    rows = [_removed(one) for one in results]
    return {**rows[0], "removed": rows}


def _removed(result: Removed) -> Document:
    return {
        "id": result.id,
        **path_keys(result.path),
        "copies": [{"id": one, **path_keys(path)} for one, path in result.copies],
        "copies_removed": result.copies_removed,
    }
