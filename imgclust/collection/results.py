"""The frozen results of a collection's methods, and what its callers pass, loaded on first use.

An annotation `results.SweepResult` costs nothing until `typing.get_type_hints` asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.backup import Backup as Backup
    from imgclust.backup import Manifest as Manifest
    from imgclust.backup import Restored as Restored
    from imgclust.catalog import Facts as Facts
    from imgclust.catalog import KeptCatalog as KeptCatalog
    from imgclust.catalog import Quarantined as Quarantined
    from imgclust.catalog import StoredJob as StoredJob
    from imgclust.catalog import Suggestion as Suggestion
    from imgclust.clustering import Drift as Drift
    from imgclust.clusters import ClusterLife as ClusterLife
    from imgclust.clusters import ClusterResult as ClusterResult
    from imgclust.clusters import Drifting as Drifting
    from imgclust.clusters import LifeEvent as LifeEvent
    from imgclust.clusters import PastClustering as PastClustering
    from imgclust.clusters import PreviewedCluster as PreviewedCluster
    from imgclust.clusters import SweepPreview as SweepPreview
    from imgclust.clusters import SweepResult as SweepResult
    from imgclust.clusters import TooFewClustersError as TooFewClustersError
    from imgclust.collection.activity import Activity as Activity
    from imgclust.collection.activity import RecentChange as RecentChange
    from imgclust.collection.clusters import ClusterDetails as ClusterDetails
    from imgclust.collection.clusters import ClusterRow as ClusterRow
    from imgclust.collection.clusters import Member as Member
    from imgclust.collection.correction_results import AcceptedLinks as AcceptedLinks
    from imgclust.collection.correction_results import Answer as Answer
    from imgclust.collection.correction_results import Corrected as Corrected
    from imgclust.collection.correction_results import CorrectedImage as CorrectedImage
    from imgclust.collection.correction_results import CorrectionList as CorrectionList
    from imgclust.collection.correction_results import CorrectionRow as CorrectionRow
    from imgclust.collection.correction_results import LookAlike as LookAlike
    from imgclust.collection.correction_results import Paired as Paired
    from imgclust.collection.correction_results import PutBackLink as PutBackLink
    from imgclust.collection.correction_results import Question as Question
    from imgclust.collection.correction_results import QuestionImage as QuestionImage
    from imgclust.collection.correction_results import Questions as Questions
    from imgclust.collection.correction_results import WaitingLink as WaitingLink
    from imgclust.collection.corrections import Corrections as Corrections
    from imgclust.collection.duplicates import Dismissed as Dismissed
    from imgclust.collection.duplicates import FoundCopy as FoundCopy
    from imgclust.collection.duplicates import FoundDuplicates as FoundDuplicates
    from imgclust.collection.duplicates import FoundGroup as FoundGroup
    from imgclust.collection.gallery import SweepCurve as SweepCurve
    from imgclust.collection.images import DamagedImage as DamagedImage
    from imgclust.collection.images import MissingImage as MissingImage
    from imgclust.collection.images import Removed as Removed
    from imgclust.collection.images import Selection as Selection
    from imgclust.collection.management import CollectionList as CollectionList
    from imgclust.collection.management import CollectionPlace as CollectionPlace
    from imgclust.collection.management import CollectionRow as CollectionRow
    from imgclust.collection.management import Deleted as Deleted
    from imgclust.collection.management import EffectiveSettings as EffectiveSettings
    from imgclust.collection.management import SettingRow as SettingRow
    from imgclust.collection.map_points import MapCluster as MapCluster
    from imgclust.collection.map_points import MapOverview as MapOverview
    from imgclust.collection.roots import MovedRoot as MovedRoot
    from imgclust.collection.roots import RemovedRoot as RemovedRoot
    from imgclust.collection.roots import RootRow as RootRow
    from imgclust.collection.service import FeedEvent as FeedEvent
    from imgclust.collection.service import FeedPart as FeedPart
    from imgclust.collection.service import ImageDetails as ImageDetails
    from imgclust.collection.service import ImagePage as ImagePage
    from imgclust.collection.service import News as News
    from imgclust.collection.service import Original as Original
    from imgclust.collection.service import PictureWorkers as PictureWorkers
    from imgclust.collection.service import Service as Service
    from imgclust.collection.status import CurrentClustering as CurrentClustering
    from imgclust.collection.status import Paused as Paused
    from imgclust.collection.status import Standing as Standing
    from imgclust.collection.status import Status as Status
    from imgclust.doctor import Advisory as Advisory
    from imgclust.doctor import Check as Check
    from imgclust.doctor import DoctorResult as DoctorResult
    from imgclust.duplicates import Duplicate as Duplicate
    from imgclust.duplicates import DuplicateGroup as DuplicateGroup
    from imgclust.duplicates import DuplicatesResult as DuplicatesResult
    from imgclust.duplicates import Thresholds as Thresholds
    from imgclust.export import ExportResult as ExportResult
    from imgclust.images import Region as Region
    from imgclust.ingest import Emit as Emit
    from imgclust.ingest import Event as Event
    from imgclust.ingest import IngestResult as IngestResult
    from imgclust.ingest import Pause as Pause
    from imgclust.links import LinksResult as LinksResult
    from imgclust.maps import MapResult as MapResult
    from imgclust.paths import Folders as Folders
    from imgclust.paths import IndexFolder as IndexFolder
    from imgclust.reembed import ReembedResult as ReembedResult
    from imgclust.report import ReportResult as ReportResult
    from imgclust.search import Neighbour as Neighbour
    from imgclust.search import QueryResult as QueryResult
    from imgclust.watcher import Exclusion as Exclusion
    from imgclust.weights import Listed as Listed
    from imgclust.weights import Weights as Weights

_HOMES = {
    "backup": "Backup Manifest Restored",
    "catalog": "Facts KeptCatalog Quarantined Suggestion StoredJob",
    "clustering": "Drift",
    "clusters": "ClusterLife ClusterResult Drifting LifeEvent PastClustering PreviewedCluster "
    "SweepPreview SweepResult TooFewClustersError",
    "collection.activity": "Activity RecentChange",
    "collection.clusters": "ClusterDetails ClusterRow Member",
    "collection.correction_results": "AcceptedLinks Answer Corrected CorrectedImage CorrectionList "
    "CorrectionRow LookAlike Paired PutBackLink Question QuestionImage Questions WaitingLink",
    "collection.corrections": "Corrections",
    "collection.duplicates": "Dismissed FoundCopy FoundDuplicates FoundGroup",
    "collection.images": "DamagedImage MissingImage Removed Selection",
    "collection.gallery": "SweepCurve",
    "collection.management": "CollectionList CollectionPlace CollectionRow "
    "Deleted EffectiveSettings SettingRow",
    "collection.map_points": "MapCluster MapOverview",
    "collection.roots": "MovedRoot RemovedRoot RootRow",
    "collection.service": "FeedEvent FeedPart ImageDetails ImagePage News Original PictureWorkers "
    "Service",
    "collection.status": "CurrentClustering Paused Standing Status",
    "doctor": "Advisory Check DoctorResult",
    "duplicates": "Duplicate DuplicateGroup DuplicatesResult Thresholds",
    "export": "ExportResult",
    "images": "Region",
    "ingest": "Emit Event IngestResult Pause",
    "links": "LinksResult",
    "maps": "MapResult",
    "paths": "Folders IndexFolder",
    "reembed": "ReembedResult",
    "report": "ReportResult",
    "search": "Neighbour QueryResult",
    "watcher": "Exclusion",
    "weights": "Listed Weights",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers read the imports above
    __all__ = sorted(_HOME_OF)

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"imgclust.{_HOME_OF[name]}"), name)
        return value
