"""Figures without pyplot: fonts, colours by cluster id, saving that repeats to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

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
