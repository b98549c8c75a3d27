"""Images of a collection: read from their files, shown, missing, taken out, left out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.details import Facts
from imgclust.catalog.images import Image
from imgclust.collection import stored_settings
from imgclust.collection.link_folder import finish_links
from imgclust.errors import NothingThereError, UsageError
from imgclust.fs import is_below, open_to_read
from imgclust.ingest.environment import Scope
from imgclust.ingest.events import Emit, Event
from imgclust.numbers import is_digits
from imgclust.paths import Located
from imgclust.watcher.exclusion import Exclusion, path_pattern
from imgclust.wording import counted, listed, printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.images.decoder import Region
    from imgclust.images.reader import Outcome


# Images removed in one transaction: a watcher is not kept waiting.
_CHUNK = 1000


@dataclass(frozen=True)
class MissingImage(Located):
    """An image that is not where it was; `held` says why it is kept for now."""

    id: int
    path: bytes
    scans: int
    held: str | None
    facts: Facts = Facts()


@dataclass(frozen=True)
class DamagedImage(Located):
    """An image whose file is damaged and gives a picture nevertheless; `reason` says what it is."""

    id: int
    path: bytes
    reason: str


@dataclass(frozen=True)
class Removed(Located):
    """An image that was taken out of the collection; its file is untouched.

    `copies` are the other images with the same bytes (id and path): they stay in, unless
    `copies_removed` says that they were taken out too.
    """

    id: int
    path: bytes
    copies: tuple[tuple[int, bytes], ...] = ()
    copies_removed: bool = False


def read(
    context: Context,
    path: bytes,
    *,
    thumbnail_px: int | None = None,
    preview_px: int = 0,
    region: Region | None = None,
) -> Outcome:
    """A file read and decoded by the settings of the collection; see `images.claim`."""
    from imgclust.images.reader import Died, claim

    rules = context.settings.decode
    try:
        return claim(
            path,
            thumbnail_px=rules.thumbnail_px if thumbnail_px is None else thumbnail_px,
            size_cap_bytes=rules.size_cap_mb << 20,
            pixel_cap=rules.pixel_cap_mp * 1_000_000,
            preview_px=preview_px,
            region=region,
        )
    except MemoryError:
        return Died(path, None, "it needs more memory than there is")


def make_previews(context: Context) -> None:
    """Make the pictures that pages show and that are not there: of a restored collection, or of
    files that browsers do not show and that were read before there were previews.
    """
    from imgclust.images.headers import PREVIEWED_FORMATS
    from imgclust.images.reader import Decoded

    rules, store = context.settings.decode, context.thumbnails()
    if not rules.thumbnails:
        return
    for number, (content, kind) in enumerate(context.catalog.contents.formats()):
        context.stop.check()
        context.progress("looking for pictures of the pages", number, None)
        wanted = rules.preview_px > 0 and kind in PREVIEWED_FORMATS
        if store.path(content).exists() and not (
            wanted and not store.preview_path(content).exists()
        ):
            continue
        known = context.catalog.contents.get(content)
        for image in context.catalog.images.with_content(content):
            outcome = read(context, image.path, preview_px=rules.preview_px if wanted else 0)
            if known is None or not isinstance(outcome, Decoded) or outcome.thumbnail is None:
                continue
            if outcome.sha256 == known.sha256:
                with contextlib.suppress(OSError):  # a cache
                    store.put(content, outcome.thumbnail, preview=outcome.preview)
                break


def picture(context: Context, content: int) -> bytes | None:
    """The thumbnail of a content; where there is none, one is made from its file."""
    from imgclust.images.reader import Decoded

    kept = context.thumbnail(content)
    if kept is not None:
        return kept
    known = context.catalog.contents.get(content)
    for image in context.catalog.images.with_content(content):
        outcome = read(context, image.path)
        if known is None or not isinstance(outcome, Decoded) or outcome.thumbnail is None:
            continue
        if outcome.sha256 == known.sha256:  # the file may hold another picture by now
            if context.settings.decode.thumbnails:
                with contextlib.suppress(OSError):  # a cache
                    context.thumbnails().put(content, outcome.thumbnail)
            return outcome.thumbnail
    return None


def pictures(context: Context, images: Sequence[int]) -> tuple[bytes | None, ...]:
    """See `Collection.pictures`."""
    rows = [context.catalog.images.get(number) for number in images]
    return tuple(None if image is None else picture(context, image.content) for image in rows)


def embeddings(context: Context) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """See `Collection.embeddings`."""
    keys, vectors = context.catalog.contents.all_embeddings(context.recipe)
    row_of = {int(key): row for row, key in enumerate(keys)}
    pairs = [
        (image.id, row_of[image.content])
        for image in context.catalog.images.all()
        if image.content in row_of
    ]
    ids = np.array([image for image, _ in pairs], np.int64)
    return ids, vectors[[row for _, row in pairs]]


def bytes_of(context: Context, content: int) -> bytes | None:
    """The bytes of a content, None where no file holds them any more or they are too many."""
    known = context.catalog.contents.get(content)
    if known is None or known.bytes > context.settings.decode.size_cap_mb << 20:
        return None
    for image in context.catalog.images.with_content(content):
        with contextlib.suppress(OSError), open_to_read(image.path) as file:
            found = file.read(known.bytes + 1)
            if hashlib.sha256(found).digest() == known.sha256:
                return found
    return None


def missing(
    context: Context, selection: Selection | None = None, *, limit: int = -1
) -> tuple[MissingImage, ...]:
    """See `Collection.missing`; only the first `limit` are looked at unless it is -1."""
    from imgclust.ingest.mounts import Holds

    holds = Holds.of(context.catalog)
    rows = [
        MissingImage(image.id, image.path, image.misses, holds.reason(image))
        for image in context.catalog.images.missing(limit=limit)
    ]
    return selected(with_facts(context, rows), selection)


def damaged(context: Context, *, limit: int = -1) -> tuple[DamagedImage, ...]:
    """See `Collection.damaged`; at most `limit` unless it is -1."""
    return tuple(DamagedImage(*row) for row in context.catalog.details.damaged(limit=limit))


def accept_missing(context: Context) -> tuple[MissingImage, ...]:
    """See `Collection.accept_missing`."""
    gone = take_out_missing(context)
    finish_links(context)
    return gone


def take_out_missing(context: Context) -> tuple[MissingImage, ...]:
    """Remove all missing images from the catalog; returns them."""
    from imgclust.ingest.environment import LocalDisk
    from imgclust.ingest.mounts import forget_lost_mounts

    catalog = context.catalog
    gone = missing(context)
    taken = []
    for start in range(0, len(gone), _CHUNK):
        with catalog.transaction():
            part = catalog.images.some([image.id for image in gone[start : start + _CHUNK]])
            for image in part.values():
                if image.state == "missing":  # a watcher may have found it again meanwhile
                    catalog.remove_image(image)
                    known = catalog.observations.at(image.path)
                    if known is None or known.state != "seen":  # else a file waits there
                        catalog.observations.forget(image.path)
                    taken.append(image.id)
    # Last of all: cut off before this, what is left stays held and can be accepted again.
    with catalog.transaction():
        for root in catalog.roots.all():
            catalog.roots.hold(root.id, None)
        forget_lost_mounts(catalog, LocalDisk())
        if taken:
            catalog.event("accepted", f"{counted(len(taken), 'missing image')} accepted as gone")
    accepted = set(taken)
    return tuple(image for image in gone if image.id in accepted)


def remove(
    context: Context,
    what: Sequence[Path | str | int],
    *,
    copies: bool,
    dry_run: bool,
    exact: bool = False,
) -> tuple[Removed, ...]:
    """See `Collection.remove_all`; `exact`: neither folders nor patterns."""
    names = [str(one) for one in what]
    if dry_run:
        found = [named(context, one) for one in names] if exact else chosen(context, names)
        return tuple(_with_copies(context.catalog, image, copies=copies)[0] for image in found)
    try:
        with context.catalog.transaction():  # what is named cannot change until it is out
            images = {image.id: image for image in (named(context, one) for one in names)}
            removed, contents = _take_part(context.catalog, images.values(), copies=copies)
    except NothingThereError:
        if exact:
            raise
        removed, contents = take_out(context, chosen(context, names), copies=copies)
    if not removed:
        raise NothingThereError("these images have left the collection meanwhile")
    for content in contents:
        with contextlib.suppress(OSError):  # a cache
            context.thumbnails().remove(content)
    finish_links(context)
    return removed


def take_out(
    context: Context, found: Sequence[Image], *, copies: bool
) -> tuple[tuple[Removed, ...], list[int]]:
    """Remove images from the catalog; also returns the keys of contents that left with them.

    What is at another path by now stays.
    """
    catalog = context.catalog
    removed: list[Removed] = []
    left: list[int] = []
    for start in range(0, len(found), _CHUNK):
        part = found[start : start + _CHUNK]
        with catalog.transaction():
            now = catalog.images.some([image.id for image in part])
            there = [now[one.id] for one in part if one.id in now and now[one.id].path == one.path]
            rows, contents = _take_part(catalog, there, copies=copies)
        removed += rows
        left += contents
    return tuple(removed), left


def _take_part(
    catalog: Catalog, found: Iterable[Image], *, copies: bool
) -> tuple[tuple[Removed, ...], list[int]]:
    """The same for images as they are now; the caller holds the transaction."""
    removed: list[Removed] = []
    left: list[int] = []
    for row, images, sha256 in [_with_copies(catalog, one, copies=copies) for one in found]:
        removed.append(row)
        for image in images:
            if catalog.images.get(image.id) is not None:  # else out with another one
                left += _take_out(catalog, image, sha256)
    return tuple(removed), left


def _take_out(catalog: Catalog, image: Image, sha256: bytes) -> list[int]:
    known = catalog.observations.at(image.path)
    last = catalog.remove_image(image)
    catalog.removals.put(sha256, image.path, 0 if known is None else known.stat[1])
    # A path that waits to be read may lead to another content by now.
    if known is not None and known.state != "seen":
        catalog.observations.settle(image.path, "removed")
    return [image.content] if last else []


def _with_copies(
    catalog: Catalog, image: Image, *, copies: bool
) -> tuple[Removed, list[Image], bytes]:
    """What is to leave: as a result, as images, and the SHA-256 of their content."""
    content = catalog.contents.get(image.content)
    assert content is not None
    others = [one for one in catalog.images.with_content(image.content) if one.id != image.id]
    found = Removed(
        image.id,
        image.path,
        copies=tuple((one.id, one.path) for one in others),
        copies_removed=copies,
    )
    return found, [image, *(others if copies else ())], content.sha256


def chosen(context: Context, what: Sequence[str], *, shown: bool = False) -> list[Image]:
    """The images that ids, paths, folders and patterns name, each once, in that order.

    `shown`: names are understood too as tables shorten them, see `as_shown`.
    """
    found: dict[int, Image] = {}
    for one in what:
        found.update((image.id, image) for image in _some(context, one, shown=shown))
    return list(found.values())


def _some(context: Context, what: str, *, shown: bool) -> list[Image]:
    """The images that one of them names: an image comes first, then a folder, then a pattern."""
    images = context.catalog.images
    try:
        return [named(context, what)]
    except NothingThereError:
        if is_digits(what):
            raise
        if shown and (image := as_shown(context, what)) is not None:
            return [image]
        path = os.path.abspath(os.path.expanduser(os.fsencode(what)))
        below = images.below(path) or images.below(os.path.realpath(path))
        if not below and any(sign in what for sign in "*?["):
            matches = path_pattern(os.fsdecode(path))
            below = [image for image in images.all() if matches(image.path)]
        if not below:
            raise
        return below


def named(context: Context, what: str) -> Image:
    """The image with this id or at this path."""
    images = context.catalog.images
    paths: list[bytes] = []
    if is_digits(what):
        image = images.numbered(what)
    else:
        paths = [os.fsencode(os.path.abspath(what)), os.path.realpath(os.fsencode(what))]
        image = images.at(paths[0]) or images.at(paths[1])
    if image is None:
        why = _why_none(context, paths)
        raise NothingThereError(
            f"no image of the collection {context.name!r} in {context.index_folder.path} is "
            f"{what}{why}"
        )
    return image


def as_shown(context: Context, what: str) -> Image | None:
    """The image whose path tables shorten to this, where it cannot mean a file of this folder.

    Tables show paths below their root, or below the last parts of it (`Pictures/cat.jpg`). Within a
    root, and where there is a file of that name, the path itself is meant.

    Raises
    ------
    UsageError
        When several images have it.
    """
    name = os.fsencode(what)
    if os.path.isabs(name) or os.path.lexists(name) or is_digits(what):
        return None
    here = os.path.abspath(name)
    roots = context.catalog.roots.all()
    if any(is_below(path, root.path) for path in {here, os.path.realpath(here)} for root in roots):
        return None
    found: dict[int, Image] = {}
    for root in roots:
        folder = root.path
        while True:
            path = os.path.normpath(os.path.join(folder, name))
            image = context.catalog.images.at(path) if is_below(path, root.path) else None
            if image is not None:
                found[image.id] = image
            if folder == os.path.dirname(folder):
                break
            folder = os.path.dirname(folder)
    if len(found) > 1:
        paths = listed([printable(image.path) for image in found.values()])
        raise UsageError(f"{what} may be several images: {paths}; give the whole path or the id")
    return next(iter(found.values()), None)


# What is known of a file that is not an image of the collection, and what to do.
_KNOWN = {
    "quarantined": "it could not be read: see imgclust quarantine",
    "removed": "it was taken out: imgclust add brings it back",
    "seen": "it waits to be read: see imgclust status",
    "skipped": "it is not of a kind that is supported",
}


def _why_none(context: Context, paths: Sequence[bytes]) -> str:
    """Why the file at one of these paths is not an image here, and what to do; or nothing."""
    seen = (context.catalog.observations.at(path) for path in paths)
    known = next((_KNOWN[one.state] for one in seen if one and one.state in _KNOWN), None)
    there = any(os.path.isfile(path) for path in paths)
    if known is None and there:
        known = "imgclust add takes it in"
    return f"; {known}" if known else ""


def add_exclusions(context: Context, patterns: Sequence[str], *, fresh: bool) -> None:
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


def keep_exclusions(context: Context, emit: Emit) -> None:
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
    add_exclusions(context, patterns, fresh=fresh)
    return tuple(
        MissingImage(image.id, image.path, image.misses, None) for image in _excluded(context)
    )


def take_out_excluded(context: Context) -> int:
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


_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}(:[0-9]{2}(:[0-9]{2})?)?)?)?)?")
_WHOLE = "0000-01-01T00:00:00"


@dataclass(frozen=True)
class Selection:
    """Taken from `since` to `until`, both included, by a camera whose name has `camera` in it.

    A date may be a year, a month, a day, or a time (2024, 2024-05, 2024-05-31, 2024-05-31T18:30);
    all of that year, month or day counts. It is compared with what the camera's clock showed, and
    for a picture that does not say so, with the time of the file on this machine.

    Raises
    ------
    UsageError
        For a date that is none, and when `since` is later than `until`.
    """

    since: str | None = None
    until: str | None = None
    camera: str | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _date(value, name))
        if self.since and self.until:
            length = min(len(self.since), len(self.until))
            if self.since[:length] > self.until[:length]:
                raise UsageError(f"--since {self.since} is later than --until {self.until}")

    def __bool__(self) -> bool:
        """True when it leaves any image out."""
        return any((self.since, self.until, self.camera))

    def has(self, facts: Facts) -> bool:
        """True for an image with these facts."""
        if self.camera and self.camera.casefold() not in (facts.camera or "").casefold():
            return False
        if not self.since and not self.until:
            return True
        if facts.taken is None:
            return False
        since, until = self.since or "", self.until or ""
        return facts.taken[: len(since)] >= since and (
            not until or facts.taken[: len(until)] <= until
        )

    def images(self, context: Context) -> frozenset[int] | None:
        """Ids of the chosen images; None for all."""
        if not self:
            return None
        every = context.catalog.details.all()
        return frozenset(image for image, facts in every if self.has(facts))


class _Row(Protocol):
    """A dataclass with these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> int: ...

    @property
    def facts(self) -> Facts: ...


T = TypeVar("T", bound=_Row)


def with_facts(context: Context, rows: Sequence[T]) -> tuple[T, ...]:
    """The rows with the facts of their images."""
    found = context.catalog.details.of_images([row.id for row in rows])
    return tuple(replace(row, facts=found.get(row.id, row.facts)) for row in rows)


def selected(rows: Iterable[T], selection: Selection | None) -> tuple[T, ...]:
    """Those of the rows, with their facts, that are chosen."""
    return tuple(row for row in rows if selection is None or selection.has(row.facts))


def _date(text: str, name: str) -> str:
    written = text.strip().replace(" ", "T", 1)
    if _DATE.fullmatch(written):
        try:
            datetime.fromisoformat(written + _WHOLE[len(written) :])
        except ValueError:
            pass
        else:
            return written
    raise UsageError(f"--{name} {text}: give a date such as 2024, 2024-05, 2024-05-31")
