"""Duplicates: images with the same bytes, copies at other sizes and encodings, and look-alikes."""

from imgclust.duplicates.best import REASONS, Ranking, is_derived, raw_beside, reason
from imgclust.duplicates.copy_test import CopyMemory, CopyTest
from imgclust.duplicates.neighbour_cache import Neighbourhood, Verdict
from imgclust.duplicates.pair_search import Pairs, grouped, search_pairs, updated_neighbourhood
from imgclust.duplicates.pixel_check import Originals, Pictures, Verifier
from imgclust.duplicates.search import Duplicate, DuplicateGroup, DuplicatesResult, find
from imgclust.duplicates.thresholds import LIKE, MEASURED, Thresholds, calibrate, known

__all__ = [
    "LIKE",
    "MEASURED",
    "REASONS",
    "CopyMemory",
    "CopyTest",
    "Duplicate",
    "DuplicateGroup",
    "DuplicatesResult",
    "Neighbourhood",
    "Originals",
    "Pairs",
    "Pictures",
    "Ranking",
    "Thresholds",
    "Verdict",
    "Verifier",
    "calibrate",
    "find",
    "grouped",
    "is_derived",
    "known",
    "raw_beside",
    "reason",
    "search_pairs",
    "updated_neighbourhood",
]
