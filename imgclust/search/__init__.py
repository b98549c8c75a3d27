"""Search: the live index over the catalog, and queries by image, id or file."""

from imgclust.search.catalog_index import LiveIndex
from imgclust.search.similar_images import (
    Neighbour,
    QueryResult,
    Subject,
    image_with_id,
    known_subject,
    mean_subject,
    neighbours,
)

__all__ = [
    "LiveIndex",
    "Neighbour",
    "QueryResult",
    "Subject",
    "image_with_id",
    "known_subject",
    "mean_subject",
    "neighbours",
]
