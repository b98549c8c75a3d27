"""The folders that images come from: which there are, how they are, and how one is let go."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog, Root
from imgclust.collection.results import RemovedRoot, RootRow
from imgclust.errors import LockedError, NothingThereError
from imgclust.fs import is_at_or_below, is_below
from imgclust.reconcile import is_offline
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

# Images removed in one transaction.
_CHUNK = 1000
# Pairs of images that are looked at to find out whether a folder has moved.
_PAIRS = 20_000


def roots(collection: Opened) -> tuple[RootRow, ...]:
    """See `Collection.roots`."""
    catalog = collection.catalog
    rows = []
    with catalog.snapshot():
        for root in catalog.roots.all():
            rows.append(
                RootRow(
                    path=root.path,
                    kind=root.kind,
                    state=_state(root),
                    reason=root.held,
                    images=catalog.images.count(root.id),
                    missing=catalog.images.count_missing(root.id),
                    scanned=root.scanned,
                    device=root.device or None,
                )
            )
        for mount in catalog.mounts.all():
            images = catalog.images.count_below(mount.path, mount.root)
            if images:
                rows.append(
                    RootRow(
                        path=mount.path,
                        kind="mount",
                        state=_held_state(mount.held) or "mounted",
                        reason=mount.held,
                        images=images,
                        missing=catalog.images.count_missing_below(mount.path, mount.root),
                        scanned=None,
                        device=mount.device or None,
                    )
                )
    return tuple(sorted(rows, key=lambda row: (row.path, row.kind == "mount")))


def _state(root: Root) -> str:
    held = _held_state(root.held)
    if held is not None:
        return held
    return root.kind if os.path.lexists(root.path) else "missing"


def _held_state(reason: str | None) -> str | None:
    if reason is None:
        return None
    return "offline" if is_offline(reason) else "held"


def remove_root(
    collection: Opened, folder: bytes, *, remove_images: bool, dry_run: bool
) -> RemovedRoot:
    """See `Collection.remove_root`."""
    catalog = collection.catalog
    root = _named(catalog, folder)
    images = catalog.images.count(root.id)
    result = RemovedRoot(root.path, root.kind == "watched", images, remove_images, dry_run)
    if dry_run:
        return result
    with locked(collection):
        if remove_images:
            while page := catalog.images.page_of_root(root.id, after=0, limit=_CHUNK):
                collection.stop.check()
                orphans = []
                with catalog.transaction():
                    for image in page:
                        if catalog.remove_image(image):
                            orphans.append(image.content)
                        catalog.observations.forget(image.path)
                for content in orphans:
                    with contextlib.suppress(OSError):  # a cache
                        collection.thumbnails().remove(content)
        with catalog.transaction():
            if catalog.images.count(root.id):
                if root.kind == "watched":
                    catalog.roots.stop_watching(root.id)
            else:
                catalog.roots.delete(root.id)
            catalog.event("root removed", f"{printable(root.path)} is not watched any more")
    return result


def _named(catalog: Catalog, folder: bytes) -> Root:
    by_path = {root.path: root for root in catalog.roots.all()}
    for path in spellings(folder):
        if path in by_path:
            return by_path[path]
    raise NothingThereError(f"{printable(folder)} is not among the folders; {known_roots(catalog)}")


def spellings(folder: bytes) -> list[bytes]:
    """The paths that a person may mean: as it was typed, and with symbolic links followed."""
    return list(dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))))


def known_roots(catalog: Catalog) -> str:
    """Which folders there are, for an error that says that one is not among them."""
    paths = [printable(root.path) for root in catalog.roots.all()]
    if not paths:
        return "there are none yet"
    more = f" and {len(paths) - 5:,} more" if len(paths) > 5 else ""
    return f"there are {', '.join(paths[:5])}{more}; see imgclust roots"


@contextlib.contextmanager
def locked(collection: Opened) -> Iterator[None]:
    """Nobody ingests meanwhile.

    Raises
    ------
    LockedError
        When a watcher runs.
    """
    lock = collection.ingest_lock()
    try:
        lock.__enter__()
    except LockedError as error:
        raise LockedError(f"{error}; stop it and run this command again") from None
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def moved_folders(catalog: Catalog) -> tuple[str, ...]:
    """Sentences about folders that seem to have moved, with the command that says so."""
    every = {root.id: root for root in catalog.roots.all()}
    gone = [root.id for root in every.values() if not os.path.lexists(root.path)]
    found: Counter[tuple[bytes, bytes]] = Counter()
    for root, old, new in catalog.images.found_elsewhere(gone, limit=_PAIRS):
        pair = _folders(old, new, every[root].path)
        if pair is not None:
            found[pair] += 1
    sentences = []
    said: set[bytes] = set()
    for (old, new), count in found.most_common():
        if old in said or 2 * count < catalog.images.count_away_below(old, gone):
            continue
        said.add(old)
        noun = "1 image has" if count == 1 else f"{count:,} images have"
        command = shlex.join(["imgclust", "roots", "move", os.fsdecode(old), os.fsdecode(new)])
        sentences.append(
            f"in {printable(new)} {noun} the content of missing ones in {printable(old)}; "
            f"if that folder has moved, tell imgclust: {command}"
        )
    return tuple(sentences)


def _folders(old: bytes, new: bytes, root: bytes) -> tuple[bytes, bytes] | None:
    """The folders that two paths lie in by the same names, the first not above its root."""
    if os.path.basename(old) != os.path.basename(new):
        return None
    old, new = os.path.dirname(old), os.path.dirname(new)
    while len(old) > len(root) and os.path.basename(old) == os.path.basename(new):
        old, new = os.path.dirname(old), os.path.dirname(new)
    inside = is_at_or_below(new, old) or is_below(old, new)
    return None if inside else (old, new)
