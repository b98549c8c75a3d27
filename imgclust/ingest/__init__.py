"""Ingest: takes images in, once each, and keeps the catalog true to the disk."""

from imgclust.ingest.backoff import (
    Pause,
    begin_pause,
    current_pause,
    end_pause,
    in_hours,
    store_hours,
)
from imgclust.ingest.commit import Assigner, Embedded
from imgclust.ingest.environment import (
    Clock,
    Disk,
    LocalDisk,
    Scope,
    SystemClock,
)
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.loop import Ingest
from imgclust.ingest.mounts import HeldFolder, Holds, forget_lost_mounts, held_folders
from imgclust.ingest.upkeep import Clusters, Dependencies, Events

__all__ = [
    "Assigner",
    "Clock",
    "Clusters",
    "Counts",
    "Dependencies",
    "Disk",
    "Embedded",
    "Emit",
    "Event",
    "Events",
    "HeldFolder",
    "Holds",
    "Ingest",
    "IngestResult",
    "LocalDisk",
    "Pause",
    "Scope",
    "SystemClock",
    "begin_pause",
    "current_pause",
    "end_pause",
    "forget_lost_mounts",
    "held_folders",
    "in_hours",
    "store_hours",
]
