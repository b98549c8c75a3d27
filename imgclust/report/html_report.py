"""The report: a collection as one HTML file that needs nothing else."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from imgclust import __version__
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.charts import elbow_curve
from imgclust.clustering.choose_k import largest_compared
from imgclust.clusters.model import MOST
from imgclust.clusters.suggestions import current_drift
from imgclust.config import Settings
from imgclust.embedding.recipe import Recipe
from imgclust.errors import ClusteringError, NothingThereError
from imgclust.export.run import replacing_file
from imgclust.maps import Map, draw, make_map
from imgclust.progress import Progress, StopFlag, silent
from imgclust.report import html
from imgclust.report.cluster_sections import (
    Thumbnail,
    card,
    clusters_of,
    clusters_section,
    share_of,
)
from imgclust.wording import NO_CLUSTERS, counted, day, minute, path_text

# Up to so many contents a map takes seconds and is brought up to date; above, it is drawn as kept.
_QUICK = 5000


def map_section(
    catalog: Catalog,
    *,
    recipe: str,
    settings: Settings,
    thumbnail: Callable[[int], bytes | None],
    collection: str,
    progress: Progress,
    stop: StopFlag,
) -> Iterator[str]:
    """The map; where it is missing, how to get it."""
    yield "<section>\n<h2>Map</h2>\n"
    found = _map(catalog, recipe=recipe, settings=settings, progress=progress, stop=stop)
    if isinstance(found, str):
        yield f'<p class="soft">{html.escaped(found)}</p>\n</section>\n'
        return
    drawn, method = found
    progress("drawing the map", 0, None)
    with tempfile.TemporaryDirectory(prefix="imgclust-report-") as folder:
        path = Path(folder) / "map.png"
        draw(
            catalog,
            drawn,
            path,
            method=method,
            thumbnail=thumbnail,
            most_thumbnails=settings.views.thumbnails,
            collection=collection,
        )
        address = html.data_uri(path.read_bytes())
    words = {"tsne": "t-SNE", "pca": "PCA"}[method]
    dims = drawn.coordinates.shape[1]
    told = (
        f"Alike images lie near each other ({words} in {dims} dimensions); colours and numbers are "
        "those of the clusters."
    )
    newer = catalog.contents.count(recipe) - len(drawn.keys)
    if newer > 0:
        told += f" {newer:,} newer images are not on it yet; imgclust view places them."
    yield html.picture(address, f"Map of {len(drawn.keys):,} images by {words}")
    yield f'<p class="soft">{html.escaped(told)}</p>\n</section>\n'


def _map(
    catalog: Catalog, *, recipe: str, settings: Settings, progress: Progress, stop: StopFlag
) -> tuple[Map, str] | str:
    """A map and its method, or why there is none."""
    views = settings.views
    if catalog.contents.count(recipe) <= _QUICK:
        try:
            drawn = make_map(
                catalog,
                recipe=recipe,
                settings=settings,
                method=views.method,
                dims=views.dims,
                progress=progress,
                stop=stop,
            )
        except ClusteringError as error:
            return f"There is no map: {error}."
        return drawn, views.method
    newest = catalog.projections.newest_map(recipe)
    if newest is None:
        return "There is no map yet; imgclust view makes one, and the next report shows it."
    keys, coordinates, placed = catalog.projections.coordinates(newest[0])
    return Map(keys, coordinates, placed, False, ""), catalog.projections.get(newest[0]).kind


def elbow_section(catalog: Catalog, clustering: Clustering | None, *, recipe: str) -> Iterator[str]:
    """The elbow curve of the last sweep; where there is none, how to get it."""
    yield '<section class="chart">\n<h2>Elbow curve</h2>\n'
    sweep = None
    if clustering is not None:
        sweep = catalog.sweeps.newest(clustering.space)
    sweep = sweep or catalog.sweeps.newest()
    if sweep is None or sweep.recipe != recipe:
        yield (
            '<p class="soft">No sweep has been made of this collection; imgclust sweep makes one, '
            "and the next report shows its curve.</p>\n</section>\n"
        )
        return
    summary = sweep.summary
    with tempfile.TemporaryDirectory(prefix="imgclust-report-") as folder:
        path = elbow_curve.elbow(
            Path(folder) / "elbow.svg",
            k=summary["k"],
            inertia=summary["inertia"],
            suggested=summary["knee"],
            second=[
                float("nan") if one is None else one for one in summary["simplified_silhouette"]
            ],
            second_name="simplified silhouette",
            second_to=largest_compared(sweep.contents),
            title=f"Elbow curve in the space {sweep.space}",
        )
        address = html.data_uri(path.read_bytes())
    day = minute(sweep.created)
    told = f"Of {sweep.contents:,} distinct images, swept on {day}: {summary['sentence']}."
    yield html.picture(address, f"Inertia for {len(summary['k'])} values of k")
    yield f'<p class="soft">{html.escaped(told)}</p>\n</section>\n'


MOST_BYTES = 20_000_000
_ROOTS = 20

# Rows of a list, paths of a group, and characters of a path: what bounds the page.
_ROWS = 200

_PATHS = 5

# Groups of near duplicates, and pictures of each: a megabyte or two.
_PICTURED, _COPIES = 40, 6

_CHARACTERS = 300


@dataclass(frozen=True)
class ReportResult:
    """A report and its size in bytes.

    Of its `clusters`, the `pictured` largest show `pictures` images each, fewer than
    `most_pictures` where the page would become too large.
    """

    path: Path
    bytes: int
    clusters: int
    pictured: int
    pictures: int
    most_pictures: int = MOST


def report(
    catalog: Catalog,
    path: Path,
    *,
    collection: str,
    recipe: str,
    settings: Settings,
    thumbnail: Callable[[int], bytes | None],
    most_bytes: int = MOST_BYTES,
    progress: Progress = silent,
    stop: StopFlag | None = None,
    clock: Callable[[], float] = time.time,
) -> ReportResult:
    """Write the report of a collection.

    Parameters
    ----------
    path
        An HTML file, replaced in one step on success.
    recipe
        Name of the recipe of the embeddings.
    thumbnail
        Encoded picture of a content, None where there is none.
    most_bytes
        How large it may become: clusters show fewer than nine images each so that it does not.

    Raises
    ------
    NothingThereError
        For a collection without images.
    StorageError
        When the file cannot be written.
    StoppedError
        When the person asked to stop; what stood there stays.
    """
    stop = stop or StopFlag()
    if not catalog.images.count():
        raise NothingThereError("the collection has no images to report on; add some first")
    clustering = catalog.clusterings.current()
    before = [
        *_head(catalog, clustering, collection=collection, recipe=recipe, made=clock()),
        *map_section(
            catalog,
            recipe=recipe,
            settings=settings,
            thumbnail=thumbnail,
            collection=collection,
            progress=progress,
            stop=stop,
        ),
        *elbow_section(catalog, clustering, recipe=recipe),
    ]
    after = [
        *quarantine_section(catalog),
        *duplicates_section(catalog),
        *near_duplicates_section(catalog, thumbnail),
    ]
    found = (
        [] if clustering is None else clusters_of(catalog, clustering, progress=progress, stop=stop)
    )
    frame = len("".join(html.page(collection, [], self_contained=True)).encode())
    fixed = frame + sum(len(piece.encode()) for piece in chain(before, after))
    share = share_of(
        catalog, found, thumbnail, room=most_bytes - fixed, progress=progress, stop=stop
    )
    middle: Iterator[str] = (
        clusters_section(catalog, found, share, thumbnail, progress=progress, stop=stop)
        if clustering is not None
        else iter([_NO_CLUSTERS])
    )
    written = 0
    with replacing_file(path) as stream:
        title = f"{collection}: report · {_source(catalog)}"
        for piece in html.page(title, chain(before, middle, after), self_contained=True):
            written += stream.write(piece.encode())
    return ReportResult(path, written, len(found), share.clusters, share.pictures)


_NO_CLUSTERS = (
    f'<section>\n<h2>Clusters</h2>\n<p class="soft">{NO_CLUSTERS.capitalize()}.</p>\n</section>\n'
)


def _head(
    catalog: Catalog, clustering: Clustering | None, *, collection: str, recipe: str, made: float
) -> Iterator[str]:
    """What the collection is, and how it stands."""
    yield f"<header>\n<h1>{html.escaped(collection)}</h1>\n"
    yield f'<p class="soft">Made {minute(made)} by imgclust {__version__}</p>\n</header>\n'
    images, distinct = catalog.images.count(), catalog.contents.count()
    rows = {"images": f"{images:,}" + ("" if images == distinct else f", {distinct:,} distinct")}
    if clustering is not None:
        chosen = (
            "provisional, made automatically" if clustering.provisional else _chosen(clustering)
        )
        rows["clusters"] = (
            f"{clustering.k:,}, made {minute(clustering.created)} in the space "
            f"{clustering.space}; {chosen}"
        )
        drift = current_drift(catalog, clustering)
        if drift.overall.ratio is not None:
            rows["drift"] = _drift(drift.overall.ratio, drift.overall.arrivals, drift.suggestion)
    roots = catalog.roots.all()
    folders = [root for root in roots if root.kind == "watched"] or roots
    named = [
        html.escaped(root.path)
        + (f' <span class="mark">held: {html.escaped(root.held)}</span>' if root.held else "")
        for root in folders[:_ROOTS]
    ]
    if len(folders) > _ROOTS:
        named.append(f"and {len(folders) - _ROOTS:,} more")
    rows["from"] = "<br>".join(named)
    missing = len(catalog.images.missing())
    counts = {
        "missing": missing,
        "corrections": sum(catalog.corrections.counts().values()),
        "quarantine": catalog.observations.count_quarantined(),
        "not settled yet": catalog.observations.pending(),
        "skipped, no images": sum(catalog.observations.skipped().values()),
    }
    rows |= {name: f"{count:,}" for name, count in counts.items() if count}
    rows["embedded by"] = html.escaped(Recipe.parse(recipe).short)
    yield f'<div class="box">\n{html.facts(rows)}</div>\n'


def _source(catalog: Catalog) -> str:
    """The first folder that images come from, and how many others there are."""
    roots = catalog.roots.all()
    watched = [root.path for root in roots if root.kind == "watched"] or [one.path for one in roots]
    more = f" and {len(watched) - 1:,} more" if len(watched) > 1 else ""
    return path_text(watched[0]) + more if watched else "no folder"


def _chosen(clustering: Clustering) -> str:
    words = {
        "user": "as a person asked",
        "config": "as configured",
        "knee": "the knee of the elbow curve",
        "groups": "the clearest number of groups",
        "silhouette": "the largest simplified silhouette",
    }
    return words.get(clustering.chosen_by, "by rule")


def _drift(ratio: float, arrivals: int, suggestion: str | None) -> str:
    words = f"{ratio:.2f} times as far from their centroids ({arrivals:,} new images)"
    if suggestion is None:
        return words
    return f'<span class="mark">{words}; imgclust cluster updates the clusters</span>'


def quarantine_section(catalog: Catalog) -> Iterator[str]:
    """Files that could not be read, with the reasons."""
    rows = catalog.observations.quarantined()
    yield f"<section>\n<h2>Quarantine ({len(rows):,})</h2>\n"
    if not rows:
        yield '<p class="soft">Every image could be read.</p>\n</section>\n'
        return
    if len(rows) > _ROWS:
        reasons = Counter(row.reason for row in rows).most_common(_ROWS)
        several = [(_cut(reason), f"{count:,}") for reason, count in reasons]
        yield _boxed(html.table(["reason", "files"], several, numbers=1))
    listed = ((_cut(row.path), _cut(row.reason), day(row.since)) for row in rows[:_ROWS])
    yield _boxed(html.table(["file", "reason", "since"], listed, numbers=1))
    yield _more(len(rows) - _ROWS, "files", "imgclust quarantine lists all")
    yield "</section>\n"


def duplicates_section(catalog: Catalog) -> Iterator[str]:
    """Images with the same bytes."""
    groups = catalog.listing.copied()
    spare = sum(count - 1 for _, count in groups)
    yield f"<section>\n<h2>Exact duplicates ({len(groups):,})</h2>\n"
    if groups:
        images = "image" if len(groups) == 1 else "different images"
        copies = counted(spare, "spare copy", "spare copies")
        yield f"<p>{copies} of {len(groups):,} {images}.</p>\n"
        listed = ((_paths(catalog, content), f"{count:,}") for content, count in groups[:_ROWS])
        yield _boxed(html.table(["files with the same bytes", "copies"], listed, numbers=1))
        yield _more(len(groups) - _ROWS, "groups", "imgclust duplicates lists all")
    else:
        yield '<p class="soft">No two images have the same bytes.</p>\n'
    yield "</section>\n"


def near_duplicates_section(catalog: Catalog, thumbnail: Thumbnail) -> Iterator[str]:
    """Images that show the same picture, as the last search has found them."""
    when = catalog.setting("duplicates_found")
    if when is None:
        yield (
            "<section>\n<h2>Near duplicates</h2>\n"
            '<p class="soft">The same picture at another size or encoding is found by imgclust '
            "duplicates, and shown by the next report.</p>\n</section>\n"
        )
        return
    groups = [
        group
        for group in catalog.duplicates.groups()
        if any(copy.relation == "near" for copy in group)
    ]
    yield f"<section>\n<h2>Near duplicates ({len(groups):,})</h2>\n"
    told = f"None were found on {day(when)}."
    if groups:
        told = f"The same picture at another size or encoding, as found on {day(when)}; the best "
        told += "copy comes first."
    yield f'<p class="soft">{told}</p>\n'
    for group in groups[:_PICTURED]:
        yield '<div class="box cluster">\n'
        shown = [(copy, catalog.images.get(copy.image)) for copy in group[:_COPIES]]
        yield from html.cards(
            card(catalog, image, thumbnail, first=[copy.relation])
            for copy, image in shown
            if image is not None
        )
        if len(group) > _COPIES:
            yield f'<p class="soft">And {len(group) - _COPIES:,} more.</p>\n'
        yield "</div>\n"
    yield _more(len(groups) - _PICTURED, "groups", "imgclust duplicates lists all")
    yield "</section>\n"


def _paths(catalog: Catalog, content: int) -> list[str]:
    images = [one for one in catalog.images.with_content(content) if one.state == "present"]
    lines = [_cut(image.path) for image in images[:_PATHS]]
    if len(images) > _PATHS:
        lines.append(f"and {len(images) - _PATHS:,} more")
    return lines


def _cut(text: str | bytes) -> str:
    """The text, what is too long of it left out in the middle."""
    words = html.shown(text)
    if len(words) <= _CHARACTERS:
        return words
    half = _CHARACTERS // 2
    return f"{words[:half]}…{words[-half:]}"


def _boxed(inner: str) -> str:
    return f'<div class="box">\n{inner}</div>\n'


def _more(count: int, noun: str, where: str) -> str:
    return f'<p class="soft">And {count:,} {noun} more; {where}.</p>\n' if count > 0 else ""
