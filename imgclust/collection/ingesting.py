"""Images in: watch, add, and the quarantine tried again."""

from __future__ import annotations

import contextlib
import os
import stat as stat_bits
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog
from imgclust.collection import folders
from imgclust.collection.finishing import finish_links
from imgclust.collection.ingest import run
from imgclust.collection.moving import choose_links
from imgclust.collection.root_list import moved_folders
from imgclust.errors import (
    LockedError,
    NothingThereError,
    StoppedError,
    UsageError,
)
from imgclust.files import kind_of
from imgclust.ingest import (
    Counts,
    Emit,
    Event,
    IngestResult,
    LocalDisk,
)

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

# How often `add` looks whether another process has taken its paths, or lets it take them.
_WAIT_S = 0.2
# Requests written in one transaction: other processes are not kept waiting.
_CHUNK = 1000


def watch(
    collection: Opened,
    paths: Sequence[bytes],
    emit: Emit,
    *,
    once: bool,
    links: Path | None,
    cluster: bool,
) -> IngestResult:
    """See `Collection.watch`."""
    catalog = collection.catalog
    roots = [_root(path) for path in paths]
    with collection.ingest_lock():
        with catalog.transaction():
            choose_links(collection, links, roots)
            for root in roots:
                _keep_apart(collection, root)
            for root in roots:
                catalog.roots.put(root, "watched")
        watched = [root for root in catalog.roots.all() if root.kind == "watched"]
        if not watched:
            raise UsageError(
                f"the collection {collection.name!r} watches no folder yet; "
                "name one: imgclust watch FOLDER"
            )
        for known in watched:
            away = known.path not in roots and not os.path.isdir(known.path)
            if away and not catalog.images.count(known.id):  # else the scan says what is kept
                emit(Event("trouble", "this folder is not there now", known.path))
        return run(collection, emit, once=once, scan=True, cluster=cluster)


def add(collection: Opened, paths: Sequence[bytes], emit: Emit, *, cluster: bool) -> IngestResult:
    """See `Collection.add`."""
    if not paths:
        raise UsageError("add what? name at least one file or folder")
    catalog = collection.catalog
    tops: list[tuple[bytes, bool]] = []
    for path in paths:
        absolute = os.path.abspath(path)
        try:
            mode = os.stat(absolute).st_mode
        except OSError as error:
            raise UsageError(f"{os.fsdecode(absolute)} cannot be added: {error.strerror}") from None
        if not stat_bits.S_ISDIR(mode) and not stat_bits.S_ISREG(mode):
            kind = kind_of(mode)
            raise UsageError(f"{os.fsdecode(absolute)} is {kind}; name a file or a folder")
        real = os.path.realpath(absolute)
        _keep_apart(collection, real)
        tops.append((real, stat_bits.S_ISDIR(mode)))
    if catalog.setting("recipe") is not None:
        _ = collection.recipe  # other weights are refused before anything is queued
    arrivals = _Arrivals(catalog)
    wanted = _wanted(catalog, tops, emit)
    while part := list(islice(wanted, _CHUNK)):
        collection.stop.check()
        with catalog.transaction():
            for file, root in part:
                arrivals.request(file, root)
    return _take_in(collection, arrivals, emit, cluster=cluster)


def retry(collection: Opened, paths: Sequence[bytes], emit: Emit) -> IngestResult:
    """See `Collection.retry`."""
    catalog = collection.catalog
    wanted = [row.path for row in catalog.observations.quarantined()]
    if paths:
        asked = {os.path.abspath(path) for path in paths}
        unknown = asked - set(wanted)
        if unknown:
            name = os.fsdecode(min(unknown))
            raise NothingThereError(f"{name} is not in quarantine; see imgclust quarantine")
        wanted = sorted(asked)
    if not wanted:
        raise NothingThereError("nothing is in quarantine")
    arrivals = _Arrivals(catalog)
    with catalog.transaction():
        for path in wanted:
            known = catalog.observations.at(path)
            if known is not None:
                arrivals.request(path, known.root)
                catalog.observations.forget(path)
    return _take_in(collection, arrivals, emit, cluster=True)


