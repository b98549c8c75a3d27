"""The last resort: a fault that nobody has foreseen costs the file that causes it, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from imgclust.catalog import Catalog
from imgclust.errors import ClusteringError, EmbeddingError, ImgclustError
from imgclust.images import NO_STAT, Died, FileStat, Outcome
from imgclust.ingest.events import Counts, Emit, Event
from imgclust.ingest.unread import UnreadFiles

if TYPE_CHECKING:
    from imgclust.ingest.environment import Disk

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
