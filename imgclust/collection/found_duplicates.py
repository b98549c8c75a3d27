"""What the last search for duplicates of a service has found, as far as it is still true."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgclust.catalog import Image, StoredJob
from imgclust.errors import NothingThereError
from imgclust.paths import Located
from imgclust.wording import path_text

if TYPE_CHECKING:
    from imgclust.collection.context import Context

# `bytes` is a number in the class that needs this.
_Path = bytes


@dataclass(frozen=True)
class FoundCopy(Located):
    """An image of a group; `relation` to the best one is "best", "exact" or "near".

    `freed` are the bytes that its deletion frees: 0 where another name leads to the same file.
    """

    id: int
    path: _Path
    width: int
    height: int
    bytes: int
    relation: str
    freed: int


@dataclass(frozen=True)
class FoundGroup:
    """Copies of one picture, the best first; `reason` says why it is the best."""

    kind: str
    reason: str
    images: tuple[FoundCopy, ...]


@dataclass(frozen=True)
class FoundDuplicates:
    """Some groups, from `offset` on, of `total`; `time` is when they were found.

    `copies` of all groups are not the best one, and `freed` the bytes that these take.
    """

    time: float
    total: int
    offset: int
    copies: int
    freed: int
    groups: tuple[FoundGroup, ...]


def found(context: Context, *, offset: int, limit: int) -> FoundDuplicates:
    """See `Gallery.found_duplicates`."""
    job = _job(context)
    groups = tuple(_groups(context, job))
    spared = [one for group in groups for one in group.images[1:]]
    assert job.ended is not None
    return FoundDuplicates(
        time=job.ended,
        total=len(groups),
        offset=offset,
        copies=len(spared),
        freed=sum(one.freed for one in spared),
        groups=groups[offset : offset + limit],
    )


def shell_list(context: Context) -> str:
    """See `Gallery.duplicates_list`."""
    paths = [one.path for group in _groups(context, _job(context)) for one in group.images[1:]]
    if not paths:
        return ""
    return " \\\n".join(["ls -ld --", *map(quoted, paths)]) + "\n"


def quoted(path: bytes) -> str:
    """A path as a word of a shell: bash, zsh, and every other one for plain names."""
    text = path_text(path)
    if text.encode() == path and text.isprintable():
        return shlex.quote(text)
    plain = b"/-_.+,:@%= "
    return (
        "$'"
        + "".join(
            chr(one) if (chr(one).isalnum() and one < 128) or one in plain else f"\\x{one:02x}"
            for one in path
        )
        + "'"
    )


def _job(context: Context) -> StoredJob:
    for one in context.catalog.jobs.all():
        if one.command == "duplicates" and one.state == "done" and not one.arguments:
            return one
    raise NothingThereError("duplicates were not looked for yet; start the job duplicates")


def _groups(context: Context, job: StoredJob) -> Iterator[FoundGroup]:
    """The groups of a search, without images that have left or changed, or were dismissed."""
    catalog = context.catalog
    with catalog.snapshot():
        listed: Sequence[Mapping[str, Any]] = (job.document or {}).get("groups", ())
        ids = [one["id"] for group in listed for one in group["images"]]
        images = catalog.images.some(ids)
        shapes = catalog.contents.shapes()
        dismissed = catalog.dismissals.pairs()
    for group in listed:
        best: Image | None = None
        copies = []
        for one in group["images"]:
            image = images.get(one["id"])
            if image is None or not _same(one, image, shapes):
                if one["relation"] == "best":
                    break  # another one would be the best now: a new search says which
                continue
            best = best or image
            pair = (min(best.content, image.content), max(best.content, image.content))
            if one["relation"] != "best" and pair in dismissed:
                continue
            copies.append(
                FoundCopy(
                    id=image.id,
                    path=image.path,
                    width=one["width"],
                    height=one["height"],
                    bytes=one["bytes"],
                    relation=one["relation"],
                    freed=0 if one["hard_links"] else one["bytes"],
                )
            )
        if len(copies) > 1:
            yield FoundGroup(group["kind"], group["reason"] or "", tuple(copies))


def _same(one: Mapping[str, Any], image: Image, shapes: Mapping[int, tuple[int, int, int]]) -> bool:
    """Whether an image is there, and as it was found."""
    shape = (one["width"], one["height"], one["bytes"])
    return (
        image.state == "present"
        and path_text(image.path) == one["path"]
        and shapes.get(image.content) == shape
    )
