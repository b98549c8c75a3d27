"""Observations: what was last seen at each path; the quarantine; paths that `add` asks for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imgclust.catalog.cursor import Table
from imgclust.paths import Located

Stat = tuple[int, int, int, int, int]  # device, inode, size, mtime_ns, ctime_ns

_COLUMNS = (
    "path, root, device, inode, size, mtime_ns, ctime_ns, changed, state, due, tries, deaths, asked"
)


@dataclass(frozen=True)
class Observation:
    """One path as last seen.

    `stat` is (device, inode, size, mtime_ns, ctime_ns); `changed` the wall clock of its last
    change; `due` the monotonic clock at which a path in state "seen" is to be read; `asked`
    is 1 while a path that a person asked for is not at rest.
    """

    path: bytes
    root: int
    stat: Stat
    changed: float
    state: str
    due: float
    tries: int
    deaths: int
    asked: int = 0


@dataclass(frozen=True)
class Quarantined(Located):
    """A file that could not be read, and why; `since` is a wall clock."""

    path: bytes
    reason: str
    tries: int
    since: float


class Observations(Table):
    """The tables observations and quarantine."""

    def at(self, path: bytes) -> Observation | None:
        """What was last seen at this path."""
        row = self._execute(
            f"SELECT {_COLUMNS} FROM observations WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else _observation(row)

    def among(self, paths: Iterable[bytes]) -> dict[bytes, Observation]:
        """What was last seen at those of the paths that are known."""
        rows = self._executemany(
            f"SELECT {_COLUMNS} FROM observations WHERE path = ?", [(path,) for path in paths]
        )
        return {row[0]: _observation(row) for row in rows}

    def see(self, path: bytes, root: int, stat: Stat, *, due: float) -> None:
        """The path is new, or changed: it is to be read at `due`; tries start at 0."""
        self._execute(
            "INSERT OR REPLACE INTO observations (path, root, device, inode, size, mtime_ns, "
            "ctime_ns, changed, state, due, asked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'seen', "
            "?9, coalesce((SELECT asked FROM observations WHERE path = ?1), 0))",
            (path, root, *stat, time.time(), due),
        )
        # What the image at the path was read from may be at another path now. A missing one, too:
        # another file may have come to its path before it was found at its own new one.
        self._execute("UPDATE images SET doubt = 'changed' WHERE path = ? AND doubt = ''", (path,))

    def ask(self, path: bytes) -> None:
        """A person asked for the path, if it waits to be read."""
        self._execute(
            "UPDATE observations SET asked = 1 WHERE path = ? AND state = 'seen'", (path,)
        )

    def read_again(self, path: bytes, root: int) -> None:
        """What is known of the path cannot be trusted: no stat fits it, and it is due at once."""
        self.see(path, root, (0, 0, 0, -1, 0), due=0.0)

    def distrust(self, path: bytes) -> None:
        """What was seen at the path fits no file: the next look takes it for changed."""
        self._execute("UPDATE observations SET mtime_ns = -1 WHERE path = ?", (path,))

    def again(self, path: bytes, *, due: float, tries: int, deaths: int) -> None:
        """The path is to be read again at `due`."""
        self._execute(
            "UPDATE observations SET state = 'seen', due = ?, tries = ?, deaths = ? WHERE path = ?",
            (due, tries, deaths, path),
        )

    def settle(self, path: bytes, state: str, *, suffix: str = "") -> None:
        """The path is at rest: done, skipped, quarantined, missing or removed."""
        self._execute(
            "UPDATE observations SET state = ?, suffix = ?, asked = 0 WHERE path = ?",
            (state, suffix, path),
        )

    def done(self, paths: Sequence[bytes]) -> None:
        """The images at these paths are in; none of them is in quarantine any more."""
        values = [(path,) for path in paths]
        self._executemany(
            "UPDATE observations SET state = 'done', suffix = '', asked = 0 WHERE path = ?", values
        )
        self._executemany("DELETE FROM quarantine WHERE path = ?", values)

    def lose(self, paths: Iterable[bytes]) -> None:
        """The images at these paths are missing; to one still to be read, no stat will fit."""
        self._executemany(
            "UPDATE observations SET state = 'missing', "
            "mtime_ns = CASE WHEN state = 'seen' THEN -1 ELSE mtime_ns END WHERE path = ?",
            [(path,) for path in paths],
        )

    def moved(self, paths: Iterable[bytes], *, network: bool = False) -> int:
        """How many of the paths lead to files that wait to be read at other paths.

        The same inode (no evidence on a network disk), size and mtime: a rename changes none of
        them.
        """
        columns = "size, mtime_ns" if network else "inode, size, mtime_ns"
        gone = Counter(
            self._executemany(
                f"SELECT {columns} FROM observations WHERE path = ? AND state <> 'seen'",
                ((path,) for path in paths),
            )
        )
        # Those that wait are looked at one by one: on a first pass they are all there is.
        waiting = self._execute(f"SELECT {columns} FROM observations WHERE state = 'seen'")
        there = 0
        for one in waiting:
            if gone.get(one, 0):
                gone[one] -= 1
                there += 1
        return there

    def relocate(self, path: bytes, root: int) -> None:
        """The path belongs to another root now."""
        self._execute("UPDATE observations SET root = ? WHERE path = ?", (root, path))

    def forget(self, path: bytes) -> None:
        """Delete what is known of the path, its quarantine included."""
        self._execute("DELETE FROM observations WHERE path = ?", (path,))
        self._execute("DELETE FROM quarantine WHERE path = ?", (path,))

    def due(self, until: float, limit: int) -> list[Observation]:
        """Paths whose time has come, longest waiting first."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM observations WHERE state = 'seen' AND due <= ? "
            "ORDER BY due LIMIT ?",
            (until, limit),
        )
        return [_observation(row) for row in rows]

    def next_due(self) -> float | None:
        """When the next path is due, None when none is waiting."""
        value = self._execute("SELECT min(due) FROM observations WHERE state = 'seen'").get
        return None if value is None else float(value)

    def restart(self, due: float, *, rows: int) -> bool:
        """A new run with a new clock: what was waiting is due at `due`.

        Changes at most so many rows, each time in a transaction of its own; True when none is left.
        """
        for other in ("due < ?1", "due > ?1"):  # each a range of the index, unlike <>
            self._execute(
                "UPDATE observations SET due = ?1 WHERE path IN (SELECT path FROM observations "
                f"WHERE state = 'seen' AND {other} LIMIT ?2)",
                (due, rows),
            )
            rows -= int(self._connection.changes())
        return rows > 0

    def postpone(self, root: int, due: float, *, rows: int) -> bool:
        """Nothing of this root is to be read before `due`; no try until then was a file's fault.

        Changes at most so many rows, the first of those that wait; True when none is left.
        """
        self._execute(
            "UPDATE observations SET due = ?1, tries = 0 WHERE path IN (SELECT path "
            "FROM observations WHERE state = 'seen' AND due < ?1 AND root = ?2 "
            "ORDER BY due LIMIT ?3)",
            (due, root, rows),
        )
        return int(self._connection.changes()) < rows

    def waits_with_size(
        self, size: int, *, inode: int | None = None, but: bytes | None = None
    ) -> bool:
        """True when a file of this size, and inode, waits to be read at another path than `but`."""
        condition = "" if inode is None else "AND inode = ?3 "
        rows = self._execute(
            "SELECT 1 FROM observations INDEXED BY observations_by_size WHERE state = 'seen' "
            f"AND size = ?1 AND path IS NOT ?2 {condition}LIMIT 1",
            (size, but, inode)[: 2 if inode is None else 3],
        )
        return rows.fetchone() is not None

    def keep_place(self, path: bytes, root: int) -> None:
        """Note a path at which an image is said to be missing, and at which no file ever was."""
        self._execute(
            "INSERT OR REPLACE INTO observations (path, root, device, inode, size, mtime_ns, "
            "ctime_ns, changed, state) VALUES (?, ?, 0, 0, 0, -1, 0, ?, 'missing')",
            (path, root, time.time()),
        )

    def pending(self) -> int:
        """Number of paths that wait to be read."""
        return int(self._execute("SELECT count(*) FROM observations WHERE state = 'seen'").get)

    def waiting(self) -> Iterator[bytes]:
        """Paths that wait to be read."""
        for (path,) in self._execute("SELECT path FROM observations WHERE state = 'seen'"):
            yield bytes(path)

    def count_removed(self) -> int:
        """Number of files that stay out, as a person took them or their content out."""
        return int(self._execute("SELECT count(*) FROM observations WHERE state = 'removed'").get)

    def waiting_of_root(self, root: int, limit: int, *, but: bytes) -> list[bytes]:
        """Some paths of a root that wait to be read, without one path."""
        rows = self._execute(
            "SELECT path FROM observations WHERE state = 'seen' AND root = ? AND path <> ? LIMIT ?",
            (root, but, limit),
        )
        return [bytes(path) for (path,) in rows]

    def skipped(self) -> dict[str, int]:
        """Files that are not images, counted by suffix."""
        rows = self._execute(
            "SELECT suffix, count(*) FROM observations WHERE state = 'skipped' "
            "GROUP BY suffix ORDER BY suffix"
        )
        return {str(suffix): int(count) for suffix, count in rows}

    def page_of_root(self, root: int, *, after: bytes, limit: int) -> list[tuple[bytes, str]]:
        """Paths and states of a root after `after`, in the order of their bytes."""
        rows = self._execute(
            "SELECT path, state FROM observations WHERE path > ? AND root = ? "
            "ORDER BY path LIMIT ?",
            (after, root, limit),
        )
        return [(bytes(path), str(state)) for path, state in rows]

    def below(self, folder: bytes, *, after: bytes = b"", limit: int) -> list[bytes]:
        """Paths below a folder and after `after`, in the order of their bytes."""
        low = folder.rstrip(b"/") + b"/"
        rows = self._execute(
            "SELECT path FROM observations WHERE path > ? AND path < ? ORDER BY path LIMIT ?",
            (max(low, after), low[:-1] + b"0", limit),  # b"0" follows b"/" in ASCII
        )
        return [bytes(path) for (path,) in rows]

    # Quarantine

    def oldest_pending(self) -> float | None:
        """The wall clock at which the file that waits longest last changed."""
        found: float | None = self._execute(
            "SELECT min(changed) FROM observations WHERE state = 'seen'"
        ).get
        return found

    def quarantine(self, path: bytes, reason: str, *, tries: int) -> None:
        """Put a path aside with its reason, in the words for people."""
        self._execute(
            "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, coalesce("
            "(SELECT since FROM quarantine WHERE path = ?), ?))",
            (path, reason, tries, path, time.time()),
        )
        self.settle(path, "quarantined")

    def release(self, path: bytes) -> None:
        """Take a path out of quarantine."""
        self._execute("DELETE FROM quarantine WHERE path = ?", (path,))

    def quarantined(self, *, limit: int = -1) -> list[Quarantined]:
        """The files in quarantine, by path; at most `limit` unless it is -1."""
        rows = self._execute(
            "SELECT path, reason, tries, since FROM quarantine ORDER BY path LIMIT ?", (limit,)
        )
        return [Quarantined(*row) for row in rows]

    def count_quarantined(self) -> int:
        """Number of files in quarantine."""
        return int(self._execute("SELECT count(*) FROM quarantine").get)


def _observation(row: tuple[Any, ...]) -> Observation:
    return Observation(row[0], row[1], (*row[2:7],), *row[7:])


class Requests(Table):
    """The table requests."""

    def put(self, path: bytes, root: int) -> None:
        """Ask the running watcher to take this path."""
        self._execute("INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", (path, root, time.time()))

    def oldest(self, limit: int) -> list[tuple[bytes, int]]:
        """Paths asked for, oldest first, with their roots."""
        rows = self._execute(
            "SELECT path, root FROM requests ORDER BY asked, path LIMIT ?", (limit,)
        )
        return [(bytes(path), int(root)) for path, root in rows]

    def answer(self, path: bytes) -> None:
        """The request has become an observation."""
        self._execute("DELETE FROM requests WHERE path = ?", (path,))

    def waits(self, path: bytes) -> bool:
        """True while the watcher has not taken the request up."""
        row = self._execute("SELECT 1 FROM requests WHERE path = ?", (path,)).fetchone()
        return row is not None
