"""What to change in the link folder, and how far it is from what is wanted. Only looks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imgclust.links.inspect import EntryState, Tree, is_ours_whole, on_disk
from imgclust.links.ledger import Ledger, LedgerRow, Mode, Wanted
from imgclust.links.names import is_name_of
from imgclust.progress import Progress, StopFlag, silent

_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Change:
    """An entry of ours and what it should become."""

    row: LedgerRow
    wanted: Wanted


@dataclass(frozen=True)
class LinkPlan:
    """What `apply` is to do.

    Attributes
    ----------
    make
        Links to make.
    move
        Entries that are right but for their place, their name, or the original's path.
    convert
        Entries made in another mode than is asked for now; recreated if the file system takes
        the mode, else left as they are.
    remove
        Entries of ours that nobody wants, or that lead elsewhere.
    drop
        Ledger rows whose entry is absent or foreign: forgotten, nothing is touched.
    foreign
        Paths below the link folder where something else has replaced an entry of ours.
    kept
        How many entries are right as they are.
    """

    make: tuple[Wanted, ...] = ()
    move: tuple[Change, ...] = ()
    convert: tuple[Change, ...] = ()
    remove: tuple[LedgerRow, ...] = ()
    drop: tuple[LedgerRow, ...] = ()
    foreign: tuple[bytes, ...] = ()
    kept: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.make or self.move or self.convert or self.remove or self.drop)


@dataclass(frozen=True)
class Check:
    """The whole tree compared with what is wanted.

    Attributes
    ----------
    links
        How many entries are right.
    missing
        Images that should have a link and have none.
    stale
        Entries of ours that lead elsewhere, stand in the wrong place, or that nobody wants; rows
        of entries that are gone with their images. An image with only such an entry is not
        counted as missing too.
    foreign
        Paths below the link folder of what is not ours, or no longer what we made.
    """

    links: int
    missing: tuple[int, ...]
    stale: tuple[LedgerRow, ...]
    foreign: tuple[bytes, ...]

    @property
    def in_step(self) -> bool:
        """Whether every link is there and right; foreign entries do not matter."""
        return not (self.missing or self.stale)


def fits(row: LedgerRow, wanted: Wanted) -> bool:
    """Whether `row` has the folder that is wanted and one of the names that it may have there."""
    return row.folder == wanted.folder and is_name_of(row.entry, wanted.name, wanted.image)


def plan(
    wanted: Iterable[Wanted], gone: Iterable[int], ledger: Ledger, root: Path, mode: Mode
) -> LinkPlan:
    """Say what must change so that the images named have exactly the links that are wanted.

    Only the entries of these images are looked at, so the cost grows with what changed and not
    with the tree. Nothing is written, to the disk or to the ledger.

    Parameters
    ----------
    wanted
        The links that should be there, for every image that may have changed.
    gone
        Ids of images that must have no link any more. An image that is missing but not gone
        belongs in `wanted`, and keeps its link.
    ledger
        The rows of the link folder.
    root
        The link folder.
    mode
        How links are asked for; see `apply` for what happens where that is refused.

    Raises
    ------
    UsageError
        When an original lies inside the link folder.
    StorageError
        When the link folder cannot be read.
    """
    tree = Tree(root)
    by_image: dict[int, Wanted | None] = dict.fromkeys(gone)
    by_image.update((link.image, link) for link in wanted)
    make, move, convert, remove, drop, foreign = [], [], [], [], [], []
    kept = 0
    images = iter(by_image)
    with on_disk(tree):
        while batch := list(itertools.islice(images, _ROWS_AT_ONCE)):
            ours: dict[int, list[LedgerRow]] = {image: [] for image in batch}
            for row in ledger.rows_of(batch):
                state = tree.state(row)
                if state is EntryState.OURS:
                    ours[row.image].append(row)
                    continue
                drop.append(row)
                if state is EntryState.FOREIGN:
                    foreign.append(tree.shown(row))
            for image in batch:
                link = by_image[image]
                if link is None:
                    remove.extend(ours[image])
                    continue
                best = _best(tree, ours[image], link, mode)
                remove.extend(row for row in ours[image] if row is not best)
                if best is None:
                    tree.text(link.target)
                    make.append(link)
                elif best.mode != mode:
                    convert.append(Change(best, link))
                elif fits(best, link) and best.target == link.target:
                    kept += 1
                else:
                    move.append(Change(best, link))
    return LinkPlan(
        make=tuple(make),
        move=tuple(move),
        convert=tuple(convert),
        remove=tuple(remove),
        drop=tuple(drop),
        foreign=tuple(foreign),
        kept=kept,
    )


def _best(tree: Tree, rows: list[LedgerRow], link: Wanted, mode: Mode) -> LedgerRow | None:
    right = [row for row in rows if tree.is_right(row, link.target)]
    return min(right, key=lambda row: (row.mode != mode, not fits(row, link)), default=None)


def check(
    root: Path,
    wanted: Iterable[Wanted],
    ledger: Ledger,
    *,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Check:
    """Compare the whole tree and the whole ledger with what is wanted.

    To repair, `plan` with the images of `missing` and `stale`.

    Parameters
    ----------
    root
        The link folder.
    wanted
        Every link that should be there.
    ledger
        The rows of the link folder.
    progress, stop
        Told about every row; looked at between rows.

    Raises
    ------
    StoppedError
        When `stop` was set.
    StorageError
        When the link folder cannot be read.
    """
    tree = Tree(root)
    outstanding = {link.image: link for link in wanted}
    total = len(outstanding)
    known: set[tuple[bytes, bytes]] = set()
    absent: list[LedgerRow] = []
    stale: list[LedgerRow] = []
    foreign: list[bytes] = []
    links = 0
    with on_disk(tree):
        for done, row in enumerate(ledger.all_rows(), start=1):
            if done % _ROWS_AT_ONCE == 0:
                progress("checking links", min(done, total), total)
                if stop is not None:
                    stop.check()
            known.add((row.folder, row.entry))
            state = tree.state(row)
            link = outstanding.get(row.image)
            if state is EntryState.FOREIGN:
                foreign.append(tree.shown(row))
            elif state is EntryState.ABSENT:
                absent.append(row)
            elif link and fits(row, link) and tree.is_right(row, link.target):
                links += 1
                del outstanding[row.image]
            else:
                stale.append(row)
    stale_images = {row.image for row in stale}
    missing = tuple(sorted(outstanding.keys() - stale_images))
    stale.extend(row for row in absent if row.image not in outstanding)
    with on_disk(tree):
        foreign.extend(_unknown(tree, known))
    return Check(links, missing, tuple(stale), tuple(sorted(foreign)))


def _unknown(tree: Tree, known: set[tuple[bytes, bytes]]) -> Iterable[bytes]:
    """Paths below the link folder of everything that no row speaks of."""
    folders = {folder for folder, _ in known}
    try:
        tops = list(os.scandir(tree.root))
    except FileNotFoundError:
        return
    for top in tops:
        if top.name in folders and top.is_dir(follow_symlinks=False):
            with os.scandir(top.path) as entries:
                for entry in entries:
                    if (top.name, entry.name) not in known:
                        yield os.path.join(top.name, entry.name)
        elif not is_ours_whole(tree.root, top.name):
            yield top.name
