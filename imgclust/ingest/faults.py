"""Files that fail: images whose file cannot be read now stay, and a fault costs its file alone.

The last resort is here too: an exception that nobody has foreseen ends no watcher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.images import Image
from imgclust.errors import ClusteringError, EmbeddingError, ImgclustError
from imgclust.images.filestat import NO_STAT, FileStat
from imgclust.images.reader import NO_PERMISSION, Died, Outcome, ReadFailed, Skipped, Unreadable
from imgclust.ingest.events import Counts, Emit, Event
from imgclust.reconcile import MAX_DEATHS

if TYPE_CHECKING:
    from imgclust.ingest.environment import Disk


@dataclass(frozen=True)
class KeptImage:
    """An image that stays; `again` says that its file is to be read again, as nothing is known."""

    image: Image
    again: bool


class UnreadFiles:
    """Finds out whether files that give no picture now still have the bytes of their images."""

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk
        self._digests: dict[bytes, bytes | None] = {}
        self._told: set[tuple[bytes, str]] = set()

    def read(self, outcomes: Sequence[Outcome], *, last: bool = False) -> None:
        """Read the files of which more needs to be known: not in a transaction, it takes long.

        `last`: none of them is tried again.
        """
        self._digests = {
            outcome.path: self._disk.digest(outcome.path)
            for outcome in outcomes
            if (last or self._is_doubtful(outcome))
            and self._catalog.images.at(outcome.path) is not None
            and self._has_its_size(outcome.path)
        }

    def image_of(self, outcome: Outcome) -> KeptImage | None:
        """The image that stays although its file gave no picture; None when its bytes are others.

        That they cannot be read, or not be decoded any more, says nothing about them.
        """
        path = outcome.path
        image = self._catalog.images.at(path)
        content = None if image is None else self._catalog.contents.get(image.content)
        if image is None or content is None or image.doubt == "displaced":
            return None
        if isinstance(outcome, ReadFailed):
            return KeptImage(image, again=True)
        if not self._has_its_size(path):
            return None
        sha256 = outcome.sha256 if isinstance(outcome, Unreadable) else None
        if sha256 is None:
            sha256 = self._digests.get(path)
        if sha256 is None:
            # Permissions change the stat when they come back; nothing else does.
            closed = isinstance(outcome, Unreadable) and outcome.reason == NO_PERMISSION
            return KeptImage(image, again=not closed)
        return KeptImage(image, again=False) if sha256 == content.sha256 else None

    def is_news(self, path: bytes, reason: str) -> bool:
        """True the first time in a run: files are read again in each scan."""
        news = (path, reason) not in self._told
        self._told.add((path, reason))
        return news

    def _is_doubtful(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Died):
            known = self._catalog.observations.at(outcome.path)
            return known is not None and known.deaths + 1 >= MAX_DEATHS
        return isinstance(outcome, Skipped) or (
            isinstance(outcome, Unreadable) and outcome.sha256 is None
        )

    def _has_its_size(self, path: bytes) -> bool:
        """True when the file has as many bytes as the image at its path."""
        known = self._catalog.observations.at(path)
        image = self._catalog.images.at(path)
        content = None if image is None else self._catalog.contents.get(image.content)
        return known is not None and content is not None and content.bytes == known.stat[2]


T = TypeVar("T")

_MOST_WORDS = 200
_log = logging.getLogger(__name__)


def is_unexpected(error: BaseException) -> bool:
    """True for what is neither raised on purpose, nor by a disk, nor to end the process.

    Libraries raise BaseException as well: one in Rust does when it panics.
    """
    if isinstance(error, EmbeddingError | ClusteringError):
        return True
    return not isinstance(
        error, ImgclustError | OSError | KeyboardInterrupt | SystemExit | GeneratorExit
    )


def sentence(error: BaseException, doing: str) -> str:
    """What went wrong, in one line for people."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    cut = words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}..."
    return f"internal error while {doing} ({cut})"


@dataclass(frozen=True)
class Step(Generic[T]):
    """What is done about one file, within a transaction; `stat` is None where it is not known."""

    path: bytes
    root: int
    stat: FileStat | None
    do: Callable[[], T]


