"""The link ledger: what we made in the link folder and what waits to be made; moved links."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import apsw

from imgclust.catalog.cursor import Table

# folder, entry, image, target, mode, state, device, inode, size, mtime_ns
LedgerValues = tuple[
    bytes,
    bytes,
    int,
    bytes,
    Literal["symlink", "hardlink", "copy"],
    Literal["intent", "done"],
    int,
    int,
    int,
    int,
]

_COLUMNS = "folder, entry, image, target, mode, state, device, inode, size, mtime_ns"

# Images of some contents that the current clustering has in another cluster than clustering ?1
# had, or on the other side of the outlier distance; all of them when there was none.
_ELSEWHERE = """
INSERT INTO link_queue (image)
SELECT i.id FROM contents c CROSS JOIN images i ON i.content = c.key
LEFT JOIN assignments o ON o.clustering = ?1 AND o.content = c.key
LEFT JOIN clustering_clusters oc ON oc.clustering = o.clustering AND oc.cluster = o.cluster
LEFT JOIN assignments n ON n.content = c.key AND n.clustering =
    (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_clustering')
LEFT JOIN clustering_clusters nc ON nc.clustering = n.clustering AND nc.cluster = n.cluster
WHERE c.key > ?2 AND c.key <= ?3 AND (
    ?1 IS NULL OR o.cluster IS NOT n.cluster
    OR (o.distance > oc.outlier_from) IS NOT (n.distance > nc.outlier_from)
)
"""


class Entry(NamedTuple):
    """An entry of a link folder that is made, and the image that it leads to."""

    name: bytes
    image: int
    path: bytes
    content: int
    format: str
    missing: bool


class LinkLedger(Table):
    """The tables link_ledger, link_queue, link_steps and page_queue.

    `put`, `forget` and `queue_all_pages` are durable transactions; whoever calls another method
    that writes holds the transaction.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__(connection)
        self._transaction = transaction

    def all(self) -> list[LedgerValues]:
        """All rows, by folder and entry."""
        return self._select("1 ORDER BY folder, entry")

    def of_images(self, images: Sequence[int]) -> list[LedgerValues]:
        """Rows of these images, by folder and entry."""
        among = "image IN (SELECT value FROM json_each(?))"
        return self._select(f"{among} ORDER BY folder, entry", json.dumps(list(images)))

    def in_folder(self, folder: bytes) -> list[LedgerValues]:
        """Rows of a folder, by entry."""
        return self._select("folder = ? ORDER BY entry", folder)

    def at(self, folder: bytes, entry: bytes) -> LedgerValues | None:
        """The row of this entry."""
        rows = self._select("folder = ? AND entry = ?", folder, entry)
        return rows[0] if rows else None

    def unfinished(self) -> list[LedgerValues]:
        """Rows of entries that are about to be made, by folder and entry."""
        return self._select("state <> 'done' ORDER BY folder, entry")

    def folders(self) -> list[bytes]:
        """Folders that hold an entry of ours."""
        rows = self._execute("SELECT DISTINCT folder FROM link_ledger ORDER BY folder")
        return [bytes(folder) for (folder,) in rows]

    def orphans(self) -> list[int]:
        """Images that have an entry and are not in the catalog any more."""
        rows = self._execute(
            "SELECT DISTINCT image FROM link_ledger WHERE NOT EXISTS "
            "(SELECT 1 FROM images WHERE id = image) ORDER BY image"
        )
        return [int(image) for (image,) in rows]

    def put(self, rows: Sequence[LedgerValues]) -> None:
        """Insert or replace rows."""
        with self._transaction():
            self._executemany(
                "INSERT OR REPLACE INTO link_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._queue_pages(row[0] for row in rows)

    def forget(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Delete rows by (folder, entry)."""
        with self._transaction():
            self._executemany("DELETE FROM link_ledger WHERE folder = ? AND entry = ?", entries)
            self._queue_pages(folder for folder, _ in entries)

    def count(self) -> int:
        """Number of entries that are made."""
        return int(self._execute("SELECT count(*) FROM link_ledger WHERE state = 'done'").get)

    # The queue: images whose links need a look

    def queue_links(self, images: Iterable[int]) -> None:
        """Say that the links of these images need a look (an absent image loses its link)."""
        self._executemany(
            "INSERT INTO link_queue (image) VALUES (?)", ((image,) for image in images)
        )

    def queue_links_of(self, contents: Iterable[int]) -> int:
        """Say that the links of all images with these contents need a look; returns how many."""
        before = self._connection.total_changes()
        self._executemany(
            "INSERT INTO link_queue (image) SELECT id FROM images WHERE content = ?",
            [(content,) for content in contents],
        )
        return self._connection.total_changes() - before

    def queued_links(self, limit: int) -> tuple[int, list[int]]:
        """The oldest queued images, each once, and the sequence up to which they reach."""
        rows: list[Any] = self._execute(
            "SELECT sequence, image FROM link_queue ORDER BY sequence LIMIT ?", (limit,)
        ).fetchall()
        if not rows:
            return 0, []
        return int(rows[-1][0]), list(dict.fromkeys(int(image) for _, image in rows))

    def count_queued_links(self) -> int:
        """Number of looks that the links of images need."""
        return int(self._execute("SELECT count(*) FROM link_queue").get)

    def unqueue_links(self, until: int) -> None:
        """The queue is done up to this sequence."""
        self._execute("DELETE FROM link_queue WHERE sequence <= ?", (until,))

    # Reviews: which links another clustering makes due

    def queue_review(self, clustering: int | None) -> None:
        """Say that links need a look where the current clustering has an image elsewhere.

        Elsewhere than this clustering had it, or (None) wherever that was: all links.
        """
        if clustering is None:
            self._execute("DELETE FROM link_steps")
        self._execute("INSERT INTO link_steps (clustering) VALUES (?)", (clustering,))

    def share_to_review(self) -> float:
        """About which share of the contents is to be reviewed; more than 1 where it is twice.

        Their keys are the beginnings of hashes, and so spread evenly: nothing is counted.
        """
        left = "SELECT coalesce(sum(1 - max(after, 0) / 9223372036854775807.0), 0) FROM link_steps"
        return float(self._execute(left).get)

    @property
    def reviews(self) -> bool:
        """True when a review is not at its end."""
        return self._execute("SELECT 1 FROM link_steps LIMIT 1").get is not None

    def review(self, *, rows: int) -> None:
        """Queue what the oldest review makes due among its next `rows` contents."""
        first: Any = self._execute(
            "SELECT id, clustering, after FROM link_steps ORDER BY id LIMIT 1"
        ).fetchone()
        if first is None:
            return
        number, clustering, after = first
        found: Any = self._execute(
            "SELECT max(key), count(*) FROM "
            "(SELECT key FROM contents WHERE key > ? ORDER BY key LIMIT ?)",
            (after, rows),
        ).fetchone()
        last, count = found
        self._execute(_ELSEWHERE, (clustering, after, last))
        if count < rows:
            self._execute("DELETE FROM link_steps WHERE id = ?", (number,))
        else:
            self._execute("UPDATE link_steps SET after = ? WHERE id = ?", (last, number))

    # Pages of the link folder

    def sizes(self) -> dict[bytes, int]:
        """Number of entries of every folder that has some."""
        rows = self._execute(
            "SELECT folder, count(*) FROM link_ledger WHERE state = 'done' GROUP BY folder"
        )
        return {bytes(folder): int(number) for folder, number in rows}

    def entries(self, folder: bytes) -> list[Entry]:
        """Entries of a folder by name."""
        rows = self._execute(
            "SELECT l.entry, i.id, i.path, i.content, c.format, i.state = 'missing' "
            "FROM link_ledger l JOIN images i ON i.id = l.image "
            "JOIN contents c ON c.key = i.content "
            "WHERE l.folder = ? AND l.state = 'done' ORDER BY l.entry",
            (folder,),
        )
        return [
            Entry(bytes(entry), int(image), bytes(path), int(content), str(kind), bool(missing))
            for entry, image, path, content, kind, missing in rows
        ]

    def queue_pages_of(self, contents: Iterable[int]) -> None:
        """Say that the pages that show these contents need to be made again."""
        self._executemany(
            "INSERT OR IGNORE INTO page_queue SELECT l.folder FROM link_ledger l "
            "JOIN images i ON i.id = l.image WHERE i.content = ?",
            [(content,) for content in contents],
        )

    def queued_pages(self) -> list[bytes]:
        """Folders whose page needs to be made again."""
        rows = self._execute("SELECT folder FROM page_queue ORDER BY folder")
        return [bytes(folder) for (folder,) in rows]

    def unqueue_page(self, folder: bytes) -> None:
        """The page of this folder is as the ledger is; before the ledger is read for it."""
        self._execute("DELETE FROM page_queue WHERE folder = ?", (folder,))

    def queue_all_pages(self) -> None:
        """Say that every page needs to be made again."""
        with self._transaction():
            self._queue_pages(self.folders())

    def queue_pages(self, folders: Iterable[bytes]) -> None:
        """Say that the pages of these folders need to be made again."""
        self._queue_pages(folders)

    def _queue_pages(self, folders: Iterable[bytes]) -> None:
        self._executemany(
            "INSERT OR IGNORE INTO page_queue VALUES (?)", [(one,) for one in set(folders)]
        )

    def _select(self, condition: str, *values: object) -> list[LedgerValues]:
        rows: list[Any] = self._execute(
            f"SELECT {_COLUMNS} FROM link_ledger WHERE {condition}", tuple(values)
        ).fetchall()
        return rows


class ReadFolder(NamedTuple):
    """A folder when it was read: `read_ns` is a wall clock before that."""

    inode: int
    mtime_ns: int
    read_ns: int


class LinkMove(NamedTuple):
    """A link of an image that is at another place than we put it; see the table link_moves."""

    image: int
    folder: bytes
    entry: bytes
    seen: float
    state: str


class LinkTree(Table):
    """The tables link_folders_read and link_moves; who writes holds the transaction."""

    def folders(self) -> dict[bytes, ReadFolder]:
        """The folders that were read, by name."""
        rows = self._execute("SELECT folder, inode, mtime_ns, read_ns FROM link_folders_read")
        return {bytes(name): ReadFolder(*values) for name, *values in rows}

    def note(self, read: dict[bytes, ReadFolder], *, gone: Iterable[bytes]) -> None:
        """These folders were read, those are not there."""
        self._executemany(
            "INSERT OR REPLACE INTO link_folders_read VALUES (?, ?, ?, ?)",
            [(name, *values) for name, values in read.items()],
        )
        self._executemany(
            "DELETE FROM link_folders_read WHERE folder = ?", [(name,) for name in gone]
        )

    def entries(self, folder: bytes) -> dict[bytes, int]:
        """Entries of ours in a folder with their inodes, those that are about to be made too."""
        rows = self._execute("SELECT entry, inode FROM link_ledger WHERE folder = ?", (folder,))
        return {bytes(entry): int(inode) for entry, inode in rows}

    def rename(self, old: bytes, new: bytes) -> None:
        """A person has given a folder of ours another name."""
        for table in ("link_ledger", "link_moves", "link_folders_read"):
            self._execute(f"DELETE FROM {table} WHERE folder = ?", (new,))
            self._execute(f"UPDATE {table} SET folder = ? WHERE folder = ?", (new, old))

    def replace(self, old: tuple[bytes, bytes], row: tuple[Any, ...]) -> None:
        """An entry of ours, a ledger row, has come to another place."""
        self._execute("DELETE FROM link_ledger WHERE folder = ? AND entry = ?", old)
        self._execute(
            "INSERT OR REPLACE INTO link_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
        )

    def moves(self, state: str | None = None) -> list[LinkMove]:
        """Links that wait, or are young, or both, by image."""
        rows: list[Any] = self._execute(
            "SELECT image, folder, entry, seen, state FROM link_moves "
            "WHERE ?1 IS NULL OR state = ?1 ORDER BY image",
            (state,),
        ).fetchall()
        return [LinkMove(*row) for row in rows]

    def put(self, moves: Iterable[LinkMove]) -> None:
        """Note links that wait, or are young."""
        self._executemany("INSERT OR REPLACE INTO link_moves VALUES (?, ?, ?, ?, ?)", list(moves))

    def drop(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Entries of ours, by folder and name, are gone."""
        self._executemany("DELETE FROM link_ledger WHERE folder = ? AND entry = ?", list(entries))

    def read_again(self, folders: Iterable[bytes]) -> None:
        """These folders are to be read, whatever their time of change says."""
        self._executemany(
            "UPDATE link_folders_read SET read_ns = 0 WHERE folder = ?",
            [(folder,) for folder in folders],
        )

    def prune(self) -> None:
        """Forget the links of images that have left."""
        self._execute("DELETE FROM link_moves WHERE image NOT IN (SELECT id FROM images)")

    def forget(self, images: Iterable[int]) -> None:
        """The links of these images are where they belong, or will be."""
        self._executemany("DELETE FROM link_moves WHERE image = ?", [(image,) for image in images])
