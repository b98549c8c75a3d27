"""Paths that need a look: file events where they can be had, and the scan that guarantees."""
