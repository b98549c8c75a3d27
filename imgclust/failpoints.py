"""Named points where a test can make the process crash, fail or wait.

`IMGCLUST_FAILPOINTS="commit.before=crash;links.apply=enospc@3;embedded=sleep:0.2"` arms three
points; `@N` fires at the N-th passage only. Nothing is armed outside tests, and an unarmed point
costs one dictionary look-up.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from dataclasses import dataclass

from imgclust.config import environment
from imgclust.errors import UsageError

# Every point there is: `passing` refuses any other name, so a typing error cannot arm nothing.
POINTS = frozenset(
    {
        "claimed",
        "read",
        "decoded",
        "embedded",
        "commit.before",
        "commit.after",
        "index.add.before",
        "index.add.after",
        "checkpoint.temporary",
        "checkpoint.rename",
        "links.intent",
        "links.made",
        "links.renamed",
        "links.done",
        "links.read",
        "scan.missed",
        "recluster.chunk",
        "recluster.publish",
        "bursts.rule",
        "bursts.chunk",
        "bursts.current",
        "bursts.dropped",
        "reembed.commit",
        "reembed.change",
        "upgrade.copied",
        "upgrade.kept",
        "upgrade.commit",
        "backup.copied",
        "backup.written",
        "backup.renamed",
        "restore.copied",
        "restore.prepared",
        "restore.renamed",
        "roots.move.before",
        "roots.move.written",
        "roots.move.after",
    }
)


@dataclass
class _Armed:
    action: str
    seconds: float
    at: int | None
    passed: int = 0


def _parse(text: str) -> dict[str, _Armed]:
    armed: dict[str, _Armed] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, _, what = part.partition("=")
        what, _, at = what.partition("@")
        action, _, argument = what.partition(":")
        if name not in POINTS or action not in {"crash", "eio", "enospc", "sleep"}:
            raise UsageError(f"IMGCLUST_FAILPOINTS: unknown point or action in {part!r}")
        try:
            armed[name] = _Armed(action, float(argument or 0.1), int(at) if at else None)
        except ValueError:
            raise UsageError(f"IMGCLUST_FAILPOINTS: not a number in {part!r}") from None
    return armed


_lock = threading.Lock()
_armed = _parse(environment("IMGCLUST_FAILPOINTS") or "")


def arm(text: str) -> None:
    """Replace the armed points of this process (tests only)."""
    global _armed
    _armed = _parse(text)


def passing(name: str) -> None:
    """Say that the process passes the point `name`; what is armed there happens now.

    Raises
    ------
    OSError
        With EIO or ENOSPC when the point is armed so.
    """
    if not _armed:
        return
    if name not in POINTS:
        raise KeyError(f"no failpoint is called {name!r}")
    point = _armed.get(name)
    if point is None:
        return
    with _lock:
        point.passed += 1
        if point.at is not None and point.passed != point.at:
            return
    if point.action == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif point.action == "sleep":
        time.sleep(point.seconds)
    else:
        code = errno.EIO if point.action == "eio" else errno.ENOSPC
        raise OSError(code, f"{os.strerror(code)} (failpoint {name})")
