"""Figures without pyplot: fonts, colours by cluster id, saving that repeats to the byte."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from imgclust import fs
from imgclust.errors import StorageError, reason_of
from imgclust.wording import printable

_DPI = 120
_GOLDEN = 0.618033988749895  # turns that never repeat: neighbouring ids differ most in hue


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fs.replacing(path) as file:
            yield file
    except OSError as error:
        raise StorageError(
            f"the picture {printable(path)} cannot be written: {reason_of(error)}"
        ) from None


def save(figure: Any, path: Path) -> Path:
    """Write the figure as its suffix says (.png or .svg), whole or not at all."""
    import matplotlib

    suffix = path.suffix.lower()
    metadata: dict[str, None] = {"Date": None} if suffix == ".svg" else {"Software": None}
    # The salt makes the ids inside an SVG repeat.
    settings: Any = {"svg.hashsalt": "imgclust", "svg.fonttype": "path"}
    with new_picture(path) as file, matplotlib.rc_context(settings):
        figure.savefig(file, format=suffix.lstrip("."), metadata=metadata)
    return path


def colour(cluster: int) -> tuple[float, float, float]:
    """The colour of a cluster: by its lasting id, so that it stays from map to map."""
    if cluster < 0:
        return (0.6, 0.6, 0.6)
    hue = (0.58 + cluster * _GOLDEN) % 1.0
    lightness = (0.42, 0.55, 0.33)[cluster % 3]
    saturation = (0.75, 0.55, 0.9)[(cluster // 3) % 3]
    return colorsys.hls_to_rgb(hue, lightness, saturation)


def legible(text: str, *, most: int = 60) -> str:
    """The text on one line, with what the font cannot draw replaced, cut to `most` characters."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(
        one if ord(one) in known and one.isprintable() else "\N{WHITE SQUARE}" for one in text
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"
