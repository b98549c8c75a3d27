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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from imgclust.failpoints import passing
from imgclust.fs import stored
from imgclust.links.fs_ops import (
    FALL_BACKS,
    NAME_REFUSED,
    UnreadableOriginalError,
    clear,
    flush,
    make,
    place,
    remove_if_empty,
    syncing,
)
from imgclust.links.inspect import EntryState, Tree, on_disk, original_of, stat_of
from imgclust.links.ledger import Ledger, LedgerRow, Mode, Wanted
from imgclust.links.link_plan import Change, LinkPlan, fits
from imgclust.links.names import entry_name, plain_name
from imgclust.progress import Progress, StopFlag, silent

# Large enough that 100,000 links cost a few hundred durable transactions, small enough that a
# stop waits for little and a crash leaves little open.
_BATCH = 500
_LAST_NAMES = (
    "some hard links stay in the link folder, as the last names of their files; imgclust links "
    "--check lists them, and who does not want the files deletes them there"
)
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


class PlanRun:
    """One run of `apply`: the plan's parts in order, and their results."""

    def __init__(
        self,
        tree: Tree,
        temporaries: bytes,
        mode: Mode,
        ledger: Ledger,
        plan: LinkPlan,
        progress: Progress,
        stop: StopFlag | None,
        adopt: bool = False,
    ) -> None:
        self._adopt = adopt
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
            state = self._tree.state(row)
            if state is EntryState.OURS and self._is_last_name(row):
                self.foreign.append(self._tree.shown(row))
                self.fell_back.setdefault(_LAST_NAMES)
            elif state is EntryState.OURS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._tree.path(row.folder, row.entry))
                self.removed += 1
            elif state is EntryState.FOREIGN:
                self.foreign.append(self._tree.shown(row))
        self._leave({row.folder for row in rows})
        self._ledger.forget(rows)

    def _is_last_name(self, row: LedgerRow) -> bool:
        """Whether a hard link is all that is left of a file: perhaps a person has moved it here."""
        if row.mode != "hardlink" or original_of(row.target) is not None:
            return False
        found = stat_of(self._tree.path(row.folder, row.entry))
        return found is not None and found.st_nlink == 1

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

    def _made_before(self, wanted: Wanted) -> LedgerRow | None:
        """The entry that is in the place of a link, and is what would be made there."""
        row = LedgerRow(
            wanted.folder, wanted.name, wanted.image, wanted.target, self._mode, "intent"
        )
        if self._ledger.row_at(row.folder, row.entry) is not None:
            return None
        row = identified(row, original_of(wanted.target))
        try:
            found = stat_of(self._tree.path(row.folder, row.entry))
        except ValueError:  # not a name as it is
            return None
        mode = None if found is None else self._tree.how_made(row, found)
        return None if mode is None else replace(row, mode=mode)

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
                there = self._made_before(link) if self._adopt else None
                if there is not None:
                    self._ledger.intend([there])
                    self._ledger.done([self._finish(there)])
                    self.kept += 1
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
                ours = self._tree.state(change.row) is EntryState.OURS
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


@dataclass(frozen=True)
class Applied:
    """What `apply` did.

    Attributes
    ----------
    created, removed, moved, kept
        Numbers of links.
    foreign
        Paths below the link folder of entries that are no longer what we made, and of hard links
        that are the last names of their files; left alone.
    unmade
        Images without the link that is wanted: the original is absent and the mode needs it, or
        something that is not ours has the name of the cluster's folder.
    fell_back
        One line when the file system refused the mode and another was used, or when hard links
        stay as the last names of their files.
    """

    created: int
    removed: int
    moved: int
    kept: int
    foreign: tuple[bytes, ...]
    unmade: tuple[int, ...]
    fell_back: str | None


@dataclass(frozen=True)
class Recovered:
    """What `recover` found: intents that had been carried out, and ones that had not."""

    settled: int
    forgotten: int


