"""The JSON document of each result (keys may be added, never changed)."""

from imgclust.cli.documents.backups import backup, restored
from imgclust.cli.documents.clusters import (
    cluster,
    cluster_details,
    cluster_row,
    clusters,
    history,
    life,
    links,
    sweep,
    view,
)
from imgclust.cli.documents.collections import (
    collection_deleted,
    collection_place,
    collection_row,
    collections,
    settings,
)
from imgclust.cli.documents.duplicates import dismissed, duplicates
from imgclust.cli.documents.images import (
    accepted,
    damaged,
    event,
    ingested,
    missing,
    quarantine,
    query,
    removed,
)
from imgclust.cli.documents.output import (
    Document,
    dumps,
    error,
)
from imgclust.cli.documents.roots import root_moved, root_removed, roots
from imgclust.cli.documents.upkeep import (
    doctor,
    exported,
    reembedded,
    reported,
    status,
    weights_file,
    weights_list,
)

__all__ = [
    "Document",
    "accepted",
    "backup",
    "cluster",
    "cluster_details",
    "cluster_row",
    "clusters",
    "collection_deleted",
    "collection_place",
    "collection_row",
    "collections",
    "damaged",
    "dismissed",
    "doctor",
    "dumps",
    "duplicates",
    "error",
    "event",
    "exported",
    "history",
    "ingested",
    "life",
    "links",
    "missing",
    "quarantine",
    "query",
    "reembedded",
    "removed",
    "reported",
    "restored",
    "root_moved",
    "root_removed",
    "roots",
    "settings",
    "status",
    "sweep",
    "view",
    "weights_file",
    "weights_list",
]
