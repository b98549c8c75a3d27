"""Search: the live index over the catalog, and queries by image, id or file."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Catalog
from imgclust.errors import ImgclustError, IndexFileError, NothingThereError, StorageError
from imgclust.failpoints import passing
from imgclust.index import VectorIndex, set_aside

_log = logging.getLogger(__name__)

# Changes replayed at a time: 4 MiB of embeddings.
_CHUNK = 1000
_HASH_BYTES = 1 << 20


class LiveIndex:
    """The FAISS index of a collection, kept equal to the catalog.

    Loaded from its file where that agrees with the catalog, else rebuilt; topped up by replaying
    the changes after its sequence. Only the holder of the ingest lock saves it.

    Parameters
    ----------
    path
        The index file.
    aside
        Folder for files that disagree.
    verify
        Check every block of the file (the watcher at its start does).
    say
        Gets one line when the file was set aside.
    """

    def __init__(
        self,
        catalog: Catalog,
        path: Path,
        *,
        recipe: str,
        dimensions: int,
        aside: Path,
        device: str = "cpu",
        verify: bool = False,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self._catalog = catalog
        self._path = path
        self._recipe = recipe
        self._saver: threading.Thread | None = None
        self._saved: int | None = None
        self._saving: int | None = None
        try:
            self.index, self.sequence = VectorIndex.load(
                path, recipe=recipe, dimensions=dimensions, device=device, verify=verify
            )
            if self.sequence > catalog.contents.sequence():
                raise IndexFileError("the index file is ahead of the catalog")
            self._saved = self.sequence
        except FileNotFoundError:
            self.index, self.sequence = VectorIndex(dimensions, device=device), 0
        except IndexFileError as error:
            say(f"{error}; it was set aside and the index is made again from the catalog")
            try:
                set_aside(path, aside)
            except OSError as refused:
                _log.warning("the index file cannot be set aside: %s", refused)
            self.index, self.sequence = VectorIndex(dimensions, device=device), 0
        if self.sequence == 0:
            self._rebuild()
        self.top_up()

    def _rebuild(self) -> None:
        sequence = self._catalog.contents.sequence()
        keys, vectors = self._catalog.contents.all_embeddings(self._recipe)
        for start in range(0, len(keys), _CHUNK):
            self.index.add(keys[start : start + _CHUNK], vectors[start : start + _CHUNK])
        self.sequence = sequence

    def top_up(self) -> int:
        """Replay the catalog's changes; returns how many there were."""
        replayed = 0
        while changes := self._catalog.contents.changes_after(self.sequence, _CHUNK):
            last = {content: action for _, content, action in changes}
            added = [content for content, action in last.items() if action == "add"]
            removed = [content for content, action in last.items() if action == "remove"]
            # A content that a later change has removed, or that another recipe embeds, has none.
            added = [
                key for key in added if self._catalog.contents.has_embedding(key, self._recipe)
            ]
            passing("index.add.before")
            if removed:
                self.index.remove(np.array(removed, np.int64))
            if added:
                vectors = self._catalog.contents.embeddings(added, self._recipe)
                self.index.add(np.array(added, np.int64), vectors)
            passing("index.add.after")
            self.sequence = changes[-1][0]
            replayed += len(changes)
        return replayed

    def save_when_due(self, *, least: int, share: float) -> None:
        """Write the file in the background when enough has changed since it was last written."""
        if self._saver is not None and self._saver.is_alive():
            return
        self._note_saved()
        unsaved = self.sequence - (self._saved or 0)
        if unsaved > max(least, share * len(self.index)):
            self._saving = self.sequence
            self._saver = threading.Thread(target=self._save, args=(self.sequence,))
            self._saver.start()

    def close(self, *, save: bool) -> None:
        """Wait for a write in progress; `save` writes what is unsaved."""
        if self._saver is not None:
            self._saver.join()
            self._note_saved()
        if save and self.sequence != self._saved:
            self._save(self.sequence)

    def _note_saved(self) -> None:
        if self._saving is not None:
            self._saved, self._saving = self._saving, None

    def _save(self, sequence: int) -> None:
        try:
            self.index.save(self._path, recipe=self._recipe, sequence=sequence)
        except (StorageError, OSError) as error:  # a cache: the next time will do
            _log.warning("the index file cannot be written now: %s", error)


