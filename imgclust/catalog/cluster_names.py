"""Clusters that last: their names, and which of them are frozen."""

from __future__ import annotations

import apsw


class ClusterNames:
    """The table clusters."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def names(self) -> dict[int, str]:
        """Names of the clusters that have one, gone ones included."""
        rows = self._connection.execute("SELECT id, name FROM clusters WHERE name IS NOT NULL")
        return {int(cluster): str(name) for cluster, name in rows}

    def name(self, cluster: int, name: str | None) -> None:
        """Give a cluster a name, which freezes it, or take it away, which releases it."""
        self._connection.execute(
            "UPDATE clusters SET name = ?, frozen = ? WHERE id = ?",
            (name, int(name is not None), cluster),
        )

    def freeze(self, cluster: int, frozen: bool) -> None:
        """Freeze a cluster, or release it, and leave its name as it is."""
        self._connection.execute(
            "UPDATE clusters SET frozen = ? WHERE id = ?", (int(frozen), cluster)
        )
