"""Weights: ImageNet's, the trunk's, or a file's; verified before use, never half-kept."""

from imgclust.weights.loader import (
    EPSILON,
    OFFICIAL_MD5,
    OFFICIAL_URL,
    Convolution,
    Weights,
    load,
    trunk,
    verify,
)
from imgclust.weights.resolver import DownloadError, Listed, cached, choose, download, listing

__all__ = [
    "EPSILON",
    "OFFICIAL_MD5",
    "OFFICIAL_URL",
    "Convolution",
    "DownloadError",
    "Listed",
    "Weights",
    "cached",
    "choose",
    "download",
    "listing",
    "load",
    "trunk",
    "verify",
]
