"""Paths that need a look: file events where they can be had, and the scan that guarantees."""

from __future__ import annotations

from imgclust.watcher.filesystems import (
    WatchLimits,
    filesystem_type,
    is_network,
    mount_points,
    watch_limits,
)
from imgclust.watcher.walk import excluded_name, scan
from imgclust.watcher.watcher import Watcher

__all__ = [
    "WatchLimits",
    "Watcher",
    "excluded_name",
    "filesystem_type",
    "is_network",
    "mount_points",
    "scan",
    "watch_limits",
]
