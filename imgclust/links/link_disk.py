"""The disk that the link folder is on: where it is mounted, and whether it is there now.

A disk that is away leaves a bare mount point, or none. Links made there would fill another disk,
and hide behind the right one once it is back.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from imgclust.catalog.catalog import Catalog
from imgclust.errors import StorageError
from imgclust.fs import filesystem_type, is_below, mount_of, volume_number
from imgclust.links.inspect import EntryState, Tree
from imgclust.links.ledger import LedgerRow
from imgclust.wording import printable

# The setting with the link folder, where its disk was mounted, and which disk that was.
_DISK = "link_disk"
# File systems in memory: a new one in the place of another is what one expects of them.
_VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})
# Links of a folder that are looked at to see whether the links are there.
_ROWS = 3


class LinksOfflineError(StorageError):
    """The disk of the link folder is not there now; its links are kept until it is back."""

    code = "offline"


class LinkDisk:
    """The disk of one link folder, as the catalog remembers it."""

    def __init__(self, catalog: Catalog, root: Path) -> None:
        self._catalog = catalog
        self._root = root
        self._real = os.path.realpath(os.fsencode(root))

    def reason(self) -> str | None:
        """Why no link can be made or read now, and what to do; None when the disk is there."""
        known = self._catalog.setting(_DISK)
        if not known or known["folder"] != self._real.hex():
            return None
        point, now = bytes.fromhex(known["point"]), mount_of(self._real)
        volume, here = known["volume"], self._volume(now)
        if volume is not None and here == volume:
            return None  # mounted elsewhere, perhaps
        if now == point and None in (volume, here):
            return None  # nobody can tell
        over = now != point and is_below(now, point)
        if self._has_links() or (over and not self._catalog.ledger.count()):
            return None  # also where it is a folder of the disk above now
        if now == point or over:
            return (
                f"another disk is mounted at {printable(now)}, where the link folder "
                f"{printable(self._real)} was; offline: {self._links()} until its disk is back; "
                f"imgclust links --links {self._root} makes them on this one"
            )
        return (
            f"the disk of the link folder {printable(self._real)} is not mounted at "
            f"{printable(point)}; offline: {self._links()} until it is back; "
            "imgclust links --links DIR makes them elsewhere"
        )

    def require(self) -> None:
        """Refuse to work where the disk is away.

        Raises
        ------
        LinksOfflineError
            Says so, and what to do.
        """
        reason = self.reason()
        if reason is not None:
            raise LinksOfflineError(reason)

    def note(self) -> None:
        """Remember where the link folder, which is there, is mounted now."""
        point = mount_of(self._real)
        found = {"folder": self._real.hex(), "point": point.hex(), "volume": self._volume(point)}
        if self._catalog.setting(_DISK) != found:
            with self._catalog.transaction():
                self._catalog.store(_DISK, found)

    def forget(self) -> None:
        """The disk that is there now is the right one; the caller holds the transaction."""
        self._catalog.store(_DISK, None)

    def _volume(self, point: bytes) -> int | None:
        return None if filesystem_type(point) in _VOLATILE else volume_number(point)

    def _has_links(self) -> bool:
        """Whether links of ours are there, by some of each folder."""
        tree = Tree(self._root)
        for folder in self._catalog.ledger.folders():
            if not os.path.isdir(tree.path(folder)):
                continue
            rows = (LedgerRow(*values) for values in self._catalog.ledger.in_folder(folder))
            if any(tree.state(row) is EntryState.OURS for row in islice(rows, _ROWS)):
                return True
        return False

    def _links(self) -> str:
        count = self._catalog.ledger.count()
        if not count:
            return "no link is made"
        return "1 link is kept" if count == 1 else f"{count:,} links are kept"
