"""The ingest state machine against a simulated disk, clock and network, by the thousand.

Every schedule of creations, slow writes, renames, deletions, lost and doubled events, overflows,
clock jumps, lost mounts, crashes and restarts must end with every file in exactly once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imgclust.catalog.contents import key_of
from imgclust.collection import images as images_module
from imgclust.collection.context import Context
from imgclust.config import Settings, Watch
from imgclust.embedding.recipe import Embedder
from imgclust.errors import StorageError
from imgclust.failpoints import arm
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Again, Decoded, Outcome, Skipped, Unreadable
from imgclust.ingest import pipeline, root_scan
from imgclust.ingest.embedding_thread import Batch, Done, EmbeddingThread
from imgclust.ingest.events import Event
from imgclust.ingest.loop import Ingest
from imgclust.ingest.upkeep import Dependencies
from tests.fakes import FakeEmbedder, FakeEvents, RefusingCatalog

ROOTS = (b"/one", b"/two")
PATHS = (b"/one/a", b"/one/s/a", b"/one/s/b", b"/one/t/a", b"/two/a", b"/two/s/a")
IMAGES = tuple(b"IMG %d" % number for number in range(3))
CONTENTS = (*IMAGES, *IMAGES, b"", b"BAD ", b"TEXT")
SETTLE_S, RESCAN_S = 1.0, 60.0

paths = st.sampled_from(PATHS)
contents = st.sampled_from(CONTENTS)
# How the watcher hears of a change: not at all, once, twice.
news = st.sampled_from((0, 1, 1, 1, 2))


class CrashError(SystemExit):
    """The process is killed here: nothing in it may catch that and go on."""


class SimulatedDisk:
    """Files in a dictionary; a root may be unmounted, gone or empty, and comes back elsewhere."""

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[bytes, FileStat]] = {}
        self.mounted = dict.fromkeys(ROOTS, "yes")
        self.device = dict.fromkeys(ROOTS, 1)
        # Paths that came or went; a test empties it.
        self.touched: set[bytes] = set()
        self._ticks = 0

    def write(self, path: bytes, content: bytes, *, same_mtime: bool = False) -> None:
        old = self.files.get(path)
        self._ticks += 1
        inode = old[1].inode if old else 1000 + self._ticks
        mtime = old[1].mtime_ns if old and same_mtime else self._ticks
        self.files[path] = (content, FileStat(0, inode, len(content), mtime, self._ticks))
        self.touched.add(path)

    def rename(self, old: bytes, new: bytes) -> None:
        content, stat = self.files.pop(old)
        self._ticks += 1
        self.files[new] = (content, stat._replace(ctime_ns=self._ticks))
        self.touched |= {old, new}

    def delete(self, path: bytes) -> None:
        del self.files[path]
        self.touched.add(path)

    def here(self, path: bytes) -> tuple[bytes, FileStat] | None:
        root = next(root for root in ROOTS if path.startswith(root))
        if self.mounted[root] != "yes" or path not in self.files:
            return None
        content, stat = self.files[path]
        return content, stat._replace(device=self.device[root])

    def stat(self, path: bytes) -> FileStat | None:
        found = self.here(path)
        return None if found is None else found[1]

    def is_folder(self, path: bytes) -> bool:
        return any(self.here(file) for file in self.files if file.startswith(path + b"/"))

    def mount_points(self, folder: bytes) -> set[bytes]:
        return set()

    def digest(self, path: bytes) -> bytes | None:
        found = self.here(path)
        return None if found is None else hashlib.sha256(found[0]).digest()

    def volume(self, folder: bytes) -> int | None:
        return None

    def names(self, folder: bytes) -> set[bytes]:
        below = (path for path in self.files if path.startswith(folder + b"/") and self.here(path))
        return {path[len(folder) + 1 :].split(b"/")[0] for path in below}

    def identity(self, path: bytes) -> tuple[int, int] | None:
        root = next((one for one in ROOTS if path == one or path.startswith(one + b"/")), None)
        if root is None:  # a folder that the roots are in
            return 0, 1
        if self.mounted[root] == "gone" or (path != root and not self.is_folder(path)):
            return None
        inode = 2 if path == root else 3
        return (99, 1) if self.mounted[root] == "empty" else (self.device[root], inode)

    def reads(self, path: bytes) -> bool:
        return self.here(path) is not None

    def scan(
        self, root: bytes, *, skip: Sequence[bytes], trouble: Callable[[bytes, str], None]
    ) -> Iterator[tuple[bytes, FileStat]]:
        for path in sorted(self.files):
            if path.startswith(root + b"/") and (stat := self.stat(path)) is not None:
                yield path, stat


class SimulatedDecoder:
    """Reads at once, answers when it is told to: what was read may be old by then."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._answers: list[Callable[[], None]] = []

    def submit(self, path: bytes, done: Callable[[Outcome], None]) -> None:
        outcome = self._claim(path)
        self._answers.append(lambda: done(outcome))

    def answer(self, count: int | None = None) -> None:
        now, self._answers = self._answers[:count], self._answers[len(self._answers[:count]) :]
        for answer in now:
            answer()

    def close(self) -> None: ...

    def _claim(self, path: bytes) -> Outcome:
        found = self._disk.here(path)
        if found is None:
            return Again(path, "it is no longer there")
        content, stat = found
        if content == b"TEXT":
            return Skipped(path, stat, "")
        if content not in IMAGES:
            return Unreadable(path, stat, None, "damaged", empty=not content)
        digest = hashlib.sha256(content).digest()
        pixels = np.full((1, 1, 3), IMAGES.index(content), np.uint8)
        return Decoded(path, stat, digest, 1, 1, "PNG", pixels, None, 0.0)


