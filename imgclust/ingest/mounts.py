"""Mounts of a root while it is scanned, and disks that take the place of others."""

from __future__ import annotations

import enum
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.catalog.roots import Mount, Root, Volume
from imgclust.fs import is_at_or_below, is_below
from imgclust.images.filestat import FileStat
from imgclust.ingest.environment import Disk
from imgclust.ingest.events import Event
from imgclust.reconcile import OTHER_DISK, MountScan, hold_mount, is_offline
from imgclust.wording import printable


class Found(enum.Enum):
    """What is at the place of a volume now."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"  # something is mounted there, and nothing tells what


class VolumeTracker:
    """Compares the file systems that are there with those that images were read from.

    A memory card has the file names of another one, and a folder the names of the disk that was
    mounted on it. So a path tells which image a file is only while the same file system is there.
    """

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


@dataclass
class MountVerdict:
    """What a scan found out about the mounts of a root.

    Attributes
    ----------
    held
        Why nothing below a mount is to be removed, by mount.
    lost
        Mounts that are away: nothing that is known of what is below them is to be forgotten.
    doubtful
        Mounts that are there, and whose images seem to have vanished for the first time.
    gone
        Mounts that are gone, and have lost nothing.
    """

    held: dict[bytes, str] = field(default_factory=dict)
    lost: set[bytes] = field(default_factory=set)
    doubtful: set[bytes] = field(default_factory=set)
    gone: set[bytes] = field(default_factory=set)


class RootMounts:
    """The mounts of one root during one scan.

    A mount is a folder whose device differs from that of the folder above it, or that the mount
    table names: a bind mount has the device of its source, a subvolume is in no table.
    """

    def __init__(self, catalog: Catalog, disk: Disk, root: Root) -> None:
        self._catalog = catalog
        self._disk = disk
        self._root = root
        self._folder: bytes | None = None
        self._climbed: set[bytes] = set()
        self._devices: dict[bytes, int | None] = {}
        self._found: set[bytes] = set()
        self._known: dict[bytes, Mount] = {}
        self._missing: Counter[bytes] = Counter()
        for mount in catalog.mounts.of_root(root.id):
            self._known[mount.path] = mount
        for image in catalog.images.missing() if self._known else ():
            mount_path = self._above(image.path, self._known)
            if mount_path is not None:
                self._missing[mount_path] += 1
        self._of_root = self._device(root.path)
        self._own: Counter[bytes] = Counter()
        self.verdict = MountVerdict()

    def met(self, path: bytes, stat: FileStat) -> None:
        """Note which mounts a file is below; files of one folder come one after the other."""
        folder = os.path.dirname(path)
        if folder == self._folder:
            return
        self._folder = folder
        if stat.device == self._of_root:
            return
        while is_below(folder, self._root.path) and folder not in self._climbed:
            self._climbed.add(folder)
            above = os.path.dirname(folder)
            if None not in (self._device(folder), self._device(above)) and (
                self._device(folder) != self._device(above)
            ):
                self._found.add(folder)
            folder = above

    def decide(
        self, absent: Sequence[Image], troubles: Sequence[bytes], *, share: float, least: int
    ) -> MountVerdict:
        """Find out which mounts are away or are other ones now; `troubles` could not be listed."""
        self._devices.clear()
        points = self._disk.mount_points(self._root.path)
        found = self._found | {
            point
            for point in points
            if self._disk.is_folder(point)
            and self._catalog.observations.below(point, limit=1)
            and is_at_or_below(point, self._root.path)
        }
        if self._is_mounted(self._root.path, points):
            found.add(self._root.path)
        paths = found | self._known.keys()
        counts = {path: self._catalog.images.count_below(path, self._root.id) for path in paths}
        own = Counter(counts)
        for path in paths:
            above = self._above(path, paths)
            if above is not None:
                own[above] -= counts[path]
        away: dict[bytes, list[Image]] = {path: [] for path in paths}
        for image in absent:
            over = self._above(image.path, paths)
            if over is not None:
                away[over].append(image)
        verdict = MountVerdict()
        for path in sorted(paths):
            if any(is_at_or_below(path, one) for one in troubles):
                verdict.lost.add(path)  # nobody can tell
                if (before := self._known.get(path)) is not None and before.held:
                    verdict.held[path] = before.held
                continue
            self._judge(path, points, own[path], away[path], share, least, verdict)
        self._found = found
        self._own = own
        self.verdict = verdict
        return verdict

    def _judge(
        self,
        path: bytes,
        points: set[bytes],
        images: int,
        absent: Sequence[Image],
        share: float,
        least: int,
        verdict: MountVerdict,
    ) -> None:
        newly = [image.path for image in absent if image.misses == 0]
        moved = self._catalog.observations.moved(newly) if newly else 0
        before = self._known.get(path)
        device = self._device(path)
        there = self._disk.is_folder(path) or path == self._root.path
        files = self._disk.scan(path, skip=(), trouble=lambda *_: None) if there else iter(())
        scan = MountScan(
            there=there,
            mounted=there and self._is_mounted(path, points),
            files=next(files, None) is not None,
            images=images - moved,
            absent=len(absent) - moved,
            newly_missing=len(newly) - moved,
            missing_before=self._missing[path],
            device_changed=before is not None and device != before.device,
            held=None if before is None else before.held,
            is_root=path == self._root.path,
        )
        reason = hold_mount(scan, share=share, least=least)
        if scan.lost:
            verdict.lost.add(path)
        if reason is not None:
            verdict.held[path] = reason
            if not scan.lost and scan.held is None:
                verdict.doubtful.add(path)
        elif scan.there and not scan.mounted and scan.files and not scan.absent:
            verdict.gone.add(path)  # a plain folder now, which has all that was mounted here

    def write(self) -> list[tuple[bytes, str, int]]:
        """Remember the mounts and what was decided of them; the caller holds the transaction.

        Returns
        -------
        Mounts that are held, each with the reason and the number of its images; not one that
        another of them is mounted in.
        """
        for path in self._found - self._known.keys():
            self._catalog.mounts.put(path, self._root.id, self._device(path) or 0)
        for path in self._found | self._known.keys():
            reason = self.verdict.held.get(path)
            device = self._device(path)
            if reason is None and path not in self.verdict.lost and device is not None:
                self._catalog.mounts.put(path, self._root.id, device)
            self._catalog.mounts.hold(path, self._root.id, reason)
        self._catalog.mounts.forget(
            self._known[path] for path in self.verdict.gone if path in self._known
        )
        held = {path for path in self.verdict.held if path != self._root.path}
        return [
            (path, self.verdict.held[path], self._own[path])
            for path in sorted(held)
            if self._above(path, held) is None
        ]

    def there(self) -> set[bytes]:
        """Mounts that are there; the root is among them where something is mounted on it."""
        return self._found - self.verdict.lost - self.verdict.gone

    def known(self) -> set[bytes]:
        """Mounts that were known before this scan."""
        return set(self._known)

    def was_held(self, path: bytes) -> bool:
        """True when the mount was held before this scan."""
        return path in self._known and self._known[path].held is not None

    def keeps(self, path: bytes) -> bool:
        """True when nothing that is known of the path is to be forgotten: its mount is away."""
        return any(is_below(path, lost) for lost in self.verdict.lost)

    def holds(self, path: bytes) -> bool:
        """True when the image at the path waits for its mount."""
        over = self._above(path, self._found | self._known.keys())
        return over is not None and over != self._root.path and over in self.verdict.held

    def held_images(self) -> int:
        """How many images belong to mounts that are held."""
        return sum(self._own[path] for path in self.verdict.held if path != self._root.path)

    def lost_since(self) -> bool:
        """True when a mount has left since it was decided."""
        self._devices.clear()
        left = (self._found | self._known.keys()) - self.verdict.lost - self.verdict.gone
        if not left:
            return False
        points = self._disk.mount_points(self._root.path)
        return not all(self._is_mounted(path, points) for path in left)

    def _is_mounted(self, path: bytes, points: set[bytes]) -> bool:
        device, above = self._device(path), self._device(os.path.dirname(path))
        return device is not None and (path in points or (above is not None and device != above))

    def _device(self, folder: bytes) -> int | None:
        if folder not in self._devices:
            identity = self._disk.identity(folder)
            self._devices[folder] = None if identity is None else identity[0]
        return self._devices[folder]

    @staticmethod
    def _above(path: bytes, mounts: Iterable[bytes]) -> bytes | None:
        """The innermost of the mounts that a path is below."""
        return max((mount for mount in mounts if is_below(path, mount)), key=len, default=None)


def waits_for_mount(catalog: Catalog, disk: Disk, path: bytes) -> bool:
    """True when the path is below a mount that is held, or not there at this moment."""
    for mount in catalog.mounts.all():
        if is_below(path, mount.path) and (mount.held or _is_away(disk, mount.path)):
            return True
    return False


def _is_away(disk: Disk, mount: bytes) -> bool:
    here, above = disk.identity(mount), disk.identity(os.path.dirname(mount))
    if here is None or above is None:
        return True
    return here[0] == above[0] and mount not in disk.mount_points(mount)


def forget_lost_mounts(catalog: Catalog, disk: Disk) -> None:
    """Forget the mounts that are held or away: their images were accepted as gone.

    The caller holds the transaction. What is mounted is remembered again by the next scan.
    """
    mounts = {mount.path for mount in catalog.mounts.all()}
    lost = [one for one in catalog.volumes.all() if one.path in mounts and _is_away(disk, one.path)]
    catalog.volumes.forget(lost)
    catalog.mounts.forget(
        mount for mount in catalog.mounts.all() if waits_for_mount(catalog, disk, mount.path + b"/")
    )


@dataclass(frozen=True)
class HeldFolder:
    """A root, or a mount below one, whose images are kept although some are not there.

    `images` counts all that it has, `missing` those that are not there.
    """

    path: bytes
    reason: str
    images: int
    missing: int

    @property
    def offline(self) -> bool:
        """True when no more is wrong than that the disk is not there now."""
        return is_offline(self.reason)


def held_folders(catalog: Catalog) -> tuple[HeldFolder, ...]:
    """The folders that are held, those among them whose root is held aside."""
    roots = catalog.roots.all()
    held = {root.id for root in roots if root.held}
    images = catalog.images
    found = []
    for root in roots:
        if root.held and (count := images.count(root.id)):
            missing = images.count_missing(root.id)
            found.append(HeldFolder(root.path, root.held, count, missing))
    mounts = [mount for mount in catalog.mounts.held() if mount.root not in held]
    for mount in mounts:
        missing = images.count_missing_below(mount.path, mount.root)
        outer = any(is_below(mount.path, other.path) for other in mounts)
        if missing and mount.held and not outer:
            count = images.count_below(mount.path, mount.root)
            found.append(HeldFolder(mount.path, mount.held, count, missing))
    for (folder, root_id), missing in catalog.volumes.kept().items():
        if root_id not in held and not any(is_at_or_below(folder, one.path) for one in found):
            count = images.count_below(folder, root_id)
            found.append(HeldFolder(folder, OTHER_DISK, count, missing))
    return tuple(found)


class Holds:
    """Says of images that are missing why they are kept."""

    def __init__(self, roots: Iterable[Root], mounts: Iterable[Mount]) -> None:
        self._roots = {root.id: root.held for root in roots if root.held}
        self._mounts = [mount for mount in mounts if mount.held]

    @classmethod
    def of(cls, catalog: Catalog) -> Holds:
        """The holds of a catalog as they are now."""
        return cls(catalog.roots.all(), catalog.mounts.held())

    def reason(self, image: Image) -> str | None:
        """Why the image is kept if it is missing; None when nothing holds it."""
        if image.kept is not None:
            return OTHER_DISK
        if image.root in self._roots:
            return self._roots[image.root]
        for mount in self._mounts:
            if mount.root == image.root and is_below(image.path, mount.path):
                return mount.held
        return None


def write_hold(
    catalog: Catalog, root: Root, reason: str | None, mounts: RootMounts
) -> list[tuple[Event, bool]]:
    """Write that a root is held for this reason, or else which of its mounts are.

    The caller holds the transaction. What frees a root is written at the end of its scan.

    Returns
    -------
    An event for each folder that is held, and whether it was not held before.
    """
    held = [(path, why, count, not mounts.was_held(path)) for path, why, count in mounts.write()]
    if reason is not None:
        catalog.roots.hold(root.id, reason)
        held = [(root.path, reason, catalog.images.count(root.id), root.held is None)]
    events = []
    for path, why, count, first in held:
        sentence = held_sentence(why, count)
        if first:
            catalog.event("held", f"{printable(path)}: {sentence}")
        kind = "offline" if is_offline(why) and not first else "held"
        events.append((Event(kind, sentence, path), first))
    return events


def held_sentence(reason: str, images: int) -> str:
    """Why images are held, and what becomes of them."""
    if is_offline(reason):
        kept = "1 image is" if images == 1 else f"{images:,} images are"
        return f"{reason}; offline: {kept} kept until the disk is back"
    return (
        f"{reason}; nothing is removed until the images are back, or until "
        "`imgclust missing accept`"
    )
