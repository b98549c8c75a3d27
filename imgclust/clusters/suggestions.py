"""Suggestions: what arrivals have changed about the clusters, and what a person may do about it.

Nothing here changes a cluster. The watcher looks now and then, stores what it finds, and `status`
and `clusters` read it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering, Suggestion
from imgclust.catalog.integrity import finite
from imgclust.clustering.arrived_groups import met_clusters, neighbours_among, new_groups
from imgclust.clustering.burst_groups import burst_rule
from imgclust.clustering.cluster_stats import Drift, Spread, drift, pooled
from imgclust.clusters.feature_space import Vectors, unit
from imgclust.clusters.similarity import similarity_of
from imgclust.errors import ImgclustError, StoppedError
from imgclust.progress import SideWork, StopFlag


@dataclass(frozen=True)
class Drifting:
    """Drift overall, and of each cluster by id."""

    overall: Drift
    clusters: Mapping[int, Drift]

    @property
    def high(self) -> tuple[int, ...]:
        """Ids of the clusters whose arrivals are too far from the centre."""
        return tuple(sorted(cluster for cluster, one in self.clusters.items() if one.high))

    @property
    def suggestion(self) -> str | None:
        """What to tell a person, None while the clusters still fit what arrives."""
        if self.overall.high and self.overall.ratio is not None:
            further = f"{self.overall.ratio:.2f} times as far from their centroids"
            return (
                f"new images lie {further} as those that the clusters were made from; "
                "imgclust cluster updates the clusters"
            )
        if self.high:
            named = ", ".join(str(cluster) for cluster in self.high[:5])
            more = f" and {len(self.high) - 5} more" if len(self.high) > 5 else ""
            return (
                f"new images are far from the centre of cluster {named}{more}; "
                "imgclust cluster updates the clusters"
            )
        return None


def current_drift(catalog: Catalog, clustering: Clustering) -> Drifting:
    """How far the arrivals of a clustering lie from its centroids."""
    came = {
        cluster: Spread(*facts)
        for cluster, facts in catalog.assignments.arrivals(clustering.id).items()
    }
    nothing = Spread(0, 0.0, 0.0)
    fitted = {
        one.cluster: Spread(one.contents, one.mean_distance, one.deviation)
        for one in clustering.described
    }
    clusters = {
        cluster: drift(known, came.get(cluster, nothing), comparisons=len(fitted))
        for cluster, known in fitted.items()
    }
    return Drifting(drift(pooled([*fitted.values()]), pooled([*came.values()])), clusters)


_log = logging.getLogger(__name__)

# Contents that are looked at: all of a small collection, samples of a large one. The newest
# arrivals are always among them, so that a new category is seen whatever came before it.
_OLD, _ARRIVED, _NEWEST = 5_000, 3_000, 2_000
_BLOCK = 500
_COMPARED = 10  # neighbours that may be near copies
# A group is a part of a cluster when so much of it is in that cluster, and the cluster has so many
# other contents as well.
_IN_ONE = 0.6
_OTHERS = 8
# Most of such a group lies in the two clusters that it has joined.
_IN_TWO = 0.8
# Looked again after so many arrivals: this share of what was there, within these bounds.
_SHARE, _LEAST, _MOST = 0.05, 20, 100
# And after so many times as long as the last look has taken.
_PAUSE = 20.0
_LOOKED = "suggestions_looked"


def find_suggestions(
    catalog: Catalog, clustering: Clustering, *, stop: StopFlag
) -> tuple[Suggestion, ...]:
    """What arrivals have changed about a clustering, as far as a sample of its contents shows.

    Raises
    ------
    StoppedError
        When it was asked to stop.
    """
    similarity = similarity_of(catalog, clustering, clustering.recipe).projection
    if similarity is None:
        return ()
    keys, clusters, arrived = catalog.suggestions.sample(
        clustering.id, old=_OLD, arrived=_ARRIVED, newest=_NEWEST
    )
    if not arrived.any() or arrived.all():
        return ()
    rows = np.empty((len(keys), len(similarity.half.mean)), np.float32)
    there = np.zeros(len(keys), np.bool_)
    for start in range(0, len(keys), _BLOCK):
        stop.check()
        part = range(start, min(start + _BLOCK, len(keys)))
        with catalog.snapshot():  # a content does not leave between these two
            known = [
                row
                for row in part
                if catalog.contents.has_embedding(int(keys[row]), clustering.recipe)
            ]
            vectors = catalog.contents.embeddings(keys[known], clustering.recipe)
        rows[known] = unit(vectors)
        there[known] = finite(rows[known])
    keys, clusters, arrived, rows = keys[there], clusters[there], arrived[there], rows[there]
    points = similarity.half.transform(rows)
    # Of a series of frames one picture has come.
    if catalog.bursts.current_id(clustering.recipe) is None:
        group = _near_copies(rows, points, stop=stop)
    else:
        followed = catalog.bursts.followed(clustering.recipe, keys.tolist())
        leaders = np.array([followed.get(key, key) for key in keys.tolist()], np.int64)
        group = np.unique(leaders, return_inverse=True)[1]
    # A picture whose near copy was there before is none that came.
    came = np.ones(int(group.max(initial=-1)) + 1, np.bool_)
    np.logical_and.at(came, group, arrived)
    first = np.unique(group, return_index=True)[1]
    points, clusters_of = points[first], clusters[first]
    images = np.zeros(len(first), np.int64)
    counts = catalog.images.counts_of(keys.tolist())
    np.add.at(images, group, [counts.get(key, 0) for key in keys.tolist()])
    groups = new_groups(points, came, stop=stop)
    spread = [group for group in groups if _largest(clusters_of[group], 2) < _IN_TWO]
    rest = np.setdiff1d(np.arange(len(points)), np.concatenate([*spread, np.empty(0, np.int64)]))
    met = met_clusters(points[rest], came[rest], clusters_of[rest])
    sizes = catalog.assignments.sizes(clustering.id)
    return tuple(_described(groups, met, clusters_of, images, sizes))


def _near_copies(rows: Vectors, points: Vectors, *, stop: StopFlag) -> npt.NDArray[np.int64]:
    """The number of each row's group of near copies, (n,), where no burst groups are stored."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    near = neighbours_among(points, _COMPARED, stop=stop)
    bounds = burst_rule(rows).bounds(rows)
    first, second = [], []
    for start in range(0, len(rows), _BLOCK):
        stop.check()
        part = slice(start, start + _BLOCK)
        cosines = np.einsum("nd,ncd->nc", rows[part], rows[near[part]])
        places, columns = np.nonzero(cosines >= bounds[part, np.newaxis])
        first.append(places + start)
        second.append(near[part][places, columns])
    one, other = np.concatenate(first), np.concatenate(second)
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(rows),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _largest(owners: npt.NDArray[np.int64], number: int) -> float:
    """The share of a group that lies in so many clusters at most."""
    return float(np.sort(np.unique(owners, return_counts=True)[1])[-number:].sum() / len(owners))


