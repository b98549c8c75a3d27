"""Projections as bytes in a catalog: which kind they are, and the value they become."""

from __future__ import annotations

from imgclust.errors import ClusteringError
from imgclust.projection import pca
from imgclust.projection.half_white import SimilarityProjection, SmoothedProjection
from imgclust.projection.pca import PcaProjection
from imgclust.projection.tsne import TsneProjection


def projection_from_bytes(blob: bytes) -> PcaProjection | SmoothedProjection | TsneProjection:
    """Read what `to_bytes` wrote; nothing is unpickled.

    Raises
    ------
    ClusteringError
        When the bytes are not a projection, damaged, or of a newer format.
    """
    kind, arrays = pca.unpacked(blob)
    try:
        if kind == PcaProjection.kind:
            return PcaProjection.of(arrays)
        if kind == TsneProjection.kind:
            return TsneProjection.of(arrays)
        if kind == SmoothedProjection.kind:
            return SmoothedProjection.of(arrays)
    except KeyError as problem:
        raise ClusteringError(
            f"the stored projection lacks {problem}; cluster again to replace it"
        ) from problem
    raise ClusteringError(f"the stored projection is of unknown kind {kind!r}; update imgclust")


def similarity_from_bytes(blob: bytes) -> SimilarityProjection:
    """Read what a `SimilarityProjection` wrote; raises as `projection_from_bytes`."""
    kind, arrays = pca.unpacked(blob)
    if kind != SimilarityProjection.kind or not {"mean", "axes", "learnt", "limits"} <= set(arrays):
        raise ClusteringError("the stored similarity is damaged; cluster again to replace it")
    return SimilarityProjection.of(arrays)
