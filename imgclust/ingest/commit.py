"""The commit: what was read and embedded becomes rows, all of a batch or none of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import Content, key_of
from imgclust.catalog.details import Details
from imgclust.catalog.images import Image
from imgclust.catalog.observations import Observation
from imgclust.config import Watch
from imgclust.errors import CollisionError
from imgclust.failpoints import passing
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Again, Decoded, Died, Outcome, ReadFailed, Skipped
from imgclust.ingest.backoff import ReadBackoff
from imgclust.ingest.environment import Clock, Disk, Scope
from imgclust.ingest.events import Counts, Emit, Event
from imgclust.ingest.faults import UnreadFiles, is_unexpected
from imgclust.ingest.mounts import held_sentence
from imgclust.ingest.rows import Change, Removal, Rows
from imgclust.reconcile import OTHER_DISK, Fate, Verdict, judge
from imgclust.wording import counted, printable

Vectors = npt.NDArray[np.float32]


class Assigner(Protocol):
    """Puts new embeddings into the current clustering, which it reads inside the commit.

    `prepare` reads before it what may take long; `assign` returns what is to be said.
    """

    def prepare(self) -> None: ...

    def assign(self, keys: Sequence[int], vectors: Vectors) -> Sequence[str] | None: ...


@dataclass(frozen=True)
class Embedded:
    """New embeddings by content key, and what computed them."""

    vectors: Mapping[int, Vectors] = field(default_factory=dict)
    provenance: str = ""


class _UndoneError(Exception):
    """Ends a transaction that is not to last."""


class Committer:
    """Turns outcomes into rows; `disks` knows which of the disks cannot be read."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        recipe: str,
        rules: Watch,
        disk: Disk,
        clock: Clock,
        assigner: Assigner,
        counts: Counts,
        emit: Emit,
        rows: Rows | None = None,
    ) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._rules = rules
        self._clock = clock
        self._assigner = assigner
        self._notes: Sequence[str] = ()
        self._counts = counts
        self._emit = emit
        self._rows = rows or Rows(catalog, disk, clock)
        self._removal = Removal(catalog, disk, self._rows)
        self._unread = UnreadFiles(catalog, disk)
        self.disks = ReadBackoff(catalog, disk=disk, clock=clock, emit=emit)

    def write(
        self,
        outcomes: Sequence[Outcome],
        embedded: Embedded,
        scope: Scope,
        *,
        scanning: bool = False,
    ) -> bool:
        """Commit the outcomes in one durable transaction; only then count and say them.

        Returns whether a path has come to rest. `scanning`: a scan is on.

        Raises
        ------
        StorageError
            When the disk refuses; nothing was written, and the paths stay to be read again.
        """
        passing("commit.before")
        if embedded.vectors:
            self._assigner.prepare()
        self._unread.read(outcomes)
        self._rows.begin(scanning=scanning)
        try:
            with self._catalog.transaction():
                said = self._put(outcomes, embedded, scope)
                changes = self._rows.changes + ([] if scanning else self._rows.settle())
                self._note_swapped()
                lost = self._catalog.images.some([image.id for image in self._rows.lost])
        except BaseException:
            self._rows.forget()
            raise
        passing("commit.after")
        said, others = _changed(said, changes)
        self._say_changes(others, [image for image in lost.values() if image.state == "missing"])
        current = self._catalog.clusterings.current_id()
        clusters: Mapping[int, int] = {}
        names: Mapping[int, str] = {}
        if current is not None:
            contents = {content for _, content in said if content is not None}
            clusters = self._catalog.assignments.clusters_of(current, contents)
            names = self._catalog.clusterings.names() if clusters else {}
        for event, content in said:
            self._count(event)
            if content is not None and content in clusters:
                cluster = clusters[content]
                event = replace(event, cluster=cluster, cluster_name=names.get(cluster))
            self._emit(event)
        for note in self._notes:
            self._emit(Event("note", note))
        self._count_touched()
        return bool(said)

    def works(self, scope: Scope, *, but: Collection[bytes]) -> bool | None:
        """Whether the newest image, at none of the paths `but`, could be written again.

        None when there is none. It is tried in a transaction that is undone.
        """
        image = next(
            (
                image
                for root in scope.roots
                for path in self._catalog.images.newest_of_root(root.id, 1 + len(but), but=b"")
                if path not in but and (image := self._catalog.images.at(path)) is not None
                if self._catalog.contents.has_embedding(image.content, self._recipe)
            ),
            None,
        )
        content = None if image is None else self._catalog.contents.get(image.content)
        known = None if image is None else self._catalog.observations.at(image.path)
        if image is None or content is None or known is None:
            return None
        vector = self._catalog.contents.embeddings([content.key], self._recipe)[0]
        shape = (content.width, content.height, content.format)
        nothing = np.empty((0, 0, 3), np.uint8)
        again = Decoded(
            image.path, FileStat(*known.stat), content.sha256, *shape, nothing, None, 0.0
        )
        self._rows.begin(scanning=False)
        try:
            with self._catalog.transaction():
                self._catalog.remove_image(image)
                self._catalog.observations.see(image.path, image.root, known.stat, due=0.0)
                self._put([again], Embedded({content.key: vector}), scope)
                raise _UndoneError
        except _UndoneError:
            return True
        except BaseException as error:
            if not is_unexpected(error):
                raise
            return False
        finally:
            self._rows.forget()

    def _put(
        self, outcomes: Sequence[Outcome], embedded: Embedded, scope: Scope
    ) -> list[tuple[Event, int | None]]:
        """Write the outcomes; returns what is to be said, each with its content."""
        said: list[tuple[Event, int | None]] = []
        self._notes = ()
        fresh: dict[int, Vectors] = {}
        new = self._write_new(outcomes, embedded, fresh, scope)
        for outcome in outcomes:
            event, content = new.get(outcome.path) or self._one(outcome, embedded, fresh, scope)
            if event is not None:
                said.append((event, content))
        if fresh:
            assigned = self._assigner.assign(list(fresh), np.stack(list(fresh.values())))
            self._notes = assigned or ()
        return said

    def settle(self, *, scanning: bool) -> bool:
        """Decide about rows in doubt, when no scan is on; False when none is left."""
        if not self._rows.unsettled():
            return False
        if not scanning:
            self._rows.begin(scanning=False)
            with self._catalog.transaction():
                changes = self._rows.settle()
                self._note_swapped()
            self._say_changes(changes, [])
        return True

    def _note_swapped(self) -> None:
        for folder, count in self._rows.swapped.items():
            sentence = held_sentence(OTHER_DISK, count)
            self._catalog.event("held", f"{printable(folder)}: {sentence}")

    def _say_changes(self, changes: Sequence[Change], lost: Sequence[Image]) -> None:
        for folder, count in self._rows.swapped.items():
            self._emit(Event("held", held_sentence(OTHER_DISK, count), folder))
        for image in lost:
            self._counts.absent.add(image.id)
            self._emit(Event("missing", "not there any more", image.path, image.id))
        for one in changes:
            self._counts.absent.discard(one.image)
            self._emit(Event(one.kind, _SENTENCES[one.kind], one.path, one.image))
        for path, number, ends in self._rows.uncorrected:
            what = f"{counted(number, 'correction')} of the old content"
            end = "ends" if number == 1 else "end"
            fate = end if ends else "stays with its copies" if number == 1 else "stay with copies"
            self._emit(Event("note", f"replaced by other content; {what} {fate}", path))

    def _write_new(
        self,
        outcomes: Sequence[Outcome],
        embedded: Embedded,
        fresh: dict[int, Vectors],
        scope: Scope,
    ) -> dict[bytes, tuple[Event, int]]:
        """Write the images that are new in every respect, all at once, and say so by path.

        Nothing in the catalog, and no other outcome of the batch, has their path or content: so
        nothing that `_one` does concerns them, and a burst of them costs a few statements.
        """
        paths = Counter(outcome.path for outcome in outcomes)
        decoded = [one for one in outcomes if isinstance(one, Decoded) and paths[one.path] == 1]
        keys = Counter(key_of(one.sha256) for one in decoded)
        alone = [(key_of(one.sha256), one) for one in decoded]
        alone = [(key, one) for key, one in alone if keys[key] == 1 and key in embedded.vectors]
        if not alone:
            return {}
        stored = self._catalog.contents.known(key for key, _ in alone)
        occupied = self._catalog.images.occupied(one.path for _, one in alone)
        known = self._catalog.observations.among(one.path for _, one in alone)
        out = self._catalog.removals.among(one.sha256 for _, one in alone)
        chosen = [
            (key, one, known[one.path])
            for key, one in alone
            if key not in stored
            and one.sha256 not in out
            and one.path in known
            and one.path not in occupied
            and self._judge(known[one.path], one, scope).fate is Fate.COMMIT
        ]
        fresh.update((key, embedded.vectors[key]) for key, _, _ in chosen)
        self._catalog.contents.put_embedded(
            [(_content(one, key), fresh[key]) for key, one, _ in chosen],
            self._recipe,
            embedded.provenance,
        )
        self._catalog.details.put((key, _details(one)) for key, one, _ in chosen)
        images = self._catalog.images.insert_all(
            [(one.path, seen.root, key) for key, one, seen in chosen],
            inodes=[0 if seen.root in scope.network else one.stat.inode for _, one, seen in chosen],
        )
        self._catalog.observations.done([one.path for _, one, _ in chosen])
        self._catalog.ledger.queue_links(images)
        return {
            one.path: (Event("ingested", _SENTENCES["ingested"], one.path, image), key)
            for (key, one, _), image in zip(chosen, images, strict=True)
        }

    def _judge(self, known: Observation | None, outcome: Outcome, scope: Scope) -> Verdict:
        return judge(
            known,
            outcome,
            wall=self._clock.wall(),
            settle_s=scope.settle_s(0 if known is None else known.root),
            young_s=self._rules.young_s,
            retry_s=self._rules.retry_s,
            network=known is not None and known.root in scope.network,
            disk_works=self.disks.works(known, outcome),
        )

    def _one(
        self,
        outcome: Outcome,
        embedded: Embedded,
        fresh: dict[int, Vectors],
        scope: Scope,
    ) -> tuple[Event | None, int | None]:
        known = self._catalog.observations.at(outcome.path)
        verdict = self._judge(known, outcome, scope)
        observations = self._catalog.observations
        now = self._clock.monotonic()
        path = outcome.path
        if known is None or verdict.fate is Fate.DROP:
            return None, None
        if verdict.fate is Fate.SEE:
            assert not isinstance(outcome, Again | Died | ReadFailed)
            observations.see(path, known.root, outcome.stat, due=now + verdict.delay_s)
            return None, None
        if verdict.fate is Fate.WAIT:
            assert isinstance(outcome, ReadFailed)
            self.disks.wait(known.root, outcome.reason)
            return None, None
        if verdict.fate is Fate.AGAIN:
            observations.again(
                path, due=now + verdict.delay_s, tries=verdict.tries, deaths=verdict.deaths
            )
            return None, None
        if verdict.fate is Fate.COMMIT:
            assert isinstance(outcome, Decoded)
            return self._image(known, outcome, embedded, fresh, scope)
        kept = self._unread.image_of(outcome)
        if kept is not None:
            reason = verdict.reason or "it is not recognised as a picture now"
            self._catalog.images.found(kept.image.id)
            observations.release(path)
            observations.settle(path, "done")
            if kept.again:
                observations.distrust(path)
            kind = "trouble" if self._unread.is_news(path, reason) else "kept"
            return Event(kind, f"{reason}; its image stays", path), None
        self._rows.leave(path)
        if verdict.fate is Fate.SKIP:
            assert isinstance(outcome, Skipped)
            observations.release(path)
            observations.settle(path, "skipped", suffix=outcome.suffix)
            what = f"no image ({outcome.suffix or 'no suffix'})"
            return Event("skipped", RAW_HINT if outcome.raw else what, path), None
        observations.quarantine(path, verdict.reason, tries=verdict.tries)
        return Event("quarantined", verdict.reason, path), None

    def _image(
        self,
        known: Observation,
        decoded: Decoded,
        embedded: Embedded,
        fresh: dict[int, Vectors],
        scope: Scope,
    ) -> tuple[Event | None, int | None]:
        key = key_of(decoded.sha256)
        if self._removal.stays_out(known, decoded, scope):
            self._removal.keep_out(known, decoded)
            return Event("removed", _SENTENCES["removed"], known.path), None
        try:
            content = self._catalog.contents.with_sha256(decoded.sha256)
        except CollisionError as error:
            self._rows.leave(known.path)
            self._catalog.observations.quarantine(known.path, str(error), tries=1)
            return Event("quarantined", str(error), known.path), None
        embedded_now = False
        if content is None or not self._catalog.contents.has_embedding(key, self._recipe):
            vector = embedded.vectors.get(key)
            if vector is None:  # its last image left while this one was on its way: read it again
                return None, None
            if content is None:
                self._catalog.contents.put(_content(decoded, key))
            self._catalog.contents.put_embedding(key, self._recipe, vector, embedded.provenance)
            fresh[key] = vector
            embedded_now = True
        self._catalog.details.put([(key, _details(decoded))])
        taken = self._rows.take(known, key, decoded, scope)
        if taken is None:
            return None, None
        kind, image = taken
        self._catalog.observations.release(known.path)
        self._catalog.observations.settle(known.path, "done")
        self._catalog.ledger.queue_links([image])
        if kind in {"new", "touched"} and embedded_now:
            kind = "ingested"
        elif kind in {"new", "replaced"} and not embedded_now:
            kind = "reused"
        return Event(kind, _SENTENCES[kind], known.path, image), key

    def _count_touched(self) -> None:
        """Count the paths that other files' arrivals have changed: as the catalog has them now."""
        for path in self._rows.touched:
            known = self._catalog.observations.at(path)
            if known is None or known.state == "missing":
                self._counts.leave(path)
            elif known.state == "seen":
                self._counts.wait(path)

    def _count(self, event: Event) -> None:
        if event.image is not None:
            self._counts.absent.discard(event.image)
        if event.path is None:
            return
        if event.kind == "touched":
            self._counts.rest(event.path, "reused")
        elif event.kind in {"trouble", "kept"}:
            self._counts.rest(event.path, "unchanged")
        elif event.kind in _WORDS:
            self._counts.put(event.path, _WORDS[event.kind])


