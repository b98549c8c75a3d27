"""Which weights are used: `auto`, `imagenet`, `trunk`, or a file; the download of ImageNet's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from imgclust.errors import StorageError, WeightsError, reason_of
from imgclust.fs import replacing
from imgclust.numbers import whole
from imgclust.progress import Progress, StopFlag, silent
from imgclust.weights.loader import (
    OFFICIAL_MD5,
    OFFICIAL_URL,
    TRUNK_PATH,
    Weights,
    digests,
    load,
    trunk,
    verify,
)

_BLOCK = 1 << 16  # bytes read at once
# What a download that was killed leaves, of this version or an earlier one.
_LEFT = (".imgclust-*.part", ".download-*")
_STALE_S = 3600.0
_STEP = "downloading ImageNet weights"


class DownloadError(WeightsError):
    """The download was refused, timed out, or brought something else."""


def cache_path(cache: Path) -> Path:
    """Where the downloaded file lies in the cache folder."""
    return cache / "inception_v3_notop.h5"


def cached(cache: Path, *, md5: str = OFFICIAL_MD5) -> Weights | None:
    """Return the ImageNet weights of the cache, or None when they are absent or damaged."""
    path = cache_path(cache)
    try:
        sha256, found = digests(path)
    except OSError:
        return None
    return Weights("imagenet", "full", sha256, path) if found == md5 else None


def download(
    cache: Path,
    *,
    url: str = OFFICIAL_URL,
    md5: str = OFFICIAL_MD5,
    connect_timeout_s: float = 5.0,
    idle_timeout_s: float = 30.0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Weights:
    """Fetch the ImageNet weights into `cache`; the file appears there whole or not at all.

    Parameters
    ----------
    connect_timeout_s
        Longest time until the server accepts the connection, name look-up included.
    idle_timeout_s
        Longest time without a byte after that.
    progress
        Told bytes done and bytes in all.

    Raises
    ------
    DownloadError
        Refused, timed out, or damaged.
    StorageError
        When the cache folder cannot be written.
    StoppedError
        When `stop` was set.
    """
    sha256 = ""

    def check(path: Path) -> None:
        nonlocal sha256
        sha256 = _check(path, url, md5)

    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with replacing(cache_path(cache), mode=0o600, check=check) as kept:
            # the socket's own time-out only ends a thread that was left behind
            transfer = _Transfer(url, kept.write, socket_timeout_s=2 * idle_timeout_s)
            try:
                transfer.watch(connect_timeout_s, idle_timeout_s, progress, stop)
            finally:
                transfer.abandon()
    except OSError as error:
        raise StorageError(f"the weights cannot be kept in {cache}: {reason_of(error)}") from error
    return Weights("imagenet", "full", sha256, cache_path(cache))


def _sweep(cache: Path) -> None:
    """Remove what downloads that were killed have left."""
    for left in chain.from_iterable(map(cache.glob, _LEFT)):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()


def _check(path: Path, url: str, md5: str) -> str:
    sha256, found = digests(path)
    if found != md5:
        raise DownloadError(f"what {urlsplit(url).hostname} sent is damaged (its MD5 is {found})")
    try:
        load(Weights("imagenet", "full", sha256, path))
    except WeightsError as error:
        raise DownloadError(f"what {urlsplit(url).hostname} sent is damaged: {error}") from error
    return sha256


class _Transfer:
    """One request in a thread of its own, so that time-outs and the stop flag always hold.

    A name look-up and a read cannot be interrupted; the thread that is stuck in one is left
    behind (it is a daemon) and writes nothing any more once abandoned.
    """

    def __init__(
        self, url: str, write: Callable[[bytes], object], *, socket_timeout_s: float
    ) -> None:
        self._url = url
        self._host = urlsplit(url).hostname
        self._write = write
        self._socket_timeout_s = socket_timeout_s
        self._changed = threading.Condition()
        self._connected = False
        self._abandoned = False
        self._finished = False
        self._failure: Exception | None = None
        self._done = 0
        self._total: int | None = None
        threading.Thread(target=self._run, daemon=True, name="weights download").start()

    def abandon(self) -> None:
        """From here on nothing is written."""
        with self._changed:
            self._abandoned = True

    def watch(
        self,
        connect_timeout_s: float,
        idle_timeout_s: float,
        progress: Progress,
        stop: StopFlag | None,
    ) -> None:
        """Wait for the end; raise what went wrong."""
        seen: tuple[bool, int] = (False, 0)
        since = time.monotonic()
        while True:
            with self._changed:
                finished = self._finished or self._changed.wait_for(
                    lambda: self._finished, timeout=min(0.1, connect_timeout_s, idle_timeout_s)
                )
                state, total = (self._connected, self._done), self._total
            if stop is not None:
                stop.check()
            if finished:
                break
            if state != seen:
                seen, since = state, time.monotonic()
                progress(_STEP, seen[1], total)
            limit = idle_timeout_s if seen[0] else connect_timeout_s
            if time.monotonic() - since > limit:
                what = "sent nothing for" if seen[0] else "could not be reached within"
                raise DownloadError(f"{self._host} {what} {limit:g} s")
        if self._failure is not None:
            self._explain(self._failure)
        if self._total is not None and self._done != self._total:
            raise DownloadError(
                f"{self._host} broke off after {self._done:,} of {self._total:,} bytes"
            )
        progress(_STEP, self._done, self._done)

    def _explain(self, failure: Exception) -> None:
        """Raise what a failure of the thread means."""
        import urllib.error

        if isinstance(failure, _WriteError):
            raise failure.error
        if isinstance(failure, urllib.error.HTTPError):
            failure.close()
            raise DownloadError(f"{self._host} answered {failure.code} {failure.reason}")
        reason = failure.reason if isinstance(failure, urllib.error.URLError) else failure
        text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
        raise DownloadError(f"no connection to {self._host}: {text}") from failure

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._fetch()
        except Exception as error:  # handed to the thread that waits
            failure = error
        with self._changed:
            self._finished, self._failure = True, failure
            self._changed.notify_all()

    def _fetch(self) -> None:
        # Here: commands that download nothing need not load them, the ssl library among them.
        import http.client
        import urllib.request

        opener = urllib.request.build_opener(
            _handler(urllib.request.HTTPHandler, http.client.HTTPConnection, self._mark),
            _handler(urllib.request.HTTPSHandler, http.client.HTTPSConnection, self._mark),
        )
        request = urllib.request.Request(self._url, headers={"User-Agent": "imgclust"})
        with opener.open(request, timeout=self._socket_timeout_s) as answer:
            length = answer.headers.get("Content-Length", "")
            with self._changed:
                self._total = whole(length)
            while block := answer.read1(_BLOCK):
                with self._changed:
                    if self._abandoned:
                        return
                    try:
                        self._write(block)
                    except OSError as error:
                        raise _WriteError(error) from error
                    self._done += len(block)

    def _mark(self) -> None:
        with self._changed:
            self._connected = True


class _WriteError(Exception):
    """The disk, not the server, is at fault."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _handler(handler: Any, connection: Any, mark: Callable[[], None]) -> Any:
    """Make a urllib handler whose connections call `mark` once they stand."""

    class Connection(connection):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            mark()

    class Handler(handler):  # type: ignore[misc]
        def do_open(self, http_class: Any, request: Any, **options: Any) -> Any:
            return super().do_open(Connection, request, **options)

    return Handler()


