"""Watcher: which paths changed, by events; and the scan of every file below a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.fs import is_at_or_below, is_network
from imgclust.watcher.exclusion import Exclusion
from imgclust.wording import printable

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

    from imgclust.watcher.inotify import Handler, Observer


def scan(
    root: bytes,
    *,
    excluded: Callable[[bytes, bool], bool] | None = None,
    skip: Collection[bytes] = (),
    trouble: Callable[[bytes, OSError], None],
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Walk a folder, names in order, and yield its regular files.

    Symbolic links are not followed (`root` itself may be one). What vanishes meanwhile is left out.

    Parameters
    ----------
    root
        Where to begin, an absolute path.
    excluded
        Called with every path below `root`, and True for a folder; what it says True to is not
        yielded or entered. By default what an `Exclusion` without patterns leaves out.
    skip
        Absolute folders not to enter.
    trouble
        Called with a path that could not be read, and why. The scan continues, but says nothing
        about what is below that path: its files must not count as missing.

    Yields
    ------
    bytes, os.stat_result
        Path and `lstat` of a regular file.
    """
    if excluded is None:
        excluded = Exclusion().below(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            if folder == root or not _vanished(error):
                trouble(folder, error)
            continue
        below = []
        while entries:
            entry = entries.pop()  # its stat goes with it: there may be 10^6 in one folder
            try:
                folder_too = entry.is_dir(follow_symlinks=False)
                if excluded(entry.path, folder_too):
                    continue
                if folder_too:
                    if entry.path not in skip:
                        below.append(entry.path)
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                if not _vanished(error):
                    trouble(entry.path, error)
                continue
            yield entry.path, status
        folders.extend(reversed(below))


def _vanished(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def ignore(path: bytes, error: OSError) -> None:
    """Leave it to the rescan to say that a folder cannot be read."""


_LIMITS = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True)
class WatchLimits:
    """What inotify grants here; None where it cannot be read.

    Attributes
    ----------
    watches
        Folders a user may have watched at once.
    queued_events
        Events that wait before the queue overflows.
    """

    watches: int | None
    queued_events: int | None


def watch_limits() -> WatchLimits:
    """Read the inotify limits of this system."""

    def read(name: str) -> int | None:
        try:
            return int((_LIMITS / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    return WatchLimits(read("max_user_watches"), read("max_queued_events"))


@dataclass(eq=False)
class WatchedRoot:
    """A root that is watched, or would be.

    Attributes
    ----------
    identity
        Device and inode of the folder that is watched.
    refused
        By its file system or the watch limit: not tried again.
    known
        A file whose opening proves the watch alive.
    """

    path: bytes
    identity: tuple[int, int] | None = None
    watch: ObservedWatch | None = None
    refused: bool = False
    known: bytes | None = None


def identity_of(path: bytes) -> tuple[int, int]:
    """Device and inode of a folder.

    Raises
    ------
    OSError
        When there is no folder at `path`.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return status.st_dev, status.st_ino


class Proof:
    """Opens files and waits for the events of that; nothing is written.

    Parameters
    ----------
    wait_s
        Seconds to wait for the events.
    """

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._awaited: set[bytes] = set()

    def opened(self, path: bytes) -> None:
        """An event says that this file was opened; called in the observer's threads."""
        with self._changed:
            self._awaited.discard(path)
            self._changed.notify_all()

    def silent(self, paths: Sequence[bytes]) -> set[bytes]:
        """Open each file; those that can be opened and for which no event came in time."""
        for path in paths:
            with self._changed:
                self._awaited.add(path)
            if not _open_and_close(path):
                self.opened(path)
        with self._changed:
            self._changed.wait_for(lambda: not self._awaited, timeout=self._wait_s)
            missing, self._awaited = self._awaited, set()
        return missing


def known_file(root: WatchedRoot, *, exclusion: Exclusion, skip: Collection[bytes]) -> bytes | None:
    """A file of the root that can be read: the one of the last time while it is there."""
    with contextlib.suppress(OSError):
        if root.known is not None and stat.S_ISREG(os.lstat(root.known).st_mode):
            return root.known
    excluded = exclusion.below(root.path)
    files = scan(root.path, excluded=excluded, skip=skip, trouble=ignore)
    return next((path for path, _ in files if os.access(path, os.R_OK)), None)


def _open_and_close(path: bytes) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Watcher:
    """Says which paths need a look. Events are hints: the rescan is the guarantee.

    Callbacks come from other threads and must only enqueue. A path may be reported any number
    of times, for files that are not images, and for files that are gone again.

    Parameters
    ----------
    roots
        Absolute folders with their own symbolic links resolved.
    on_path
        Called with a file that was made, changed, closed, moved (old and new path) or deleted,
        and with a folder that was deleted or moved away (what was known below it needs a look).
    on_trouble
        Called with a code and one sentence: `network` (scanned instead), `limit` (watches used
        up, scanned instead), `overflow` (events lost), `dead` (a thread ended, started again),
        `blind` (opening a file raised no event), `root` (a root cannot be watched now),
        `unsupported` (no inotify here). Each is said once for a root.
    polling
        Watch nothing; the scan is the watch.
    exclude
        Which paths are left out.
    skip
        Absolute folders whose content is left out.
    proof_s
        Seconds to wait for the event that proves a root watched.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        on_path: Callable[[bytes], None],
        *,
        on_trouble: Callable[[str, str], None],
        polling: bool = False,
        exclude: Exclusion | None = None,
        skip: Collection[bytes] = (),
        proof_s: float = 5.0,
    ) -> None:
        self._on_path = on_path
        self._on_trouble = on_trouble
        self._polling = polling
        self._exclusion = exclude or Exclusion()
        self._skip = frozenset(skip)
        self._proof = Proof(wait_s=proof_s)
        # Guards what follows. Never taken in the observer's threads: they may hold watchdog's
        # lock, which `schedule` wants while this one is held.
        self._control = threading.RLock()
        self._roots = {path: WatchedRoot(path) for path in roots}
        self._observer: Observer | None = None
        self._running = False
        # Shared with the observer's threads.
        self._shared = threading.Lock()
        self._limited: set[bytes] = set()
        self._told: set[tuple[str, bytes]] = set()
        self._rescan = threading.Event()
        self._unmounted = False

    @property
    def scanning(self) -> bool:
        """True when some root is not watched, so that scans are all there is for it."""
        with self._control:
            return self._polling or any(root.watch is None for root in self._roots.values())

    def overflowed(self) -> bool:
        """True once after events were lost: scan now, without waiting for the rescan time."""
        if not self._rescan.is_set():
            return False
        self._rescan.clear()  # what is lost before the caller's scan is found by it
        return True

    def start(self) -> None:
        """Begin to watch; scan after this, not before."""
        with self._control:
            self._running = True
            for root in self._roots.values():
                self._watch(root)

    def stop(self) -> None:
        """End all threads; returns when they are gone."""
        with self._control:
            self._running = False
            self._stop_observer()

    def check(self) -> None:
        """Make sure that every root is still watched, and repair what is not; call at each rescan.

        Compares device and inode of each root with what is watched, looks for threads that
        ended, and opens one file of each root for reading and waits for the event (nothing is
        written, and no path is reported for it). Scan after it, not before: what it repairs was
        unwatched until now.
        """
        with self._control:
            if not self._running or self._polling:
                return
            if self._observer is not None and not self._observer.alive():
                self._say("dead", b"", "watching had stopped and was started again")
                self._restart()
            elif self._unmounted:
                self._restart()
            for root in self._roots.values():
                self._check_root(root)
            if self._unproven():
                self._restart()
                for root in self._unproven():
                    self._unwatch(root)
                    self._say(
                        "blind",
                        root.path,
                        f"opening a file in {printable(root.path)} raises no event; "
                        "it is scanned instead",
                    )

    # Below: called with `_control` held.

    def _watch(self, root: WatchedRoot) -> None:
        if self._polling or root.refused:
            return
        name = printable(root.path)
        if sys.platform != "linux":
            root.refused = True
            self._say("unsupported", b"", "file events need Linux; folders are scanned instead")
            return
        if is_network(root.path):
            root.refused = True
            self._say("network", root.path, f"{name} is on a network: it is scanned instead")
            return
        try:
            root.identity = identity_of(root.path)
            root.watch = self._running_observer().watch(root.path, self._handler())
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EMFILE}:
                self._limit(root.path)
            else:
                self._say(
                    "root",
                    root.path,
                    f"{name} cannot be watched ({error.strerror}); it is tried again at each scan",
                )
        else:
            with self._shared:
                self._told.discard(("root", root.path))
        self._refuse_limited(root)

    def _check_root(self, root: WatchedRoot) -> None:
        if root.refused or self._refuse_limited(root):
            return
        if root.watch is not None:
            try:
                same = identity_of(root.path) == root.identity
            except OSError:
                same = False
            if same and self._observer is not None and self._observer.alive_for(root.watch):
                return
            self._unwatch(root)
        self._watch(root)

    def _refuse_limited(self, root: WatchedRoot) -> bool:
        """Give a root up whose folders are watched in part: others need the watches too."""
        with self._shared:
            if not any(is_at_or_below(path, root.path) for path in self._limited):
                return False
            self._limited = {path for path in self._limited if not is_at_or_below(path, root.path)}
        root.refused = True
        self._unwatch(root)
        self._say(
            "limit",
            root.path,
            f"the system lets no more folders be watched (limit {watch_limits().watches}): "
            f"{printable(root.path)} is scanned instead; raise fs.inotify.max_user_watches "
            "and start again",
        )
        return True

    def _unwatch(self, root: WatchedRoot) -> None:
        if root.watch is not None and self._observer is not None:
            with contextlib.suppress(KeyError):
                self._observer.unschedule(root.watch)
        root.watch = None

    def _running_observer(self) -> Observer:
        if self._observer is None:
            from imgclust.watcher.inotify import Observer, Reader

            reader = Reader(
                on_overflow=self._overflow, on_unmount=self._unmount, on_limit=self._limit
            )
            self._observer = Observer(reader)
            self._observer.start()
        return self._observer

    def _handler(self) -> Handler:
        from imgclust.watcher.inotify import Handler

        return Handler(
            on_path=self._changed, on_folder=self._new_folder, on_open=self._proof.opened
        )

    def _stop_observer(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        for root in self._roots.values():
            root.watch = None

    def _restart(self) -> None:
        self._unmounted = False
        self._stop_observer()
        for root in self._roots.values():
            self._watch(root)

    def _unproven(self) -> list[WatchedRoot]:
        """Open a file of each watched root; the roots for which no event came in time."""
        watched = [root for root in self._roots.values() if root.watch is not None]
        if self._observer is None or not watched:
            return []
        self._observer.reader.proving = True
        try:
            for root in watched:
                root.known = known_file(root, exclusion=self._exclusion, skip=self._skip)
            silent = self._proof.silent([root.known for root in watched if root.known is not None])
        finally:
            self._observer.reader.proving = False
        return [root for root in watched if root.known in silent]

    # Below: called from the observer's threads.

    def _overflow(self) -> None:
        self._rescan.set()
        self._say("overflow", b"", "file events came too fast and some were lost; scanning now")

    def _unmount(self) -> None:
        self._unmounted = True
        self._rescan.set()

    def _limit(self, path: bytes) -> None:
        with self._shared:
            self._limited.add(path)
        self._rescan.set()

    def _changed(self, path: bytes) -> None:
        if path in self._roots:  # its own removal is for `check` and the scan to judge
            self._rescan.set()
        elif not self._left_out(path):
            self._on_path(path)

    def _new_folder(self, path: bytes) -> None:
        """Report every file in a new folder: it may have been filled before it was watched."""
        root = self._root_of(path)
        if self._left_out(path) or (path != root and self._exclusion.leaves_out(root, path, True)):
            return
        excluded = self._exclusion.below(root)
        for file, _ in scan(path, excluded=excluded, skip=self._skip, trouble=ignore):
            if not self._running:
                return
            self._on_path(file)

    def _root_of(self, path: bytes) -> bytes:
        roots = [root for root in self._roots if is_at_or_below(path, root)]
        return max(roots, key=len, default=b"/")

    def _left_out(self, path: bytes) -> bool:
        root = self._root_of(path)
        if path != root and self._exclusion.covers(root, path):
            return True
        while len(path) > len(root):
            if path in self._skip:
                return True
            path = os.path.dirname(path)
        return False

    def _say(self, code: str, root: bytes, sentence: str) -> None:
        with self._shared:
            if (code, root) in self._told:
                return
            self._told.add((code, root))
        self._on_trouble(code, sentence)
