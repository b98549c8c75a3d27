"""Which image row a file gets, or that it stays out because a person took its content out.

Ids follow contents. A file's content is known when it has been read, and the files of a
permutation of names are read one after the other, in batches, with crashes in between. So:

- A file takes the row of an image with its content that is away: missing, displaced, or moved as
  the inode shows. Among equal contents the inode decides (not on a network disk), else the name.
- A path that an image has, found with another content, is a replacement in scope, and keeps the
  row, when the old content cannot be found elsewhere any more: no file of its size waits to be
  read, and no scan is on. Until then the old row is displaced, and the path's row provisional.
- Where another disk, or none, is in the place of the one that an image was on, the path tells
  nothing: the image is kept as missing, and the file is a new one.
- A provisional row yields to an older image whose content it has, as soon as that one is known to
  be away; and to the displaced row of its path, when the old content turns up nowhere.

All of that is in the catalog (`Moves`), so that a restart continues where a crash stopped it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.catalog.images import Image
from imgclust.catalog.observations import Observation
from imgclust.images.filestat import FileStat, Listings
from imgclust.images.reader import Decoded, digest
from imgclust.ingest.environment import Clock, Disk, Scope, is_away
from imgclust.ingest.mounts import Found, VolumeTracker, waits_for_mount
from imgclust.reconcile import same_file

# Rows with one content that are looked at for one file, and rows settled in one transaction.
_FEW, _SLICE = 32, 500


@dataclass(frozen=True)
class Change:
    """A row that came to a path otherwise than by the reading of the file there."""

    kind: str
    path: bytes
    image: int


class Rows:
    """The image rows of a catalog, as the files of `disk` take, move and leave them.

    The caller holds the transaction, and calls `begin` in it first.
    """

    def __init__(self, catalog: Catalog, disk: Disk, clock: Clock) -> None:
        self._catalog = catalog
        self._moves = catalog.moves
        self._disk = disk
        self._clock = clock
        # Of contents that many images have: the last of those that were there when looked at.
        self._there: dict[int, int] = {}
        self._settled = 0
        self._scanning = False
        self.volumes = VolumeTracker(catalog, disk)
        self.swapped: dict[bytes, int] = {}  # images kept as another disk is there, by its folder
        self._listings = Listings(disk.names)
        self.changes: list[Change] = []
        self.lost: list[Image] = []
        # Paths of new bytes, how many corrections the old ones had, and whether these end.
        self.uncorrected: list[tuple[bytes, int, bool]] = []
        self.touched: list[bytes] = []  # paths of other files than those that were read

    def begin(self, *, scanning: bool) -> None:
        """Look at the disk afresh; while a scan is on, any file may still be found anywhere."""
        if scanning and not self._scanning:
            self.forget()
        self._scanning = scanning
        self._listings = Listings(self._disk.names)
        self.volumes.refresh()
        self.changes, self.lost, self.touched, self.swapped = [], [], [], {}
        self.uncorrected = []

    def forget(self) -> None:
        """What was written was undone: look at all files again."""
        self._there.clear()

    def take(
        self, known: Observation, key: int, decoded: Decoded, scope: Scope
    ) -> tuple[str, int] | None:
        """Give the path its row, and the row this content.

        Returns what that was, "touched", "replaced", "moved" or "new", and the image's id; None
        when the file is there under another name only.
        """
        images = self._catalog.images
        there = images.at(known.path)
        inode = 0 if known.root in scope.network else decoded.stat.inode
        same = there is not None and there.content == key
        if there is not None and same and (not inode or there.inode in (0, inode)):
            images.found(there.id, inode=inode)
            return "touched", there.id
        others, named = self._look_at_others(key, known.path, decoded.stat, scope)
        if not named:
            if there is None:
                self._catalog.observations.forget(known.path)
                self.touched.append(known.path)
            else:
                self._lose(there)
            return None
        size = decoded.stat.size
        mover = self._same_inode(key, inode, known.path, scope)
        if there is not None and same and mover is None:
            images.found(there.id, inode=inode)
            return "touched", there.id
        mover = mover or self._away(key, size, known.path, scope)
        if mover is not None:
            if there is not None:
                self._displace(there)
            if mover.doubt != "changed":  # else another file is there, and waits
                self._catalog.observations.forget(mover.path)
                self.touched.append(mover.path)
            images.move(mover.id, known.path, known.root, inode=inode)
            return "moved", mover.id
        doubtful = others and (self._scanning or self._is_claimed(key))
        if there is not None:
            if not self._is_claimed(key) and not self._may_be_found(there, inode):
                images.set_content(there.id, key, inode=inode)
                self._drop(there.content, known.path)
                return "replaced", there.id
            doubtful = True
            self._displace(there)
        image = images.insert(known.path, known.root, key, inode=inode)
        if doubtful:
            self._moves.doubt(image, "provisional")
        if key in self._there:
            self._there[key] = image
        return "new", image

    def leave(self, path: bytes) -> None:
        """There is no image at the path any more: the row goes, if it can be nowhere else."""
        image = self._catalog.images.at(path)
        if image is None:
            return
        if self._may_be_found(image, 0):
            self._displace(image)
        else:
            self._catalog.remove_image(image)

    def reclaim(self, image: Image, *, exact: bool = False) -> Change | None:
        """Give an image that is away the place of a provisional one with its content.

        `exact`: of one whose file has its inode.
        """
        found = []
        if image.inode:
            found = self._moves.loose(image.content, "provisional", inode=image.inode, limit=1)
        if not found and not exact:
            found = self._moves.loose(image.content, "provisional", limit=1)
            if found and self._waits(image, inode=image.inode or None):
                return None  # its own file is still to be read
        if not found or (
            image.doubt != "displaced"
            and self.is_kept(image)
            and not self.volumes.has_returned(image, found[0].path, found[0].root)
        ):
            return None
        self._replace(found[0], image)
        return Change("moved", found[0].path, image.id)

    def settle(self) -> list[Change]:
        """Decide what can be decided now that no scan is on, some rows at a time.

        A displaced image whose content no waiting file can have gets the place of a copy that is
        provisional, else its own path back, where a new content is: then it was replaced.
        """
        changes = []
        page = self._moves.displaced(self._settled, _SLICE)
        self._settled = page[-1][0].id if len(page) == _SLICE else 0
        for image, former in page:
            if self._waits(image):
                continue
            change = self.reclaim(image)
            if change is None and self._is_of_another_disk(image, former):
                self._keep(image, former)
            else:
                change = change or self._back(image, former)
            if change is not None:
                changes.append(change)
        if not page and not self._moves.displaced(0, 1):
            for image in self._moves.provisional(0, _SLICE):
                if not self._is_claimed(image.content):
                    self._moves.doubt(image.id, "")
            if self._catalog.observations.next_due() is None:
                self.volumes.settle()
        return changes

    def unsettled(self) -> bool:
        """True when there is something to settle."""
        return self._moves.unsettled() or self.volumes.unsettled()

    def _is_of_another_disk(self, image: Image, path: bytes) -> bool:
        """True when the path is not that of an image any more: its disk is not the one here."""
        found, top = self.volumes.find(image, path)
        if found is Found.UNKNOWN and image.doubt == "displaced":
            return not self._catalog.volumes.at_rest_below(top, image.root)
        return found is not Found.SAME

    def _keep(self, image: Image, path: bytes) -> None:
        """Leave an image missing whose disk is not here; the path was its own."""
        _, top = self.volumes.find(image, path)
        self._moves.keep([image.id], top)
        self.swapped[top] = self.swapped.get(top, 0) + 1

    def _back(self, image: Image, former: bytes) -> Change | None:
        """The content of a displaced image was found nowhere: what becomes of its row."""
        now = self._catalog.images.at(former)
        if now is not None and now.doubt == "provisional":
            if self._is_claimed(now.content):
                return None
            self._replace(now, image)
            self._catalog.images.set_content(image.id, now.content, inode=now.inode)
            self._drop(image.content, former)
            return Change("replaced", former, image.id)
        known = self._catalog.observations.at(former)
        if now is None and known is not None and known.state in {"quarantined", "skipped"}:
            self._catalog.remove_image(image)
            self._catalog.observations.forget(image.path)
        else:
            self._moves.leave_missing(image.id)
        return None

    def _drop(self, content: int, path: bytes) -> None:
        """A file has other bytes now: what a person said was about those before."""
        if self._catalog.contents.drop_orphan(content):
            ended = self._catalog.corrections.end_of(content, "replaced")
            if ended:
                self.uncorrected.append((path, len(ended), True))
        elif self._catalog.corrections.about([content]):
            self.uncorrected.append((path, len(self._catalog.corrections.about([content])), False))

    def _replace(self, provisional: Image, image: Image) -> None:
        """Put an image into the place of a provisional one, which was never more than that."""
        self._catalog.images.delete(provisional.id)
        self._catalog.observations.forget(image.path)
        self._catalog.images.move(
            image.id, provisional.path, provisional.root, inode=provisional.inode
        )
        self._catalog.ledger.queue_links([provisional.id, image.id])

    def _displace(self, image: Image) -> None:
        displaced = self._moves.displace(image)
        self._catalog.observations.keep_place(displaced.path, displaced.root)
        self._catalog.ledger.queue_links([image.id])
        change = self.reclaim(displaced, exact=True)
        if change is not None:
            self.changes.append(change)

    def _may_be_found(self, image: Image, inode: int) -> bool:
        """True when the content that an image has may be at another path, unknown as yet."""
        in_place = bool(inode) and image.inode == inode
        return (
            self._is_of_another_disk(image, image.path)
            or (self._scanning and not in_place)
            or self._waits(image)
            or bool(self._moves.loose(image.content, "provisional", limit=1))
        )

    def _waits(self, image: Image, *, inode: int | None = None) -> bool:
        """True when a file (with this inode) waits to be read that may have an image's content."""
        content = self._catalog.contents.get(image.content)
        return content is not None and self._catalog.observations.waits_with_size(
            content.bytes, inode=inode, but=image.path
        )

    def _is_claimed(self, key: int) -> bool:
        """True when an image with this content may turn out to have left its path."""
        return any(self._moves.loose(key, doubt, limit=1) for doubt in ("changed", "displaced"))

    def _same_inode(self, key: int, inode: int, path: bytes, scope: Scope) -> Image | None:
        """The image with this content whose file this is, as the inode shows."""
        if not inode:
            return None
        for doubt in ("displaced", "", "changed"):
            for image in self._moves.loose(key, doubt, inode=inode, limit=_FEW):
                if image.path == path or image.root in scope.network:
                    continue
                if doubt == "changed":
                    known = self._catalog.observations.at(image.path)
                    if known is not None and known.stat[1] != inode:
                        return image
                    if image.state == "missing" and self.is_free(image, scope, path):
                        return image
                elif doubt or self.is_free(image, scope, path) or self._is_taken(image, inode):
                    return image
        return None

    def _is_taken(self, image: Image, inode: int) -> bool:
        """True when another file than the one with this inode has come to a missing image's path.

        No event or scan has said so yet.
        """
        try:
            found = self._disk.stat(image.path)
        except OSError:
            return False
        return found is not None and found.inode != inode and not self.is_kept(image)

    def _away(self, key: int, size: int, path: bytes, scope: Scope) -> Image | None:
        """An image with this content that is away: one of this name, else the oldest.

        Not one whose own file, by its inode, still waits to be read.
        """
        free = [
            image
            for doubt in ("displaced", "", "changed")
            for image in self._moves.loose(key, doubt, limit=_FEW)
            if (
                doubt == "displaced"
                or (image.state == "missing" and self.is_free(image, scope, path))
            )
            and not (
                image.inode
                and self._catalog.observations.waits_with_size(size, inode=image.inode, but=path)
            )
        ]
        name = os.path.basename(path)
        free.sort(key=lambda image: (os.path.basename(image.path) != name, image.id))
        return free[0] if free else None

    def is_free(self, image: Image, scope: Scope, path: bytes) -> bool:
        """True when a missing image is away still, and not because its disk is.

        Where its disk is away, the file at `path` may still have it that is on this very disk.
        """
        if not is_away(self._disk, image.path, scope.top_of(image.path), self._listings):
            return False
        if not self.is_kept(image):
            return True
        known = self._catalog.observations.at(path)
        return known is not None and self.volumes.has_returned(image, path, known.root)

    def _look_at_others(
        self, key: int, path: bytes, stat: FileStat, scope: Scope
    ) -> tuple[bool, bool]:
        """Look whether the other images with this content are where they were.

        Where they are many, each is looked at once in a scan. Returns whether there are any, and
        False when one of them is this very file and the path is not a name of it.
        """
        after = self._there.get(key, 0)
        others, looked, alike = key in self._there, 0, False
        while page := self._moves.with_content_after(key, after, limit=_SLICE):
            for image in page:
                if image.path != path:
                    others = True
                    if image.state != "missing":
                        alike |= self._look_at(image, stat, scope)
            after, looked = page[-1].id, looked + len(page)
        if key in self._there or looked > _FEW:
            self._there[key] = after
        return others, not alike or self._is_listed(path, scope)

    def _is_listed(self, path: bytes, scope: Scope) -> bool:
        return self._listings.has(path, scope.top_of(path))

    def _look_at(self, image: Image, stat: FileStat, scope: Scope) -> bool:
        """Look at the file of an image; True when it is the file with this stat."""
        try:
            found = self._disk.stat(image.path)
        except OSError:  # nobody can tell
            return False
        network = image.root in scope.network
        same = found is not None and found[:2] == stat[:2]
        if found is None or ((same or network) and not self._is_listed(image.path, scope)):
            if not self.is_kept(image):
                self._lose(image)
            return False
        known = self._catalog.observations.at(image.path)
        done = known is not None and known.state == "done"
        if known is not None and done and not same_file(known.stat, found, network=network):
            due = self._clock.monotonic() + scope.settle_s(known.root)
            self._catalog.observations.see(image.path, known.root, found, due=due)
            self.touched.append(image.path)
        return same

    def _lose(self, image: Image) -> None:
        self._catalog.observations.lose([image.path])
        self._catalog.images.miss([image.id], scans=0)
        self.touched.append(image.path)
        self.lost.append(image)

    def is_kept(self, image: Image) -> bool:
        """True when the image waits for a disk that is away: its row is not to be taken."""
        if image.kept is not None:
            return True
        root = self._catalog.roots.get(image.root)
        if root is None or root.held:
            return True
        anchor = os.path.dirname(image.path) if root.kind == "added" else root.path
        found = self._disk.identity(anchor)
        if found is None or (root.device and found[0] != root.device):
            return True
        return waits_for_mount(self._catalog, self._disk, image.path)


