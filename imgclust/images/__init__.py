"""From a path to pixels: recognise, claim, hash, decode in worker processes, keep thumbnails."""

from imgclust.images.decoder import (
    PIXEL_CAP,
    SIDE,
    THUMBNAIL_PX,
    Picture,
    Region,
    Undecodable,
    decode,
    region_box,
)
from imgclust.images.filestat import NO_STAT, FileStat, file_stat, is_excluded, stat_of, suffix_of
from imgclust.images.formats import (
    HEAD_BYTES,
    PICTURE_SUFFIXES,
    RAW_FORMATS,
    RAW_SUFFIXES,
    raw_installed,
    recognise,
)
from imgclust.images.headers import Header, header
from imgclust.images.pixel_similarity import cells, copies, likeness, most_likeness, outlines
from imgclust.images.pool import (
    MEMORY_LIMIT_BYTES,
    TASKS_PER_WORKER,
    TIME_LIMIT_S,
    DecodePool,
    Decoder,
)
from imgclust.images.presence import Listings, names_in
from imgclust.images.read_results import (
    NO_PERMISSION,
    Again,
    Decoded,
    Died,
    Outcome,
    ReadFailed,
    Skipped,
    Unreadable,
)
from imgclust.images.reader import SIZE_CAP_BYTES, claim, digest
from imgclust.images.sameness import Difference, Sameness, difference, sameness
from imgclust.images.thumbnails import ThumbnailStore
from imgclust.images.whole import WHOLE_PX, is_series, reduced, whole_picture

__all__ = [
    "HEAD_BYTES",
    "MEMORY_LIMIT_BYTES",
    "NO_PERMISSION",
    "NO_STAT",
    "PICTURE_SUFFIXES",
    "PIXEL_CAP",
    "RAW_FORMATS",
    "RAW_SUFFIXES",
    "SIDE",
    "SIZE_CAP_BYTES",
    "TASKS_PER_WORKER",
    "THUMBNAIL_PX",
    "TIME_LIMIT_S",
    "WHOLE_PX",
    "Again",
    "DecodePool",
    "Decoded",
    "Decoder",
    "Died",
    "Difference",
    "FileStat",
    "Header",
    "Listings",
    "Outcome",
    "Picture",
    "ReadFailed",
    "Region",
    "Sameness",
    "Skipped",
    "ThumbnailStore",
    "Undecodable",
    "Unreadable",
    "cells",
    "claim",
    "copies",
    "decode",
    "difference",
    "digest",
    "file_stat",
    "header",
    "is_excluded",
    "is_series",
    "likeness",
    "most_likeness",
    "names_in",
    "outlines",
    "raw_installed",
    "recognise",
    "reduced",
    "region_box",
    "sameness",
    "stat_of",
    "suffix_of",
    "whole_picture",
]
