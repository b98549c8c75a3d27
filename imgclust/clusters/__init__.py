"""Recluster: makes clusterings beside the watcher, keeps ids, assigns arrivals."""
