"""Assignments: which content is in which cluster of a clustering, and how far from its centroid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table

# Assignments further out than the outlier distance of their cluster, which the fit has set, but
# for what a person has put there; and what a person has called an outlier.
_SAID = "SELECT content FROM corrections WHERE ended IS NULL AND kind = "
_FAR = f"a.distance > cc.outlier_from AND a.content NOT IN ({_SAID}'in')"
_ITS = "cc.clustering = a.clustering AND cc.cluster = a.cluster"
# All of a clustering: by indexes, without reading those that are not.
_OUTLYING = (
    f"SELECT a.cluster, a.content FROM clustering_clusters cc CROSS JOIN assignments a ON {_ITS} "
    f"WHERE cc.clustering = ?1 AND {_FAR} UNION SELECT a.cluster, a.content FROM corrections s "
    "CROSS JOIN assignments a ON a.clustering = ?1 AND a.content = s.content "
    "WHERE s.ended IS NULL AND s.kind = 'outlier'"
)
# Images of a cluster on pages. Each has one order only.
_ORDERS = {
    "distance": "a.distance, i.id",
    "newest": "i.id DESC",
    "oldest": "i.id",
    "name": "i.path",
}


@dataclass(frozen=True)
class Distances:
    """Contents of the fit and the sum of their distances; `inertia` counts arrivals as well."""

    fitted: int
    distances: float
    inertia: float


class Assignments(Table):
    """The tables assignments, arrivals and representatives.

    An assignment is compared with what the fit said of its cluster, in clustering_clusters.
    """

    def assign(
        self, clustering: int, rows: Iterable[tuple[int, int, float]], *, arrived: bool
    ) -> None:
        """Store (content, cluster, distance) rows; an assignment that is there is replaced."""
        self._executemany(
            "INSERT OR REPLACE INTO assignments VALUES (?, ?, ?, ?, ?)",
            (
                (clustering, content, cluster, distance, int(arrived))
                for content, cluster, distance in rows
            ),
        )

    def move(self, clustering: int, rows: Iterable[tuple[int, int, float]]) -> None:
        """Give contents that are assigned another cluster, as (content, cluster, distance)."""
        rows = [*rows]
        for content, cluster, _ in rows:
            self._move_arrival(clustering, content, cluster)
        self._executemany(
            "UPDATE assignments SET cluster = ?, distance = ? WHERE clustering = ? AND content = ?",
            [(cluster, distance, clustering, content) for content, cluster, distance in rows],
        )

    def _move_arrival(self, clustering: int, content: int, cluster: int) -> None:
        """An arrival takes its share of the sums of its cluster along to another one."""
        found = self._execute(
            "SELECT a.cluster, a.distances / a.contents, a.squares / a.contents FROM arrivals a "
            "JOIN assignments b ON b.clustering = a.clustering AND b.cluster = a.cluster "
            "WHERE b.clustering = ? AND b.content = ? AND b.arrived AND a.contents > 0 "
            "AND a.cluster <> ?",
            (clustering, content, cluster),
        ).fetchone()
        if found is None:
            return
        before, distance, square = found
        self._execute(
            "UPDATE arrivals SET contents = contents - 1, distances = distances - ?, "
            "squares = squares - ? WHERE clustering = ? AND cluster = ?",
            (distance, square, clustering, before),
        )
        self._execute(
            "INSERT INTO arrivals VALUES (?, ?, 1, ?, ?) ON CONFLICT (clustering, cluster) "
            "DO UPDATE SET contents = contents + 1, distances = distances + excluded.distances, "
            "squares = squares + excluded.squares",
            (clustering, cluster, distance, square),
        )

    def of(
        self, clustering: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Contents `(n,)` ascending, clusters `(n,)` and distances `(n,)` of a clustering."""
        rows = self._execute(
            "SELECT content, cluster, distance FROM assignments WHERE clustering = ? "
            "ORDER BY content",
            (clustering,),
        ).fetchall()
        return (
            np.fromiter((row[0] for row in rows), np.int64, len(rows)),
            np.fromiter((row[1] for row in rows), np.int64, len(rows)),
            np.fromiter((row[2] for row in rows), np.float32, len(rows)),
        )

    def arrived(self, clustering: int) -> npt.NDArray[np.int64]:
        """Contents `(n,)`, ascending, that came after the fit of a clustering."""
        rows = self._execute(
            "SELECT content FROM assignments WHERE clustering = ? AND arrived ORDER BY content",
            (clustering,),
        )
        return np.fromiter((content for (content,) in rows), np.int64)

    def members(
        self, clustering: int, clusters: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Contents `(n,)`, ascending, of some clusters, and the cluster `(n,)` of each."""
        rows = self._execute(
            "SELECT content, cluster FROM assignments WHERE clustering = ? AND cluster IN "
            "(SELECT value FROM json_each(?)) ORDER BY content",
            (clustering, json.dumps(list(clusters))),
        ).fetchall()
        return (
            np.fromiter((row[0] for row in rows), np.int64, len(rows)),
            np.fromiter((row[1] for row in rows), np.int64, len(rows)),
        )

    def distances_but(self, clustering: int, clusters: Sequence[int]) -> Distances:
        """Sums over all clusters but these."""
        row: Any = self._execute(
            "SELECT total(1 - arrived), total((1 - arrived) * distance), "
            "total(distance * distance) FROM assignments WHERE clustering = ? "
            "AND cluster NOT IN (SELECT value FROM json_each(?))",
            (clustering, json.dumps(list(clusters))),
        ).fetchone()
        return Distances(int(row[0]), float(row[1]), float(row[2]))

    def take_over(
        self, old: int, new: int, *, but: Sequence[int], until: int, after: int, limit: int
    ) -> int | None:
        """Copy assignments of one clustering to another, those to the clusters `but` left out.

        So is what was added after change `until`. Goes through up to `limit` of the contents above
        `after`; returns the last of them, None at the end.
        """
        last = self._execute(
            "SELECT max(content) FROM (SELECT content FROM assignments WHERE clustering = ? "
            "AND content > ? ORDER BY content LIMIT ?)",
            (old, after, limit),
        ).get
        if last is None:
            return None
        self._execute(
            "INSERT INTO assignments SELECT ?, content, cluster, distance, arrived "
            "FROM assignments WHERE clustering = ? AND content > ? AND content <= ? "
            "AND cluster NOT IN (SELECT value FROM json_each(?)) "
            "AND content NOT IN (SELECT content FROM changes WHERE sequence > ?)",
            (new, old, after, last, json.dumps(list(but)), until),
        )
        return int(last)

    def take_over_arrivals(self, old: int, new: int, *, but: Sequence[int]) -> None:
        """Copy the sums of arrivals, those of the clusters `but` left out."""
        self._execute(
            "INSERT INTO arrivals SELECT ?, cluster, contents, distances, squares FROM arrivals "
            "WHERE clustering = ? AND cluster NOT IN (SELECT value FROM json_each(?))",
            (new, old, json.dumps(list(but))),
        )

    def overlaps(self, old: int, new: int) -> dict[tuple[int, int], int]:
        """Images by (cluster in the one clustering, cluster in the other)."""
        rows = self._execute(
            "SELECT o.cluster, n.cluster, count(*) FROM images i "
            "JOIN assignments o ON o.clustering = ? AND o.content = i.content "
            "JOIN assignments n ON n.clustering = ? AND n.content = i.content GROUP BY 1, 2",
            (old, new),
        )
        return {(int(one), int(other)): int(count) for one, other, count in rows}

    def cluster_of(self, clustering: int, content: int) -> int | None:
        """Cluster of a content."""
        value = self._execute(
            "SELECT cluster FROM assignments WHERE clustering = ? AND content = ?",
            (clustering, content),
        ).get
        return None if value is None else int(value)

    def clusters_of(self, clustering: int, contents: Iterable[int]) -> dict[int, int]:
        """Cluster of those of the contents that the clustering has assigned."""
        rows = self._executemany(
            "SELECT content, cluster FROM assignments WHERE clustering = ? AND content = ?",
            [(clustering, content) for content in contents],
        )
        return {int(content): int(cluster) for content, cluster in rows}

    def centralities(self, clustering: int, contents: Iterable[int]) -> dict[int, int]:
        """How far contents are from the centre of their cluster: 0 at the centroid, 499 at the
        mean, to 999.

        That of a content depends on its own distance only, so that no arrival changes others'.
        """
        rows = self._executemany(
            "SELECT a.content, a.distance, c.mean_distance FROM assignments a "
            "JOIN clustering_clusters c ON c.clustering = a.clustering AND c.cluster = a.cluster "
            "WHERE a.clustering = ? AND a.content = ?",
            [(clustering, content) for content in contents],
        )
        return {
            int(content): int(999 * distance / ((distance + mean) or 1.0))
            for content, distance, mean in rows
        }

    def unassigned(self, clustering: int, recipe: str) -> list[int]:
        """Contents embedded by `recipe` that the clustering has not assigned."""
        # EXCEPT walks both indexes side by side; looking each content up costs three times that.
        rows = self._execute(
            "SELECT content FROM embeddings WHERE recipe = "
            "(SELECT id FROM recipes WHERE name = ?) "
            "EXCEPT SELECT content FROM assignments WHERE clustering = ? ORDER BY 1",
            (recipe, clustering),
        )
        return [int(content) for (content,) in rows]

    def unassign(self, clustering: int, contents: Iterable[int]) -> None:
        """Delete the assignments of contents that have left."""
        self._executemany(
            "DELETE FROM assignments WHERE clustering = ? AND content = ?",
            [(clustering, content) for content in contents],
        )

    def drop_strays(self, clustering: int) -> None:
        """Delete the assignments of all contents that nobody has."""
        self._execute(
            "DELETE FROM assignments WHERE clustering = ? "
            "AND NOT EXISTS (SELECT 1 FROM contents WHERE key = content)",
            (clustering,),
        )

    def sizes(self, clustering: int) -> dict[int, int]:
        """Images (not contents) in every cluster of a clustering, empty ones included."""
        # An index counts the contents; most have one image. Looking each up costs four times that.
        rows = self._execute(
            "SELECT cc.cluster, coalesce(sum(s.images), 0) FROM clustering_clusters cc LEFT JOIN ("
            "SELECT cluster, count(*) AS images FROM assignments WHERE clustering = ?1 "
            "GROUP BY cluster UNION ALL "
            "SELECT a.cluster, c.more FROM (SELECT content, count(*) - 1 AS more FROM images "
            "GROUP BY content HAVING count(*) > 1) c CROSS JOIN assignments a "
            "ON a.clustering = ?1 AND a.content = c.content UNION ALL "
            "SELECT a.cluster, -1 FROM (SELECT content FROM assignments WHERE clustering = ?1 "
            "EXCEPT SELECT content FROM images) n CROSS JOIN assignments a "
            "ON a.clustering = ?1 AND a.content = n.content"
            ") s ON s.cluster = cc.cluster WHERE cc.clustering = ?1 "
            "GROUP BY cc.cluster ORDER BY cc.cluster",
            (clustering,),
        )
        return {int(cluster): int(count) for cluster, count in rows}

    def images_with_distances(
        self,
        clustering: int,
        cluster: int,
        *,
        order: str = "distance",
        offset: int = 0,
        limit: int = -1,
    ) -> list[tuple[int, bytes, int, float, bool]]:
        """Images of a cluster: id, path, content, distance, True if missing.

        The nearest first, or by "newest", "oldest" or "name"; at most `limit` unless it is -1.
        """
        rows = self._execute(
            "SELECT i.id, i.path, i.content, a.distance, i.state = 'missing' FROM assignments a "
            "CROSS JOIN images i ON i.content = a.content "
            f"WHERE a.clustering = ? AND a.cluster = ? ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?",
            (clustering, cluster, limit, offset),
        )
        return [
            (int(image), bytes(path), int(content), float(distance), bool(missing))
            for image, path, content, distance, missing in rows
        ]

    def count_images_in(self, clustering: int, cluster: int) -> int:
        """Number of images in a cluster."""
        return int(
            self._execute(
                "SELECT count(*) FROM assignments a CROSS JOIN images i ON i.content = a.content "
                "WHERE a.clustering = ? AND a.cluster = ?",
                (clustering, cluster),
            ).get
        )

    def central(self, clustering: int, cluster: int, medoid: int) -> int | None:
        """The medoid while an image of the cluster has that content, else the nearest that one has.

        None for a cluster without images.
        """
        there = self._execute(
            "SELECT 1 FROM assignments a JOIN images i ON i.content = a.content "
            "WHERE a.clustering = ? AND a.content = ? AND a.cluster = ? LIMIT 1",
            (clustering, medoid, cluster),
        ).get
        if there is not None:  # all of the cluster need not be read
            return medoid
        found: int | None = self._execute(
            "SELECT a.content FROM assignments a JOIN images i ON i.content = a.content "
            "WHERE a.clustering = ? AND a.cluster = ? ORDER BY a.distance, i.id LIMIT 1",
            (clustering, cluster),
        ).get
        return found

    def images_in(self, clustering: int, cluster: int) -> list[int]:
        """Ids of the images in a cluster."""
        rows = self._execute(
            "SELECT i.id FROM assignments a JOIN images i ON i.content = a.content "
            "WHERE a.clustering = ? AND a.cluster = ? ORDER BY i.id",
            (clustering, cluster),
        )
        return [int(image) for (image,) in rows]

    def contents_in(self, clustering: int, cluster: int) -> list[int]:
        """Keys of the contents in a cluster."""
        rows = self._execute(
            "SELECT content FROM assignments WHERE clustering = ? AND cluster = ? "
            "ORDER BY +content",  # else all contents are read in that order
            (clustering, cluster),
        )
        return [int(content) for (content,) in rows]

    def differing(self, one: int, other: int) -> set[int]:
        """Contents that two clusterings do not have in the same cluster."""
        first, second = self.of(one)[:2], self.of(other)[:2]
        both, rows, others = np.intersect1d(
            first[0], second[0], assume_unique=True, return_indices=True
        )
        moved = both[first[1][rows] != second[1][others]]
        alone = np.setxor1d(first[0], second[0], assume_unique=True)
        return {*moved.tolist(), *alone.tolist()}

    def count_arrivals(self, clustering: int, rows: Iterable[tuple[int, float]]) -> None:
        """Add to the sums of a clustering: the cluster of each arrival, and its distance."""
        self._executemany(
            "INSERT INTO arrivals VALUES (?, ?, 1, ?, ?) ON CONFLICT (clustering, cluster) "
            "DO UPDATE SET contents = contents + 1, distances = distances + excluded.distances, "
            "squares = squares + excluded.squares",
            [(clustering, cluster, apart, apart * apart) for cluster, apart in rows],
        )

    def arrivals(self, clustering: int) -> dict[int, tuple[int, float, float]]:
        """Number of contents that came after the fit, mean and deviation of their distances."""
        rows = self._execute(
            "SELECT cluster, contents, distances / contents, squares / contents FROM arrivals "
            "WHERE clustering = ? AND contents > 0",
            (clustering,),
        )
        return {
            int(cluster): (int(count), float(mean), math.sqrt(max(0.0, squared - mean * mean)))
            for cluster, count, mean, squared in rows
        }

    def outliers(self, clustering: int) -> dict[int, int]:
        """Images that are outliers of their cluster, by cluster; clusters without are left out."""
        rows = self._execute(
            f"SELECT o.cluster, count(*) FROM ({_OUTLYING}) o CROSS JOIN images i "
            "ON i.content = o.content GROUP BY o.cluster",
            (clustering,),
        )
        return {int(cluster): int(count) for cluster, count in rows}

    def all_outlying(self, clustering: int) -> set[int]:
        """Contents that are outliers of their cluster."""
        rows = self._execute(f"SELECT content FROM ({_OUTLYING})", (clustering,))
        return {int(content) for (content,) in rows}

    def outlying(self, clustering: int, contents: Iterable[int]) -> set[int]:
        """Those of the contents that are outliers of their cluster."""
        rows = self._executemany(
            f"SELECT a.content FROM assignments a JOIN clustering_clusters cc ON {_ITS} "
            f"WHERE a.clustering = ? AND a.content = ? AND ({_FAR} "
            f"OR a.content IN ({_SAID}'outlier'))",
            [(clustering, content) for content in contents],
        )
        return {int(content) for (content,) in rows}

    def representatives(self, clustering: int, cluster: int) -> list[int]:
        """Contents kept to show a cluster, in their order; without those that have left it."""
        rows = self._execute(
            "SELECT r.content FROM representatives r JOIN assignments a "
            "ON a.clustering = r.clustering AND a.content = r.content AND a.cluster = r.cluster "
            "WHERE r.clustering = ? AND r.cluster = ? ORDER BY r.rank",
            (clustering, cluster),
        )
        return [int(content) for (content,) in rows]

    def keep_representatives(self, clustering: int, shown: Mapping[int, Sequence[int]]) -> None:
        """Keep the contents that show each cluster; a clustering that is gone keeps nothing."""
        self._executemany(
            "DELETE FROM representatives WHERE clustering = ? AND cluster = ?",
            [(clustering, cluster) for cluster in shown],
        )
        self._executemany(
            "INSERT INTO representatives SELECT id, ?, ?, ? FROM clusterings WHERE id = ?",
            [
                (cluster, rank, content, clustering)
                for cluster, contents in shown.items()
                for rank, content in enumerate(contents)
            ],
        )
