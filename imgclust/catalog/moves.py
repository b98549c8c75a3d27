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
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from imgclust.catalog.cursor import Table
from imgclust.catalog.images import Image, bounds_below

_COLUMNS = "id, path, root, content, state, misses, added, inode, doubt, kept"
# What the index of such rows holds; SQLite uses it where a query says so in these words.
_LOOSE = "(doubt <> '' OR state = 'missing')"

# The path that a row `r` below the old folder gets: ?3 is the new folder, ?4 what is kept of the
# path. Paths are bytes; what SQLite puts together is text until it is cast.
_TARGET = "CAST(?3 || substr(r.path, ?4) AS BLOB)"

_BELOW = "r.path > ?1 AND r.path < ?2"

# All columns that hold paths of files.
_PATHS = (
    ("images", "path"),
    ("images", "former"),
    ("images", "kept"),
    ("observations", "path"),
    ("quarantine", "path"),
    ("requests", "path"),
    ("removals", "path"),
    ("removals_unread", "path"),
)


class Moves(Table):
    """Questions about image rows in doubt, and the changes that settle them."""

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
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM images INDEXED BY images_in_doubt WHERE {_LOOSE} "
            f"AND content = ?1 AND doubt = ?2 {condition}ORDER BY inode, id LIMIT ?3",
            (content, doubt, limit, inode)[: 3 if inode is None else 4],
        )
        return sorted((Image(*row) for row in rows), key=lambda image: image.id)

    def with_content_after(self, content: int, image: int, *, limit: int) -> list[Image]:
        """Images with this content and an id above another, by id."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM images WHERE content = ? AND id > ? ORDER BY id LIMIT ?",
            (content, image, limit),
        )
        return [Image(*row) for row in rows]

    def doubt(self, image: int, doubt: str) -> None:
        """Say why a row may change hands, or with "" that it does not any more."""
        self._execute("UPDATE images SET doubt = ? WHERE id = ?", (doubt, image))

    def displace(self, image: Image) -> Image:
        """Take an image from its path, which another one is to have; returns it as it is then."""
        path = os.path.join(image.path, b"%d" % image.id, os.path.basename(image.path))
        self._execute(
            "UPDATE images SET path = ?, former = ?, state = 'missing', misses = 0, "
            "doubt = 'displaced' WHERE id = ?",
            (path, image.path, image.id),
        )
        return replace(image, path=path, state="missing", misses=0, doubt="displaced")

    def displaced(self, after: int, limit: int) -> list[tuple[Image, bytes]]:
        """Displaced images with an id above `after` and the paths that they had, by id."""
        rows = self._execute(
            f"SELECT {_COLUMNS}, former FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt = 'displaced' AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [(Image(*row[:-1]), bytes(row[-1])) for row in rows]

    def provisional(self, after: int, limit: int) -> list[Image]:
        """Provisional images with an id above `after`, by id."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt = 'provisional' AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [Image(*row) for row in rows]

    def unsettled(self) -> bool:
        """True when an image is provisional or displaced."""
        row = self._execute(
            "SELECT 1 FROM images INDEXED BY images_unsettled "
            "WHERE doubt <> '' AND doubt IN ('provisional', 'displaced') LIMIT 1"
        ).fetchone()
        return row is not None

    def leave_missing(self, image: int) -> None:
        """A displaced image was found nowhere: scans decide what becomes of it."""
        self._execute("UPDATE images SET doubt = '', former = NULL WHERE id = ?", (image,))

    def keep(self, images: Iterable[int], folder: bytes) -> None:
        """These missing images stay until they are found: another disk is in this folder now."""
        self._executemany(
            "UPDATE images SET doubt = '', kept = ? WHERE id = ? AND state = 'missing'",
            [(folder, image) for image in images],
        )

    def path_of(self, image: int) -> bytes:
        """The path that the file of an image had, also when another image has it now."""
        return bytes(
            self._execute("SELECT coalesce(former, path) FROM images WHERE id = ?", (image,)).get
        )


@dataclass(frozen=True)
class MovedImage:
    """An image below a folder that has moved, and what its file is known to be.

    `gone`: a scan had found before that there is no such file at its path.
    """

    id: int
    path: bytes
    content: int
    sha256: bytes
    bytes: int
    gone: bool


@dataclass(frozen=True)
class DoubledImage:
    """An image below a folder that has moved, and the newer one that is at its new path."""

    id: int
    content: int
    newer: int
    newer_content: int


