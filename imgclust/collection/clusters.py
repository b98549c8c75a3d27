"""Clusters for people: rows, details, contact sheets, names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.catalog import Clustering
from imgclust.clustering import nearest_clusters
from imgclust.clusters import drifting
from imgclust.collection import query
from imgclust.collection.results import ClusterDetails, ClusterRow, Member
from imgclust.collection.selection import Selection, with_facts
from imgclust.collection.selection import chosen as chosen_members
from imgclust.errors import NothingThereError, UsageError

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

_SHOWN_NEIGHBOURS = 5
_LONGEST_NAME = 100


def rows(collection: Opened) -> tuple[ClusterRow, ...]:
    """See `Collection.clusters`."""
    clustering = collection.current()
    catalog = collection.catalog
    sizes = catalog.assignments.sizes(clustering.id)
    names, frozen = catalog.clusterings.names(), catalog.clusterings.frozen()
    drifts = drifting(catalog, clustering).clusters
    outliers = catalog.assignments.outliers(clustering.id)
    link_folders = collection.linking().folders()
    found = []
    for one in clustering.described:
        cluster = one.cluster
        medoids = catalog.images.with_content(one.medoid)
        found.append(
            ClusterRow(
                id=cluster,
                name=names.get(cluster),
                size=sizes.get(cluster, 0),
                coherence=one.coherence,
                medoid=medoids[0].id if medoids else None,
                medoid_path=medoids[0].path if medoids else None,
                drift=drifts[cluster],
                outliers=outliers.get(cluster, 0),
                folder=link_folders.get(cluster),
                frozen=cluster in frozen,
            )
        )
    return tuple(sorted(found, key=lambda row: row.id))


def details(
    collection: Opened, cluster: int, *, selection: Selection | None = None, sheet: Path | None
) -> ClusterDetails:
    """See `Collection.cluster_details`."""
    from imgclust.report import representatives_of

    clustering = collection.current()
    row = _row(collection, clustering, cluster)
    if sheet is not None:
        from imgclust.collection import exports

        exports.check_sheet(collection, sheet)
    catalog = collection.catalog
    members: list[Member] = []
    of_content: dict[int, Member] = {}
    for image, path, content, distance, missing in catalog.assignments.images_with_distances(
        clustering.id, cluster
    ):
        members.append(Member(image, path, distance, missing))
        of_content.setdefault(content, members[-1])
    position = clustering.cluster_ids.index(cluster)
    chosen = representatives_of(catalog, clustering.id, cluster, clustering.recipe)
    shown = [of_content[content] for content in chosen if content in of_content]
    nearest = tuple(
        (clustering.cluster_ids[other], distance)
        for other, distance in nearest_clusters(clustering.centroids, position, _SHOWN_NEIGHBOURS)
    )
    drawn = sheet
    if sheet is None and catalog.writable:
        drawn = collection.folders.charts / f"cluster-{cluster:03d}.png"
    if drawn is not None:
        _draw(collection, row, shown, drawn)
    return ClusterDetails(
        row=row,
        representatives=with_facts(collection, shown),
        nearest=nearest,
        members=chosen_members(with_facts(collection, members), selection or Selection()),
        sheet=drawn,
    )


def cluster_name(wanted: str) -> str:
    """A name as it is kept.

    Raises
    ------
    UsageError
        When it is too long, holds control characters, or is a number: that would be an id.
    """
    chosen = unicodedata.normalize("NFC", wanted.strip())
    if len(chosen) > _LONGEST_NAME or any(unicodedata.category(c)[0] == "C" for c in chosen):
        raise UsageError(
            f"a cluster's name has at most {_LONGEST_NAME} characters, none of them control "
            "characters"
        )
    if _is_number(chosen):
        raise UsageError(f"{chosen!r} is a number, and a number is an id; choose another name")
    return chosen


def _is_number(text: str) -> bool:
    """True for digits of any script, spaces between them or not, and what is read as an integer."""
    digits = "".join(text.split())
    if digits and all(c.isdigit() for c in digits):
        return True
    try:
        int(digits)
    except ValueError:
        return False
    return True


def name(collection: Opened, cluster: int, wanted: str | None, *, release: bool) -> ClusterRow:
    """See `Collection.name_cluster`."""
    if release and wanted is not None:
        raise UsageError("--release leaves the name as it is and cannot be combined with a name")
    chosen = cluster_name(wanted or "")
    catalog = collection.catalog
    clusterings = catalog.clusterings
    collection.current()
    with catalog.transaction():  # what is checked in it cannot change until it is written
        clustering = collection.current()
        _require(clustering, cluster)
        if release:
            clusterings.freeze(cluster, False)
        else:
            names = clusterings.names()
            taken = [
                other
                for other in clustering.cluster_ids
                if names.get(other) == chosen and other != cluster
            ]
            if chosen and taken:
                raise UsageError(
                    f"cluster {taken[0]} is called {chosen!r} already; choose another name"
                )
            clusterings.name(cluster, chosen or None)
            catalog.ledger.queue_links(catalog.assignments.images_in(clustering.id, cluster))
        clusterings.confirm(clustering.id)
    return _row(collection, collection.current(), cluster)


def _row(collection: Opened, clustering: Clustering, cluster: int) -> ClusterRow:
    _require(clustering, cluster)
    return next(row for row in rows(collection) if row.id == cluster)


def _require(clustering: Clustering, cluster: int) -> None:
    if cluster not in clustering.cluster_ids:
        there = ", ".join(str(one) for one in sorted(clustering.cluster_ids)[:12])
        raise NothingThereError(f"there is no cluster {cluster}; there are {there}")


def _draw(collection: Opened, row: ClusterRow, shown: Sequence[Member], path: Path) -> None:
    from imgclust import charts

    pictures = query.pictures(collection, [member.id for member in shown])
    captions = [
        ("missing: " if member.missing else "") + os.fsdecode(os.path.basename(member.path))
        for member in shown
    ]
    title = f"cluster {row.id}" + (f", {row.name}" if row.name else "") + f": {row.size} images"
    charts.contact_sheet(path, pictures, captions, title=title)
