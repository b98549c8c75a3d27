"""The full scan: finds what events missed, and decides which images are missing or gone."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Image, Root
from imgclust.config import Watch
from imgclust.images import FileStat
from imgclust.ingest.events import Event
from imgclust.ingest.looking import Looking
from imgclust.ingest.place import Place
from imgclust.reconcile import Look, RootScan, hold

# Files looked at in one transaction; few enough that events and commits are not kept waiting.
_SLICE = 500


class Scan:
    """One scan of all roots, in slices; call `advance` until it returns True.

    `said` holds the folders whose trouble a person has been told.
    """

    def __init__(
        self,
        place: Place,
        *,
        looking: Looking,
        rules: Watch,
        said: set[bytes],
    ) -> None:
        self.place = place
        self.looking = looking
        self.rules = rules
        self.said = said
        self._clock = looking.clock
        self._waiting = list(place.roots)
        self._current: _RootPass | None = None
        self.started = self._clock.monotonic()
        self.seconds = 0.0

    def advance(self) -> bool:
        """Do the next slice in one transaction; True when the scan is finished.

        Raises
        ------
        StorageError
            When the disk refuses; the next call tries the same slice again.
        """
        if self._current is None:
            if not self._waiting:
                self.seconds = self._clock.monotonic() - self.started
                return True
            self._current = _RootPass(self, self._waiting.pop(0))
            return False
        if self._current.advance():
            self._current = None
        return False


class _RootPass:
    """The scan of one root: first what is there, then what is not."""

    def __init__(self, scan: Scan, root: Root) -> None:
        self._catalog = scan.looking.catalog
        self._place = scan.place
        self._looking = scan.looking
        self._disk = scan.looking.disk
        self._rules = scan.rules
        self._counts = scan.looking.counts
        self._emit = scan.looking.emit
        self._said = scan.said
        self._root = root
        self._absent: list[Image] = []
        self._met: list[tuple[bytes, FileStat]] = []
        # A root that is one added file: its own absence proves nothing about the disk.
        self._single = root.kind == "added" and self._catalog.observations.at(root.path) is not None
        self._anchor = os.path.dirname(root.path) if self._single else root.path
        self._identity = self._disk.identity(self._anchor)
        self._troubles: list[bytes] = []
        self._files = 0
        self._part: list[tuple[bytes, FileStat]] = []
        self._walked = False
        # 64-bit hashes instead of paths: a million files take 8 MB. Two paths with one hash could
        # only make a missing file look present until the next scan's order of hashes says so.
        self._seen = array("Q")
        self._sorted: npt.NDArray[np.uint64] | None = None
        self._walk: Iterator[tuple[bytes, FileStat]] = iter(())
        if root.kind == "watched" and self._identity is not None:
            others = [
                other.path
                for other in self._place.roots
                if other.kind == "watched" and other.path.startswith(root.path + b"/")
            ]
            self._walk = self._disk.scan(
                root.path, skip=[*self._place.ours, *others], trouble=self._trouble
            )

    def _trouble(self, folder: bytes, reason: str) -> None:
        self._troubles.append(folder)
        if folder not in self._said:
            self._said.add(folder)
            self._emit(Event("trouble", f"cannot be read: {reason}", folder))

    def advance(self) -> bool:
        """Do the next slice, or the comparison at the end; True when the root is done."""
        if not self._walked:
            self._slice()
        if not self._walked:
            return False
        if self._compare():
            with self._catalog.transaction():
                self._end()
        return True

    def _slice(self) -> None:
        """Look at the next files; nothing of it counts before it is committed."""
        self._part = self._part or list(islice(self._walk, _SLICE))
        with self._catalog.transaction():
            found = [
                self._looking.at_file(path, stat, self._root.id, self._place)
                for path, stat in self._part
            ]
        self._files += len(found)
        self._seen.extend(_hash(path) for path, _ in self._part)
        self._counts.seen += len(found)
        self._counts.unchanged += found.count(Look.NOTHING)
        self._walked = len(found) < _SLICE
        self._part = []

    def _compare(self) -> bool:
        """Hold the catalog's rows against what was there; asks the disk, writes nothing.

        False when a disk came or went meanwhile: then this scan proves nothing.
        """
        self._met = []
        self._absent = [image for image in self._rows() if self._is_absent(image)]
        if self._root.kind == "added" and self._identity is not None and not self._single:
            # Not walked; but a folder with other files in it is not one whose disk is away.
            others = self._disk.scan(
                self._root.path, skip=self._place.ours, trouble=lambda *_: None
            )
            self._files = sum(1 for _ in islice(others, 1))
        return self._disk.identity(self._anchor) == self._identity

    def _end(self) -> None:
        """Write what follows from the comparison."""
        images = self._catalog.images
        for path, stat in self._met:
            self._looking.at_file(path, stat, self._root.id, self._place)
        absent = self._absent
        newly = [image for image in absent if image.misses == 0]
        count = images.count(self._root.id)
        files = self._files + len(self._troubles)  # what cannot be listed is not empty
        if self._root.kind == "added":  # not walked: what is known of it is all there is
            files = 1 if self._single else max(count - len(absent), self._files)
        device, inode = self._identity or (None, None)
        changed = bool(self._root.device and device != self._root.device)
        reason = hold(
            RootScan(
                there=self._identity is not None,
                files=files,
                images=count,
                newly_missing=len(newly),
                device_changed=changed,
            ),
            share=self._rules.hold_share,
            least=self._rules.hold_images,
        )
        # Below a folder that cannot be listed nothing counts as absent; the rest is as always.
        if self._root.path not in self._troubles:
            if reason is None:
                self._believe(absent)
            else:
                self._hold(absent, reason)
        # An empty mount point is no proof either, also where there is no image to hold: what was
        # removed or set aside must not come back as new when the disk does.
        healthy = reason is None and self._identity is not None and bool(files or not changed)
        if healthy:
            self._forget_others()
        images.set_root(
            self._root.id,
            device=device if healthy else None,
            inode=inode if healthy else None,
            held=reason,
            passed=self._root.path not in self._troubles,
        )

    def _rows(self) -> Iterator[Image]:
        after = 0
        while page := self._catalog.images.page_of_root(self._root.id, after=after, limit=5000):
            yield from page
            after = page[-1].id

    def _is_absent(self, image: Image) -> bool:
        """Not met by the scan, and not there when asked for by name."""
        if self._was_seen(image.path):
            return False
        if any(image.path.startswith(folder + b"/") for folder in self._troubles):
            return False
        try:
            stat = self._disk.stat(image.path)
        except OSError:  # nobody can tell
            return False
        if stat is None:
            return True
        self._met.append((image.path, stat))
        return False

    def _was_seen(self, path: bytes) -> bool:
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._seen, np.uint64))
        wanted = np.uint64(_hash(path))
        row = int(np.searchsorted(self._sorted, wanted))
        return row < len(self._sorted) and bool(self._sorted[row] == wanted)

    def _believe(self, absent: Sequence[Image]) -> None:
        for image in absent:
            if image.state != "missing":
                self._counts.absent.add(image.id)
                self._catalog.observations.lose(image.path)
                self._emit(Event("missing", "not there any more", image.path, image.id))
            self._catalog.images.miss(image.id, scans=1)

    def _hold(self, absent: Sequence[Image], reason: str) -> None:
        for image in absent:
            if image.state != "missing":
                self._counts.absent.add(image.id)
                self._catalog.observations.lose(image.path)
                self._catalog.images.miss(image.id, scans=0)
        if self._root.held is None:
            sentence = (
                f"{reason}; nothing is removed until the images are back, or until "
                "`imgclust missing accept`"
            )
            self._emit(Event("held", sentence, self._root.path))
            self._catalog.event("held", sentence)

    def _forget_others(self) -> None:
        """Observations that are no images leave at once when their files do."""
        after = b""
        while page := self._catalog.observations.page_of_root(
            self._root.id, after=after, limit=5000
        ):
            for path, state in page:
                if state in {"done", "missing"} or self._was_seen(path):
                    continue
                with contextlib.suppress(OSError):
                    if self._disk.stat(path) is None:
                        self._looking.vanished(path)
            after = page[-1][0]


def _hash(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "big")
