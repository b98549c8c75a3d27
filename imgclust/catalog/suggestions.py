"""Suggestions that a watcher has made about the current clusters, and samples to make them from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table


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
