"""Pictures: arrays in, PNG or SVG files out; the same input gives the same file."""

from imgclust.charts.elbow_curve import elbow
from imgclust.charts.figure import cluster_mark, colour
from imgclust.charts.fonts import undrawable
from imgclust.charts.image_sheet import contact_sheet, sprite
from imgclust.charts.interactive_map import draw_interactive_map
from imgclust.charts.scatter import map_2d, map_3d

__all__ = [
    "cluster_mark",
    "colour",
    "contact_sheet",
    "draw_interactive_map",
    "elbow",
    "map_2d",
    "map_3d",
    "sprite",
    "undrawable",
]
