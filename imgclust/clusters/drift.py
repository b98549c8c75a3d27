"""Drift of a clustering: the distances of its arrivals compared with those of its fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.clustering.drift_test import Drift, Spread, drift, pooled


@dataclass(frozen=True)
class Drifting:
    """Drift overall, and of each cluster by id."""

    overall: Drift
    clusters: Mapping[int, Drift]

    @property
    def high(self) -> tuple[int, ...]:
        """Ids of the clusters whose arrivals are too far from the centre."""
        return tuple(sorted(cluster for cluster, one in self.clusters.items() if one.high))

    @property
    def suggestion(self) -> str | None:
        """What to tell a person, None while the clusters still fit what arrives."""
        if self.overall.high and self.overall.ratio is not None:
            further = f"{self.overall.ratio:.2f} times as far from their centroids"
            return (
                f"new images lie {further} as those that the clusters were made from; "
                "imgclust cluster updates the clusters"
            )
        if self.high:
            named = ", ".join(str(cluster) for cluster in self.high[:5])
            more = f" and {len(self.high) - 5} more" if len(self.high) > 5 else ""
            return (
                f"new images are far from the centre of cluster {named}{more}; "
                "imgclust cluster updates the clusters"
            )
        return None


def current_drift(catalog: Catalog, clustering: Clustering) -> Drifting:
    """How far the arrivals of a clustering lie from its centroids."""
    came = {
        cluster: Spread(*facts)
        for cluster, facts in catalog.assignments.arrivals(clustering.id).items()
    }
    nothing = Spread(0, 0.0, 0.0)
    fitted = {
        one.cluster: Spread(one.contents, one.mean_distance, one.deviation)
        for one in clustering.described
    }
    clusters = {
        cluster: drift(known, came.get(cluster, nothing), comparisons=len(fitted))
        for cluster, known in fitted.items()
    }
    return Drifting(drift(pooled([*fitted.values()]), pooled([*came.values()])), clusters)
