"""What people changed in the link folder since it was read last: links moved, folders renamed.

An entry is ours by what the ledger says of it: its inode and, for a symbolic link, where it leads,
for a copy its size and time. So a link that was renamed is known at once. One that was copied and
deleted instead, as file managers do between disks, is known by where it leads or by its bytes, and
counts when the first one has been gone for the settle delay, twice.

A folder is read again when its time of change is another one, or was too young to tell when it was
read. Nothing here changes anything on disk.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.links import LinkMove, ReadFolder
from imgclust.failpoints import passing
from imgclust.fs import open_to_read, stored
from imgclust.links.apply_plan import identified
from imgclust.links.inspect import (
    SYNCING,
    EntryState,
    Tree,
    is_ours_whole,
    on_disk,
    original_of,
    stat_of,
)
from imgclust.links.ledger import LedgerRow
from imgclust.links.names import OUTLIERS, FolderNames

# A change within this time after a folder was read may leave its time of change as it was.
_YOUNG_NS = 2_000_000_000
# Looks at folders that change while they are read.
_AGAIN = 5
# The setting that holds folders that people have renamed, until their clusters are named.
RENAMED = "renamed_link_folders"


@dataclass(frozen=True)
class TreeChanges:
    """What people did, as it was noted in the catalog.

    Attributes
    ----------
    moved, waiting
        Links that were moved: those that become corrections, and those that wait for a person who
        says that they did it.
    renamed
        Clusters whose folders have another name.
    lost
        Links that are gone; they are made again.
    before
        The tree was never read before: all of it was done in an older version's time.
    complete
        All that had changed was read: what is gone now went after that.
    """

    moved: int = 0
    waiting: int = 0
    renamed: int = 0
    lost: int = 0
    before: bool = False
    complete: bool = False


@dataclass
class _Sorted:
    """Rows with those of their new places, moves, images of links that are gone or put back.

    `gone` are the entries of the former.
    """

    placed: list[tuple[LedgerRow, LedgerRow]]
    moves: list[LinkMove]
    lost: list[int]
    back: list[int]
    gone: list[tuple[bytes, bytes]]


@dataclass
class _Folder:
    name: bytes
    inode: int
    mtime_ns: int


class TreeReader:
    """Reads one link folder.

    Parameters
    ----------
    names
        Which folder each cluster has.
    outliers
        Whether the folder `outliers` is in use.
    delay_s
        For how long a copied link, or a new folder, has to be at rest.
    live_since
        From when on a watcher has been running, by the wall clock; None: none runs.
    most
        More moves than this at once wait for a person.
    """

    def __init__(
        self,
        catalog: Catalog,
        root: Path,
        *,
        names: FolderNames,
        outliers: bool,
        delay_s: float,
        live_since: float | None,
        most: int,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._catalog = catalog
        self._tree = Tree(root)
        self._names = names
        self._clusters = names.clusters()
        self._outliers = outliers
        self._delay_s = delay_s
        self._live_since = live_since
        self._most = most
        self._clock = clock
        self._found: dict[tuple[bytes, bytes], os.stat_result] = {}

    def changed(self) -> bool:
        """Whether a folder needs to be read; a look at each folder, none into them."""
        read = self._catalog.link_tree.folders()
        if self._catalog.link_tree.moves("young"):
            return True
        here = self._folders()
        return bool(here) and (
            read.keys() != here.keys()
            or any(self._differs(read[name], folder) for name, folder in here.items())
        )

    def read(self) -> TreeChanges:
        """Read what changed, and note it in the catalog; the ledger follows links and folders.

        What a crash leaves is consistent: it was noted whole, or is read again.
        """
        with on_disk(self._tree):
            now_ns = self._clock()
            here = self._folders()
            before = self._catalog.link_tree.folders()
            ours = set(self._catalog.ledger.folders())
            if not here or not ours:
                return TreeChanges()
            if not ours & here.keys() and not self._inodes(before, ours) & {
                folder.inode for folder in here.values()
            }:
                return TreeChanges()  # another disk is mounted here, or none
            renamed = self._renamed(before, here, ours)
            young = self._catalog.link_tree.moves("young")
            again = {one.folder for one in young}
            due = {
                name
                for name, folder in here.items()
                if name not in before or name in again or self._differs(before[name], folder)
            }
            absent = ours - here.keys() - renamed.keys()
            due |= {*renamed.values()}
            missing, strange = self._read_folders(due, absent, young)
            for _ in range(_AGAIN):  # a link may have moved from a folder that was still to be read
                now_here = self._folders()
                fresh = {
                    name
                    for name, folder in now_here.items()
                    if name not in here or here[name].mtime_ns != folder.mtime_ns
                }
                if not fresh:
                    break
                now_ns, here = self._clock(), now_here
                due |= fresh
                missing, strange = self._read_folders(due, ours - here.keys(), young)
            # A copy may have been made long before its original entry went.
            elsewhere = {name for name in here.keys() - due if self._is_ours(name)}
            if elsewhere and len(self._matched(missing, strange)) < len(missing):
                due |= elsewhere
                missing, strange = self._read_folders(due, ours - here.keys(), young)
            found = self._sorted(missing, strange, young, here, now_ns)
        noted = {
            name: ReadFolder(here[name].inode, here[name].mtime_ns, now_ns)
            for name in due
            if name in here
        }
        with self._catalog.transaction():
            tree = self._catalog.link_tree
            tree.prune()
            tree.forget([one.image for one in young])
            tree.drop(found.gone)  # first: another one may be in the place of one
            for row, now_at in found.placed:
                tree.replace((row.folder, row.entry), _values(now_at))
                tree.forget([row.image])
            tree.put(found.moves)
            self._catalog.ledger.queue_links([*found.lost, *found.back])
            tree.note(noted, gone=before.keys() - here.keys())
        passing("links.read")
        states = [one.state for one in found.moves]
        return TreeChanges(
            moved=states.count("moved"),
            waiting=states.count("waiting"),
            renamed=len(renamed),
            lost=len(found.lost),
            complete=True,
        )

    def found_elsewhere(self) -> dict[tuple[bytes, bytes], int]:
        """Folder, entry and image of links that are not where they were; nothing is noted."""
        with on_disk(self._tree):
            here = self._folders()
            absent = {*self._catalog.ledger.folders()} - here.keys()
            missing, strange = self._read_folders({*here}, absent, [])
            pairs = self._matched(missing, strange)
        return {(folder, entry): row.image for row, folder, entry, _ in pairs}

    def note_inodes(self) -> None:
        """Note the folders that a sync has made: under another name they are known by the inode."""
        with on_disk(self._tree):
            read = self._catalog.link_tree.folders()
            fresh = {
                name: ReadFolder(folder.inode, 0, 0)
                for name, folder in self._folders().items()
                if name not in read or read[name].inode != folder.inode
            }
        if fresh:
            with self._catalog.transaction():
                self._catalog.link_tree.note(fresh, gone=())

    def _folders(self) -> dict[bytes, _Folder]:
        """The folders that links may be in."""
        found = {}
        try:
            tops = list(os.scandir(self._tree.root))
        except FileNotFoundError:
            return {}
        for top in tops:
            if top.name == SYNCING or top.name.startswith(b"."):
                continue
            if is_ours_whole(self._tree.root, top.name) or not top.is_dir(follow_symlinks=False):
                continue
            seen = stat_of(top.path)
            if seen is not None:
                found[top.name] = _Folder(top.name, stored(seen.st_ino), stored(seen.st_mtime_ns))
        return found

    def _differs(self, read: ReadFolder, folder: _Folder) -> bool:
        return (read.inode, read.mtime_ns) != (
            folder.inode,
            folder.mtime_ns,
        ) or read.mtime_ns >= read.read_ns - _YOUNG_NS

    def _inodes(self, before: Mapping[bytes, ReadFolder], ours: set[bytes]) -> set[int]:
        return {before[name].inode for name in ours if name in before}

    def _renamed(
        self, before: Mapping[bytes, ReadFolder], here: Mapping[bytes, _Folder], ours: set[bytes]
    ) -> dict[bytes, bytes]:
        """Folders of ours under another name: of the same inode, with an entry of ours."""
        by_inode = {folder.inode: name for name, folder in here.items() if name not in ours}
        found: dict[bytes, bytes] = {}
        for old in sorted(ours - here.keys()):
            new = by_inode.get(before[old].inode) if old in before else None
            cluster = self._clusters.get(old)
            if new is None or cluster is None:
                continue
            rows = [LedgerRow(*values) for values in self._catalog.ledger.in_folder(old)]
            moved = (replace(row, folder=new) for row in rows)
            if not any(self._tree.state(row) is EntryState.OURS for row in moved):
                continue
            with self._catalog.transaction():
                self._catalog.link_tree.rename(old, new)
                self._names.note(cluster, new)
                said = self._catalog.setting(RENAMED) or {}
                self._catalog.store(RENAMED, {**said, str(cluster): new.hex()})
            self._clusters[new] = self._clusters.pop(old)
            found[old] = new
        return found

    def _read_folders(
        self,
        due: set[bytes],
        absent: set[bytes],
        young: list[LinkMove],
    ) -> tuple[list[LedgerRow], list[tuple[bytes, bytes]]]:
        """Rows whose entries are not there, and entries that no row speaks of."""
        missing: list[LedgerRow] = []
        strange: list[tuple[bytes, bytes]] = []
        for name in sorted(due | absent):
            there = {} if name in absent else self._listed(name)
            rows = self._catalog.link_tree.entries(name)
            for entry in sorted(rows):
                if there.get(entry) == rows[entry]:
                    continue
                values = self._catalog.ledger.at(name, entry)
                if values is None or values[5] != "done":
                    continue
                row = LedgerRow(*values)
                if entry in there:  # another one of this name, or an inode that does not last
                    if self._tree.state(row) is EntryState.OURS:
                        continue
                    strange.append((name, entry))
                missing.append(row)
            strange += [(name, entry) for entry in sorted(there.keys() - rows.keys())]
        known = {row.image for row in missing}
        for values in self._catalog.ledger.of_images([one.image for one in young]):
            row = LedgerRow(*values)
            if row.image not in known and self._tree.state(row) is EntryState.ABSENT:
                missing.append(row)
        return missing, strange

    def _listed(self, folder: bytes) -> dict[bytes, int]:
        """Entries of a folder with their inodes."""
        try:
            with os.scandir(self._tree.path(folder)) as entries:
                return {entry.name: stored(entry.inode()) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _sorted(
        self,
        missing: list[LedgerRow],
        strange: list[tuple[bytes, bytes]],
        young: list[LinkMove],
        here: Mapping[bytes, _Folder],
        now_ns: int,
    ) -> _Sorted:
        """Match the links that are gone with the entries that came."""
        now = now_ns / 1e9
        since = {(one.image, one.folder, one.entry): one.seen for one in young}
        pairs = self._matched(missing, strange)
        waiting = {one.image for one in self._catalog.link_tree.moves("waiting")}
        moved: list[LinkMove] = []
        still: list[LinkMove] = []
        found = _Sorted([], [], [], [], [])
        for row, folder, entry, sure in pairs:
            place = (row.image, folder, entry)
            seen = since.get(place, now)
            if (not sure or not self._is_ours(folder)) and now - seen < self._delay_s:
                still.append(LinkMove(*place, seen, "young"))
                continue
            found.placed.append((row, self._at(row, folder, entry)))
            if folder == row.folder or (
                row.image in waiting and self._clusters.get(folder) == self._cluster_of(row.image)
            ):
                found.back.append(row.image)
            else:
                moved.append(LinkMove(*place, seen, "moved"))
        if self._waits(moved, here):
            moved = [one._replace(state="waiting") for one in moved]
        found.moves += [*still, *moved]
        matched = {row.image for row, *_ in pairs}
        found.lost += sorted({row.image for row in missing} - matched)
        found.gone += [(one.folder, one.entry) for one in missing if one.image not in matched]
        return found

    def _is_ours(self, folder: bytes) -> bool:
        """Whether it is the folder of a cluster, or of outliers where that is in use."""
        return folder in self._clusters or (self._outliers and folder == OUTLIERS)

    def _cluster_of(self, image: int) -> int | None:
        row, current = self._catalog.images.get(image), self._catalog.clusterings.current_id()
        if row is None or current is None:
            return None
        return self._catalog.assignments.cluster_of(current, row.content)

    def _waits(self, moved: list[LinkMove], here: Mapping[bytes, _Folder]) -> bool:
        """Whether these moves are too many, or were made while nobody watched."""
        if not moved:
            return False
        waiting = len(self._catalog.link_tree.moves("waiting"))
        if len(moved) + waiting > self._most or self._live_since is None:
            return True
        since_ns = int(self._live_since * 1e9)
        return any(here[one.folder].mtime_ns < since_ns for one in moved)

    def _matched(
        self, missing: list[LedgerRow], strange: list[tuple[bytes, bytes]]
    ) -> list[tuple[LedgerRow, bytes, bytes, bool]]:
        """(row, folder, entry, whether it is the very entry) for each row that came elsewhere."""
        left = {(row.folder, row.entry): row for row in missing}
        by_inode: dict[int, list[LedgerRow]] = {}
        for row in missing:
            by_inode.setdefault(row.inode, []).append(row)
        pairs: list[tuple[LedgerRow, bytes, bytes, bool]] = []
        rest: list[tuple[bytes, bytes]] = []
        for folder, entry in strange:
            found = stat_of(self._tree.path(folder, entry))
            if found is None:
                continue
            self._found[folder, entry] = found
            same = [
                row
                for row in by_inode.get(stored(found.st_ino), [])
                if (row.folder, row.entry) in left
                and (row.mode != "hardlink" or original_of(row.target))  # else it may be that
                and self._tree.how_made(replace(row, folder=folder, entry=entry), found)
            ]
            if not same:
                rest.append((folder, entry))
                continue
            row = min(same, key=lambda one: (one.entry != entry, one.folder, one.entry))
            del left[row.folder, row.entry]
            pairs.append((row, folder, entry, True))
        by_target: dict[bytes, list[LedgerRow]] = {}
        by_size: dict[int, list[LedgerRow]] = {}
        for row in left.values():
            if row.mode == "symlink":
                by_target.setdefault(_real(row.target), []).append(row)
            else:
                by_size.setdefault(row.size, []).append(row)
        for folder, entry in rest:
            found = self._found[folder, entry]
            path = self._tree.path(folder, entry)
            if stat.S_ISLNK(found.st_mode):
                leads = os.path.join(os.path.dirname(path), os.readlink(path))
                likely = by_target.get(_real(leads), [])
            else:
                likely = [] if not stat.S_ISREG(found.st_mode) else by_size.get(found.st_size, [])
            for row in likely:
                if folder == row.folder:
                    continue  # a copy beside what it was copied from says nothing
                if (row.folder, row.entry) in left and self._is_copy(row, path, found):
                    del left[row.folder, row.entry]
                    pairs.append((row, folder, entry, False))
                    break
        return pairs

    def _is_copy(self, row: LedgerRow, path: bytes, found: os.stat_result) -> bool:
        """Whether a link to the same, or a file of the same size, is a copy of an entry."""
        if stat.S_ISLNK(found.st_mode):
            return True
        original = original_of(row.target)
        # The original itself, moved here, has the same bytes; and a person may make a hard link.
        if original is None or os.path.samestat(found, original):
            return False
        image = self._catalog.images.get(row.image)
        content = None if image is None else self._catalog.contents.get(image.content)
        return content is not None and _sha256(path) == content.sha256

    def _at(self, row: LedgerRow, folder: bytes, entry: bytes) -> LedgerRow:
        """The row of an entry at its new place; a copy of a hard link is a copy."""
        found = self._found[folder, entry]
        mode = row.mode
        if mode == "hardlink" and stored(found.st_ino) != row.inode:
            mode = "copy"
        return identified(replace(row, folder=folder, entry=entry, mode=mode), found)


def _values(row: LedgerRow) -> tuple[object, ...]:
    return (
        *(row.folder, row.entry, row.image, row.target, row.mode, row.state),
        *(row.device, row.inode, row.size, row.mtime_ns),
    )


def _real(path: bytes) -> bytes:
    """A path whose folder is real; the last part is taken as it is."""
    head, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(head), name)


def _sha256(path: bytes) -> bytes:
    try:
        with open_to_read(path) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""
