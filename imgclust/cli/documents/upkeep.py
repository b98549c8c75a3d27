"""Documents about the collection and this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, in_base64, loses, moment, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import (
        DoctorResult,
        Drifting,
        ExportResult,
        Listed,
        ReembedResult,
        ReportResult,
        Status,
        Weights,
    )


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
            "created": moment(current.created),
            "provisional": current.provisional,
        },
        "unassigned": result.unassigned,
        "roots": [text(root) for root in result.roots],
        "links": {"mode": result.link_mode, **path_keys(result.link_folder)},
        "watching": result.watching,
        "drift": None if result.drift is None else _drift(result.drift),
        "removed": result.removed,
        "offline": [{**path_keys(path), "images": images} for path, images in result.offline],
        "damaged": result.damaged,
    }
    if any(loses(root) for root in result.roots):
        document["roots_bytes"] = [in_base64(root) for root in result.roots]
    return document


def _drift(found: Drifting) -> Document:
    return {
        "arrivals": found.overall.arrivals,
        "ratio": found.overall.ratio,
        "high": found.overall.high,
        "clusters": list(found.high),
        "suggestion": found.suggestion,
    }


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


def exported(result: ExportResult) -> Document:
    """`export` to a path."""
    return {
        "format": result.format,
        **({} if result.path is None else path_keys(result.path)),
        "images": result.images,
        "of": result.of,
        "embeddings": result.embeddings,
    }


def reported(result: ReportResult) -> Document:
    """`report`."""
    return {
        "report": text(os.fsencode(result.path)),
        "bytes": result.bytes,
        "clusters": result.clusters,
    }


def weights_list(rows: Sequence[Listed]) -> Document:
    """`weights list`."""
    return {
        "weights": [
            {
                "name": row.name,
                **path_keys(row.path),
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
        **path_keys(result.path),
    }


def reembedded(result: ReembedResult) -> Document:
    """`reembed`."""
    return {
        "from": result.before,
        "to": result.after,
        "distinct": result.contents,
        "embedded": result.embedded,
        "waiting": result.waiting,
        "clusters": result.clusters,
        "kept": result.kept,
        "seconds": round(result.seconds, 3),
        "dry_run": result.dry_run,
    }
