"""Whole pictures of contents, decoded by workers with the limits of the collection."""

from __future__ import annotations

import functools
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust import devices
from imgclust.images import WHOLE_PX, Decoded, DecodePool, Outcome, claim

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

_WORKERS = 2
# What decoded pictures may take; the two that are compared are kept in any case.
_MOST_BYTES = 256 << 20
_POLL_S = 0.5


class WholePictures:
    """Decodes contents once each as long as there is room; the workers start when needed."""

    def __init__(self, collection: Opened) -> None:
        self._collection = collection
        self._pool: DecodePool | None = None
        self._futures: dict[int, Future[Outcome]] = {}
        self._kept: OrderedDict[int, npt.NDArray[np.uint8] | None] = OrderedDict()
        self._bytes = 0

    def request(self, key: int) -> None:
        """Begin to decode a content, unless that was done."""
        if key in self._kept or key in self._futures:
            return
        known = self._collection.catalog.observations
        for image in self._collection.catalog.images.with_content(key):
            there = known.at(image.path)
            if image.state == "present" and there is not None and there.state == "done":
                future: Future[Outcome] = Future()
                self._started().submit(image.path, functools.partial(_settle, future))
                self._futures[key] = future
                return
        self._kept[key] = None

    def get(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.whole_picture`; None: no file holds the content, or it is not compared."""
        self.request(key)
        future = self._futures.pop(key, None)
        if future is not None:
            outcome = self._waited(future)
            content = self._collection.catalog.contents.get(key)
            self._kept[key] = None
            if isinstance(outcome, Decoded) and content is not None:
                # The file may hold another picture by now.
                self._kept[key] = outcome.pixels if outcome.sha256 == content.sha256 else None
            self._bytes += _size(self._kept[key])
        self._kept.move_to_end(key)
        found = self._kept[key]
        while len(self._kept) > 2 and self._bytes > _MOST_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.close()

    def _waited(self, future: Future[Outcome]) -> Outcome | None:
        while True:
            self._collection.stop.check()
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                continue
            except CancelledError:
                return None

    def _started(self) -> DecodePool:
        if self._pool is None:
            rules = self._collection.settings.decode
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


def _size(pixels: npt.NDArray[np.uint8] | None) -> int:
    return 0 if pixels is None else pixels.nbytes


def _settle(future: Future[Outcome], outcome: Outcome) -> None:
    future.set_result(outcome)
