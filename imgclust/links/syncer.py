"""The link folder, kept up to date with the catalog's clusters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from imgclust.catalog.catalog import Catalog
from imgclust.config import Links
from imgclust.errors import StorageError, reason_of
from imgclust.links.apply_plan import Applied, apply, recover, rename_folder
from imgclust.links.inspect import EntryState, LinkDisk, Tree
from imgclust.links.ledger import CatalogLedger, Mode
from imgclust.links.link_plan import LinkPlan, check, plan
from imgclust.links.names import FolderNames, LinkTargets
from imgclust.links.tree_changes import TreeChanges, TreeReader
from imgclust.locks import FileLock
from imgclust.progress import Progress, StopFlag, silent


@dataclass(frozen=True)
class LinksResult:
    """The link folder after a sync, or as a check found it.

    `links` counts the entries that are right, `missing` and `stale` those that are not, `created`
    and `removed` those that were made and taken out, `moved` those that got another place or name,
    `unmade` those that could not be made; `foreign` lists paths below the link folder that are not
    ours; `fell_back` says why another mode was used. `dangling` counts, in a check, the symbolic
    links among them whose image is not there.

    Of the links that people moved, `corrected` counts those that have become corrections, `waiting`
    those that wait for a person (they count among `links`), and `unread`, in a check or a dry run,
    those that the next sync reads.
    """

    links: int
    created: int = 0
    removed: int = 0
    missing: int = 0
    stale: int = 0
    foreign: tuple[bytes, ...] = ()
    moved: int = 0
    unmade: int = 0
    fell_back: str | None = None
    dangling: int = 0
    corrected: int = 0
    waiting: int = 0
    unread: int = 0

    @property
    def in_step(self) -> bool:
        """True when every image has its link."""
        return not (self.missing or self.stale or self.unread)


# Queued images taken at a time; each is looked at once however often it was queued.
_QUEUE = 20_000
# The same where there is little time: one batch of `apply`.
_SLICE = 500
# Contents that another clustering may have moved, looked at in one transaction.
_CONTENTS = 5000
# Moves of links at once that count without a question: sync tools move links too.
_MOST_MOVES = 20
# The setting that says that the tree was read: what people moved before does not count.
_READ = "link_tree_read"
# The setting with the wall clock of a restore: links that were made after the backup are there.
_RESTORED = "links_restored"
# Links that are checked between two looks whether to stop.
_CHECKED = 1000


class LinkSyncer:
    """Keeps one link folder up to date.

    Parameters
    ----------
    root
        Gives the link folder: asked under the lock, since it may move until then.
    mode
        symlink, hardlink or copy.
    names
        Templates of the folder names, and how the links lie in the folders.
    lock
        The lock file that one sync at a time holds.
    settle_s
        For how long a file has to be at rest.
    live_since
        From when on a watcher has been running, None without.
    follow
        Makes corrections of what people changed in the tree, as the catalog has it noted, and
        returns why links were put back instead, by image; None: the tree is not read.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        root: Callable[[], Path],
        mode: str,
        names: Links,
        lock: Path,
        settle_s: float = 1.0,
        live_since: float | None = None,
        follow: Callable[[TreeChanges], Mapping[int, str]] | None = None,
    ) -> None:
        self._catalog = catalog
        self._ledger = CatalogLedger(catalog)
        self._where = root
        self.mode = cast(Mode, mode)  # as the settings have checked it
        self._names = FolderNames(catalog, names)
        self._targets = LinkTargets(catalog, names)
        self._rules = names
        self._lock = lock
        self._settle_s = settle_s
        self._live_since = live_since
        self._follow = follow if names.corrections else None
        self._corrected = 0

    def sync(
        self,
        *,
        whole: bool = False,
        wait_s: float = 10.0,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> LinksResult:
        """Update the link folder: what is queued, or (`whole`) all of it.

        Raises
        ------
        LockedError
            When another process holds the lock for longer than `wait_s`.
        """
        with FileLock(self._lock, purpose="syncing the links of", wait_s=wait_s):
            if whole:
                progress("links", 0, None)
                self._queue_all()
            self._corrected = 0
            done = self._bring_in_step(_QUEUE, None, recount=True, progress=progress, stop=stop)
        return LinksResult(
            links=self._catalog.ledger.count(),
            created=sum(one.created for one in done),
            removed=sum(one.removed for one in done),
            moved=sum(one.moved for one in done),
            unmade=sum(len(one.unmade) for one in done),
            missing=sum(len(one.unmade) for one in done),
            foreign=tuple(path for one in done for path in one.foreign),
            fell_back=_fell_back(done),
            corrected=self._corrected,
            waiting=len(self._catalog.link_tree.moves("waiting")),
        )

    def advance(
        self,
        *,
        budget_s: float,
        whole: bool = False,
        recount: bool = False,
        stop: StopFlag | None = None,
    ) -> str | None:
        """Process as much of what is queued as can be done in about `budget_s` seconds.

        For a watcher, which has other things to do; `queued` says whether anything is left. The
        counts in folder names are those of the last `recount`. Returns one line when the file
        system refused the mode and another was used.

        Raises
        ------
        LockedError
            When another process holds the lock.
        """
        until = time.monotonic() + budget_s
        with FileLock(self._lock, purpose="syncing the links of"):
            if whole:
                self._queue_all()
            return _fell_back(self._bring_in_step(_SLICE, until, recount=recount, stop=stop))

    def _reader(self, root: Path) -> TreeReader:
        return TreeReader(
            self._catalog,
            root,
            names=self._names,
            outliers=self._rules.outliers,
            delay_s=2 * self._settle_s,
            live_since=self._live_since,
            most=_MOST_MOVES,
        )

    def _read_tree(self, root: Path) -> bool:
        """Look what people changed in the tree, before it is planned what to change in it.

        True when it was read: entries of ours that are gone went after that.
        """
        if self._follow is None:
            return False
        if self._catalog.ledger.unfinished():
            recover(root, self._ledger)
        changes = self._reader(root).read()
        first = not self._catalog.setting(_READ)
        if first:
            with self._catalog.transaction():
                self._catalog.store(_READ, True)
        refused = self._follow(replace(changes, before=first))
        self._corrected += 0 if first else changes.moved - len(refused)
        return changes.complete

    @property
    def changed(self) -> bool:
        """True when people may have changed something in the tree; costs a look at each folder."""
        if self._follow is None or self.offline is not None:
            return False
        return self._reader(self._where()).changed()

    @property
    def offline(self) -> str | None:
        """Why the link folder cannot be used while its disk is away; None when it is there."""
        return LinkDisk(self._catalog, self._where()).reason()

    def accept(self) -> Mapping[int, str]:
        """Links that wait for a person become corrections: they have said that they moved them.

        Returns
        -------
        By image, why a link was put back instead.

        Raises
        ------
        LockedError
            When another process holds the lock for long.
        """
        if self._follow is None:
            return {}
        with FileLock(self._lock, purpose="syncing the links of", wait_s=10.0):
            with self._catalog.transaction():
                tree = self._catalog.link_tree
                tree.put([one._replace(state="moved") for one in tree.moves("waiting")])
            return self._follow(TreeChanges(moved=1))

    def _reorder(self) -> None:
        """Queue all links when the clustering is another one than their order was made by."""
        current = self._catalog.clusterings.current_id()
        if self._catalog.setting("link_order_of") != current:
            with self._catalog.transaction():
                self._catalog.ledger.queue_review(None)
                self._catalog.store("link_order_of", current)

    def _queue_all(self) -> None:
        with self._catalog.transaction():
            self._catalog.ledger.queue_review(None)
            self._catalog.ledger.queue_links(self._catalog.ledger.orphans())

    def _bring_in_step(
        self,
        at_once: int,
        until: float | None,
        *,
        recount: bool,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> list[Applied]:
        """Work the queue off, until then at most; the caller holds the lock."""
        root, stop = self._where(), stop or StopFlag()
        disk = LinkDisk(self._catalog, root)
        disk.require()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the link folder {root} cannot be made: {reason_of(error)}"
            raise StorageError(what) from None
        disk.note()
        was_read = self._read_tree(root)
        later: set[int] = set()
        self._names.count(again=recount)
        if self._targets.central_first:
            self._reorder()
        done: list[Applied] = []
        since = self._catalog.setting(_RESTORED)
        while True:
            if self._catalog.ledger.reviews and not self._catalog.ledger.queued_links(1)[1]:
                stop.check()
                # A sync with a time limit does other things in between: nobody waits for its end.
                write = self._catalog.piece if until is None else self._catalog.transaction
                with write():
                    self._catalog.ledger.review(rows=_CONTENTS)
            # Read together: a clustering may be published between two rounds.
            with self._catalog.snapshot():
                reached, images = self._catalog.ledger.queued_links(at_once)
                young = {one.image for one in self._catalog.link_tree.moves("young")}
                later |= young.intersection(images)  # perhaps half moved
                images = [one for one in images if one not in young]
                current, folders = self._names.wanted()
                wanted, gone = self._targets.of(images, current, folders)
            if not self._rename_folders(folders, root, until, done, stop):
                break
            if reached:
                stop.check()
                disk.require()
                planned = plan(wanted, gone, self._ledger, root, self.mode)
                if was_read:
                    planned = self._unread(planned, root, later)
                done.append(
                    apply(
                        planned,
                        root,
                        mode=self.mode,
                        ledger=self._ledger,
                        adopt=since is not None,
                        progress=progress,
                        stop=stop,
                    )
                )
                with self._catalog.transaction():
                    self._catalog.ledger.unqueue_links(reached)
            elif not self._catalog.ledger.reviews:
                if since is not None and self._has_scanned(since):
                    with self._catalog.transaction():
                        self._catalog.store(_RESTORED, None)
                break
            if until is not None and time.monotonic() >= until:
                break
        if later:
            with self._catalog.transaction():
                self._catalog.ledger.queue_links(sorted(later))
        if self._follow is not None:
            self._reader(root).note_inodes()
        return done

    def _unread(self, planned: LinkPlan, root: Path, later: set[int]) -> LinkPlan:
        """The plan without images whose links have gone since the tree was read: moved, perhaps."""
        tree = Tree(root)
        absent = [row for row in planned.drop if tree.state(row) is EntryState.ABSENT]
        if not absent:
            return planned
        images = {row.image for row in absent}
        later |= images
        with self._catalog.transaction():
            self._catalog.link_tree.read_again({row.folder for row in absent})
        return replace(
            planned,
            make=tuple(one for one in planned.make if one.image not in images),
            move=tuple(one for one in planned.move if one.row.image not in images),
            convert=tuple(one for one in planned.convert if one.row.image not in images),
            remove=tuple(row for row in planned.remove if row.image not in images),
            drop=tuple(row for row in planned.drop if row.image not in images),
        )

    def _has_scanned(self, since: float) -> bool:
        """True when all that is there now has come in since then."""
        roots = [root for root in self._catalog.roots.all() if root.kind == "watched"]
        read = self._catalog.observations.next_due() is None
        return read and all((root.scanned or 0.0) > since for root in roots)

    def clear(self, *, progress: Progress = silent, stop: StopFlag | None = None) -> LinksResult:
        """Take every entry of ours out of the link folder; the caller holds the links lock.

        It is held until whatever follows is done: a sync in between would make them all again.
        """
        root = self._where()
        if self.offline is not None:  # its links stay there
            self._ledger.forget(list(self._ledger.all_rows()))
            return LinksResult(links=0)
        images = sorted({row.image for row in self._ledger.all_rows()})
        planned = plan((), images, self._ledger, root, self.mode)
        applied = apply(
            planned,
            root,
            mode=self.mode,
            ledger=self._ledger,
            progress=progress,
            stop=stop,
        )
        return LinksResult(
            links=self._catalog.ledger.count(),
            removed=applied.removed,
            foreign=applied.foreign,
        )

    @property
    def queued(self) -> bool:
        """True when something waits to be updated."""
        if self._catalog.ledger.queued_links(1)[1] or self._catalog.ledger.reviews:
            return True
        return self._names.counted and bool(self._names.renamed(self._names.wanted()[1]))

    @property
    def counts_images(self) -> bool:
        """True when folder names hold numbers of images, which a `sync` brings up to date."""
        return self._names.counted

    def dry_run(self) -> LinksResult:
        """What a sync of everything would do; nothing is written.

        Raises
        ------
        LinksOfflineError
            When the disk of the link folder is away.
        """
        LinkDisk(self._catalog, self._where()).require()
        with self._catalog.snapshot():
            images = [image.id for image in self._catalog.images.all()]
            orphans = self._catalog.ledger.orphans()
            wanted, gone = self._targets.of([*images, *orphans], *self._names.wanted())
        planned = plan(wanted, gone, self._ledger, self._where(), self.mode)
        moved = self._unread_moves()
        made = sum(one.image not in moved.values() for one in planned.make)
        return LinksResult(
            links=planned.kept,
            created=made + len(planned.convert),
            removed=len(planned.remove) + len(planned.convert),
            moved=len(planned.move),
            missing=made,
            stale=len(planned.remove) + len(planned.move) + len(planned.convert),
            foreign=planned.foreign,
            waiting=len(self._catalog.link_tree.moves("waiting")),
            unread=len(moved),
        )

    def _unread_moves(self) -> dict[tuple[bytes, bytes], int]:
        """Links that people have moved since the tree was read, by their places; their images."""
        if self._follow is None or not self._catalog.setting(_READ):
            return {}
        return self._reader(self._where()).found_elsewhere()

    def check(self, *, progress: Progress = silent, stop: StopFlag | None = None) -> LinksResult:
        """Compare the whole tree with the catalog; nothing is written.

        Raises
        ------
        LinksOfflineError
            When the disk of the link folder is away.
        """
        LinkDisk(self._catalog, self._where()).require()
        progress("checking links", 0, None)
        with self._catalog.snapshot():
            images = [image.id for image in self._catalog.images.all()]
            wanted, _ = self._targets.of(images, *self._names.wanted())
        found = check(self._where(), wanted, self._ledger, progress=progress, stop=stop)
        dangling = 0
        if self.mode == "symlink":
            for number, one in enumerate(wanted):
                if stop is not None and not number % _CHECKED:
                    stop.check()
                dangling += not os.path.lexists(one.target)
        moved = self._unread_moves() if found.missing else {}
        places = {os.path.join(*place) for place in moved} | {folder for folder, _ in moved}
        return LinksResult(
            links=found.links,
            missing=len({*found.missing} - {*moved.values()}),
            stale=len(found.stale),
            foreign=tuple(path for path in found.foreign if path not in places),
            dangling=dangling,
            waiting=len(self._catalog.link_tree.moves("waiting")),
            unread=len(moved),
        )

    def clusters(self) -> dict[bytes, int]:
        """The cluster of each folder, by the name that it has on disk."""
        return self._names.clusters()

    def left(self, folder: bytes) -> int | None:
        """See `FolderNames.left`."""
        return self._names.left(folder)

    def note(self, cluster: int, folder: bytes) -> None:
        """A cluster has this folder, which a person has made."""
        self._names.note(cluster, folder)

    def folders(self) -> dict[int, Path]:
        """Folder of each cluster of the current clustering."""
        folders, root = self._names.wanted()[1], self._where()
        return {cluster: root / os.fsdecode(name) for cluster, name in folders.items()}

    def _rename_folders(
        self,
        folders: dict[int, bytes],
        root: Path,
        until: float | None,
        done: list[Applied],
        stop: StopFlag,
    ) -> bool:
        """Give folders whose cluster has another name now (or another count) their new name.

        False when the time did not suffice; what is left is done the next time.
        """
        for cluster, old, new in self._names.renamed(folders):
            stop.check()
            renamed = rename_folder(old, new, root, self._ledger, stop=stop)
            done.append(replace(renamed, foreign=(), unmade=()))  # told when the images follow
            self._names.note(cluster, new)
            if until is not None and time.monotonic() >= until:
                return False
        self._names.note_all(folders)
        return True


def _fell_back(done: Sequence[Applied]) -> str | None:
    return next((one.fell_back for one in reversed(done) if one.fell_back), None)
