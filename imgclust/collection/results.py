"""What the methods of a collection return, besides the results of the layers below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import imgclust.collection
from imgclust.catalog import Facts


@dataclass(frozen=True)
class ClusterRow:
    """One cluster; `medoid` is an image id, `coherence` the mean cosine to the centroid.

    `outliers` counts the images that are far from the centre; `drift` says how far from the centre
    its arrivals are. The images of a `frozen` cluster leave it only by a command about that
    cluster.
    """

    id: int
    name: str | None
    size: int
    coherence: float
    medoid: int | None
    medoid_path: bytes | None
    folder: Path | None
    drift: imgclust.collection.Drift
    outliers: int
    frozen: bool = False


@dataclass(frozen=True)
class Member:
    """An image of a cluster, and its distance to the centroid in the clustering's space.

    `missing`: its file was not where it was when the folder was last looked at.
    """

    id: int
    path: bytes
    distance: float
    missing: bool = False
    facts: Facts = Facts()


@dataclass(frozen=True)
class ClusterDetails:
    """A cluster with its representatives, its nearest clusters, and its members by distance."""

    row: ClusterRow
    representatives: tuple[Member, ...]
    nearest: tuple[tuple[int, float], ...]
    members: tuple[Member, ...]
    sheet: Path | None


@dataclass(frozen=True)
class CurrentClustering:
    """The current clustering in short; `created` in seconds since 1970."""

    id: int
    k: int
    space: str
    inertia: float
    created: float
    provisional: bool
    chosen_by: str
    generation: int


@dataclass(frozen=True)
class Status:
    """The status of a collection.

    `held` are folders whose images are kept although some are not there, with the reason;
    `offline` are those of them whose disk is away, with the number of their images.
    """

    collection: str
    folder: Path
    recipe: str | None
    weights: str | None
    images: int
    distinct: int
    quarantined: int
    damaged: int
    skipped: Mapping[str, int]
    removed: int
    pending: int
    missing: int
    held: tuple[tuple[bytes, str], ...]
    held_images: int
    offline: tuple[tuple[bytes, int], ...]
    clusters: int
    clustering: CurrentClustering | None
    unassigned: int
    roots: tuple[bytes, ...]
    added: int
    link_mode: str
    link_folder: Path
    watching: bool
    drift: imgclust.collection.Drifting | None
    provenances: Mapping[str, int]
    events: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Standing:
    """How far a running ingest is: what is left to read and to link, and how the clusters fit.

    `drift` is None before the first clustering, `run` where nothing is ingested now: what the run
    did so far.
    """

    images: int
    pending: int
    quarantined: int
    missing: int
    unlinked: int
    clusters: int
    provisional: bool
    drift: imgclust.collection.Drifting | None
    run: imgclust.collection.IngestResult | None = None


@dataclass(frozen=True)
class MissingImage:
    """An image that is not where it was; `held` says why it is kept for now."""

    id: int
    path: bytes
    scans: int
    held: str | None
    facts: Facts = Facts()


@dataclass(frozen=True)
class DamagedImage:
    """An image whose file is damaged and gives a picture nevertheless; `reason` says what it is."""

    id: int
    path: bytes
    reason: str


@dataclass(frozen=True)
class Removed:
    """An image that was taken out of the collection; its file is untouched.

    `copies` are the other images with the same bytes (id and path): they stay in, unless
    `copies_removed` says that they were taken out too.
    """

    id: int
    path: bytes
    copies: tuple[tuple[int, bytes], ...] = ()
    copies_removed: bool = False


@dataclass(frozen=True)
class Dismissed:
    """Images (ids) that are not duplicates of each other, or (`undone`) may be again."""

    images: tuple[int, ...]
    undone: bool


@dataclass(frozen=True)
class RootRow:
    """A folder that images come from, or (`kind` "mount") a disk that is mounted below one.

    `kind` is "watched", "added" or "mount". `state` is the kind when all is well ("mounted" for a
    mount), "offline" when the disk is away, "held" when images are kept for another `reason`,
    "missing" when the folder is not there and no scan has seen that yet. `scanned` is the wall
    clock at the end of the last scan.
    """

    path: bytes
    kind: str
    state: str
    reason: str | None
    images: int
    missing: int
    scanned: float | None
    device: int | None


@dataclass(frozen=True)
class MovedRoot:
    """A folder that has moved, with its images.

    `compared` files were read to the end, `absent` were not at the new place, `doubled` images had
    a newer row there, which is gone; `already` says that the folder had been moved before.
    """

    old: bytes
    new: bytes
    images: int = 0
    compared: int = 0
    absent: int = 0
    doubled: int = 0
    dry_run: bool = False
    already: bool = False


@dataclass(frozen=True)
class RemovedRoot:
    """A folder that is not watched any more; `watched` says whether it was.

    Its images stay (`images_removed` False), or have left the collection too.
    """

    path: bytes
    watched: bool
    images: int
    images_removed: bool
    dry_run: bool
