"""Images that are kept although they are not there: which, why, and the message about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imgclust.catalog import Catalog, Image, Mount, Root
from imgclust.fs import is_below
from imgclust.ingest.events import Event
from imgclust.ingest.mounts import RootMounts
from imgclust.reconcile import is_offline
from imgclust.wording import printable


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
