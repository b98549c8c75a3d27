"""Which links images should have: their folder, name and original."""

from __future__ import annotations

import os
from collections.abc import Sequence

from imgclust.catalog import Catalog
from imgclust.config import Links
from imgclust.links.ledger import Wanted

# Every cluster's folder has its id in its name, so that none is called this.
OUTLIERS = b"outliers"


class Wishes:
    """The links that images should have, by a clustering and the rules of the collection.

    Attributes
    ----------
    central_first
        True when the names of the links begin with how central the image is in its cluster.
    """

    def __init__(self, catalog: Catalog, rules: Links) -> None:
        self._catalog = catalog
        self._outliers = rules.outliers
        self.central_first = rules.order == "central"

    def of(
        self, images: Sequence[int], current: int | None, folders: dict[int, bytes]
    ) -> tuple[list[Wanted], list[int]]:
        """The links that these images should have, and those of them that should have none."""
        wanted: list[Wanted] = []
        gone: list[int] = []
        rows = self._catalog.images.some(images)
        outlying: set[int] = set()
        clusters: dict[int, int] = {}
        ranks: dict[int, int] = {}
        if current is not None:
            contents = {row.content for row in rows.values()}
            clusters = self._catalog.assignments.clusters_of(current, contents)
            if self.central_first:
                ranks = self._catalog.assignments.centralities(current, contents)
            if self._outliers:
                outlying = self._catalog.assignments.outlying(current, contents)
        for image in dict.fromkeys(images):
            row = rows.get(image)
            cluster = None if row is None else clusters.get(row.content)
            if row is None or cluster is None:
                gone.append(image)
                continue
            name = os.path.basename(row.path)
            if row.content in ranks:
                name = b"%03d %s" % (ranks[row.content], name)
            folder = OUTLIERS if row.content in outlying else folders[cluster]
            wanted.append(Wanted(image, folder, name, row.path))
        return wanted, gone