def _root(path: bytes) -> bytes:
    real = os.path.realpath(path)
    shown = os.fsdecode(path)
    if not os.path.lexists(path):
        raise UsageError(f"the folder {shown} does not exist")
    if not os.path.isdir(real):
        raise UsageError(f"{shown} is not a folder; use imgclust add {shown} for a file")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {shown} cannot be read; check its permissions")
    return real


def _keep_apart(collection: Opened, path: bytes) -> None:
    for ours in (collection.folders.root, collection.link_folder):
        if folders.overlaps(os.fsencode(ours), path):
            raise UsageError(
                f"{os.fsdecode(path)} and our own folder {ours} lie inside each other; "
                "links of links would be ingested: choose other folders"
            )


def _wanted(
    catalog: Catalog, tops: Iterable[tuple[bytes, bool]], emit: Emit
) -> Iterator[tuple[bytes, int]]:
    """Each file to be added with its root.

    A folder is a root of its own. A single file belongs to the innermost root above it, and where
    there is none, to its folder.
    """
    roots = {root.path: root.id for root in catalog.roots.all()}

    def put(folder: bytes) -> int:
        with catalog.transaction():
            roots[folder] = catalog.roots.put(folder, "added").id
        return roots[folder]

    for top, is_folder in tops:
        if is_folder:
            root = put(top)
            yield from ((file, root) for file in _files(top, emit))
        else:
            known = next((roots[above] for above in _above(top) if above in roots), None)
            yield top, put(os.path.dirname(top)) if known is None else known


def _above(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, innermost first."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _files(top: bytes, emit: Emit) -> Iterator[bytes]:
    def trouble(folder: bytes, reason: str) -> None:
        emit(Event("trouble", f"cannot be read: {reason}", folder))

    for path, _ in LocalDisk().scan(top, skip=(), trouble=trouble):
        yield path


def _take_in(collection: Opened, arrivals: _Arrivals, emit: Emit, *, cluster: bool) -> IngestResult:
    """Ingest what was asked for, unless another process that ingests takes it."""
    waited = False
    while not arrivals.taken():
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(collection.ingest_lock())
            except LockedError:
                if not waited:
                    emit(Event("note", "another process is ingesting; it takes the files"))
                waited = True
            else:
                result = run(collection, emit, once=True, scan=False, cluster=cluster)
                return arrivals.result() if waited else result
        if collection.stop.wait(_WAIT_S):
            raise StoppedError("interrupted; the files stay queued, and are taken all the same")
        collection.progress("waiting for another process", *arrivals.progress)
    finish_links(collection)
    return replace(arrivals.result(), suggestions=moved_folders(collection.catalog))


class _Arrivals:
    """Paths that are asked for, followed in the catalog while another process takes them in."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._paths: dict[bytes, bool] = {}  # True: an image already when it was asked for
        self._waiting: list[bytes] = []
        self._began = time.monotonic()
        self._sequence = catalog.contents.sequence()

    def request(self, path: bytes, root: int) -> None:
        """Ask for a path; the caller holds the transaction."""
        self._catalog.requests.put(path, root)
        if path not in self._paths:
            self._paths[path] = self._catalog.images.at(path) is not None
            self._waiting.append(path)

    def taken(self) -> bool:
        """True when every path is at rest."""
        self._waiting = [path for path in self._waiting if not _at_rest(self._catalog, path)]
        return not self._waiting

    @property
    def progress(self) -> tuple[int, int]:
        """How many paths are at rest, of how many."""
        return len(self._paths) - len(self._waiting), len(self._paths)

    def result(self) -> IngestResult:
        """What has become of the paths."""
        catalog = self._catalog
        fresh = {
            content
            for _, content, action in catalog.contents.changes_after(self._sequence, 10**9)
            if action == "add"
        }
        counts = Counts()
        for path, before in self._paths.items():
            image = catalog.images.at(path)
            known = catalog.observations.at(path)
            if not _at_rest(catalog, path):
                counts.wait(path)
            elif image is not None and image.content in fresh:
                fresh.discard(image.content)
                counts.put(path, "ingested")
            elif image is not None:
                counts.put(path, "unchanged" if before else "reused")
            elif known is not None and known.state != "missing":
                counts.put(path, known.state)
        return counts.result(seconds=time.monotonic() - self._began)


def _at_rest(catalog: Catalog, path: bytes) -> bool:
    if catalog.requests.waits(path):
        return False
    known = catalog.observations.at(path)
    return known is None or known.state != "seen"
