"""Roots, the folders that images come in by; mounts in them; which file system was on each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgclust.catalog.cursor import Table
from imgclust.catalog.images import bounds_below
from imgclust.fs import is_below

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


class Roots(Table):
    """The table roots."""

    def all(self) -> list[Root]:
        """All roots, oldest first."""
        return [Root(*row) for row in self._execute(f"{_SELECT} ORDER BY id")]

    def get(self, root: int) -> Root | None:
        """The root with this number."""
        row = self._execute(f"{_SELECT} WHERE id = ?", (root,)).fetchone()
        return None if row is None else Root(*row)

    def put(self, path: bytes, kind: str) -> Root:
        """The root at `path`, made when new; an added root that is watched now becomes watched."""
        self._execute(
            "INSERT INTO roots (path, kind) VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET "
            "kind = CASE WHEN excluded.kind = 'watched' THEN 'watched' ELSE kind END",
            (path, kind),
        )
        row = self._execute(f"{_SELECT} WHERE path = ?", (path,)).fetchone()
        assert row is not None  # the caller holds the transaction
        return Root(*row)

    def identify(self, root: int, *, device: int | None, inode: int | None) -> None:
        """Store which folder was found at the path of a root; None changes nothing."""
        self._execute(
            "UPDATE roots SET device = coalesce(?, device), inode = coalesce(?, inode) "
            "WHERE id = ?",
            (device, inode, root),
        )

    def scan_over(self, root: int) -> None:
        """A scan of this root has ended now."""
        self._execute("UPDATE roots SET scanned = ? WHERE id = ?", (time.time(), root))

    def stop_watching(self, root: int) -> None:
        """The root stays for its images; what else is known of its files is forgotten."""
        self._execute("UPDATE roots SET kind = 'added' WHERE id = ?", (root,))
        self._execute(
            "DELETE FROM quarantine WHERE path IN (SELECT path FROM observations WHERE root = ?)",
            (root,),
        )
        self._execute(
            "DELETE FROM observations WHERE root = ?1 AND state <> 'removed' "
            "AND path NOT IN (SELECT path FROM images WHERE root = ?1)",
            (root,),
        )
        self._execute("DELETE FROM requests WHERE root = ?", (root,))

    def delete(self, root: int) -> None:
        """Delete a root that has no images, with all that is known of its files."""
        self._execute(
            "DELETE FROM quarantine WHERE path IN (SELECT path FROM observations WHERE root = ?)",
            (root,),
        )
        for table in ("observations", "requests", "mounts", "volumes"):
            self._execute(f"DELETE FROM {table} WHERE root = ?", (root,))
        self._execute("DELETE FROM roots WHERE id = ?", (root,))

    def hold(self, root: int, reason: str | None) -> None:
        """Nothing of this root is removed, for this reason; None frees it."""
        self._execute("UPDATE roots SET held = ? WHERE id = ?", (reason, root))


@dataclass(frozen=True)
class Mount:
    """A folder that another file system was mounted on when it was last seen.

    `held` is the reason why nothing below it is removed, None when all is well.
    """

    path: bytes
    root: int
    device: int
    held: str | None


class Mounts(Table):
    """The table mounts."""

    def all(self) -> list[Mount]:
        """All mounts, by path."""
        return [Mount(*row) for row in self._execute(f"{_MOUNTS} ORDER BY path")]

    def of_root(self, root: int) -> list[Mount]:
        """The mounts of one root, by path."""
        rows = self._execute(f"{_MOUNTS} WHERE root = ? ORDER BY path", (root,))
        return [Mount(*row) for row in rows]

    def held(self) -> list[Mount]:
        """Mounts that are held, by path."""
        rows = self._execute(f"{_MOUNTS} WHERE held NOTNULL ORDER BY path")
        return [Mount(*row) for row in rows]

    def put(self, path: bytes, root: int, device: int) -> None:
        """Remember a mount; the reason why a known one is held stays."""
        self._execute(
            "INSERT INTO mounts (path, root, device) VALUES (?, ?, ?) ON CONFLICT (path, root) "
            "DO UPDATE SET device = excluded.device",
            (path, root, device),
        )

    def hold(self, path: bytes, root: int, reason: str | None) -> None:
        """No image of the root below this mount is removed, for this reason; None frees them."""
        self._execute(
            "UPDATE mounts SET held = ? WHERE path = ? AND root = ?", (reason, path, root)
        )

    def forget(self, mounts: Iterable[Mount]) -> None:
        """Delete mounts."""
        self._executemany(
            "DELETE FROM mounts WHERE path = ? AND root = ?",
            [(mount.path, mount.root) for mount in mounts],
        )


_SELECT_VOLUMES = "SELECT path, root, number, before, former FROM volumes"


@dataclass(frozen=True)
class Volume:
    """The file system at a root, or at a mount in it.

    `number` is one that no other file system has, 0 when none is known; images up to the id
    `before` may have been on another one; `former` is the number of that.
    """

    path: bytes
    root: int
    number: int
    before: int | None = None
    former: int = 0


class Volumes(Table):
    """The table volumes; the caller of what writes holds the transaction."""

    def all(self) -> list[Volume]:
        """All volumes, by path."""
        return [Volume(*row) for row in self._execute(f"{_SELECT_VOLUMES} ORDER BY path")]

    def above(self, path: bytes, root: int) -> Volume | None:
        """The innermost volume of a root that a path is below."""
        rows = self._execute(f"{_SELECT_VOLUMES} WHERE root = ?", (root,))
        found = [Volume(*row) for row in rows if is_below(path, row[0])]
        return max(found, key=lambda one: len(one.path), default=None)

    def put(self, volume: Volume) -> None:
        """Remember which file system is at a folder."""
        self._execute(
            "INSERT OR REPLACE INTO volumes VALUES (?, ?, ?, ?, ?)",
            (volume.path, volume.root, volume.number, volume.before, volume.former),
        )

    def forget(self, volumes: Sequence[Volume]) -> None:
        """Delete volumes."""
        self._executemany(
            "DELETE FROM volumes WHERE path = ? AND root = ?",
            [(volume.path, volume.root) for volume in volumes],
        )

    def has_images(self, folder: bytes, root: int, *, until: int) -> bool:
        """True when a root has an image below a folder, with an id up to `until`."""
        row = self._execute(
            "SELECT 1 FROM images WHERE path > ? AND path < ? AND root = ? AND id <= ? LIMIT 1",
            (*bounds_below(folder), root, until),
        ).fetchone()
        return row is not None

    def at_rest_below(self, folder: bytes, root: int) -> bool:
        """True when an image below a folder, no newer than all that were displaced from there, is
        where it was."""
        row = self._execute(
            "SELECT 1 FROM images WHERE path > ?1 AND path < ?2 AND root = ?3 "
            "AND state = 'present' AND doubt = '' AND id < (SELECT max(id) FROM images "
            "INDEXED BY images_unsettled WHERE doubt <> '' AND doubt = 'displaced' "
            "AND former > ?1 AND former < ?2) LIMIT 1",
            (*bounds_below(folder), root),
        ).fetchone()
        return row is not None

    def kept(self) -> dict[tuple[bytes, int], int]:
        """Numbers of missing images that stay as another disk is there, by folder and root."""
        rows = self._execute(
            "SELECT kept, root, count(*) FROM images WHERE state = 'missing' AND kept NOTNULL "
            "GROUP BY kept, root"
        )
        return {(bytes(folder), int(root)): int(count) for folder, root, count in rows}
