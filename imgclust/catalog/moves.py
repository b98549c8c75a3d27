"""Moves: image rows that may still change hands, because files have changed names or contents.

Ids follow contents, and a path tells nothing until it has been read. So a row that is not at rest
says why, in the catalog, where a crash does not lose it:

changed      the file at its path has changed, or another has come there, and waits to be read;
provisional  it is new, but an older image with its content, or of its path, may be found yet;
displaced    another image has its path now; until its content is found elsewhere it counts as
             missing, at a made-up path below that path.
"""

from __future__ import annotations

import os
from dataclasses import replace

import apsw

from imgclust.catalog.images import Image

_COLUMNS = "id, path, root, content, state, misses, added, inode, doubt"
# What the index of such rows holds; SQLite uses it where a query says so in these words.
_LOOSE = "(doubt <> '' OR state = 'missing')"


class Moves:
    """Questions about image rows in doubt, and the changes that settle them."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def loose(
        self, content: int, doubt: str, *, inode: int | None = None, limit: int
    ) -> list[Image]:
        """Some images with a content that are in this doubt ("": missing), the oldest first.

        Parameters
        ----------
        inode
            Only those whose file had this inode.
        """
        condition = "" if inode is None else "AND inode = ?4 "
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM images INDEXED BY images_in_doubt WHERE {_LOOSE} "
            f"AND content = ?1 AND doubt = ?2 {condition}ORDER BY inode, id LIMIT ?3",
            (content, doubt, limit, inode)[: 3 if inode is None else 4],
        )
        return sorted((Image(*row) for row in rows), key=lambda image: image.id)

    def with_content_after(self, content: int, image: int, *, limit: int) -> list[Image]:
        """Images with this content and an id above another, by id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM images WHERE content = ? AND id > ? ORDER BY id LIMIT ?",
            (content, image, limit),
        )
        return [Image(*row) for row in rows]

    def doubt(self, image: int, doubt: str) -> None:
        """Say why a row may change hands, or with "" that it does not any more."""
        self._connection.execute("UPDATE images SET doubt = ? WHERE id = ?", (doubt, image))

    def displace(self, image: Image) -> Image:
        """Take an image from its path, which another one is to have; returns it as it is then."""
        path = os.path.join(image.path, b"%d" % image.id, os.path.basename(image.path))
        self._connection.execute(
            "UPDATE images SET path = ?, former = ?, state = 'missing', misses = 0, "
            "doubt = 'displaced' WHERE id = ?",
            (path, image.path, image.id),
        )
        return replace(image, path=path, state="missing", misses=0, doubt="displaced")

    def displaced(self, after: int, limit: int) -> list[tuple[Image, bytes]]:
        """Displaced images with an id above `after` and the paths that they had, by id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, former FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt = 'displaced' AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [(Image(*row[:-1]), bytes(row[-1])) for row in rows]

    def provisional(self, after: int, limit: int) -> list[Image]:
        """Provisional images with an id above `after`, by id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt = 'provisional' AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [Image(*row) for row in rows]

    def unsettled(self) -> bool:
        """True when an image is provisional or displaced."""
        row = self._connection.execute(
            "SELECT 1 FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt IN ('provisional', 'displaced') LIMIT 1"
        ).fetchone()
        return row is not None

    def leave_missing(self, image: int) -> None:
        """A displaced image was found nowhere: scans decide what becomes of it."""
        self._connection.execute(
            "UPDATE images SET doubt = '', former = NULL WHERE id = ?", (image,)
        )
