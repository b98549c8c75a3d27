"""Recluster: makes clusterings beside the watcher, keeps ids, assigns arrivals."""

from imgclust.clusters.clustering_history import (
    ClusterLife,
    LifeEvent,
    PastClustering,
    history,
    life,
)
from imgclust.clusters.corrections import ContradictionError, enforce, said, violations
from imgclust.clusters.drift import Drifting, drifting
from imgclust.clusters.model import ArrivalAssigner, Model
from imgclust.clusters.results import ClusterResult, SweepResult
from imgclust.clusters.schedule import Automatic, is_due
from imgclust.clusters.service import Recluster
from imgclust.clusters.similarity import Similarity, current_similarity, likeness_to, similarity_of
from imgclust.clusters.suggestions import SuggestionUpkeep
from imgclust.clusters.sweep_preview import PreviewedCluster, Previewer, SweepPreview

__all__ = [
    "ArrivalAssigner",
    "Automatic",
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
    "current_similarity",
    "drifting",
    "enforce",
    "history",
    "is_due",
    "life",
    "likeness_to",
    "said",
    "similarity_of",
    "violations",
]
