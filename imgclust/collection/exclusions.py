"""What a collection leaves out in its watched folders, and the images that are in nevertheless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imgclust.catalog.images import Image
from imgclust.collection import stored_settings
from imgclust.collection.images import MissingImage
from imgclust.ingest.environment import Scope
from imgclust.ingest.events import Emit, Event
from imgclust.watcher.exclusion import Exclusion
from imgclust.wording import counted

if TYPE_CHECKING:
    from imgclust.collection.context import Context

# Images taken out in one transaction.
_CHUNK = 1000


def with_patterns(context: Context, patterns: Sequence[str], *, fresh: bool) -> None:
    """Leave out these patterns too, or (`fresh`) instead of those before, from here on.

    Raises
    ------
    UsageError
        For a pattern that matches nothing.
    """
    if not patterns and not fresh:
        return
    before = () if fresh else context.settings.watch.exclude
    chosen = tuple(dict.fromkeys([*before, *patterns]))
    Exclusion(patterns=chosen)
    context.settings = stored_settings.replaced(context.settings, {"watch.exclude": chosen})


def keep(context: Context, emit: Emit) -> None:
    """Store what is left out, and say what differs from the last time; in a transaction."""
    _ = context.exclusion  # a wrong pattern is refused before anything is stored
    kept = context.catalog.setting("kept") or {}
    for key, what in _WORDS.items():
        now = list(getattr(context.settings.watch, key.partition(".")[2]))
        before = kept.get(key)
        if before is not None and before != now:
            added = [one for one in now if one not in before]
            gone = [one for one in before if one not in now]
            changes = [f"{', '.join(added)} left out now"] if added else []
            changes += [f"{', '.join(gone)} not left out any more"] if gone else []
            emit(Event("note", f"{what}: {'; '.join(changes or ['in another order'])}"))
    stored_settings.keep(context.catalog, context.settings, changing=frozenset(_WORDS))


_WORDS = {"watch.exclude": "patterns", "watch.exclude_folders": "folders"}


def excluded(
    context: Context, patterns: Sequence[str] = (), *, fresh: bool = False
) -> tuple[MissingImage, ...]:
    """See `Collection.excluded`."""
    with_patterns(context, patterns, fresh=fresh)
    return tuple(
        MissingImage(image.id, image.path, image.misses, None) for image in _excluded(context)
    )


def take_out(context: Context) -> int:
    """Take the images out that are in places that are left out; returns how many."""
    catalog, taken = context.catalog, 0
    found = [image.id for image in _excluded(context)]
    for start in range(0, len(found), _CHUNK):
        with catalog.transaction():
            for image in catalog.images.some(found[start : start + _CHUNK]).values():
                catalog.remove_image(image)
                catalog.observations.forget(image.path)
                taken += 1
    if taken:
        with catalog.transaction():
            catalog.event(
                "excluded", f"{counted(taken, 'image')} taken out, in places that are left out"
            )
    return taken


def _excluded(context: Context) -> Iterator[Image]:
    scope = Scope(tuple(context.catalog.roots.all()), (), frozenset(), 0.0, context.exclusion)
    for image in context.catalog.images.all():
        if scope.excludes(image.path):
            yield image
