"""The weights that this machine knows: listed, downloaded, verified."""

from __future__ import annotations

from pathlib import Path

from imgclust import weights
from imgclust.collection.folders import cache_folder
from imgclust.progress import Progress, StopFlag, silent


def list_weights() -> tuple[weights.Listed, ...]:
    """ImageNet's weights and the trunk's, and whether each can be used."""
    return weights.listing(cache_folder() / "weights")


def download_weights(
    *, progress: Progress = silent, stop: StopFlag | None = None
) -> weights.Weights:
    """Download what Keras publishes for ImageNet, verified before it is kept.

    Raises
    ------
    WeightsError
        When it cannot be had; nothing else is taken instead.
    """
    return weights.download(cache_folder() / "weights", progress=progress, stop=stop)


def verify_weights(path: Path) -> weights.Weights:
    """Check a weights file: its kind, its structure, its digest.

    Raises
    ------
    WeightsError
        Saying what is wrong with it.
    """
    return weights.verify(path)