class FolderMoves(Table):
    """The table folder_moves, and the rows of others by folder; the caller holds the transaction.

    Neither of two folders may lie in the other.
    """

    def target(self, old: bytes) -> bytes | None:
        """Where this folder was moved to."""
        row = self._execute("SELECT new FROM folder_moves WHERE old = ?", (old,)).fetchone()
        return None if row is None else bytes(row[0])

    def note(self, old: bytes, new: bytes) -> None:
        """Remember that a folder was moved."""
        self._execute("DELETE FROM folder_moves WHERE old = ?", (new,))
        self._execute(
            "INSERT OR REPLACE INTO folder_moves VALUES (?, ?, ?)", (old, new, time.time())
        )

    def images(self, folder: bytes) -> Iterator[MovedImage]:
        """All images below a folder, with what their files are known to be."""
        rows = self._execute(
            "SELECT i.id, i.path, i.content, c.sha256, c.bytes, "
            "i.misses > 0 OR i.doubt = 'displaced' FROM images i "
            "JOIN contents c ON c.key = i.content WHERE i.path > ? AND i.path < ?",
            bounds_below(folder),
        )
        for row in rows:
            yield MovedImage(*row)

    def doubled(self, old: bytes, new: bytes) -> list[DoubledImage]:
        """Images below `old` to whose new path another image has come already."""
        rows = self._execute(
            "SELECT r.id, r.content, n.id, n.content FROM images r "
            f"JOIN images n ON n.path = {_TARGET} WHERE {_BELOW}",
            _values(old, new),
        )
        return [DoubledImage(*row) for row in rows]

    def contents_below(self, folder: bytes) -> dict[int, list[int]]:
        """Ids of the images below a folder that are there, by content."""
        found: dict[int, list[int]] = {}
        rows = self._execute(
            "SELECT content, id FROM images WHERE path > ? AND path < ? AND state = 'present' "
            "ORDER BY id",
            bounds_below(folder),
        )
        for content, image in rows:
            found.setdefault(content, []).append(image)
        return found

    def move(self, old: bytes, new: bytes) -> None:
        """Change all paths below a folder: of images, of what was observed, asked and taken out.

        No image may be at a new path. What was observed there stays: it is the newer.
        """
        values = _values(old, new)
        for table in ("observations", "quarantine", "requests", "removals_unread"):
            self._execute(
                f"DELETE FROM {table} AS r WHERE {_BELOW} AND EXISTS "
                f"(SELECT 1 FROM {table} n WHERE n.path = {_TARGET})",
                values,
            )
        for table, column in _PATHS:
            self._execute(
                f"UPDATE {table} AS r SET {column} = {_TARGET.replace('path', column)} "
                f"WHERE {_BELOW.replace('path', column)}",
                values,
            )
        self._execute(  # 0: an inode tells nothing there
            "UPDATE images AS r SET inode = o.inode FROM observations o "
            f"WHERE {_BELOW} AND r.inode <> 0 AND o.path = r.path AND o.state = 'done'",
            bounds_below(new),
        )

    def move_root(self, root: int, path: bytes) -> None:
        """Give a root another path; which disk it is on there is not known yet."""
        self._execute("DELETE FROM mounts WHERE root = ?", (root,))
        self._execute("DELETE FROM volumes WHERE root = ?", (root,))
        self._execute(
            "UPDATE roots SET path = ?, device = 0, inode = 0, held = NULL WHERE id = ?",
            (path, root),
        )

    def merge_root(self, root: int, into: int) -> None:
        """Have another root take over all that belongs to a root, which goes."""
        self._execute("DELETE FROM mounts WHERE root = ?", (root,))
        self._execute("DELETE FROM volumes WHERE root = ?", (root,))
        for table in ("images", "observations", "requests"):
            self._execute(f"UPDATE {table} SET root = ? WHERE root = ?", (into, root))
        self._execute(
            "UPDATE roots SET kind = 'watched' WHERE id = ? AND "
            "(SELECT kind FROM roots WHERE id = ?) = 'watched'",
            (into, root),
        )
        self._execute("DELETE FROM roots WHERE id = ?", (root,))

    def hand_over(self, folder: bytes, *, root: int, into: int) -> None:
        """Have another root take over what a root has below a folder."""
        for table in ("images", "observations", "requests"):
            self._execute(
                f"UPDATE {table} SET root = ? WHERE root = ? AND path > ? AND path < ?",
                (into, root, *bounds_below(folder)),
            )

    def forget_mounts(self, folder: bytes) -> None:
        """Forget which mounts there were at and below a folder."""
        for table in ("mounts", "volumes"):
            self._execute(
                f"DELETE FROM {table} WHERE path = ? OR (path > ? AND path < ?)",
                (folder, *bounds_below(folder)),
            )

    def found(self, images: Sequence[int]) -> None:
        """The files of these images are there."""
        values = [(image,) for image in images]
        self._executemany(
            "UPDATE images SET state = 'present', misses = 0, kept = NULL "
            "WHERE id = ? AND state <> 'present'",
            values,
        )
        self._executemany(
            "UPDATE observations SET state = 'done' WHERE state = 'missing' AND path = "
            "(SELECT path FROM images WHERE id = ?)",
            values,
        )


def _values(old: bytes, new: bytes) -> tuple[bytes, bytes, bytes, int]:
    top = old.rstrip(b"/")
    return (*bounds_below(old), new.rstrip(b"/"), len(top) + 1)
