"""Clusters for people: cluster, sweep, merge; rows, details, contact sheets, names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import devices
from imgclust.catalog.clusterings import Clustering
from imgclust.catalog.corrections import KINDS
from imgclust.catalog.details import Facts
from imgclust.clustering.cluster_stats import Drift, nearest_clusters
from imgclust.clusters.model import ClusterResult, SweepResult
from imgclust.clusters.similarity import likeness_to
from imgclust.clusters.suggestions import current_drift
from imgclust.collection import exports
from imgclust.collection.images import Selection, selected, with_facts
from imgclust.collection.link_folder import finish_links
from imgclust.config import Clustering as Rules
from imgclust.errors import UsageError
from imgclust.paths import Located, as_path
from imgclust.wording import counted, printable, shows

if TYPE_CHECKING:
    from imgclust.collection.context import Context

_LEAVES_PCA = (
    "the space is smoothed from now on, which agrees better with what people see than pca, the old "
    "default; to stay with pca: imgclust cluster --space pca"
)
_SHOWN_NEIGHBOURS = 5
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ClusterRow:
    """One cluster; `medoid` is an image id, `coherence` the mean cosine to the centroid.

    `outliers` counts the images that are far from the centre; `drift` says how far from the centre
    its arrivals are. The images of a `frozen` cluster leave it only by a command about that
    cluster.
    """

    id: int
    name: str | None
    size: int
    coherence: float
    medoid: int | None
    medoid_path: bytes | None
    folder: Path | None
    drift: Drift
    outliers: int
    frozen: bool = False

    @property
    def medoid_location(self) -> Path | None:
        """`medoid_path` as a `Path`."""
        return None if self.medoid_path is None else as_path(self.medoid_path)


@dataclass(frozen=True)
class Member(Located):
    """An image of a cluster, and its distance to the centroid in the clustering's space.

    `missing`: its file was not where it was when the folder was last looked at. `similarity` is
    that to the most central image, and at most one in `rarity` pairs of different images of the
    collection is as similar; None where no similarity is stored. `corrected`: a person said
    something about where it belongs.
    """

    id: int
    path: bytes
    distance: float
    missing: bool = False
    facts: Facts = Facts()
    similarity: float | None = None
    rarity: int | None = None
    corrected: bool = False


@dataclass(frozen=True)
class ClusterDetails:
    """A cluster with its representatives, its nearest clusters, and its members by distance."""

    row: ClusterRow
    representatives: tuple[Member, ...]
    nearest: tuple[tuple[int, float], ...]
    members: tuple[Member, ...]
    sheet: Path | None


def rows(context: Context) -> tuple[ClusterRow, ...]:
    """See `Collection.clusters`."""
    clustering = context.current()
    catalog = context.catalog
    sizes = catalog.assignments.sizes(clustering.id)
    names, frozen = catalog.clusterings.names(), catalog.clusterings.frozen()
    drifts = current_drift(catalog, clustering).clusters
    outliers = catalog.assignments.outliers(clustering.id)
    link_folders = context.link_syncer().folders()
    found = []
    for one in clustering.described:
        cluster = one.cluster
        central = catalog.assignments.central(clustering.id, cluster, one.medoid)
        medoids = [] if central is None else catalog.images.with_content(central)
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
    context: Context,
    wanted: int | str,
    *,
    selection: Selection | None,
    sheet: Path | None,
    draw: bool = True,
) -> ClusterDetails:
    """See `Collection.cluster_details`; `draw`: a contact sheet too."""
    from imgclust.clusters.model import representatives_of

    clustering = context.current()
    cluster = context.catalog.clusterings.find(wanted)
    row = _row(context, cluster)
    if sheet is not None:
        exports.check_sheet(context, sheet)
    catalog = context.catalog
    of_content: dict[int, Member] = {}
    listed = list(catalog.assignments.images_with_distances(clustering.id, cluster))
    position = clustering.cluster_ids.index(cluster)
    members = members_of(context, clustering, cluster, listed)
    for (_, _, content, _, _), member in zip(listed, members, strict=True):
        of_content.setdefault(content, member)
    chosen = representatives_of(catalog, clustering.id, cluster, clustering.recipe)
    shown = [of_content[content] for content in chosen if content in of_content]
    nearest = tuple(
        (clustering.cluster_ids[other], distance)
        for other, distance in nearest_clusters(clustering.centroids, position, _SHOWN_NEIGHBOURS)
    )
    drawn = sheet
    if sheet is None and draw and catalog.writable:
        drawn = context.folders.charts / f"cluster-{cluster:03d}.png"
    if drawn is not None:
        _draw(context, row, shown, drawn)
    return ClusterDetails(
        row=row,
        representatives=with_facts(context, shown),
        nearest=nearest,
        members=selected(with_facts(context, members), selection),
        sheet=drawn,
    )


def members_of(
    context: Context,
    clustering: Clustering,
    cluster: int,
    listed: Sequence[tuple[int, bytes, int, float, bool]],
) -> list[Member]:
    """Some images of a cluster (id, path, content, distance, missing) as its members."""
    catalog = context.catalog
    corrected = catalog.corrections.contents_of(KINDS)
    medoid = clustering.described[clustering.cluster_ids.index(cluster)].medoid
    with devices.one_blas_thread:  # as in `query`
        likenesses = likeness_to(
            catalog,
            context.similarity(clustering),
            clustering.recipe,
            catalog.assignments.central(clustering.id, cluster, medoid) or medoid,
            list(dict.fromkeys(row[2] for row in listed)),
        )
    members = []
    for image, path, content, distance, missing in listed:
        similarity, rarity = likenesses.get(content, (None, None))
        members.append(
            Member(
                image,
                path,
                distance,
                missing,
                similarity=similarity,
                rarity=rarity,
                corrected=content in corrected,
            )
        )
    return members


def k_range(rules: Rules, k_min: int | None, k_max: int | None) -> tuple[int, int | None]:
    """The first and the last k of a sweep, each as given or as set; None: as the images need.

    Raises
    ------
    UsageError
        When that is not a range.
    """
    low = rules.k_min if k_min is None else k_min
    high = (rules.k_max or None) if k_max is None else k_max
    if low < 1 or (high is not None and high < low):
        raise UsageError(f"k from {low} to {high} is not a range; use 1 <= k-min <= k-max")
    return low, high


def sweep(
    context: Context, k_min: int | None, k_max: int | None, *, space: str | None, seed: int | None
) -> SweepResult:
    """See `Collection.sweep`."""
    rules = context.clustering_rules
    low, high = k_range(rules, k_min, k_max)
    with context.reclustered() as clusters:
        return clusters.sweep(
            k_min=low,
            k_max=high,
            space=space or rules.space,
            seed=rules.seed if seed is None else seed,
        )


def cluster(
    context: Context,
    k: int | str | None,
    *,
    space: str | None,
    seed: int | None,
    fresh: bool,
    step: str | None,
    dry_run: bool,
) -> ClusterResult:
    """See `Collection.cluster`."""
    rules = context.clustering_rules
    moves = space is None and context.leaves_pca
    if step not in {None, "finer", "coarser"} or (step and (fresh or k is not None)):
        raise UsageError("a step is finer or coarser, and cannot be combined with fresh or k")
    if context.changes("clustering.pca_dims") and rules.space in {"smoothed", "embedding"}:
        raise UsageError(f"--pca-dims has no effect in the space {rules.space}; add --space pca")
    with context.reclustered(keep=not dry_run) as clusters:
        result = clusters.cluster(
            k=rules.k if k is None else k,
            space=space or rules.space,
            seed=rules.seed if seed is None else seed,
            chosen_by="config" if k is None else "user",
            fresh=fresh,
            step=step,
            dry_run=dry_run,
        )
        if space is None and not dry_run:
            context.settle_space(moves=moves)
    return replace(result, notes=(_LEAVES_PCA, *result.notes)) if moves else result


def merge(
    context: Context, clusters: Sequence[int | str], *, name: str | None, dry_run: bool
) -> ClusterResult:
    """See `Collection.merge_clusters`."""
    chosen = None if name is None else whole_name(name)
    with context.reclustered() as current:
        return current.merge(clusters, name=chosen, dry_run=dry_run)


def cluster_name(wanted: str) -> str:
    """A name as it is kept.

    Raises
    ------
    UsageError
        When it is too long, holds control characters, or is a number: that would be an id.
    """
    chosen = unicodedata.normalize("NFC", wanted.strip())
    control = any(
        unicodedata.category(one)[0] == "C" and not shows(one, before)
        for before, one in pairwise(f" {chosen}")
    )
    if len(chosen) > _LONGEST_NAME or control:
        raise UsageError(
            f"a cluster's name has at most {_LONGEST_NAME} characters, none of them control "
            "characters"
        )
    if _is_number(chosen):
        raise UsageError(f"{chosen!r} is a number, and a number is an id; choose another name")
    return chosen


def whole_name(wanted: str) -> str:
    """The name of clusters that are put together, as it is kept; raises as `cluster_name`."""
    chosen = cluster_name(wanted)
    if not chosen:
        raise UsageError("the name is empty; give one, or omit --name")
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


def name(context: Context, which: int | str, wanted: str | None, *, release: bool) -> ClusterRow:
    """See `Collection.name_cluster`."""
    if release and wanted is not None:
        raise UsageError("--release leaves the name as it is and cannot be combined with a name")
    chosen = cluster_name(wanted or "")
    catalog = context.catalog
    clusterings = catalog.clusterings
    context.current()
    with catalog.transaction():  # what is checked in it cannot change until it is written
        clustering = context.current()
        cluster = clusterings.find(which)
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
    row = _row(context, cluster)
    finish_links(context)
    return row


def _row(context: Context, cluster: int) -> ClusterRow:
    return next(row for row in rows(context) if row.id == cluster)


def _draw(context: Context, row: ClusterRow, shown: Sequence[Member], path: Path) -> None:
    captions = [
        [
            printable(os.path.basename(member.path)),
            f"{'missing · ' if member.missing else ''}id {member.id}",
        ]
        for member in shown
    ]
    exports.draw_sheet(
        context,
        path,
        [member.id for member in shown],
        captions,
        title=f"cluster {row.id}" + (f", {row.name}" if row.name else ""),
        subtitle=f"{len(shown)} of {counted(row.size, 'image')}, the most typical first",
    )