def choose(
    wanted: str,
    *,
    cache: Path,
    say: Callable[[str], None],
    accept_trunk: Callable[[str], bool] = lambda reason: True,
    url: str = OFFICIAL_URL,
    md5: str = OFFICIAL_MD5,
    connect_timeout_s: float = 5.0,
    idle_timeout_s: float = 30.0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Weights:
    """Settle on weights, verified.

    Parameters
    ----------
    wanted
        "auto": the cached ImageNet weights, else their download, else the trunk. "imagenet":
        the same without the trunk. "trunk". Or the path of a file.
    cache
        Folder of the downloaded file.
    say
        Told, in one line, of a download and of the trunk having been taken instead.
    accept_trunk
        Asked, with the reason, before `auto` takes the trunk.

    Raises
    ------
    UsageError
        When `wanted` is neither a word nor a file.
    WeightsError
        When the weights cannot be had.
    StorageError, StoppedError
        As `download`.
    """
    if wanted == "trunk":
        return trunk()
    if wanted not in {"auto", "imagenet"}:
        return verify(Path(wanted).expanduser(), official_md5=md5)
    found = cached(cache, md5=md5)
    if found is not None:
        return found
    try:
        say("downloading the ImageNet weights (88 MB), once")
        return download(
            cache,
            url=url,
            md5=md5,
            connect_timeout_s=connect_timeout_s,
            idle_timeout_s=idle_timeout_s,
            progress=progress,
            stop=stop,
        )
    except DownloadError as error:
        if wanted == "imagenet":
            raise WeightsError(
                f"the ImageNet weights cannot be had: {error}; "
                "try again with a network, or use weights = trunk"
            ) from error
        if not accept_trunk(str(error)):
            raise WeightsError(
                f"the ImageNet weights cannot be had: {error}; nothing was embedded"
            ) from error
        say(
            f"using the built-in weights (trunk): {error}; to change them by embedding again: "
            "imgclust reembed --weights imagenet"
        )
        return trunk()


@dataclass(frozen=True)
class Listed:
    """One line of `weights list`; `sha256` and `bytes` are None unless the file is there."""

    name: Literal["imagenet", "trunk"]
    path: Path
    state: Literal["ready", "absent", "damaged"]
    sha256: str | None
    bytes: int | None


def listing(cache: Path, *, md5: str = OFFICIAL_MD5) -> tuple[Listed, ...]:
    """Weights that this machine knows of, and whether they can be used."""
    rows: list[Listed] = []
    path = cache_path(cache)
    found = cached(cache, md5=md5)
    rows.append(_listed("imagenet", path, found))
    try:
        found = trunk()
    except WeightsError:
        found = None
    rows.append(_listed("trunk", TRUNK_PATH, found))
    return tuple(rows)


def _listed(name: Literal["imagenet", "trunk"], path: Path, found: Weights | None) -> Listed:
    try:
        size = path.stat().st_size
    except OSError:
        return Listed(name, path, "absent", None, None)
    if found is None:
        return Listed(name, path, "damaged", None, size)
    return Listed(name, path, "ready", found.sha256, size)
