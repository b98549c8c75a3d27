"""What is worth knowing but is not a disagreement."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.copies import kept_catalogs
from imgclust.catalog.integrity import sqlite_version
from imgclust.paths import ASIDE
from imgclust.watcher.watcher import watch_limits
from imgclust.weights import resolver
from imgclust.wording import size

# The WAL-reset fault (https://sqlite.org/wal.html#walresetbug), and the releases that fix it.
_FAULTY = ((3, 7, 0), (3, 51, 2))
_BACKPORTS = ((3, 44, 6), (3, 50, 7))
_LITTLE_BYTES = 1 << 30


@dataclass(frozen=True)
class Advisory:
    """One fact about this machine; `ok` False asks for attention and changes no exit code."""

    name: str
    ok: bool
    sentence: str


def has_wal_fault(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite may damage a catalog that two processes write and checkpoint."""
    low, high = _FAULTY
    fixed = any(version[:2] == fix[:2] and version >= fix for fix in _BACKPORTS)
    return low <= version <= high and not fixed


def advise(
    catalog: Catalog, *, folder: Path, cache: Path, watched_folders: int
) -> Sequence[Advisory]:
    """SQLite, free space, watches, weights, and what is kept from before upgrades."""
    return (
        _sqlite(),
        _space(folder),
        _watches(watched_folders),
        _weights(catalog, cache),
        *_upgrades(folder / ASIDE),
    )


def _sqlite() -> Advisory:
    version = sqlite_version()
    text = ".".join(map(str, version))
    if has_wal_fault(version):
        return Advisory(
            "sqlite", False, f"SQLite {text} has the WAL-reset fault; upgrade the package apsw"
        )
    return Advisory("sqlite", True, f"SQLite {text} is free of the WAL-reset fault")


def _space(folder: Path) -> Advisory:
    free = shutil.disk_usage(folder).free
    sentence = f"{free / 2**30:,.1f} GiB are free at {folder}"
    if free < _LITTLE_BYTES:
        return Advisory("space", False, f"only {sentence}; ingest waits when there is none")
    return Advisory("space", True, sentence)


def _watches(folders: int) -> Advisory:
    limit = watch_limits().watches
    if limit is None:
        return Advisory("watches", True, f"{folders:,} folders; this system reports no watch limit")
    if folders >= limit:
        return Advisory(
            "watches",
            False,
            f"{folders:,} folders, but only {limit:,} may be watched: roots are scanned instead; "
            "raise fs.inotify.max_user_watches",
        )
    return Advisory("watches", True, f"{folders:,} of {limit:,} watches are needed")


def _weights(catalog: Catalog, cache: Path) -> Advisory:
    kept = catalog.setting("weights")
    if kept is None:
        return Advisory("weights", True, "none are chosen before the first ingest")
    name = str(kept["name"])
    if name == "file":
        there = os.path.isfile(kept["path"])
        sentence = f"{kept['path']} is {'there' if there else 'gone: put it back to embed more'}"
        return Advisory("weights", there, sentence)
    for listed in resolver.listing(cache):
        if listed.name == name and listed.state == "ready" and listed.sha256 == kept["sha256"]:
            return Advisory("weights", True, f"{name} ({kept['sha256'][:12]}) is ready")
    return Advisory(
        "weights",
        False,
        f"{name} ({kept['sha256'][:12]}) is not on this machine; new images cannot be embedded "
        "until it is (imgclust weights download)",
    )


def _upgrades(aside: Path) -> list[Advisory]:
    return [
        Advisory(
            "upgrade",
            True,
            f"the catalog as it was before the upgrade from version {one.version} "
            f"({size(one.bytes)}) is kept in {one.path}; delete it when you will not go "
            "back to the older imgclust",
        )
        for one in kept_catalogs(aside)
    ]
