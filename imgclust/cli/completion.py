"""What a shell completes: names of collections and configurations, ids of clusters, folders.

Asked for while a person types, so nothing heavy is loaded. The catalog is read by Python's own
SQLite, which opens it for reading only; whatever goes wrong, nothing is completed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

# SQLite waits so long for a lock; a person does not.
_PATIENCE_S = 0.1
_CLUSTERS = """
SELECT here.cluster, coalesce(c.name, '') FROM settings s
JOIN clustering_clusters here ON here.clustering = CAST(s.value AS INTEGER)
LEFT JOIN clusters c ON c.id = here.cluster
WHERE s.key = 'current_clustering' ORDER BY here.cluster
"""


def collections(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the collections of the index folder."""
    from imgclust import paths

    with contextlib.suppress(Exception):
        names = paths.collections_in(_index(context))
        return [name for name in names if name.startswith(incomplete)]
    return []


def clusters(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the current clusters, each with its name; names once a person types one."""
    with contextlib.suppress(Exception):
        rows = [(str(cluster), name) for cluster, name in _select(context, _CLUSTERS)]
        if incomplete and not incomplete.isdigit():
            rows = [(name, f"cluster {cluster}") for cluster, name in rows if name]
        return [row for row in rows if row[0].startswith(incomplete)]
    return []


def roots(context: typer.Context, incomplete: str) -> list[str]:
    """Paths of the folders that images come from."""
    with contextlib.suppress(Exception):
        paths = [os.fsdecode(path) for (path,) in _select(context, "SELECT path FROM roots")]
        return sorted(path for path in paths if path.startswith(incomplete))
    return []


def configurations(incomplete: str) -> list[str]:
    """Names of the configurations that come with imgclust; files are completed by the shell."""
    from imgclust import config

    names = sorted(file.stem for file in config.bundled_folder().glob("*.toml"))
    return [name for name in names if name.startswith(incomplete)]


def _select(context: typer.Context, query: str) -> Iterator[Any]:
    import sqlite3

    from imgclust import paths

    catalog = _index(context) / (_given(context, "collection") or "default") / paths.CATALOG
    connection = sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_S)
    with contextlib.closing(connection):
        yield from connection.execute(query)


def _index(context: typer.Context) -> Path:
    from imgclust import paths

    given = _given(context, "index")
    return paths.find_index_folder(None if given is None else Path(given)).path


def _given(context: typer.Context, name: str) -> Any:
    """A global option, from the command or from before it."""
    here: Any = context
    while here is not None:
        if here.params.get(name):
            return here.params[name]
        here = here.parent
    return None
