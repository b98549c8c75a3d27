"""The map for a page that draws it: which clusters it shows, and its points as columns of bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imgclust.catalog.projections import StoredProjection
from imgclust.errors import NothingThereError

if TYPE_CHECKING:
    from imgclust.collection.context import Context

# What a block of points begins with, its version, and then the number of points and the newest
# image: little-endian, as everything that follows.
_HEAD = struct.Struct("<4sIII")
_MAGIC, _VERSION = b"IMGP", 1
_MISSING, _PLACED, _CORRECTED = 1, 2, 4


@dataclass(frozen=True)
class MapCluster:
    """A cluster as a map shows it.

    `colour` is for light pages and `on_dark` for dark ones, both as #rrggbb; where colours are
    alike, the shape differs: "circle", "square", "triangle", "diamond" or "down".
    """

    id: int
    name: str | None
    size: int
    colour: str
    on_dark: str
    shape: str


@dataclass(frozen=True)
class MapOverview:
    """The newest map of two dimensions; `distinct` contents are in it, `absent` are not yet."""

    map: int
    method: str
    created: float
    distinct: int
    absent: int
    clusters: tuple[MapCluster, ...]


def stored_map(context: Context) -> StoredProjection:
    """The newest map of two dimensions.

    Raises
    ------
    NothingThereError
        When there is none by the weights in use.
    """
    found = context.catalog.projections.newest_map(context.recipe, dims=2)
    if found is None:
        raise NothingThereError("there is no map of two dimensions yet; run imgclust view")
    return context.catalog.projections.get(found[0])


def overview(context: Context) -> MapOverview:
    """See `Gallery.map_overview`."""
    from imgclust.charts.figure import cluster_mark

    catalog = context.catalog
    stored = stored_map(context)
    current = catalog.clusterings.current_id()
    sizes = {} if current is None else catalog.assignments.sizes(current)
    names = catalog.clusterings.names()
    absent = len(catalog.projections.absent(stored.id, context.recipe))
    return MapOverview(
        map=stored.id,
        method=stored.kind,
        created=stored.created,
        distinct=catalog.contents.count(context.recipe) - absent,
        absent=absent,
        clusters=tuple(
            MapCluster(one, names.get(one), size, *cluster_mark(one))
            for one, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
        ),
    )


def points(context: Context, *, after: int) -> bytes:
    """See `Gallery.map_points`."""
    from imgclust.maps import place_new

    catalog = context.catalog
    stored = stored_map(context)
    if catalog.writable:
        place_new(catalog, stored, recipe=context.recipe)
    with catalog.snapshot():
        last = catalog.listing.last()
        rows = catalog.projections.plotted(
            stored.id, after=after, clustering=catalog.clusterings.current_id()
        )
    flags = rows.missing * _MISSING | rows.placed * _PLACED | rows.corrected * _CORRECTED
    return b"".join(
        (
            _HEAD.pack(_MAGIC, _VERSION, len(rows.images), last),
            rows.images.astype("<u4").tobytes(),
            np.ascontiguousarray(rows.coordinates[:, 0], "<f4").tobytes(),
            np.ascontiguousarray(rows.coordinates[:, 1], "<f4").tobytes(),
            rows.clusters.astype("<i4").tobytes(),
            flags.astype("u1").tobytes(),
        )
    )
