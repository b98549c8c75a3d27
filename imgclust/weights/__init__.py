"""Weights: ImageNet's, the trunk's, or a file's; verified before use, never half-kept."""

from imgclust.weights.chain import Listed, choose, listing
from imgclust.weights.official import DownloadError, cached, download
from imgclust.weights.reading import OFFICIAL_MD5, OFFICIAL_URL, load, trunk, verify
from imgclust.weights.structure import EPSILON, Convolution, Weights

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
