"""Ingest: takes images in, once each, and keeps the catalog true to the disk."""

from imgclust.ingest.committing import Assigner, Embedded
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.holds import HeldFolder, Holds, held_folders
from imgclust.ingest.loop import Ingest
from imgclust.ingest.mounts import forget_lost_mounts
from imgclust.ingest.parts import Clusters, Events, Parts
from imgclust.ingest.place import Clock, Disk, LocalDisk, Place, SystemClock, is_below

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
    "SystemClock",
    "forget_lost_mounts",
    "held_folders",
    "is_below",
]
