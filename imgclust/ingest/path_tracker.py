"""A look at a path: compare disk and catalog, write what follows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import partial

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.catalog.observations import Observation
from imgclust.images.filestat import FileStat
from imgclust.ingest.environment import Clock, Disk, Scope
from imgclust.ingest.events import STILL, Counts, Emit, Event
from imgclust.ingest.faults import Faults, Step
from imgclust.ingest.rows import Rows
from imgclust.reconcile import Look, look, settled

# Paths looked at in one transaction, those below a folder that has gone included.
_ROWS = 2000


class PathTracker:
    """Looks at paths that events, scans and requests name, each time in one transaction.

    Attributes
    ----------
    catalog, disk, clock, counts, emit, say
        As given: a scan needs the same. `emit` is for what is not committed yet.
    rows
        Which row a file gets.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        disk: Disk,
        clock: Clock,
        counts: Counts,
        faults: Faults,
        emit: Emit,
        say: Emit,
    ) -> None:
        self.catalog = catalog
        self.disk = disk
        self.clock = clock
        self.counts = counts
        self._faults = faults
        self.emit = emit
        self.say = say
        self.rows = Rows(catalog, disk, clock)

    def at_paths(self, paths: Mapping[bytes, bytes], scope: Scope) -> dict[bytes, bytes]:
        """Look at what events name: a file, or a folder that has gone or moved.

        Parameters
        ----------
        paths
            Each with the last path below it that was looked at already.

        Returns
        -------
        What is left for the next time: a folder may have held the whole collection.
        """
        rows = _ROWS
        waiting: dict[bytes, bytes] = {}
        begun: dict[bytes, bytes] = {}  # after those that wait: each has its turn

        def look(path: bytes, after: bytes, root: int) -> None:
            nonlocal rows
            if rows <= 0:
                waiting[path] = after
                return
            begun.pop(path, None)
            with contextlib.suppress(OSError):  # the disk cannot tell: the next scan asks again
                below = self._at_path(path, root, scope, after=after, rows=rows)
                if len(below) == rows:
                    begun[path] = below[-1]
                rows -= max(1, len(below))

        steps = [
            Step(path, root.id, None, partial(look, path, after, root.id))
            for path, after in paths.items()
            if (root := scope.root_of(path)) is not None
        ]
        if steps:
            self._faults.each(steps, doing="looking at it")
        return {**waiting, **begun}

    def _at_path(
        self, path: bytes, root: int, scope: Scope, *, after: bytes, rows: int
    ) -> list[bytes]:
        """Look at one of them; returns the paths below it that were looked at."""
        stat = self.disk.stat(path)
        known = self.catalog.observations.at(path)
        if stat is not None or known is not None:
            self.at_file(path, stat, root, scope, known=known)
            return []
        if self.disk.is_folder(path):
            return []
        found = self.catalog.observations.below(path, after=after, limit=rows)
        for below in found:
            self.at_file(below, self.disk.stat(below), root, scope)
        return found

    def at_files(
        self, files: Sequence[tuple[bytes, FileStat]], root: int, scope: Scope
    ) -> list[Look | None]:
        """Look at files with their stats, in one transaction; None for one that is put aside."""
        steps = [
            Step(path, root, stat, partial(self.at_file, path, stat, root, scope))
            for path, stat in files
        ]
        return self._faults.each(steps, doing="looking at it")

    def at_file(
        self,
        path: bytes,
        stat: FileStat | None,
        root: int,
        scope: Scope,
        *,
        known: Observation | None = None,
        asked: bool = False,
    ) -> Look:
        """Look at one file path with its stat; returns what it led to."""
        if known is None:
            known = self.catalog.observations.at(path)
        if known is not None and known.root != root:
            # A root inside another one came later: what lies in it is lost or kept with it.
            self.catalog.observations.relocate(path, root)
            self.catalog.images.relocate(path, root)
        found = look(known, stat, network=root in scope.network, asked=asked)
        if found is Look.SEE:
            assert stat is not None
            self.see(path, stat, root, scope)
        elif found is Look.VANISHED:
            self.vanished(path)
        elif found is Look.BACK:
            self._back(path)
        elif stat is None:
            self.counts.leave(path)
        elif known is not None and known.state == "seen":
            self.counts.wait(path)
        else:
            aside = known is not None and known.state == "quarantined"
            self.counts.rest(path, STILL if aside else "unchanged")
        return found

    def at_requests(self, requests: Sequence[tuple[bytes, int]], scope: Scope) -> None:
        """Look at paths that a person named, each with its root, in one transaction."""
        steps = [
            Step(path, root, None, partial(self._at_request, path, root, scope))
            for path, root in requests
        ]
        if None in self._faults.each(steps, doing="looking at it"):
            with self.catalog.transaction():  # a request that fails is answered, too
                for path, _ in requests:
                    self.catalog.requests.answer(path)

    def _at_request(self, path: bytes, root: int, scope: Scope) -> None:
        """Look at one of them, and note where the root of it is mounted."""
        watched = scope.root_of(path)
        stat = None
        try:
            stat = self.disk.stat(path)
        except OSError as error:
            self.emit(Event("trouble", f"cannot be read: {error.strerror}", path))
        self.catalog.requests.answer(path)
        added = None if watched else scope.by_id(root)
        if added is not None and not added.device and stat is not None:
            # Until its first scan only this tells a lost mount from deleted files.
            anchor = os.path.dirname(path) if path == added.path else added.path
            device, inode = self.disk.identity(anchor) or (None, None)
            self.catalog.roots.identify(root, device=device, inode=inode)
        self.at_file(path, stat, watched.id if watched else root, scope, asked=True)
        self.catalog.observations.ask(path)

    def at_ripe(self, known: Observation, scope: Scope) -> bool:
        """Look at a path whose settle delay has passed; True when it is to be read now."""
        if not known.asked and scope.excludes(known.path) and self.let_go(known.path):
            return False
        try:
            stat = self.disk.stat(known.path)
        except OSError:  # a claim will say what is wrong
            return True
        found = settled(known, stat, network=known.root in scope.network)
        if found is not Look.CLAIM:
            with self.catalog.transaction():
                if stat is None:
                    self.vanished(known.path)
                else:
                    self.see(known.path, stat, known.root, scope)
        return found is Look.CLAIM

    def let_go(self, path: bytes) -> bool:
        """Forget a path that is left out now; False for that of an image, which stays."""
        if self.catalog.images.at(path) is not None:
            return False
        with self.catalog.transaction():
            self.catalog.observations.forget(path)
        self.counts.leave(path)
        return True

    def see(self, path: bytes, stat: FileStat, root: int, scope: Scope) -> None:
        """The path is new or has changed: it is due when it has stayed the same long enough."""
        due = self.clock.monotonic() + scope.settle_s(root)
        self.catalog.observations.see(path, root, stat, due=due)
        self.counts.wait(path)

    def vanished(self, path: bytes) -> None:
        """The path is away: an image becomes missing (scans decide the rest), others leave."""
        self.counts.leave(path)
        image = self.catalog.images.at(path)
        if image is None:
            self.catalog.observations.forget(path)
            return
        self.catalog.observations.lose([path])
        missing = image.state == "missing"
        if not missing or image.doubt == "changed":
            self.catalog.images.miss([image.id], scans=0)
            if not self.taken_elsewhere(image) and not missing:
                self.counts.absent.add(image.id)
                self.emit(Event("missing", "not there any more", path, image.id))

    def taken_elsewhere(self, image: Image) -> bool:
        """Give an image that is missing the place of its newer copy, if that is not at rest."""
        change = self.rows.reclaim(image)
        if change is None:
            return False
        self.emit(Event(change.kind, "moved", change.path, change.image))
        return True

    def _back(self, path: bytes) -> None:
        image = self.catalog.images.at(path)
        if image is None:  # it was not an image when it left
            self.catalog.observations.forget(path)
            return
        self.catalog.observations.settle(path, "done")
        self.catalog.images.found(image.id)
        self.counts.rest(path, "unchanged")
        self.counts.absent.discard(image.id)
        self.emit(Event("back", "there again", path, image.id))
