"""The catalog: one SQLite file that holds everything a collection knows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from imgclust.catalog import copies
from imgclust.catalog.assignments import Assignments
from imgclust.catalog.clusterings import Clusterings, Suggestions
from imgclust.catalog.connection import connect, differences, why_not_writable
from imgclust.catalog.contents import Bursts, Contents
from imgclust.catalog.corrections import CorrectionTable, Dismissals, DuplicateTable, Removals
from imgclust.catalog.cursor import DAMAGED, REFUSED, Cursor, damaged, parsed
from imgclust.catalog.details import DetailTable
from imgclust.catalog.feed import Feed, Jobs
from imgclust.catalog.images import Image, Images, Listing
from imgclust.catalog.integrity import IntegrityQueries
from imgclust.catalog.links import LinkLedger, LinkTree
from imgclust.catalog.moves import FolderMoves, Moves
from imgclust.catalog.observations import Observations, Requests
from imgclust.catalog.projections import Projections, Sweeps
from imgclust.catalog.roots import Mounts, Roots, Volumes
from imgclust.errors import CatalogError, ImgclustError, StorageError
from imgclust.progress import Progress, StopFlag, silent

# For how long a writer that writes piece after piece leaves the file to others: it would take it
# again at once, and they would come upon a file that is taken each time they look.
_GAP_S = 0.03
# Fewer free bytes are not worth a copy of the file.
_WORTH_BYTES = 8 << 20


class Catalog:
    """An open catalog; the tables are grouped by noun.

    A catalog is used by one thread at a time; another thread or process opens its own. Reads see
    the last commit; every write happens inside `transaction`. Where nothing can be written, on a
    full disk or a read-only one, it is opened for reading.

    Attributes
    ----------
    contents, corrections, details, dismissals, roots, mounts, folder_moves, images, moves,
    observations, removals, requests, clusterings, assignments, projections, suggestions, sweeps,
    bursts, ledger, link_tree, feed, jobs
        The tables, by noun.
    listing
        Images with all that belongs to each.
    checking
        What compares them.
    """

    def __init__(self, path: Path) -> None:
        """Open, or make, the catalog at `path`.

        Raises
        ------
        CatalogError
            When the file is damaged, foreign, or from a newer version.
        StorageError
            When it can be neither written nor read.
        """
        self.path = path
        try:
            self._connection, self._unwritable = connect(path)
        except DAMAGED as error:
            raise damaged(path, str(error)) from None
        except REFUSED as error:
            why = why_not_writable(path.parent) or error
            raise StorageError(f"the catalog {path} cannot be opened or made here: {why}") from None
        self._connection.cursor_factory = Cursor
        self.contents = Contents(self._connection)
        self.corrections = CorrectionTable(self._connection)
        self.details = DetailTable(self._connection)
        self.duplicates = DuplicateTable(self._connection)
        self.dismissals = Dismissals(self._connection)
        self.roots = Roots(self._connection)
        self.mounts = Mounts(self._connection)
        self.volumes = Volumes(self._connection)
        self.folder_moves = FolderMoves(self._connection)
        self.images = Images(self._connection)
        self.moves = Moves(self._connection)
        self.observations = Observations(self._connection)
        self.removals = Removals(self._connection)
        self.requests = Requests(self._connection)
        self.clusterings = Clusterings(self._connection)
        self.assignments = Assignments(self._connection)
        self.projections = Projections(self._connection)
        self.suggestions = Suggestions(self._connection)
        self.sweeps = Sweeps(self._connection)
        self.bursts = Bursts(self._connection)
        self.ledger = LinkLedger(self._connection, self.transaction)
        self.link_tree = LinkTree(self._connection)
        self.feed = Feed(self._connection)
        self.jobs = Jobs(self._connection)
        self.listing = Listing(self._connection)
        self.checking = IntegrityQueries(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One durable write: all of it, or nothing. Nested use joins the outer transaction.

        Raises
        ------
        StorageError
            When the disk is full, read-only or failing; nothing was written.
        CatalogError
            When the file is damaged.
        """
        if self._connection.in_transaction:
            yield
            return
        self.require_writable()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def require_writable(self) -> None:
        """Refuse, where the catalog was opened in a place in which nothing can be written.

        Raises
        ------
        StorageError
            Saying why.
        """
        if self._unwritable:
            raise StorageError(f"{self.path.parent} cannot be written: {self._unwritable}")

    @property
    def writable(self) -> bool:
        """False where the catalog was opened in a place in which nothing can be written."""
        return not self._unwritable

    @property
    def why_not_writable(self) -> str:
        """Why nothing can be written here now, a full disk say; empty where nothing is seen."""
        return why_not_writable(self.path.parent)

    @contextmanager
    def piece(self) -> Iterator[None]:
        """A transaction that is one piece of a long write: others get their turn after it."""
        with self.transaction():
            yield
        if not self._connection.in_transaction:
            time.sleep(_GAP_S)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one state; keep it short, a snapshot holds the log back."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
            self._connection.execute("ROLLBACK")

    def remove_image(self, image: Image) -> bool:
        """Take an image out, with its content when it was the last that had it (then True).

        The caller holds the transaction; what was observed at the path stays as it is.
        """
        self.images.delete(image.id)
        self.ledger.queue_links([image.id])
        self.observations.release(image.path)
        return self.contents.drop_orphan(image.content)

    def setting(self, key: str) -> Any:
        """Stored fact about the collection, None when it was never set."""
        text = self._connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).get
        return None if text is None else parsed(text, self._connection.filename)

    def store(self, key: str, value: Any) -> None:
        """Set a stored fact (JSON)."""
        self._connection.execute(
            "INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value))
        )

    def event(self, kind: str, sentence: str) -> None:
        """Write a line of the collection's history; the oldest beyond 10,000 leave."""
        self._connection.execute(
            "INSERT INTO events (at, kind, sentence) VALUES (?, ?, ?)",
            (time.time(), kind, sentence),
        )
        self._connection.execute(
            "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 10000"
        )

    def events(self, limit: int) -> list[tuple[float, str, str]]:
        """The newest lines of history, newest first: (wall clock, kind, sentence)."""
        rows = self._connection.execute(
            "SELECT at, kind, sentence FROM events ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [(float(at), str(kind), str(sentence)) for at, kind, sentence in rows]

    def damage(self) -> list[str]:
        """What is wrong with the file, at most 20 lines of a kind; empty when all is well."""
        try:
            rows = differences(self._connection)
            rows += [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check(20)")]
            rows += [
                f"row without its parent in {row[0]}"
                for row in self._connection.execute("PRAGMA foreign_key_check")
            ][:20]
        except CatalogError as error:
            return [str(error.__cause__ or error)]
        return [row for row in rows if row != "ok"]

    @property
    def size_bytes(self) -> int:
        """Bytes that a copy of the catalog takes."""
        return copies.size_of(self._connection)

    def copy_to(
        self,
        target: Path,
        *,
        application_id: int,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> None:
        """Copy the catalog as it is now into an empty file; see `copies.copy_into`."""
        copies.copy_into(
            self._connection,
            target,
            application_id=application_id,
            progress=progress,
            stop=stop,
        )

    def explain(self, error: BaseException) -> None:
        """Look whether the file is what a failure comes from that nobody has foreseen.

        Raises
        ------
        CatalogError
            When the file is damaged.
        """
        if isinstance(error, Exception) and not isinstance(error, ImgclustError | OSError):
            found = self.damage()
            if found:
                raise damaged(self.path, found[0]) from error

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, as far as readers allow."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def shrink(self, *, most_bytes: int) -> bool:
        """Give free pages back to the disk, where they are many; True when that was done.

        All others wait until it is over, so that a catalog with more than `most_bytes` in use is
        left alone: its free pages are used again by what comes in.
        """
        page, pages, empty = (
            int(self._connection.execute(f"PRAGMA {name}").get)
            for name in ("page_size", "page_count", "freelist_count")
        )
        used, free = (pages - empty) * page, empty * page
        if free < max(_WORTH_BYTES, used // 3) or used > most_bytes or not self.writable:
            return False
        if shutil.disk_usage(self.path.parent).free < 3 * used:  # a copy, and the log of it
            return False
        try:
            self._connection.execute("VACUUM")
        except StorageError:  # another one writes, or the disk is full: nothing has changed
            return False
        self.checkpoint()
        return True

    def close(self) -> None:
        """Close the file; nothing happens the second time."""
        self._connection.close(True)  # what a failed read has left open must not matter

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
