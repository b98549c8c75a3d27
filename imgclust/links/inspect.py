"""What is in the link folder: where an entry is, whether it is ours; and whether its disk is there.

Nothing here changes anything on disk.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from imgclust.catalog.catalog import Catalog
from imgclust.errors import StorageError, UsageError, reason_of
from imgclust.fs import filesystem_type, is_below, mount_of, open_to_read, stored, volume_number
from imgclust.links.ledger import LedgerRow, Mode
from imgclust.wording import printable

# A directory while a sync runs; links are made in it and then moved into place, so that whatever
# a crash leaves behind lies in one folder that is ours whole.
SYNCING = b".syncing"

# What shows the folders in a browser: a directory of pages, and the page they begin at. A page is
# ours when it starts with these bytes.
PAGES = b".pages"
INDEX = b"index.html"
PAGE_MARK = b"<!-- imgclust makes this page anew as the links change -->\n"

# Time stamps come back rounded to what the file system can hold: NTFS, exFAT, ext3, FAT.
_GRANULES_NS = (2_000_000_000, 1_000_000_000, 10_000_000, 100)


def is_ours_whole(root: bytes, name: bytes) -> bool:
    """Whether the entry of this name at the top of a link folder is entirely ours."""
    path = os.path.join(root, name)
    if name == INDEX:
        return is_our_page(path)
    return name in (SYNCING, PAGES) and os.path.isdir(path) and not os.path.islink(path)


def is_our_page(path: bytes) -> bool:
    """Whether a file is a page that we made; never one that a symbolic link leads to."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open_to_read(path) as page:
            return page.read(len(PAGE_MARK)) == PAGE_MARK
    except OSError:
        return False


class EntryState(enum.Enum):
    """What is found where a ledger row says that an entry of ours is."""

    OURS = enum.auto()
    ABSENT = enum.auto()
    FOREIGN = enum.auto()


# The file system says that there is nothing, or that there can be nothing under such a name.
_NOTHING_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG}
)


def stat_of(path: bytes) -> os.stat_result | None:
    """Stat of what is at `path` itself, None when nothing is.

    Raises
    ------
    OSError
        When it is unknown whether anything is there.
    """
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise
        return None


def original_of(target: bytes) -> os.stat_result | None:
    """Stat of an original, None when it cannot be seen."""
    try:
        return os.lstat(target)
    except OSError:
        return None


def same_time(stored_ns: int, original_ns: int) -> bool:
    """Whether `stored_ns` is `original_ns` as some file system would keep it."""
    difference = abs(stored_ns - original_ns)
    return difference == 0 or any(
        stored_ns % granule == 0 and difference < granule for granule in _GRANULES_NS
    )


