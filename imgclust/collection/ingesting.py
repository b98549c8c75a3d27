"""Images in: watch, add, and the quarantine tried again."""

from __future__ import annotations

import os
import stat as stat_bits
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog
from imgclust.collection import folders
from imgclust.collection.networks import choose_recipe
from imgclust.collection.running import ingest_lock, is_watching, run
from imgclust.errors import (
    ImgclustError,
    LockedError,
    NothingThereError,
    StoppedError,
    UsageError,
)
from imgclust.ingest import (
    Counts,
    Emit,
    Event,
    IngestResult,
    LocalDisk,
)

if TYPE_CHECKING:
    from imgclust.collection.collection import Collection

# How often `add` looks whether the watcher has taken its paths.
_WAIT_S = 0.2


def watch(
    collection: Collection,
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
    _choose_links(collection, links)
    for root in roots:
        _keep_apart(collection, root)
    with ingest_lock(collection):
        with catalog.transaction():
            for root in roots:
                catalog.images.put_root(root, "watched")
        watched = [root for root in catalog.images.roots() if root.kind == "watched"]
        if not watched:
            raise UsageError(
                f"the collection {collection.name!r} watches no folder yet; "
                "name one: imgclust watch FOLDER"
            )
        for known in watched:
            if known.path not in roots and not os.path.isdir(known.path):
                emit(Event("trouble", "this folder is not there now", known.path))
        return run(collection, emit, once=once, scan=True, cluster=cluster)


def add(
    collection: Collection, paths: Sequence[bytes], emit: Emit, *, cluster: bool
) -> IngestResult:
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
            raise UsageError(f"{os.fsdecode(absolute)} is neither a file nor a folder")
        real = os.path.realpath(absolute)
        _keep_apart(collection, real)
        tops.append((real, stat_bits.S_ISDIR(mode)))
    choose_recipe(collection, waiting=len(tops))
    requested: list[bytes] = []
    with catalog.transaction():
        for top, is_folder in tops:
            root = catalog.images.put_root(top, "added").id
            for file in _files(top, emit) if is_folder else [top]:
                catalog.observations.request(file, root)
                requested.append(file)
    try:
        with ingest_lock(collection):
            return run(collection, emit, once=True, scan=False, cluster=cluster)
    except LockedError:
        emit(Event("note", "a watcher is running; it takes the files"))
        return _wait_for_watcher(collection, requested)


def retry(collection: Collection, paths: Sequence[bytes], emit: Emit) -> IngestResult:
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
    with catalog.transaction():
        for path in wanted:
            known = catalog.observations.at(path)
            if known is not None:
                catalog.observations.request(path, known.root)
                catalog.observations.forget(path)
    try:
        with ingest_lock(collection):
            return run(collection, emit, once=True, scan=False, cluster=True)
    except LockedError:
        emit(Event("note", "a watcher is running; it reads the files again"))
        return _wait_for_watcher(collection, wanted)


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


def _keep_apart(collection: Collection, path: bytes) -> None:
    for ours in (collection.folders.root, collection.link_folder):
        if folders.overlaps(os.fsencode(ours), path):
            raise UsageError(
                f"{os.fsdecode(path)} and our own folder {ours} lie inside each other; "
                "links of links would be ingested: choose other folders"
            )


def _choose_links(collection: Collection, links: Path | None) -> None:
    """Keep the link folder that a new collection is given."""
    if links is None:
        return
    wanted = Path(os.path.abspath(links.expanduser()))
    catalog = collection.catalog
    if catalog.setting("link_folder") is None and not catalog.images.count():
        for root in catalog.images.roots():
            if folders.overlaps(os.fsencode(wanted), root.path):
                raise UsageError(
                    f"the link folder {wanted} and the images in {os.fsdecode(root.path)} lie "
                    "inside each other; choose another place with --links DIR"
                )
        with catalog.transaction():
            catalog.store("link_folder", os.fsencode(wanted).hex())
    elif wanted != collection.link_folder:
        raise UsageError(
            f"the links of this collection are in {collection.link_folder}; "
            f"imgclust links --links {links} moves them"
        )


def _files(top: bytes, emit: Emit) -> Iterator[bytes]:
    def trouble(folder: bytes, reason: str) -> None:
        emit(Event("trouble", f"cannot be read: {reason}", folder))

    for path, _ in LocalDisk().scan(top, skip=(), trouble=trouble):
        yield path


def _wait_for_watcher(collection: Collection, paths: Sequence[bytes]) -> IngestResult:
    """Wait until the watcher has taken the requested paths in; count from the catalog."""
    catalog = collection.catalog
    began = time.monotonic()
    sequence = catalog.contents.sequence()
    before = {path for path in paths if catalog.images.at(path) is not None}
    waiting: list[bytes] = list(paths)
    while waiting:
        collection.progress("waiting for the watcher", len(paths) - len(waiting), len(paths))
        if collection.stop.wait(_WAIT_S):
            raise StoppedError("interrupted; the watcher takes the queued files all the same")
        if not is_watching(collection):
            raise ImgclustError(
                "the watcher has ended; the files are queued, run imgclust watch or add again"
            )
        waiting = [path for path in waiting if not _at_rest(catalog, path)]
    while catalog.images.queued_links(1)[1] and is_watching(collection):
        if collection.stop.wait(_WAIT_S):
            break
    fresh = {
        content
        for _, content, action in catalog.contents.changes_after(sequence, 10**9)
        if action == "add"
    }
    counts = Counts(seen=len(paths))
    for path in paths:
        image = catalog.images.at(path)
        known = catalog.observations.at(path)
        if image is not None and image.content in fresh:
            fresh.discard(image.content)
            counts.ingested += 1
        elif image is not None:
            counts.unchanged += path in before
            counts.reused += path not in before
        elif known is not None:
            counts.skipped += known.state == "skipped"
            counts.quarantined += known.state == "quarantined"
    return counts.result(seconds=time.monotonic() - began)


def _at_rest(catalog: Catalog, path: bytes) -> bool:
    if catalog.observations.is_requested(path):
        return False
    known = catalog.observations.at(path)
    return known is None or known.state != "seen"
