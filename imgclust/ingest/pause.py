"""When a watcher reads nothing: while it is paused, and outside of its hours."""

from __future__ import annotations

import time
from dataclasses import dataclass

from imgclust import numbers
from imgclust.catalog.catalog import Catalog
from imgclust.wording import minute

# Settings of the catalog: when a person paused the ingest (None: not paused), and the hours of the
# watcher that runs.
_PAUSED, _HOURS = "paused", "hours"


@dataclass(frozen=True)
class Pause:
    """Why nothing is read now; files that arrive are seen, and wait in the catalog.

    `since` is when a person said so, in seconds since 1970; `hours` are those in which the watcher
    reads, "" where there are none, and `outside_hours` is True when it is another time.
    """

    since: float | None = None
    hours: str = ""
    outside_hours: bool = False

    def __bool__(self) -> bool:
        return self.since is not None or self.outside_hours

    @property
    def sentence(self) -> str:
        """Why nothing is read, and what to do about it; empty while files are read."""
        if self.since is not None:
            return f"paused since {minute(self.since)}; imgclust resume continues"
        return f"no file is read outside of the hours {self.hours}" if self.outside_hours else ""


def current_pause(catalog: Catalog, *, wall: float) -> Pause:
    """Whether files are read at this moment."""
    paused, hours = catalog.setting(_PAUSED), str(catalog.setting(_HOURS) or "")
    return Pause(paused, hours, bool(hours) and not in_hours(hours, wall))


def in_hours(hours: str, wall: float) -> bool:
    """Whether a moment lies in hours such as "22:00-06:00", by the clock on the wall.

    Where clocks are changed, an hour that comes twice counts twice, and one that is left out never.
    """
    span = numbers.hours(hours)
    assert span is not None  # the settings were checked
    begin, end = span
    local = time.localtime(wall)
    now = local.tm_hour * 60 + local.tm_min
    return begin <= now < end if begin < end else now >= begin or now < end


def begin_pause(catalog: Catalog) -> None:
    """Read nothing until `end_pause`; what was paused stays paused since then."""
    with catalog.transaction():
        if catalog.setting(_PAUSED) is None:
            catalog.store(_PAUSED, time.time())
            catalog.event("paused", "no file is read until imgclust resume")


def end_pause(catalog: Catalog) -> None:
    """Read files again."""
    with catalog.transaction():
        if catalog.setting(_PAUSED) is not None:
            catalog.store(_PAUSED, None)
            catalog.event("resumed", "files are read again")


def store_hours(catalog: Catalog, hours: str) -> None:
    """Store the hours of the ingest that begins; "" for one that reads at any time."""
    if (catalog.setting(_HOURS) or "") != hours:
        with catalog.transaction():
            catalog.store(_HOURS, hours)
