"""An older clustering adapted to the frozen clusters of today, so that one can go back to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering
from imgclust.clustering.kmeans import Fit
from imgclust.clusters.model import Model, Succession
from imgclust.clusters.publish import described
from imgclust.clusters.space_fit import moved_centroid
from imgclust.failpoints import passing

# Assignments written in one transaction.
_CHUNK = 1000


def adapted(
    catalog: Catalog, current: Clustering, back: Clustering, *, frozen: Sequence[int]
) -> tuple[Clustering, Succession]:
    """The clustering `back` with the frozen clusters of `current`, and their members, in it.

    Where it has all of them as they are now, it stays as it is. Else those that differ are made
    again in its space: centroids are means of the members. A content that it has in a frozen
    cluster in which it is not now joins the nearest other one, but for the parts of a split that
    is undone. Clusters that are left without contents by this end. All of it can be done again
    after a crash.
    """
    into = {one: (one,) for one in frozen}
    closed = set(frozen)
    asked = current.lineage.get("asked", {})
    if "merge" in asked:
        if asked["into"] in into:
            into[asked["into"]] = tuple(one for one in asked["merge"] if one in back.cluster_ids)
        closed -= {*asked["merge"]}
    closed.discard(asked.get("split"))
    missing = [one for one in frozen if one not in back.cluster_ids]
    ids = (*back.cluster_ids, *missing)
    succession = Succession(into, ids, frozenset(closed))
    with catalog.snapshot():
        keys, then, distances = catalog.assignments.of(back.id)
        contents, clusters, _ = catalog.assignments.of(current.id)
    now = _at(keys, contents, clusters)
    wrong = succession.out_of_place(now, then)
    if not wrong.any() and not missing:
        return back, succession
    target = then.copy()
    bounced = []
    for row in np.flatnonzero(wrong):
        heirs = into.get(int(now[row]), ())
        if len(heirs) == 1:
            target[row] = heirs[0]
        else:
            target[row] = -1
            bounced.append(int(keys[row]))
    touched = {*now[wrong].tolist(), *then[wrong].tolist(), *missing} & {*frozen}
    changed = [one for one in frozen if one in touched]
    left = {one for one in {*then[wrong].tolist()} - {*frozen} if not (target == one).any()}
    _write(catalog, current, back, keys, target, distances, changed=changed, without=left, ids=ids)
    made = catalog.clusterings.get(back.id)
    succession = Succession(into, made.cluster_ids, frozenset(closed))
    model = Model(catalog, made)
    for start in range(0, len(bounced), _CHUNK):
        with catalog.piece():
            there = catalog.contents.known(bounced[start : start + _CHUNK])
            part = [
                one for one in sorted(there) if catalog.contents.has_embedding(one, made.recipe)
            ]
            among = succession.among(part, catalog.assignments.clusters_of(current.id, part))
            if part:
                vectors = catalog.contents.embeddings(part, made.recipe)
                model.take_in(catalog, part, vectors, among=among)
        passing("recluster.chunk")
    return made, succession


def _at(
    keys: npt.NDArray[np.int64], contents: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The cluster of each key, -1 where it is none of the contents (ascending)."""
    found = np.full(len(keys), -1, np.int64)
    if len(contents):
        rows = np.searchsorted(contents, keys)
        rows[rows == len(contents)] = 0
        known = contents[rows] == keys
        found[known] = clusters[rows[known]]
    return found


def _write(
    catalog: Catalog,
    current: Clustering,
    back: Clustering,
    keys: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float32],
    *,
    changed: Sequence[int],
    without: set[int],
    ids: Sequence[int],
) -> None:
    """Make the changed clusters again from the contents that are to be in them."""
    chosen = np.flatnonzero(np.isin(target, changed))
    embedded = [
        row
        for row in chosen.tolist()
        if catalog.contents.has_embedding(int(keys[row]), back.recipe)
    ]
    mine = keys[embedded]
    model = Model(catalog, back)
    space = model.space(
        mine,
        catalog.contents.embeddings(mine, back.recipe),
        counts=np.ones(len(mine), np.int64),
        sequence=back.sequence,
    )
    order = {cluster: place for place, cluster in enumerate(changed)}
    assigned = np.array([order[int(one)] for one in target[embedded]], np.int32)
    centroids = np.zeros((len(changed), back.centroids.shape[1]), np.float32)
    old = {one.cluster: one for one in (*current.described, *back.described)}
    source = Model(catalog, current)
    for place, cluster in enumerate(changed):
        members = assigned == place
        if members.any():
            centroids[place] = space.points[members].mean(axis=0, dtype=np.float64)
        elif cluster in back.cluster_ids:
            centroids[place] = back.centroids[back.cluster_ids.index(cluster)]
        else:
            centroids[place] = moved_centroid(source, cluster, space, back.recipe)
    apart = np.linalg.norm(space.points.astype(np.float64) - centroids[assigned], axis=1)
    done = Fit(
        k=len(changed),
        centroids=centroids,
        assigned=assigned,
        distances=apart.astype(np.float32),
        inertia=float(np.square(apart).sum()),
        asked_k=len(changed),
    )
    rows = dict(zip(changed, described(space, done, changed, before=old), strict=True))
    stay = [one for one in ids if one not in without]
    with catalog.transaction():
        catalog.clusterings.replace_clusters(
            back.id,
            [rows.get(one) or old[one] for one in stay],
            np.stack(
                [
                    centroids[order[one]]
                    if one in order
                    else back.centroids[back.cluster_ids.index(one)]
                    for one in stay
                ]
            ),
            changed=changed,
        )
    apart_of = dict(zip(embedded, apart.tolist(), strict=True))
    placed = [
        (int(keys[row]), int(target[row]), apart_of.get(row, float(distances[row])))
        for row in chosen.tolist()
    ]
    for start in range(0, len(placed), _CHUNK):
        part = placed[start : start + _CHUNK]
        with catalog.piece():
            there = catalog.contents.known(content for content, _, _ in part)
            catalog.assignments.assign(
                back.id, [row for row in part if row[0] in there], arrived=False
            )
        passing("recluster.chunk")