class Tree:
    """A link folder on disk.

    Parameters
    ----------
    root
        The link folder; may be reached through symbolic links, need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(os.fsencode(root))
        self._folders_seen_from_a_cluster: dict[bytes, bytes] = {}

    def path(self, folder: bytes, entry: bytes | None = None) -> bytes:
        """Absolute path of a cluster's folder, or of an entry in it.

        Raises
        ------
        ValueError
            When a name is more than one plain path component.
        """
        names = [folder] if entry is None else [folder, entry]
        for name in names:
            if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
                raise ValueError(f"not a name in the link folder: {name!r}")
        return os.path.join(self.root, *names)

    def text(self, target: bytes) -> bytes:
        """What a symbolic link in any cluster folder says to reach `target`.

        Relative between real paths, so that it survives when link folder and originals move
        together; the original's own name is taken as it is.

        Raises
        ------
        UsageError
            When the original lies inside the link folder.
        """
        head, name = os.path.split(target)
        seen = self._folders_seen_from_a_cluster.get(head)
        if seen is None:
            if not os.path.isabs(target):
                raise ValueError(f"not an absolute path: {target!r}")
            real = os.path.realpath(head)
            if os.path.commonpath([real, self.root]) == self.root:
                raise UsageError(
                    f"the link folder {printable(self.root)} holds the images themselves "
                    f"({printable(real)}): choose another with --links"
                )
            seen = os.path.relpath(real, self.path(b"cluster"))
            self._folders_seen_from_a_cluster[head] = seen
        return os.path.join(seen, name)

    def is_blocked(self, folder: bytes) -> bool:
        """Whether something that is not a directory (a link to one included) has its name."""
        found = stat_of(self.path(folder))
        return found is not None and not stat.S_ISDIR(found.st_mode)

    def shown(self, row: LedgerRow) -> bytes:
        """Path below the link folder of what has replaced an entry of ours."""
        return row.folder if self.is_blocked(row.folder) else os.path.join(row.folder, row.entry)

    def state(self, row: LedgerRow) -> EntryState:
        """Whether the entry of `row` is there and still is what we made."""
        if self.is_blocked(row.folder):
            return EntryState.FOREIGN
        found = stat_of(self.path(row.folder, row.entry))
        if found is None:
            return EntryState.ABSENT
        return EntryState.OURS if self.how_made(row, found) else EntryState.FOREIGN

    def how_made(self, row: LedgerRow, found: os.stat_result) -> Mode | None:
        """How we made what was found at the place of `row`; None when it is not ours.

        Device numbers prove nothing (they change when a file system is mounted again), and
        inodes are asked for only where they say what a hard link is, or where the original is
        away: then a file that is not the very one may be the original, which a person has moved
        here.
        """
        if stat.S_ISLNK(found.st_mode):
            return "symlink" if self._is_our_symlink(row, found) else None
        if not stat.S_ISREG(found.st_mode) or (row.state == "done" and row.mode == "symlink"):
            return None
        original = original_of(row.target)
        # Where a person has mounted the originals over a cluster folder, the entry is the original.
        shared = original is not None and os.path.samestat(found, original)
        unchanged = found.st_size == row.size and (
            stored(found.st_mtime_ns) == row.mtime_ns
            or (row.state == "intent" and same_time(stored(found.st_mtime_ns), row.mtime_ns))
        )
        if row.mode == "copy" and row.state == "done" and original is None:
            return "copy" if unchanged and stored(found.st_ino) == row.inode else None
        if row.mode == "hardlink":
            if stored(found.st_ino) == row.inode and (found.st_nlink > 1 if shared else unchanged):
                return "hardlink"
            if row.state == "done":
                return None
        return "copy" if unchanged and not shared else None

    def _is_our_symlink(self, row: LedgerRow, found: os.stat_result) -> bool:
        if row.state == "done" and row.mode != "symlink":
            return False
        if os.readlink(self.path(row.folder, row.entry)) == self.text(row.target):
            return True
        # The link folder was moved without the originals: the text is old, the link is ours.
        made = (row.size, row.mtime_ns)
        return row.state == "done" and (found.st_size, stored(found.st_mtime_ns)) == made

    def is_right(self, row: LedgerRow, target: bytes) -> bool:
        """Whether the entry of `row`, known to be ours, leads to `target` as that is now.

        A hard link or copy of an original that is absent counts as right: it cannot be made again.
        """
        path = self.path(row.folder, row.entry)
        found = stat_of(path)
        if found is None:
            return False
        if stat.S_ISLNK(found.st_mode):
            return os.readlink(path) == self.text(target)
        original = original_of(target)
        if original is None:
            return True
        if os.path.samestat(found, original):
            return True
        return (
            self.how_made(row, found) == "copy"
            and found.st_size == original.st_size
            and same_time(found.st_mtime_ns, original.st_mtime_ns)
        )


@contextlib.contextmanager
def on_disk(tree: Tree) -> Iterator[None]:
    """Turn what the disk refuses into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the link folder {printable(tree.root)} cannot be updated "
            f"({reason_of(error)}); imgclust links tries it again"
        ) from error


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
    """The disk of one link folder, as the catalog remembers it.

    A disk that is away leaves a bare mount point, or none. Links made there would fill another
    disk, and hide behind the right one once it is back.
    """

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
