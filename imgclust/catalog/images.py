"""Images: their rows, and all that belongs to each, in pages, as an export reads it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table

_COLUMNS = "id, path, root, content, state, misses, added, inode, doubt, kept"

_PAGE = """
SELECT i.id, i.path, i.content, a.cluster, a.distance, p.x, p.y, p.z, e.vector, i.state = 'missing'
FROM images i
LEFT JOIN assignments a ON a.clustering = :clustering AND a.content = i.content
LEFT JOIN coordinates p ON p.projection = :projection AND p.content = i.content
LEFT JOIN embeddings e ON e.recipe = :recipe AND e.content = i.content
WHERE i.id > :after AND i.id <= :until ORDER BY i.id LIMIT :limit
"""


@dataclass(frozen=True)
class Image:
    """One file of the collection; `added` is the wall clock at its first commit.

    `inode` is that of the file as it was last read, 0 when it is not known; `doubt` says why the
    row may still change hands (see `Moves`), empty when it does not; `kept` is the folder of the
    disk that the file of a missing image was on, where another one is now.
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
    kept: bytes | None = None


def bounds_below(folder: bytes) -> tuple[bytes, bytes]:
    """What the paths below a folder lie between, in the order of their bytes."""
    top = folder.rstrip(b"/")
    return top + b"/", top + b"0"  # b"0" follows b"/" in ASCII


