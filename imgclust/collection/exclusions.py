"""What a collection leaves out in its watched folders, and the images that are in nevertheless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imgclust.catalog import Image
from imgclust.collection import stored_settings
from imgclust.collection.results import MissingImage
from imgclust.ingest import Emit, Event, Place
from imgclust.watcher import Exclusion

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

# Images taken out in one transaction.
_CHUNK = 1000


def with_patterns(collection: Opened, patterns: Sequence[str], *, fresh: bool) -> None:
    """Leave out these patterns too, or (`fresh`) instead of those before, from here on.

    Raises
    ------
    UsageError
        For a pattern that matches nothing.
    """
    before = () if fresh else collection.settings.watch.exclude
    chosen = tuple(dict.fromkeys([*before, *patterns]))
    Exclusion(patterns=chosen)
    collection.settings = stored_settings.replaced(collection.settings, {"watch.exclude": chosen})


def keep(collection: Opened, emit: Emit) -> None:
    """Store what is left out, and say what differs from the last time; in a transaction."""
    _ = collection.exclusion  # a wrong pattern is refused before anything is stored
    kept = collection.catalog.setting("kept") or {}
    for key, what in _WORDS.items():
        now = list(getattr(collection.settings.watch, key.partition(".")[2]))
        before = kept.get(key)
        if before is not None and before != now:
            added = [one for one in now if one not in before]
            gone = [one for one in before if one not in now]
            changes = [f"{', '.join(added)} left out now"] if added else []
            changes += [f"{', '.join(gone)} not left out any more"] if gone else []
            emit(Event("note", f"{what}: {'; '.join(changes or ['in another order'])}"))
    stored_settings.keep(collection.catalog, collection.settings, changing=frozenset(_WORDS))


_WORDS = {"watch.exclude": "patterns", "watch.exclude_folders": "folders"}


def excluded(collection: Opened) -> tuple[MissingImage, ...]:
    """See `Collection.excluded`."""
    return tuple(
        MissingImage(image.id, image.path, image.misses, None) for image in _excluded(collection)
    )


def take_out(collection: Opened) -> int:
    """Take the images out that are in places that are left out; returns how many."""
    catalog, taken = collection.catalog, 0
    found = [image.id for image in _excluded(collection)]
    for start in range(0, len(found), _CHUNK):
        with catalog.transaction():
            for image in catalog.images.some(found[start : start + _CHUNK]).values():
                catalog.remove_image(image)
                catalog.observations.forget(image.path)
                taken += 1
    if taken:
        with catalog.transaction():
            catalog.event("excluded", f"{taken} images left, as their places are left out")
    return taken


def _excluded(collection: Opened) -> Iterator[Image]:
    place = Place(tuple(collection.catalog.roots.all()), (), frozenset(), 0.0, collection.exclusion)
    for image in collection.catalog.images.all():
        if place.excludes(image.path):
            yield image
