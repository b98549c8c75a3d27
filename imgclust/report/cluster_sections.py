"""The clusters of a report: as many pictures of each as there is room for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.catalog.images import Image
from imgclust.charts.figure import colour
from imgclust.clustering.cluster_stats import Drift
from imgclust.clusters.model import MOST, all_representatives
from imgclust.clusters.suggestions import current_drift
from imgclust.progress import Progress, StopFlag
from imgclust.report import html
from imgclust.wording import counted

# Clusters with pictures; the others, the smallest, are rows of a table of at most so many.
_PICTURED = 4000
_ROWS = 4000
# What a row of that table takes at most, names of 100 characters included.
_ROW_BYTES = 1000

Thumbnail = Callable[[int], bytes | None]


@dataclass(frozen=True)
class ShownCluster:
    """A cluster with its size in images, and the contents that show it, the first ones first."""

    id: int
    name: str | None
    size: int
    coherence: float
    drift: Drift
    outliers: int
    shown: list[int]

    @property
    def title(self) -> str:
        """The id, and the name if it has one."""
        return f"{self.id}" if self.name is None else f"{self.id} {self.name}"


def clusters_of(
    catalog: Catalog, clustering: Clustering, *, progress: Progress, stop: StopFlag
) -> list[ShownCluster]:
    """All clusters, the largest first, those that may be pictured with their representatives."""
    sizes = catalog.assignments.sizes(clustering.id)
    names = catalog.clusterings.names()
    drifts = current_drift(catalog, clustering).clusters
    outliers = catalog.assignments.outliers(clustering.id)
    order = sorted(clustering.described, key=lambda one: (-sizes.get(one.cluster, 0), one.cluster))
    shown = all_representatives(
        catalog,
        clustering.id,
        [one.cluster for one in order[:_PICTURED]],
        clustering.recipe,
        progress=progress,
        stop=stop,
    )
    return [
        ShownCluster(
            id=one.cluster,
            name=names.get(one.cluster),
            size=sizes.get(one.cluster, 0),
            coherence=one.coherence,
            drift=drifts[one.cluster],
            outliers=outliers.get(one.cluster, 0),
            shown=shown.get(one.cluster, []),
        )
        for one in order
    ]


@dataclass(frozen=True)
class Share:
    """How many clusters have pictures, and how many of nine each of them has."""

    clusters: int
    pictures: int


def share_of(
    catalog: Catalog,
    clusters: list[ShownCluster],
    thumbnail: Thumbnail,
    *,
    room: int,
    progress: Progress,
    stop: StopFlag,
) -> Share:
    """What fits into `room` bytes.

    Every cluster has the same number of pictures: nine, or as many as fit for all. Where not even
    one for each fits, the largest clusters have one.
    """
    left = room - min(len(clusters), _ROWS) * _ROW_BYTES
    able = clusters[:_PICTURED]
    left -= sum(len("".join(_section(one, [])).encode()) for one in able)
    for rank in range(MOST):
        for number, one in enumerate(able):
            stop.check()
            progress("measuring pictures", rank * len(able) + number, MOST * len(able))
            left -= _cost(catalog, one, rank, thumbnail)
            if left < 0:
                return Share(len(able), rank) if rank else Share(number, 1)
    return Share(len(able), MOST)


def clusters_section(
    catalog: Catalog,
    clusters: list[ShownCluster],
    share: Share,
    thumbnail: Thumbnail,
    *,
    progress: Progress,
    stop: StopFlag,
) -> Iterator[str]:
    """The clusters, the largest first."""
    yield f"<section>\n<h2>Clusters ({len(clusters):,})</h2>\n"
    yield f'<p class="soft">{html.escaped(_told(clusters, share))}</p>\n'
    for number, one in enumerate(clusters[: share.clusters]):
        stop.check()
        progress("writing the page", number, share.clusters)
        pictures = (_card(catalog, key, thumbnail) for key in one.shown[: share.pictures])
        yield from _section(one, pictures)
    rest = clusters[share.clusters :]
    if rest:
        rows = (
            (one.title, f"{one.size:,}", f"{one.coherence:.2f}", _ratio(one.drift))
            for one in rest[:_ROWS]
        )
        headings = ["cluster", "images", "coherence", "drift"]
        yield f'<div class="box">\n{html.table(headings, rows, numbers=3)}</div>\n'
    if len(rest) > _ROWS:
        yield (
            f'<p class="soft">And {len(rest) - _ROWS:,} smaller clusters; imgclust clusters lists '
            "all.</p>\n"
        )
    yield "</section>\n"


def _told(clusters: list[ShownCluster], share: Share) -> str:
    words = "The largest first, each with images that show what is in it. Coherence is the mean "
    words += "likeness of its images to their middle, 1 at most."
    if share.pictures < MOST and share.clusters == len(clusters):
        words += f" With {MOST} of each the page would be too large: each shows {share.pictures}."
    if share.clusters < len(clusters):
        words += f" With images of all the page would be too large: the {share.clusters:,} largest "
        words += "show one, the others follow in a table."
    return words


def _section(one: ShownCluster, pictures: Iterable[str]) -> Iterator[str]:
    dot = "#" + "".join(f"{round(255 * part):02x}" for part in colour(one.id))
    name = f"<b>{one.id}</b>{'' if one.name is None else f' {html.escaped(one.name)}'}"
    facts = [counted(one.size, "image")]
    if one.size:
        facts.append(f"coherence {one.coherence:.2f}")
    if one.drift.arrivals:
        drift = f"{one.drift.arrivals:,} new since, drift {_ratio(one.drift)}"
        facts.append(f'<span class="mark">{drift}, high</span>' if one.drift.high else drift)
    if one.outliers:
        facts.append(f"{one.outliers:,} outliers")
    yield '<section class="box cluster">\n<div class="head">'
    yield f'<h3><span class="dot" style="background:{dot}"></span>{name}</h3>'
    yield f'<span class="soft">{" · ".join(facts)}</span></div>\n'
    yield from html.cards(pictures)
    yield "</section>\n"


def _ratio(drift: Drift) -> str:
    return "-" if drift.ratio is None else f"{drift.ratio:.2f}"


def _card(catalog: Catalog, key: int, thumbnail: Thumbnail) -> str:
    images = catalog.images.with_content(key)
    if not images:
        return ""  # it has left meanwhile
    return card(catalog, images[0], thumbnail)


def card(catalog: Catalog, image: Image, thumbnail: Thumbnail, *, first: Sequence[str] = ()) -> str:
    """The card of an image with its picture in it; `first` is said before its id and date."""
    found = thumbnail(image.content)
    facts = catalog.details.of_images([image.id]).get(image.id)
    marks = ["missing"] if image.state == "missing" else []
    marks += ["corrected"] if catalog.corrections.among([image.content]) else []
    if facts is not None and facts.damage:
        marks.append("damaged")
    return html.card(
        None if found is None else html.data_uri(found),
        os.path.basename(image.path),
        facts=[*first, *html.facts_of(image.id, facts)],
        marks=marks,
        title=image.path,
    )


def _cost(catalog: Catalog, one: ShownCluster, rank: int, thumbnail: Thumbnail) -> int:
    """Bytes of a card."""
    if rank >= len(one.shown):
        return 0
    return len(_card(catalog, one.shown[rank], thumbnail).encode())
