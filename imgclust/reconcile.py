"""What to do about a path, from what is known of it, what the disk says, and the clock.

Pure functions: no file, no catalog, no clock of their own. Start-up, events, rescans and `add`
all come through here, so that there is one answer to every question.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from imgclust.catalog.observations import Observation
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Again, Decoded, Died, Outcome, ReadFailed, Skipped, Unreadable

# A file that kills its worker this often is put aside.
MAX_DEATHS = 3
# And so is a file that the system fails to read this often while others of its root can be read.
MAX_READS = 3


class Look(enum.Enum):
    """What a look at a path leads to."""

    NOTHING = "nothing"
    SEE = "see"  # new or changed: read it when it has settled
    CLAIM = "claim"  # settled: read it now
    FORGET = "forget"  # it is away and never was an image
    VANISHED = "vanished"  # an image is away
    BACK = "back"  # a missing image is there again, unchanged


def same_file(known: Sequence[int], stat: Sequence[int], *, network: bool) -> bool:
    """True when nothing says that the file has changed.

    Both are (device, inode, size, mtime_ns, ctime_ns). The device number is never evidence (it
    changes with every mount); on a network file system only size and mtime are.
    """
    if network:
        return known[2:4] == stat[2:4]
    return known[1:] == stat[1:]


def look(
    known: Observation | None, stat: FileStat | None, *, network: bool, asked: bool = False
) -> Look:
    """Decide after an event, a scan or a request (`asked`: a person named this very path)."""
    if stat is None:
        return Look.NOTHING if known is None else _away(known)
    if known is None or not same_file(known.stat, stat, network=network):
        return Look.SEE
    if known.state == "missing":
        return Look.BACK
    if known.state == "removed" and asked:
        return Look.SEE
    return Look.NOTHING


def settled(known: Observation, stat: FileStat | None, *, network: bool) -> Look:
    """Decide when the settle delay of a path in state "seen" has passed."""
    if stat is None:
        return _away(known)
    return Look.CLAIM if same_file(known.stat, stat, network=network) else Look.SEE


def _away(known: Observation) -> Look:
    # That a person removed an image is forgotten by a healthy scan only: a lost mount looks like
    # this too, and the image must not come back with it.
    if known.state in {"missing", "removed"}:
        return Look.NOTHING
    return Look.VANISHED


class Fate(enum.Enum):
    """What an outcome of a claim leads to."""

    DROP = "drop"  # the path has changed or left since: another look decides
    SEE = "see"  # it changed while it was read: settle again
    COMMIT = "commit"
    SKIP = "skip"
    QUARANTINE = "quarantine"
    AGAIN = "again"
    WAIT = "wait"  # nothing of its root can be read: it waits with all others for the disk


@dataclass(frozen=True)
class Verdict:
    """A fate with what it needs: when to try again, how often it was tried, why it is set aside."""

    fate: Fate
    delay_s: float = 0.0
    tries: int = 0
    deaths: int = 0
    reason: str = ""


def judge(
    known: Observation | None,
    outcome: Outcome,
    *,
    wall: float,
    settle_s: float,
    young_s: float,
    retry_s: Sequence[float],
    network: bool,
    disk_works: bool = True,
) -> Verdict:
    """Decide what becomes of a claimed path.

    Parameters
    ----------
    known
        Its observation now; None when the path was forgotten meanwhile.
    wall
        The wall clock in seconds: the age of a file counts from its ctime, which no program can
        set; a ctime in the future counts as young.
    disk_works
        False when it is not the file that cannot be read, but its disk.
    """
    if known is None or known.state != "seen":
        return Verdict(Fate.DROP)
    if isinstance(outcome, Again):
        return Verdict(Fate.AGAIN, settle_s, known.tries, known.deaths)
    if isinstance(outcome, Died):
        deaths = known.deaths + 1
        if deaths >= MAX_DEATHS:
            return Verdict(Fate.QUARANTINE, tries=deaths, reason=outcome.reason)
        return Verdict(Fate.AGAIN, 0.0, known.tries, deaths)
    if isinstance(outcome, ReadFailed):
        tries = known.tries + 1
        if not disk_works:
            return Verdict(Fate.WAIT)
        if tries >= MAX_READS:
            return Verdict(Fate.QUARANTINE, tries=tries, reason=outcome.reason)
        delay = retry_s[min(known.tries, len(retry_s) - 1)] if retry_s else 0.0
        return Verdict(Fate.AGAIN, delay, tries, known.deaths)
    if not same_file(known.stat, outcome.stat, network=network):
        return Verdict(Fate.SEE, settle_s)
    if isinstance(outcome, Skipped):
        return Verdict(Fate.SKIP)
    if isinstance(outcome, Unreadable):
        young = wall - outcome.stat.ctime_ns / 1e9 < young_s
        if (young or known.tries) and known.tries < len(retry_s):
            return Verdict(Fate.AGAIN, retry_s[known.tries], known.tries + 1, known.deaths)
        return Verdict(Fate.QUARANTINE, tries=known.tries + 1, reason=outcome.reason)
    assert isinstance(outcome, Decoded)
    return Verdict(Fate.COMMIT)


@dataclass(frozen=True)
class RootScan:
    """What a finished scan of a root found.

    `images` counts the rows before the scan, `newly_missing` those absent for the first time,
    `files` every regular file that was there, `held` says why nothing was removed before.
    """

    there: bool
    files: int
    images: int
    newly_missing: int
    device_changed: bool
    held: str | None = None


# Reasons to hold images that say no more than that their disk is not there now.
FOLDER_GONE = "the folder is gone"
FOLDER_EMPTY = "the folder is empty"
MOUNT_GONE = "the folder of the mount is gone"
NOT_MOUNTED = "nothing is mounted here any more"
MOUNT_EMPTY = "the mounted disk is empty"
# The reason to keep single images: their disk is not this one.
OTHER_DISK = "another disk or folder is here now, without the images of the one before"
_OFFLINE = {FOLDER_GONE, FOLDER_EMPTY, MOUNT_GONE, NOT_MOUNTED, MOUNT_EMPTY}


def is_offline(reason: str | None) -> bool:
    """True for a reason to hold images that is a normal state: their disk is not there now."""
    return reason in _OFFLINE


def hold(scan: RootScan, *, share: float, least: int) -> str | None:
    """Reason to remove nothing after this scan, None when absences may be believed.

    More than `share` and at least `least` of a root's images newly missing, or a root that is
    gone, empty where it was not, or on another device with images missing: a lost mount looks
    like this.
    """
    if not scan.images:
        return None
    if not scan.there:
        return FOLDER_GONE
    if scan.newly_missing and not scan.files:
        return FOLDER_EMPTY
    if scan.newly_missing and scan.device_changed:
        return "the folder is on another device, and images are missing"
    if scan.newly_missing >= least and scan.newly_missing > share * scan.images:
        return f"{scan.newly_missing} of {scan.images} images vanished at once"
    if scan.held and scan.newly_missing >= least:
        return scan.held  # newer files make the share smaller, and brings none of them back
    return None


@dataclass(frozen=True)
class MountScan:
    """What a finished scan of a root found of a folder that another file system is mounted on.

    Attributes
    ----------
    mounted
        Something is mounted there now.
    files
        There is a file below it.
    images
        Rows of the catalog below it; `absent` of them are not there, `newly_missing` of those for
        the first time.
    missing_before
        Rows that were missing when the scan began.
    held
        Why nothing was removed before this scan.
    is_root
        The folder is the root itself, of which `hold` decides the rest.
    """

    there: bool
    mounted: bool
    files: bool
    images: int
    absent: int
    newly_missing: int
    missing_before: int
    device_changed: bool
    held: str | None
    is_root: bool

    @property
    def lost(self) -> bool:
        """True when the file system is away, as far as anybody can tell."""
        return not (self.there and self.files and (self.mounted or not self.absent))


def hold_mount(scan: MountScan, *, share: float, least: int) -> str | None:
    """Reason to remove nothing below a mount after this scan, None when absences may be believed.

    A mount that is gone takes its images with it however few they are. One that has none of its
    images is another disk: device numbers prove nothing. Until at least half of what is missing is
    back, a mount that is held stays held.
    """
    if scan.absent < 1:
        return None
    if not scan.there:
        return MOUNT_GONE
    if not scan.mounted:
        return NOT_MOUNTED
    if scan.is_root:
        return None
    if not scan.files:
        return MOUNT_EMPTY
    if scan.newly_missing < 1:
        return None
    if scan.newly_missing == scan.images:
        return "another disk is mounted here, without the images of the one before"
    many = scan.newly_missing > share * scan.images
    if many and (scan.newly_missing >= least or scan.device_changed):
        return f"{scan.newly_missing} of {scan.images} images vanished at once"
    if scan.held and 2 * scan.newly_missing > scan.missing_before:
        return scan.held
    return None
