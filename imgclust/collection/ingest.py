"""Putting an ingest together: workers, watcher, index, links, clusterings."""

from __future__ import annotations

import contextlib
import os
import stat as stat_bits
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from imgclust import devices, paths, reembed
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.clusters.model import ArrivalAssigner, ClusterResult
from imgclust.clusters.schedule import AutomaticClustering
from imgclust.clusters.suggestions import SuggestionUpkeep
from imgclust.collection import images, link_folder
from imgclust.collection.context import MANY_IMAGES, Context
from imgclust.collection.embedder import choose_recipe, embedder_opener, require_packages
from imgclust.collection.event_command import EventCommand, words_of
from imgclust.collection.link_folder import choose_links, finish_links
from imgclust.collection.roots import moved_folders
from imgclust.errors import (
    LockedError,
    NothingThereError,
    PausedError,
    StoppedError,
    StorageError,
    UsageError,
)
from imgclust.fs import is_network, kind_of
from imgclust.images.headers import RAW_SUFFIXES, raw_installed
from imgclust.images.pool import DecodePool
from imgclust.images.reader import Decoded
from imgclust.ingest.backoff import current_pause, store_hours
from imgclust.ingest.environment import LocalDisk
from imgclust.ingest.events import Counts, Emit, Event, IngestResult
from imgclust.ingest.loop import Ingest
from imgclust.ingest.upkeep import Dependencies
from imgclust.links.syncer import LinkSyncer
from imgclust.watcher.watcher import Watcher
from imgclust.wording import counted, printable, suggested

if TYPE_CHECKING:
    from imgclust.search.catalog_index import CatalogIndex

# How often a watcher compares the whole link folder with the catalog (10 s at 100,000 links).
_WHOLE_TREE_S = 6 * 3600.0
# How long a watcher is at the links before it looks after what comes in again, and how often it
# renames folders whose name holds the number of their images.
_LINKS_S = 0.5
_RECOUNT_S = 600.0
# How often a watcher looks whether people have changed something in the link folder.
_TREE_S = 2.0
# How often a watcher makes the pages of folders that have changed.
_PAGES_S = 60.0
# How often `add` looks whether another process has taken its paths, or lets it take them.
_WAIT_S = 0.2
# Requests written in one transaction: other processes are not kept waiting.
_CHUNK = 1000


@dataclass
class _Keeper:
    """What an ingest does after each commit: index, thumbnails, links."""

    context: Context
    live: CatalogIndex
    emit: Emit
    command: EventCommand | None = None
    said: set[str] = field(default_factory=set)
    checked: float = field(default_factory=time.monotonic)
    counted: float = field(default_factory=time.monotonic)
    paged: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    def after_commit(self, fresh: Sequence[Decoded]) -> None:
        """Store thumbnails, bring the index up to date, save it when that is due."""
        store = self.context.thumbnails()
        for decoded in fresh:
            if decoded.thumbnail is not None:
                with contextlib.suppress(OSError):  # a cache
                    key = key_of(decoded.sha256)
                    store.put(key, decoded.thumbnail, preview=decoded.preview)
        self.live.top_up()
        rules = self.context.settings.index
        self.live.save_when_due(least=rules.checkpoint_images, share=rules.checkpoint_share)

    def links(self) -> bool:
        """Sync some of the queue, sometimes all; False when another process syncs."""
        if self.command is not None:
            self.command.look()
        from imgclust.links.inspect import LinksOfflineError

        link_syncer = self.context.link_syncer()
        now = time.monotonic()
        self._pages(link_syncer, now)
        whole = now - self.checked >= _WHOLE_TREE_S
        recount = link_syncer.counts_images and now - self.counted >= _RECOUNT_S
        if (
            not whole
            and not recount
            and not link_syncer.queued
            and not self._moved(link_syncer, now)
        ):
            return True
        # What was committed before a stop is still linked; copying it may take long.
        stopping = self.context.stop.is_set() and link_syncer.mode != "copy"
        stop = None if stopping else self.context.stop
        try:
            fell_back = link_syncer.advance(
                budget_s=_LINKS_S, whole=whole, recount=recount, stop=stop
            )
        except (LockedError, StoppedError):
            return False
        except LinksOfflineError as error:
            self._once("links", str(error), kind="offline")
            return False
        except (StorageError, OSError) as error:
            self._once("links", f"{error}; the links are updated later")
            return False
        except UsageError as error:
            self._once("links", str(error))
            return False
        self.said.discard("links")
        if fell_back:
            self._once("fell back", fell_back)
        self.checked = now if whole else self.checked
        self.counted = now if recount else self.counted
        return True

    def _moved(self, link_syncer: LinkSyncer, now: float) -> bool:
        """Whether people may have changed something in the link folder."""
        if now - self.looked < _TREE_S:
            return False
        self.looked = now
        try:
            return link_syncer.changed
        except (StorageError, OSError):
            return False

    def _pages(self, link_syncer: LinkSyncer, now: float) -> None:
        """Make pages again, some at a time, when the links are up to date."""
        if now - self.paged < _PAGES_S or link_syncer.queued:
            return
        try:
            if link_folder.write(self.context, budget_s=_LINKS_S):
                self.paged = now
        except (LockedError, StoppedError):
            return
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            self.paged = now
            self._once("pages", f"the pages of the link folder are made later: {error}")

    def _once(self, what: str, sentence: str, *, kind: str = "trouble") -> None:
        if what not in self.said:
            self.said.add(what)
            self.emit(Event(kind, sentence))


