"""A part of a picture, in pixels or in fractions of its sides."""

from __future__ import annotations

import math
from typing import NamedTuple

from imgclust.errors import UsageError


class Region(NamedTuple):
    """Left, top, width and height of a part of an upright picture.

    Fractions of the picture's width and height when none of the four is above 1, else pixels.
    """

    x: float
    y: float
    width: float
    height: float


def region_box(region: Region, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region in a picture of this size, in pixels.

    What lies outside the picture is cut off.

    Raises
    ------
    UsageError
        When nothing is left.
    """
    across, down = (width, height) if max(region) <= 1 else (1, 1)
    left, top = region.x * across, region.y * down
    right, bottom = left + region.width * across, top + region.height * down
    # Cut off before they are rounded: sums of what a person types may be infinite.
    box = (
        math.floor(min(max(0, left), width)),
        math.floor(min(max(0, top), height)),
        math.ceil(max(0, min(width, right))),
        math.ceil(max(0, min(height, bottom))),
    )
    if region.width <= 0 or region.height <= 0 or box[0] >= box[2] or box[1] >= box[3]:
        shown = ",".join(f"{one:g}" for one in region)
        raise UsageError(f"the region {shown} has no pixel of this picture of {width} x {height}")
    return box
