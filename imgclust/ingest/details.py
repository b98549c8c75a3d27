"""Details of contents that were read before details were kept; nothing is embedded again."""

from __future__ import annotations

import time

from imgclust.catalog import Catalog, Details
from imgclust.images import FileStat, read_origin
from imgclust.ingest.environment import Disk
from imgclust.reconcile import same_file

# Files whose descriptions are read for one transaction, and paths tried for one content.
_SLICE, _PATHS = 64, 4


class DetailReader:
    """Reads descriptions from files, some at a time.

    A content whose file is absent now, or is another one by its stat, is passed over until the
    next run.
    """

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk
        self._after = -1
        self.over = False

    def advance(self, *, budget_s: float) -> bool:
        """Read for about so long; True when something is left."""
        until = time.monotonic() + budget_s
        while not self.over:
            keys = self._catalog.details.lacking(after=self._after, limit=_SLICE)
            self.over = not keys
            found = [(key, details) for key in keys if (details := self._read(key)) is not None]
            if found:
                with self._catalog.transaction():
                    known = self._catalog.contents.known(key for key, _ in found)
                    self._catalog.details.put(one for one in found if one[0] in known)
                    self._catalog.ledger.queue_pages_of(known)
            self._after = keys[-1] if keys else self._after
            if time.monotonic() >= until:
                break
        return not self.over

    def _read(self, key: int) -> Details | None:
        for image in self._catalog.images.with_content(key)[:_PATHS]:
            known = self._catalog.observations.at(image.path)
            if image.state != "present" or known is None or known.state != "done":
                continue
            try:
                stat = self._disk.stat(image.path)
            except OSError:
                continue
            if stat is None or not same_file(FileStat(*known.stat), stat, network=True):
                continue
            origin = read_origin(image.path)
            if origin is not None:
                return Details(origin.taken, origin.camera)
        return None