def run(context: Context, emit: Emit, *, once: bool, scan: bool, cluster: bool) -> IngestResult:
    """Run an ingest; the caller holds the ingest lock."""
    require_packages()
    if once:
        _refuse_pause(context)
    store_hours(context.catalog, "" if once else context.settings.watch.hours)
    with contextlib.ExitStack() as stack:  # no start that fails leaves a process or thread behind
        command = _command(context, emit) if scan else None
        if command is not None:
            stack.callback(command.close)
            emit = command.hear
        ingest = _prepared(
            context, emit, stack, command=command, once=once, scan=scan, cluster=cluster
        )
        context.counted = ingest.result
        try:
            result = ingest.run(once=once, scan=scan)
        finally:
            context.counted = None
        if command is not None:
            command.close(finish=once, stop=context.stop)
    if not context.stop.is_set():
        finish_links(context)
    if once and context.stop.is_set():
        raise StoppedError("interrupted; the ingested files are kept; run it again to resume")
    if once and (result.ingested or result.reused):
        result = replace(result, suggestions=moved_folders(context.catalog))
    hint = raw_hint(result)
    if hint:
        result = replace(result, suggestions=(*result.suggestions, hint))
    return result


def _refuse_pause(context: Context) -> None:
    found = current_pause(context.catalog, wall=time.time())
    if found.since is not None:
        raise PausedError(f"nothing is read: {found.sentence}")


def _command(context: Context, emit: Emit) -> EventCommand | None:
    """What runs the command that the settings name; None without one."""
    rules = context.settings.watch
    if not rules.on_event:
        return None
    return EventCommand(
        context.catalog,
        words_of(rules.on_event),
        collection=context.name,
        limit_s=rules.on_event_limit_s,
        emit=emit,
    )


def raw_hint(result: IngestResult) -> str:
    """How RAW files that were skipped can be read; empty where there was none."""
    skipped = sum(number for suffix, number in result.suffixes.items() if suffix in RAW_SUFFIXES)
    if not skipped or raw_installed():
        return ""
    files = f"{counted(skipped, 'RAW file')} {'was' if skipped == 1 else 'were'}"
    return f'{files} skipped; pip install "imgclust[raw]" installs what reads them'