class Faults:
    """Finds the file that causes a fault, and puts it into quarantine.

    Parameters
    ----------
    later
        Events of what is not committed yet: those of a step that fails are taken back.
    say
        Told of each file that is put aside.
    """

    def __init__(
        self, catalog: Catalog, *, disk: Disk, counts: Counts, later: list[Event], say: Emit
    ) -> None:
        self._catalog = catalog
        self._unread = UnreadFiles(catalog, disk)
        self._counts = counts
        self._later = later
        self._say = say
        self._told: set[bytes] = set()
        self._works = False

    def each(self, steps: Sequence[Step[T]], *, doing: str) -> list[T | None]:
        """Do the steps in one transaction; where one fails, each in its own, without that one.

        Returns what the steps return, None of those that failed.

        Raises
        ------
        BaseException
            When all of several steps fail, and none has worked before: no file is to blame.
        """
        try:
            done = self._together(steps)
        except BaseException as error:
            if not is_unexpected(error):
                raise
        else:
            self._works = self._works or bool(steps)
            return [*done]
        found: list[T | None] = []
        failed: list[tuple[Step[T], BaseException]] = []
        for step in steps:
            try:
                [done_alone] = self._together([step])
                found.append(done_alone)
                self._works = True
            except BaseException as error:
                if not is_unexpected(error):
                    raise
                found.append(None)
                failed.append((step, error))
        if len(failed) == len(steps) > 1 and not self._works:
            raise failed[0][1]
        for step, fault in failed:
            self.set_aside(step.path, step.root, step.stat, fault, doing=doing)
        return found

    def _together(self, steps: Sequence[Step[T]]) -> list[T]:
        said = len(self._later)
        try:
            with self._catalog.transaction():
                return [step.do() for step in steps]
        except BaseException:
            del self._later[said:]
            raise

    def commit(
        self,
        outcomes: Sequence[Outcome],
        write: Callable[[Sequence[Outcome]], bool],
        works: Callable[[], bool | None],
    ) -> bool:
        """Write the outcomes together; where that fails, one by one, without those that fail.

        Parameters
        ----------
        write
            Commits outcomes, all or none; returns whether a path has come to rest.
        works
            Whether an image that is in could be written again; None when there is none. It is
            asked when all outcomes fail.

        Raises
        ------
        BaseException
            When all fail for another reason than the files.
        """
        try:
            return write(outcomes)
        except BaseException as error:
            if not is_unexpected(error):
                raise
        rested = False
        failed: list[tuple[Outcome, BaseException]] = []
        for outcome in outcomes:
            try:
                rested = write([outcome]) or rested
            except BaseException as error:
                if not is_unexpected(error):
                    raise
                failed.append((outcome, error))
        if failed and len(failed) == len(outcomes):
            possible = works()
            if possible is False or (possible is None and len(failed) > 1):
                raise failed[0][1]
        for outcome, fault in failed:
            self.read(outcome.path, fault, doing="storing it")
        return rested or bool(failed)

    def read(self, path: bytes, error: BaseException, *, doing: str) -> None:
        """Put aside a file that was being read; an image stays whose bytes have not changed."""
        known = self._catalog.observations.at(path)
        if known is None or known.state != "seen":
            return
        outcome = Died(path, None, sentence(error, doing))
        self._unread.read([outcome], last=True)
        with self._catalog.transaction():
            kept = self._unread.image_of(outcome)
            image = self._catalog.images.at(path)
            if kept is not None:
                self._catalog.images.found(kept.image.id)
                self._catalog.observations.settle(path, "done")
                if kept.again:
                    self._catalog.observations.distrust(path)
            elif image is not None:
                self._catalog.remove_image(image)
            if kept is None:
                self._quarantine(path, error, doing)
        if kept is not None:
            self._counts.rest(path, "unchanged")
            if self._unread.is_news(path, outcome.reason):
                self._say(Event("trouble", f"{outcome.reason}; its image stays", path))

    def set_aside(
        self, path: bytes, root: int, stat: FileStat | None, error: BaseException, *, doing: str
    ) -> None:
        """Put aside a file that was looked at; an image that is in stays."""
        known = self._catalog.observations.at(path)
        if self._catalog.images.at(path) is not None or (known and known.state == "removed"):
            if path not in self._told:
                self._told.add(path)
                self._say(Event("trouble", sentence(error, doing), path))
            return
        if known is not None and known.state == "quarantined":
            return
        with self._catalog.transaction():
            self._catalog.observations.see(path, root, stat or NO_STAT, due=0.0)
            self._quarantine(path, error, doing)

    def _quarantine(self, path: bytes, error: BaseException, doing: str) -> None:
        reason = sentence(error, doing)
        _log.debug("%s", reason, exc_info=error)
        self._catalog.observations.quarantine(path, reason, tries=1)
        self._later.append(Event("quarantined", reason, path))
        self._counts.put(path, "quarantined")
