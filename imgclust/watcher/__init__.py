"""Paths that need a look: file events where they can be had, and the scan that guarantees."""

from __future__ import annotations

from imgclust.watcher.exclusion import Exclusion, path_pattern
from imgclust.watcher.watcher import Watcher, WatchLimits, scan, watch_limits

__all__ = [
    "Exclusion",
    "WatchLimits",
    "Watcher",
    "path_pattern",
    "scan",
    "watch_limits",
]
