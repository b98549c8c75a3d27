"""Images that leave a collection: missing ones that are accepted as gone, and removed ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog, Image
from imgclust.collection.results import MissingImage, Removed
from imgclust.errors import NothingThereError
from imgclust.ingest import Holds, LocalDisk, forget_lost_mounts
from imgclust.watcher import path_pattern

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
import contextlib
import hashlib
from typing import TYPE_CHECKING

from imgclust.fs import open_to_read

if TYPE_CHECKING:
    from imgclust.collection.context import Opened
    from imgclust.images import Outcome, Region


def read(
    collection: Opened,
    path: bytes,
    *,
    thumbnail_px: int | None = None,
    region: Region | None = None,
) -> Outcome:
    """A file read and decoded by the settings of the collection; see `images.claim`."""
    from imgclust.images import Died, claim

    rules = collection.settings.decode
    try:
        return claim(
            path,
            thumbnail_px=rules.thumbnail_px if thumbnail_px is None else thumbnail_px,
            size_cap_bytes=rules.size_cap_mb << 20,
            pixel_cap=rules.pixel_cap_mp * 1_000_000,
            region=region,
        )
    except MemoryError:
        return Died(path, None, "it needs more memory than there is")


def picture(collection: Opened, content: int) -> bytes | None:
    """The thumbnail of a content; where there is none, one is made from its file."""
    from imgclust.images import Decoded

    kept = collection.thumbnail(content)
    if kept is not None:
        return kept
    known = collection.catalog.contents.get(content)
    for image in collection.catalog.images.with_content(content):
        outcome = read(collection, image.path)
        if known is None or not isinstance(outcome, Decoded) or outcome.thumbnail is None:
            continue
        if outcome.sha256 == known.sha256:  # the file may hold another picture by now
            if collection.settings.decode.thumbnails:
                with contextlib.suppress(OSError):  # a cache
                    collection.thumbnails().put(content, outcome.thumbnail)
            return outcome.thumbnail
    return None


def bytes_of(collection: Opened, content: int) -> bytes | None:
    """The bytes of a content, None where no file holds them any more or they are too many."""
    known = collection.catalog.contents.get(content)
    if known is None or known.bytes > collection.settings.decode.size_cap_mb << 20:
        return None
    for image in collection.catalog.images.with_content(content):
        with contextlib.suppress(OSError), open_to_read(image.path) as file:
            found = file.read(known.bytes + 1)
            if hashlib.sha256(found).digest() == known.sha256:
                return found
    return None


# Images removed in one transaction: a watcher is not kept waiting.
_CHUNK = 1000


def missing(collection: Opened) -> tuple[MissingImage, ...]:
    """See `Collection.missing`."""
    holds = Holds.of(collection.catalog)
    return tuple(
        MissingImage(image.id, image.path, image.misses, holds.reason(image))
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
            catalog.event("accepted", f"{len(taken)} missing images were accepted as gone")
    accepted = set(taken)
    return tuple(image for image in gone if image.id in accepted)


def remove(
    collection: Opened, found: Sequence[Image], *, copies: bool
) -> tuple[tuple[Removed, ...], list[int]]:
    """See `Collection.remove_all`; also returns the keys of contents that have left."""
    catalog = collection.catalog
    removed: list[Removed] = []
    left: list[int] = []
    for start in range(0, len(found), _CHUNK):
        with catalog.transaction():
            part = catalog.images.some([image.id for image in found[start : start + _CHUNK]])
            for row, images, sha256 in [
                _with_copies(catalog, image, copies=copies) for image in part.values()
            ]:
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


def removable(collection: Opened, found: Sequence[Image], *, copies: bool) -> tuple[Removed, ...]:
    """The images that `remove` would take out."""
    return tuple(_with_copies(collection.catalog, image, copies=copies)[0] for image in found)


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


def chosen(collection: Opened, what: Sequence[str]) -> list[Image]:
    """The images that ids, paths, folders and patterns name, each once, in that order."""
    found: dict[int, Image] = {}
    for one in what:
        found.update((image.id, image) for image in _some(collection, one))
    return list(found.values())


def _some(collection: Opened, what: str) -> list[Image]:
    """The images that one of them names: an image comes first, then a folder, then a pattern."""
    images = collection.catalog.images
    try:
        return [named(collection, what)]
    except NothingThereError:
        if what.isdecimal():
            raise
        path = os.path.abspath(os.path.expanduser(os.fsencode(what)))
        below = images.below(path) or images.below(os.path.realpath(path))
        if not below and any(sign in what for sign in "*?["):
            matches = path_pattern(os.fsdecode(path))
            below = [image for image in images.all() if matches(image.path)]
        if not below:
            raise
        return below


def named(collection: Opened, what: str) -> Image:
    """The image with this id or at this path."""
    images = collection.catalog.images
    if what.isdecimal():
        image = images.numbered(what)
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
