"""The folders that images come from: how they are, how one is let go, and how one moves.

The images of a folder that has moved keep their ids, at their new paths.
"""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import stat as stat_bits
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import paths
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.catalog.moves import DoubledImage, MovedImage
from imgclust.catalog.roots import Root
from imgclust.collection.link_folder import finish_links
from imgclust.errors import LockedError, NothingThereError, UsageError
from imgclust.failpoints import passing
from imgclust.fs import is_at_or_below, is_below, unreadable
from imgclust.images.reader import digest
from imgclust.paths import Located, as_path
from imgclust.reconcile import OTHER_DISK, is_offline
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context

# Images removed in one transaction.
_CHUNK = 1000
# Pairs of images that are looked at to find out whether a folder has moved.
_PAIRS = 20_000
# Files that are read to the end to see that they are what they were.
_HASHED = 20
# So many of the files may be another now, or away: people edit and delete.
_TOLERATED = 0.1


@dataclass(frozen=True)
class RootRow(Located):
    """A folder that images come from, or (`kind` "mount") a disk that is mounted below one.

    `kind` is "watched", "added" or "mount". `state` is the kind when all is well ("mounted" for a
    mount), "offline" when the disk is away, "unreadable" when the folder is there and cannot be
    read for a `reason`, "held" when images are kept for another one,
    "missing" when the folder is not there and no scan has seen that yet. `scanned` is the wall
    clock at the end of the last scan.
    """

    path: bytes
    kind: str
    state: str
    reason: str | None
    images: int
    missing: int
    scanned: float | None
    device: int | None


@dataclass(frozen=True)
class MovedRoot:
    """A folder that has moved, with its images.

    `compared` files were read to the end, `absent` were not at the new place, `doubled` images had
    a newer row there, which is gone; `already` says that the folder had been moved before.
    """

    old: bytes
    new: bytes
    images: int = 0
    compared: int = 0
    absent: int = 0
    doubled: int = 0
    dry_run: bool = False
    already: bool = False

    @property
    def old_location(self) -> Path:
        """`old` as a `Path`."""
        return as_path(self.old)

    @property
    def new_location(self) -> Path:
        """`new` as a `Path`."""
        return as_path(self.new)


@dataclass(frozen=True)
class RemovedRoot(Located):
    """A folder that is not watched any more; `watched` says whether it was.

    Its images stay (`images_removed` False), or have left the collection too.
    """

    path: bytes
    watched: bool
    images: int
    images_removed: bool
    dry_run: bool


def roots(context: Context) -> tuple[RootRow, ...]:
    """See `Collection.roots`."""
    catalog = context.catalog
    rows = []
    with catalog.snapshot():
        kept = catalog.volumes.kept()
        for root in catalog.roots.all():
            reason = root.held or (OTHER_DISK if (root.path, root.id) in kept else None)
            rows.append(
                RootRow(
                    path=root.path,
                    kind=root.kind,
                    state=_state(root, reason),
                    reason=unreadable(root.path) or reason,
                    images=catalog.images.count(root.id),
                    missing=catalog.images.count_missing(root.id),
                    scanned=root.scanned,
                    device=root.device or None,
                )
            )
        for mount in catalog.mounts.all():
            images = catalog.images.count_below(mount.path, mount.root)
            reason = mount.held or (OTHER_DISK if (mount.path, mount.root) in kept else None)
            if images:
                rows.append(
                    RootRow(
                        path=mount.path,
                        kind="mount",
                        state=_held_state(mount.path, reason) or "mounted",
                        reason=unreadable(mount.path) or reason,
                        images=images,
                        missing=catalog.images.count_missing_below(mount.path, mount.root),
                        scanned=None,
                        device=mount.device or None,
                    )
                )
    return tuple(sorted(rows, key=lambda row: (row.path, row.kind == "mount")))


def unreadable_folders(catalog: Catalog) -> tuple[tuple[bytes, str], ...]:
    """Folders and mounted disks that are there and cannot be read, with the reason."""
    folders = [root.path for root in catalog.roots.all()]
    folders += [mount.path for mount in catalog.mounts.all()]
    found = [(folder, unreadable(folder)) for folder in dict.fromkeys(folders)]
    return tuple((folder, reason) for folder, reason in found if reason is not None)