def _prepared(
    context: Context,
    emit: Emit,
    stack: contextlib.ExitStack,
    *,
    command: EventCommand | None,
    once: bool,
    scan: bool,
    cluster: bool,
) -> Ingest:
    """The ingest with all its parts; what must be closed after it is on the stack."""
    catalog, settings = context.catalog, context.settings
    # Workers start first: they share nothing with what is loaded later.
    wanted = settings.embedding
    workers = settings.decode.workers or devices.decode_workers(
        device=wanted.device, engine=wanted.engine
    )
    decoder = pool(context, workers)
    stack.callback(decoder.close)
    choose_recipe(context, waiting=_waiting(context, scan=scan))
    live = context.open_index(catalog, verify=not once)
    stack.callback(live.close, save=True)
    keeper = _Keeper(context, live, emit, command)
    assigner = ArrivalAssigner(catalog)
    assigner.catch_up(context.recipe)
    context.recluster().drop_unfinished()
    with catalog.transaction():
        catalog.store("watching_since", None if once else time.time())
    with contextlib.suppress(StoppedError):  # the next one resumes
        reembed.drop_retired(catalog, progress=context.progress, stop=context.stop)
    automatic = AutomaticClustering(
        catalog,
        path=context.folders.catalog,
        recipe=context.recipe,
        settings=settings,
        make=context.recluster,
        tell=lambda result: emit(Event("clustered", _clustered(result))),
        stop=context.stop,
    )
    stack.callback(automatic.close)
    suggesting = SuggestionUpkeep(
        catalog,
        path=context.folders.catalog,
        tell=lambda one: emit(Event("note", suggested(**asdict(one)))),
        stop=context.stop,
    )
    stack.callback(suggesting.close)

    def clusters(*, empty: bool, over: bool) -> None:
        automatic(empty=empty, over=over)
        suggesting(over=over)

    ours, exclusion = context.our_folders(), context.exclusion
    watched = [root for root in catalog.roots.all() if root.kind == "watched"]
    network = {
        root.id for root in catalog.roots.all() if settings.watch.polling or is_network(root.path)
    }
    return Ingest(
        catalog,
        Dependencies(
            decoder=decoder,
            open_embedder=embedder_opener(context),
            assigner=assigner,
            after_commit=keeper.after_commit,
            links=keeper.links,
            clusters=clusters if cluster else _no_clusters,
            events=lambda on_path, on_trouble: Watcher(
                [root.path for root in watched],
                on_path,
                on_trouble=on_trouble,
                polling=settings.watch.polling,
                exclude=exclusion,
                skip=ours,
            ),
            disk=LocalDisk(exclusion),
            monitor=context.monitor,
        ),
        recipe=context.recipe,
        settings=settings,
        ours=ours,
        network=network,
        exclusion=exclusion,
        workers=workers,
        emit=emit,
        progress=context.progress,
        stop=context.stop,
    )


def _no_clusters(*, empty: bool, over: bool) -> None:
    """Make no clustering."""


def _clustered(result: ClusterResult) -> str:
    return "; ".join((f"{result.k} clusters ({result.sentence})", *result.notes))


def pool(context: Context, workers: int) -> DecodePool:
    """Decode workers by the settings of the collection; they start at once."""
    rules = context.settings.decode
    return DecodePool(
        workers=workers,
        thumbnail_px=rules.thumbnail_px if rules.thumbnails else 0,
        preview_px=rules.preview_px if rules.thumbnails else 0,
        outline=True,
        time_limit_s=rules.time_limit_s,
        memory_limit_bytes=rules.memory_limit_mb << 20,
        size_cap_bytes=rules.size_cap_mb << 20,
        pixel_cap=rules.pixel_cap_mp * 1_000_000,
    )


def _waiting(context: Context, *, scan: bool) -> int:
    """Files asked for and (`scan`) in the roots, counted until they are more than `MANY_IMAGES`."""
    catalog = context.catalog
    disk, count = LocalDisk(context.exclusion), len(catalog.requests.oldest(MANY_IMAGES + 1))
    for root in catalog.roots.all():
        if root.kind != "watched" or not scan or count > MANY_IMAGES:
            continue
        for _ in disk.scan(root.path, skip=context.our_folders(), trouble=lambda *_: None):
            count += 1
            if count > MANY_IMAGES:
                return count
    return count


