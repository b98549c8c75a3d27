"""The JSON document of each result (docs: keys may be added, never changed)."""

from __future__ import annotations

import base64
import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.collection import (
        ClusterDetails,
        ClusterResult,
        ClusterRow,
        DoctorResult,
        Event,
        IngestResult,
        LinksResult,
        Listed,
        MapResult,
        Member,
        MissingImage,
        Quarantined,
        QueryResult,
        Removed,
        Status,
        SweepResult,
        Weights,
    )

Document = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """The document on one line; numbers that JSON has no word for become null."""
    return json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)


def error(code: str, message: str) -> Document:
    """A failure."""
    return {"error": {"code": code, "message": message}}


def status(result: Status) -> Document:
    """`status`."""
    current = result.clustering
    document = {
        "collection": result.collection,
        "recipe": result.recipe,
        "images": result.images,
        "distinct": result.distinct,
        "quarantined": result.quarantined,
        "skipped": dict(result.skipped),
        "pending": result.pending,
        "missing": result.missing,
        "held": result.held_images,
        "clusters": result.clusters,
        "clustering": None
        if current is None
        else {
            "id": current.id,
            "k": current.k,
            "space": current.space,
            "inertia": current.inertia,
            "created": current.created,
            "provisional": current.provisional,
        },
        "unassigned": result.unassigned,
        "roots": [_text(root) for root in result.roots],
        "links": {"mode": result.link_mode, **_path(result.link_folder)},
        "watching": result.watching,
    }
    if any(_loses(root) for root in result.roots):
        document["roots_bytes"] = [_bytes(root) for root in result.roots]
    return document


def query(result: QueryResult) -> Document:
    """`query`."""
    return {
        "query": _text(os.fsencode(result.query)),
        "neighbours": [
            {"id": row.id, **_path(row.path), "score": row.score, "cluster": row.cluster}
            for row in result.neighbours
        ],
    }


def sweep(result: SweepResult) -> Document:
    """`sweep`."""
    return {
        "space": result.space,
        "n": result.n,
        "k": list(result.k),
        "inertia": list(result.inertia),
        "knee": result.knee,
        "chart": None if result.chart is None else _text(os.fsencode(result.chart)),
    }


def cluster(result: ClusterResult) -> Document:
    """`cluster`."""
    return {
        "clustering": result.clustering,
        "k": result.k,
        "chosen_by": result.chosen_by,
        "space": result.space,
        "inertia": result.inertia,
        "sizes": {str(one): number for one, number in result.sizes.items()},
        "kept": list(result.kept),
        "split": list(result.split),
        "merged": list(result.merged),
        "new": list(result.new),
        "gone": list(result.gone),
        "moved": result.moved,
    }


def clusters(rows: Sequence[ClusterRow]) -> Document:
    """`clusters`."""
    return {"clusters": [cluster_row(row) for row in rows]}


def cluster_row(row: ClusterRow) -> Document:
    """A line of `clusters`, and `clusters name`."""
    return {
        "id": row.id,
        "name": row.name,
        "size": row.size,
        "coherence": row.coherence,
        "medoid": row.medoid,
    }


def cluster_details(result: ClusterDetails) -> Document:
    """`clusters show`."""
    return {
        **cluster_row(result.row),
        "representatives": [_member(one) for one in result.representatives],
        "nearest": [{"id": other, "distance": distance} for other, distance in result.nearest],
        "images": [_member(one) for one in result.members],
        "sheet": None if result.sheet is None else _text(os.fsencode(result.sheet)),
    }


def view(result: MapResult) -> Document:
    """`view`."""
    return {
        "chart": _text(os.fsencode(result.path)),
        "method": result.method,
        "dims": result.dims,
        "n": result.n,
        "placed": result.placed,
        "refitted": result.refitted,
    }


def links(result: LinksResult) -> Document:
    """`links`."""
    return {
        "links": result.links,
        "created": result.created,
        "removed": result.removed,
        "missing": result.missing,
        "stale": result.stale,
        "foreign": len(result.foreign),
    }


def quarantine(rows: Sequence[Quarantined]) -> Document:
    """`quarantine`."""
    return {
        "quarantined": [
            {
                **_path(row.path),
                "reason": row.reason,
                "tries": row.tries,
                "since": _moment(row.since),
            }
            for row in rows
        ]
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
    }


def event(one: Event, wall: float) -> Document:
    """A line of `watch`."""
    return {
        "event": one.kind,
        "time": _moment(wall),
        **({"path": None} if one.path is None else _path(one.path)),
        "id": one.image,
        "cluster": one.cluster,
        "message": one.sentence,
    }


def missing(rows: Sequence[MissingImage]) -> Document:
    """`missing`."""
    return {
        "missing": [
            {"id": row.id, **_path(row.path), "scans": row.scans, "held": row.held} for row in rows
        ]
    }


def accepted(rows: Sequence[MissingImage]) -> Document:
    """`missing accept`."""
    return {"accepted": [{"id": row.id, **_path(row.path)} for row in rows]}


def removed(result: Removed) -> Document:
    """`remove`."""
    return {"id": result.id, **_path(result.path)}


def doctor(result: DoctorResult) -> Document:
    """`doctor`."""
    return {
        "ok": result.ok,
        "checks": [
            {"name": one.name, "ok": one.ok, "message": one.sentence, "repaired": one.repaired}
            for one in result.checks
        ],
        "advisories": [
            {"name": one.name, "ok": one.ok, "message": one.sentence} for one in result.advisories
        ],
    }


def weights_list(rows: Sequence[Listed]) -> Document:
    """`weights list`."""
    return {
        "weights": [
            {
                "name": row.name,
                **_path(row.path),
                "state": row.state,
                "sha256": row.sha256,
                "bytes": row.bytes,
            }
            for row in rows
        ]
    }


def weights_file(result: Weights) -> Document:
    """`weights download` and `weights verify`."""
    return {
        "name": result.name,
        "structure": result.structure,
        "sha256": result.sha256,
        **_path(result.path),
    }


def _member(one: Member) -> Document:
    return {"id": one.id, **_path(one.path), "distance": one.distance}


def _path(path: bytes | os.PathLike[str]) -> Document:
    raw = os.fsencode(path)
    return {"path": _text(raw), **({"path_bytes": _bytes(raw)} if _loses(raw) else {})}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _bytes(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _loses(raw: bytes) -> bool:
    return _text(raw).encode("utf-8") != raw


def _moment(wall: float) -> str:
    return datetime.datetime.fromtimestamp(wall, datetime.UTC).isoformat(timespec="seconds")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