def _state(root: Root, reason: str | None) -> str:
    held = _held_state(root.path, reason)
    if held is not None:
        return held
    return root.kind if os.path.lexists(root.path) else "missing"


def _held_state(path: bytes, reason: str | None) -> str | None:
    if unreadable(path) is not None:
        return "unreadable"
    if reason is None:
        return None
    return "offline" if is_offline(reason) else "held"


def remove_root(
    context: Context, folder: bytes, *, remove_images: bool, dry_run: bool
) -> RemovedRoot:
    """See `Collection.remove_root`."""
    catalog = context.catalog
    root = _named(catalog, folder)
    images = catalog.images.count(root.id)
    result = RemovedRoot(root.path, root.kind == "watched", images, remove_images, dry_run)
    if dry_run:
        return result
    with locked(context):
        if remove_images:
            while page := catalog.images.page_of_root(root.id, after=0, limit=_CHUNK):
                context.stop.check()
                orphans = []
                with catalog.transaction():
                    for image in page:
                        if catalog.remove_image(image):
                            orphans.append(image.content)
                        catalog.observations.forget(image.path)
                for content in orphans:
                    with contextlib.suppress(OSError):  # a cache
                        context.thumbnails().remove(content)
        with catalog.transaction():
            if catalog.images.count(root.id):
                if root.kind == "watched":
                    catalog.roots.stop_watching(root.id)
            else:
                catalog.roots.delete(root.id)
            catalog.event("root removed", f"{printable(root.path)} is not watched any more")
    finish_links(context)
    return result


def _named(catalog: Catalog, folder: bytes) -> Root:
    by_path = {root.path: root for root in catalog.roots.all()}
    for path in spellings(folder):
        if path in by_path:
            return by_path[path]
    raise NothingThereError(f"{printable(folder)} is not among the folders; {known_roots(catalog)}")


def spellings(folder: bytes) -> list[bytes]:
    """The paths that a person may mean: as it was typed, and with symbolic links followed."""
    return list(dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))))


def known_roots(catalog: Catalog) -> str:
    """Which folders there are, for an error that says that one is not among them."""
    paths = [printable(root.path) for root in catalog.roots.all()]
    if not paths:
        return "there are none yet"
    more = f" and {len(paths) - 5:,} more" if len(paths) > 5 else ""
    return f"there are {', '.join(paths[:5])}{more}; see imgclust roots"


@contextlib.contextmanager
def locked(context: Context) -> Iterator[None]:
    """Nobody ingests meanwhile.

    Raises
    ------
    LockedError
        When a watcher runs.
    """
    lock = context.ingest_lock()
    try:
        lock.__enter__()
    except LockedError as error:
        who = str(error).partition(";")[0]
        raise LockedError(f"{who}; stop it, run this command, and start it again") from None
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def moved_folders(catalog: Catalog) -> tuple[str, ...]:
    """Sentences about folders that seem to have moved, with the command that says so."""
    every = {root.id: root for root in catalog.roots.all()}
    gone = [root.id for root in every.values() if not os.path.lexists(root.path)]
    found: Counter[tuple[bytes, bytes]] = Counter()
    for root, old, new in catalog.images.found_elsewhere(gone, limit=_PAIRS):
        pair = _parted(old, new, every[root].path)
        if pair is not None:
            found[pair] += 1
    sentences = []
    said: set[bytes] = set()
    for (old, new), count in found.most_common():
        if old in said or 2 * count < catalog.images.count_away_below(old, gone):
            continue
        said.add(old)
        noun = "1 image has" if count == 1 else f"{count:,} images have"
        command = shlex.join(["imgclust", "roots", "move", os.fsdecode(old), os.fsdecode(new)])
        sentences.append(
            f"in {printable(new)} {noun} the content of missing ones in {printable(old)}; "
            f"if that folder has moved, tell imgclust: {command}"
        )
    return tuple(sentences)


