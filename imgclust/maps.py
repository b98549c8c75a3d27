"""Maps: a stored projection of the collection, arrivals placed in it, drawn by cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.corrections import KINDS
from imgclust.catalog.integrity import finite, must_be_numbers
from imgclust.catalog.projections import StoredProjection
from imgclust.charts.figure import Points
from imgclust.charts.interactive_map import draw_interactive_map
from imgclust.charts.scatter import map_2d, map_3d
from imgclust.config import Settings
from imgclust.errors import NothingThereError
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.classic import fit_classic
from imgclust.projection.half_white import SmoothedProjection, projection_from_bytes
from imgclust.projection.pca import PcaProjection, align, fit_pca
from imgclust.projection.tsne import TsneProjection, fit_tsne
from imgclust.vectors import to_unit_length
from imgclust.wording import counted, path_text

# A map is recomputed when more than this share of it was placed and not fitted.
AGED_SHARE = 0.3


@dataclass(frozen=True)
class MapResult:
    """The picture of a map; `placed` contents came after its fit, `refitted` if made just now.

    `page` is the same as a page that a browser turns, for three dimensions. `missing` images are
    not where they were, and people said something about `corrected` ones; both are marked.

    `sentence` says what happened to the previous map, and when a new one is made.
    """

    path: Path
    method: str
    dims: int
    n: int
    placed: int
    refitted: bool
    sentence: str
    page: Path | None = None
    missing: int = 0
    corrected: int = 0


@dataclass(frozen=True)
class Map:
    """Coordinates `(n, 2 or 3)` of contents `(n,)`, and which of them were placed."""

    keys: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.float32]
    placed: npt.NDArray[np.bool_]
    refitted: bool
    sentence: str


def make_map(
    catalog: Catalog,
    *,
    recipe: str,
    settings: Settings,
    method: str,
    dims: int,
    refit: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Map:
    """Bring a map up to date: place what is new, fit again when asked or when it is old.

    Raises
    ------
    NothingThereError
        When there is nothing to draw.
    """
    standardise = settings.clustering.standardise
    keys = catalog.contents.embedded(recipe)
    if not len(keys):
        raise NothingThereError("the collection has no images to draw; add some first")
    chosen = {
        "dims": dims,
        "pca_dims": settings.clustering.pca_dims,
        "standardise": settings.clustering.standardise,
        "perplexity": settings.views.perplexity if method == "tsne" else None,
        "seed": settings.clustering.seed,
        "tsne": settings.clustering.tsne if method == "tsne" else None,
    }
    stored = catalog.projections.newest(kind=method, purpose="map", recipe=recipe, settings=chosen)
    if stored is not None and not refit:
        placed = _top_up(catalog, stored, keys, recipe=recipe, standardise=standardise)
        if placed is not None:
            return placed
    progress("reading embeddings", 0, None)
    sequence = catalog.contents.sequence()
    keys, vectors = catalog.contents.all_embeddings(recipe)
    must_be_numbers(catalog, keys, vectors)
    if not standardise:
        to_unit_length(vectors)
    plane = None if refit else _plane(catalog, recipe, chosen, sequence, len(keys))
    projection: PcaProjection | TsneProjection
    if plane is not None:
        projection, coordinates = plane, plane.coordinates
    elif method == "pca":
        projection = fit_pca(vectors, dims=dims, standardise=standardise, seed=0)
        coordinates = projection.transform(vectors)
    else:
        projection = _fitted(
            vectors,
            dims,
            settings,
            order=catalog.images.oldest(keys).argsort(kind="stable"),
            progress=progress,
            stop=stop,
        )
        coordinates = projection.coordinates
    if stored is not None:
        coordinates, projection = _aligned(catalog, stored, keys, coordinates, projection)
    if catalog.writable:
        with catalog.transaction():
            number = catalog.projections.put(
                kind=method,
                purpose="map",
                recipe=catalog.contents.recipe_id(recipe),
                sequence=sequence,
                settings=chosen,
                contents=len(keys),
                blob=projection.to_bytes(),
            )
            catalog.projections.put_coordinates(number, keys, coordinates, placed=False)
            if stored is not None:
                catalog.projections.drop(stored.id)
    why = "" if stored is None else "recomputed, and rotated to match the previous map"
    return Map(keys, coordinates, np.zeros(len(keys), bool), True, why)


def _plane(
    catalog: Catalog, recipe: str, chosen: dict[str, Any], sequence: int, contents: int
) -> TsneProjection | None:
    """The plane that the clusters were made in, if a fit of this map would be just that."""
    space = catalog.projections.newest(
        kind="tsne", purpose="space", recipe=recipe, settings=chosen | {"space": "tsne"}
    )
    if space is None or (space.sequence, space.contents) != (sequence, contents):
        return None
    projection = projection_from_bytes(space.blob)
    return projection if isinstance(projection, TsneProjection) else None


def _fitted(
    vectors: npt.NDArray[np.float32],
    dims: int,
    settings: Settings,
    *,
    order: npt.NDArray[np.int64],
    progress: Progress,
    stop: StopFlag | None,
) -> TsneProjection:
    rules = settings.clustering
    classic = partial(fit_classic, order=order)
    return (fit_tsne if rules.tsne == "opentsne" else classic)(
        vectors,
        dims=dims,
        pca_dims=rules.pca_dims,
        standardise=rules.standardise,
        perplexity=settings.views.perplexity,
        seed=rules.seed,
        progress=progress,
        stop=stop,
    )


def _top_up(
    catalog: Catalog,
    stored: StoredProjection,
    keys: npt.NDArray[np.int64],
    *,
    recipe: str,
    standardise: bool,
) -> Map | None:
    """The stored map with what is new placed in it; None when it has aged.

    Only what is new is read.
    """
    known, _, was_placed = catalog.projections.coordinates(stored.id)
    fresh = keys[~np.isin(keys, known)]
    if int(was_placed.sum()) + len(fresh) > AGED_SHARE * len(keys):
        return None
    with catalog.snapshot():  # a content does not leave between these two
        fresh = fresh[[catalog.contents.has_embedding(int(key), recipe) for key in fresh]]
        vectors = catalog.contents.embeddings(fresh, recipe)
    if len(fresh):
        must_be_numbers(catalog, fresh, vectors)
        _place(catalog, stored, fresh, vectors, standardise=standardise)
    known, coordinates, placed = catalog.projections.coordinates(stored.id)
    here = np.isin(known, keys)
    since = int(placed[here].sum())
    sentence = (
        f"{since:,} placed in the map of the others; a new one is made when more than "
        f"{AGED_SHARE:.0%} are, or by --refit"
        if since
        else ""
    )
    return Map(known[here], coordinates[here], placed[here], False, sentence)


def _place(
    catalog: Catalog,
    stored: StoredProjection,
    keys: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.float32],
    *,
    standardise: bool,
) -> None:
    """Store where contents (n,) with these embeddings (n, d) lie in a map; changes `vectors`."""
    projection = projection_from_bytes(stored.blob)
    assert not isinstance(projection, SmoothedProjection)  # that of a map
    if not standardise:
        to_unit_length(vectors)
    if isinstance(projection, TsneProjection):
        coordinates = projection.place(vectors)
    else:
        coordinates = projection.transform(vectors)
    with catalog.transaction():
        catalog.projections.put_coordinates(stored.id, keys, coordinates, placed=True)


def place_new(catalog: Catalog, stored: StoredProjection, *, recipe: str) -> int:
    """Place what is not in a stored map yet, however old it is; returns how many there were.

    Contents with a damaged embedding are left out.
    """
    with catalog.snapshot():  # a content does not leave between these two
        there = catalog.projections.absent(stored.id, recipe)
        vectors = catalog.contents.embeddings(there, recipe)
    sound = finite(vectors) if there else np.zeros(0, bool)
    if not sound.any():
        return 0
    _place(
        catalog,
        stored,
        np.array(there, np.int64)[sound],
        vectors[sound],
        standardise=bool(stored.settings["standardise"]),
    )
    return int(sound.sum())


def _aligned(
    catalog: Catalog,
    stored: StoredProjection,
    keys: npt.NDArray[np.int64],
    coordinates: npt.NDArray[np.float32],
    projection: PcaProjection | TsneProjection,
) -> tuple[npt.NDArray[np.float32], PcaProjection | TsneProjection]:
    """Turn a new map so that what both hold lies where it lay."""
    known, old, _ = catalog.projections.coordinates(stored.id)
    _, mine, theirs = np.intersect1d(keys, known, assume_unique=True, return_indices=True)
    if len(mine) <= coordinates.shape[1]:
        return coordinates, projection
    turn = align(coordinates[mine], old[theirs])
    return turn.apply(coordinates), projection.turned(turn)


def draw(
    catalog: Catalog,
    drawn: Map,
    path: Path,
    *,
    page: Path | None = None,
    method: str,
    thumbnail: Callable[[int], bytes | None],
    most_thumbnails: int,
    collection: str,
) -> MapResult:
    """Draw a map, coloured by cluster; 2-D maps carry thumbnails.

    Parameters
    ----------
    path, page
        The picture, and a page that a browser turns, for three dimensions; `path` may be such a
        page itself.
    thumbnail
        WebP bytes of a content, None where there is no thumbnail.

    Raises
    ------
    StorageError
        When the picture cannot be written.
    """
    dims = drawn.coordinates.shape[1]
    current = catalog.clusterings.current_id()
    clusters = np.full(len(drawn.keys), -1, np.int64)
    if current is not None:
        contents, assigned, _ = catalog.assignments.of(current)
        rows = np.searchsorted(contents, drawn.keys)
        rows[rows == len(contents)] = 0
        if len(contents):
            known = contents[rows] == drawn.keys
            clusters[known] = assigned[rows[known]]
    names = catalog.clusterings.names()
    words = {"tsne": "t-SNE", "pca": "PCA"}[method]
    title = f"{collection}: {counted(len(drawn.keys), 'distinct image')} by {words}"
    sizes = None if current is None else catalog.assignments.sizes(current)
    away = Counter(image.content for image in catalog.images.missing())
    said = _images_of(catalog, catalog.corrections.contents_of(KINDS))
    missing = np.array([away.get(key, 0) for key in drawn.keys.tolist()], np.int64)
    corrected = np.array([said.get(key, 0) for key in drawn.keys.tolist()], np.int64)
    shown = Points(drawn.coordinates, clusters, names, sizes, drawn.placed, corrected, missing)

    def picture(row: int) -> bytes | None:
        return thumbnail(int(drawn.keys[row]))

    if dims == 2:
        map_2d(path, shown, thumbnails=picture, title=title, max_thumbnails=most_thumbnails)
    elif path.suffix.lower() != ".html":
        map_3d(path, shown, title=title)
    else:
        page = path
    if page is not None:
        draw_interactive_map(
            page,
            shown,
            labels=lambda row: _label(catalog, int(drawn.keys[row])),
            thumbnails=picture,
            title=title,
            max_thumbnails=most_thumbnails,
        )
    return MapResult(
        page=page,
        path=path,
        method=method,
        dims=dims,
        n=len(drawn.keys),
        placed=int(drawn.placed.sum()),
        refitted=drawn.refitted,
        sentence=drawn.sentence,
        missing=int(missing.sum()),
        corrected=int(corrected.sum()),
    )


def _images_of(catalog: Catalog, contents: Iterable[int]) -> dict[int, int]:
    """How many images each content has."""
    return {key: len(catalog.images.with_content(key)) for key in contents}


def _label(catalog: Catalog, content: int) -> str:
    """The name and the id of an image with this content."""
    images = catalog.images.with_content(content)
    return f"{path_text(os.path.basename(images[0].path))}, id {images[0].id}" if images else ""