class ConstantEmbedder:
    """The same vector for everything."""

    recipe = FakeEmbedder(dimensions=4).recipe
    provenance = "constant"

    def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.ones((len(pixels), 4), np.float32)


class NoThread(EmbeddingThread):
    """Embeds in the loop's own thread: schedules are the same every time."""

    def __init__(
        self,
        open_embedder: Callable[[], Embedder],
        done: Callable[[Done], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(open_embedder, done, failed)
        self._embedder = open_embedder()

    def warm(self, *, trial: bool = False) -> None: ...

    def submit(self, batch: Batch) -> None:
        self.in_flight += 1
        self._done(Done(batch, self._embed(batch)))

    def close(self) -> None: ...


class Assigner:
    """Assigns everything to nothing; raises inside the transaction when armed."""

    def __init__(self) -> None:
        self.crash = False

    def prepare(self) -> None:
        pass

    def assign(self, keys: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        if self.crash:
            raise CrashError


class SimulatedClock:
    """Two clocks; only the wall may jump."""

    def __init__(self) -> None:
        self.now = 1e9
        self.wall_offset = 1e9

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_offset


class Life(RuleBasedStateMachine):
    """One collection's life."""

    def __init__(self) -> None:
        super().__init__()
        shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(dir=shared_memory))
        self.path = self.folder / "catalog.sqlite3"
        self.disk = SimulatedDisk()
        self.clock = SimulatedClock()
        self.seen_ids: set[int] = set()
        self.gone_ids: set[int] = set()
        self.removed: dict[bytes, FileStat] = {}
        # Contents that a person took out, each with the images that had it and stayed.
        self.out: dict[bytes, tuple[set[int], int]] = {}
        # Those of them that are away since the last scan, each with files beside it that are not.
        self.unseen: dict[bytes, set[bytes]] = {}
        self.lost: set[bytes] = set()
        self.away: dict[bytes, set[int]] = {}
        self.scans = 0
        self.refused = False

    @initialize(files=st.dictionaries(paths, contents))
    def open(self, files: dict[bytes, bytes]) -> None:
        """A collection that is at rest, with these files."""
        for path, content in files.items():
            self.disk.write(path, content)
        self.restart()
        self.settle()

    def restart(self) -> None:
        """A new process: nothing is left but the catalog file."""
        arm("")
        self.unseen.clear()
        self.catalog = RefusingCatalog(self.path)
        self.reader = sqlite3.connect(self.path)
        with self.catalog.transaction():
            for root in ROOTS:
                self.catalog.roots.put(root, "watched")
        self.decoder = SimulatedDecoder(self.disk)
        self.events = FakeEvents()
        self.assigner = Assigner()

        def events(on_path: Callable[[bytes], None], on_trouble: object) -> FakeEvents:
            self.events.on_path = on_path
            return self.events

        self.ingest = Ingest(
            self.catalog,
            Dependencies(
                decoder=self.decoder,
                open_embedder=ConstantEmbedder,
                assigner=self.assigner,
                after_commit=lambda fresh: None,
                links=lambda: True,
                clusters=lambda *, empty, over: None,
                events=events,
                disk=self.disk,
                clock=self.clock,
            ),
            recipe=ConstantEmbedder.recipe.name,
            settings=Settings(watch=Watch(settle_s=SETTLE_S, rescan_s=RESCAN_S)),
            ours=[],
            emit=self.hear,
        )
        self.ingest.begin(scan=True, watch=True)
        self.refused = False

    def die(self) -> None:
        self.reader.close()
        self.catalog.close()
        self.clock.now -= 1e6  # the monotonic clock begins anew: no moment of before comes again
        self.restart()

    def step(self) -> None:
        """One turn of the loop; a write that is refused is tried again by the next."""
        removed, scanning = self.removed_rows(), self.ingest._scan is not None
        try:
            self.ingest.step(timeout_s=0)
        except StorageError:
            self.refused = True  # what was not written is counted again by the next look
            self.ingest.forget()
        finally:
            self.judge_forgotten(removed - self.removed_rows(), scanning=scanning)
        assert self.ingest._pipeline.decoding >= 0, "an answer of before the refusal was counted"

    def removed_rows(self) -> set[bytes]:
        if not self.removed:
            return set()
        return {
            path for (path,) in self.rows("SELECT path FROM observations WHERE state='removed'")
        }

    def judge_forgotten(self, paths: set[bytes], *, scanning: bool) -> None:
        """A removed file is looked at again when it has changed, or when a scan sees none."""
        for path in paths & self.removed.keys():  # the others are copies of such files
            before, now = self.removed.pop(path), self.disk.stat(path)
            if now is None:
                assert self.disk.mounted[path[:4]] == "yes", f"{path!r} may be there, unseen"
                assert scanning, f"an event alone says that {path!r} is away"
            else:
                assert now[1:] != before[1:], f"{path!r} comes back, the same file"

    def judge_scan(self) -> None:
        """A scan that could see that such a file is away has forgotten it."""
        forgotten = {
            path
            for path, beside in self.unseen.items()
            if path not in self.disk.touched
            and beside - self.disk.touched
            and path[:4] not in self.lost
        }
        assert not forgotten & self.removed_rows(), "a scan missed them, and they stay removed"
        self.disk.touched.clear()
        self.unseen = {
            path: {file for file in self.disk.files if file.startswith(path[:4])}
            for path in self.removed
            if path not in self.disk.files
        }

    def rows(self, sql: str) -> list[Any]:
        return self.reader.execute(sql).fetchall()

    def hear(self, event: Event) -> None:
        """What is said to be in is in the file, as another process reads it."""
        if event.kind in {"ingested", "reused", "replaced", "moved"}:
            # By id: a later outcome of the same commit may have moved the image on.
            assert (event.image,) in self.rows("SELECT id FROM images"), event
        if event.kind == "scanned":
            self.scans += 1
            self.judge_scan()
        if event.kind == "moved" and event.image is not None:
            for kept in self.away.values():  # its row has another path now, and its fate
                kept.discard(event.image)

    def tell(self, times: int, *changed: bytes) -> None:
        for _ in range(times):
            for path in changed:
                self.events.on_path(path)

    # What happens on the disk

    @rule(path=paths, content=contents, times=news, same_mtime=st.booleans())
    def write(self, path: bytes, content: bytes, times: int, same_mtime: bool) -> None:
        if self.writable(path):
            self.disk.write(path, content, same_mtime=same_mtime)
            self.tell(times, path)

    @rule(path=paths, image=st.sampled_from(IMAGES), times=news)
    def write_slowly(self, path: bytes, image: bytes, times: int) -> None:
        """A piece, a pause longer than the settle delay, the rest."""
        if self.writable(path):
            self.disk.write(path, image[:4].replace(b"IMG", b"BAD"))
            self.tell(times, path)
            self.work(SETTLE_S * 1.5)
            self.disk.write(path, image)
            self.tell(times, path)

    @rule(old=paths, new=paths, times=news)
    def rename(self, old: bytes, new: bytes, times: int) -> None:
        if self.disk.here(old) and self.writable(new) and old != new:
            self.disk.rename(old, new)
            self.tell(times, old, new)

    @rule(root=st.sampled_from(ROOTS), to=st.sampled_from((b"/s", b"/t")), times=news)
    def rename_folder(self, root: bytes, to: bytes, times: int) -> None:
        other = b"/t" if to == b"/s" else b"/s"
        if self.disk.mounted[root] != "yes":
            return
        for name in (b"/a", b"/b"):
            if root + other + name in self.disk.files and root + to + name in PATHS:
                self.disk.rename(root + other + name, root + to + name)
        self.tell(times, root + other, root + to + b"/a", root + to + b"/b")

    @rule(path=paths, times=news)
    def delete(self, path: bytes, times: int) -> None:
        if self.disk.here(path):
            self.disk.delete(path)
            self.tell(times, path)

    @rule(root=st.sampled_from(ROOTS), how=st.sampled_from(("gone", "empty")))
    def unmount(self, root: bytes, how: str) -> None:
        if root not in self.away:
            self.away[root] = {
                image.id
                for image in self.catalog.images.all()
                if image.path.startswith(root + b"/")
                and self.is_unchanged(image.path)
                # The id of a provisional image gives way to that of an older one with its content.
                and image.doubt != "provisional"
            }
        self.disk.mounted[root] = how
        self.lost.add(root)
        self.events.lost = True

    @rule(
        root=st.sampled_from(ROOTS), how=st.sampled_from(("gone", "empty")), scans=st.integers(1, 5)
    )
    def lose_for_long(self, root: bytes, how: str, scans: int) -> None:
        """The disk is away for more scans than make a missing image gone."""
        self.unmount(root, how)
        for _ in range(scans):
            self.work(RESCAN_S + 10)

    @rule(
        root=st.sampled_from(ROOTS),
        how=st.sampled_from(("gone", "empty")),
        device=st.integers(1, 3),
    )
    def flicker(self, root: bytes, how: str, device: int) -> None:
        """The disk goes while a scan is at work, and is back before its end, or just after."""
        self.events.lost = True
        self.step()
        self.unmount(root, how)
        self.step()
        self.mount(root, device)
        self.step()

    @rule(path=paths, image=st.sampled_from(IMAGES))
    def overtake(self, path: bytes, image: bytes) -> None:
        """What is read is another file by the time it is committed, and nobody was told."""
        if self.writable(path):
            self.disk.write(path, image)
            self.tell(1, path)
            self.work(0.0)
            self.clock.now += 2 * SETTLE_S
            self.step()
            self.disk.write(path, IMAGES[(IMAGES.index(image) + 1) % len(IMAGES)])
            self.tell(1, path)
            self.step()
            self.decoder.answer()
            self.step()

    @rule()
    def overflow_is_scanned(self) -> None:
        """Lost events are looked for at once, and not at the next rescan."""
        before = self.scans
        self.scan()
        assert self.scans > before, "an overflow led to no scan"

    def scan(self) -> None:
        """Time for a whole scan after an overflow, and for nothing else."""
        self.events.lost = True
        for _ in range(40):
            self.clock.now += 0.01
            self.step()

    def is_unchanged(self, path: bytes) -> bool:
        """The catalog knows the file as it is."""
        known, stat = self.catalog.observations.at(path), self.disk.stat(path)
        return (
            known is not None
            and known.state in {"done", "missing"}
            and stat is not None
            and known.stat[1:] == stat[1:]
        )

    @rule(root=st.sampled_from(ROOTS), device=st.integers(1, 3))
    def mount(self, root: bytes, device: int) -> None:
        if self.disk.mounted[root] != "yes":
            self.away.pop(root, None)
            self.disk.mounted[root] = "yes"
            self.disk.device[root] = device

    def writable(self, path: bytes) -> bool:
        return self.disk.mounted[path[:4]] == "yes"

    # What happens to the process

    @rule(seconds=st.sampled_from((0.0, 0.4, 1.1, 6.0, 30.0, 70.0)))
    def work(self, seconds: float) -> None:
        for _ in range(3):
            self.clock.now += seconds / 3
            self.step()
            self.decoder.answer()

    @rule()
    def work_on(self) -> None:
        """Long enough for what was written to settle and be committed."""
        for _ in range(3):
            self.work(1.5)

    @rule(count=st.integers(0, 3))
    def answer_few(self, count: int) -> None:
        self.clock.now += 1.1
        self.step()
        self.decoder.answer(count)
        self.step()

    @rule()
    def overflow(self) -> None:
        self.events.lost = True

    @rule(seconds=st.sampled_from((-1e8, -40.0, 40.0, 1e8)))
    def jump(self, seconds: float) -> None:
        self.clock.wall_offset += seconds

    @rule(where=st.sampled_from(("now", "commit.before", "commit.after", "inside", "scan.missed")))
    def crash(self, where: str) -> None:
        if where == "inside":
            self.assigner.crash = True
        elif where != "now":
            arm(f"{where}=eio@1")
        try:
            if where != "now":
                self.work(1.1)
                self.work(1.1)
        except (CrashError, OSError):
            pass
        self.die()

    @rule(path=paths, image=st.sampled_from(IMAGES), times=st.integers(1, 2))
    def crash_while_it_waits(self, path: bytes, image: bytes, times: int) -> None:
        """The file is seen, and not read before the end."""
        if self.writable(path):
            self.disk.write(path, image)
            self.tell(times, path)
            self.work(0.0)
            self.die()

    @rule(
        pattern=st.lists(st.booleans(), min_size=1, max_size=6),
        seconds=st.sampled_from((0.0, 1.1, 30.0)),
    )
    def refuse(self, pattern: list[bool], seconds: float) -> None:
        """The disk takes some of the next writes, and refuses the others."""
        writes = iter(pattern)
        self.catalog.allows = lambda: next(writes, True)
        for _ in range(3):
            self.work(seconds)
        self.catalog.allows = lambda: True

    # What people do

    @precondition(lambda self: self.catalog.images.missing())
    @rule()
    def accept(self) -> None:
        here: Any = SimpleNamespace(catalog=self.catalog)
        self.away = {root: set() for root in self.away}
        images_module.take_out_missing(cast(Context, here))

    @rule(path=paths)
    def remove(self, path: bytes) -> None:
        stat = self.disk.stat(path)
        image = self.catalog.images.at(path)
        if stat is None or image is None or image.state != "present":
            return
        known = self.catalog.observations.at(path)
        if known is not None and known.state == "done" and known.stat[1:] == stat[1:]:
            here = cast(Context, SimpleNamespace(catalog=self.catalog))
            images_module.take_out(
                here, images_module.chosen(here, [os.fsdecode(path)]), copies=False
            )
            self.removed[path] = stat
            stay = {one.id for one in self.catalog.images.with_content(image.content)}
            newest = max(self.rows("SELECT max(id) FROM images")[0][0] or 0, image.id)
            self.out[self.digest_of(image.content)] = (stay, newest)
            for kept in self.away.values():
                kept.discard(image.id)

    @precondition(lambda self: self.catalog.images.count())
    @rule(
        number=st.integers(0, 5),
        other=paths,
        times=news,
        how=st.sampled_from(("no", "step", "scan")),
    )
    def remove_and_move_away(self, number: int, other: bytes, times: int, how: str) -> None:
        """A person removes an image; its file goes away, and comes back under its name."""
        known = [image.path for image in self.catalog.images.all()]
        path = known[number % len(known)]
        self.remove(path)
        if path not in self.removed or not self.writable(other) or other == path:
            return
        self.disk.rename(path, other)
        self.tell(times, path, other)
        if how == "step":
            self.work(0.0)
        elif how == "scan":
            self.scan()
            self.scan()
        if self.writable(path) and self.disk.here(other):
            self.disk.rename(other, path)
            self.tell(times, other, path)
            self.work_on()

    def digest_of(self, key: int) -> bytes:
        digests = [hashlib.sha256(image).digest() for image in IMAGES]
        return next(digest for digest in digests if key_of(digest) == key)

    # What must always hold

    def judge_counts(self, *, settled: bool) -> None:
        """Each file is counted once; what waits in the catalog is what is said to wait."""
        found = self.ingest.result()
        words = [found.ingested, found.reused, found.unchanged, found.skipped]
        words += [found.quarantined, found.removed, found.pending]
        assert sum(words) == found.seen
        assert min(words) >= 0
        assert sum(found.suffixes.values()) == found.skipped
        if not self.refused:
            waiting = self.rows("SELECT count(*) FROM observations WHERE state = 'seen'")
            assert [(found.pending,)] == waiting
        if settled:
            # An empty root on another device may be a mount point: what is known there stays.
            known = {path for (path,) in self.rows("SELECT path FROM observations")}
            aside = {
                path
                for path in known - self.disk.files.keys()
                if not any(file.startswith(path[:4]) for file in self.disk.files)
            }
            assert found.pending == 0
            assert len(self.disk.files) <= found.seen <= len(self.disk.files) + len(aside)

    @invariant()
    def the_words_add_up(self) -> None:
        self.judge_counts(settled=False)

    @invariant()
    def what_was_taken_out_stays_out(self) -> None:
        """No more images have the content than had it when it was taken out, and none is newer.

        Their ids may be others: that of a provisional image gives way to an older one's.
        """
        having: dict[bytes, set[int]] = {}
        for number, sha256 in self.rows(
            "SELECT id, sha256 FROM images JOIN contents ON content = key"
        ):
            having.setdefault(sha256, set()).add(number)
        for sha256, (stay, newest) in self.out.items():
            ids = having.get(sha256, set())
            came_in = len(ids) > len(stay) or max(ids, default=0) > newest
            assert not came_in, "a content that was taken out came in again"

    @invariant()
    def rows_agree(self) -> None:
        images = self.rows("SELECT id, path, content FROM images")
        assert len({path for _, path, _ in images}) == len(images)
        keys = {key for (key,) in self.rows("SELECT key FROM contents")}
        assert {content for _, _, content in images} == keys
        assert {key for (key,) in self.rows("SELECT content FROM embeddings")} == keys
        assert self.rows("SELECT 1 FROM assignments") == []
        ids = {number for number, _, _ in images}
        assert not ids & self.gone_ids, "an id was used again"
        self.gone_ids |= self.seen_ids - ids
        self.seen_ids |= ids
        live: dict[int, str] = {}
        for content, action in self.rows("SELECT content, action FROM changes ORDER BY sequence"):
            live[content] = action
        assert {content for content, action in live.items() if action == "add"} == keys

    @invariant()
    def nothing_of_a_lost_root_is_removed(self) -> None:
        ids = {number for (number,) in self.rows("SELECT id FROM images")}
        for root, kept in self.away.items():
            assert kept <= ids, f"images of {root!r} were removed while it was away"

    def teardown(self) -> None:
        try:
            for root in ROOTS:
                self.mount(root, 7)
            for _ in range(5):
                self.settle()
            if any(root.held for root in self.catalog.roots.all()):
                self.accept()
                self.settle()
            self.rows_agree()
            self.everything_is_in()
            self.judge_counts(settled=True)
        finally:
            arm("")
            self.reader.close()
            self.catalog.close()
            shutil.rmtree(self.folder)

    def settle(self) -> None:
        """A full scan, and time enough for every retry."""
        self.clock.now += RESCAN_S + 1
        for _ in range(60):
            self.clock.now += 3.0
            self.step()
            self.decoder.answer()
            if self.ingest.idle:
                return
        raise AssertionError("the ingest never comes to rest")

    def everything_is_in(self) -> None:
        images = dict(self.rows("SELECT path, sha256 FROM images JOIN contents ON content = key"))
        states = dict(self.rows("SELECT path, state FROM observations"))
        quarantine = {path for (path,) in self.rows("SELECT path FROM quarantine")}
        for path, (content, stat) in self.disk.files.items():
            removed = self.removed.get(path)
            if removed is not None and removed[1:] == stat[1:]:
                assert (states[path], path in images) == ("removed", False)
            elif hashlib.sha256(content).digest() in self.out and path not in images:
                assert (states[path], path in quarantine) == ("removed", False)
            elif content in IMAGES:
                assert images.get(path) == hashlib.sha256(content).digest()
                assert (states[path], path in quarantine) == ("done", False)
            elif content == b"TEXT":
                assert (states[path], path in images, path in quarantine) == (
                    "skipped",
                    False,
                    False,
                )
            else:
                assert (states[path], path in images, path in quarantine) == (
                    "quarantined",
                    False,
                    True,
                )
        assert images.keys() <= self.disk.files.keys()
        away = self.rows("SELECT path FROM images WHERE state <> 'present' OR misses <> 0")
        assert away == []
        # An empty root on another device may be a mount point: what is set aside there stays.
        for path in (states.keys() | quarantine) - self.disk.files.keys():
            assert not any(file.startswith(path[:4]) for file in self.disk.files), path
        assert self.disk.files.keys() <= states.keys()


def live(schedules: int, steps: int) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=schedules,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=True,
            derandomize=True,  # the same schedules everywhere; scripts/torture looks for new ones
        ),
    )


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "EmbeddingThread", NoThread)
    monkeypatch.setattr(root_scan, "_ROWS", 2)  # so that much happens between two parts of a scan


def test_schedules() -> None:
    live(80, 30)


@pytest.mark.slow
def test_thousands_of_schedules() -> None:
    live(1500, 40)
