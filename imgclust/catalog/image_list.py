"""Images with all that belongs to each, in pages: what an export reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

_PAGE = """
SELECT i.id, i.path, i.content, a.cluster, a.distance, p.x, p.y, p.z, e.vector, i.state = 'missing'
FROM images i
LEFT JOIN assignments a ON a.clustering = :clustering AND a.content = i.content
LEFT JOIN coordinates p ON p.projection = :projection AND p.content = i.content
LEFT JOIN embeddings e ON e.recipe = :recipe AND e.content = i.content
WHERE i.id > :after AND i.id <= :until ORDER BY i.id LIMIT :limit
"""


@dataclass(frozen=True)
class ListedImage:
    """An image with cluster and distance, coordinates `(2 or 3,)` and embedding `(d,)`.

    None means that it has no value, or was not asked for; the embedding is at half
    precision, as stored.
    """

    id: int
    path: bytes
    content: int
    cluster: int | None
    distance: float | None
    coordinates: tuple[float, ...] | None
    embedding: npt.NDArray[np.float16] | None
    missing: bool = False


class Listing:
    """Reads images with their assignments, coordinates and embeddings."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def paths(self) -> Iterator[bytes]:
        """Paths of all images."""
        for (path,) in self._connection.execute("SELECT path FROM images"):
            yield path

    def last(self) -> int:
        """Id of the newest image, 0 when there is none."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM images").get)

    def ids(self) -> npt.NDArray[np.int64]:
        """Ids of all images, ascending."""
        rows = self._connection.execute("SELECT id FROM images ORDER BY id")
        return np.fromiter((image for (image,) in rows), np.int64)

    def copied(self) -> list[tuple[int, int]]:
        """Contents that several images have and nobody dismissed, and how many: most first."""
        rows = self._connection.execute(
            "SELECT i.content, count(*) FROM images i WHERE i.state = 'present' "
            "AND NOT EXISTS (SELECT 1 FROM dismissed d WHERE d.content = i.content "
            "AND d.other = i.content) GROUP BY i.content HAVING count(*) > 1 "
            "ORDER BY 2 DESC, min(i.id)"
        )
        return [(int(content), int(count)) for content, count in rows]

    def page(
        self,
        *,
        after: int,
        until: int,
        limit: int,
        clustering: int | None = None,
        projection: int | None = None,
        recipe: str | None = None,
    ) -> list[ListedImage]:
        """Images with ids above `after` and up to `until`, by id.

        Parameters
        ----------
        clustering, projection, recipe
            Whose clusters, coordinates and embeddings; None for none.
        """
        number = self._connection.execute("SELECT id FROM recipes WHERE name = ?", (recipe,)).get
        rows = self._connection.execute(
            _PAGE,
            {
                "after": after,
                "until": until,
                "limit": limit,
                "clustering": clustering,
                "projection": projection,
                "recipe": number,
            },
        )
        return [_image(row) for row in rows]


def _image(row: Any) -> ListedImage:
    image, path, content, cluster, distance, x, y, z, vector, missing = row
    coordinates = None if x is None else (x, y) if z is None else (x, y, z)
    embedding = None if vector is None else np.frombuffer(vector, "<f2")
    return ListedImage(
        image, path, content, cluster, distance, coordinates, embedding, bool(missing)
    )
