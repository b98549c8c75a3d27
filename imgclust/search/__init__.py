"""Search: the live index over the catalog, and queries by image, id or file."""

from imgclust.search.asking import (
    Neighbour,
    QueryResult,
    Subject,
    image_with_id,
    known_subject,
    mean_subject,
    neighbours,
)
from imgclust.search.live import LiveIndex

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
