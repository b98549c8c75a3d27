"""Which image row a file gets: that of its path, that of an image that moved, or a new one."""

from __future__ import annotations

import os
from collections.abc import Callable

from imgclust.catalog import Catalog, Image, Observation
from imgclust.images import Decoded
from imgclust.ingest.place import Disk, is_away


class Rows:
    """The image rows of a catalog, as the files of `disk` take, move and leave them.

    `left` hears of each path that an image has left for another.
    """

    def __init__(self, catalog: Catalog, disk: Disk, *, left: Callable[[bytes], None]) -> None:
        self._catalog = catalog
        self._disk = disk
        self._left = left

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
            self._left(moved.path)
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
        away = [
            image
            for image in self._catalog.images.with_content(key)
            if is_away(self._disk, image.path) and not self.is_kept(image)
        ]
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
        return found is None or bool(root.device and found[0] != root.device)
