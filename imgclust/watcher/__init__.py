"""Paths that need a look: file events where they can be had, and the scan that guarantees."""

from __future__ import annotations

from imgclust.watcher.exclusion import Exclusion, path_pattern
from imgclust.watcher.filesystems import (
    WatchLimits,
    filesystem_type,
    is_network,
    mount_points,
    watch_limits,
)
from imgclust.watcher.walk import scan
from imgclust.watcher.watcher import Watcher

__all__ = [
    "Exclusion",
    "WatchLimits",
    "Watcher",
    "filesystem_type",
    "is_network",
    "mount_points",
    "path_pattern",
    "scan",
    "watch_limits",
]
