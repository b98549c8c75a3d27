"""Images: the files of the collection, by path, root and content."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apsw
import numpy as np
import numpy.typing as npt

_COLUMNS = "id, path, root, content, state, misses, added, inode, doubt"


@dataclass(frozen=True)
class Image:
    """One file of the collection; `added` is the wall clock at its first commit.

    `inode` is that of the file as it was last read, 0 when it is not known; `doubt` says why the
    row may still change hands (see `Moves`), empty when it does not.
    """

    id: int
    path: bytes
    root: int
    content: int
    state: str
    misses: int
    added: float
    inode: int = 0
    doubt: str = ""


def bounds_below(folder: bytes) -> tuple[bytes, bytes]:
    """What the paths below a folder lie between, in the order of their bytes."""
    top = folder.rstrip(b"/")
    return top + b"/", top + b"0"  # b"0" follows b"/" in ASCII


class Images:
    """The table images."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def get(self, image: int) -> Image | None:
        """The image with this id; none has a number that SQLite cannot hold."""
        return self._one("id = ?", image) if abs(image) < 1 << 63 else None

    def numbered(self, digits: str) -> Image | None:
        """The image whose id is written in these digits, however many they are."""
        return self.get(int(digits)) if len(digits) < 20 else None

    def at(self, path: bytes) -> Image | None:
        """The image at this path."""
        return self._one("path = ?", path)

    def some(self, ids: Sequence[int]) -> dict[int, Image]:
        """Those of the images `ids` that exist, by id."""
        rows = self._connection.executemany(
            f"SELECT {_COLUMNS} FROM images WHERE id = ?", [(image,) for image in ids]
        )
        return {row[0]: Image(*row) for row in rows}

    def with_content(self, content: int) -> list[Image]:
        """All images with this content, oldest first."""
        return self._many("content = ? ORDER BY id", content)

    def all(self) -> Iterator[Image]:
        """All images by id."""
        for row in self._connection.execute(f"SELECT {_COLUMNS} FROM images ORDER BY id"):
            yield Image(*row)

    def page_of_root(self, root: int, *, after: int, limit: int) -> list[Image]:
        """Images of a root with an id above `after`, by id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM images WHERE root = ? AND id > ? ORDER BY id LIMIT ?",
            (root, after, limit),
        )
        return [Image(*row) for row in rows]

    def newest_of_root(self, root: int, limit: int, *, but: bytes) -> list[bytes]:
        """Paths of the newest images of a root that are there, without one path."""
        rows = self._connection.execute(
            "SELECT path FROM images WHERE root = ? AND state = 'present' AND path <> ? "
            "ORDER BY id DESC LIMIT ?",
            (root, but, limit),
        )
        return [bytes(path) for (path,) in rows]

    def missing(self) -> list[Image]:
        """Images that are missing now."""
        return self._many("state = 'missing' ORDER BY +id")  # +: by the index of missing ones

    def count_missing(self, root: int | None = None) -> int:
        """Number of images that are not where they were."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM images WHERE state = 'missing' AND (?1 IS NULL OR root = ?1)",
                (root,),
            ).get
        )

    def gone(self, misses: int, limit: int) -> list[Image]:
        """Images that as many scans have missed, in roots and below mounts that are not held."""
        held = [
            bytes(path)
            for (path,) in self._connection.execute("SELECT path FROM mounts WHERE held NOTNULL")
        ]
        bounds = [bound for path in held for bound in bounds_below(path)]
        return self._many(
            "state = 'missing' AND misses >= ? AND root IN "
            "(SELECT id FROM roots WHERE held IS NULL) "
            f"{'AND NOT (path > ? AND path < ?) ' * len(held)}ORDER BY id LIMIT ?",
            misses,
            *bounds,
            limit,
        )

    def below(self, folder: bytes) -> list[Image]:
        """All images below a folder, by path."""
        return self._many("path > ? AND path < ? ORDER BY path", *bounds_below(folder))

    def count_below(self, folder: bytes, root: int) -> int:
        """Number of images of a root below a folder, missing ones included."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM images WHERE path > ? AND path < ? AND root = ?",
                (*bounds_below(folder), root),
            ).get
        )

    def count_missing_below(self, folder: bytes, root: int) -> int:
        """Number of images of a root below a folder that are missing."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM images WHERE state = 'missing' AND root = ?3 "
                "AND +path > ?1 AND +path < ?2",
                (*bounds_below(folder), root),
            ).get
        )

    def found_elsewhere(
        self, roots: Sequence[int], *, limit: int
    ) -> list[tuple[int, bytes, bytes]]:
        """Images that are missing, or of `roots`, of whose content there is a newer image.

        Root and path of each, and the path of the newer one; at most so many.
        """
        rows = self._connection.execute(
            "SELECT m.root, m.path, p.path FROM images m JOIN images p ON p.content = m.content "
            "AND p.id > m.id AND p.state = 'present' AND p.root NOT IN "
            "(SELECT value FROM json_each(?1)) WHERE m.state = 'missing' OR m.root IN "
            "(SELECT value FROM json_each(?1)) LIMIT ?2",
            (json.dumps(list(roots)), limit),
        )
        return [(int(root), bytes(old), bytes(new)) for root, old, new in rows]

    def count_away_below(self, folder: bytes, roots: Sequence[int]) -> int:
        """Number of images below a folder that are missing, or of `roots`."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM images WHERE path > ? AND path < ? AND (state = 'missing' "
                "OR root IN (SELECT value FROM json_each(?)))",
                (*bounds_below(folder), json.dumps(list(roots))),
            ).get
        )

    def insert(self, path: bytes, root: int, content: int, *, inode: int = 0) -> int:
        """Add an image; its id was never used before."""
        self._connection.execute(
            "INSERT INTO images (path, root, content, added, inode) VALUES (?, ?, ?, ?, ?)",
            (path, root, content, time.time(), inode),
        )
        return self._connection.last_insert_rowid()

    def insert_all(
        self, rows: Sequence[tuple[bytes, int, int]], *, inodes: Sequence[int] = ()
    ) -> list[int]:
        """Add images (path, root, content) at once; returns their ids in that order."""
        now = time.time()
        # Ids that are given cost a third of ids that SQLite chooses and returns one by one.
        first = 1 + int(
            self._connection.execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'images'"
            ).get
            or 0
        )
        ids = list(range(first, first + len(rows)))
        self._connection.executemany(
            "INSERT INTO images (id, path, root, content, added, inode) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (image, *row, now, inode)
                for image, row, inode in zip(ids, rows, inodes or [0] * len(rows), strict=True)
            ],
        )
        return ids

    def occupied(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those of the paths that an image has."""
        rows = self._connection.executemany(
            "SELECT path FROM images WHERE path = ?", [(path,) for path in paths]
        )
        return {bytes(path) for (path,) in rows}

    def move(self, image: int, path: bytes, root: int, *, inode: int = 0) -> None:
        """Give the image another path; id, content and cluster stay."""
        self._connection.execute(
            "UPDATE images SET path = ?, root = ?, inode = ?, state = 'present', misses = 0, "
            "doubt = '', former = NULL WHERE id = ?",
            (path, root, inode, image),
        )

    def relocate(self, path: bytes, root: int) -> None:
        """The image at this path belongs to another root now."""
        self._connection.execute("UPDATE images SET root = ? WHERE path = ?", (root, path))

    def set_content(self, image: int, content: int, *, inode: int = 0) -> None:
        """The file was replaced in place: same image, other content."""
        self._connection.execute(
            "UPDATE images SET content = ?, inode = ?, state = 'present', misses = 0, doubt = '' "
            "WHERE id = ?",
            (content, inode, image),
        )

    def found(self, image: int, *, inode: int | None = None) -> None:
        """The image is where it should be, in the file with this inode."""
        self._queue_pages([image], "missing")
        self._connection.execute(
            "UPDATE images SET state = 'present', misses = 0, doubt = '', "
            "inode = coalesce(?, inode) WHERE id = ?",
            (inode, image),
        )

    def miss(self, images: Iterable[int], *, scans: int) -> None:
        """The images are missing; `scans` healthy scans (0 for a mere event) more have shown it."""
        away = list(images)
        self._queue_pages(away, "present")
        self._connection.executemany(
            "UPDATE images SET state = 'missing', misses = misses + ?, doubt = '' WHERE id = ? "
            "AND doubt <> 'displaced'",
            [(scans, image) for image in away],
        )

    def _queue_pages(self, images: Sequence[int], state: str) -> None:
        """Pages on which images of this state are shown need to be made again."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO page_queue SELECT l.folder FROM link_ledger l "
            "JOIN images i ON i.id = l.image WHERE l.image = ? AND i.state = ?",
            [(image, state) for image in images],
        )

    def delete(self, image: int) -> None:
        """Remove the row; the caller drops the content when this was its last image."""
        self._connection.execute("DELETE FROM images WHERE id = ?", (image,))

    def count(self, root: int | None = None) -> int:
        """Number of images, missing ones included."""
        if root is None:
            return int(self._connection.execute("SELECT count(*) FROM images").get)
        return int(
            self._connection.execute("SELECT count(*) FROM images WHERE root = ?", (root,)).get
        )

    def oldest(self, contents: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Id of the oldest image of each of the contents `(n,)`, ascending; 0 for none."""
        found = np.zeros(len(contents), np.int64)
        rows = self._connection.execute("SELECT content, min(id) FROM images GROUP BY content")
        for content, image in rows:
            row = int(np.searchsorted(contents, content))
            if row < len(contents) and contents[row] == content:
                found[row] = image
        return found

    def counts_by_content(self) -> dict[int, int]:
        """Number of images of every content."""
        rows = self._connection.execute("SELECT content, count(*) FROM images GROUP BY content")
        return {int(content): int(count) for content, count in rows}

    def _one(self, condition: str, *values: object) -> Image | None:
        found = self._many(condition, *values)
        return found[0] if found else None

    def _many(self, condition: str, *values: object) -> list[Image]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM images WHERE {condition}", tuple(values)
        )
        return [Image(*row) for row in rows]
