"""The status of a collection: in full, in short for a watcher's screen, and its health."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import paths
from imgclust.catalog.clusterings import Suggestion
from imgclust.clusters.suggestions import Drifting, current_drift
from imgclust.collection.roots import unreadable_folders
from imgclust.embedding.recipe import Recipe
from imgclust.ingest.backoff import Pause, begin_pause, current_pause, end_pause
from imgclust.ingest.events import IngestResult
from imgclust.ingest.mounts import Holds, held_folders
from imgclust.paths import as_path

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.doctor.checks import DoctorResult


@dataclass(frozen=True)
class CurrentClustering:
    """The current clustering in short; `created` in seconds since 1970."""

    id: int
    k: int
    space: str
    inertia: float
    created: float
    provisional: bool
    chosen_by: str
    generation: int


@dataclass(frozen=True)
class Status:
    """The status of a collection.

    `held` are folders whose images are kept although some are not there, with the reason;
    `offline` are those of them whose disk is away, with the number of their images; `unreadable`
    are folders that are there and cannot be read, with the reason.
    `corrections` counts what people said about images, by kind; `waiting_links` the links that were
    moved in the link folder and wait for a person; `links_offline` says why the link folder cannot
    be used where its disk is away.
    """

    collection: str
    folder: Path
    recipe: str | None
    weights: str | None
    images: int
    distinct: int
    quarantined: int
    damaged: int
    skipped: Mapping[str, int]
    removed: int
    pending: int
    missing: int
    held: tuple[tuple[bytes, str], ...]
    held_images: int
    offline: tuple[tuple[bytes, int], ...]
    unreadable: tuple[tuple[bytes, str], ...]
    clusters: int
    clustering: CurrentClustering | None
    unassigned: int
    roots: tuple[bytes, ...]
    added: int
    link_mode: str
    link_folder: Path
    watching: bool
    drift: Drifting | None
    provenances: Mapping[str, int]
    events: tuple[tuple[float, str, str], ...]
    corrections: Mapping[str, int]
    suggestions: tuple[Suggestion, ...] = ()
    pause: Pause = Pause()
    waiting_links: int = 0
    links_offline: str | None = None

    @property
    def root_locations(self) -> tuple[Path, ...]:
        """`roots` as `Path`s."""
        return tuple(map(as_path, self.roots))


@dataclass(frozen=True)
class Standing:
    """How far a running ingest is: what is left to read and to link, and how the clusters fit.

    `suggestions` are about the current clusters, as a watcher saw them last. `drift` is None before
    the first clustering, `run` where nothing is ingested now: what the run
    did so far.
    """

    images: int
    pending: int
    quarantined: int
    missing: int
    unlinked: int
    clusters: int
    provisional: bool
    drift: Drifting | None
    run: IngestResult | None = None
    pause: Pause = Pause()
    suggestions: tuple[Suggestion, ...] = ()


@dataclass(frozen=True)
class Paused:
    """Whether a collection is paused, since when, and how many files wait to be read.

    `watching`: a process ingests into it; `changed`: that it is so is new; `hours`: those in which
    the watcher reads, where it is another time now.
    """

    paused: bool
    since: float | None
    pending: int
    watching: bool
    changed: bool
    hours: str = ""


def status(context: Context) -> Status:
    """See `Collection.status`."""
    catalog = context.catalog
    with catalog.snapshot():
        recipe = catalog.setting("recipe")
        kept = catalog.setting("weights")
        clustering = catalog.clusterings.current()
        roots = catalog.roots.all()
        absent = catalog.images.missing()
        holds = Holds.of(catalog)
        held = held_folders(catalog)
        current = None
        distinct = unassigned = catalog.contents.count()
        drift = None
        if clustering is not None:
            unassigned = len(catalog.assignments.unassigned(clustering.id, clustering.recipe))
            drift = current_drift(catalog, clustering)
            current = CurrentClustering(
                id=clustering.id,
                k=clustering.k,
                space=clustering.space,
                inertia=clustering.inertia,
                created=clustering.created,
                provisional=clustering.provisional,
                chosen_by=clustering.chosen_by,
                generation=clustering.generation,
            )
        return Status(
            collection=context.name,
            folder=context.folders.root,
            recipe=None if recipe is None else Recipe.parse(recipe).short,
            weights=None if kept is None else str(kept["name"]),
            images=catalog.images.count(),
            distinct=distinct,
            quarantined=catalog.observations.count_quarantined(),
            damaged=catalog.details.count_damaged(),
            skipped=catalog.observations.skipped(),
            removed=catalog.observations.count_removed(),
            pending=catalog.observations.pending(),
            missing=len(absent),
            held=tuple((one.path, one.reason) for one in held),
            held_images=sum(holds.reason(image) is not None for image in absent),
            unreadable=unreadable_folders(catalog),
            offline=tuple((one.path, one.images) for one in held if one.offline),
            clusters=0 if clustering is None else len(clustering.cluster_ids),
            clustering=current,
            unassigned=unassigned,
            roots=tuple(root.path for root in roots if root.kind == "watched"),
            added=sum(root.kind == "added" and catalog.images.count(root.id) > 0 for root in roots),
            link_mode=context.settings.links.mode,
            link_folder=context.link_folder,
            links_offline=context.link_syncer().offline,
            watching=context.is_watching,
            drift=drift,
            provenances=catalog.contents.provenances(),
            events=tuple(catalog.events(10)),
            suggestions=catalog.suggestions.of(None if clustering is None else clustering.id),
            corrections=catalog.corrections.counts(),
            waiting_links=len(catalog.link_tree.moves("waiting")),
            pause=_pause(context),
        )


def standing(context: Context) -> Standing:
    """See `Collection.standing`."""
    catalog = context.catalog
    clustering = catalog.clusterings.current()
    images = catalog.images.count()
    to_review = math.ceil(images * catalog.ledger.share_to_review())
    return Standing(
        images=images,
        pending=catalog.observations.pending(),
        quarantined=catalog.observations.count_quarantined(),
        missing=catalog.images.count_missing(),
        unlinked=catalog.ledger.count_queued_links() + to_review,
        clusters=0 if clustering is None else len(clustering.cluster_ids),
        provisional=clustering is not None and clustering.provisional,
        drift=None if clustering is None else current_drift(catalog, clustering),
        run=None if context.counted is None else context.counted(),
        pause=_pause(context),
        suggestions=catalog.suggestions.of(None if clustering is None else clustering.id),
    )


def _pause(context: Context) -> Pause:
    """Why nothing is read now; hours are those of a watcher that runs."""
    found = current_pause(context.catalog, wall=time.time())
    return found if context.is_watching else Pause(found.since)


def pause(context: Context, *, over: bool) -> Paused:
    """See `Collection.pause` and, with `over`, `Collection.resume`."""
    catalog = context.catalog
    before = current_pause(catalog, wall=time.time()).since
    (end_pause if over else begin_pause)(catalog)
    now = _pause(context)
    since = now.since
    return Paused(
        paused=since is not None,
        since=since,
        pending=catalog.observations.pending(),
        watching=context.is_watching,
        changed=(before is None) != (since is None),
        hours=now.hours if now.outside_hours else "",
    )


def doctor(context: Context, *, repair: bool) -> DoctorResult:
    """See `Collection.doctor`."""
    from imgclust.doctor.checks import Doctor

    recipe = context.catalog.setting("recipe")
    return Doctor(
        context.catalog,
        recipe=recipe,
        dimensions=0 if recipe is None else Recipe.parse(recipe).dimensions,
        folder=context.folders.root,
        index_file=context.folders.index_file,
        aside=context.folders.aside,
        ingest_lock=context.folders.lock("ingest"),
        link_syncer=context.link_syncer(),
        recluster=None if recipe is None else context.recluster(context.catalog),
        ours=context.our_folders(),
        exclusion=context.exclusion,
        cache=paths.cache_folder() / "weights",
        progress=context.progress,
        stop=context.stop,
    ).examine(repair=repair)
