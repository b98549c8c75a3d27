"""What an ingest says while it runs, and what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgclust.ingest.mounts import HeldFolder

from imgclust.images.filestat import suffix_of
from imgclust.paths import as_path


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `kind` is one of: ingested, reused, replaced, touched (its stat changed, its bytes did not),
    moved, skipped, quarantined, removed (its content was taken out), missing, back, gone, held,
    offline (held since an earlier run),
    kept (its file cannot be read now, which was said before), scanned, clustered, cluster (a new
    one, for the command of `watch --exec` alone), trouble, waiting, note.
    `path` and `image` say which file, `cluster` where
    it went, `cluster_name` what a person calls that one.
    """

    kind: str
    sentence: str
    path: bytes | None = None
    image: int | None = None
    cluster: int | None = None
    cluster_name: str | None = None

    @property
    def location(self) -> Path | None:
        """`path` as a `Path`."""
        return None if self.path is None else as_path(self.path)


Emit = Callable[[Event], None]

# The word of a file that an earlier run has quarantined, and that is as it was.
STILL = "still in quarantine"


class Counts:
    """What happened to each file that a run has found: every path is counted once, under one word.

    Words: ingested (embedded now), reused (taken in without that), unchanged (nothing to do), still
    in quarantine, skipped, quarantined (now), removed (stays out), pending (waits to be read). What
    a path was counted as before it had to be read again is kept for the case that its bytes are the
    same.

    Attributes
    ----------
    absent
        The images that left in this run and did not come back, by path or elsewhere.
    excluded
        Images in places that are left out now, as the last scan found them.
    """

    def __init__(self) -> None:
        self.absent: set[int] = set()
        self.excluded = 0
        self._word_of: dict[int, str] = {}
        self._before: dict[int, str] = {}
        self._numbers: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()

    def __getitem__(self, word: str) -> int:
        """Number of files under a word."""
        return self._numbers[word]

    @property
    def files(self) -> int:
        """Number of files."""
        return len(self._word_of)

    def put(self, path: bytes, word: str) -> None:
        """The file is counted under this word from now on."""
        self._before.pop(hash(path), None)
        self._count(path, word)

    def wait(self, path: bytes) -> None:
        """The file waits to be read."""
        before = self._word_of.get(hash(path))
        if before not in {None, "pending"}:
            self._before[hash(path)] = str(before)
        self._count(path, "pending")

    def rest(self, path: bytes, word: str) -> None:
        """Nothing is to be done for the file; without another word it is counted under this one."""
        if self._word_of.get(hash(path), "pending") == "pending":
            self.put(path, self._before.get(hash(path), word))

    def leave(self, path: bytes) -> None:
        """There is no file at the path any more."""
        self._before.pop(hash(path), None)
        self._count(path, None)

    def result(self, *, seconds: float, held: tuple[HeldFolder, ...] = ()) -> IngestResult:
        """The counts as a result."""
        return IngestResult(
            seen=self.files,
            ingested=self["ingested"],
            reused=self["reused"],
            unchanged=self["unchanged"] + self[STILL],
            skipped=self["skipped"],
            quarantined=self["quarantined"],
            missing=len(self.absent),
            seconds=round(seconds, 3),
            held=tuple((one.path, one.reason) for one in held),
            offline=tuple((one.path, one.images) for one in held if one.offline),
            removed=self["removed"],
            pending=self["pending"],
            excluded=self.excluded,
            still_quarantined=self[STILL],
            suffixes={suffix: number for suffix, number in self._suffixes.items() if number},
        )

    def _count(self, path: bytes, word: str | None) -> None:
        # A hash of 64 bits: a million files take less than 100 MB.
        key = hash(path)
        old = self._word_of.pop(key, None)
        if old is not None:
            self._numbers[old] -= 1
        if word is not None:
            self._word_of[key] = word
            self._numbers[word] += 1
        if "skipped" in {old, word} and old != word:
            self._suffixes[suffix_of(path)] += 1 if word == "skipped" else -1


@dataclass(frozen=True)
class IngestResult:
    """Result of `watch --once` and `add`: numbers of files, and seconds.

    `held` are folders whose images are kept, with the reason; `offline` are those of them whose
    disk is away, with the number of their images. `suggestions` name commands that would help.
    Each of the `seen` files is counted once: as ingested, reused, unchanged, skipped, quarantined,
    removed or pending; `still_quarantined` of the unchanged ones are in quarantine since an earlier
    run. `missing` counts images whose file is not there, `suffixes` the skipped
    files by suffix. `excluded` counts images that are in, in places that are left out now;
    `taken_out` those that left for that reason before the scan.
    """

    seen: int
    ingested: int
    reused: int
    unchanged: int
    skipped: int
    quarantined: int
    missing: int
    seconds: float
    held: tuple[tuple[bytes, str], ...] = ()
    offline: tuple[tuple[bytes, int], ...] = ()
    suggestions: tuple[str, ...] = ()
    removed: int = 0
    pending: int = 0
    suffixes: Mapping[str, int] = field(default_factory=dict)
    excluded: int = 0
    taken_out: int = 0
    still_quarantined: int = 0
