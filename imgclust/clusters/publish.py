"""Publication: a finished fit becomes the current clustering while the watcher runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import DescribedCluster
from imgclust.clustering.cluster_stats import (
    left_out,
    medoid_and_coherence,
    outlier_limits,
    spread,
)
from imgclust.clustering.id_map import Matching
from imgclust.clustering.kmeans import Fit
from imgclust.clusters.correction_demands import enforce, follow_lineage
from imgclust.clusters.feature_space import (
    Space,
    distances_as_arrivals,
    residual_distances,
    store,
)
from imgclust.clusters.model import ChangedMeanwhileError, Model, Succession, lineage
from imgclust.clusters.similarity import fit_and_pack, store_similarity
from imgclust.clusters.space_fit import CurrentClusters
from imgclust.errors import StoppedError
from imgclust.failpoints import passing
from imgclust.progress import Progress, StopFlag

# Assignments written in one transaction: the watcher waits for no more than that.
_CHUNK = 5000
# Changes followed in one transaction (each may need its embedding read and assigned), and how few
# may be left to the transaction that publishes.
_CHANGES = 250
_FEW = 50


def publish(
    catalog: Catalog,
    space: Space,
    done: Fit,
    matching: Matching,
    *,
    standing: CurrentClusters,
    recipe: str,
    chosen_by: str,
    seed: int,
    provisional: bool,
    automatic: bool,
    progress: Progress,
    stop: StopFlag,
    also: Callable[[], None] = lambda: None,
) -> int:
    """Write the assignments in chunks, then publish in one short transaction, with `also` in it.

    What has come and gone since the snapshot is followed in chunks too, the last of it in that
    transaction; the caller holds the clustering lock. Returns the number of the clustering.

    Raises
    ------
    ChangedMeanwhileError
        When a cluster was named after `standing` was read.
    StoppedError
        Before it is current; what was written is left to `drop_unpublished`. Also when it is an
        automatic one in place of a provisional one that a person has made final.
    """
    frozen = standing.constraints.kept
    ids = np.array(matching.ids, np.int64)
    clusters_as_found = described(space, done, matching.ids, before=standing.described)

    def check() -> None:
        if set(catalog.clusterings.frozen()) - set(frozen):
            raise ChangedMeanwhileError("clusters were named meanwhile; run the command again")
        put_into = catalog.corrections.kept(catalog.clusterings.current_id())
        if set(put_into) - {*standing.put_into, *matching.ids}:
            raise ChangedMeanwhileError("images were put elsewhere meanwhile; run it again")
        now = catalog.clusterings.current_fit()
        if automatic and provisional and now is not None and not now[1]:
            raise StoppedError("the clusters were made final meanwhile; they stay")

    check()
    progress("measuring similarity", 0, None)
    similarity = fit_and_pack(catalog, space, recipe=recipe, seed=seed)
    devices.give_back_memory()
    stop.check()
    with catalog.transaction():
        number = catalog.clusterings.begin(
            provisional=provisional,
            space=space.name,
            chosen_by=chosen_by,
            inertia=done.inertia,
            mean_distance=float(done.distances.mean()),
            seed=seed,
            recipe=catalog.contents.recipe_id(recipe),
            projection=store(catalog, space, recipe),
            sequence=space.sequence,
            contents=len(space.keys),
            centroids=done.centroids,
            similarity=store_similarity(catalog, space, recipe, similarity),
        )
        catalog.clusterings.set_clusters(number, clusters_as_found)
    clusters = ids[done.assigned]
    for start in range(0, len(space.keys), _CHUNK):
        part = slice(start, start + _CHUNK)
        progress("writing assignments", start, len(space.keys))
        stop.check()
        with catalog.piece():
            catalog.assignments.assign(
                number,
                zip(
                    space.keys[part].tolist(),
                    clusters[part].tolist(),
                    done.distances[part].tolist(),
                    strict=True,
                ),
                arrived=False,
            )
        passing("recluster.chunk")

    stop.check()
    with catalog.piece():  # members that are to be embedded again
        there = catalog.contents.known(content for content, _, _ in standing.unplaced)
        rows = (row for row in standing.unplaced if row[0] in there)
        catalog.assignments.assign(number, rows, arrived=False)

    def make_public() -> None:
        check()
        now = catalog.clusterings.current_fit()
        told = lineage(matching, catalog.clusterings.names()) | {"frozen": list(frozen)}
        catalog.clusterings.publish(number, told)
        gone = {*matching.gone}
        follow_lineage(
            catalog,
            number,
            split={origin: into for origin, into in matching.split if origin in gone},
            merged={one: heir for origin, heir in matching.merged for one in gone & {*origin}},
            new=matching.new,
        )
        if now is not None and not now[1]:
            catalog.clusterings.confirm(number)
        also()

    succession = Succession({one: (one,) for one in frozen}, matching.ids)
    make_current(
        catalog,
        number,
        recipe=recipe,
        since=space.sequence,
        succession=succession,
        publish=make_public,
        space=space,
    )
    return number


def drop_unpublished(catalog: Catalog) -> None:
    """Delete what a crash left; the caller holds the clustering lock."""
    done = False
    while not done:
        with catalog.piece():
            done = catalog.clusterings.drop_unpublished(rows=_CHUNK)


def make_current(
    catalog: Catalog,
    number: int,
    *,
    recipe: str,
    since: int,
    succession: Succession,
    publish: Callable[[], None],
    space: Space | None = None,
) -> None:
    """Make a clustering the current one, with everything assigned, and the links due.

    Its assignments are those of the contents at change `since`. All that grows with the
    collection is done before the one transaction in which `publish` is called, or (which links
    need a look) after it. What `publish` raises leaves the current clustering as it is.
    """
    followed = _Following(catalog, number, recipe, since, succession, space)
    done = False
    while not done:
        while followed.step():
            pass
        before = catalog.clusterings.current_id()
        with catalog.transaction():
            done = followed.ready()
            if done:
                followed.rest()
                publish()
                enforce(catalog, followed.model, what="this clustering")
                catalog.ledger.queue_review(before)
                passing("recluster.publish")


class _Following:
    """Keeps a clustering that is not current yet up to date with arrivals and removals."""

    def __init__(
        self,
        catalog: Catalog,
        number: int,
        recipe: str,
        since: int,
        succession: Succession,
        space: Space | None,
    ) -> None:
        self._catalog = catalog
        self._succession = succession
        self._recipe = recipe
        self._since = since
        self.model = Model(catalog, catalog.clusterings.get(number), space=space)

    def step(self) -> bool:
        """Follow the next changes in a transaction of its own; False when there are few left."""
        if not self.ready():
            self.model.load()
        with self._catalog.piece():
            return not self.ready() or self._follow() >= _FEW

    def ready(self) -> bool:
        """Whether nothing has to be placed, or what places it is loaded: that takes a while."""
        if self.model.loaded:
            return True
        return not (
            self._catalog.corrections.some or self._catalog.contents.changes_after(self._since, 1)
        )

    def rest(self) -> None:
        """Follow all that is left; the caller holds the transaction."""
        while self._follow():
            pass

    def _follow(self) -> int:
        contents, assignments = self._catalog.contents, self._catalog.assignments
        number = self.model.clustering.id
        changes = contents.changes_after(self._since, _CHANGES)
        if not changes:
            return 0
        touched = {content for _, content, _ in changes}
        there = contents.known(touched)
        assignments.unassign(number, touched - there)
        had = assignments.clusters_of(number, there)
        current = self._catalog.clusterings.current_id()
        now = {} if current is None else assignments.clusters_of(current, there)
        among = self._succession.among(there, now)
        late = sorted(
            key for key in there if key not in had or had[key] not in among.get(key, (had[key],))
        )
        late = [key for key in late if contents.has_embedding(key, self._recipe)]
        if late:
            vectors = contents.embeddings(late, self._recipe)
            self.model.take_in(self._catalog, late, vectors, among=among)
        self._since = changes[-1][0]
        return len(changes)


def described(
    space: Space,
    done: Fit,
    ids: Sequence[int],
    *,
    before: Mapping[int, DescribedCluster] | None = None,
) -> list[DescribedCluster]:
    """Each cluster by position, with what arrivals are compared with.

    Of one without contents (a named one) stays what was said `before`.
    """
    if not len(space.keys):
        return [_empty((before or {})[cluster]) for cluster in ids]
    order = np.argsort(done.assigned, kind="stable")
    bounds = np.searchsorted(done.assigned[order], np.arange(done.k + 1))
    without = distances_as_arrivals(space, done.centroids)
    if without is None:
        without = left_out(space.points, done.centroids, done.assigned, done.distances)
    limits = outlier_limits(without, done.assigned, done.k)
    beforehand = residual_distances(space.projection, space.vectors, space.points, without)
    rows = []
    for position, cluster in enumerate(ids):
        members = order[bounds[position] : bounds[position + 1]]
        if not len(members):
            rows.append(_empty((before or {})[cluster]))
            continue
        centre, alike = medoid_and_coherence(space.vectors, members)
        usual = spread(beforehand[members])
        rows.append(
            DescribedCluster(
                cluster=cluster,
                mean_distance=usual.mean,
                coherence=alike,
                medoid=int(space.keys[members[centre]]),
                contents=usual.count,
                deviation=usual.deviation,
                outlier_from=float(limits[position]),
            )
        )
    return rows


def _empty(before: DescribedCluster) -> DescribedCluster:
    """A cluster without contents: nothing can be compared with them, and nothing is an outlier."""
    return DescribedCluster(before.cluster, 0.0, before.coherence, before.medoid)
