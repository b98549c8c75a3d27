"""Disks that take the place of others: whether a file is where an image was read from.

A memory card has the file names of another one, and a folder the names of the disk that was mounted
on it. So a path tells which image a file is only while the same file system is there.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from dataclasses import replace

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.catalog.roots import Volume
from imgclust.fs import is_at_or_below, is_below
from imgclust.ingest.environment import Disk


class Found(enum.Enum):
    """What is at the place of a volume now."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"  # something is mounted there, and nothing tells what


class VolumeTracker:
    """Compares the file systems that are there with those that images were read from."""

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk
        self.refresh()

    def refresh(self) -> None:
        """Look at the disk afresh."""
        self._points: dict[bytes, set[bytes]] = {}
        self._tops: dict[tuple[bytes, int], bytes] = {}
        self._numbers: dict[bytes, int] = {}

    def find(self, image: Image, path: bytes) -> tuple[Found, bytes]:
        """What is at the path now that this image was read from, and the folder of its disk.

        The caller holds the transaction: what is other than before is noted.
        """
        volumes = self._catalog.volumes
        known = volumes.above(path, image.root)
        if known is None:
            return Found.SAME, b""
        top = self._top(path, image.root)
        if is_below(known.path, top):  # a mount that is away
            return Found.OTHER, known.path
        number = self._number(top)
        if top != known.path:
            if not any(mount.path == top for mount in self._catalog.mounts.of_root(image.root)):
                known = Volume(top, image.root, number, self._catalog.listing.last())
                volumes.put(known)
        elif number and known.number and number != known.number:
            last = self._catalog.listing.last()
            known = replace(known, number=number, before=last, former=known.number)
            volumes.put(known)
        if known.before is not None and image.id <= known.before:
            return Found.OTHER, top
        root = self._catalog.roots.get(image.root)
        mounted = root is None or top != root.path or top in self._mount_points(root.path)
        known_number = number and (known.number or top != known.path)
        return (Found.SAME if known_number or not mounted else Found.UNKNOWN), top

    def has_returned(self, image: Image, path: bytes, root: int) -> bool:
        """True when a file is on the disk that a missing image was on, there or elsewhere."""
        own = self._catalog.moves.path_of(image.id)
        above = self._catalog.volumes.above(own, image.root)
        home = image.kept or (above and above.path)
        found = self._catalog.roots.get(image.root)
        if path == own:
            return True
        if not home or found is None:
            return False
        top = self._top(path, root)
        if is_below(path, home) and is_at_or_below(top, home):
            # Of a root that lost many images at once, copies may be in other places.
            return image.kept is not None or home != found.path
        if above is not None:
            its_number = above.number if image.kept is None else above.former
            if its_number == self._number(top) != 0:
                return True
        if home == found.path:
            # A folder that another one has replaced is away for good: its files have moved.
            return image.kept is not None and not self._is_mount(home)
        # A copy has another place as a rule, and seldom a disk of its own.
        alike = os.path.relpath(path, top) == os.path.relpath(own, home)
        return alike and self._is_mount(top) and top != home

    def note(
        self, root: int, tops: Iterable[bytes], *, mounts: Iterable[bytes], last: int
    ) -> set[bytes]:
        """Note the file systems at a root and at mounts in it, `mounts` being known already.

        `last` is the newest image from before the scan. The caller holds the transaction. Returns
        the folders in which other file systems are than before.
        """
        volumes, mounts = self._catalog.volumes, set(mounts)
        known = {one.path: one for one in volumes.all() if one.root == root}
        for top in tops:
            number = self._number(top)
            before = known.get(top)
            if before is None:
                fresh = top not in mounts and known and any(is_below(top, one) for one in known)
                other = bool(fresh) and volumes.has_images(top, root, until=last)
                volumes.put(Volume(top, root, number, last if other else None))
            elif number and number != before.number:
                other = before.number != 0
                volumes.put(
                    replace(
                        before,
                        number=number,
                        before=last if other else None,
                        former=before.number or before.former,
                    )
                )
        return {one.path for one in volumes.all() if one.root == root and one.before is not None}

    def is_plain_now(self, root: int, folders: Iterable[bytes], *, last: int) -> None:
        """Nothing is mounted at these folders any more; the caller holds the transaction."""
        for folder in folders:
            for one in self._catalog.volumes.all():
                if (one.path, one.root) == (folder, root):
                    self._catalog.volumes.put(replace(one, before=last))

    def settle(self) -> None:
        """All files have been read: paths tell again which image a file is.

        The caller holds the transaction.
        """
        roots = {(root.path, root.id) for root in self._catalog.roots.all()}
        mounts = {(mount.path, mount.root) for mount in self._catalog.mounts.all()}
        for one in self._catalog.volumes.all():
            if (one.path, one.root) not in roots | mounts:
                self._catalog.volumes.forget([one])
            elif one.before is not None:
                self._catalog.volumes.put(replace(one, before=None))

    def unsettled(self) -> bool:
        """True when images may have been on another file system than the one that is there."""
        return any(one.before is not None for one in self._catalog.volumes.all())

    def _is_mount(self, folder: bytes) -> bool:
        return folder in self._mount_points(folder) or any(
            mount.path == folder for mount in self._catalog.mounts.all()
        )

    def _number(self, folder: bytes) -> int:
        if folder not in self._numbers:
            self._numbers[folder] = self._disk.volume(folder) or 0
        return self._numbers[folder]

    def _mount_points(self, folder: bytes) -> set[bytes]:
        if folder not in self._points:
            self._points[folder] = self._disk.mount_points(folder)
        return self._points[folder]

    def _top(self, path: bytes, root: int) -> bytes:
        """The innermost mount that a path is below now, else its root."""
        folder = os.path.dirname(path)
        key = (folder, root)
        if key not in self._tops:
            self._tops[key] = self._innermost(folder, root)
        return self._tops[key]

    def _innermost(self, folder: bytes, number: int) -> bytes:
        root = self._catalog.roots.get(number)
        if root is None or not is_below(folder, root.path):
            return folder if root is None or not is_at_or_below(folder, root.path) else root.path
        points = self._mount_points(root.path)
        here = self._disk.identity(folder)
        while is_below(folder, root.path):
            above = os.path.dirname(folder)
            outer = self._disk.identity(above)
            if here is not None and (
                folder in points or (outer is not None and here[0] != outer[0])
            ):
                return folder
            folder, here = above, outer
        return root.path