def _parted(old: bytes, new: bytes, root: bytes) -> tuple[bytes, bytes] | None:
    """The folders that two paths lie in by the same names, the first not above its root."""
    if os.path.basename(old) != os.path.basename(new):
        return None
    old, new = os.path.dirname(old), os.path.dirname(new)
    while len(old) > len(root) and os.path.basename(old) == os.path.basename(new):
        old, new = os.path.dirname(old), os.path.dirname(new)
    inside = is_at_or_below(new, old) or is_below(old, new)
    return None if inside else (old, new)


def move_root(context: Context, old: bytes, new: bytes, *, dry_run: bool) -> MovedRoot:
    """See `Collection.move_root`."""
    source, target = _source(context, old), os.path.realpath(new)
    shown = printable(new)
    if not os.path.lexists(target):
        raise UsageError(f"the folder {shown} does not exist; nothing was changed")
    if not os.path.isdir(target):
        raise UsageError(f"{shown} is not a folder; nothing was changed")
    for ours in (context.folders.root, context.link_folder):
        if paths.overlaps(os.fsencode(ours), target):
            raise UsageError(f"{shown} and our own folder {ours} lie inside each other")
    if source is None:
        moved = _moved_before(context, old, target)
        if not dry_run:
            finish_links(context)
        return moved
    if source == target:
        raise UsageError(f"{shown} is where the images are already")
    if is_below(source, target) or is_below(target, source):
        raise UsageError(
            f"{printable(source)} and {printable(target)} lie inside each other; "
            "imgclust watch follows files that move within a folder by itself"
        )
    if dry_run:
        return _verified(context, source, target, dry_run=True)[0]
    with locked(context):
        found, there = _verified(context, source, target, dry_run=False)
        moved = _write(context, source, target, found, there)
    finish_links(context)
    return moved


def _source(context: Context, old: bytes) -> bytes | None:
    """The path by which the catalog knows the folder; None when it does not."""
    roots = context.catalog.roots.all()
    for path in spellings(old):
        is_root = any(is_at_or_below(root.path, path) for root in roots)
        if is_root or next(context.catalog.folder_moves.images(path), None) is not None:
            return path
    return None


def _moved_before(context: Context, old: bytes, target: bytes) -> MovedRoot:
    for path in spellings(old):
        if context.catalog.folder_moves.target(path) == target:
            return MovedRoot(path, target, already=True)
    raise NothingThereError(f"no image comes from {printable(old)}; {known_roots(context.catalog)}")


def _verified(
    context: Context, source: bytes, target: bytes, *, dry_run: bool
) -> tuple[MovedRoot, list[int]]:
    """Compare the files at the new place with the catalog; also the images that are there.

    Raises
    ------
    UsageError
        When too many of them are not what they were.
    """
    catalog = context.catalog
    _require_own_files(context, source, target)
    images = list(catalog.folder_moves.images(source))
    there: list[MovedImage] = []
    wrong: list[MovedImage] = []
    gone: list[MovedImage] = []
    newer = catalog.folder_moves.contents_below(target)
    renamed = 0
    for number, image in enumerate(images):
        if not number % 1000:
            context.stop.check()
            context.progress("comparing files", number, len(images))
        if _size(_target(image.path, source, target)) == image.bytes:
            there.append(image)
        elif image.content in newer:
            renamed += 1
        else:
            (gone if image.gone else wrong).append(image)
    sample = random.Random(0).sample(there, min(_HASHED, len(there)))
    other = [one for one in sample if _sha256(_target(one.path, source, target)) != one.sha256]
    what = f"{printable(target)} does not have the files of {printable(source)}"
    expected = sum(not image.gone for image in images)
    if not expected:
        wrong, gone, expected = gone, [], len(images)
    if len(wrong) > _TOLERATED * expected:
        example = os.path.relpath(wrong[0].path, source)
        raise UsageError(
            f"{what}: {len(wrong):,} of {expected:,} are not there or have another size, such "
            f"as {printable(example)}; nothing was changed"
        )
    if len(other) > _TOLERATED * len(sample):
        example = os.path.relpath(other[0].path, source)
        raise UsageError(
            f"{what}: of {len(sample):,} files that were read {len(other):,} have other content, "
            f"such as {printable(example)}; nothing was changed"
        )
    doubled = len(catalog.folder_moves.doubled(source, target)) + renamed
    moved = MovedRoot(
        source, target, len(images), len(sample), len(wrong) + len(gone), doubled, dry_run=dry_run
    )
    return moved, [image.id for image in there]


