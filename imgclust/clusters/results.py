"""What sweeping and clustering return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgclust.clustering.id_map import Matching


@dataclass(frozen=True)
class SweepResult:
    """Inertia of every k in a space, the knee, and the elbow picture.

    `complete` is False when the sweep was interrupted; `seconds` is all that it took. `criteria`
    are simplified_silhouette, calinski_harabasz and bic: a value for each k, larger is better;
    `preferred` the k from 2 to `compared_to` that each is largest at.
    """

    space: str
    n: int
    k: tuple[int, ...]
    inertia: tuple[float, ...]
    knee: int | None
    sentence: str
    chart: Path | None
    seconds: float
    complete: bool
    criteria: Mapping[str, tuple[float, ...]]
    preferred: Mapping[str, int]
    compared_to: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClusterResult:
    """A finished clustering and what happened to the clusters before it.

    `clustering` is None for a dry run; `sizes` counts images by cluster id; `moved` counts the
    images whose cluster id changed. `new` ids were never used before; those that an undo brings
    back are `returned`, with their names. `frozen` are the named clusters that were kept as they
    are. `continued`: the clusters before were the start of it, otherwise it started from nothing.
    `corrections` counts what people said about images and is satisfied, `corrected` the distinct
    images that it puts elsewhere than the fit.
    """

    clustering: int | None
    k: int
    chosen_by: str
    sentence: str
    space: str
    inertia: float
    sizes: Mapping[int, int]
    kept: tuple[Mapping[str, Any], ...]
    split: tuple[Mapping[str, Any], ...]
    merged: tuple[Mapping[str, Any], ...]
    new: tuple[int, ...]
    gone: tuple[Mapping[str, Any], ...]
    moved: int
    provisional: bool
    notes: tuple[str, ...]
    returned: tuple[Mapping[str, Any], ...] = ()
    frozen: tuple[int, ...] = ()
    continued: bool = False
    corrections: int = 0
    corrected: int = 0


def lineage(matching: Matching, names: Mapping[int, str]) -> dict[str, Any]:
    """Kept, split, merged, new, gone and moved, as stored and as JSON shows them."""
    return {
        "kept": [
            {"id": cluster, "images": images, "jaccard": round(jaccard, 4)}
            for cluster, images, jaccard in matching.kept
        ],
        "split": [{"from": cluster, "into": list(into)} for cluster, into in matching.split],
        "merged": [{"from": list(origin), "into": cluster} for origin, cluster in matching.merged],
        "new": list(matching.new),
        "gone": [{"id": cluster, "name": names.get(cluster)} for cluster in matching.gone],
        "moved": matching.moved,
    }


def lineage_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ClusterResult` that a lineage holds."""
    lists = ("kept", "split", "merged", "new", "gone")
    return {name: tuple(told[name]) for name in lists} | {"moved": told["moved"]}
