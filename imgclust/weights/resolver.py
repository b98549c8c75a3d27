"""Which weights are used: the words `auto`, `imagenet`, `trunk`, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgclust.errors import WeightsError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.weights.downloader import DownloadError, cache_path, cached, download
from imgclust.weights.loader import OFFICIAL_MD5, OFFICIAL_URL, TRUNK_PATH, Weights, trunk, verify


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
