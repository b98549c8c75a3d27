"""Status, missing images, removal, and moving the link folder."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust.catalog import Image
from imgclust.collection import folders
from imgclust.collection.results import CurrentClustering, MissingImage, Removed, Standing, Status
from imgclust.embedding import Recipe
from imgclust.errors import NothingThereError, UsageError
from imgclust.locks import FileLock
from imgclust.recluster import drifting

if TYPE_CHECKING:
    from imgclust.collection.opened import Opened
    from imgclust.doctor import DoctorResult

# Images removed in one transaction: a watcher is not kept waiting.
_CHUNK = 1000


def status(collection: Opened) -> Status:
    """See `Collection.status`."""
    catalog = collection.catalog
    with catalog.snapshot():
        recipe = catalog.setting("recipe")
        kept = catalog.setting("weights")
        clustering = catalog.clusterings.current()
        roots = catalog.roots.all()
        absent = catalog.images.missing()
        held = {root.id: root.held for root in roots if root.held}
        current = None
        distinct = unassigned = catalog.contents.count()
        drift = None
        if clustering is not None:
            unassigned = len(catalog.clusterings.unassigned(clustering.id, clustering.recipe))
            drift = drifting(catalog, clustering)
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
            collection=collection.name,
            folder=collection.folders.root,
            recipe=None if recipe is None else Recipe.parse(recipe).short,
            weights=None if kept is None else str(kept["name"]),
            images=catalog.images.count(),
            distinct=distinct,
            quarantined=catalog.observations.count_quarantined(),
            skipped=catalog.observations.skipped(),
            pending=catalog.observations.pending(),
            missing=len(absent),
            held=tuple((root.path, root.held) for root in roots if root.held),
            held_images=sum(image.root in held for image in absent),
            clusters=0 if clustering is None else len(clustering.cluster_ids),
            clustering=current,
            unassigned=unassigned,
            roots=tuple(root.path for root in roots if root.kind == "watched"),
            added=sum(root.kind == "added" for root in roots),
            link_mode=collection.settings.links.mode,
            link_folder=collection.link_folder,
            watching=collection.is_watching,
            drift=drift,
            provenances=catalog.contents.provenances(),
            events=tuple(catalog.events(10)),
        )


def standing(collection: Opened) -> Standing:
    """See `Collection.standing`."""
    catalog = collection.catalog
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
        drift=None if clustering is None else drifting(catalog, clustering),
    )


def missing(collection: Opened) -> tuple[MissingImage, ...]:
    """See `Collection.missing`."""
    held = {root.id: root.held for root in collection.catalog.roots.all()}
    return tuple(
        MissingImage(image.id, image.path, image.misses, held.get(image.root))
        for image in collection.catalog.images.missing()
    )


def accept_missing(collection: Opened) -> tuple[MissingImage, ...]:
    """See `Collection.accept_missing`."""
    catalog = collection.catalog
    gone = missing(collection)
    taken = []
    for start in range(0, len(gone), _CHUNK):
        with catalog.transaction():
            part = catalog.images.some([image.id for image in gone[start : start + _CHUNK]])
            for image in part.values():
                if image.state == "missing":  # a watcher may have found it again meanwhile
                    catalog.remove_image(image)
                    catalog.observations.forget(image.path)
                    taken.append(image.id)
    # Last of all: cut off before this, what is left stays held and can be accepted again.
    with catalog.transaction():
        for root in catalog.roots.all():
            catalog.roots.hold(root.id, None)
        if taken:
            catalog.event("accepted", f"{len(taken)} missing images were accepted as gone")
    accepted = set(taken)
    return tuple(image for image in gone if image.id in accepted)


def doctor(collection: Opened, *, repair: bool) -> DoctorResult:
    """See `Collection.doctor`."""
    from imgclust.doctor import Doctor

    recipe = collection.catalog.setting("recipe")
    return Doctor(
        collection.catalog,
        recipe=recipe,
        dimensions=0 if recipe is None else Recipe.parse(recipe).dimensions,
        folder=collection.folders.root,
        index_file=collection.folders.index_file,
        aside=collection.folders.aside,
        ingest_lock=collection.folders.lock("ingest"),
        linking=collection.linking(),
        recluster=None if recipe is None else collection.recluster(collection.catalog),
        ours=collection.our_folders(),
        cache=folders.cache_folder() / "weights",
        progress=collection.progress,
        stop=collection.stop,
    ).examine(repair=repair)


def remove(collection: Opened, what: str) -> tuple[Removed, int | None]:
    """See `Collection.remove`; also returns the key of a content that has left with the image."""
    catalog = collection.catalog
    with catalog.transaction():
        image = _named(collection, what)
        left = catalog.remove_image(image)
        catalog.observations.settle(image.path, "removed")
    return Removed(image.id, image.path), image.content if left else None


def removable(collection: Opened, what: str) -> Removed:
    """The image that `remove` would take out."""
    image = _named(collection, what)
    return Removed(image.id, image.path)


def _named(collection: Opened, what: str) -> Image:
    """The image with this id or at this path."""
    images = collection.catalog.images
    if what.isdecimal():
        image = images.get(int(what)) if len(what) < 19 else None  # SQLite has 64 bits
    else:
        image = images.at(os.fsencode(os.path.abspath(what))) or images.at(
            os.path.realpath(os.fsencode(what))
        )
    if image is None:
        raise NothingThereError(
            f"no image of the collection {collection.name!r} in "
            f"{collection.index_folder.path} is {what}"
        )
    return image


def move_links(collection: Opened, to: Path) -> None:
    """See `Collection.move_links`."""
    from imgclust.collection import paging

    catalog = collection.catalog
    wanted = Path(os.path.abspath(to.expanduser()))
    for root in catalog.roots.all():
        if folders.overlaps(os.fsencode(wanted), root.path):
            raise UsageError(
                f"the link folder {wanted} and the images in {os.fsdecode(root.path)} lie inside "
                "each other; choose another place"
            )
    # Held throughout: a sync in between would make the links again where nobody looks for them.
    lock = FileLock(collection.folders.lock("links"), purpose="syncing the links of", wait_s=10.0)
    with lock:
        if wanted == collection.link_folder:
            return
        collection.linking().clear(progress=collection.progress, stop=collection.stop)
        paging.clear(collection)
        with catalog.transaction():
            catalog.store("link_folder", os.fsencode(wanted).hex())
            catalog.store("link_folders", {})
