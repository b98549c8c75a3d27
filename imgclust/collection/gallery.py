"""What the pages of a service show beside the commands: k, copies, the map, what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgclust.catalog.corrections import Correction
from imgclust.catalog.projections import StoredSweep
from imgclust.clusters.stored_sweeps import Previewer, SweepPreview
from imgclust.collection import activity, duplicates, map_points
from imgclust.collection.corrections import Corrections
from imgclust.errors import NothingThereError

if TYPE_CHECKING:
    from imgclust.collection.context import Context


@dataclass(frozen=True)
class SweepCurve:
    """The last sweep of the space that clusters are made in.

    `kept` are the k whose clusters can be shown. `current`: no image came or left since. `clusters`
    is how many there are now, 0 before the first clustering. `knee` is None where the curve has
    none; `chosen` is the suggested k in any case.
    """

    space: str
    distinct: int
    k: tuple[int, ...]
    inertia: tuple[float | None, ...]
    knee: int | None
    chosen: int
    sentence: str
    complete: bool
    created: float
    kept: tuple[int, ...]
    current: bool
    clusters: int


class Gallery:
    """See `Service.gallery`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._previewer: Previewer | None = None
        self._asking: Corrections | None = None

    def sweep_curve(self) -> SweepCurve:
        """The elbow curve of the last sweep; raises NothingThereError without one."""
        found, catalog = self._sweep(), self._context.catalog
        summary = found.summary
        clustering = catalog.clusterings.current_id()
        return SweepCurve(
            space=found.space,
            distinct=found.contents,
            k=tuple(summary["k"]),
            inertia=tuple(summary["inertia"]),
            knee=summary["knee"],
            chosen=int(summary["chosen"]),
            sentence=str(summary["sentence"]),
            complete=bool(summary["complete"]),
            created=found.created,
            kept=tuple(sorted(catalog.sweeps.fit_bytes(found.id))),
            current=found.sequence == catalog.contents.sequence(),
            clusters=0 if clustering is None else catalog.clusterings.count(clustering),
        )

    def sweep_preview(self, k: int) -> SweepPreview:
        """What the last sweep has found for a k; nothing is published.

        Raises
        ------
        NothingThereError
            Without a sweep, or a kept fit of this k.
        """
        found = self._sweep()
        if self._previewer is None or self._previewer.sweep != found.id:
            self._previewer = Previewer(self._context.catalog, found)
        return self._previewer.show(k)

    def _sweep(self) -> StoredSweep:
        """The last sweep of the space of the settings; raises NothingThereError without one."""
        space = self._context.clustering_rules.space
        found = self._context.catalog.sweeps.newest(space)
        if found is None or found.recipe != self._context.recipe:
            raise NothingThereError(
                f"there is no sweep of the space {space} yet; run imgclust sweep"
            )
        return found

    @property
    def asking(self) -> Corrections:
        """As `Collection.corrections`, the same each time: what its questions read is kept."""
        self._asking = self._asking or Corrections(self._context)
        return self._asking

    def found_duplicates(self, *, offset: int = 0, limit: int = 50) -> duplicates.FoundDuplicates:
        """Groups of the last job that looked for duplicates, as far as they are still true.

        Raises
        ------
        NothingThereError
            When none has.
        """
        return duplicates.found(self._context, offset=offset, limit=limit)

    def duplicates_list(self) -> str:
        """All copies but the best of each group, as a command of a shell that lists them.

        Raises as `found_duplicates`.
        """
        return duplicates.shell_list(self._context)

    def map_overview(self) -> map_points.MapOverview:
        """The newest map of two dimensions; raises NothingThereError without one."""
        return map_points.overview(self._context)

    def map_points(self, *, after: int = 0) -> bytes:
        """Its images with an id above `after`, as `server/gallery_routes.py` says; places new ones.

        Raises as `map_overview`.
        """
        return map_points.points(self._context, after=after)

    def said_of(self, image: int) -> tuple[Correction, ...]:
        """What people said about where an image belongs, as far as it counts, oldest first."""
        known = self._context.catalog.images.get(image)
        if known is None:
            return ()
        return tuple(self._context.catalog.corrections.about([known.content]))

    def file_troubles(self, *, limit: int) -> activity.FileTroubles:
        """Files that cannot be read, damaged and missing images: the first so many of each."""
        return activity.file_troubles(self._context, limit=limit)

    def activity(self, *, limit: int = 60) -> activity.Activity:
        """What waits to be read, and the newest changes, at most so many."""
        return activity.activity(self._context, limit=limit)
