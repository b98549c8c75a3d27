"""Duplicates: images with the same bytes, copies at other sizes and encodings, and look-alikes."""

from imgclust.duplicates.finding import Duplicate, DuplicateGroup, DuplicatesResult, find
from imgclust.duplicates.grouping import Pairs, grouped
from imgclust.duplicates.looking import look, renewed
from imgclust.duplicates.neighbourhood import Neighbourhood
from imgclust.duplicates.pictures import Pictures
from imgclust.duplicates.thresholds import LIKE, MEASURED, Thresholds, calibrate, known

__all__ = [
    "LIKE",
    "MEASURED",
    "Duplicate",
    "DuplicateGroup",
    "DuplicatesResult",
    "Neighbourhood",
    "Pairs",
    "Pictures",
    "Thresholds",
    "calibrate",
    "find",
    "grouped",
    "known",
    "look",
    "renewed",
]