class Images(Table):
    """The table images."""

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
        rows = self._executemany(
            f"SELECT {_COLUMNS} FROM images WHERE id = ?", [(image,) for image in ids]
        )
        return {row[0]: Image(*row) for row in rows}

    def with_content(self, content: int) -> list[Image]:
        """All images with this content, oldest first."""
        return self._many("content = ? ORDER BY id", content)

    def present_contents(self) -> npt.NDArray[np.int64]:
        """Contents `(n,)`, ascending, of the images that are not missing."""
        rows = self._execute(
            "SELECT DISTINCT content FROM images WHERE state <> 'missing' ORDER BY content"
        )
        return np.fromiter((row[0] for row in rows), np.int64)

    def with_contents(self, contents: Iterable[int]) -> Iterator[Image]:
        """All images with these contents, in their order, oldest first."""
        rows = self._executemany(
            f"SELECT {_COLUMNS} FROM images WHERE content = ? ORDER BY id",
            [(key,) for key in contents],
        )
        return (Image(*row) for row in rows)

    def all(self) -> Iterator[Image]:
        """All images by id."""
        for row in self._execute(f"SELECT {_COLUMNS} FROM images ORDER BY id"):
            yield Image(*row)

    def page_of_root(self, root: int, *, after: int, limit: int) -> list[Image]:
        """Images of a root with an id above `after`, by id."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM images WHERE root = ? AND id > ? ORDER BY id LIMIT ?",
            (root, after, limit),
        )
        return [Image(*row) for row in rows]

    def newest_of_root(self, root: int, limit: int, *, but: bytes) -> list[bytes]:
        """Paths of the newest images of a root that are there, without one path."""
        rows = self._execute(
            "SELECT path FROM images WHERE root = ? AND state = 'present' AND path <> ? "
            "ORDER BY id DESC LIMIT ?",
            (root, but, limit),
        )
        return [bytes(path) for (path,) in rows]

    def missing(self, *, limit: int = -1) -> list[Image]:
        """Images that are missing now, by id; at most `limit` unless it is -1."""
        # +: by the index of missing ones
        return self._many("state = 'missing' ORDER BY +id LIMIT ?", limit)

    def count_missing(self, root: int | None = None) -> int:
        """Number of images that are not where they were."""
        return int(
            self._execute(
                "SELECT count(*) FROM images WHERE state = 'missing' AND (?1 IS NULL OR root = ?1)",
                (root,),
            ).get
        )

    def gone(self, misses: int, limit: int) -> list[Image]:
        """Images that as many scans have missed, in roots and below mounts that are not held."""
        held = [
            bytes(path) for (path,) in self._execute("SELECT path FROM mounts WHERE held NOTNULL")
        ]
        bounds = [bound for path in held for bound in bounds_below(path)]
        return self._many(
            "state = 'missing' AND kept IS NULL AND misses >= ? AND root IN "
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
            self._execute(
                "SELECT count(*) FROM images WHERE path > ? AND path < ? AND root = ?",
                (*bounds_below(folder), root),
            ).get
        )

    def count_missing_below(self, folder: bytes, root: int) -> int:
        """Number of images of a root below a folder that are missing."""
        return int(
            self._execute(
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
        rows = self._execute(
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
            self._execute(
                "SELECT count(*) FROM images WHERE path > ? AND path < ? AND (state = 'missing' "
                "OR root IN (SELECT value FROM json_each(?)))",
                (*bounds_below(folder), json.dumps(list(roots))),
            ).get
        )

    def insert(self, path: bytes, root: int, content: int, *, inode: int = 0) -> int:
        """Add an image; its id was never used before."""
        self._execute(
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
            self._execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'images'"
            ).get
            or 0
        )
        ids = list(range(first, first + len(rows)))
        self._executemany(
            "INSERT INTO images (id, path, root, content, added, inode) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (image, *row, now, inode)
                for image, row, inode in zip(ids, rows, inodes or [0] * len(rows), strict=True)
            ],
        )
        return ids

    def occupied(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those of the paths that an image has."""
        rows = self._executemany(
            "SELECT path FROM images WHERE path = ?", [(path,) for path in paths]
        )
        return {bytes(path) for (path,) in rows}

    def move(self, image: int, path: bytes, root: int, *, inode: int = 0) -> None:
        """Give the image another path; id, content and cluster stay."""
        self._execute(
            "UPDATE images SET path = ?, root = ?, inode = ?, state = 'present', misses = 0, "
            "doubt = '', former = NULL, kept = NULL WHERE id = ?",
            (path, root, inode, image),
        )

    def relocate(self, path: bytes, root: int) -> None:
        """The image at this path belongs to another root now."""
        self._execute("UPDATE images SET root = ? WHERE path = ?", (root, path))

    def set_content(self, image: int, content: int, *, inode: int = 0) -> None:
        """The file was replaced in place: same image, other content."""
        self._execute(
            "UPDATE images SET content = ?, inode = ?, state = 'present', misses = 0, doubt = '', "
            "kept = NULL WHERE id = ?",
            (content, inode, image),
        )

    def found(self, image: int, *, inode: int | None = None) -> None:
        """The image is where it should be, in the file with this inode."""
        self._queue_pages([image], "missing")
        self._execute(
            "UPDATE images SET state = 'present', misses = 0, doubt = '', kept = NULL, "
            "inode = coalesce(?, inode) WHERE id = ?",
            (inode, image),
        )

    def miss(self, images: Iterable[int], *, scans: int) -> None:
        """The images are missing; `scans` healthy scans (0 for a mere event) more have shown it."""
        away = list(images)
        self._queue_pages(away, "present")
        self._executemany(
            "UPDATE images SET state = 'missing', misses = misses + ?, doubt = '' WHERE id = ? "
            "AND doubt <> 'displaced'",
            [(scans, image) for image in away],
        )

    def _queue_pages(self, images: Sequence[int], state: str) -> None:
        """Pages on which images of this state are shown need to be made again."""
        self._executemany(
            "INSERT OR IGNORE INTO page_queue SELECT l.folder FROM link_ledger l "
            "JOIN images i ON i.id = l.image WHERE l.image = ? AND i.state = ?",
            [(image, state) for image in images],
        )

    def delete(self, image: int) -> None:
        """Remove the row; the caller drops the content when this was its last image."""
        self._execute("DELETE FROM images WHERE id = ?", (image,))

    def count(self, root: int | None = None) -> int:
        """Number of images, missing ones included."""
        if root is None:
            return int(self._execute("SELECT count(*) FROM images").get)
        return int(self._execute("SELECT count(*) FROM images WHERE root = ?", (root,)).get)

    def oldest(self, contents: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Id of the oldest image of each of the contents `(n,)`, ascending; 0 for none."""
        found = np.zeros(len(contents), np.int64)
        rows = self._execute("SELECT content, min(id) FROM images GROUP BY content")
        for content, image in rows:
            row = int(np.searchsorted(contents, content))
            if row < len(contents) and contents[row] == content:
                found[row] = image
        return found

    def counts_by_content(self) -> dict[int, int]:
        """Number of images of every content."""
        rows = self._execute("SELECT content, count(*) FROM images GROUP BY content")
        return {int(content): int(count) for content, count in rows}

    def counts_of(self, contents: Iterable[int]) -> dict[int, int]:
        """Number of images of these contents."""
        rows = self._executemany(
            "SELECT ?1, count(*) FROM images WHERE content = ?1", [(one,) for one in contents]
        )
        return {int(content): int(count) for content, count in rows}

    def _one(self, condition: str, *values: object) -> Image | None:
        found = self._many(condition, *values)
        return found[0] if found else None

    def _many(self, condition: str, *values: object) -> list[Image]:
        rows = self._execute(f"SELECT {_COLUMNS} FROM images WHERE {condition}", tuple(values))
        return [Image(*row) for row in rows]


@dataclass(frozen=True)
class ListedImage:
    """An image with cluster and distance, coordinates `(2 or 3,)` and embedding `(d,)`.

    None means that it has no value, or was not asked for; the embedding is at half
    precision, as stored.
    """

    id: int
    path: bytes
    content: int
    cluster: int | None
    distance: float | None
    coordinates: tuple[float, ...] | None
    embedding: npt.NDArray[np.float16] | None
    missing: bool = False


class Listing(Table):
    """Reads images with their assignments, coordinates and embeddings."""

    def paths(self) -> Iterator[bytes]:
        """Paths of all images."""
        for (path,) in self._execute("SELECT path FROM images"):
            yield path

    def last(self) -> int:
        """Id of the newest image, 0 when there is none."""
        return int(self._execute("SELECT coalesce(max(id), 0) FROM images").get)

    def count_by_cluster(self, *, after: int, clustering: int | None) -> Counter[int | None]:
        """Images with an id above `after` in each cluster; None for those in none."""
        rows = self._execute(
            "SELECT a.cluster, count(*) FROM images i LEFT JOIN assignments a "
            "ON a.clustering = ? AND a.content = i.content WHERE i.id > ? GROUP BY a.cluster",
            (clustering, after),
        )
        return Counter({cluster: int(count) for cluster, count in rows})

    def ids(self) -> npt.NDArray[np.int64]:
        """Ids of all images, ascending."""
        rows = self._execute("SELECT id FROM images ORDER BY id")
        return np.fromiter((image for (image,) in rows), np.int64)

    def copied(self) -> list[tuple[int, int]]:
        """Contents that several images have and nobody dismissed, and how many: most first."""
        rows = self._execute(
            "SELECT i.content, count(*) FROM images i WHERE i.state = 'present' "
            "AND NOT EXISTS (SELECT 1 FROM dismissed d WHERE d.content = i.content "
            "AND d.other = i.content) GROUP BY i.content HAVING count(*) > 1 "
            "ORDER BY 2 DESC, min(i.id)"
        )
        return [(int(content), int(count)) for content, count in rows]

    def page(
        self,
        *,
        after: int,
        until: int,
        limit: int,
        clustering: int | None = None,
        projection: int | None = None,
        recipe: str | None = None,
    ) -> list[ListedImage]:
        """Images with ids above `after` and up to `until`, by id.

        Parameters
        ----------
        clustering, projection, recipe
            Whose clusters, coordinates and embeddings; None for none.
        """
        number = self._execute("SELECT id FROM recipes WHERE name = ?", (recipe,)).get
        rows = self._execute(
            _PAGE,
            {
                "after": after,
                "until": until,
                "limit": limit,
                "clustering": clustering,
                "projection": projection,
                "recipe": number,
            },
        )
        return [_image(row) for row in rows]


def _image(row: Any) -> ListedImage:
    image, path, content, cluster, distance, x, y, z, vector, missing = row
    coordinates = None if x is None else (x, y) if z is None else (x, y, z)
    embedding = None if vector is None else np.frombuffer(vector, "<f2")
    return ListedImage(
        image, path, content, cluster, distance, coordinates, embedding, bool(missing)
    )
