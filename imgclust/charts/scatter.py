"""Maps: coordinates coloured by cluster, numbers at the clusters' centres, thumbnails in 2-D."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgclust.charts.figure import (
    EDGE_PX,
    PLOT_PX,
    SHAPES,
    Box,
    Points,
    by_turns,
    centres_of,
    colour,
    free_box,
    legible,
    new_figure,
    number_boxes,
    page_of,
    plot_px,
    save,
    shape,
    to_pixels,
    without_gaps,
)
from imgclust.charts.fonts import fonts_for
from imgclust.charts.image_sheet import Picture, opened

_DPI = 120
_TITLE_PX = 50
# Of a legend: marks, ids, counts (their right edge), names (and how wide they are), all of it.
_LEGEND_X = {"mark": 8, "id": 22, "count": 112, "name": 126}
_LEGEND_PX = 140
_NAME_PX = 210
_LEGEND_ROWS = 48
_LEGEND_PT = 8
_ZOOM_3D = 1.05
_RING = -2  # in the legend: no cluster, but the rings
_MARKS = (("P", "corrected by a person"), ("X", "files that are missing"))

_SHARE = 0.3  # of the plot, covered when every thumbnail finds room

_SIDE_PX = (36, 110)


@dataclass(frozen=True)
class _Mark:
    """A mark of single points: its shape, what it means, its rows, how many images that are."""

    marker: str
    meaning: str
    rows: NDArray[np.int64]
    count: int


def map_2d(
    path: Path,
    shown: Points,
    *,
    thumbnails: Callable[[int], Picture] | None = None,
    title: str = "",
    max_thumbnails: int = 200,
) -> Path:
    """Draw a map.

    Parameters
    ----------
    path
        A .png or .svg file; replaced in one step.
    shown
        With coordinates (n, 2).
    thumbnails
        Gives the picture of a row (PIL, encoded bytes, or None); asked only for rows that may
        be shown, at most a few times `max_thumbnails`.
    max_thumbnails
        At most so many; they overlap neither each other nor a number.

    Raises
    ------
    StorageError
        When the picture cannot be written.
    """
    points, cuts = without_gaps(np.asarray(shown.coordinates, dtype=np.float64))
    ids = np.asarray(shown.clusters, dtype=np.int64)
    plot = plot_px(points)
    place = to_pixels(points, plot)
    centres = centres_of(place, ids)
    late = _late(shown.placed, len(points))
    marked = _marked(shown.corrected, shown.missing)
    rows = _legend_rows(ids, shown.names, shown.sizes, placed=int(late.sum()), marked=marked)
    width = plot[0] + 2 * EDGE_PX + _legend_px(rows)
    height = plot[1] + 2 * EDGE_PX + _TITLE_PX
    figure = new_figure(width / _DPI, height / _DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)  # one unit is one pixel: what is laid out here stays where it is put
    axes.set_ylim(0, height)
    _title(axes, title, height, cuts=bool(cuts))
    _cuts(axes, cuts, points, plot)
    size = float(np.clip(60_000 / max(1, len(place)), 4, 60))
    _points(axes, place, ids, late, size=size, alpha=0.8)
    for mark in marked:
        _mark(axes, place[mark.rows], mark, size=size)
    page = page_of(plot)
    numbers = number_boxes(centres, page)
    for cluster, box, at in numbers:
        _number(axes, cluster, box, at, small=len(centres) > 40)
    if thumbnails is not None:
        draw_thumbnails(
            axes, page, place, ids, late, centres, thumbnails, max_thumbnails, numbers, marked
        )
    _legend(axes, rows, left=plot[0] + 2 * EDGE_PX, top=height - _TITLE_PX)
    return save(figure, path)


def map_3d(path: Path, shown: Points, *, title: str = "") -> Path:
    """Draw a map of three dimensions; parameters as in `map_2d`, coordinates (n, 3)."""
    points, cuts = without_gaps(np.asarray(shown.coordinates, dtype=np.float64))
    ids = np.asarray(shown.clusters, dtype=np.int64)
    late = _late(shown.placed, len(points))
    marked = _marked(shown.corrected, shown.missing)
    rows = _legend_rows(ids, shown.names, shown.sizes, placed=int(late.sum()), marked=marked)
    width = PLOT_PX[0] + 2 * EDGE_PX + _legend_px(rows)
    height = PLOT_PX[1] + 2 * EDGE_PX + _TITLE_PX
    figure = new_figure(width / _DPI, height / _DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes(
        (0, 0, (PLOT_PX[0] + 2 * EDGE_PX) / width, 1 - _TITLE_PX / height), projection="3d"
    )
    size = float(np.clip(40_000 / max(1, len(points)), 4, 40))
    _points(axes, points, ids, late, size=size, alpha=0.75)
    for mark in marked:
        _mark(axes, points[mark.rows], mark, size=size)
    extent = np.ptp(points, axis=0)
    # One scale for all three, so that distances stay true; flat maps keep some height.
    axes.set_box_aspect(np.maximum(extent, 0.1 * (extent.max() or 1.0)), zoom=_ZOOM_3D)
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.set_zticklabels([])
    page = figure.add_axes((0, 0, 1, 1), facecolor="none")
    page.set_axis_off()
    page.set_xlim(0, width)
    page.set_ylim(0, height)
    _title(page, title, height, cuts=bool(cuts))
    # The numbers lie on the page, where they can be kept from covering each other.
    centres = centres_of(points, ids)
    seen = _on_page(axes, np.array(list(centres.values())).reshape(-1, 3), page)
    numbers = number_boxes(dict(zip(centres, seen, strict=True)), page_of(PLOT_PX))
    for cluster, box, at in numbers:
        _number(page, cluster, box, at, small=len(centres) > 40)
    _legend(page, rows, left=PLOT_PX[0] + 2 * EDGE_PX, top=height - _TITLE_PX)
    return save(figure, path)


def _on_page(axes: Any, points: NDArray[np.float64], page: Any) -> NDArray[np.float64]:
    """Where points (n, 3) of a three-dimensional plot are seen on the page, (n, 2)."""
    from mpl_toolkits.mplot3d import proj3d

    axes.apply_aspect()
    x, y, _ = proj3d.proj_transform(*points.T, axes.get_proj())
    shown = axes.transData.transform(np.column_stack([x, y]))
    return np.asarray(page.transData.inverted().transform(shown))


def _late(placed: NDArray[np.bool_] | None, n: int) -> NDArray[np.bool_]:
    return np.zeros(n, bool) if placed is None else np.asarray(placed, bool)


def _title(page: Any, title: str, height: float, *, cuts: bool) -> None:
    at = height - _TITLE_PX / 2
    page.text(EDGE_PX, at, legible(title, most=100), fontsize=13, va="center", parse_math=False)
    if cuts:
        words = "wide empty bands are cut; distances across them are longer"
        page.text(EDGE_PX, at - 22, words, fontsize=8, va="center", color="0.4")


def _cuts(
    axes: Any, cuts: list[tuple[int, float]], points: NDArray[np.float64], plot: tuple[int, int]
) -> None:
    """A dashed line through the middle of each band that was made narrow."""
    right, top = page_of(plot).right, page_of(plot).top
    for axis, value in cuts:
        where = points.mean(axis=0, keepdims=True)
        where[0, axis] = value
        at = float(to_pixels(np.concatenate([points, where]), plot)[-1, axis])
        ends = ([at, at], [0, top]) if axis == 0 else ([0, right], [at, at])
        axes.plot(*ends, color="0.75", linestyle=(0, (6, 6)), linewidth=0.9, zorder=0.5)


def _points(
    axes: Any,
    points: NDArray[np.float64],
    ids: NDArray[np.int64],
    late: NDArray[np.bool_],
    *,
    size: float,
    alpha: float,
) -> None:
    """Marks for what the map was made of, empty ones for what was placed in it."""
    present, which = np.unique(ids, return_inverse=True)
    colours = np.array([colour(int(one)) for one in present])[which]
    shapes = np.array([shape(int(one)) for one in present])[which]
    for marker in SHAPES:
        full, empty = (shapes == marker) & ~late, (shapes == marker) & late
        if full.any():
            axes.scatter(
                *points[full].T,
                s=size,
                c=colours[full],
                marker=marker,
                alpha=alpha,
                linewidths=0,
                zorder=2,
            )
        if empty.any():
            axes.scatter(
                *points[empty].T,
                s=max(2.5 * size, 14),
                facecolors="white",
                edgecolors=colours[empty],
                marker=marker,
                linewidths=1.1,
                zorder=2.5,
            )


def _marked(*given: NDArray[Any] | None) -> list[_Mark]:
    """The marks that are needed."""
    return [
        _Mark(marker, meaning, np.flatnonzero(one), int(np.sum(one)))
        for (marker, meaning), one in zip(_MARKS, given, strict=True)
        if one is not None and np.any(one)
    ]


def _mark(
    axes: Any, points: NDArray[np.float64], mark: _Mark, *, size: float = 36, zorder: float = 2.8
) -> None:
    """Put a mark on points."""
    axes.scatter(
        *points.T,
        s=max(size, 36),
        c="black",
        edgecolors="white",
        linewidths=0.7,
        marker=mark.marker,
        zorder=zorder,
    )


def _number(axes: Any, cluster: int, box: Box, centre: NDArray[np.float64], *, small: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    if abs(x - centre[0]) + abs(y - centre[1]) > 1:
        axes.plot([centre[0], x], [centre[1], y], color=colour(cluster), linewidth=1, zorder=5)
    axes.add_patch(
        FancyBboxPatch(
            (box.left + 2, box.bottom + 2),
            box.right - box.left - 4,
            box.top - box.bottom - 4,
            boxstyle="round,pad=1",
            facecolor="white",
            edgecolor=colour(cluster),
            linewidth=1.3,
            zorder=6,
        )
    )
    axes.text(
        x,
        y,
        str(cluster),
        fontsize=7 if small else 10,
        ha="center",
        va="center_baseline",
        zorder=7,
    )


@dataclass(frozen=True)
class _Row:
    """A line of a legend; `cluster` is negative for none, or `_RING`, or where it is of a mark."""

    cluster: int
    count: int
    name: str
    mark: _Mark | None = None


def _legend_rows(
    ids: NDArray[np.int64],
    names: Mapping[int, str],
    sizes: Mapping[int, int] | None,
    *,
    placed: int = 0,
    marked: Sequence[_Mark] = (),
) -> list[_Row]:
    """Clusters and what to say of each: all where there is room, else the named and the largest."""
    present, counts = np.unique(ids[ids >= 0], return_counts=True)
    rows = [
        _Row(cluster, count if sizes is None else sizes.get(cluster, 0), names.get(cluster, ""))
        for cluster, count in zip(present.tolist(), counts.tolist(), strict=True)
    ]
    most = _LEGEND_ROWS - len(marked)
    if len(rows) > most:
        first = sorted(rows, key=lambda row: (not row.name, -row.count, row.cluster))
        shown = sorted(first[: most - 1], key=lambda row: row.cluster)
        rows = [*shown, _Row(-1, len(rows) - len(shown), "more clusters")]
    rows += [_Row(_RING, placed, "placed since; dashed frames")] if placed else []
    return rows + [_Row(-1, mark.count, mark.meaning, mark) for mark in marked]


def _legend_px(rows: list[_Row]) -> int:
    if not rows:
        return 0
    return _LEGEND_PX + (_NAME_PX if any(row.name for row in rows) else 0)


def _legend(axes: Any, rows: list[_Row], *, left: float, top: float) -> None:
    apart = min(PLOT_PX[1], top - 2 * EDGE_PX) / _LEGEND_ROWS
    fonts = fonts_for(row.name for row in rows)
    style: dict[str, Any] = {"fontsize": _LEGEND_PT, "va": "center", "parse_math": False}
    if rows:
        at, above = left + _LEGEND_X["count"], top - EDGE_PX + apart
        axes.text(at, above, "images", fontsize=7, ha="right", va="center", color="0.4")
    for number, row in enumerate(rows):
        y = top - EDGE_PX - number * apart
        if row.cluster == _RING:
            ring = {"facecolors": "white", "edgecolors": ["grey"]}
            axes.scatter([left + _LEGEND_X["mark"]], [y], s=40, **ring)
        elif row.mark is not None:
            _mark(axes, np.array([[left + _LEGEND_X["mark"], y]]), row.mark)
        elif row.cluster >= 0:
            mark = {"color": [colour(row.cluster)], "marker": shape(row.cluster)}
            axes.scatter([left + _LEGEND_X["mark"]], [y], s=40, linewidths=0, **mark)
            axes.text(left + _LEGEND_X["id"], y, f"{row.cluster}", **style)
        axes.text(left + _LEGEND_X["count"], y, f"{row.count:,}", ha="right", **style)
        # Matplotlib rounds the width of each letter: narrow ones take a tenth more.
        name = fonts.fitted(row.name, _LEGEND_PT * _DPI / 72, 0.88 * _NAME_PX)
        axes.text(left + _LEGEND_X["name"], y, name, **style)


def draw_thumbnails(
    axes: Any,
    page: Box,
    place: NDArray[np.float64],
    ids: NDArray[np.int64],
    late: NDArray[np.bool_],
    centres: Mapping[int, NDArray[np.float64]],
    thumbnails: Callable[[int], Picture],
    most: int,
    numbers: list[tuple[int, Box, NDArray[np.float64]]],
    marked: Sequence[_Mark] = (),
) -> None:
    """Draw at most so many pictures that overlap neither each other nor a number.

    Parameters
    ----------
    axes, page
        Of the map, one unit a pixel; what pictures have to stay within.
    place, ids, late
        Points (n, 2), their clusters (n,), and which of them were placed since (n,): the frames of
        these are dashed.
    centres, numbers
        By cluster, and where its number is.
    thumbnails
        Gives the picture of a row.
    marked
        Marks, which are drawn in a corner too: the picture may cover the point.
    """
    from matplotlib.patches import Rectangle

    across, upwards = axes.get_xlim(), axes.get_ylim()
    wanted = min(most, len(place))
    if wanted < 1:
        return
    side = (_SHARE * PLOT_PX[0] * PLOT_PX[1] / wanted) ** 0.5
    side = float(np.clip(side, *_SIDE_PX))
    taken = [box for _, box, _ in numbers]
    shown = 0
    seen: set[int] = set()
    for row in by_turns(place, ids, centres):
        # Space is searched before the picture is read: reading is what costs. The first picture
        # of a cluster may stand aside, so that a cluster smaller than its number has one too.
        rings = 0 if int(ids[row]) in seen else 3
        room = free_box(place[row], side, side, taken, page=page, rings=rings)
        if room is None:
            continue
        picture = opened(thumbnails(row))
        if picture is None:
            continue
        picture.thumbnail((int(side), int(side)), Image.Resampling.LANCZOS)
        x, y = (room.left + room.right) / 2, (room.bottom + room.top) / 2
        half_x, half_y = picture.width / 2, picture.height / 2
        axes.plot([place[row][0], x], [place[row][1], y], color=colour(int(ids[row])), zorder=1)
        axes.imshow(
            np.asarray(picture),
            extent=(x - half_x, x + half_x, y - half_y, y + half_y),
            aspect="auto",
            interpolation="nearest",
            zorder=3,
        )
        frames: list[tuple[Any, Any]] = [(colour(int(ids[row])), "solid")]
        if late[row]:  # what its ring says, which the picture may cover
            frames.append(("white", (0, (2, 2))))
        for edge, dashes in frames:
            axes.add_patch(
                Rectangle(
                    (x - half_x, y - half_y),
                    picture.width,
                    picture.height,
                    fill=False,
                    edgecolor=edge,
                    linestyle=dashes,
                    linewidth=1.5,
                    zorder=4,
                )
            )
        corner = np.array([[x + half_x - 6, y + half_y - 6]])
        for mark in (mark for mark in marked if row in mark.rows):
            _mark(axes, corner, mark, zorder=4.5)
            corner -= (0, 12)
        taken.append(room)
        seen.add(int(ids[row]))
        shown += 1
        if shown == wanted:
            break
    axes.set_xlim(*across)  # imshow has moved them
    axes.set_ylim(*upwards)
