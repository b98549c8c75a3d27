"""The catalog: the SQLite file that is the truth about a collection."""

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import (
    Clustering,
    DescribedCluster,
    PublishedClustering,
    Suggestion,
)
from imgclust.catalog.connection import APPLICATION_ID, VERSION
from imgclust.catalog.contents import Content, key_of
from imgclust.catalog.copies import (
    CatalogFacts,
    KeptCatalog,
    facts_of,
    kept_catalogs,
    mark,
    marked,
)
from imgclust.catalog.corrections import KINDS, Correction, KnownCopy
from imgclust.catalog.details import Details, Facts
from imgclust.catalog.feed import FeedRow, StoredJob
from imgclust.catalog.images import Image, ListedImage
from imgclust.catalog.integrity import damaged_embeddings, finite, must_be_numbers, sqlite_version
from imgclust.catalog.links import Entry, LinkMove, ReadFolder
from imgclust.catalog.moves import DoubledImage, MovedImage
from imgclust.catalog.observations import Observation, Quarantined
from imgclust.catalog.projections import StoredProjection, StoredSweep
from imgclust.catalog.roots import Mount, Root, Volume

__all__ = [
    "APPLICATION_ID",
    "KINDS",
    "VERSION",
    "Catalog",
    "CatalogFacts",
    "Clustering",
    "Content",
    "Correction",
    "DescribedCluster",
    "Details",
    "DoubledImage",
    "Entry",
    "Facts",
    "FeedRow",
    "Image",
    "KeptCatalog",
    "KnownCopy",
    "LinkMove",
    "ListedImage",
    "Mount",
    "MovedImage",
    "Observation",
    "PublishedClustering",
    "Quarantined",
    "ReadFolder",
    "Root",
    "StoredJob",
    "StoredProjection",
    "StoredSweep",
    "Suggestion",
    "Volume",
    "damaged_embeddings",
    "facts_of",
    "finite",
    "kept_catalogs",
    "key_of",
    "mark",
    "marked",
    "must_be_numbers",
    "sqlite_version",
]
