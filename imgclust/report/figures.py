"""The two drawings of a report: the map and the elbow curve, as addresses of themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from imgclust import charts
from imgclust.catalog import Catalog, Clustering
from imgclust.clustering import largest_compared
from imgclust.config import Settings
from imgclust.errors import ClusteringError
from imgclust.maps import Map, draw, make_map
from imgclust.progress import Progress, StopFlag
from imgclust.report import html
from imgclust.wording import minute

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
        path = charts.elbow(
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
