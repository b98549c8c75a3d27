"""Ingest: takes images in, once each, and keeps the catalog true to the disk."""

from imgclust.ingest.commit import Assigner, Embedded
from imgclust.ingest.dependencies import Clusters, Events, Parts
from imgclust.ingest.environment import Clock, Disk, LocalDisk, Place, SystemClock
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.loop import Ingest
from imgclust.ingest.mounts import HeldFolder, Holds, forget_lost_mounts, held_folders
from imgclust.ingest.rest import Rest, in_hours, keep_hours, pause, rest, resume

__all__ = [
    "Assigner",
    "Clock",
    "Clusters",
    "Counts",
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
    "Parts",
    "Place",
    "Rest",
    "SystemClock",
    "forget_lost_mounts",
    "held_folders",
    "in_hours",
    "keep_hours",
    "pause",
    "rest",
    "resume",
]
