"""Documents about clusters, maps and links."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.cli.documents.output import Document, facts, moment, path_keys, text

if TYPE_CHECKING:
    from imgclust.collection import (
        ClusterDetails,
        ClusterLife,
        ClusterResult,
        ClusterRow,
        LinksResult,
        MapResult,
        Member,
        PastClustering,
        SweepResult,
    )


def sweep(result: SweepResult) -> Document:
    """`sweep`."""
    return {
        "space": result.space,
        "n": result.n,
        "k": list(result.k),
        "inertia": list(result.inertia),
        "knee": result.knee,
        "chart": None if result.chart is None else text(os.fsencode(result.chart)),
        **{name: list(values) for name, values in result.criteria.items()},
        "preferred": dict(result.preferred),
        "seconds": round(result.seconds, 3),
        "complete": result.complete,
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
        "returned": list(result.returned),
        "frozen": list(result.frozen),
    }


def history(clusterings: Sequence[PastClustering]) -> Document:
    """`clusters history`."""
    return {
        "clusterings": [
            {
                "id": one.id,
                "generation": one.generation,
                "previous": one.previous,
                "published": moment(one.published),
                "current": one.current,
                "undone": one.undone,
                "provisional": one.provisional,
                "k": one.k,
                "chosen_by": one.chosen_by,
                "space": one.space,
                "inertia": one.inertia,
                "moved": one.moved,
                **one.lineage,
                "words": list(one.words),
            }
            for one in clusterings
        ]
    }


def life(result: ClusterLife) -> Document:
    """`clusters history ID`."""
    return {
        "id": result.id,
        "name": result.name,
        "alive": result.alive,
        "life": [
            {
                "clustering": one.clustering,
                "generation": one.generation,
                "published": moment(one.published),
                "current": one.current,
                "undone": one.undone,
                "images": one.images,
                "words": list(one.words),
            }
            for one in result.events
        ],
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
        "outliers": row.outliers,
        "arrivals": row.drift.arrivals,
        "drift": row.drift.ratio,
        "drift_high": row.drift.high,
        "frozen": row.frozen,
    }


def cluster_details(result: ClusterDetails) -> Document:
    """`clusters show`."""
    return {
        **cluster_row(result.row),
        "representatives": [_member(one) for one in result.representatives],
        "nearest": [{"id": other, "distance": distance} for other, distance in result.nearest],
        "images": [_member(one) for one in result.members],
        "sheet": None if result.sheet is None else text(os.fsencode(result.sheet)),
    }


def view(result: MapResult) -> Document:
    """`view`."""
    return {
        "chart": text(os.fsencode(result.path)),
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
        "moved": result.moved,
        "dangling": result.dangling,
    }


def _member(one: Member) -> Document:
    return {
        "id": one.id,
        **path_keys(one.path),
        "distance": one.distance,
        "missing": one.missing,
        **facts(one.facts),
    }