def watch(
    context: Context,
    paths: Sequence[bytes],
    emit: Emit,
    *,
    once: bool,
    links: Path | None,
    cluster: bool,
    exclude: Sequence[str] = (),
    exclude_fresh: bool = False,
    remove_excluded: bool = False,
) -> IngestResult:
    """See `Collection.watch`."""
    catalog = context.catalog
    roots = [_root(path) for path in paths]
    images.add_exclusions(context, exclude, fresh=exclude_fresh)
    _ = context.exclusion  # a wrong pattern is refused before anything is written
    with context.ingest_lock():
        with catalog.transaction():
            images.keep_exclusions(context, emit)
            choose_links(context, links, roots)
            for root in roots:
                _keep_apart(context, root)
            for root in roots:
                catalog.roots.put(root, "watched")
        watched = [root for root in catalog.roots.all() if root.kind == "watched"]
        if not watched:
            raise UsageError(
                f"the collection {context.name!r} watches no folder yet; "
                "name one: imgclust watch FOLDER"
            )
        for known in watched:
            away = known.path not in roots and not os.path.isdir(known.path)
            if away and not catalog.images.count(known.id):  # else the scan says what is kept
                emit(Event("trouble", "this folder is not there now", known.path))
        taken_out = images.take_out_excluded(context) if remove_excluded else 0
        result = run(context, emit, once=once, scan=True, cluster=cluster)
        return replace(result, taken_out=taken_out)


def add(context: Context, paths: Sequence[bytes], emit: Emit, *, cluster: bool) -> IngestResult:
    """See `Collection.add`."""
    if not paths:
        raise UsageError("no path given; name at least one file or folder")
    catalog = context.catalog
    if not context.is_watching:
        _refuse_pause(context)
    tops: list[tuple[bytes, bool]] = []
    for path in paths:
        absolute = os.path.abspath(path)
        try:
            mode = os.stat(absolute).st_mode
        except OSError as error:
            raise UsageError(f"{printable(absolute)} cannot be added: {error.strerror}") from None
        if not stat_bits.S_ISDIR(mode) and not stat_bits.S_ISREG(mode):
            kind = kind_of(mode)
            raise UsageError(f"{printable(absolute)} is {kind}; name a file or a folder")
        real = os.path.realpath(absolute)
        _keep_apart(context, real)
        tops.append((real, stat_bits.S_ISDIR(mode)))
    if catalog.setting("recipe") is not None:
        _ = context.recipe  # other weights are refused before anything is queued
    arrivals = _Arrivals(catalog)
    wanted = _wanted(context, tops, emit)
    while part := list(islice(wanted, _CHUNK)):
        context.stop.check()
        with catalog.transaction():
            for file, root in part:
                arrivals.request(file, root)
    return _take_in(context, arrivals, emit, cluster=cluster)


def retry(context: Context, paths: Sequence[bytes], emit: Emit) -> IngestResult:
    """See `Collection.retry`."""
    catalog = context.catalog
    wanted = [row.path for row in catalog.observations.quarantined()]
    if paths:
        asked = {os.path.abspath(path) for path in paths}
        unknown = asked - set(wanted)
        if unknown:
            name = printable(min(unknown))
            raise NothingThereError(f"{name} is not in quarantine; see imgclust quarantine")
        wanted = sorted(asked)
    if not wanted:
        raise NothingThereError("nothing is in quarantine")
    if not context.is_watching:
        _refuse_pause(context)
    arrivals = _Arrivals(catalog)
    with catalog.transaction():
        for path in wanted:
            known = catalog.observations.at(path)
            if known is not None:
                arrivals.request(path, known.root)
                catalog.observations.forget(path)
    return _take_in(context, arrivals, emit, cluster=True)


def _root(path: bytes) -> bytes:
    real = os.path.realpath(path)
    shown = printable(path)
    if not os.path.lexists(path):
        raise UsageError(f"the folder {shown} does not exist")
    if not os.path.isdir(real):
        raise UsageError(f"{shown} is not a folder; use imgclust add {shown} for a file")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {shown} cannot be read; check its permissions")
    return real


def _keep_apart(context: Context, path: bytes) -> None:
    for ours in (context.folders.root, context.link_folder):
        if paths.overlaps(os.fsencode(ours), path):
            raise UsageError(
                f"{printable(path)} and our own folder {ours} lie inside each other; "
                "links of links would be ingested: choose other folders"
            )


