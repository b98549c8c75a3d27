"""Recluster: makes clusterings beside the watcher, keeps ids, assigns arrivals."""

from imgclust.recluster.automatic import Automatic, is_due
from imgclust.recluster.drifting import Drifting, drifting
from imgclust.recluster.history import ClusterLife, LifeEvent, PastClustering, history, life
from imgclust.recluster.model import ArrivalAssigner, Model
from imgclust.recluster.results import ClusterResult, SweepResult
from imgclust.recluster.run import Recluster

__all__ = [
    "ArrivalAssigner",
    "Automatic",
    "ClusterLife",
    "ClusterResult",
    "Drifting",
    "LifeEvent",
    "Model",
    "PastClustering",
    "Recluster",
    "SweepResult",
    "drifting",
    "history",
    "is_due",
    "life",
]
