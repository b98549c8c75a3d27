"""Split and merge: some clusters change, all others keep id, centroid and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.clustering.choose_k import suggest
from imgclust.clustering.constraints import satisfied
from imgclust.clustering.id_map import Matching, match
from imgclust.clustering.k_sweep import sweep
from imgclust.clustering.kmeans import Fit, fit
from imgclust.clusters.correction_conflicts import demanded
from imgclust.clusters.correction_demands import require_mergeable, without_empty
from imgclust.clusters.feature_space import Vectors
from imgclust.clusters.model import ClusterResult
from imgclust.clusters.partial_update import (
    Change,
    Group,
    apply_change,
    group_of,
    unchanged,
    with_others,
)
from imgclust.clusters.stored_sweeps import fit_of
from imgclust.config import Settings
from imgclust.errors import NothingThereError, UsageError
from imgclust.numbers import count_or_auto
from imgclust.progress import Progress, StopFlag
from imgclust.wording import counted, joined

_ROWS = 10_000  # rows that distances are measured of at a time


def split(
    catalog: Catalog,
    cluster: int | str,
    *,
    k: int | str,
    recipe: str,
    settings: Settings,
    gpu: bool,
    dry_run: bool,
    progress: Progress,
    stop: StopFlag,
) -> ClusterResult:
    """Divide one cluster by k-means in the space, and with the seed, of the current clustering.

    The parts are matched with the cluster as a new clustering is with the old one. With "auto"
    k is the knee over the cluster's own contents, with the fallbacks of a clustering; where they
    say 1, nothing changes. The largest part of a frozen cluster keeps its id, name and freezing,
    however small it is. The caller holds the clustering lock.

    Raises
    ------
    NothingThereError
        When there is no such cluster, or its images cannot be told apart.
    RecipeError
        When the clusters are of another recipe than the collection.
    UsageError
        When `k` is neither "auto" nor 2 or more.
    """
    wanted = count_or_auto(k, name="k", least=2)
    cluster = catalog.clusterings.find(cluster)
    group = group_of(catalog, (cluster,), recipe=recipe, progress=progress)
    _must_differ(group, cluster)
    done, chosen_by, reason = _parts(group, wanted, settings, gpu, progress, stop)
    stop.check()
    done = _kept_together(catalog, group, done)
    if done.k == 1:
        sentence = f"cluster {cluster} stays whole: {reason}"
        return unchanged(catalog, group, chosen_by, sentence, dry_run=dry_run)
    frozen = cluster in group.frozen or cluster in catalog.corrections.kept(group.base.id)
    if frozen:
        done = _largest_first(done, group)
    local = match(
        group.before,
        done.assigned,
        k=done.k,
        next_id=catalog.clusterings.next_cluster_id(),
        weights=group.space.counts,
        old_ids=(cluster,),
        pinned=(cluster,) if frozen else (),
    )
    change = Change(
        group=group,
        fit=done,
        ids=local.ids,
        matching=with_others(group, local),
        asked={"split": cluster, "into": sorted(local.ids)},
        chosen_by=chosen_by,
        sentence=f"split cluster {cluster} into {counted(done.k, 'cluster')}; {reason}",
        heirs={cluster: tuple(local.ids)},
    )
    return apply_change(catalog, change, dry_run=dry_run, progress=progress)


def merge(
    catalog: Catalog,
    clusters: Sequence[int | str],
    *,
    name: str | None,
    recipe: str,
    dry_run: bool,
    progress: Progress,
) -> ClusterResult:
    """Put clusters together into the largest of them, which keeps its id (ties: the lowest).

    So does its name, unless a `name` is given; if it has none, the whole takes that of the largest
    of the others that has one. It is frozen where one of them was or a name is given. The centroid
    is the mean of all contents. The caller holds the clustering lock.

    Raises
    ------
    NothingThereError
        When there is no such cluster, or none of them has an image.
    RecipeError
        When the clusters are of another recipe than the collection.
    UsageError
        When fewer than two different clusters are given.
    """
    chosen: tuple[int, ...] = ()
    if len(set(clusters)) > 1:
        chosen = tuple(sorted({catalog.clusterings.find(one) for one in clusters}))
    if len(chosen) < 2:
        raise UsageError("merging takes two or more different clusters")
    group = group_of(catalog, chosen, recipe=recipe, progress=progress)
    require_mergeable(catalog, group.base.id, chosen)
    heir = max(chosen, key=lambda one: (group.sizes[one], -one))
    total = sum(group.sizes[one] for one in chosen)
    local = Matching(
        ids=(heir,),
        kept=((heir, group.sizes[heir], group.sizes[heir] / total),),
        split=(),
        merged=((chosen, heir),),
        new=(),
        gone=tuple(one for one in chosen if one != heir),
        moved=total - group.sizes[heir],
    )
    asked: dict[str, Any] = {"merge": list(chosen), "into": heir}
    sentence = f"{joined(chosen)} merged into {heir}"
    names = {one: group.names[one] for one in chosen if one in group.names}
    kept = names.get(heir)
    if kept is None and names:
        kept = names[max(names, key=lambda one: (group.sizes[one], -one))]
    if name is not None:
        asked["given"] = True
        kept = name
    if kept != names.get(heir):
        asked["name"] = kept
        asked["before"] = names.get(heir)
        sentence += f", which takes the name {kept}"
    lost = [one for one in names if names[one] != kept]
    if lost:
        ending = "the name ends: " if len(lost) == 1 else "the names end: "
        sentence += "; " + ending + ", ".join(f"{names[one]} (cluster {one})" for one in lost)
    change = Change(
        group=group,
        fit=_whole(group.space.points),
        ids=(heir,),
        matching=with_others(group, local),
        asked=asked,
        chosen_by="user",
        sentence=sentence,
        heirs=dict.fromkeys(chosen, (heir,)),
    )
    return apply_change(catalog, change, dry_run=dry_run, progress=progress)


def _kept_together(catalog: Catalog, group: Group, done: Fit) -> Fit:
    """The parts with contents that have to be together in one of them."""
    active = [one for one in catalog.corrections.active() if one.kind == "together"]
    found = demanded(active, group.space.keys.tolist(), ())
    rows = np.searchsorted(group.space.keys, found.keys)
    if not len(rows):
        return done
    points, assigned = group.space.points, done.assigned.copy()
    assigned[rows] = satisfied(points[rows], done.centroids, assigned[rows], found.demands)
    distances = np.linalg.norm(points - done.centroids[assigned], axis=1).astype(np.float32)
    inertia = float(np.square(distances, dtype=np.float64).sum())
    done = replace(done, assigned=assigned, distances=distances, inertia=inertia)
    return without_empty(done)[0]


def _largest_first(done: Fit, group: Group) -> Fit:
    """The same fit with the cluster of most images at position 0."""
    sizes = np.bincount(done.assigned, weights=group.space.counts, minlength=done.k)
    order = np.argsort(-sizes, kind="stable")
    places = np.empty(done.k, np.int32)
    places[order] = np.arange(done.k)
    return replace(done, centroids=done.centroids[order], assigned=places[done.assigned])


def _must_differ(group: Group, cluster: int) -> None:
    images = group.sizes[cluster]
    if images == 1:
        raise NothingThereError(f"cluster {cluster} has one image; there is nothing to split")
    vectors = group.space.vectors[:]
    if (vectors == vectors[0]).all():
        raise NothingThereError(
            f"the {images} images of cluster {cluster} have identical embeddings; "
            "there is nothing to split"
        )


def _parts(
    group: Group, k: int | None, settings: Settings, gpu: bool, progress: Progress, stop: StopFlag
) -> tuple[Fit, str, str]:
    """The fit of a cluster's contents, who chose its k, and why."""
    seed = group.base.seed
    if k is not None:
        done = fit(group.space.points, k, seed=seed, gpu=gpu, progress=progress, stop=stop)
        return done, "user", done.sentence
    found = sweep(
        group.space.points,
        k_max=settings.clustering.k_max or None,
        seed=seed,
        gpu=gpu,
        progress=progress,
        stop=stop,
    )
    stop.check()  # half a sweep decides nothing
    suggestion = suggest(found, group.space.points, seed=seed, progress=progress, stop=stop)
    centroids = found.centroids[found.k.index(suggestion.chosen)]
    return fit_of(group.space.points, centroids), suggestion.chosen_by, suggestion.sentence


def _whole(points: Vectors) -> Fit:
    """All points as one cluster about their mean; sums and distances in float64."""
    centroid = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    squared = np.empty(len(points), np.float64)
    for start in range(0, len(points), _ROWS):
        part = slice(start, start + _ROWS)
        apart = points[part].astype(np.float64) - centroid
        squared[part] = np.einsum("ij,ij->i", apart, apart)
    return Fit.of(centroid[np.newaxis], np.zeros(len(points), np.int32), squared, asked_k=1)
