"""Clusterings, their clusters, and what is suggested about them."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table
from imgclust.errors import NothingThereError, UsageError
from imgclust.numbers import is_digits
from imgclust.wording import NO_CLUSTERS, cluster_shown, joined, no_such_cluster

_COLUMNS = (
    "c.id, c.generation, c.previous, c.created, c.published, c.provisional, c.space, c.k, "
    "c.chosen_by, c.inertia, c.mean_distance, c.seed, r.name, c.projection, c.similarity, "
    "c.sequence, c.contents, c.dims, c.centroids, c.lineage"
)


class DescribedCluster(NamedTuple):
    """A cluster as it was at the fit; `medoid` is a content.

    Mean distance and deviation are those that its `contents` would have had as arrivals; from
    `outlier_from` on an image is an outlier.
    """

    cluster: int
    mean_distance: float
    coherence: float
    medoid: int
    contents: int = 0
    deviation: float = 0.0
    outlier_from: float = math.inf


@dataclass(frozen=True)
class Clustering:
    """One finished run; `centroids` is `(k, dims)` float32, `described` the cluster of each.

    `projection` and `similarity` are numbers of stored projections.
    """

    id: int
    generation: int
    previous: int | None
    created: float
    published: float | None
    provisional: bool
    space: str
    k: int
    chosen_by: str
    inertia: float
    mean_distance: float
    seed: int
    recipe: str
    projection: int | None
    similarity: int | None
    sequence: int
    contents: int
    centroids: npt.NDArray[np.float32]
    described: tuple[DescribedCluster, ...]
    lineage: Mapping[str, Any]

    @property
    def cluster_ids(self) -> tuple[int, ...]:
        """Id of each cluster, by position."""
        return tuple(one.cluster for one in self.described)


@dataclass(frozen=True)
class PublishedClustering:
    """A published clustering in short: without centroids, so that many cost little."""

    id: int
    generation: int
    previous: int | None
    published: float
    provisional: bool
    space: str
    k: int
    chosen_by: str
    inertia: float
    lineage: Mapping[str, Any]


class Clusterings(Table):
    """The tables clusters, clusterings and clustering_clusters."""

    def names(self) -> dict[int, str]:
        """Names of the clusters that have one, gone ones included."""
        rows = self._execute("SELECT id, name FROM clusters WHERE name IS NOT NULL")
        return {int(cluster): str(name) for cluster, name in rows}

    def name(self, cluster: int, name: str | None) -> None:
        """Give a cluster a name, which freezes it, or take it away, which releases it."""
        self._execute(
            "UPDATE clusters SET name = ?, frozen = ? WHERE id = ?",
            (name, int(name is not None), cluster),
        )

    def freeze(self, cluster: int, frozen: bool) -> None:
        """Freeze a cluster, or release it, and leave its name as it is."""
        self._execute("UPDATE clusters SET frozen = ? WHERE id = ?", (int(frozen), cluster))

    def find(self, wanted: int | str, *, past: bool = False) -> int:
        """The id of the cluster that a person gave by id (digits alone) or by name.

        Parameters
        ----------
        wanted
            Of a cluster of the current clustering; its name as it was given, spaces around it
            left out.
        past
            Clusters that are gone count too; of two with one name, the one that is there.

        Raises
        ------
        NothingThereError
            When there is none; the message names what there is.
        UsageError
            When several have this name, as after an undo.
        """
        current = self.current_id()
        if current is None and not past:
            raise NothingThereError(NO_CLUSTERS)
        here = [] if current is None else self.cluster_ids(current)
        ever = [int(one) for (one,) in self._execute("SELECT id FROM clusters")]
        text, names = unicodedata.normalize("NFC", str(wanted).strip()), self.names()
        if isinstance(wanted, int) or is_digits(text):
            text = text.lstrip("0") or text
            found = [one for one in (ever if past else here) if str(one) == text]
        else:
            found = [one for one in here if names.get(one) == text]
            if past and not found:
                found = [one for one in ever if names.get(one) == text]
        if not found and past:
            raise NothingThereError(
                f"there never was a cluster {cluster_shown(text)}; "
                "imgclust clusters history shows all"
            )
        if not found:
            called = [names[one] for one in here if one in names]
            raise NothingThereError(no_such_cluster(text, here, called))
        if len(found) > 1:
            raise UsageError(f"the clusters {joined(found)} are all called {text!r}; give an id")
        return found[0]

    def current_id(self) -> int | None:
        """Number of the current clustering, None before the first."""
        text = self._execute("SELECT value FROM settings WHERE key = 'current_clustering'").get
        return None if text is None else self._parsed(text)

    def current(self) -> Clustering | None:
        """The current clustering."""
        number = self.current_id()
        return None if number is None else self.get(number)

    def get(self, clustering: int) -> Clustering:
        """One clustering.

        Raises
        ------
        NothingThereError
            When there is none with this number.
        """
        row: Any = self._execute(
            f"SELECT {_COLUMNS} FROM clusterings c JOIN recipes r ON c.recipe = r.id "
            "WHERE c.id = ?",
            (clustering,),
        ).fetchone()
        if row is None:
            raise NothingThereError(f"there is no clustering {clustering}")
        positions: list[Any] = self._execute(
            "SELECT cluster, mean_distance, coherence, medoid, contents, deviation, outlier_from "
            "FROM clustering_clusters WHERE clustering = ? ORDER BY position",
            (clustering,),
        ).fetchall()
        facts: list[Any] = list(row[:-3])
        facts[5] = bool(facts[5])
        dims, blob, lineage = row[-3:]
        rest: list[Any] = [
            np.frombuffer(blob, "<f4").reshape(-1, dims).copy(),
            tuple(DescribedCluster(*row) for row in positions),
            self._parsed(lineage),
        ]
        return Clustering(*facts, *rest)

    def cluster_ids(self, clustering: int) -> list[int]:
        """Ids of the clusters of a clustering, by position."""
        rows = self._execute(
            "SELECT cluster FROM clustering_clusters WHERE clustering = ? ORDER BY position",
            (clustering,),
        )
        return [int(cluster) for (cluster,) in rows]

    def count(self, clustering: int) -> int:
        """Number of clusters of a clustering."""
        sql = "SELECT k FROM clusterings WHERE id = ?"
        return int(self._execute(sql, (clustering,)).get or 0)

    def history(self) -> list[PublishedClustering]:
        """All published clusterings, newest first."""
        rows: Any = self._execute(
            "SELECT id, generation, previous, published, provisional, space, k, chosen_by, "
            "inertia, lineage FROM clusterings WHERE published IS NOT NULL ORDER BY id DESC"
        )
        found = []
        for row in rows:
            facts = [*row[:4], bool(row[4]), *row[5:9], self._parsed(row[9])]
            found.append(PublishedClustering(*facts))
        return found

    def begin(
        self,
        *,
        provisional: bool,
        space: str,
        chosen_by: str,
        inertia: float,
        mean_distance: float,
        seed: int,
        recipe: int,
        projection: int | None,
        sequence: int,
        contents: int,
        centroids: npt.NDArray[np.float32],
        similarity: int | None = None,
    ) -> int:
        """Store a clustering that is not published yet."""
        previous = self.current_id()
        generation = 1 if previous is None else self.get(previous).generation + 1
        self._execute(
            "INSERT INTO clusterings (generation, previous, created, provisional, space, k, "
            "chosen_by, inertia, mean_distance, seed, recipe, projection, similarity, sequence, "
            "contents, dims, centroids) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                generation,
                previous,
                time.time(),
                int(provisional),
                space,
                len(centroids),
                chosen_by,
                inertia,
                mean_distance,
                seed,
                recipe,
                projection,
                similarity,
                sequence,
                contents,
                centroids.shape[1],
                np.ascontiguousarray(centroids, "<f4").tobytes(),
            ),
        )
        return self._connection.last_insert_rowid()

    def set_clusters(self, clustering: int, rows: Sequence[DescribedCluster]) -> None:
        """Say which lasting cluster each centroid is, by position; new ids are made here."""
        self._executemany(
            "INSERT OR IGNORE INTO clusters (id) VALUES (?)", ((row.cluster,) for row in rows)
        )
        self._executemany(
            "INSERT INTO clustering_clusters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((clustering, position, *row) for position, row in enumerate(rows)),
        )

    def replace_clusters(
        self,
        clustering: int,
        rows: Sequence[DescribedCluster],
        centroids: npt.NDArray[np.float32],
        *,
        changed: Sequence[int],
    ) -> None:
        """Set clusters and centroids of a clustering again, those `changed` without old sums."""
        for table in ("arrivals", "representatives"):
            self._executemany(
                f"DELETE FROM {table} WHERE clustering = ? AND cluster = ?",
                [(clustering, cluster) for cluster in changed],
            )
        self._execute("DELETE FROM clustering_clusters WHERE clustering = ?", (clustering,))
        self.set_clusters(clustering, rows)
        self._execute(
            "UPDATE clusterings SET k = ?, centroids = ? WHERE id = ?",
            (len(rows), np.ascontiguousarray(centroids, "<f4").tobytes(), clustering),
        )

    def publish(self, clustering: int, lineage: Mapping[str, Any]) -> None:
        """Make it the current clustering."""
        self._execute(
            "UPDATE clusterings SET published = ?, lineage = ? WHERE id = ?",
            (time.time(), json.dumps(lineage), clustering),
        )
        self.make_current(clustering)

    def note_new(self, clustering: int, cluster: int) -> None:
        """A person has made this cluster in a clustering that is published."""
        row: Any = self._execute("SELECT lineage FROM clusterings WHERE id = ?", (clustering,)).get
        lineage = self._parsed(row)
        lineage["new"] = [*lineage.get("new", ()), cluster]
        self._execute(
            "UPDATE clusterings SET lineage = ? WHERE id = ?", (json.dumps(lineage), clustering)
        )

    def make_current(self, clustering: int) -> None:
        """Point at a published clustering, and note when and after which change that was."""
        change = self._execute("SELECT coalesce(max(sequence), 0) FROM changes").get
        self._executemany(
            "INSERT OR REPLACE INTO settings VALUES (?, ?)",
            [
                ("current_clustering", json.dumps(clustering)),
                ("clustered_last", json.dumps([time.time(), change])),
            ],
        )

    def current_fit(self) -> tuple[int, bool] | None:
        """Contents that the current clustering was fitted on, and whether it is provisional."""
        row: Any = self._execute(
            "SELECT contents, provisional FROM clusterings WHERE id = ?", (self.current_id(),)
        ).fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def clustered_last(self) -> tuple[float, int]:
        """When the current clustering became that (wall clock), and after which change."""
        text = self._execute("SELECT value FROM settings WHERE key = 'clustered_last'").get
        at, change = (0.0, 0) if text is None else self._parsed(text)
        return float(at), int(change)

    def confirm(self, clustering: int) -> None:
        """A person has chosen this clustering: it is provisional no more."""
        self._execute("UPDATE clusterings SET provisional = 0 WHERE id = ?", (clustering,))

    def retire(self, recipe: str) -> None:
        """Only clusterings by this recipe stay; the others are left to `drop_unpublished`."""
        other = "recipe <> (SELECT id FROM recipes WHERE name = ?)"
        self._execute(
            "UPDATE clusterings SET previous = NULL WHERE previous IN "
            f"(SELECT id FROM clusterings WHERE {other})",
            (recipe,),
        )
        self._execute(f"UPDATE clusterings SET published = NULL WHERE {other}", (recipe,))

    def drop_unpublished(self, *, rows: int) -> bool:
        """Delete at most so many rows of what a crash left, True when there is nothing left.

        The holder of the clustering lock calls it, each time in a transaction of its own.
        """
        for (number,) in self._execute(
            "SELECT id FROM clusterings WHERE published IS NULL"
        ).fetchall():
            self._execute(
                "DELETE FROM assignments WHERE clustering = ? AND content IN "
                "(SELECT content FROM assignments WHERE clustering = ? LIMIT ?)",
                (number, number, rows),
            )
            if self._connection.changes() == rows:
                return False
            self._execute("DELETE FROM clusterings WHERE id = ?", (number,))
        return True

    def next_cluster_id(self) -> int:
        """An id that no cluster ever had."""
        return 1 + int(
            self._execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'clusters'"
            ).get
            or 0
        )

    def frozen(self) -> tuple[int, ...]:
        """Ids of the frozen clusters of the current clustering, ascending."""
        rows = self._execute(
            "SELECT id FROM clusters JOIN clustering_clusters ON cluster = id "
            "WHERE frozen AND clustering = ? ORDER BY id",
            (self.current_id(),),
        )
        return tuple(int(cluster) for (cluster,) in rows)


@dataclass(frozen=True)
class Suggestion:
    """What a person may do about clusters that arrivals have changed.

    Attributes
    ----------
    kind
        "split": a cluster has become several groups; "merge": two clusters show the same;
        "cluster": there are images that fit no cluster.
    clusters
        Ids of the clusters that it is about.
    images
        How many images it is about: those of the new groups, those of the clusters that have met.
    groups
        How many groups a cluster has become.
    """

    kind: str
    clusters: tuple[int, ...]
    images: int
    groups: int = 1


class Suggestions(Table):
    """The table suggestions; those of a clustering leave with it."""

    def of(self, clustering: int | None) -> tuple[Suggestion, ...]:
        """The suggestions about a clustering, none for None."""
        rows = self._execute(
            "SELECT kind, clusters, images, parts FROM suggestions WHERE clustering = ? "
            "ORDER BY position",
            (clustering,),
        )
        return tuple(
            Suggestion(
                str(kind),
                tuple(map(int, self._parsed(clusters))),
                int(images),
                int(groups),
            )
            for kind, clusters, images, groups in rows
        )

    def replace(self, clustering: int, found: Sequence[Suggestion]) -> None:
        """These are the suggestions about a clustering now; the caller holds the transaction."""
        self._execute("DELETE FROM suggestions WHERE clustering = ?", (clustering,))
        self._executemany(
            "INSERT INTO suggestions SELECT ?, ?, ?, ?, ?, ? "
            "WHERE EXISTS (SELECT 1 FROM clusterings WHERE id = ?)",
            [
                (
                    *(clustering, position, one.kind, json.dumps(one.clusters), one.images),
                    *(one.groups, clustering),
                )
                for position, one in enumerate(found)
            ],
        )

    def sample(
        self, clustering: int, *, old: int, arrived: int, newest: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """About so many contents of a clustering, the `newest` arrivals among them.

        Keys are parts of a hash: every so-manieth is a random sample, and the same each time.

        Returns
        -------
        tuple
            Contents (n,), ascending, the cluster (n,) of each, and which came after the fit (n,).
        """
        counts = dict(
            self._execute(
                "SELECT arrived, count(*) FROM assignments WHERE clustering = ? GROUP BY arrived",
                (clustering,),
            )
        )
        steps = [max(1, -(-counts.get(part, 0) // most)) for part, most in ((0, old), (1, arrived))]
        rows = self._execute(
            "SELECT content, cluster, arrived FROM assignments WHERE clustering = ?1 AND "
            "content % iif(arrived, ?3, ?2) = 0 UNION "
            "SELECT content, cluster, arrived FROM assignments WHERE clustering = ?1 AND arrived "
            "AND content IN (SELECT content FROM images ORDER BY id DESC LIMIT ?4) ORDER BY 1",
            (clustering, *steps, newest),
        ).fetchall()
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        return (
            np.array(columns[0], np.int64),
            np.array(columns[1], np.int64),
            np.array(columns[2], np.bool_),
        )
