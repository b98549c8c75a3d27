"""What happens in a collection: what waits to be read, and what has changed last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.catalog.feed import FeedRow
from imgclust.catalog.observations import Quarantined
from imgclust.collection import images
from imgclust.collection.images import DamagedImage, MissingImage
from imgclust.collection.roots import moved_folders
from imgclust.paths import as_path

if TYPE_CHECKING:
    from imgclust.collection.context import Context

# Paths that wait, of which so many are named.
_NAMED = 20


@dataclass(frozen=True)
class RecentChange:
    """A change, with the path of its image and the name of its cluster where there are such.

    `count` such changes followed each other; `time` is that of the last.
    """

    kind: str
    time: float
    image: int | None
    path: bytes | None
    cluster: int | None
    name: str | None
    message: str | None
    count: int

    @property
    def location(self) -> Path | None:
        """`path` as a `Path`."""
        return None if self.path is None else as_path(self.path)


@dataclass(frozen=True)
class Activity:
    """What waits, what has changed last (the newest first), and what to do about moved folders.

    `oldest_pending_s` is for how long the first of the `pending` files has waited; `waiting` are
    the paths of some of them.
    """

    pending: int
    oldest_pending_s: float
    waiting: tuple[bytes, ...]
    watching: bool
    changes: tuple[RecentChange, ...]
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class FileTroubles:
    """The first files of each kind that a person should look at, and how many there are of each."""

    quarantined: tuple[Quarantined, ...]
    all_quarantined: int
    damaged: tuple[DamagedImage, ...]
    all_damaged: int
    missing: tuple[MissingImage, ...]
    all_missing: int


def file_troubles(context: Context, *, limit: int) -> FileTroubles:
    """See `Gallery.file_troubles`."""
    catalog = context.catalog
    with catalog.snapshot():
        damaged = images.damaged(context, limit=limit + 1)
        return FileTroubles(
            quarantined=tuple(catalog.observations.quarantined(limit=limit)),
            all_quarantined=catalog.observations.count_quarantined(),
            damaged=damaged[:limit],
            all_damaged=(catalog.details.count_damaged() if len(damaged) > limit else len(damaged)),
            missing=images.missing(context, limit=limit),
            all_missing=catalog.images.count_missing(),
        )


def activity(context: Context, *, limit: int) -> Activity:
    """See `Gallery.activity`."""
    catalog = context.catalog
    with catalog.snapshot():
        oldest = catalog.observations.oldest_pending()
        pending = catalog.observations.pending()
        waiting = tuple(islice(catalog.observations.waiting(), _NAMED))
        rows = catalog.feed.after(max(0, catalog.feed.last() - limit), limit)
        changes = _described(context, rows)
    return Activity(
        pending=pending,
        oldest_pending_s=0.0 if oldest is None else round(max(0.0, time.time() - oldest), 1),
        waiting=waiting,
        watching=context.is_watching,
        changes=changes,
        suggestions=moved_folders(catalog),
    )


def _described(context: Context, rows: Sequence[FeedRow]) -> tuple[RecentChange, ...]:
    """Changes, the newest first; equal ones that follow each other are one."""
    known = context.catalog.images.some([row.image for row in rows if row.image is not None])
    names = context.catalog.clusterings.names()
    found = []
    for _, same in groupby(
        reversed(rows), key=lambda row: (row.kind, row.image, row.cluster, row.message)
    ):
        equal = list(same)
        row = equal[0]
        image = None if row.image is None else known.get(row.image)
        found.append(
            RecentChange(
                kind=row.kind,
                time=row.at,
                image=row.image,
                path=None if image is None else image.path,
                cluster=row.cluster,
                name=None if row.cluster is None else names.get(row.cluster),
                message=row.message,
                count=len(equal),
            )
        )
    return tuple(found)
