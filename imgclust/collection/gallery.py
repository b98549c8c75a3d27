"""What the pages of a service show beside the commands: k, copies, the map, what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.catalog.corrections import Correction
from imgclust.clusters.stored_sweeps import Previewer, SweepPreview
from imgclust.collection import activity, duplicates, k_choice, map_points
from imgclust.collection.corrections import Corrections

if TYPE_CHECKING:
    from imgclust.collection.context import Context


class Gallery:
    """See `Service.gallery`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._previewer: Previewer | None = None
        self._asking: Corrections | None = None

    def sweep_curve(self) -> k_choice.SweepCurve:
        """The elbow curve of the last sweep; raises NothingThereError without one."""
        return k_choice.curve(self._context)

    def sweep_preview(self, k: int) -> SweepPreview:
        """What the last sweep has found for a k; nothing is published.

        Raises
        ------
        NothingThereError
            Without a sweep, or a kept fit of this k.
        """
        self._previewer = k_choice.previewer(self._context, self._previewer)
        return self._previewer.show(k)

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