def recover(root: Path, ledger: Ledger) -> Recovered:
    """Settle what a crash left open: an intent that was carried out is done, others are forgotten.

    Costs a look at `.syncing` and the open intents; `apply` starts with it.

    Parameters
    ----------
    root
        The link folder.
    ledger
        Its rows.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    tree = Tree(root)
    with on_disk(tree):
        clear(tree)
        settled, forgotten = [], []
        for row in ledger.open_intents():
            found = (
                None if tree.is_blocked(row.folder) else stat_of(tree.path(row.folder, row.entry))
            )
            mode = tree.how_made(row, found) if found else None
            if mode is None:
                remove_if_empty(tree, row.folder)
                forgotten.append(row)
            else:
                settled.append(identified(replace(row, mode=mode, state="done"), found))
        for batch in batches(settled):
            # The place that an entry was moved from is empty, and its row says nothing true.
            left = [
                row
                for row in ledger.rows_of([row.image for row in batch])
                if row.state == "done" and tree.state(row) is EntryState.ABSENT
            ]
            for row in left:
                remove_if_empty(tree, row.folder)
            flush(tree, {row.folder for row in [*batch, *left]})
            ledger.done(batch)
            ledger.forget(left)
        ledger.forget(forgotten)
    return Recovered(len(settled), len(forgotten))


def apply(
    plan: LinkPlan,
    root: Path,
    *,
    mode: Mode,
    ledger: Ledger,
    adopt: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Applied:
    """Carry out a plan.

    A hard link that is refused (another device, too many links, no permission) becomes a symbolic
    link, a symbolic link that is refused becomes a copy. A name that is taken, on disk or in the
    ledger, is never taken over: the link gets another one.

    Parameters
    ----------
    plan
        From `plan`, for the same root, mode and ledger.
    root
        The link folder; made when absent.
    mode
        How links are made.
    adopt
        The ledger has forgotten links: an entry that is in the place of one, and is just what would
        be made there, is that link.
    ledger
        Rows of the link folder; written in batches of 500.
    progress, stop
        Told about, and looked at, once a batch.

    Raises
    ------
    StorageError
        When the disk refuses; what is done is kept, the next sync continues from there.
    StoppedError
        When `stop` was set; the current batch is finished first.
    UsageError
        When an original lies inside the link folder.
    """
    recover(root, ledger)
    if plan.is_empty:
        return Applied(0, 0, 0, plan.kept, plan.foreign, (), None)
    tree = Tree(root)
    with on_disk(tree), syncing(tree) as temporaries:
        sync = PlanRun(tree, temporaries, mode, ledger, plan, progress, stop, adopt)
        sync.run()
    return Applied(
        created=sync.created,
        removed=sync.removed,
        moved=sync.moved,
        kept=sync.kept,
        foreign=tuple(dict.fromkeys(sync.foreign)),
        unmade=tuple(sync.unmade),
        fell_back="; ".join(sync.fell_back) or None,
    )


def rename_folder(
    old: bytes, new: bytes, root: Path, ledger: Ledger, *, stop: StopFlag | None = None
) -> Applied:
    """Move our entries from one cluster folder to another, because the cluster has a new name.

    Entry by entry, so that what is not ours stays where it is; the old folder goes when nothing
    is left in it. What a crash leaves behind, the same call or the next sync finishes.

    Parameters
    ----------
    old, new
        Names of the folders below the link folder.
    root
        The link folder.
    ledger
        Its rows.
    stop
        Looked at once a batch.

    Raises
    ------
    StorageError
        When the disk refuses.
    StoppedError
        When `stop` was set; the same call resumes.
    """
    tree = Tree(root)
    recover(root, ledger)
    move, drop, foreign = [], [], []
    with on_disk(tree):
        for row in ledger.rows_in(old):
            state = tree.state(row)
            if state is EntryState.OURS:
                move.append(Change(row, Wanted(row.image, new, row.entry, row.target)))
                continue
            if state is EntryState.FOREIGN:
                drop.append(row)
                foreign.append(tree.shown(row))
    rename = LinkPlan(move=tuple(move), drop=tuple(drop), foreign=tuple(foreign))
    return apply(rename, root, mode="symlink", ledger=ledger, stop=stop)
