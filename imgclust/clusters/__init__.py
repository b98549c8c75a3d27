"""Recluster: makes clusterings beside the watcher, keeps ids, assigns arrivals."""

from imgclust.clusters.clustering_history import (
    ClusterLife,
    LifeEvent,
    PastClustering,
    history,
    life,
)
from imgclust.clusters.correction_conflicts import (
    ContradictionError,
    TooFewClustersError,
    correction_text,
)
from imgclust.clusters.correction_demands import enforce, violations
from imgclust.clusters.model import ArrivalAssigner, ClusterResult, Model, SweepResult
from imgclust.clusters.schedule import AutomaticClustering, is_due
from imgclust.clusters.service import Recluster
from imgclust.clusters.similarity import Similarity, current_similarity, likeness_to, similarity_of
from imgclust.clusters.stored_sweeps import PreviewedCluster, Previewer, SweepPreview
from imgclust.clusters.suggestions import Drifting, SuggestionUpkeep, current_drift

__all__ = [
    "ArrivalAssigner",
    "AutomaticClustering",
    "ClusterLife",
    "ClusterResult",
    "ContradictionError",
    "Drifting",
    "LifeEvent",
    "Model",
    "PastClustering",
    "PreviewedCluster",
    "Previewer",
    "Recluster",
    "Similarity",
    "SuggestionUpkeep",
    "SweepPreview",
    "SweepResult",
    "TooFewClustersError",
    "correction_text",
    "current_drift",
    "current_similarity",
    "enforce",
    "history",
    "is_due",
    "life",
    "likeness_to",
    "similarity_of",
    "violations",
]
