"""A map of three dimensions that can be turned: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import importlib.resources
import io
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.charts.figure import (
    Points,
    by_turns,
    centres_of,
    colour,
    new_picture,
    shape,
    without_gaps,
)
from imgclust.charts.image_sheet import Picture, opened

# So many points are turned at a glance, and so many names stay a page of a few megabytes.
MOST_POINTS, _MOST_LABELS = 100_000, 20_000
_MARKS = (("+", "corrected by a person"), ("\u00d7", "files that are missing"))


def draw_interactive_map(
    path: Path,
    shown: Points,
    *,
    labels: Callable[[int], str] | None = None,
    thumbnails: Callable[[int], Picture] | None = None,
    title: str = "",
    max_thumbnails: int = 200,
    most_points: int = MOST_POINTS,
) -> Path:
    """Write a map that a browser turns; of more than `most_points` rows an even share is drawn.

    Parameters
    ----------
    path
        An .html file; replaced in one step.
    shown
        With coordinates (n, 3); `placed` makes no difference.
    labels
        Gives the name of a row, shown under the mouse.
    thumbnails
        Gives the picture of a row, shown with its name: of at most `max_thumbnails` rows, spread
        over the clusters.

    Raises
    ------
    StorageError
        When the page cannot be written.
    """
    ids = np.asarray(shown.clusters, dtype=np.int64)
    points, cuts = without_gaps(np.asarray(shown.coordinates, dtype=np.float64))
    rows = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), most_points)).astype(np.int64))
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    half = float(np.abs(points - middle).max()) or 1.0
    points = (points - middle) / half
    present, counts = np.unique(ids, return_counts=True)
    names, sizes = shown.names, shown.sizes
    centres = centres_of(points, ids)
    notes = ["wide empty bands are cut; distances across them are longer"] if cuts else []
    if len(rows) < len(ids):
        notes.append(f"{len(rows):,} of {len(ids):,} are drawn")
    content = {
        "title": title,
        "note": "; ".join(notes),
        "points": _base64(points[rows].astype("<f4")),
        "of": _base64(np.searchsorted(present, ids[rows]).astype("<i4")),
        "edges": _edges(points),
        "clusters": [
            {
                "id": str(cluster) if cluster >= 0 else "",
                "name": names.get(cluster, "") if cluster >= 0 else "no cluster",
                "count": f"{count if sizes is None or cluster < 0 else sizes.get(cluster, 0):,}",
                "colour": "#" + "".join(f"{round(255 * part):02x}" for part in colour(cluster)),
                "shape": shape(cluster),
                "centre": centres[cluster].tolist() if cluster >= 0 else None,
            }
            for cluster, count in zip(present.tolist(), counts.tolist(), strict=True)
        ],
        "marks": [
            {
                "sign": sign,
                "name": name,
                "count": f"{int(one.sum()):,}",
                "rows": np.flatnonzero(one[rows]).tolist(),
            }
            for (sign, name), one in zip(_MARKS, (shown.corrected, shown.missing), strict=True)
            if one is not None and one.any()
        ],
        "labels": [*map(labels, rows.tolist())] if labels and len(rows) <= _MOST_LABELS else [],
        "pictures": _pictures(points[rows], ids[rows], rows, thumbnails, max_thumbnails),
    }
    # Within a script, no text may end it; everything else of JSON may stand there.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    page = importlib.resources.files("imgclust.charts").joinpath("map_3d.html").read_text("utf-8")
    before, after = page.split("@DATA@")
    with new_picture(path) as file:
        file.write((before.replace("@TITLE@", html.escape(title)) + text + after).encode())
    return path


def _pictures(
    points: NDArray[np.float64],
    ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    thumbnails: Callable[[int], Picture] | None,
    most: int,
) -> dict[str, str]:
    """Pictures of some rows as addresses of themselves, by the place of the row."""
    found: dict[str, str] = {}
    if thumbnails is None:
        return found
    for place in itertools.islice(by_turns(points, ids, centres_of(points, ids)), 2 * most):
        picture = opened(thumbnails(int(rows[place])))
        if picture is None:
            continue
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=75, method=1)
        address = base64.b64encode(stream.getvalue()).decode("ascii")
        found[str(place)] = f"data:image/webp;base64,{address}"
        if len(found) >= most:
            break
    return found


def _edges(points: NDArray[np.float64]) -> list[Sequence[Sequence[float]]]:
    """The twelve edges of the box around the points."""
    corners = list(itertools.product(*zip(points.min(axis=0), points.max(axis=0), strict=True)))
    return [
        (one, other)
        for one, other in itertools.combinations(corners, 2)
        if sum(a != b for a, b in zip(one, other, strict=True)) == 1
    ]


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
