"""Paths that need a look: file events where they can be had, and the scan that guarantees."""

from __future__ import annotations

from imgclust.watcher.walk import scan
from imgclust.watcher.watcher import Watcher, WatchLimits, watch_limits

__all__ = [
    "WatchLimits",
    "Watcher",
    "scan",
    "watch_limits",
]
