"""The frozen results of a collection's methods, and what its callers pass, loaded on first use.

An annotation `results.SweepResult` costs nothing until `typing.get_type_hints` asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.backup.file import Manifest as Manifest
    from imgclust.backup.restore import Restored as Restored
    from imgclust.backup.write import Backup as Backup
    from imgclust.catalog.clusterings import Suggestion as Suggestion
    from imgclust.catalog.copies import KeptCatalog as KeptCatalog
    from imgclust.catalog.details import Facts as Facts
    from imgclust.catalog.feed import StoredJob as StoredJob
    from imgclust.catalog.observations import Quarantined as Quarantined
    from imgclust.clustering.cluster_stats import Drift as Drift
    from imgclust.clusters.clustering_history import ClusterLife as ClusterLife
    from imgclust.clusters.clustering_history import LifeEvent as LifeEvent
    from imgclust.clusters.clustering_history import PastClustering as PastClustering
    from imgclust.clusters.correction_conflicts import TooFewClustersError as TooFewClustersError
    from imgclust.clusters.model import ClusterResult as ClusterResult
    from imgclust.clusters.model import SweepResult as SweepResult
    from imgclust.clusters.stored_sweeps import PreviewedCluster as PreviewedCluster
    from imgclust.clusters.stored_sweeps import SweepPreview as SweepPreview
    from imgclust.clusters.suggestions import Drifting as Drifting
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
    from imgclust.doctor.checks import Advisory as Advisory
    from imgclust.doctor.checks import Check as Check
    from imgclust.doctor.checks import DoctorResult as DoctorResult
    from imgclust.duplicates.search import Duplicate as Duplicate
    from imgclust.duplicates.search import DuplicateGroup as DuplicateGroup
    from imgclust.duplicates.search import DuplicatesResult as DuplicatesResult
    from imgclust.duplicates.thresholds import Thresholds as Thresholds
    from imgclust.export.run import ExportResult as ExportResult
    from imgclust.images.decoder import Region as Region
    from imgclust.ingest.backoff import Pause as Pause
    from imgclust.ingest.events import Emit as Emit
    from imgclust.ingest.events import Event as Event
    from imgclust.ingest.events import IngestResult as IngestResult
    from imgclust.links.syncer import LinksResult as LinksResult
    from imgclust.maps import MapResult as MapResult
    from imgclust.paths import Folders as Folders
    from imgclust.paths import IndexFolder as IndexFolder
    from imgclust.reembed import ReembedResult as ReembedResult
    from imgclust.report.html_report import ReportResult as ReportResult
    from imgclust.search.similar_images import Neighbour as Neighbour
    from imgclust.search.similar_images import QueryResult as QueryResult
    from imgclust.watcher.exclusion import Exclusion as Exclusion
    from imgclust.weights.loader import Weights as Weights
    from imgclust.weights.resolver import Listed as Listed

_HOMES = {
    "backup.file": "Manifest",
    "backup.restore": "Restored",
    "backup.write": "Backup",
    "catalog.clusterings": "Suggestion",
    "catalog.copies": "KeptCatalog",
    "catalog.details": "Facts",
    "catalog.feed": "StoredJob",
    "catalog.observations": "Quarantined",
    "clustering.cluster_stats": "Drift",
    "clusters.clustering_history": "ClusterLife LifeEvent PastClustering",
    "clusters.correction_conflicts": "TooFewClustersError",
    "clusters.model": "ClusterResult SweepResult",
    "clusters.stored_sweeps": "PreviewedCluster SweepPreview",
    "clusters.suggestions": "Drifting",
    "collection.activity": "Activity RecentChange",
    "collection.clusters": "ClusterDetails ClusterRow Member",
    "collection.correction_results": "AcceptedLinks Answer Corrected CorrectedImage CorrectionList "
    "CorrectionRow LookAlike Paired PutBackLink Question QuestionImage Questions WaitingLink",
    "collection.corrections": "Corrections",
    "collection.duplicates": "Dismissed FoundCopy FoundDuplicates FoundGroup",
    "collection.gallery": "SweepCurve",
    "collection.images": "DamagedImage MissingImage Removed Selection",
    "collection.management": "CollectionList CollectionPlace CollectionRow Deleted "
    "EffectiveSettings SettingRow",
    "collection.map_points": "MapCluster MapOverview",
    "collection.roots": "MovedRoot RemovedRoot RootRow",
    "collection.service": "FeedEvent FeedPart ImageDetails ImagePage News Original PictureWorkers "
    "Service",
    "collection.status": "CurrentClustering Paused Standing Status",
    "doctor.checks": "Advisory Check DoctorResult",
    "duplicates.search": "Duplicate DuplicateGroup DuplicatesResult",
    "duplicates.thresholds": "Thresholds",
    "export.run": "ExportResult",
    "images.decoder": "Region",
    "ingest.backoff": "Pause",
    "ingest.events": "Emit Event IngestResult",
    "links.syncer": "LinksResult",
    "maps": "MapResult",
    "paths": "Folders IndexFolder",
    "reembed": "ReembedResult",
    "report.html_report": "ReportResult",
    "search.similar_images": "Neighbour QueryResult",
    "watcher.exclusion": "Exclusion",
    "weights.loader": "Weights",
    "weights.resolver": "Listed",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers read the imports above
    __all__ = sorted(_HOME_OF)

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"imgclust.{_HOME_OF[name]}"), name)
        return value
