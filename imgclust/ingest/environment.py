"""Which root a path belongs to, and the seams through which ingest sees disk and clock."""

from __future__ import annotations

import os
import stat as stat_bits
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from imgclust import fs
from imgclust.catalog.roots import Root
from imgclust.fs import is_at_or_below, is_below
from imgclust.images.filestat import NO_STAT, FileStat, Listings, file_stat, names_in, stat_of
from imgclust.images.reader import digest
from imgclust.ingest.faults import is_unexpected
from imgclust.watcher import watcher
from imgclust.watcher.exclusion import Exclusion

# Poll interval for requests of other processes.
POLL_S = 0.5


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


class Disk(Protocol):
    """What ingest asks of the file system; a test puts a simulated one here."""

    def stat(self, path: bytes) -> FileStat | None: ...

    def is_folder(self, path: bytes) -> bool: ...

    def names(self, folder: bytes) -> Collection[bytes]: ...

    def identity(self, path: bytes) -> tuple[int, int] | None: ...

    def mount_points(self, folder: bytes) -> set[bytes]: ...

    def volume(self, folder: bytes) -> int | None: ...

    def reads(self, path: bytes) -> bool: ...

    def digest(self, path: bytes) -> bytes | None: ...

    def scan(
        self, root: bytes, *, skip: Sequence[bytes], trouble: Callable[[bytes, str], None]
    ) -> Iterator[tuple[bytes, FileStat]]: ...


class LocalDisk:
    """The real file system, without what is left out."""

    _exclusion = Exclusion()

    def __init__(self, exclusion: Exclusion | None = None) -> None:
        self._exclusion = exclusion or self._exclusion

    def stat(self, path: bytes) -> FileStat | None:
        """Stat of a regular file, None for anything else; OSError when the disk cannot tell."""
        return stat_of(path)

    def is_folder(self, path: bytes) -> bool:
        """True for a folder that is not a symbolic link."""
        try:
            return stat_bits.S_ISDIR(os.lstat(path).st_mode)
        except OSError:
            return False

    def names(self, folder: bytes) -> Collection[bytes]:
        """Every name in a folder, as listed; OSError when it cannot be listed."""
        return names_in(folder)

    def identity(self, path: bytes) -> tuple[int, int] | None:
        """Device and inode of a folder or file, links followed; None when it is not there."""
        try:
            result = os.stat(path)
        except OSError:
            return None
        return fs.stored(result.st_dev), fs.stored(result.st_ino)

    def mount_points(self, folder: bytes) -> set[bytes]:
        """Paths in a folder, itself included, that something is mounted on."""
        return fs.mount_points(folder)

    def volume(self, folder: bytes) -> int | None:
        """A number that only another folder or file system changes; None where nothing tells."""
        return fs.volume_number(folder)

    def reads(self, path: bytes) -> bool:
        """True when the disk itself, and not the system's memory, gives some of the file."""
        try:
            descriptor = fs.open_regular(path, follow=False)
            try:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                return bool(os.pread(descriptor, 1, 0))
            finally:
                os.close(descriptor)
        except OSError:
            return False

    def digest(self, path: bytes) -> bytes | None:
        """SHA-256 of a file; None when it cannot be read, or changes."""
        found = digest(path)
        return None if found is None else found[1]

    def scan(
        self,
        root: bytes,
        *,
        skip: Sequence[bytes],
        trouble: Callable[[bytes, str], None],
        anchor: bytes | None = None,
    ) -> Iterator[tuple[bytes, FileStat]]:
        """Every regular file below a root with its stat; unreadable folders go to `trouble`.

        Patterns count from `anchor`, a folder above the root, else from the root.
        """

        def said(folder: bytes, error: OSError) -> None:
            trouble(folder, error.strerror or str(error))

        excluded = self._exclusion.below(anchor or root)
        for path, result in watcher.scan(root, excluded=excluded, skip=skip, trouble=said):
            try:
                stat = file_stat(result)
            except BaseException as error:
                if not is_unexpected(error):
                    raise
                stat = NO_STAT  # the path is looked at again, alone
            yield path, stat


@dataclass(frozen=True)
class Scope:
    """The roots of a collection, the folders of ours that are never entered, what is left out."""

    roots: tuple[Root, ...]
    ours: tuple[bytes, ...]
    network: frozenset[int]
    settle_local_s: float
    exclusion: Exclusion = field(default_factory=Exclusion)

    def settle_s(self, root: int) -> float:
        """How long a file of this root must stay the same; network disks tell late."""
        return max(self.settle_local_s, 10.0) if root in self.network else self.settle_local_s

    def root_of(self, path: bytes) -> Root | None:
        """The innermost watched root above `path`; None when no root has it, or it is excluded."""
        best = self.watched_above(path)
        if best is None or any(is_at_or_below(path, folder) for folder in self.ours):
            return None
        return None if self.exclusion.covers(best.path, path) else best

    def excludes(self, path: bytes) -> bool:
        """True for a path below a watched root that is left out."""
        root = self.watched_above(path)
        return root is not None and self.exclusion.covers(root.path, path)

    def watched_above(self, path: bytes) -> Root | None:
        """The innermost watched root above `path`."""
        best: Root | None = None
        for root in self.roots:
            if root.kind != "watched" or (best is not None and len(root.path) <= len(best.path)):
                continue
            if is_below(path, root.path):
                best = root
        return best

    def top_of(self, path: bytes) -> bytes:
        """The innermost root above `path`, else its folder: the names below it are looked up."""
        tops = [root.path for root in self.roots if is_below(path, root.path)]
        return max(tops, key=len, default=os.path.dirname(path))

    def by_id(self, root: int) -> Root | None:
        """The root with this number."""
        return next((found for found in self.roots if found.id == root), None)


def is_away(disk: Disk, path: bytes, top: bytes, listings: Listings) -> bool:
    """True when there surely is not a regular file of this name; False where nobody can tell.

    The names of the folders between `top` and the path count too.
    """
    try:
        return disk.stat(path) is None or not listings.has(path, top)
    except BaseException as error:
        if not isinstance(error, OSError) and not is_unexpected(error):
            raise
        return False
