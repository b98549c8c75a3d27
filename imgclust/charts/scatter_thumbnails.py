"""Thumbnails on a map: as many as find room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgclust.charts.figure import colour
from imgclust.charts.image_sheet import Picture, opened
from imgclust.charts.layout import PLOT_PX, Box, by_turns, free_box

_SHARE = 0.3  # of the plot, covered when every thumbnail finds room
_SIDE_PX = (36, 110)


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
        taken.append(room)
        seen.add(int(ids[row]))
        shown += 1
        if shown == wanted:
            break
    axes.set_xlim(*across)  # imshow has moved them
    axes.set_ylim(*upwards)