def _described(
    groups: list[npt.NDArray[np.int64]],
    met: list[tuple[int, int]],
    clusters: npt.NDArray[np.int64],
    images: npt.NDArray[np.int64],
    sizes: dict[int, int],
) -> list[Suggestion]:
    splits: dict[int, list[npt.NDArray[np.int64]]] = {}
    loose = 0
    for group in groups:
        if any(np.isin(clusters[group], pair).mean() >= _IN_TWO for pair in met):
            continue
        ids, counts = np.unique(clusters[group], return_counts=True)
        owner = int(ids[counts.argmax()])
        if counts.max() >= _IN_ONE * len(group):
            splits.setdefault(owner, []).append(group)
        else:
            loose += int(images[group].sum())
    found = []
    for owner, parts in sorted(splits.items()):
        members = np.concatenate(parts)
        others = np.setdiff1d(np.flatnonzero(clusters == owner), members)
        if len(others) >= _OTHERS:
            count = int(images[members].sum())
            found.append(Suggestion("split", (owner,), count, groups=len(parts) + 1))
    found += [Suggestion("merge", pair, sum(sizes.get(one, 0) for one in pair)) for pair in met]
    if loose:
        found.append(Suggestion("cluster", (), loose))
    return found


def new_suggestions(catalog: Catalog, *, stop: StopFlag) -> tuple[Suggestion, ...]:
    """Find what arrivals have changed, and store it; returns what was not suggested before."""
    began = time.monotonic()
    clustering = catalog.clusterings.current()
    if clustering is None:
        return ()
    arrived = _arrived(catalog, clustering.id)
    found = find_suggestions(catalog, clustering, stop=stop)
    with catalog.transaction():
        if catalog.clusterings.current_id() != clustering.id:
            return ()
        before = {(one.kind, one.clusters) for one in catalog.suggestions.of(clustering.id)}
        catalog.suggestions.replace(clustering.id, found)
        took = time.monotonic() - began
        catalog.store(_LOOKED, [clustering.id, arrived, took])
    return tuple(one for one in found if (one.kind, one.clusters) not in before)


def is_due(catalog: Catalog) -> bool:
    """Whether enough has arrived since the last look at the current clustering."""
    current, fit = catalog.clusterings.current_id(), catalog.clusterings.current_fit()
    if current is None or fit is None:
        return False
    number, before, _ = catalog.setting(_LOOKED) or (None, 0, 0.0)
    since = _arrived(catalog, current) - (before if number == current else 0)
    return since >= max(_LEAST, min(_MOST, _SHARE * fit[0]))


def _arrived(catalog: Catalog, clustering: int) -> int:
    return sum(count for count, _, _ in catalog.assignments.arrivals(clustering).values())


class SuggestionUpkeep:
    """Looks for suggestions when that is due, beside the ingest loop, on a catalog of its own.

    Parameters
    ----------
    tell
        Called with each new suggestion, by `__call__` or `close`.
    stop
        Ends a look.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        path: Path,
        tell: Callable[[Suggestion], None],
        stop: StopFlag,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._path = path
        self._stop = stop
        self._clock = clock
        self._work = SideWork(tell, name="suggestions", stop=stop)
        self._not_before = -np.inf

    def __call__(self, *, over: bool) -> None:
        """Look whether a look is due; with `over` it is done before this returns."""
        if over:
            self.close()
        self._work.report()
        if self._work.running:
            return
        if (not over and self._clock() < self._not_before) or not is_due(self._catalog):
            return
        self._work.start(self._run)
        if over:
            self.close()

    def close(self) -> None:
        """Wait for a look that is on, unless it is to stop but continues."""
        self._work.finish()

    def _run(self) -> None:
        began = self._clock()
        try:
            with Catalog(self._path) as catalog:
                for one in new_suggestions(catalog, stop=self._stop):
                    self._work.put(one)
        except StoppedError:
            pass
        except ImgclustError as error:  # only suggestions: the next look will do
            _log.warning("no suggestions: %s", error)
        except Exception:  # a fault of ours must not end the watcher
            _log.exception("looking for suggestions failed")
        finally:
            now = self._clock()
            self._not_before = now + _PAUSE * (now - began)
