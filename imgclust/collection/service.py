"""What a service needs of a collection beside the commands: pictures, pages, feed, jobs."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from imgclust.catalog.details import Facts
from imgclust.catalog.feed import FeedRow, StoredJob
from imgclust.clusters.suggestions import current_drift
from imgclust.collection import clusters, images
from imgclust.collection.clusters import ClusterDetails, Member
from imgclust.collection.images import Selection, bytes_of, with_facts
from imgclust.collection.query_cache import QueryCache
from imgclust.errors import ImgclustError, NothingThereError, UsageError
from imgclust.images.decoder import Region
from imgclust.images.pool import DecodePool
from imgclust.images.reader import claim
from imgclust.ingest.mounts import held_folders
from imgclust.paths import Located
from imgclust.progress import Monitor

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.collection.gallery import Gallery
    from imgclust.images.reader import Outcome
    from imgclust.ingest.events import Emit, IngestResult

# What browsers show by themselves; everything else is shown as a preview.
SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
# The longest side of a preview.
_PREVIEW_PX = 1600
# How often the index is compared with a catalog that changes meanwhile.
_TRIES = 5
# Pictures of a cluster on the wall, and members (at most so many of a cluster are looked at) among
# whom representatives are chosen for one page.
_ON_WALL, _CHOSEN, _LOOKED_AT = 4, 1200, 300
ORDERS = ("distance", "newest", "oldest", "taken", "name")
# A picture that is sent in: no larger than this.
MOST_BYTES, _MOST_PIXELS = 64 << 20, 100_000_000


class Original(NamedTuple):
    """The bytes of a file as they were ingested, and what kind of picture they are."""

    content: bytes
    media_type: str
    path: bytes


@dataclass(frozen=True)
class ImageDetails(Located):
    """One image; `added` in seconds since 1970, `copies` the others with the same bytes."""

    id: int
    path: bytes
    missing: bool
    added: float
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    cluster: int | None
    name: str | None
    distance: float | None
    copies: tuple[tuple[int, Any], ...]
    facts: Facts = Facts()


@dataclass(frozen=True)
class WallRow:
    """A cluster on the wall; `representatives` are ids of images, the most central one first."""

    id: int
    name: str | None
    size: int
    frozen: bool
    representatives: tuple[int, ...]


@dataclass(frozen=True)
class ClusterNews:
    """How many images of a cluster are new."""

    cluster: int | None
    images: int


@dataclass(frozen=True)
class News:
    """How many images of each cluster are new, and the id of the newest."""

    last: int
    clusters: tuple[ClusterNews, ...]


@dataclass(frozen=True)
class ImagePage:
    """Some images of a cluster or of the collection, in order, of `total`."""

    total: int
    offset: int
    images: tuple[Member, ...]


@dataclass(frozen=True)
class FeedEvent:
    """One change, with its number in the stream of changes."""

    stream: str
    number: int
    kind: str
    time: float
    image: int | None
    cluster: int | None
    message: str | None

    @property
    def id(self) -> str:
        """What the stream is continued after."""
        return f"{self.stream}-{self.number}"


@dataclass(frozen=True)
class FeedPart:
    """Changes in their order; `complete` is False when some before them are not known any more."""

    complete: bool
    last: str
    events: tuple[FeedEvent, ...]


@dataclass(frozen=True)
class Measures:
    """Numbers of a collection; `failures` counts the files in quarantine by reason."""

    present: int
    missing: int
    quarantined: int
    pending: int
    oldest_pending_s: float
    unlinked: int
    clusters: int
    drift: float | None
    failures: Mapping[str, int]


class PictureWorkers:
    """Decode workers for pictures that are sent in, and for previews; they start when needed.

    `close` ends them. May be used by several threads.

    Attributes
    ----------
    cache
        What queries keep for the next one.
    """

    def __init__(self) -> None:
        self.cache = QueryCache()
        self._previews: DecodePool | None = None

    def read(self, path: bytes, *, region: Region | None = None) -> Outcome:
        """Read and decode a picture that was sent in, within the limits of such ones."""
        task = partial(
            claim,
            thumbnail_px=0,
            size_cap_bytes=MOST_BYTES,
            pixel_cap=_MOST_PIXELS,
            region=region,
        )
        with DecodePool(workers=1, task=task) as pool:
            return _outcome(pool, path)

    def preview(self, path: bytes, *, size_cap_bytes: int, pixel_cap: int) -> Outcome:
        """Read and decode an image of the collection as a large thumbnail."""
        if self._previews is None:
            self._previews = DecodePool(
                workers=1,
                side=_PREVIEW_PX,
                thumbnail_px=_PREVIEW_PX,
                size_cap_bytes=size_cap_bytes,
                pixel_cap=pixel_cap,
            )
        return _outcome(self._previews, path)

    def close(self) -> None:
        """Stop the workers."""
        self.cache.close()
        if self._previews is not None:
            self._previews.close()


def _outcome(pool: DecodePool, path: bytes) -> Outcome:
    found: Future[Outcome] = Future()
    pool.submit(path, found.set_result)
    return found.result(timeout=180)


class Service:
    """See `Collection.service`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def watch(
        self, roots: Sequence[str | os.PathLike[str]], *, monitor: Monitor, emit: Emit
    ) -> IngestResult:
        """As `Collection.watch`; the monitor hears how it fares."""
        from imgclust.collection import ingest

        self._context.monitor = monitor
        return ingest.watch(
            self._context, list(map(os.fsencode, roots)), emit, once=False, links=None, cluster=True
        )

    def decode_apart(self, workers: PictureWorkers) -> None:
        """Have pictures that queries read decoded by these workers, from now on."""
        self._context.reader = workers.read

    def keep_with(self, workers: PictureWorkers) -> None:
        """Have queries keep with these workers what the next one needs, from now on."""
        self._context.query_cache = workers.cache

    def is_current(self) -> bool:
        """False when the catalog's file was replaced, or has other embeddings, since the opening.

        What was loaded for the queries of this collection is of no use then.
        """
        return self._context.is_current

    def cluster_details(
        self, cluster: int | str, *, selection: Selection | None = None
    ) -> ClusterDetails:
        """As `Collection.cluster_details`, without a contact sheet."""
        return clusters.details(self._context, cluster, selection=selection, sheet=None, draw=False)

    @property
    def gallery(self) -> Gallery:
        """What pages show beside the commands; the same each time: what it reads is kept."""
        from imgclust.collection.gallery import Gallery

        self._context.gallery = self._context.gallery or Gallery(self._context)
        return self._context.gallery

    # Images

    def image(self, number: int) -> ImageDetails:
        """One image with all that is known of it.

        Raises
        ------
        NothingThereError
            When there is no image with this id.
        """
        catalog = self._context.catalog
        with catalog.snapshot():
            image = images.named(self._context, str(number))
            content = catalog.contents.get(image.content)
            assert content is not None
            current = catalog.clusterings.current_id()
            cluster = distance = None
            if current is not None:
                rows = catalog.listing.page(
                    after=image.id - 1, until=image.id, limit=1, clustering=current
                )
                cluster, distance = rows[0].cluster, rows[0].distance
            names = catalog.clusterings.names()
            others = catalog.images.with_content(image.content)
            facts = catalog.details.of_images([image.id])
        return ImageDetails(
            id=image.id,
            path=image.path,
            missing=image.state == "missing",
            added=image.added,
            width=content.width,
            height=content.height,
            format=content.format,
            bytes=content.bytes,
            sha256=content.sha256.hex(),
            cluster=cluster,
            name=None if cluster is None else names.get(cluster),
            distance=distance,
            copies=tuple((one.id, one.path) for one in others if one.id != image.id),
            facts=facts.get(image.id, Facts()),
        )

    def digest(self, number: int) -> str:
        """The SHA-256 of an image, in hexadecimal; raises as `image`."""
        image = images.named(self._context, str(number))
        content = self._context.catalog.contents.get(image.content)
        return "" if content is None else content.sha256.hex()

    def clusters_before(self) -> int | None:
        """How many clusters the clustering before has; None where undo has none to go back to."""
        clusterings = self._context.catalog.clusterings
        current = clusterings.current()
        if current is None or current.previous is None:
            return None
        return len(clusterings.cluster_ids(current.previous))

    def wall(self) -> tuple[WallRow, ...]:
        """The clusters with up to four representatives, the largest first."""
        from imgclust.clusters.model import all_representatives

        catalog = self._context.catalog
        clustering = catalog.clusterings.current()
        if clustering is None:
            return ()
        ids = clustering.cluster_ids
        sizes = catalog.assignments.sizes(clustering.id)
        shown = {one: catalog.assignments.representatives(clustering.id, one) for one in ids}
        # Choosing them takes long: a page waits for some, and shows the nearest of the others.
        none = [one for one in ids if sizes.get(one) and not shown[one]]
        work = accumulate(min(sizes[one], _LOOKED_AT) for one in none)
        now = max(1, sum(members <= _CHOSEN for members in work))
        shown |= all_representatives(catalog, clustering.id, none[:now], clustering.recipe)
        for one in none[now:]:
            nearest = catalog.assignments.images_with_distances(clustering.id, one, limit=_ON_WALL)
            shown[one] = list(dict.fromkeys(content for _, _, content, _, _ in nearest))
        names, frozen = catalog.clusterings.names(), catalog.clusterings.frozen()
        first: dict[int, int] = {}
        wanted = [content for cluster in ids for content in shown[cluster][:_ON_WALL]]
        for image in catalog.images.with_contents(wanted):
            first.setdefault(image.content, image.id)
        rows = [
            WallRow(
                id=cluster,
                name=names.get(cluster),
                size=sizes.get(cluster, 0),
                frozen=cluster in frozen,
                representatives=tuple(
                    first[content] for content in shown[cluster][:_ON_WALL] if content in first
                ),
            )
            for cluster in ids
        ]
        return tuple(sorted(rows, key=lambda row: (-row.size, row.id)))

    def news(self, after: int) -> News:
        """How many images of each cluster have an id above this one."""
        catalog = self._context.catalog
        with catalog.snapshot():
            current, last = catalog.clusterings.current_id(), catalog.listing.last()
            counts = catalog.listing.count_by_cluster(after=after, clustering=current)
        return News(last, tuple(ClusterNews(*one) for one in counts.most_common()))

    def cluster_id(self, cluster: int | str) -> int:
        """Id of a cluster that is named by its id or name; raises NothingThereError without it."""
        return self._context.catalog.clusterings.find(cluster)

    def members(
        self,
        cluster: int | str,
        *,
        order: str = "distance",
        selection: Selection | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> ImagePage:
        """A page of a cluster's images.

        Parameters
        ----------
        order
            "distance" from the centre, "newest" or "oldest" by their arrival, "taken" by date, or
            "name" of the path.

        Raises
        ------
        NothingThereError, UsageError
            Without such a cluster; for an unknown order.
        """
        if order not in ORDERS:
            raise UsageError(f"order is one of {', '.join(ORDERS)}")
        catalog, clustering = self._context.catalog, self._context.current()
        found = catalog.clusterings.find(cluster)
        all_first = bool(selection) or order == "taken"  # dates are known of images only
        with catalog.snapshot():
            total = catalog.assignments.count_images_in(clustering.id, found)
            shown = catalog.assignments.images_with_distances(
                clustering.id,
                found,
                order="distance" if order == "taken" else order,
                offset=0 if all_first else offset,
                limit=-1 if all_first else limit,
            )
        if all_first:
            facts = catalog.details.of_images([row[0] for row in shown])
            chosen = [
                row
                for row in shown
                if selection is None or selection.has(facts.get(row[0], Facts()))
            ]
            if order == "taken":
                chosen.sort(key=lambda row: (facts.get(row[0], Facts()).taken or "9", row[0]))
            total, shown = len(chosen), chosen[offset : offset + limit]
        page = with_facts(
            self._context, clusters.members_of(self._context, clustering, found, shown)
        )
        return ImagePage(total, offset, page)

    def original(self, number: int) -> Original | None:
        """The file of an image, verified: its bytes are those that were ingested.

        None when a browser cannot show its kind, or no file holds these bytes any more.

        Raises
        ------
        NothingThereError
            When there is no image with this id.
        """
        image = images.named(self._context, str(number))
        content = self._context.catalog.contents.get(image.content)
        if content is None or content.format not in SHOWN:
            return None
        found = bytes_of(self._context, image.content)
        return None if found is None else Original(found, SHOWN[content.format], image.path)

    def preview(self, number: int, workers: PictureWorkers) -> bytes | None:
        """A WebP picture of an image, of at most 1,600 pixels; None when its file is gone.

        Raises
        ------
        NothingThereError
            When there is no image with this id.
        """
        from imgclust.images.reader import Decoded

        catalog, rules = self._context.catalog, self._context.settings.decode
        image = images.named(self._context, str(number))
        content = catalog.contents.get(image.content)
        for one in catalog.images.with_content(image.content):
            outcome = workers.preview(
                one.path,
                size_cap_bytes=rules.size_cap_mb << 20,
                pixel_cap=rules.pixel_cap_mp * 1_000_000,
            )
            # The file may hold another picture by now.
            same = content is not None and getattr(outcome, "sha256", None) == content.sha256
            if same and isinstance(outcome, Decoded):
                return outcome.thumbnail
        return None

    # The feed

    def changes(self, after: str | None = None, *, limit: int = 500) -> FeedPart:
        """What has changed after this id; with None nothing, but the id to continue after.

        An id of another catalog, or of what was forgotten meanwhile, gives a part that is not
        complete, and the id to continue after.
        """
        catalog = self._context.catalog
        with catalog.snapshot():
            stream, last = catalog.feed.stream(), catalog.feed.last()
            number = last if after is None else _number(after, stream)
            if number is None or number > last or number < catalog.feed.first() - 1:
                return FeedPart(False, f"{stream}-{last}", ())
            rows = catalog.feed.after(number, limit)
        events = tuple(_event(stream, row) for row in rows)
        return FeedPart(True, events[-1].id if events else f"{stream}-{number}", events)

    # Jobs

    def begin_job(self, command: str, arguments: dict[str, Any], *, process: str) -> int:
        """Note that a job runs; returns its id."""
        with self._context.catalog.transaction():
            return self._context.catalog.jobs.begin(command, arguments, process=process)

    def end_job(self, job: int, state: str, document: dict[str, Any]) -> None:
        """Note how a job ended: done, failed or cancelled."""
        with self._context.catalog.transaction():
            self._context.catalog.jobs.end(job, state, document)

    def job(self, job: int) -> StoredJob:
        """One job; raises NothingThereError when it is not known."""
        found = self._context.catalog.jobs.get(job) if abs(job) < 1 << 63 else None
        if found is None:
            raise NothingThereError(f"there is no job {job}")
        return found

    def jobs(self) -> tuple[StoredJob, ...]:
        """The jobs that are kept, newest first."""
        return tuple(self._context.catalog.jobs.all())

    def load(self) -> None:
        """Load what queries need, so that the first one does not wait for it."""
        context = self._context
        if context.catalog.setting("recipe") is None or context.query_cache is None:
            return
        context.query_cache.start()
        context.similarity(context.catalog.clusterings.current())
        with context.query_index().searched():
            pass

    # Health

    def check(self) -> Sequence[str]:
        """What is wrong with catalog, index or network, a sentence each; empty when they agree.

        Costs milliseconds once the index is loaded.
        """
        context = self._context
        catalog = context.catalog
        if catalog.why_not_writable:
            return [f"{catalog.path.parent} cannot be written: {catalog.why_not_writable}"]
        try:
            if catalog.setting("recipe") is None:
                return []
            recipe = context.recipe
            live = context.query_index()
            for _ in range(_TRIES):
                with live.searched():
                    sequence, indexed = live.sequence, len(live.index)
                with catalog.snapshot():
                    current, stored = catalog.contents.sequence(), catalog.contents.count(recipe)
                if current == sequence:
                    break
            else:  # images arrive faster than one can look
                return []
        except ImgclustError as error:
            return [str(error)]
        if indexed != stored:
            return [f"the index has {indexed:,} images and the catalog {stored:,}"]
        return []

    def offline(self) -> tuple[tuple[bytes, int], ...]:
        """Folders whose disk is away, with the number of their images."""
        held = held_folders(self._context.catalog)
        return tuple((one.path, one.images) for one in held if one.offline)

    def measures(self) -> Measures:
        """Numbers for a graph over time."""
        catalog = self._context.catalog
        with catalog.snapshot():
            clustering = catalog.clusterings.current()
            oldest = catalog.observations.oldest_pending()
            missing = catalog.images.count_missing()
            drift = None if clustering is None else current_drift(catalog, clustering).overall.ratio
            return Measures(
                present=catalog.images.count() - missing,
                missing=missing,
                quarantined=catalog.observations.count_quarantined(),
                pending=catalog.observations.pending(),
                oldest_pending_s=0.0 if oldest is None else max(0.0, time.time() - oldest),
                unlinked=catalog.ledger.count_queued_links(),
                clusters=0 if clustering is None else len(clustering.cluster_ids),
                drift=drift,
                failures=Counter(
                    kind_of_reason(one.reason) for one in catalog.observations.quarantined()
                ),
            )


def kind_of_reason(reason: str) -> str:
    """A reason without what differs from file to file: names, numbers, what is quoted."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\S*/\S*", "", reason.partition(":")[0])
    return " ".join(re.sub(r"[0-9][0-9.,]*", "N", text).split())[:60] or "other"


def _number(given: str, stream: str) -> int | None:
    name, _, digits = given.rpartition("-")
    if name != stream or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(digits)


def _event(stream: str, row: FeedRow) -> FeedEvent:
    return FeedEvent(stream, row.id, row.kind, row.at, row.image, row.cluster, row.message)
