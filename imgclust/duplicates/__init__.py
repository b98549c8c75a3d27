"""Duplicates: images with the same bytes, copies at other sizes and encodings, and look-alikes."""

from imgclust.duplicates.finding import Duplicate, DuplicateGroup, DuplicatesResult, find
from imgclust.duplicates.grouping import Pairs, grouped
from imgclust.duplicates.pictures import Pictures
from imgclust.duplicates.thresholds import MEASURED, Thresholds, calibrate, known

__all__ = [
    "MEASURED",
    "Duplicate",
    "DuplicateGroup",
    "DuplicatesResult",
    "Pairs",
    "Pictures",
    "Thresholds",
    "calibrate",
    "find",
    "grouped",
    "known",
]
