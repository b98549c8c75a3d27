"""Representatives: the contents that show what is in a cluster, chosen once and kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.integrity import finite
from imgclust.clustering.cluster_stats import representatives
from imgclust.progress import Progress, StopFlag, silent

MOST = 9
# Members that are looked at: what nine pictures can show of a cluster is in so many of them.
_SAMPLE = 300
# Clusters kept in one transaction, and lost when the work is cut off.
_CHUNK = 25


def representatives_of(
    catalog: Catalog, clustering: int, cluster: int, recipe: str, *, seed: int = 0
) -> list[int]:
    """Contents that show what is in a cluster, at most nine, the medoid of a sample first.

    What is stored is returned, without the contents that have left the cluster. Where nothing is
    stored, or less than half of what there could be is left of it, they are chosen again among at
    most 300 members and stored.

    Parameters
    ----------
    clustering, cluster
        Number of the clustering, and the lasting id of one of its clusters.
    recipe
        Name of the clustering's recipe.
    seed
        Of the sample and of the choice.

    Returns
    -------
    Keys of contents; none for an empty cluster.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    return all_representatives(catalog, clustering, [cluster], recipe, seed=seed)[cluster]


def all_representatives(
    catalog: Catalog,
    clustering: int,
    clusters: Iterable[int],
    recipe: str,
    *,
    seed: int = 0,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> dict[int, list[int]]:
    """What `representatives_of` says of each of these clusters; reads the assignments once.

    Raises
    ------
    StoppedError
        When the person asked to stop; what was chosen so far is kept.
    """
    wanted = list(clusters)
    found = {one: catalog.assignments.representatives(clustering, one) for one in wanted}
    unsure = [one for one, contents in found.items() if 2 * len(contents) < MOST]
    if not unsure:
        return found
    keys, owners = catalog.assignments.members(clustering, unsure)
    order = np.argsort(owners, kind="stable")
    keys, owners = keys[order], owners[order]
    chosen: dict[int, list[int]] = {}
    for number, cluster in enumerate(unsure):
        if stop is not None:
            stop.check()
        progress("choosing representatives", number, len(unsure))
        first, last = np.searchsorted(owners, [cluster, cluster + 1])
        members = keys[first:last]
        if 2 * len(found[cluster]) < min(MOST, len(members)):
            found[cluster] = chosen[cluster] = _choose(catalog, members, recipe, seed=seed)
        if len(chosen) >= _CHUNK:
            _keep(catalog, clustering, chosen)
    _keep(catalog, clustering, chosen)
    return found


def _choose(
    catalog: Catalog, members: npt.NDArray[np.int64], recipe: str, *, seed: int
) -> list[int]:
    generator = np.random.default_rng(seed)
    if len(members) > _SAMPLE:
        members = np.sort(generator.choice(members, _SAMPLE, replace=False))
    with catalog.snapshot():  # a content does not leave between these two
        there = [key for key in members.tolist() if catalog.contents.has_embedding(key, recipe)]
        vectors = catalog.contents.embeddings(there, recipe)
    sound = finite(vectors)  # a picture with a damaged embedding does not represent its cluster
    there = [key for key, one in zip(there, sound, strict=True) if one]
    if not there:
        return []
    return [there[row] for row in representatives(vectors[sound], MOST, seed=seed)]


def _keep(catalog: Catalog, clustering: int, chosen: dict[int, list[int]]) -> None:
    """Store what was chosen, where that can be, and forget it here."""
    if chosen and catalog.writable:
        with catalog.transaction():
            catalog.assignments.keep_representatives(clustering, chosen)
    chosen.clear()
