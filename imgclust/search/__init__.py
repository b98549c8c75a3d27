"""Search: the live index over the catalog, and queries by image, id or file."""

from imgclust.search.catalog_index import CatalogIndex
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
    "CatalogIndex",
    "Neighbour",
    "QueryResult",
    "Subject",
    "image_with_id",
    "known_subject",
    "mean_subject",
    "neighbours",
]
