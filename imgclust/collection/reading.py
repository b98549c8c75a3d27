"""Files read again outside an ingest, by the same limits: pictures to show, bytes to embed."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from imgclust.files import open_to_read

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
    from imgclust.images import claim

    rules = collection.settings.decode
    return claim(
        path,
        thumbnail_px=rules.thumbnail_px if thumbnail_px is None else thumbnail_px,
        size_cap_bytes=rules.size_cap_mb << 20,
        pixel_cap=rules.pixel_cap_mp * 1_000_000,
        region=region,
    )


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
