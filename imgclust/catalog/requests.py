"""Requests: the paths that `add` asks a running watcher to take."""

from __future__ import annotations

import time

import apsw


class Requests:
    """The table requests."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def put(self, path: bytes, root: int) -> None:
        """Ask the running watcher to take this path."""
        self._connection.execute(
            "INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", (path, root, time.time())
        )

    def oldest(self, limit: int) -> list[tuple[bytes, int]]:
        """Paths asked for, oldest first, with their roots."""
        rows = self._connection.execute(
            "SELECT path, root FROM requests ORDER BY asked, path LIMIT ?", (limit,)
        )
        return [(bytes(path), int(root)) for path, root in rows]

    def answer(self, path: bytes) -> None:
        """The request has become an observation."""
        self._connection.execute("DELETE FROM requests WHERE path = ?", (path,))

    def waits(self, path: bytes) -> bool:
        """True while the watcher has not taken the request up."""
        row = self._connection.execute("SELECT 1 FROM requests WHERE path = ?", (path,)).fetchone()
        return row is not None
