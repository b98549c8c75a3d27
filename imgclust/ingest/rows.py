"""Which image row a file gets: that of its path, that of an image that moved, or a new one."""

from __future__ import annotations

import os

from imgclust.catalog import Catalog, Image, Observation
from imgclust.images import Decoded
from imgclust.ingest.mounts import waits_for_mount
from imgclust.ingest.place import Disk, is_away


class Rows:
    """The image rows of a catalog, as the files of `disk` take, move and leave them."""

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk

    def take(self, known: Observation, key: int, decoded: Decoded) -> tuple[str, int]:
        """Give the path its row, and the row this content.

        Returns what that was, "touched", "replaced", "moved" or "new", and the image's id.
        """
        images = self._catalog.images
        there = images.at(known.path)
        if there is not None:
            if there.content == key:
                images.found(there.id)
                return "touched", there.id
            images.set_content(there.id, key)
            self._catalog.contents.drop_orphan(there.content)
            return "replaced", there.id
        moved = self._moved_from(key, decoded)
        if moved is not None:
            self._catalog.observations.forget(moved.path)
            images.move(moved.id, known.path, known.root)
            return "moved", moved.id
        return "new", images.insert(known.path, known.root, key)

    def leave(self, path: bytes) -> None:
        """There is no image at the path any more: the row goes, if there is one."""
        image = self._catalog.images.at(path)
        if image is not None:
            self._catalog.remove_image(image)

    def _moved_from(self, key: int, decoded: Decoded) -> Image | None:
        """The missing image whose file this is: the one with its inode, else the only one."""
        away = []
        for image in self._catalog.images.with_content(key):
            if not is_away(self._disk, image.path):
                continue
            observed = self._catalog.observations.at(image.path)
            file = None if observed is None else observed.stat[:2]
            if file == (decoded.stat.device, decoded.stat.inode):
                return image  # the very file, whatever has become of the folder that it was in
            if not self.is_kept(image):
                away.append(image)
        for image in away:
            observed = self._catalog.observations.at(image.path)
            if observed is not None and observed.stat[1] == decoded.stat.inode:
                return image
        return away[0] if len(away) == 1 else None

    def is_kept(self, image: Image) -> bool:
        """True when the image waits for a disk that is away: its row is not to be taken."""
        root = self._catalog.roots.get(image.root)
        if root is None or root.held:
            return True
        anchor = os.path.dirname(image.path) if root.kind == "added" else root.path
        found = self._disk.identity(anchor)
        if found is None or (root.device and found[0] != root.device):
            return True
        return waits_for_mount(self._catalog, self._disk, image.path)