@dataclass(frozen=True)
class Neighbour:
    """A similar image; `score` is the cosine similarity."""

    id: int
    path: bytes
    score: float
    cluster: int | None


@dataclass(frozen=True)
class QueryResult:
    """Most similar images first; the queried one first of all when it is in the collection."""

    query: str
    image: int | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Subject:
    """What is searched for: an embedding `(d,)`, and the content that it is of, if known."""

    vector: npt.NDArray[np.float32]
    content: int | None
    image: int | None


def known_subject(catalog: Catalog, recipe: str, what: str) -> Subject | None:
    """The subject when the collection knows it: by id, by path, or by its bytes.

    Raises
    ------
    NothingThereError
        For an id that no image has.
    """
    if what.isdecimal():
        image = catalog.images.get(int(what)) if len(what) < 19 else None  # SQLite has 64 bits
        if image is None:
            raise NothingThereError(f"no image has the id {what}; a file of that name is ./{what}")
        return _subject(catalog, recipe, image.content, image.id)
    path = os.fsencode(os.path.abspath(what))
    for spelling in dict.fromkeys((path, os.path.realpath(path))):
        image = catalog.images.at(spelling)
        observation = catalog.observations.at(spelling)
        if image is None or observation is None:
            continue
        try:
            found = os.stat(spelling)
        except OSError:
            return _subject(catalog, recipe, image.content, image.id)
        if (found.st_size, found.st_mtime_ns) == observation.stat[2:4]:
            return _subject(catalog, recipe, image.content, image.id)
    content = catalog.contents.with_sha256(_sha256(path))
    if content is None or not catalog.contents.has_embedding(content.key, recipe):
        return None
    return _subject(catalog, recipe, content.key, None)


def neighbours(
    catalog: Catalog,
    live: LiveIndex,
    subject: Subject,
    *,
    what: str,
    n: int,
    min_score: float | None,
) -> QueryResult:
    """The `n` most similar images: one row per image, the queried one first, ties by id."""
    live.top_up()
    current = catalog.clusterings.current_id()
    rows: list[tuple[float, int, bytes, int]] = []
    own: list[tuple[float, int, bytes, int]] = []
    itself = None if subject.image is None else catalog.images.get(subject.image)
    if itself is not None:  # always first, also among copies that look just the same
        own = [(1.0, itself.id, itself.path, itself.content)]
    wanted = n + 1
    while True:
        found = live.index.search(subject.vector[None, :], min(wanted, len(live.index)))
        rows = [
            *own,
            *(
                (float(score), image.id, image.path, int(key))
                for score, key in zip(found.scores[0], found.keys[0], strict=True)
                if key >= 0
                for image in catalog.images.with_content(int(key))
                if image.id != subject.image
            ),
        ]
        if len(rows) >= n or wanted >= len(live.index):
            break
        wanted *= 2
    rows.sort(key=lambda row: (row[1] != subject.image, -row[0], row[1]))
    return QueryResult(
        query=what,
        image=subject.image,
        neighbours=tuple(
            Neighbour(
                id=image,
                path=path,
                score=min(score, 1.0),
                cluster=None if current is None else catalog.clusterings.cluster_of(current, key),
            )
            for score, image, path, key in rows[:n]
            if min_score is None or score >= min_score
        ),
    )


def _subject(catalog: Catalog, recipe: str, content: int, image: int | None) -> Subject:
    try:
        return Subject(catalog.contents.embeddings([content], recipe)[0], content, image)
    except KeyError:
        raise ImgclustError("this image has no embedding by the collection's recipe") from None


def _sha256(path: bytes) -> bytes:
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_HASH_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        raise NothingThereError(f"there is no file {os.fsdecode(path)}") from None
    except OSError as error:
        raise ImgclustError(f"{os.fsdecode(path)} cannot be read: {error.strerror}") from None
    return digest.digest()
