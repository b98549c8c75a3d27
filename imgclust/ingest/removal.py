"""What a person took out stays out, whatever its file is called now."""

from __future__ import annotations

import os

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.catalog.images import Image
from imgclust.catalog.observations import Observation
from imgclust.images.read_results import Decoded
from imgclust.images.reader import digest
from imgclust.ingest.environment import Disk, Scope
from imgclust.ingest.rows import Rows


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
