"""The catalog's images compared with the existing files, by stat alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.fs import is_at_or_below, is_below, is_network, unreadable
from imgclust.images.filestat import Listings, stat_of
from imgclust.progress import StopFlag
from imgclust.reconcile import same_file
from imgclust.watcher.exclusion import Exclusion
from imgclust.watcher.watcher import scan
from imgclust.wording import NEXT_STEP, counted, printable
from imgclust.wording import unreadable as in_words

_PAGE = 5000


@dataclass(frozen=True)
class DiskFindings:
    """What differs between catalog and disk.

    `absent` and `changed` disagree: the catalog says that they are there, unchanged. `unknown`
    and `pending` files are on their way in; `touched` images have size and time of before, and
    another change time or inode (a hard link, an owner, permissions, a copy); `lost` are roots that
    are not there, `unreadable` such as are there and cannot be read, with the reason.
    """

    checked: int
    absent: tuple[Image, ...]
    changed: tuple[Image, ...]
    missing: int
    unknown: int
    pending: int
    lost: tuple[bytes, ...]
    folders: int
    held: int = 0
    unreadable: tuple[tuple[bytes, str], ...] = ()
    touched: int = 0

    @property
    def disagrees(self) -> bool:
        """True when the catalog says something of a file that is not so."""
        return bool(self.absent or self.changed)

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        parts = []
        for folder in self.lost:
            parts.append(f"the folder {printable(folder)} is not there")
        parts += [in_words(folder, reason) for folder, reason in self.unreadable]
        if self.absent:
            parts.append(f"{len(self.absent):,} images are not there and not marked missing")
        if self.changed:
            parts.append(f"{len(self.changed):,} images have changed since they were read")
        if not parts:
            parts.append(f"{self.checked:,} images are as they were read")
        if self.missing:
            parts.append(f"{self.missing:,} are marked missing (see imgclust missing)")
        if self.held:
            parts.append(f"{self.held:,} of them are held: {NEXT_STEP}")
        if self.unknown:
            parts.append(f"{self.unknown:,} files are not ingested yet: the next watch takes them")
        if self.touched:
            which = counted(self.touched, "file has", "files have")
            why = "another change time or inode (a new link, permissions, a copy)"
            parts.append(f"{which} {why}: the next watch reads again")
        if self.pending:
            parts.append(f"{self.pending:,} wait to be read")
        return "; ".join(parts)


def compare_disk(
    catalog: Catalog, *, ours: Sequence[bytes], exclusion: Exclusion, stop: StopFlag
) -> DiskFindings:
    """Compare every image with its file, and count the files that nobody knows."""
    roots = catalog.roots.all()
    network = {root.id for root in roots if is_network(root.path)}
    absent, changed = [], []
    listings = Listings()
    checked = touched = 0
    for root in roots:
        after = 0
        while page := catalog.images.page_of_root(root.id, after=after, limit=_PAGE):
            stop.check()
            for image in page:
                known = catalog.observations.at(image.path)
                if image.state == "missing" or known is None or known.state != "done":
                    continue
                checked += 1
                try:
                    stat = stat_of(image.path)
                except OSError:  # nobody can tell
                    continue
                if stat is None or not listings.has(image.path, root.path):
                    absent.append(image)
                elif not same_file(known.stat, stat, network=root.id in network):
                    if known.stat[2:4] == stat[2:4]:
                        touched += 1
                    else:
                        changed.append(image)
            after = page[-1].id
    watched = [root.path for root in roots if root.kind == "watched"]
    every = [root.path for root in roots] + [mount.path for mount in catalog.mounts.all()]
    closed = {path: reason for path in every if (reason := unreadable(path)) is not None}
    unknown = folders = 0
    for path in watched:
        skip = [*ours, *(set(watched) - {path})]
        seen, found = _unknown(catalog, path, exclusion=exclusion, skip=skip)
        unknown += seen
        folders += found
    return DiskFindings(
        checked=checked,
        absent=tuple(absent),
        changed=tuple(changed),
        missing=len(catalog.images.missing()),
        unknown=unknown,
        pending=catalog.observations.pending(),
        lost=tuple(path for path in watched if path not in closed and not os.path.isdir(path)),
        folders=folders,
        held=_held(catalog),
        unreadable=tuple(closed.items()),
        touched=touched,
    )


def _held(catalog: Catalog) -> int:
    """How many missing images are kept because their disk may be away."""
    held = {root.id for root in catalog.roots.all() if root.held}
    of_roots = sum(catalog.images.count_missing(root) for root in held)
    mounts = [mount for mount in catalog.mounts.held() if mount.root not in held]
    outer = [one for one in mounts if not any(is_below(one.path, other.path) for other in mounts)]
    of_mounts = sum(catalog.images.count_missing_below(one.path, one.root) for one in outer)
    single = sum(
        count
        for (folder, root), count in catalog.volumes.kept().items()
        if root not in held and not any(is_at_or_below(folder, one.path) for one in outer)
    )
    return of_roots + of_mounts + single


def _unknown(
    catalog: Catalog, root: bytes, *, exclusion: Exclusion, skip: Sequence[bytes]
) -> tuple[int, int]:
    """Files of a root that were never observed, and the folders that hold files."""
    unknown = 0
    folders: set[bytes] = set()
    for path, _ in scan(
        root,
        excluded=exclusion.below(root),
        skip=skip,
        trouble=lambda path, error: None,
    ):
        folders.add(os.path.dirname(path))
        unknown += catalog.observations.at(path) is None
    return unknown, len(folders)


def mark_differences(catalog: Catalog, found: DiskFindings) -> None:
    """Make the catalog say what is so: absent images are missing, changed ones are due.

    Nothing is removed by this: only healthy scans do that.
    """
    for start in range(0, len(found.absent), _PAGE):
        absent = found.absent[start : start + _PAGE]
        with catalog.transaction():
            for image in absent:
                catalog.observations.settle(image.path, "missing")
            catalog.images.miss([image.id for image in absent], scans=0)
    for start in range(0, len(found.changed), _PAGE):
        with catalog.transaction():
            for image in found.changed[start : start + _PAGE]:
                catalog.observations.read_again(image.path, image.root)


def reread_sentence(count: int, *, watching: bool) -> str:
    """What becomes of images that are to be read again, for people."""
    who = "the running imgclust watch" if watching else "the next imgclust watch"
    return f"{count:,} images wait to be read again by {who}"