def _wanted(
    context: Context, tops: Iterable[tuple[bytes, bool]], emit: Emit
) -> Iterator[tuple[bytes, int]]:
    """Each file to be added with its root.

    What a person names is taken, also where it would be left out; in a folder that is named, what
    the collection leaves out is left out: patterns count from the watched folder that it lies in.
    A folder is a root of its own. A single file belongs to the innermost root above it, and where
    there is none, to its folder.
    """
    catalog, disk = context.catalog, LocalDisk(context.exclusion)
    roots = {root.path: root.id for root in catalog.roots.all()}
    watched = {root.path for root in catalog.roots.all() if root.kind == "watched"}

    def trouble(folder: bytes, reason: str) -> None:
        emit(Event("trouble", f"cannot be read: {reason}", folder))

    def put(folder: bytes) -> int:
        with catalog.transaction():
            roots[folder] = catalog.roots.put(folder, "added").id
        return roots[folder]

    for top, is_folder in tops:
        if is_folder:
            root = put(top)
            anchor = next((one for one in (top, *_above(top)) if one in watched), top)
            for file, _ in disk.scan(top, skip=(), trouble=trouble, anchor=anchor):
                yield file, root
        else:
            known = next((roots[above] for above in _above(top) if above in roots), None)
            yield top, put(os.path.dirname(top)) if known is None else known


def _above(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, innermost first."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _take_in(context: Context, arrivals: _Arrivals, emit: Emit, *, cluster: bool) -> IngestResult:
    """Ingest what was asked for, unless another process that ingests takes it."""
    waited = False
    while not arrivals.taken():
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(context.ingest_lock())
            except LockedError:
                if not waited:
                    emit(Event("note", "another process is ingesting; it takes the files"))
                waited = True
                if found := current_pause(context.catalog, wall=time.time()):
                    emit(Event("note", f"the files are queued: {found.sentence}"))
                    return arrivals.result()
            else:
                result = run(context, emit, once=True, scan=False, cluster=cluster)
                return arrivals.result() if waited else result
        if context.stop.wait(_WAIT_S):
            raise StoppedError("interrupted; the files stay queued and will be ingested later")
        context.progress("waiting for another process", *arrivals.progress)
    finish_links(context)
    return replace(arrivals.result(), suggestions=moved_folders(context.catalog))


class _Arrivals:
    """Paths that are asked for, followed in the catalog while another process takes them in."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._paths: dict[bytes, bool] = {}  # True: an image already when it was asked for
        self._waiting: list[bytes] = []
        self._began = time.monotonic()
        self._sequence = catalog.contents.sequence()

    def request(self, path: bytes, root: int) -> None:
        """Ask for a path; the caller holds the transaction."""
        self._catalog.requests.put(path, root)
        if path not in self._paths:
            self._paths[path] = self._catalog.images.at(path) is not None
            self._waiting.append(path)

    def taken(self) -> bool:
        """True when every path is at rest."""
        self._waiting = [path for path in self._waiting if not _at_rest(self._catalog, path)]
        return not self._waiting

    @property
    def progress(self) -> tuple[int, int]:
        """How many paths are at rest, of how many."""
        return len(self._paths) - len(self._waiting), len(self._paths)

    def result(self) -> IngestResult:
        """What has become of the paths."""
        catalog = self._catalog
        fresh = {
            content
            for _, content, action in catalog.contents.changes_after(self._sequence, 10**9)
            if action == "add"
        }
        counts = Counts()
        for path, before in self._paths.items():
            image = catalog.images.at(path)
            known = catalog.observations.at(path)
            if not _at_rest(catalog, path):
                counts.wait(path)
            elif image is not None and image.content in fresh:
                fresh.discard(image.content)
                counts.put(path, "ingested")
            elif image is not None:
                counts.put(path, "unchanged" if before else "reused")
            elif known is not None and known.state != "missing":
                counts.put(path, known.state)
        return counts.result(seconds=time.monotonic() - self._began)


def _at_rest(catalog: Catalog, path: bytes) -> bool:
    if catalog.requests.waits(path):
        return False
    known = catalog.observations.at(path)
    return known is None or known.state != "seen"
