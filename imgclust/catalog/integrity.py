"""What the tables say against each other, and embeddings that hold no numbers: damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table
from imgclust.errors import ClusteringError
from imgclust.vectors import Rows, UnitRows
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.catalog.catalog import Catalog


def sqlite_version() -> tuple[int, int, int]:
    """Version of the SQLite library that catalogs are written with."""
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major, minor, patch


class IntegrityQueries(Table):
    """Questions whose answer is an empty list when all is well."""

    def contents_without_images(self) -> list[int]:
        """Keys of contents that no image has."""
        return self._numbers(
            "SELECT key FROM contents WHERE NOT EXISTS "
            "(SELECT 1 FROM images WHERE content = key) ORDER BY key"
        )

    def contents_without_embedding(self, recipe: str) -> list[int]:
        """Keys of contents that are not embedded by a recipe, and do not wait to be read for it."""
        return self._numbers(
            "SELECT key FROM contents WHERE NOT EXISTS (SELECT 1 FROM embeddings e "
            "JOIN recipes r ON e.recipe = r.id WHERE e.content = key AND r.name = ?) AND "
            "(SELECT coalesce(min(coalesce(o.state = 'seen' OR o.mtime_ns = -1, 0)), 0) "
            "FROM images i LEFT JOIN observations o ON o.path = i.path "
            "WHERE i.content = key) = 0 ORDER BY key",
            recipe,
        )

    def assignments_without_content(self, clustering: int) -> list[int]:
        """Contents that a clustering assigns and nobody has."""
        return self._numbers(
            "SELECT content FROM assignments WHERE clustering = ? AND NOT EXISTS "
            "(SELECT 1 FROM contents WHERE key = content) ORDER BY content",
            clustering,
        )

    def frozen_and_lost(self, clustering: int) -> list[int]:
        """Ids of frozen clusters that a clustering, the current one, does not have."""
        return self._numbers(
            "SELECT id FROM clusters WHERE frozen AND id NOT IN "
            "(SELECT cluster FROM clustering_clusters WHERE clustering = ?) ORDER BY id",
            clustering,
        )

    def unpublished(self) -> list[int]:
        """Numbers of clusterings that are not finished."""
        return self._numbers("SELECT id FROM clusterings WHERE published IS NULL ORDER BY id")

    def images_without_observation(self) -> list[tuple[bytes, int]]:
        """Path and root of images without a record of their file."""
        rows = self._execute(
            "SELECT path, root FROM images WHERE NOT EXISTS "
            "(SELECT 1 FROM observations o WHERE o.path = images.path) ORDER BY path"
        )
        return [(bytes(path), int(root)) for path, root in rows]

    def done_without_image(self) -> list[bytes]:
        """Paths that are said to be in, and have no image."""
        rows = self._execute(
            "SELECT path FROM observations WHERE state = 'done' AND NOT EXISTS "
            "(SELECT 1 FROM images i WHERE i.path = observations.path) ORDER BY path"
        )
        return [bytes(path) for (path,) in rows]

    def _numbers(self, sql: str, *values: Any) -> list[int]:
        return [int(row[0]) for row in self._execute(sql, values)]


def finite(vectors: Rows) -> npt.NDArray[np.bool_]:
    """Which of the embeddings `(n, d)` hold neither NaN nor infinity, `(n,)`."""
    if isinstance(vectors, UnitRows):
        return vectors.finite
    return np.asarray(np.isfinite(vectors.sum(axis=1, dtype=np.float64)))


def must_be_numbers(catalog: Catalog, keys: npt.NDArray[np.int64], vectors: Rows) -> None:
    """Refuse embeddings `(n, d)` with NaN or infinity, and say whose they are.

    Raises
    ------
    ClusteringError
        Names the image.
    """
    bad = np.flatnonzero(~finite(vectors))
    if not bad.size:
        return
    images = catalog.images.with_content(int(keys[bad[0]]))
    which = ", ".join(f"{one.id} ({printable(one.path)})" for one in images)
    more = f", and of {bad.size - 1} contents more," if bad.size > 1 else ""
    raise ClusteringError(
        f"the embedding of the image {which}{more} holds NaN or infinity; remove it with "
        "imgclust remove, then add it again with imgclust add"
    )


def damaged_embeddings(catalog: Catalog, recipe: str) -> list[int]:
    """Keys of the contents whose embedding by a recipe holds NaN or infinity; reads them all."""
    contents = catalog.contents
    return [
        int(key)
        for keys, vectors in contents.embedding_parts(contents.embedded(recipe), recipe)
        for key in keys[~finite(vectors)]
    ]
