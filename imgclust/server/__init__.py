"""The service: an HTTP API and pages over collections, beside their watcher."""
