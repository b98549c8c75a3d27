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

from imgclust.catalog import Catalog, Image, Root
from imgclust.config import Watch
from imgclust.images import FileStat
from imgclust.ingest.events import Counts, Emit, Event
from imgclust.ingest.looking import Looking
from imgclust.ingest.place import Clock, Disk, Place
from imgclust.reconcile import Look, RootScan, hold

# Files looked at in one transaction; few enough that events and commits are not kept waiting.
_SLICE = 500


class Scan:
    """One scan of all roots, in slices; call `advance` until it returns True."""

    def __init__(
        self,
        catalog: Catalog,
        place: Place,
        *,
        looking: Looking,
        disk: Disk,
        clock: Clock,
        rules: Watch,
        counts: Counts,
        emit: Emit,
    ) -> None:
        self._catalog = catalog
        self._place = place
        self._looking = looking
        self._disk = disk
        self._clock = clock
        self._rules = rules
        self._counts = counts
        self._emit = emit
        self._waiting = list(place.roots)
        self._current: _RootPass | None = None
        self.started = clock.monotonic()
        self.seconds = 0.0

    def advance(self) -> bool:
        """Do the next slice in one transaction; True when the scan is finished."""
        if self._current is None:
            if not self._waiting:
                self.seconds = self._clock.monotonic() - self.started
                return True
            self._current = self._begin(self._waiting.pop(0))
            return False
        with self._catalog.transaction():
            if self._current.slice():
                self._current.end()
                self._current = None
        return False

    def _begin(self, root: Root) -> _RootPass:
        return _RootPass(self, root)

    @property
    def parts(self) -> tuple[Catalog, Place, Looking, Disk, Watch, Counts, Emit]:
        """What a pass over one root needs."""
        return (
            self._catalog,
            self._place,
            self._looking,
            self._disk,
            self._rules,
            self._counts,
            self._emit,
        )


class _RootPass:
    """The scan of one root: first what is there, then what is not."""

    def __init__(self, scan: Scan, root: Root) -> None:
        (
            self._catalog,
            self._place,
            self._looking,
            self._disk,
            self._rules,
            self._counts,
            self._emit,
        ) = scan.parts
        self._root = root
        # A root that is one added file: its own absence proves nothing about the disk.
        self._single = root.kind == "added" and self._catalog.observations.at(root.path) is not None
        anchor = os.path.dirname(root.path) if self._single else root.path
        self._identity = self._disk.identity(anchor)
        self._troubles: list[bytes] = []
        self._files = 0
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
        if not self._troubles:
            self._emit(Event("trouble", f"cannot be read: {reason}", folder))
        self._troubles.append(folder)

    def slice(self) -> bool:
        """Look at the next files; True when there are no more."""
        part = list(islice(self._walk, _SLICE))
        for path, stat in part:
            self._files += 1
            self._seen.append(_hash(path))
            found = self._looking.at_file(path, stat, self._root.id, self._place)
            self._counts.seen += 1
            self._counts.unchanged += found is Look.NOTHING
        return len(part) < _SLICE

    def end(self) -> None:
        """Hold the catalog's rows of this root against what was there."""
        images = self._catalog.images
        absent = [image for image in self._rows() if self._is_absent(image)]
        newly = [image for image in absent if image.misses == 0]
        count = images.count(self._root.id)
        files = self._files
        if self._root.kind == "added":  # not walked: what is known of it is all there is
            files = 1 if self._single else count - len(absent)
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
        if not self._troubles:
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
            passed=not self._troubles,
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
        self._looking.at_file(image.path, stat, self._root.id, self._place)
        return False

    def _was_seen(self, path: bytes) -> bool:
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._seen, np.uint64))
        wanted = np.uint64(_hash(path))
        row = int(np.searchsorted(self._sorted, wanted))
        return row < len(self._sorted) and bool(self._sorted[row] == wanted)

    def _believe(self, absent: Sequence[Image]) -> None:
        for image in absent:
            if image.misses + 1 >= self._rules.missing_scans:
                self._catalog.remove_image(image)
                self._catalog.observations.forget(image.path)
                self._emit(Event("gone", "gone", image.path, image.id))
                continue
            if image.state != "missing":
                self._counts.missing += 1
                self._catalog.observations.settle(image.path, "missing")
                self._emit(Event("missing", "not there any more", image.path, image.id))
            self._catalog.images.miss(image.id, scans=1)

    def _hold(self, absent: Sequence[Image], reason: str) -> None:
        for image in absent:
            if image.state != "missing":
                self._counts.missing += 1
                self._catalog.observations.settle(image.path, "missing")
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