class Removal:
    """Decides whether a file stays out because a person took its content out."""

    def __init__(self, catalog: Catalog, disk: Disk, rows: Rows) -> None:
        self._catalog = catalog
        self._disk = disk
        self._rows = rows

    def stays_out(self, known: Observation, decoded: Decoded, scope: Scope) -> bool:
        """True when the file is to stay out; the caller holds the transaction.

        A person who asks for the file (`add`) has its content come in again. Other files with the
        same bytes that were in stay in, also under another name.
        """
        removals, sha256 = self._catalog.removals, decoded.sha256
        if not removals.among([sha256]):
            return False
        if known.asked:
            removals.forget(sha256)
            return False
        content = self._catalog.contents.get(key_of(sha256))
        if content is None or content.sha256 != sha256:
            return True
        images = self._catalog.images.with_content(content.key)
        if any(image.path == known.path for image in images):
            return False
        return not self._continues(known.path, decoded, images, scope)

    def _continues(self, path: bytes, decoded: Decoded, images: list[Image], scope: Scope) -> bool:
        """True when this is the file of an image that has left its path."""
        out = self._catalog.removals.files(decoded.sha256)
        left = [image for image in images if self._has_left(image)]
        was_out = any(inode == decoded.stat.inode for _, inode in out)
        called_out = _named(path, [one for one, _ in out])
        for image in left:
            seen = self._catalog.observations.at(image.path)
            if seen is not None and seen.stat[1] == decoded.stat.inode:
                # Of two hard links only the name tells which was taken out.
                return not (was_out and called_out and not _named(path, [image.path]))
        if was_out or called_out or self._catalog.images.at(path) is not None:
            return False  # an image whose bytes have changed has not moved here
        waits = self._catalog.observations.waits_with_size
        size = decoded.stat.size
        free = [
            image
            for image in left
            if self._rows.is_free(image, scope, path)
            and not (image.inode and waits(size, inode=image.inode, but=path))
        ]
        return len(free) == 1

    def _has_left(self, image: Image) -> bool:
        """True when the image's file is no longer at its path, and not because its disk is
        absent."""
        if self._rows.is_kept(image):
            return False
        try:
            stat = self._disk.stat(image.path)
        except OSError:
            return False
        seen = self._catalog.observations.at(image.path)
        return stat is None or (seen is not None and seen.stat[1] != stat.inode)

    def keep_out(self, known: Observation, decoded: Decoded) -> None:
        """Note that the file is one of those that stay out."""
        self._rows.leave(known.path)
        self._catalog.observations.release(known.path)
        self._catalog.observations.settle(known.path, "removed")
        self._catalog.removals.put(decoded.sha256, known.path, decoded.stat.inode)


def read_unread(catalog: Catalog) -> None:
    """Note the contents of files that an older version took out by their stat alone."""
    for path in catalog.removals.unread():
        known = catalog.observations.at(path)
        over = known is None or known.state != "removed"
        read = None if over else digest(path)
        with catalog.transaction():
            # Not the inode: the folder may have moved to another disk since.
            if known is not None and read is not None and known.stat[2:4] == read[0][2:4]:
                catalog.removals.put(read[1], path, known.stat[1])
                over = True
            if over:
                catalog.removals.read(path)


def _named(path: bytes, others: list[bytes]) -> bool:
    return os.path.basename(path) in {os.path.basename(other) for other in others}
