"""Carrying a link plan out, and putting right what a crash in the midst of it left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from imgclust.links.apply_plan import Sync, batches, identified
from imgclust.links.fs_ops import clear, flush, remove_if_empty, syncing
from imgclust.links.inspect import Standing, Tree, on_disk, stat_of
from imgclust.links.ledger import Ledger, Mode, Wanted
from imgclust.links.link_plan import Change, LinkPlan
from imgclust.progress import Progress, StopFlag, silent


@dataclass(frozen=True)
class Applied:
    """What `apply` did.

    Attributes
    ----------
    created, removed, moved, kept
        Numbers of links.
    foreign
        Paths below the link folder of entries that are no longer what we made; left alone.
    unmade
        Images without the link that is wanted: the original is absent and the mode needs it, or
        something that is not ours has the name of the cluster's folder.
    fell_back
        One line when the file system refused the mode and another was used.
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
                if row.state == "done" and tree.standing(row) is Standing.ABSENT
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
    ledger
        Rows of the link folder; written in batches of 500.
    progress, stop
        Told about, and looked at, once a batch.

    Raises
    ------
    StorageError
        When the disk refuses; what is done is kept, the next sync goes on from there.
    StoppedError
        When `stop` was set; the batch in hand is finished first.
    UsageError
        When an original lies inside the link folder.
    """
    recover(root, ledger)
    if plan.is_empty:
        return Applied(0, 0, 0, plan.kept, plan.foreign, (), None)
    tree = Tree(root)
    with on_disk(tree), syncing(tree) as temporaries:
        sync = Sync(tree, temporaries, mode, ledger, plan, progress, stop)
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
        When `stop` was set; the same call goes on.
    """
    tree = Tree(root)
    recover(root, ledger)
    move, drop, foreign = [], [], []
    with on_disk(tree):
        for row in ledger.rows_in(old):
            standing = tree.standing(row)
            if standing is Standing.OURS:
                move.append(Change(row, Wanted(row.image, new, row.entry, row.target)))
                continue
            drop.append(row)
            if standing is Standing.FOREIGN:
                foreign.append(tree.shown(row))
    rename = LinkPlan(move=tuple(move), drop=tuple(drop), foreign=tuple(foreign))
    return apply(rename, root, mode="symlink", ledger=ledger, stop=stop)