def _require_own_files(context: Context, source: bytes, target: bytes) -> None:
    """Refuse a folder whose images have left it, unknown as yet: other files have their names.

    As where two folders were swapped, or the files of the new one have moved on.

    Raises
    ------
    UsageError
        When too many of the images that are known to be at the new place are not.
    """
    moves = context.catalog.folder_moves
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
            f"{printable(target)} has images of its own, and {len(left):,} of {len(own):,} are "
            f"not there now, such as {printable(left[0].path)}; run imgclust watch --once first "
            "(it finds files that were swapped), or, if they have moved too, imgclust roots move "
            f"{shlex.quote(os.fsdecode(target))} NEW; nothing was changed"
        )


def _write(
    context: Context, source: bytes, target: bytes, found: MovedRoot, there: Sequence[int]
) -> MovedRoot:
    catalog, moves = context.catalog, context.catalog.folder_moves
    ids = [image.id for image in moves.images(source)]
    passing("roots.move.before")
    with catalog.transaction():
        lost, taken = _take_newer(context, source, target, set(there))
        old_roots = [root for root in catalog.roots.all() if is_at_or_below(root.path, source)]
        givers = {image.root for image in catalog.images.some(ids).values()}
        moves.move(source, target)
        moves.forget_mounts(source)
        _move_roots(context, source, target, old_roots, givers)
        moves.found([image for image in there if image not in lost])
        catalog.ledger.queue_links(ids)
        moves.note(source, target)
        catalog.event("moved", f"{printable(source)} has moved to {printable(target)}")
        passing("roots.move.written")
    passing("roots.move.after")
    return MovedRoot(
        found.old, found.new, len(ids), found.compared, found.absent, taken, dry_run=False
    )


def _move_roots(
    context: Context, source: bytes, target: bytes, old: Sequence[Root], givers: set[int]
) -> None:
    """Give each root that has moved its new path, or what it had to the root that is there."""
    catalog, moves = context.catalog, context.catalog.folder_moves
    old_ids = {root.id for root in old}
    staying = [root for root in catalog.roots.all() if root.id not in old_ids]
    at = {root.path: root for root in staying}
    above = [root for root in staying if is_at_or_below(target, root.path)]
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
        if root_of is None or is_below(target, root_of.path):
            continue
        if new_root is None:
            new_root = catalog.roots.put(target, root_of.kind)
        moves.hand_over(target, root=giver, into=new_root.id)


def _take_newer(
    context: Context, source: bytes, target: bytes, there: set[int]
) -> tuple[set[int], int]:
    """Have images take the place of newer ones that came from the new folder before it was named.

    Ids follow contents: an image gets the place of a newer one with its content, at its own path
    or at another. Where its path has only another content, it was edited and gets that; but when
    an image that moved has taken this one's path, it is lost, and displaced. So is an image whose
    path has the file of one that comes. `there` are images
    whose file seems to be at its path. Returns the lost ones, and how many took a place.
    """
    catalog, moves = context.catalog, context.catalog.folder_moves
    newer = moves.contents_below(target)
    pairs = moves.doubled(source, target)
    same = [pair for pair in pairs if pair.content == pair.newer_content]
    other = {pair.id: pair for pair in pairs if pair.content != pair.newer_content}
    for pair in same:
        with contextlib.suppress(KeyError, ValueError):  # one that was missing
            newer[pair.content].remove(pair.newer)
        _drop(context, pair.newer)
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
        _drop(context, place.id)
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
            _drop(context, pair.newer)
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


def _drop(context: Context, newer: int) -> None:
    """Delete the row of an image that an older one takes the place of."""
    context.catalog.images.delete(newer)
    context.catalog.ledger.queue_links([newer])


def _target(path: bytes, source: bytes, target: bytes) -> bytes:
    return target.rstrip(b"/") + path[len(source.rstrip(b"/")) :]


def _size(path: bytes) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat_bits.S_ISREG(found.st_mode) else None


def _sha256(path: bytes) -> bytes | None:
    found = digest(path)
    return None if found is None else found[1]