def _changed(
    said: list[tuple[Event, int | None]], changes: Sequence[Change]
) -> tuple[list[tuple[Event, int | None]], list[Change]]:
    """What is to be said of paths whose row changed in the same commit; and the other changes."""
    last = {change.path: change for change in changes}
    corrected = []
    for event, content in said:
        change = None if event.path is None else last.pop(event.path, None)
        if change is not None:
            is_copy = change.kind == "replaced" and event.kind != "ingested"
            kind = "reused" if is_copy else change.kind
            event = replace(event, kind=kind, sentence=_SENTENCES[kind], image=change.image)
        corrected.append((event, content))
    return corrected, list(last.values())


RAW_HINT = 'a RAW file; pip install "imgclust[raw]" installs what reads it'
# What a file is counted as after an event.
_WORDS = {
    "ingested": "ingested",
    "replaced": "ingested",
    "reused": "reused",
    "moved": "reused",
    "skipped": "skipped",
    "quarantined": "quarantined",
    "removed": "removed",
}
_SENTENCES = {
    "ingested": "embedded",
    "reused": "same content as another image",
    "moved": "moved",
    "touched": "touched, content unchanged",
    "replaced": "replaced by other content",
    "removed": "stays out: its content was taken out with imgclust remove",
}


def _details(decoded: Decoded) -> Details:
    return Details(decoded.origin.taken, decoded.origin.camera, decoded.damage)


def _content(decoded: Decoded, key: int) -> Content:
    return Content(
        key=key,
        sha256=decoded.sha256,
        bytes=decoded.stat.size,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        decode_s=decoded.decode_s,
    )
