"""One run of `apply`, in an order that leaves nothing unknown behind when it is cut off.

For each batch: intents are committed, links are made under temporary names, renamed to names
that are free, and marked done; what is removed is looked at again just before. The failpoints
`links.intent`, `links.made`, `links.renamed` and `links.done` stand at these boundaries.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from imgclust.failpoints import passing
from imgclust.files import stored
from imgclust.links.fs_ops import (
    FALL_BACKS,
    NAME_REFUSED,
    UnreadableOriginalError,
    flush,
    make,
    place,
    remove_if_empty,
)
from imgclust.links.inspect import Standing, Tree, original_of, stat_of
from imgclust.links.ledger import Ledger, LedgerRow, Mode, Wanted
from imgclust.links.link_plan import Change, LinkPlan, fits
from imgclust.links.names import entry_name, plain_name
from imgclust.progress import Progress, StopFlag

# Large enough that 100,000 links cost a few hundred durable transactions, small enough that a
# stop waits for little and a crash leaves little open.
_BATCH = 500
_Item = TypeVar("_Item")


def identified(row: LedgerRow, found: os.stat_result | None) -> LedgerRow:
    """Give `row` the identity of what was found."""
    if found is None:
        return row
    return replace(
        row,
        device=stored(found.st_dev),
        inode=stored(found.st_ino),
        size=found.st_size,
        mtime_ns=stored(found.st_mtime_ns),
    )


def batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Cut `items` into what one transaction takes."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


class Sync:
    """One run of `apply`: the plan's parts in order, and what came of them."""

    def __init__(
        self,
        tree: Tree,
        temporaries: bytes,
        mode: Mode,
        ledger: Ledger,
        plan: LinkPlan,
        progress: Progress,
        stop: StopFlag | None,
    ) -> None:
        self.created = self.removed = self.moved = 0
        self.kept = plan.kept
        self.foreign = list(plan.foreign)
        self.unmade: list[int] = []
        self.fell_back: dict[str, None] = {}
        self._tree = tree
        self._temporaries = temporaries
        self._mode = mode
        self._ledger = ledger
        self._plan = plan
        self._progress = progress
        self._stop = stop
        self._finished = 0
        self._cut_short = False
        self._refused_names: set[int] = set()

    def run(self) -> None:
        """Convert first (it decides what to remove), then remove, so that names are free."""
        remove = [*self._plan.drop, *self._plan.remove]
        make = list(self._plan.make)
        move = list(self._plan.move)
        for change in self._plan.convert:
            if self._can_convert(change):
                remove.append(change.row)
                make.append(change.wanted)
            elif fits(change.row, change.wanted) and change.row.target == change.wanted.target:
                self.kept += 1
            else:
                move.append(change)
        total = len(remove) + len(move) + len(make)
        # By folder, so that a batch touches few folders and each is flushed seldom.
        for rows in batches(sorted(remove, key=lambda row: row.folder)):
            self._remove(rows)
            self._step(len(rows), total)
        for changes in batches(sorted(move, key=lambda change: change.row.folder)):
            self._move(changes)
            self._step(len(changes), total)
        for links in batches(make):
            self._make(links)
            self._step(len(links), total)

    def _step(self, finished: int, total: int) -> None:
        self._finished += finished
        self._progress("links", self._finished, total)
        if self._stop is not None and (self._finished < total or self._cut_short):
            self._stop.check()

    def _temporary(self, image: int) -> bytes:
        return os.path.join(self._temporaries, b"%d" % image)

    def _can_convert(self, change: Change) -> bool:
        """Try the modes that are asked for before the one that the entry was made in."""
        if original_of(change.wanted.target) is None:
            return False  # the entry may be all that is left of it
        modes = FALL_BACKS[self._mode]
        if change.row.mode in modes:
            modes = modes[: modes.index(change.row.mode)]
        if modes == ("copy",):
            return True
        temporary = self._temporary(change.wanted.image)
        try:
            make(self._tree, change.wanted.target, temporary, modes)
        except (OSError, UnreadableOriginalError):
            return False
        os.unlink(temporary)
        return True

    def _remove(self, rows: list[LedgerRow]) -> None:
        for row in rows:
            standing = self._tree.standing(row)
            if standing is Standing.OURS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._tree.path(row.folder, row.entry))
                self.removed += 1
            elif standing is Standing.FOREIGN:
                self.foreign.append(self._tree.shown(row))
        self._leave({row.folder for row in rows})
        self._ledger.forget(rows)

    def _leave(self, folders: set[bytes]) -> None:
        for folder in folders:
            if not self._tree.is_blocked(folder):
                remove_if_empty(self._tree, folder)
        flush(self._tree, folders)

    def _free_name(self, wanted: Wanted, chosen: set[tuple[bytes, bytes]]) -> bytes:
        def taken(name: bytes) -> bool:
            return (
                (wanted.folder, name) in chosen
                or os.path.lexists(self._tree.path(wanted.folder, name))
                or self._ledger.row_at(wanted.folder, name) is not None
            )

        plain = wanted.image in self._refused_names
        name = entry_name(plain_name(wanted.name) if plain else wanted.name, wanted.image, taken)
        chosen.add((wanted.folder, name))
        return name

    def _can_enter(self, folder: bytes) -> bool:
        """Make the folder if need be; False when something that is not ours has its name."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._tree.path(folder))
        return not self._tree.is_blocked(folder)

    def _place(self, source: bytes, row: LedgerRow) -> bool:
        """Put a link in its place; False when another name must be chosen."""
        try:
            place(source, self._tree.path(row.folder, row.entry))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NAME_REFUSED or row.image in self._refused_names:
                raise
            self._refused_names.add(row.image)
            return False
        return True

    def _make(self, links: list[Wanted]) -> None:
        while links:
            chosen: set[tuple[bytes, bytes]] = set()
            intents: list[tuple[LedgerRow, Wanted]] = []
            for link in links:
                original = original_of(link.target)
                if self._tree.is_blocked(link.folder) or (
                    original is None and self._mode != "symlink"
                ):
                    self.unmade.append(link.image)
                    continue
                name = self._free_name(link, chosen)
                row = LedgerRow(link.folder, name, link.image, link.target, self._mode, "intent")
                intents.append((identified(row, original), link))
            self._ledger.intend([row for row, _ in intents])
            passing("links.intent")
            done: list[LedgerRow] = []
            undone: list[LedgerRow] = []
            links = []
            for row, link in intents:
                # A batch of large copies takes longer than a person who stops it will wait.
                if self._stop is not None and self._stop.is_set():
                    self._cut_short = True
                    undone.append(row)
                    continue
                made = self._make_one(row)
                if made is None:
                    undone.append(row)
                    self.unmade.append(row.image)
                elif made.state == "intent":
                    undone.append(row)
                    links.append(link)
                else:
                    done.append(made)
            self._ledger.forget(undone)
            self._ledger.done(done)
            self.created += len(done)
            passing("links.done")

    def _make_one(self, row: LedgerRow) -> LedgerRow | None:
        """Make and place one link: the finished row, the intent if its name is taken, or None."""
        temporary = self._temporary(row.image)
        try:
            mode, fell_back = make(self._tree, row.target, temporary, FALL_BACKS[self._mode])
        except UnreadableOriginalError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            return None
        if fell_back:
            self.fell_back.setdefault(fell_back)
        passing("links.made")
        entered = self._can_enter(row.folder)
        if not entered or not self._place(temporary, row):
            os.unlink(temporary)
            return row if entered else None
        passing("links.renamed")
        return self._finish(replace(row, mode=mode))

    def _finish(self, row: LedgerRow) -> LedgerRow:
        found = stat_of(self._tree.path(row.folder, row.entry))
        return identified(replace(row, state="done"), found)

    def _move(self, changes: list[Change]) -> None:
        while changes:
            chosen: set[tuple[bytes, bytes]] = set()
            done: list[LedgerRow] = []
            left: list[LedgerRow] = []
            intents: list[tuple[LedgerRow, Change]] = []
            for change in changes:
                old, wanted = change.row, change.wanted
                now = replace(old, target=wanted.target)
                if fits(old, wanted):
                    done.append(self._finish(now))  # only the original's path is another
                elif self._tree.is_blocked(wanted.folder):
                    self.unmade.append(wanted.image)
                else:
                    name = self._free_name(wanted, chosen)
                    intent = replace(now, folder=wanted.folder, entry=name, state="intent")
                    intents.append((intent, change))
            self._ledger.intend([intent for intent, _ in intents])
            passing("links.intent")
            undone: list[LedgerRow] = []
            changes = []
            for intent, change in intents:
                entered = self._can_enter(intent.folder)
                ours = self._tree.standing(change.row) is Standing.OURS
                source = self._tree.path(change.row.folder, change.row.entry)
                if ours and entered and self._place(source, intent):
                    passing("links.renamed")
                    done.append(self._finish(intent))
                    left.append(change.row)
                    self.moved += 1
                    continue
                undone.append(intent)
                if ours and entered:
                    changes.append(change)
                else:
                    self.unmade.append(intent.image)
            self._leave({row.folder for row in [*done, *left, *undone]})
            self._ledger.forget(undone)
            self._ledger.done(done)
            self._ledger.forget(left)
            passing("links.done")
