"""Sprites: pictures in a square grid without gaps, row by row, as TensorBoard's projector reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from imgclust.charts.image_sheet import Picture, opened


def sprite(path: Path, pictures: Iterable[Picture], *, count: int, cell_px: int) -> Path:
    """Draw a sprite.

    Parameters
    ----------
    path
        A .png file, in a folder that the caller makes and replaces in one step.
    pictures
        Images, encoded bytes, or None (an empty cell).
    count
        How many they are; the grid has the fewest columns whose square holds them all.
    cell_px
        Side of the square that each picture is fitted into, in pixels.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    columns = next(side for side in range(1, count + 1) if side * side >= count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * cell_px, rows * cell_px), "white")
    for number, picture in enumerate(pictures):
        image = opened(picture)
        if image is None:
            continue
        image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
        left = number % columns * cell_px + (cell_px - image.width) // 2
        top = number // columns * cell_px + (cell_px - image.height) // 2
        sheet.paste(image, (left, top))
    sheet.save(path)
    return path
