"""What a process that answers many queries keeps from one to the next."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.duplicates.copy_test import CopyMemory
from imgclust.errors import ImgclustError
from imgclust.images.pool import DecodePool
from imgclust.images.reader import claim
from imgclust.images.samples import WHOLE_PX
from imgclust.images.thumbnails import SmallPictures, small_pictures

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.config import Decode
    from imgclust.search.catalog_index import CatalogIndex

_WORKERS = 2
# How long small pictures are waited for, and how often it is looked whether they still come.
_PATIENCE_S, _LOOK_S = 30.0, 0.2


class QueryCache:
    """Indexes, what was seen of copies, and workers; may be used by several threads.

    Every open collection would load an index of its own, and a copy of it where images arrive.
    """

    def __init__(self) -> None:
        self.memory = CopyMemory()
        self._lock = threading.Lock()
        self._pool: DecodePool | None = None
        self._small: DecodePool | None = None
        # By catalog: the inode and recipe that an index belongs to, its own connection, and it.
        self._indexes: dict[str, tuple[tuple[int, str], Catalog, CatalogIndex]] = {}

    def catalog_index(self, context: Context) -> CatalogIndex:
        """The index of an open collection, loaded once for all that are open."""
        path = context.folders.catalog
        wanted = path.stat().st_ino, context.recipe
        with self._lock:
            known = self._indexes.get(str(path))
            if known is None or known[0] != wanted:
                catalog = Catalog(path)
                try:
                    known = wanted, catalog, context.open_index(catalog, mapped=True)
                except BaseException:
                    catalog.close()
                    raise
                # One that is replaced goes when the last query has ended that searches it.
                self._indexes[str(path)] = known
            return known[2]

    def pool(self, rules: Decode) -> DecodePool:
        """Workers that decode whole pictures; they start when they are needed first."""
        with self._lock:
            self._pool = _working(self._pool)
            if self._pool is None:
                self._pool = DecodePool(
                    workers=min(rules.workers or _WORKERS, devices.cpu_count()),
                    time_limit_s=rules.time_limit_s,
                    memory_limit_bytes=rules.memory_limit_mb << 20,
                    task=functools.partial(
                        claim,
                        thumbnail_px=0,
                        size_cap_bytes=rules.size_cap_mb << 20,
                        pixel_cap=rules.pixel_cap_mp * 1_000_000,
                        whole_px=WHOLE_PX,
                    ),
                )
            return self._pool

    def start(self) -> DecodePool:
        """The workers that read small pictures, which are started if they do not run."""
        with self._lock:
            self._small = _working(self._small)
            if self._small is None:
                self._small = DecodePool(
                    workers=min(_WORKERS, devices.cpu_count()), task=small_pictures, niceness=0
                )
            return self._small

    def outlines(self, paths: Sequence[bytes]) -> dict[int, npt.NDArray[np.float32]]:
        """Outlines of small pictures by their place among these files, of those that can be read.

        Workers read them: this process would let its other threads go first at each file.
        """
        pool = self.start()
        half = (len(paths) + 1) // 2
        futures: list[tuple[int, Future[object]]] = []
        found: dict[int, npt.NDArray[np.float32]] = {}
        try:
            for first in range(0, len(paths), half):
                futures.append((first, Future()))
                pool.submit(b"\0".join(paths[first : first + half]), futures[-1][1].set_result)
            for first, future in futures:
                read = self._waited(pool, future)
                if isinstance(read, SmallPictures):
                    found |= {
                        first + place: one
                        for place, one in zip(read.places, read.outlines, strict=True)
                    }
        except (ImgclustError, TimeoutError):
            pass  # the caller reads them itself
        return found

    def _waited(self, pool: DecodePool, future: Future[object]) -> object:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return future.result(_LOOK_S)
            except TimeoutError:
                if self._small is not pool or time.monotonic() > until:
                    raise

    def close(self) -> None:
        """Stop the workers, and close the indexes: nobody may search any more."""
        with self._lock:
            for pool in (self._pool, self._small):
                if pool is not None:
                    pool.close()
            self._pool = self._small = None
            for _, catalog, live in self._indexes.values():
                live.close(save=False)
                catalog.close()
            self._indexes.clear()


def _working(pool: DecodePool | None) -> DecodePool | None:
    """The pool, None where its workers did not start: those of another one may."""
    if pool is None or not pool.broken:
        return pool
    pool.close()
    return None
