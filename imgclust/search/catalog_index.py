"""The live index: FAISS over the catalog, kept up to date with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.integrity import must_be_numbers
from imgclust.errors import IndexFileError, StorageError
from imgclust.failpoints import passing
from imgclust.index.index_file import set_aside
from imgclust.index.vector_index import VectorIndex

_log = logging.getLogger(__name__)

# Changes replayed at a time: 4 MiB of embeddings.
_CHUNK = 1000


class CatalogIndex:
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
    mapped
        Leave the vectors in the file: for who only searches.
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
        mapped: bool = False,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self._catalog = catalog
        self._path = path
        self._recipe = recipe
        self._saver: threading.Thread | None = None
        self._saved: int | None = None
        self._saving: int | None = None
        # Held while the index is brought up to date, and to enter `searched`.
        self._turn = threading.Lock()
        self._left = threading.Condition()
        self._searching = 0
        try:
            self.index, self.sequence = VectorIndex.load(
                path,
                recipe=recipe,
                dimensions=dimensions,
                device=device,
                verify=verify,
                mapped=mapped,
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
        contents = self._catalog.contents
        for keys, vectors in contents.embedding_parts(
            contents.embedded(self._recipe), self._recipe
        ):
            must_be_numbers(self._catalog, keys, vectors)
            self.index.add(keys, vectors)
        self.sequence = sequence

    @contextmanager
    def searched(self) -> Iterator[None]:
        """Up to date with the catalog, and unchanged until the block ends; for several threads.

        A block must not be entered within another one.
        """
        with self._turn:
            if self._catalog.contents.sequence() > self.sequence:
                with self._left:
                    self._left.wait_for(lambda: self._searching == 0)
                self.top_up()
            with self._left:
                self._searching += 1
        try:
            yield
        finally:
            with self._left:
                self._searching -= 1
                self._left.notify_all()

    def top_up(self) -> int:
        """Replay the catalog's changes; returns how many there were."""
        replayed = 0
        while changes := self._catalog.contents.changes_after(self.sequence, _CHUNK):
            last = {content: action for _, content, action in changes}
            added = [content for content, action in last.items() if action == "add"]
            removed = [content for content, action in last.items() if action == "remove"]
            # A content that a later change has removed, or that another recipe embeds, has none.
            with self._catalog.snapshot():  # nor does a content leave between these two
                added = [
                    key for key in added if self._catalog.contents.has_embedding(key, self._recipe)
                ]
                vectors = self._catalog.contents.embeddings(added, self._recipe)
            passing("index.add.before")
            if removed:
                self.index.remove(np.array(removed, np.int64))
            if added:
                must_be_numbers(self._catalog, np.array(added, np.int64), vectors)
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
