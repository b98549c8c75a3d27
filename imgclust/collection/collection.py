"""Collection: one catalog, its index, its roots and its link folder; a method for each command."""

from __future__ import annotations

from imgclust.collection.cluster_commands import ClusterCommands
from imgclust.collection.image_commands import ImageCommands
from imgclust.collection.root_commands import RootCommands
from imgclust.collection.upkeep_commands import UpkeepCommands


class Collection(ImageCommands, RootCommands, ClusterCommands, UpkeepCommands):
    """An open collection.

    Use `Collection.open`; a collection is a context manager, and used by one thread at a time.
    Results are frozen; every failure is an `ImgclustError`.
    """
