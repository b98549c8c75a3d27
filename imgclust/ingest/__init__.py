"""Ingest: takes images in, once each, and keeps the catalog true to the disk."""
