"""Mounts: folders of a root that another file system is mounted on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apsw

_SELECT = "SELECT path, root, device, held FROM mounts"


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
        return [Mount(*row) for row in self._connection.execute(f"{_SELECT} ORDER BY path")]

    def of_root(self, root: int) -> list[Mount]:
        """The mounts of one root, by path."""
        rows = self._connection.execute(f"{_SELECT} WHERE root = ? ORDER BY path", (root,))
        return [Mount(*row) for row in rows]

    def held(self) -> list[Mount]:
        """Mounts that are held, by path."""
        rows = self._connection.execute(f"{_SELECT} WHERE held NOTNULL ORDER BY path")
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
