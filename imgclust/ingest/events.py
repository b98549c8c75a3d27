"""What an ingest says while it runs, and what it counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgclust.ingest.holds import HeldFolder


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `kind` is one of: ingested, reused, replaced, touched (its stat changed, its bytes did not),
    moved, skipped, quarantined, removed (its content was taken out), missing, back, gone, held,
    offline (held since an earlier run),
    scanned, clustered, trouble, waiting, note. `path` and `image` say which file, `cluster` where
    it went, `cluster_name` what a person calls that one.
    """

    kind: str
    sentence: str
    path: bytes | None = None
    image: int | None = None
    cluster: int | None = None
    cluster_name: str | None = None


Emit = Callable[[Event], None]


@dataclass
class Counts:
    """What one run of an ingest did; `ingested` were embedded now, `reused` needed none.

    `absent` holds the images that left in this run and did not come back, by path or elsewhere.
    """

    seen: int = 0
    ingested: int = 0
    reused: int = 0
    unchanged: int = 0
    skipped: int = 0
    quarantined: int = 0
    absent: set[int] = field(default_factory=set)

    def result(self, *, seconds: float, held: tuple[HeldFolder, ...] = ()) -> IngestResult:
        """The counts as a result."""
        counted = dataclasses.asdict(self)
        missing = len(counted.pop("absent"))
        return IngestResult(
            **counted,
            missing=missing,
            seconds=round(seconds, 3),
            held=tuple((one.path, one.reason) for one in held),
            offline=tuple((one.path, one.images) for one in held if one.offline),
        )


@dataclass(frozen=True)
class IngestResult:
    """Result of `watch --once` and `add`: numbers of files, and seconds.

    `held` are folders whose images are kept, with the reason; `offline` are those of them whose
    disk is away, with the number of their images. `suggestions` name commands that would help.
    """

    seen: int
    ingested: int
    reused: int
    unchanged: int
    skipped: int
    quarantined: int
    missing: int
    seconds: float
    held: tuple[tuple[bytes, str], ...] = ()
    offline: tuple[tuple[bytes, int], ...] = ()
    suggestions: tuple[str, ...] = ()
