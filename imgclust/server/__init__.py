"""The service: an HTTP API and pages over collections, beside their watcher."""

from imgclust.server.process import Options, run

__all__ = ["Options", "run"]
