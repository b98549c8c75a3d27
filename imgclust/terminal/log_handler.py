"""The log records of imgclust, for as long as something shows or keeps them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def taken(write: Callable[[logging.LogRecord], None], *, level: int) -> Iterator[None]:
    """Give `write` the log records of imgclust, from `level` on, in whatever thread they arise."""
    logger = logging.getLogger("imgclust")
    before = logger.level
    handler = _Handler(write, level)
    logger.addHandler(handler)
    # The other handlers have levels of their own.
    logger.setLevel(min(before or level, level))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[logging.LogRecord], None], level: int) -> None:
        super().__init__(level)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record)
