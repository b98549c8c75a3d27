"""The catalog: one SQLite file that holds everything a collection knows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from imgclust.catalog import schema
from imgclust.catalog.checking import Checking
from imgclust.catalog.clusterings import Clusterings
from imgclust.catalog.contents import Contents
from imgclust.catalog.images import Image, Images
from imgclust.catalog.ledger import LinkLedger
from imgclust.catalog.listing import Listing
from imgclust.catalog.observations import Observations
from imgclust.catalog.projections import Projections
from imgclust.errors import CatalogError, StorageError

# A commit of ours is short; whoever waits longer than this waits for something that hangs.
_BUSY_S = 30.0
# How often a writer that waits for another one looks again (SQLite's own waits grow to a tenth of
# a second), and for how long one that writes piece after piece leaves the file to others: it would
# take it again at once, and they would come upon a file that is taken each time they look.
_LOOK_S = 0.005
_TURN_S = 0.03
# Keys are hashes, so that a batch touches pages all over the file, and each goes into the log
# whole: small pages make a commit cheap. An embedding of 4 KiB fills one overflow page.
_PAGE_BYTES = 4096
# The inner pages of all tables, and the leaves that a batch comes back to, at 10^6 images.
_CACHE_KIB = 16 * 1024
# Pages in the log before it is moved into the file: a batch writes about 200, of which the next
# ones write many again. A tenth of a second's reading when a catalog is opened after a crash.
_LOG_PAGES = 4000

# Another process that holds the catalog for so long is as good as a disk that refuses.
_STORAGE_ERRORS = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError)


class Catalog:
    """An open catalog; the tables are grouped by noun.

    A catalog is used by one thread at a time; another thread or process opens its own. Reads see
    the last commit; every write happens inside `transaction`.

    Attributes
    ----------
    contents, images, observations, clusterings, projections, ledger
        The tables, by noun.
    listing
        Images with all that belongs to each.
    checking
        What holds them against each other.
    """

    def __init__(self, path: Path) -> None:
        """Open, or make, the catalog at `path`.

        Raises
        ------
        CatalogError
            When the file is damaged, foreign, or from a newer version.
        StorageError
            When the folder cannot be written.
        """
        self.path = path
        try:
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_handler(_patience())
            self._connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            mode = self._connection.execute("PRAGMA journal_mode = WAL").get
            if mode != "wal":
                raise CatalogError(
                    f"SQLite refuses its write-ahead log in {path.parent}; "
                    "use an index folder on a local disk"
                )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA journal_size_limit = 67108864")
            schema.migrate(self._connection)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise CatalogError(
                f"the catalog {path} is damaged ({error}); put it back from a backup, or move it "
                "away to begin anew"
            ) from None
        except apsw.CantOpenError:
            raise StorageError(f"the catalog {path} cannot be opened or made here") from None
        except _STORAGE_ERRORS as error:
            raise StorageError(f"the catalog {path} cannot be written: {error}") from None
        self.contents = Contents(self._connection)
        self.images = Images(self._connection)
        self.observations = Observations(self._connection)
        self.clusterings = Clusterings(self._connection)
        self.projections = Projections(self._connection)
        self.ledger = LinkLedger(self._connection, self.transaction)
        self.listing = Listing(self._connection)
        self.checking = Checking(self._connection)

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
        with self.plainly():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A transaction that is one of many in a row: others get their turn after it."""
        with self.transaction():
            yield
        if not self._connection.in_transaction:
            time.sleep(_TURN_S)

    @contextmanager
    def plainly(self) -> Iterator[None]:
        """Say what SQLite raises in our words; for those that read outside of `transaction`.

        Raises
        ------
        StorageError
            When the disk refuses, reads included.
        CatalogError
            When the file is damaged.
        """
        try:
            yield
        except _STORAGE_ERRORS as error:
            raise StorageError(f"the catalog cannot be used: {error}") from error
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise CatalogError(f"the catalog {self.path} is damaged: {error}") from error

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
            self._connection.execute("ROLLBACK")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
            self._connection.execute("ROLLBACK")

    def remove_image(self, image: Image) -> bool:
        """Take an image out, with its content when it was the last that had it (then True).

        The caller holds the transaction; what was observed at the path stays as it is.
        """
        self.images.delete(image.id)
        self.images.queue_links([image.id])
        self.observations.release(image.path)
        return self.contents.drop_orphan(image.content)

    def setting(self, key: str) -> Any:
        """Stored fact about the collection, None when it was never set."""
        text = self._connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).get
        return None if text is None else json.loads(text)

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
        """What SQLite's own check finds wrong, at most 20 lines; empty when all is well."""
        try:
            rows = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check(20)")]
            rows += [
                f"row without its parent in {row[0]}"
                for row in self._connection.execute("PRAGMA foreign_key_check")
            ][:20]
        except (apsw.NotADBError, apsw.CorruptError) as error:
            return [str(error)]
        return [row for row in rows if row != "ok"]

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, as far as readers allow."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Close the file; nothing happens the second time."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _patience() -> Callable[[int], bool]:
    """Waits for other writers; SQLite calls it with the number of tries so far."""
    until = 0.0

    def wait(tries: int) -> bool:
        nonlocal until
        now = time.monotonic()
        if tries == 0:
            until = now + _BUSY_S
        time.sleep(_LOOK_S)
        return now < until

    return wait
