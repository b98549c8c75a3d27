"""The elbow picture: inertia against k, the suggested k marked, a second criterion beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imgclust.charts.figure import legible, new_figure, save


def elbow(
    path: Path,
    *,
    k: Sequence[int],
    inertia: Sequence[float],
    suggested: int | None,
    second: Sequence[float] | None = None,
    second_name: str = "second criterion",
    second_to: int | None = None,
    title: str = "Elbow curve",
) -> Path:
    """Draw inertia against k, readable in grey.

    Parameters
    ----------
    path
        A .png or .svg file; replaced in one step.
    k, inertia
        The curve.
    suggested
        The k to mark; None says "no clear knee" in the picture.
    second, second_name
        Another criterion for each k, on an axis of its own; values that are not finite are
        left out.
    second_to
        Draw it for k from 2 to this, and mark its largest value: beyond, it means nothing.

    Raises
    ------
    StorageError
        When the picture cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 5.3)
    axes = figure.add_subplot()
    marker = "o" if len(k) <= 40 else None
    (curve,) = axes.plot(k, inertia, color="black", linewidth=1.8, marker=marker, markersize=3)
    lines, words = [curve], ["inertia (left axis)"]
    axes.set_xlabel("k, number of clusters")
    axes.set_ylabel("inertia, sum of squared distances")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_ylim(bottom=0)
    if second is not None and np.isfinite(np.asarray(second, dtype=float)).any():
        values = np.asarray(second, dtype=float)
        compared = np.isfinite(values)
        told = f"{legible(second_name)} (right axis)"
        if second_to is not None:
            compared &= (np.asarray(k) >= 2) & (np.asarray(k) <= second_to)
            told = f"{legible(second_name)}, k up to {second_to:,} (right axis)"
        values = np.where(compared, values, np.nan)
        other = axes.twinx()
        (line,) = other.plot(k, values, color="0.5", linestyle="--", marker=marker, markersize=3)
        if second_to is not None and compared.any():
            best = int(np.nanargmax(values))  # the first of equals, as the sentence has it
            other.plot([k[best]], [values[best]], marker="s", color="0.35", fillstyle="none")
            told += f", largest at k = {k[best]}"
        other.set_ylabel(legible(second_name), color="0.35", parse_math=False)
        lines.append(line)
        words.append(told)
    if suggested is not None and suggested in list(k):
        at = inertia[list(k).index(suggested)]
        mark = axes.axvline(suggested, color="0.2", linestyle=":", linewidth=1.2)
        axes.plot([suggested], [at], marker="D", markersize=9, color="black", fillstyle="none")
        lines.append(mark)
        words.append(f"knee: k = {suggested}")
        heading = f"{legible(title)}: the knee is at k = {suggested}"
    else:
        heading = f"{legible(title)}: no clear knee"
    axes.set_title(heading, parse_math=False)
    # Below the axes: inside them a curve may pass anywhere.
    columns = len(lines) if second_to is None else 1
    figure.legend(lines, words, loc="outside lower center", ncols=columns, frameon=False)
    return save(figure, path)
