"""Scans: the full scan of all roots, step by step, and the scan of one root."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from imgclust.catalog.images import Image
from imgclust.catalog.roots import Root
from imgclust.config import Watch
from imgclust.failpoints import passing
from imgclust.fs import is_below
from imgclust.images.filestat import FileStat, Listings
from imgclust.ingest.environment import Scope, is_away
from imgclust.ingest.events import Event
from imgclust.ingest.faults import is_unexpected, sentence
from imgclust.ingest.mounts import Found, RootMounts, write_hold
from imgclust.ingest.path_tracker import PathTracker
from imgclust.reconcile import RootScan, hold, is_offline

# Files looked at in one transaction; few enough that events and commits are not kept waiting.
_SLICE = 500
# Rows compared in one turn, and changed in one transaction.
_ROWS = 2000
# What is known of a path that is left out now is forgotten in these states.
_LET_GO = frozenset({"seen", "skipped", "quarantined"})


class RootScanner:
    """The scan of one root: first what is there, then what is not.

    It is done in steps, each with one short transaction at most, and other work is done between
    two of them: what a step needs to be true it asks again. A step that the disk refuses is done
    again. What a crash cuts off holds for the rows that it came to; the next scan sees to all.

    Parameters
    ----------
    again
        This is the second walk of a scan, after a doubt.

    Attributes
    ----------
    root
        As given.
    files
        Files that the walk has met.
    doubted
        True when so much seems to have vanished that all roots are to be scanned again before
        that is believed: it may have moved, during the walk, to where that had been already.
    excluded
        Images that are there and in, in places that are left out now.
    """

    def __init__(
        self,
        root: Root,
        scope: Scope,
        *,
        tracker: PathTracker,
        rules: Watch,
        said: set[bytes],
        again: bool = False,
    ) -> None:
        self._catalog = tracker.catalog
        self._scope = scope
        self._tracker = tracker
        self._disk = tracker.disk
        self._rules = rules
        self._counts = tracker.counts
        self._say = tracker.say
        self._said = said
        self.root = root
        self.files = 0
        self.doubted = False
        self.excluded = 0
        self._again = again
        # A root that is one added file: its own absence proves nothing about the disk.
        self._single = root.kind == "added" and self._catalog.observations.at(root.path) is not None
        self._last = self._catalog.listing.last()
        self._changed: set[bytes] = set()
        self._anchor = os.path.dirname(root.path) if self._single else root.path
        self._identity = self._disk.identity(self._anchor)
        self._mounts = RootMounts(self._catalog, self._disk, root)
        self._troubles: list[bytes] = []
        self._part: list[tuple[bytes, FileStat]] = []
        # 64-bit hashes instead of paths: a million files take 8 MB. Two paths with one hash make a
        # missing file look present, but in one scan only: the next one's salt is another.
        self._salt = os.urandom(hashlib.blake2b.SALT_SIZE)
        self._seen = array("Q")
        self._sorted: npt.NDArray[np.uint64] | None = None
        self._absent: list[Image] = []
        self._reason: str | None = None
        self._healthy = False
        self._compared = 0
        self._listed = b""
        self._listings = Listings(self._disk.names)
        self._step: _Step = self._compare
        self._walk: Iterator[tuple[bytes, FileStat]] = iter(())
        if root.kind == "watched" and self._identity is not None:
            others = [
                other.path
                for other in self._scope.roots
                if other.kind == "watched" and is_below(other.path, root.path)
            ]
            self._walk = self._disk.scan(
                root.path, skip=[*self._scope.ours, *others], trouble=self._trouble
            )

    def _trouble(self, folder: bytes, reason: str) -> None:
        self._troubles.append(folder)
        if folder not in self._said:
            self._said.add(folder)
            self._say(Event("trouble", f"cannot be read: {reason}", folder))

    def walk(self) -> bool:
        """Look at the next files; True when there are no more."""
        self._part = self._part or self._next_files()
        self._tracker.at_files(self._part, self.root.id, self._scope)
        for path, stat in self._part:
            self._mounts.met(path, stat)
        # Nothing of it counts before it is committed.
        self.files += len(self._part)
        self._seen.extend(_hash(path, self._salt) for path, _ in self._part)
        over = len(self._part) < _SLICE
        self._part = []
        return over

    def _next_files(self) -> list[tuple[bytes, FileStat]]:
        """The next files of the walk; what a fault hides of it counts as unreadable."""
        found: list[tuple[bytes, FileStat]] = []
        try:
            for one in islice(self._walk, _SLICE):
                found.append(one)
        except BaseException as error:
            if not is_unexpected(error):
                raise
            self._trouble(self.root.path, sentence(error, "listing it"))
        return found

    def compare(self) -> bool:
        """Do the next step of what follows the walk; True when the root is done."""
        following = self._step()
        if following is not None:
            self._step = following
        return following is None

    def _go_on(self, step: _Step) -> _Step | None:
        """Do a step in the same turn: there was little to do in the one before it."""
        self._step = step
        return step()

    def _compare(self) -> _Step | None:
        """Compare the next of the catalog's rows with what was there."""
        page = self._catalog.images.page_of_root(self.root.id, after=self._compared, limit=_ROWS)
        absent = []
        met = []
        seen = self._were_seen([image.path for image in page])
        for image in (image for image, there in zip(page, seen, strict=True) if not there):
            if image.doubt == "displaced":  # there was never a file at its path
                continue
            if any(is_below(image.path, folder) for folder in self._troubles):
                continue
            try:
                stat = self._disk.stat(image.path)
                there = stat is not None and self._listings.has(image.path, self._anchor)
            except BaseException as error:
                if not isinstance(error, OSError) and not is_unexpected(error):
                    raise
                continue  # nobody can tell
            # Some file systems find a file under names that it does not have.
            if stat is None or not there:
                absent.append(image)
            else:
                met.append((image.path, stat))
                self.excluded += self.root.kind == "watched" and self._scope.excludes(image.path)
                self._mounts.met(image.path, stat)
        if met:
            self._tracker.at_files(met, self.root.id, self._scope)
        self._absent += absent
        if len(page) < _ROWS:
            return self._go_on(self._decide)
        self._compared = page[-1].id
        return self._compare

    def _decide(self) -> _Step | None:
        """Decide, before any image is called missing, whether absences may be believed.

        None when a disk came or went meanwhile: then this scan proves nothing. None also when it
        is in doubt.
        """
        if self.root.kind == "added" and self._identity is not None and not self._single:
            # Not walked; but a folder with other files in it is not one whose disk is away.
            others = self._disk.scan(self.root.path, skip=self._scope.ours, trouble=lambda *_: None)
            self.files = sum(1 for _ in islice(others, 1))
        if self._disk.identity(self._anchor) != self._identity:
            return None
        rules = self._rules
        absent = [image for image in self._absent if image.kept is None]
        if self._identity is not None:
            self._mounts.decide(
                absent, self._troubles, share=rules.hold_share, least=rules.hold_images
            )
        of_root = [image for image in absent if not self._mounts.holds(image.path)]
        count = self._catalog.images.count(self.root.id) - self._mounts.held_images()
        files = self.files + len(self._troubles)  # what cannot be listed is not empty
        if self.root.kind == "added":  # not walked: what is known of it is all there is
            files = 1 if self._single else max(count - len(of_root), self.files)
        device, _ = self._identity or (None, None)
        changed = bool(self.root.device and device != self.root.device)
        newly = [image.path for image in of_root if image.misses == 0]
        found = RootScan(
            there=self._identity is not None,
            files=files,
            images=count,
            newly_missing=len(newly),
            device_changed=changed,
            held=self.root.held,
        )
        self._reason = self._hold_after(found)
        if self._reason is not None and found.there and not changed:
            network = self.root.id in self._scope.network
            moved = self._catalog.observations.moved(newly, network=network)
            self._reason = self._hold_after(
                replace(found, images=count - moved, newly_missing=len(newly) - moved)
            )
            first = self.root.kind == "watched" and self.root.held is None
            if self._reason is not None and first and not self._again:
                self.doubted = True
                return None
        if self._mounts.verdict.doubtful and self.root.kind == "watched" and not self._again:
            self.doubted = True
            return None
        # An empty mount point proves nothing either, also where there is no image to hold: what was
        # removed or set aside must not come back as new when the disk does.
        there = self._identity is not None and bool(files or not changed)
        self._healthy = there and self._reason is None
        # First: where it is refused, all of this is decided again.
        self._hold()
        self._absent = [
            image
            for image in self._absent
            if image.state != "missing" or not self._is_held(image.path)
        ]
        if self.root.path in self._troubles:
            # Below a folder that cannot be listed nothing counts as absent; the rest is as always.
            self._absent = []
        return self._go_on(self._miss)

    def _hold_after(self, found: RootScan) -> str | None:
        reason = hold(found, share=self._rules.hold_share, least=self._rules.hold_images)
        return reason or self._mounts.verdict.held.get(self.root.path)

    def _is_held(self, path: bytes) -> bool:
        return self._reason is not None or self._mounts.holds(path)

    def _hold(self) -> None:
        """Nothing of the root, or of a mount of it, is removed from here on."""
        with self._catalog.transaction():
            held = write_hold(self._catalog, self.root, self._reason, self._mounts)
            self._note_volumes()
        for event, first in held:
            assert event.path is not None
            again = event.kind == "offline" and event.path not in self._said
            if (first or again) and event.path not in self._troubles:
                self._said.add(event.path)
                self._say(event)

    def _note_volumes(self) -> None:
        """Note which file systems are there: what is absent from another than before is kept."""
        volumes, mounts = self._tracker.rows.volumes, self._mounts
        volumes.refresh()
        there = mounts.there()
        root_lost = self.root.path in mounts.verdict.lost or is_offline(self._reason)
        if not self._single and self._identity is not None and not root_lost:
            there.add(self.root.path)
        volumes.is_plain_now(self.root.id, mounts.verdict.gone, last=self._last)
        self._changed = volumes.note(self.root.id, there, mounts=mounts.known(), last=self._last)

    def _swapped(self, image: Image) -> bytes | None:
        """The folder of an image in which another disk is now."""
        if not self._changed:
            return None
        found, top = self._tracker.rows.volumes.find(image, image.path)
        return top if found is Found.OTHER and top in self._changed else None

    def _miss(self) -> _Step | None:
        """Call the next of the absent images missing, but those that are back or have moved."""
        if not self._absent:
            return self._go_on(self._forget)
        self._listings = Listings(self._disk.names)
        part = [image for image in self._absent[:_ROWS] if self._is_away(image.path)]
        with self._catalog.transaction():
            now = self._catalog.images.some([image.id for image in part])
            away = [now[one.id] for one in part if one.id in now and now[one.id].path == one.path]
            newly = [image for image in away if image.state != "missing"]
            self._catalog.observations.lose([image.path for image in newly])
            swapped = {image.id: folder for image in newly if (folder := self._swapped(image))}
            held = swapped.keys() | {
                one.id for one in away if one.kept is not None or self._is_held(one.path)
            }
            self._catalog.images.miss(held, scans=0)
            self._catalog.images.miss([one.id for one in away if one.id not in held], scans=1)
            for number, folder in swapped.items():
                self._catalog.moves.keep([number], folder)
            lost = self._catalog.images.some([image.id for image in newly])
            moved = {one.id for one in lost.values() if self._tracker.taken_elsewhere(one)}
        self._absent = self._absent[_ROWS:]
        for image in newly:
            self._counts.leave(image.path)
        for image in (image for image in newly if image.id not in moved):
            self._counts.absent.add(image.id)
            if image.id not in held:
                self._say(Event("missing", "not there any more", image.path, image.id))
        passing("scan.missed")
        return self._miss

    def _forget(self) -> _Step | None:
        """The next observations that are not images leave at once when their files do."""
        page = []
        if self._healthy:
            page = self._catalog.observations.page_of_root(
                self.root.id, after=self._listed, limit=_ROWS
            )
        others = [path for path, state in page if state not in {"done", "missing"}]
        seen = self._were_seen(others)
        with self._catalog.transaction():
            for (path, state), there in zip(
                [one for one in page if one[1] not in {"done", "missing"}], seen, strict=True
            ):
                if not there and state in _LET_GO and self._scope.excludes(path):
                    self._tracker.let_go(path)
        self._listings = Listings(self._disk.names)
        gone = [
            path
            for path, there in zip(others, seen, strict=True)
            if not there and not self._mounts.keeps(path) and self._is_away(path)
        ]
        if self._disk.identity(self._anchor) != self._identity or self._mounts.lost_since():
            return None  # gone since it was decided
        if gone:
            with self._catalog.transaction():
                for path in gone:
                    self._tracker.vanished(path)
        if len(page) < _ROWS:
            return self._go_on(self._over)
        self._listed = page[-1][0]
        return self._forget

    def _over(self) -> None:
        """Note that the root was scanned, and what it is."""
        device, inode = (self._identity if self._healthy else None) or (None, None)
        with self._catalog.transaction():
            if self._reason is None:
                self._catalog.roots.hold(self.root.id, None)
            self._catalog.roots.identify(self.root.id, device=device, inode=inode)
            self._catalog.roots.scan_over(self.root.id)

    def _is_away(self, path: bytes) -> bool:
        return is_away(self._disk, path, self._anchor, self._listings)

    def _were_seen(self, paths: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the paths the scan has met."""
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._seen, np.uint64))
        wanted = np.array([_hash(path, self._salt) for path in paths], np.uint64)
        after = np.searchsorted(self._sorted, wanted, side="right")
        return np.not_equal(after, np.searchsorted(self._sorted, wanted))


# What is to be done next of a root's scan, None when it is done.
_Step = Callable[[], "_Step | None"]


def _hash(path: bytes, salt: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=8, salt=salt).digest(), "big")


class Scan:
    """One scan of all roots, in steps; call `advance` until it returns True.

    `said` holds the folders whose trouble was already reported.

    Attributes
    ----------
    excluded
        Images in places that are left out now; complete when the scan is finished.
    in_doubt
        True while all roots are scanned again; nothing is to be read until then: a copy of
        what seems to have vanished would take its place before it is known whether it has.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        tracker: PathTracker,
        rules: Watch,
        said: set[bytes],
    ) -> None:
        self._pass = partial(RootScanner, scope=scope, tracker=tracker, rules=rules, said=said)
        self._clock = tracker.clock
        self._say = tracker.say
        self._watched = [root for root in scope.roots if root.kind == "watched"]
        self._waiting = deque(self._watched)
        self._over: set[int] = set()
        self.in_doubt = False
        self.excluded = 0
        self._added = deque(root for root in scope.roots if root.kind == "added")
        self._walking: RootScanner | None = None
        self._walked: deque[RootScanner] = deque()
        self.started = self._clock.monotonic()
        self.seconds = 0.0

    def advance(self, *, lasting: bool = False) -> bool:
        """Do the next step, in one short transaction at most; True when the scan is finished.

        With `lasting` a scan that meets a fault is given up: the next one looks.

        Raises
        ------
        StorageError
            When the disk refuses; the next call tries the same step again.
        """
        try:
            return self._advance()
        except BaseException as error:
            if not lasting or not is_unexpected(error):
                raise
            self._say(Event("trouble", f"{sentence(error, 'scanning')}; the next scan looks again"))
            return True

    def _advance(self) -> bool:
        # All roots are walked before one is compared: what has left it may have moved to another.
        if self._walking is None and self._waiting:
            self._walking = self._pass(self._waiting[0])
            self._waiting.popleft()
        if self._walking is not None:
            if self._walking.walk():
                if self._walking.root.id not in self._over:
                    self._walked.append(self._walking)
                self._walking = None
            return False
        if not self._walked and self._added:
            self._walked.append(self._pass(self._added[0]))
            self._added.popleft()
        if self._walked:
            if self._walked[0].compare():
                compared = self._walked.popleft()
                self.in_doubt = compared.doubted
                if compared.doubted:
                    self._walk_again()
                else:
                    self._over.add(compared.root.id)
                    self.excluded += compared.excluded
            return False
        self.seconds = self._clock.monotonic() - self.started
        return True

    def _walk_again(self) -> None:
        """Scan all roots again, then compare those that are not over."""
        self._pass = partial(self._pass, again=True)
        self._say(
            Event(
                "note",
                "so many images seem to have vanished that all folders are scanned again "
                "to make sure; what arrives waits until then",
            )
        )
        self._waiting.extend(self._watched)
        self._walked.clear()
