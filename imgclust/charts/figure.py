"""Figures without pyplot: fonts, colours, files that repeat to the byte; what fits into a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imgclust import fs
from imgclust.charts.fonts import fonts_for, matplotlib_families
from imgclust.errors import writing
from imgclust.wording import printable

_DPI = 120
COLOURS = 64
SHAPES = ("o", "s", "^", "D", "v")
_WORDS = {"o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "down"}


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty figure drawn by Agg, outside pyplot's register."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def new_picture(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` on success.

    Raises
    ------
    StorageError
        When the picture, or its folder where there was none, cannot be written.
    """
    with writing(f"the picture {printable(path)}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with fs.replacing(path) as file:
            yield file


def save(figure: Any, path: Path) -> Path:
    """Write the figure as its suffix says (.png or .svg), whole or not at all."""
    import matplotlib

    suffix = path.suffix.lower()
    metadata: dict[str, None] = {"Date": None} if suffix == ".svg" else {"Software": None}
    _give_fonts(figure)
    # The salt makes the ids inside an SVG repeat.
    settings: Any = {"svg.hashsalt": "imgclust", "svg.fonttype": "path"}
    with new_picture(path) as file, matplotlib.rc_context(settings):
        figure.savefig(file, format=suffix.lstrip("."), metadata=metadata)
    return path


def colour(cluster: int) -> tuple[float, float, float]:
    """The colour of a cluster: by its lasting id, so that it stays from map to map.

    Glasbey's colours (Glasbey et al. 2007, "Colour displays for categorical images"): each is the
    one furthest from those before it; dark enough for a white page.
    """
    return (0.6, 0.6, 0.6) if cluster < 0 else _palette()[(cluster - 1) % COLOURS]


def shape(cluster: int) -> str:
    """The marker of a cluster by its id, as matplotlib names it: where colours are alike, or grey.

    Colours and shapes repeat after different numbers of clusters: 320 differ.
    """
    return "o" if cluster < 0 else SHAPES[(cluster - 1) % len(SHAPES)]


def cluster_mark(cluster: int) -> tuple[str, str, str]:
    """The colours of a cluster on a light and on a dark page as #rrggbb, and its shape in a word.

    On a dark page colours are of the same kind, and light enough for it.
    """
    import colorcet

    place = (cluster - 1) % COLOURS
    return (
        str(colorcet.b_glasbey_bw_minc_20_maxl_70[place]),
        str(colorcet.b_glasbey_bw_minc_20_minl_30[place]),
        _WORDS[shape(cluster)],
    )


@lru_cache(maxsize=1)
def _palette() -> tuple[tuple[float, float, float], ...]:
    import colorcet
    from matplotlib.colors import to_rgb

    return tuple(map(to_rgb, colorcet.b_glasbey_bw_minc_20_maxl_70[:COLOURS]))


def legible(text: str, *, most: int = 60) -> str:
    """The text cut to `most` characters; `save` puts what no font draws into boxes."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _give_fonts(figure: Any) -> None:
    """Have every text of a figure drawn by fonts that know its characters."""
    from matplotlib.text import Text

    texts = [one for one in figure.findobj(Text) if one.get_text()]
    fonts = fonts_for(one.get_text() for one in texts)
    families = matplotlib_families(fonts) if len(fonts.paths) > 1 else None
    for one in texts:
        one.set_text(fonts.drawable(one.get_text()))
        if families:
            one.set_fontfamily(families)


PLOT_PX = (1150, 1080)  # the part of a 3-D picture that points lie in; a 2-D one has as many
EDGE_PX = 30
# An empty band is cut to the second where it is wider than the first, of what is beside it; at most
# so many on an axis, in maps of so many points.
_WIDE, _NARROW = 0.2, 0.08
_MOST_CUTS, _FEWEST_CUT = 4, 20
_LONGEST = 2.0  # times as wide as high at most, or as high as wide


@dataclass(frozen=True)
class Points:
    """What a map shows: a point for each row.

    Attributes
    ----------
    coordinates
        Shape (n, 2) or (n, 3).
    clusters
        Lasting cluster id of each row, int (n,); negative for none.
    names
        Names of those clusters that have one.
    sizes
        What the legend says that each cluster has; by default, its rows.
    placed
        Rows that were placed in a map made without them, bool (n,): drawn as rings, their
        thumbnails with dashed frames.
    corrected, missing
        How many images of each row a person has said something about, and how many are not there,
        int (n,): a plus and a cross on the point, and in a corner of its thumbnail.
    """

    coordinates: NDArray[Any]
    clusters: NDArray[Any]
    names: Mapping[int, str]
    sizes: Mapping[int, int] | None = None
    placed: NDArray[np.bool_] | None = None
    corrected: NDArray[Any] | None = None
    missing: NDArray[Any] | None = None


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether the two have area in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies entirely in this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


def page_of(plot: tuple[int, int]) -> Box:
    """Where a plot of this width and height may be drawn on: itself and the edge around it."""
    return Box(0, 0, plot[0] + 2 * EDGE_PX, plot[1] + 2 * EDGE_PX)


def plot_px(points: NDArray[np.float64]) -> tuple[int, int]:
    """Width and height of a plot of the shape of its points (n, 2), so that they fill it."""
    wide, tall = np.ptp(points, axis=0)
    shape = wide / tall if wide > 0 and tall > 0 else 1.0
    shape = float(np.clip(shape, 1 / _LONGEST, _LONGEST))
    area = PLOT_PX[0] * PLOT_PX[1]
    return round((area * shape) ** 0.5), round((area / shape) ** 0.5)


def without_gaps(
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[tuple[int, float]]]:
    """Points (n, d) with wide empty bands made narrow, and where these are: axis and coordinate.

    A cluster far from all others would otherwise push them into a corner of the page. On each
    axis a band without a point is cut when it is wider than a fifth of what is beside it.
    """
    closer = points.copy()
    cuts: list[tuple[int, float]] = []
    if len(points) < _FEWEST_CUT:
        return closer, cuts
    for axis in range(points.shape[1]):
        order = np.argsort(points[:, axis], kind="stable")
        gaps = np.diff(points[order, axis])
        bands = []
        for _ in range(_MOST_CUTS):
            widest = int(np.argmax(gaps))
            beside = gaps.sum() - gaps[widest]
            if beside <= 0 or gaps[widest] <= _WIDE * beside:
                break
            gaps[widest] = _NARROW * beside
            bands.append(widest)
        places = np.concatenate([[0.0], np.cumsum(gaps)])
        closer[order, axis] = places
        cuts += [(axis, float(places[band] + gaps[band] / 2)) for band in bands]
    return closer, cuts


def to_pixels(points: NDArray[np.float64], plot: tuple[int, int]) -> NDArray[np.float64]:
    """Points in the plot's pixels; both axes at one scale, so that distances stay true."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array(plot, dtype=np.float64)
    extent = high - low
    scale = min((room[axis] / extent[axis] for axis in (0, 1) if extent[axis] > 0), default=1.0)
    return np.asarray((points - (low + high) / 2) * scale + room / 2 + EDGE_PX)


def centres_of(
    place: NDArray[np.float64], ids: NDArray[np.int64]
) -> dict[int, NDArray[np.float64]]:
    """Of each cluster the row that lies most in its middle (a mean may lie in another one)."""
    found = {}
    for cluster in np.unique(ids[ids >= 0]):
        members = place[ids == cluster]
        middle = np.median(members, axis=0)
        found[int(cluster)] = members[int(np.argmin(np.square(members - middle).sum(axis=1)))]
    return found


def number_boxes(
    centres: Mapping[int, NDArray[np.float64]], page: Box
) -> list[tuple[int, Box, NDArray[np.float64]]]:
    """A box for each cluster's number at its centre, moved aside where two would overlap."""
    tall = 17 if len(centres) > 40 else 24
    taken: list[Box] = []
    found = []
    for cluster, centre in centres.items():
        wide = tall * (0.5 + 0.48 * len(str(cluster)))
        box = free_box(centre, wide, tall, taken, page=page, rings=8) or box_at(centre, wide, tall)
        taken.append(box)
        found.append((cluster, box, centre))
    return found


def box_at(centre: NDArray[np.float64], wide: float, tall: float) -> Box:
    """The box of this size around a point."""
    x, y = float(centre[0]), float(centre[1])
    return Box(x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2)


def free_box(
    centre: NDArray[np.float64],
    wide: float,
    tall: float,
    taken: Sequence[Box],
    *,
    page: Box,
    rings: int,
) -> Box | None:
    """A box on the page that meets none of those taken: at the point, or on rings around it."""
    for ring in range(rings + 1):
        for turn in np.linspace(0, 2 * np.pi, max(1, 8 * ring), endpoint=False):
            aside = np.array([np.cos(turn) * wide, np.sin(turn) * tall]) * ring / 2
            box = box_at(centre + aside, wide, tall)
            if page.holds(box) and not any(box.meets(other) for other in taken):
                return box
    return None


def by_turns(
    place: NDArray[np.float64], ids: NDArray[np.int64], centres: Mapping[int, NDArray[np.float64]]
) -> Iterator[int]:
    """Rows, one of each cluster in turn, those near its centre first; then the unassigned."""
    queues = []
    for cluster, centre in centres.items():
        members = np.flatnonzero(ids == cluster)
        away = np.square(place[members] - centre).sum(axis=1)
        queues.append([int(row) for row in members[np.argsort(away, kind="stable")]])
    queues.append([int(row) for row in np.flatnonzero(ids < 0)])
    for turn in range(max((len(queue) for queue in queues), default=0)):
        for queue in queues:
            if turn < len(queue):
                yield queue[turn]
