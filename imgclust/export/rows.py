"""Rows of an export, read page by page, and how their values are written as text."""

from __future__ import annotations

import base64
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog, Facts, ListedImage
from imgclust.errors import StorageError
from imgclust.progress import Progress, StopFlag

_PAGE = 1000


@dataclass(frozen=True)
class Rows:
    """The images of a collection as they were when the export began.

    Images that come later are left out. `axes` are the names of the map's coordinates, `lossy`
    says whether some path is not UTF-8.
    """

    catalog: Catalog
    recipe: str
    clustering: int | None
    projection: int | None
    names: Mapping[int, str]
    axes: tuple[str, ...]
    lossy: bool
    last: int
    count: int
    progress: Progress
    stop: StopFlag
    only: Collection[int] | None = None

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        *,
        recipe: str,
        progress: Progress,
        stop: StopFlag,
        only: Collection[int] | None = None,
    ) -> Rows:
        """The rows of a collection as it is now."""
        with catalog.snapshot():
            newest = catalog.projections.newest_map(recipe)
            return cls(
                catalog=catalog,
                recipe=recipe,
                clustering=catalog.clusterings.current_id(),
                projection=None if newest is None else newest[0],
                names=catalog.clusterings.names(),
                axes=("x", "y", "z") if newest is not None and newest[1] == 3 else ("x", "y"),
                lossy=any(loses(path) for path in catalog.listing.paths()),
                last=catalog.listing.last(),
                count=catalog.images.count() if only is None else len(only),
                progress=progress,
                stop=stop,
                only=only,
            )

    def facts(self, page: Sequence[ListedImage]) -> dict[int, Facts]:
        """When and by what the images of a page were taken."""
        return self.catalog.details.of_images([image.id for image in page])

    def pages(self, *, embeddings: bool) -> Iterator[list[ListedImage]]:
        """All images by id, at most 1,000 at a time.

        Raises
        ------
        StorageError
            When the map was recomputed meanwhile, so that its coordinates are gone.
        StoppedError
            When the person asked to stop.
        """
        done, after = 0, 0
        while page := self.catalog.listing.page(
            after=after,
            until=self.last,
            limit=_PAGE,
            clustering=self.clustering,
            projection=self.projection,
            recipe=self.recipe if embeddings else None,
        ):
            self.stop.check()
            self.progress("exporting", done, self.count)
            after = page[-1].id
            page = [one for one in page if self.only is None or one.id in self.only]
            done += len(page)
            if page:
                yield page
        newest = self.catalog.projections.newest_map(self.recipe)
        if self.projection is not None and (newest is None or newest[0] != self.projection):
            raise StorageError("the map was recomputed during the export; export again")
        self.progress("exporting", self.count, self.count)


def text(path: bytes) -> str:
    """A path as UTF-8 with U+FFFD."""
    return path.decode("utf-8", "replace")


def loses(path: bytes) -> bool:
    """Whether `text` is not the whole truth about a path."""
    return text(path).encode() != path


def in_base64(path: bytes) -> str:
    """A path exactly."""
    return base64.b64encode(path).decode("ascii")


def vector_in_words(vector: npt.NDArray[np.float16], separator: str) -> str:
    """The values of an embedding, each with as many digits as float32 needs to come back."""
    return separator.join(map(_words().__getitem__, vector.view(np.uint16).tolist()))


@functools.cache
def _words() -> list[str]:
    """The 65,536 values of half precision as text; a look-up is fast."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return [str(value) if np.isfinite(value) else "null" for value in values]
