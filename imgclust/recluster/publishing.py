"""Publication: a finished fit becomes the current clustering while the watcher runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from imgclust.catalog import Catalog
from imgclust.clustering import Fit, Matching, coherence, medoid
from imgclust.failpoints import passing
from imgclust.progress import Progress
from imgclust.recluster.space import Model, Space, store

# Assignments written in one transaction: the watcher waits for no more than that.
_CHUNK = 5000


def publish(
    catalog: Catalog,
    room: Space,
    done: Fit,
    matching: Matching,
    *,
    recipe: str,
    chosen_by: str,
    seed: int,
    provisional: bool,
    progress: Progress,
) -> int:
    """Write the assignments in chunks, then publish in one short transaction.

    What has arrived since the snapshot is assigned in that transaction; the caller holds the
    clustering lock. Returns the number of the clustering.
    """
    ids = np.array(matching.ids, np.int64)
    with catalog.transaction():
        number = catalog.clusterings.begin(
            provisional=provisional,
            space=room.name,
            chosen_by=chosen_by,
            inertia=done.inertia,
            mean_distance=float(done.distances.mean()),
            seed=seed,
            recipe=catalog.contents.recipe_id(recipe),
            projection=store(catalog, room, recipe),
            sequence=room.sequence,
            contents=len(room.keys),
            centroids=done.centroids,
        )
        catalog.clusterings.set_clusters(number, described(room, done, matching))
    clusters = ids[done.assigned]
    for start in range(0, len(room.keys), _CHUNK):
        part = slice(start, start + _CHUNK)
        progress("writing assignments", start, len(room.keys))
        with catalog.transaction():
            catalog.clusterings.assign(
                number,
                zip(
                    room.keys[part].tolist(),
                    clusters[part].tolist(),
                    done.distances[part].tolist(),
                    strict=True,
                ),
                arrived=False,
            )
        passing("recluster.chunk")
    names = catalog.clusterings.names()
    with catalog.transaction():
        before = catalog.clusterings.current_id()
        catalog.clusterings.drop_strays(number)
        late = catalog.clusterings.unassigned(number, recipe)
        if late:
            model = Model(catalog, catalog.clusterings.get(number))
            vectors = catalog.contents.embeddings(late, recipe)
            catalog.clusterings.assign(number, model.assign(late, vectors), arrived=True)
        catalog.clusterings.publish(number, lineage(matching, names))
        if before is None:
            catalog.images.queue_all_links()
        else:
            catalog.images.queue_links(catalog.clusterings.moved_images(before, number))
        passing("recluster.publish")
    return number


def described(room: Space, done: Fit, matching: Matching) -> list[tuple[int, float, float, int]]:
    """Each cluster by position: id, mean distance, coherence, content of its medoid."""
    order = np.argsort(done.assigned, kind="stable")
    bounds = np.searchsorted(done.assigned[order], np.arange(done.k + 1))
    rows = []
    for position, cluster in enumerate(matching.ids):
        members = order[bounds[position] : bounds[position + 1]]
        vectors = room.vectors[members]
        centre = int(room.keys[members[medoid(vectors)]])
        mean = float(done.distances[members].mean())
        rows.append((cluster, mean, coherence(vectors), centre))
    return rows


def lineage(matching: Matching, names: Mapping[int, str]) -> dict[str, Any]:
    """Kept, split, merged, new, gone and moved, as stored and as JSON shows them."""
    return {
        "kept": [
            {"id": cluster, "images": images, "jaccard": round(jaccard, 4)}
            for cluster, images, jaccard in matching.kept
        ],
        "split": [{"from": cluster, "into": list(into)} for cluster, into in matching.split],
        "merged": [{"from": list(origin), "into": cluster} for origin, cluster in matching.merged],
        "new": list(matching.new),
        "gone": [{"id": cluster, "name": names.get(cluster)} for cluster in matching.gone],
        "moved": matching.moved,
    }
