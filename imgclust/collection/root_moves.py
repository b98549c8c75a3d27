"""A folder of images that has moved: its images keep their ids, at their new paths."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shlex
import stat as stat_bits
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog, DoubledImage, Image, MovedImage, Root
from imgclust.collection import folders
from imgclust.collection.results import MovedRoot
from imgclust.collection.root_list import known_roots, locked, spellings
from imgclust.errors import NothingThereError, UsageError
from imgclust.failpoints import passing

if TYPE_CHECKING:
    from imgclust.collection.context import Opened

# Files that are read to the end to see that they are what they were.
_HASHED = 20
# So many of the files may be another now, or away: people edit and delete.
_TOLERATED = 0.1
_BLOCK = 1 << 20


def move_root(collection: Opened, old: bytes, new: bytes, *, dry_run: bool) -> MovedRoot:
    """See `Collection.move_root`."""
    source, target = _source(collection, old), os.path.realpath(new)
    shown = os.fsdecode(new)
    if not os.path.lexists(target):
        raise UsageError(f"the folder {shown} does not exist; nothing was changed")
    if not os.path.isdir(target):
        raise UsageError(f"{shown} is not a folder; nothing was changed")
    for ours in (collection.folders.root, collection.link_folder):
        if folders.overlaps(os.fsencode(ours), target):
            raise UsageError(f"{shown} and our own folder {ours} lie inside each other")
    if source is None:
        return _moved_before(collection, old, target)
    if source == target:
        raise UsageError(f"{shown} is where the images are already")
    if _is_below(source, target) or _is_below(target, source):
        raise UsageError(
            f"{os.fsdecode(source)} and {os.fsdecode(target)} lie inside each other; "
            "imgclust watch follows files that move within a folder by itself"
        )
    if dry_run:
        return _verified(collection, source, target, dry_run=True)[0]
    with locked(collection):
        found, there = _verified(collection, source, target, dry_run=False)
        return _write(collection, source, target, found, there)


def _source(collection: Opened, old: bytes) -> bytes | None:
    """The path by which the catalog knows the folder; None when it does not."""
    roots = collection.catalog.roots.all()
    for path in spellings(old):
        is_root = any(root.path == path or _is_below(root.path, path) for root in roots)
        if is_root or next(collection.catalog.folder_moves.images(path), None) is not None:
            return path
    return None


def _moved_before(collection: Opened, old: bytes, target: bytes) -> MovedRoot:
    for path in spellings(old):
        if collection.catalog.folder_moves.target(path) == target:
            return MovedRoot(path, target, already=True)
    raise NothingThereError(
        f"no image comes from {os.fsdecode(old)}; {known_roots(collection.catalog)}"
    )


def _verified(
    collection: Opened, source: bytes, target: bytes, *, dry_run: bool
) -> tuple[MovedRoot, list[int]]:
    """Compare the files at the new place with the catalog; also the images that are there.

    Raises
    ------
    UsageError
        When too many of them are not what they were.
    """
    catalog = collection.catalog
    _require_own_files(collection, source, target)
    images = list(catalog.folder_moves.images(source))
    there: list[MovedImage] = []
    wrong: list[MovedImage] = []
    gone: list[MovedImage] = []
    newer = catalog.folder_moves.contents_below(target)
    renamed = 0
    for number, image in enumerate(images):
        if not number % 1000:
            collection.stop.check()
            collection.progress("comparing files", number, len(images))
        if _size(_target(image.path, source, target)) == image.bytes:
            there.append(image)
        elif image.content in newer:
            renamed += 1
        else:
            (gone if image.gone else wrong).append(image)
    sample = random.Random(0).sample(there, min(_HASHED, len(there)))
    other = [one for one in sample if _sha256(_target(one.path, source, target)) != one.sha256]
    what = f"{os.fsdecode(target)} does not have the files of {os.fsdecode(source)}"
    expected = sum(not image.gone for image in images)
    if not expected:
        wrong, gone, expected = gone, [], len(images)
    if len(wrong) > _TOLERATED * expected:
        example = os.path.relpath(wrong[0].path, source)
        raise UsageError(
            f"{what}: {len(wrong):,} of {expected:,} are not there or have another size, such "
            f"as {os.fsdecode(example)}; nothing was changed"
        )
    if len(other) > _TOLERATED * len(sample):
        example = os.path.relpath(other[0].path, source)
        raise UsageError(
            f"{what}: of {len(sample):,} files that were read {len(other):,} have other content, "
            f"such as {os.fsdecode(example)}; nothing was changed"
        )
    doubled = len(catalog.folder_moves.doubled(source, target)) + renamed
    moved = MovedRoot(
        source, target, len(images), len(sample), len(wrong) + len(gone), doubled, dry_run=dry_run
    )
    return moved, [image.id for image in there]


def _require_own_files(collection: Opened, source: bytes, target: bytes) -> None:
    """Refuse a folder whose images have left it, unknown as yet: other files have their names.

    As where two folders were swapped, or the files of the new one have moved on.

    Raises
    ------
    UsageError
        When too many of the images that are known to be at the new place are not.
    """
    moves = collection.catalog.folder_moves
    known = {image for images in moves.contents_below(target).values() for image in images}
    taken = {pair.newer for pair in moves.doubled(source, target)}
    own = [image for image in moves.images(target) if image.id in known]
    left = [
        image
        for image in own
        if _size(image.path) != image.bytes
        or (image.id in taken and _sha256(image.path) != image.sha256)
    ]
    if len(left) > _TOLERATED * len(own):
        raise UsageError(
            f"{os.fsdecode(target)} has images of its own, and {len(left):,} of {len(own):,} are "
            f"not there now, such as {os.fsdecode(left[0].path)}; run imgclust watch --once first "
            "(it finds files that were swapped), or, if they have moved too, imgclust roots move "
            f"{shlex.quote(os.fsdecode(target))} NEW; nothing was changed"
        )


def _write(
    collection: Opened, source: bytes, target: bytes, found: MovedRoot, there: Sequence[int]
) -> MovedRoot:
    catalog, moves = collection.catalog, collection.catalog.folder_moves
    ids = [image.id for image in moves.images(source)]
    passing("roots.move.before")
    with catalog.transaction():
        lost, taken = _take_newer(collection, source, target, set(there))
        old_roots = [
            root
            for root in catalog.roots.all()
            if root.path == source or _is_below(root.path, source)
        ]
        givers = {image.root for image in catalog.images.some(ids).values()}
        moves.move(source, target)
        moves.forget_mounts(source)
        _move_roots(collection, source, target, old_roots, givers)
        moves.found([image for image in there if image not in lost])
        catalog.ledger.queue_links(ids)
        moves.note(source, target)
        catalog.event("moved", f"{_words(source)} has moved to {_words(target)}")
        passing("roots.move.written")
    passing("roots.move.after")
    return MovedRoot(
        found.old, found.new, len(ids), found.compared, found.absent, taken, dry_run=False
    )


def _move_roots(
    collection: Opened, source: bytes, target: bytes, old: Sequence[Root], givers: set[int]
) -> None:
    """Give each root that has moved its new path, or what it had to the root that is there."""
    catalog, moves = collection.catalog, collection.catalog.folder_moves
    old_ids = {root.id for root in old}
    staying = [root for root in catalog.roots.all() if root.id not in old_ids]
    at = {root.path: root for root in staying}
    above = [root for root in staying if root.path == target or _is_below(target, root.path)]
    watched = [root for root in above if root.kind == "watched" or root.path == target]
    new_root = max(watched or above, key=lambda root: len(root.path), default=None)
    for root in old:
        path = target + root.path[len(source) :]
        into = at.get(path) or (new_root if root.path == source else None)
        if into is None:
            moves.move_root(root.id, path)
        else:
            moves.merge_root(root.id, into.id)
    for giver in givers - old_ids:
        root_of = catalog.roots.get(giver)
        if root_of is None or _is_below(target, root_of.path):
            continue
        if new_root is None:
            new_root = catalog.roots.put(target, root_of.kind)
        moves.hand_over(target, root=giver, into=new_root.id)


def _take_newer(
    collection: Opened, source: bytes, target: bytes, there: set[int]
) -> tuple[set[int], int]:
    """Have images take the place of newer ones that came from the new folder before it was named.

    Ids follow contents: an image gets the place of a newer one with its content, at its own path
    or at another. Where its path has only another content, it was edited and gets that; but when
    an image that moved has taken this one's path, it is lost, and displaced. So is an image whose
    path has the file of one that comes. `there` are images
    whose file seems to be at its path. Returns the lost ones, and how many took a place.
    """
    catalog, moves = collection.catalog, collection.catalog.folder_moves
    newer = moves.contents_below(target)
    pairs = moves.doubled(source, target)
    same = [pair for pair in pairs if pair.content == pair.newer_content]
    other = {pair.id: pair for pair in pairs if pair.content != pair.newer_content}
    for pair in same:
        with contextlib.suppress(KeyError, ValueError):  # one that was missing
            newer[pair.content].remove(pair.newer)
        _drop(collection, pair.newer)
    at_rest = there - other.keys() | {pair.id for pair in same}
    loose = sorted({image.id for image in moves.images(source)} - at_rest)
    images = catalog.images.some(loose)
    places: dict[int, Image] = {}
    for number in loose:
        candidates = newer.get(images[number].content, [])
        while candidates and number not in places:
            found = catalog.images.get(candidates.pop(0))
            if found is not None and found.id > number:  # not one that was there before
                places[number] = found
    for place in places.values():
        _drop(collection, place.id)
    for number, place in places.items():
        catalog.observations.forget(images[number].path)
        catalog.images.move(number, place.path, place.root, inode=place.inode)
    taken = {place.id for place in places.values()}
    lost: set[int] = set()
    for pair in other.values():
        if pair.id in places:
            continue
        if pair.newer in taken:
            image = catalog.moves.displace(images[pair.id])
            catalog.observations.keep_place(image.path, image.root)
            lost.add(pair.id)
        elif pair.id in there and _is_original(catalog, pair, images[pair.id], source, target):
            # The other one has left its path, as a scan will see.
            image = catalog.moves.displace(catalog.images.some([pair.newer])[pair.newer])
            catalog.observations.keep_place(image.path, image.root)
            catalog.ledger.queue_links([image.id])
        else:
            _drop(collection, pair.newer)
            catalog.images.set_content(pair.id, pair.newer_content)
            catalog.contents.drop_orphan(pair.content)
    return lost, len(same) + len(places) + len(other.keys() - places.keys() - lost)


def _is_original(
    catalog: Catalog, pair: DoubledImage, image: Image, source: bytes, target: bytes
) -> bool:
    """True when the file at the new path has the content that the image had at the old one."""
    content = catalog.contents.get(pair.content)
    found = _sha256(_target(image.path, source, target))
    return content is not None and content.sha256 == found


def _drop(collection: Opened, newer: int) -> None:
    """Delete the row of an image that an older one takes the place of."""
    collection.catalog.images.delete(newer)
    collection.catalog.ledger.queue_links([newer])


def _target(path: bytes, source: bytes, target: bytes) -> bytes:
    return target.rstrip(b"/") + path[len(source.rstrip(b"/")) :]


def _size(path: bytes) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat_bits.S_ISREG(found.st_mode) else None


def _sha256(path: bytes) -> bytes | None:
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            while part := file.read(_BLOCK):
                digest.update(part)
    except OSError:
        return None
    return digest.digest()


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder.rstrip(b"/") + b"/") and path != folder


def _words(path: bytes) -> str:
    return path.decode("utf-8", "replace")
