"""Collection: what a person works with; opens the parts and offers one method a command.

Annotations in this package write `collection.SweepResult`: a name of this module, which
`typing.get_type_hints` has it load, and which a command that does not return one never does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.backup import Backup, Manifest, Restored
    from imgclust.catalog import Facts, KeptCatalog, Quarantined
    from imgclust.clustering import Drift
    from imgclust.clusters import (
        ClusterLife,
        ClusterResult,
        Drifting,
        LifeEvent,
        PastClustering,
        SweepResult,
    )
    from imgclust.clusters import Recluster as Recluster
    from imgclust.collection.collection import Collection
    from imgclust.collection.embedder import download_weights, list_weights, verify_weights
    from imgclust.collection.folders import (
        Folders,
        IndexFolder,
        cache_folder,
        collections_in,
        find_index_folder,
    )
    from imgclust.collection.management import (
        CollectionList,
        CollectionPlace,
        CollectionRow,
        Deleted,
        collection_row,
        create_collection,
        delete_collection,
        list_collections,
        rename_collection,
        restore_collection,
    )
    from imgclust.collection.results import (
        ClusterDetails,
        ClusterRow,
        CurrentClustering,
        DamagedImage,
        Dismissed,
        Member,
        MissingImage,
        MovedRoot,
        Removed,
        RemovedRoot,
        RootRow,
        Standing,
        Status,
    )
    from imgclust.collection.selection import Selection
    from imgclust.collection.setting_origins import (
        EffectiveSettings,
        SettingRow,
        effective_settings,
    )
    from imgclust.doctor import Advisory, Check, DoctorResult
    from imgclust.duplicates import Duplicate, DuplicateGroup, DuplicatesResult, Thresholds
    from imgclust.export import ExportResult
    from imgclust.images import Region
    from imgclust.images import ThumbnailStore as ThumbnailStore
    from imgclust.ingest import Emit, Event, IngestResult
    from imgclust.links import Linking as Linking
    from imgclust.links import LinksResult
    from imgclust.maps import MapResult
    from imgclust.reembed import ReembedResult
    from imgclust.report import ReportResult
    from imgclust.search import LiveIndex as LiveIndex
    from imgclust.search import Neighbour, QueryResult
    from imgclust.watcher import Exclusion
    from imgclust.weights import Listed, Weights

__all__ = [
    "Advisory",
    "Backup",
    "Check",
    "ClusterDetails",
    "ClusterLife",
    "ClusterResult",
    "ClusterRow",
    "Collection",
    "CollectionList",
    "CollectionPlace",
    "CollectionRow",
    "CurrentClustering",
    "DamagedImage",
    "Deleted",
    "Dismissed",
    "DoctorResult",
    "Drift",
    "Drifting",
    "Duplicate",
    "DuplicateGroup",
    "DuplicatesResult",
    "EffectiveSettings",
    "Emit",
    "Event",
    "Exclusion",
    "ExportResult",
    "Facts",
    "Folders",
    "IndexFolder",
    "IngestResult",
    "KeptCatalog",
    "LifeEvent",
    "LinksResult",
    "Listed",
    "Manifest",
    "MapResult",
    "Member",
    "MissingImage",
    "MovedRoot",
    "Neighbour",
    "PastClustering",
    "Quarantined",
    "QueryResult",
    "ReembedResult",
    "Region",
    "Removed",
    "RemovedRoot",
    "ReportResult",
    "Restored",
    "RootRow",
    "Selection",
    "SettingRow",
    "Standing",
    "Status",
    "SweepResult",
    "Thresholds",
    "Weights",
    "cache_folder",
    "collection_row",
    "collections_in",
    "create_collection",
    "delete_collection",
    "download_weights",
    "effective_settings",
    "find_index_folder",
    "list_collections",
    "list_weights",
    "rename_collection",
    "restore_collection",
    "verify_weights",
]

# Which module each name above is loaded from, on first use: a command loads what it works with.
_MODULES = {
    "imgclust.backup": ("Backup", "Manifest", "Restored"),
    "imgclust.catalog": ("Facts", "KeptCatalog", "Quarantined"),
    "imgclust.clustering": ("Drift",),
    "imgclust.collection.collection": ("Collection",),
    "imgclust.collection.setting_origins": (
        "EffectiveSettings",
        "SettingRow",
        "effective_settings",
    ),
    "imgclust.collection.folders": (
        "Folders",
        "IndexFolder",
        "cache_folder",
        "collections_in",
        "find_index_folder",
    ),
    "imgclust.collection.management": (
        "CollectionList",
        "CollectionPlace",
        "CollectionRow",
        "Deleted",
        "collection_row",
        "create_collection",
        "delete_collection",
        "list_collections",
        "rename_collection",
        "restore_collection",
    ),
    "imgclust.collection.results": (
        "ClusterDetails",
        "ClusterRow",
        "CurrentClustering",
        "DamagedImage",
        "Dismissed",
        "Member",
        "MissingImage",
        "MovedRoot",
        "Removed",
        "RemovedRoot",
        "RootRow",
        "Standing",
        "Status",
    ),
    "imgclust.collection.embedder": ("download_weights", "list_weights", "verify_weights"),
    "imgclust.collection.selection": ("Selection",),
    "imgclust.doctor": ("Advisory", "Check", "DoctorResult"),
    "imgclust.duplicates": ("Duplicate", "DuplicateGroup", "DuplicatesResult", "Thresholds"),
    "imgclust.export": ("ExportResult",),
    "imgclust.images": ("Region", "ThumbnailStore"),
    "imgclust.ingest": ("Emit", "Event", "IngestResult"),
    "imgclust.links": ("Linking", "LinksResult"),
    "imgclust.maps": ("MapResult",),
    "imgclust.clusters": (
        "ClusterLife",
        "ClusterResult",
        "Drifting",
        "LifeEvent",
        "PastClustering",
        "Recluster",
        "SweepResult",
    ),
    "imgclust.reembed": ("ReembedResult",),
    "imgclust.report": ("ReportResult",),
    "imgclust.search": ("LiveIndex", "Neighbour", "QueryResult"),
    "imgclust.watcher": ("Exclusion",),
    "imgclust.weights": ("Listed", "Weights"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
