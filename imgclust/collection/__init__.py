"""Collection: what a person works with; opens the parts and offers one method a command."""

from imgclust.catalog import Quarantined
from imgclust.collection.collection import Collection
from imgclust.collection.folders import (
    Folders,
    IndexFolder,
    cache_folder,
    collections_in,
    find_index_folder,
)
from imgclust.collection.results import (
    ClusterDetails,
    ClusterRow,
    CurrentClustering,
    Member,
    MissingImage,
    Removed,
    Status,
)
from imgclust.collection.weighing import download_weights, list_weights, verify_weights
from imgclust.doctor import Advisory, Check, DoctorResult
from imgclust.ingest import Event, IngestResult
from imgclust.linking import LinksResult
from imgclust.maps import MapResult
from imgclust.recluster import ClusterResult, SweepResult
from imgclust.search import Neighbour, QueryResult
from imgclust.weights import Listed, Weights

__all__ = [
    "Advisory",
    "Check",
    "ClusterDetails",
    "ClusterResult",
    "ClusterRow",
    "Collection",
    "CurrentClustering",
    "DoctorResult",
    "Event",
    "Folders",
    "IndexFolder",
    "IngestResult",
    "LinksResult",
    "Listed",
    "MapResult",
    "Member",
    "MissingImage",
    "Neighbour",
    "Quarantined",
    "QueryResult",
    "Removed",
    "Status",
    "SweepResult",
    "Weights",
    "cache_folder",
    "collections_in",
    "download_weights",
    "find_index_folder",
    "list_weights",
    "verify_weights",
]
