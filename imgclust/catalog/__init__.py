"""The catalog: the SQLite file that is the truth about a collection."""

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering, DescribedCluster, PublishedClustering
from imgclust.catalog.contents import Content, key_of
from imgclust.catalog.copies import (
    ASIDE,
    CatalogFacts,
    KeptCatalog,
    facts_of,
    kept_catalogs,
    mark,
    marked,
)
from imgclust.catalog.embedding_validation import damaged_embeddings, finite, must_be_numbers
from imgclust.catalog.folder_moves import DoubledImage, MovedImage
from imgclust.catalog.image_list import ListedImage
from imgclust.catalog.images import Image
from imgclust.catalog.integrity import sqlite_version
from imgclust.catalog.mounts import Mount
from imgclust.catalog.observations import Observation, Quarantined
from imgclust.catalog.projections import StoredProjection
from imgclust.catalog.roots import Root
from imgclust.catalog.schema import APPLICATION_ID, VERSION
from imgclust.catalog.sweeps import StoredSweep

__all__ = [
    "APPLICATION_ID",
    "ASIDE",
    "VERSION",
    "Catalog",
    "CatalogFacts",
    "Clustering",
    "Content",
    "DescribedCluster",
    "DoubledImage",
    "Image",
    "KeptCatalog",
    "ListedImage",
    "Mount",
    "MovedImage",
    "Observation",
    "PublishedClustering",
    "Quarantined",
    "Root",
    "StoredProjection",
    "StoredSweep",
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
