"""Roots, the folders that images come in by, and mounts, which other file systems are on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import apsw

_SELECT = "SELECT id, path, kind, device, inode, held, scanned FROM roots"

_MOUNTS = "SELECT path, root, device, held FROM mounts"


@dataclass(frozen=True)
class Root:
    """A folder that images come in by.

    `kind` is "watched" or "added", `held` the reason why nothing is removed, `scanned` the wall
    clock at the end of the last scan.
    """

    id: int
    path: bytes
    kind: str
    device: int
    inode: int
    held: str | None
    scanned: float | None = None


class Roots:
    """The table roots."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def all(self) -> list[Root]:
        """All roots, oldest first."""
        return [Root(*row) for row in self._connection.execute(f"{_SELECT} ORDER BY id")]

    def get(self, root: int) -> Root | None:
        """The root with this number."""
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", (root,)).fetchone()
        return None if row is None else Root(*row)

    def put(self, path: bytes, kind: str) -> Root:
        """The root at `path`, made when new; an added root that is watched now becomes watched."""
        self._connection.execute(
            "INSERT INTO roots (path, kind) VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET "
            "kind = CASE WHEN excluded.kind = 'watched' THEN 'watched' ELSE kind END",
            (path, kind),
        )
        row = self._connection.execute(f"{_SELECT} WHERE path = ?", (path,)).fetchone()
        assert row is not None  # the caller holds the transaction
        return Root(*row)

    def identify(self, root: int, *, device: int | None, inode: int | None) -> None:
        """Store which folder was found at the path of a root; None changes nothing."""
        self._connection.execute(
            "UPDATE roots SET device = coalesce(?, device), inode = coalesce(?, inode) "
            "WHERE id = ?",
            (device, inode, root),
        )

    def scan_over(self, root: int) -> None:
        """A scan of this root has ended now."""
        self._connection.execute("UPDATE roots SET scanned = ? WHERE id = ?", (time.time(), root))

    def stop_watching(self, root: int) -> None:
        """The root stays for its images; what else is known of its files is forgotten."""
        self._connection.execute("UPDATE roots SET kind = 'added' WHERE id = ?", (root,))
        self._connection.execute(
            "DELETE FROM quarantine WHERE path IN (SELECT path FROM observations WHERE root = ?)",
            (root,),
        )
        self._connection.execute(
            "DELETE FROM observations WHERE root = ?1 AND state <> 'removed' "
            "AND path NOT IN (SELECT path FROM images WHERE root = ?1)",
            (root,),
        )
        self._connection.execute("DELETE FROM requests WHERE root = ?", (root,))

    def delete(self, root: int) -> None:
        """Delete a root that has no images, with all that is known of its files."""
        self._connection.execute(
            "DELETE FROM quarantine WHERE path IN (SELECT path FROM observations WHERE root = ?)",
            (root,),
        )
        for table in ("observations", "requests", "mounts", "volumes"):
            self._connection.execute(f"DELETE FROM {table} WHERE root = ?", (root,))
        self._connection.execute("DELETE FROM roots WHERE id = ?", (root,))

    def hold(self, root: int, reason: str | None) -> None:
        """Nothing of this root is removed, for this reason; None frees it."""
        self._connection.execute("UPDATE roots SET held = ? WHERE id = ?", (reason, root))


@dataclass(frozen=True)
class Mount:
    """A folder that another file system was mounted on when it was last seen.

    `held` is the reason why nothing below it is removed, None when all is well.
    """

    path: bytes
    root: int
    device: int
    held: str | None


class Mounts:
    """The table mounts."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def all(self) -> list[Mount]:
        """All mounts, by path."""
        return [Mount(*row) for row in self._connection.execute(f"{_MOUNTS} ORDER BY path")]

    def of_root(self, root: int) -> list[Mount]:
        """The mounts of one root, by path."""
        rows = self._connection.execute(f"{_MOUNTS} WHERE root = ? ORDER BY path", (root,))
        return [Mount(*row) for row in rows]

    def held(self) -> list[Mount]:
        """Mounts that are held, by path."""
        rows = self._connection.execute(f"{_MOUNTS} WHERE held NOTNULL ORDER BY path")
        return [Mount(*row) for row in rows]

    def put(self, path: bytes, root: int, device: int) -> None:
        """Remember a mount; the reason why a known one is held stays."""
        self._connection.execute(
            "INSERT INTO mounts (path, root, device) VALUES (?, ?, ?) ON CONFLICT (path, root) "
            "DO UPDATE SET device = excluded.device",
            (path, root, device),
        )

    def hold(self, path: bytes, root: int, reason: str | None) -> None:
        """No image of the root below this mount is removed, for this reason; None frees them."""
        self._connection.execute(
            "UPDATE mounts SET held = ? WHERE path = ? AND root = ?", (reason, path, root)
        )

    def forget(self, mounts: Iterable[Mount]) -> None:
        """Delete mounts."""
        self._connection.executemany(
            "DELETE FROM mounts WHERE path = ? AND root = ?",
            [(mount.path, mount.root) for mount in mounts],
        )
