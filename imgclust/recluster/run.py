"""Sweep, cluster, publish, undo: everything that makes or changes a clustering."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from imgclust import devices
from imgclust.catalog import Catalog
from imgclust.clustering import Fit, Matching, Suggestion, Sweep, fit, match, preferred
from imgclust.config import Settings
from imgclust.errors import LockedError, NothingThereError, RecipeError, UsageError
from imgclust.locks import FileLock, is_locked
from imgclust.progress import Progress, StopFlag, silent
from imgclust.recluster import splitting, sweeping
from imgclust.recluster.publishing import drop_unpublished, lineage, publish
from imgclust.recluster.results import ClusterResult, SweepResult, lineage_fields
from imgclust.recluster.space import Space, build
from imgclust.recluster.sweeping import draw_elbow, fit_of, stored_sweep, sweep_and_store
from imgclust.recluster.undoing import undo


class Recluster:
    """Makes clusterings of one collection.

    `lock` is the file that one clustering at a time holds, `charts_folder` takes the elbow picture.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        recipe: str,
        settings: Settings,
        lock: Path,
        charts_folder: Path,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._settings = settings
        self._lock = lock
        self._charts = charts_folder
        self._progress = progress
        self._stop = stop or StopFlag()
        self._found = catalog.setting("recipe")

    def sweep(
        self, *, k_min: int, k_max: int | None, space: str, seed: int, chart: bool = True
    ) -> SweepResult:
        """Fit every k, store the fits, draw the elbow; of an interrupted sweep, what is done.

        Raises `LockedError` when another process clusters this collection.
        """
        began = time.monotonic()
        with self._locked():
            room = self._space(space, seed)
            found, suggestion = self._sweep(room, k_min, k_max, seed)
            path = self._charts / self._settings.views.elbow.format(dims=room.points.shape[1])
            if chart:
                draw_elbow(path, found, suggestion, space)
        n = len(room.keys)
        return SweepResult(
            space=space,
            n=n,
            k=found.k,
            inertia=found.inertia,
            knee=suggestion.k,
            sentence=suggestion.sentence,
            chart=path if chart else None,
            seconds=time.monotonic() - began,
            complete=found.complete,
            criteria=found.criteria,
            preferred=preferred(found, n=n),
            notes=(*room.notes, *found.notes),
        )

    def cluster(
        self,
        *,
        k: str,
        space: str,
        seed: int,
        chosen_by: str = "user",
        provisional: bool = False,
        dry_run: bool = False,
        also: Callable[[], None] = lambda: None,
    ) -> ClusterResult:
        """Cluster now and publish; arrivals meanwhile are assigned in the publishing transaction.

        Parameters
        ----------
        k
            A number, or "auto": the knee, without one the largest simplified silhouette, failing
            that 1.
        chosen_by
            Who gave a number: "user" or "config".
        also
            Called in the publishing transaction.

        Raises
        ------
        LockedError
            When another process clusters this collection.
        NothingThereError
            When there is nothing to cluster.
        RecipeError
            When the collection has changed to another recipe meanwhile.
        """
        with self._locked():
            self._catalog_cleanup()
            room = self._space(space, seed)
            self._stop.check()
            done, chosen_by, sentence = self._fit(room, k, seed, chosen_by)
            self._stop.check()
            matching = self._match(room, done)
            number = None
            if not dry_run:
                number = publish(
                    self._catalog,
                    room,
                    done,
                    matching,
                    recipe=self._recipe,
                    chosen_by=chosen_by,
                    seed=seed,
                    provisional=provisional,
                    progress=self._progress,
                    stop=self._stop,
                    also=also,
                )
            sizes = self._sizes(room, done, matching, number)
        return self._result(number, done, matching, chosen_by, sentence, room, sizes, provisional)

    def split(self, cluster: int, *, k: str, dry_run: bool = False) -> ClusterResult:
        """Divide one cluster, see `splitting.split`; all others stay as they are."""
        with self._locked():
            self._catalog_cleanup()
            return splitting.split(
                self._catalog,
                cluster,
                k=k,
                recipe=self._recipe,
                settings=self._settings,
                gpu=self._gpu,
                dry_run=dry_run,
                progress=self._progress,
                stop=self._stop,
            )

    def merge(self, clusters: Sequence[int], *, dry_run: bool = False) -> ClusterResult:
        """Put clusters together, see `splitting.merge`; all others stay as they are."""
        with self._locked():
            self._catalog_cleanup()
            return splitting.merge(
                self._catalog,
                clusters,
                recipe=self._recipe,
                dry_run=dry_run,
                progress=self._progress,
            )

    def undo(self) -> ClusterResult:
        """Go back to the clustering before the current one, with its ids, names and folders.

        Images that came since are assigned to its clusters.
        """
        with self._locked():
            return undo(self._catalog, recipe=self._recipe)

    def drop_unfinished(self) -> None:
        """Delete what a crash left unpublished, unless a clustering is in progress."""
        with contextlib.suppress(LockedError), self._locked():
            self._catalog_cleanup()

    @property
    def busy(self) -> bool:
        """True while some process clusters this collection."""
        return is_locked(self._lock)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, on a collection that is still of the recipe it was found with."""
        with FileLock(self._lock, purpose="clustering"):
            if self._catalog.setting("recipe") != self._found:
                raise RecipeError(
                    "the collection has just changed to another recipe (imgclust reembed); "
                    "run this again"
                )
            yield

    def _catalog_cleanup(self) -> None:
        drop_unpublished(self._catalog)
        sweeping.trim(self._catalog)
        with self._catalog.transaction():
            self._catalog.projections.drop_unused_spaces()

    def _space(self, name: str, seed: int) -> Space:
        if not self._catalog.contents.count(self._recipe):
            raise NothingThereError("the collection has no images to cluster; add some first")
        self._progress("reading embeddings", 0, None)
        return build(
            self._catalog,
            name,
            recipe=self._recipe,
            settings=self._settings,
            seed=seed,
            progress=self._progress,
            stop=self._stop,
        )

    @property
    def _gpu(self) -> bool:
        device = self._settings.clustering.device
        return device != "cpu" and devices.choose(device, devices.faiss_gpus()) == "gpu"

    def _sweep(
        self, room: Space, k_min: int, k_max: int | None, seed: int
    ) -> tuple[Sweep, Suggestion]:
        return sweep_and_store(
            self._catalog,
            room,
            recipe=self._recipe,
            k_min=k_min,
            k_max=k_max,
            seed=seed,
            gpu=self._gpu,
            progress=self._progress,
            stop=self._stop,
        )

    def _fit(self, room: Space, k: str, seed: int, chosen_by: str) -> tuple[Fit, str, str]:
        stored = stored_sweep(self._catalog, room, recipe=self._recipe, seed=seed)
        if k == "auto":
            k_min = self._settings.clustering.k_min
            k_max = self._settings.clustering.k_max or None
            asked = [k_min, k_max]
            if stored is None or not stored.summary["complete"] or stored.summary["asked"] != asked:
                self._sweep(room, k_min, k_max, seed)
                self._stop.check()  # half a sweep decides nothing
                stored = stored_sweep(self._catalog, room, recipe=self._recipe, seed=seed)
            assert stored is not None
            number = int(stored.summary["chosen"])
            chosen_by = str(stored.summary["chosen_by"])
            sentence = str(stored.summary["sentence"])
        else:
            number, sentence = int(k), ""
            if number < 1:
                raise UsageError(f"k = {k} is not a number of clusters; use 1 or more, or auto")
        centroids = None if stored is None else self._catalog.sweeps.fit(stored.id, number)
        if centroids is not None:
            done = fit_of(room.points, centroids)
        else:
            done = fit(
                room.points,
                number,
                seed=seed,
                gpu=self._gpu,
                progress=self._progress,
                stop=self._stop,
            )
        return done, chosen_by, sentence or done.sentence

    def _match(self, room: Space, done: Fit) -> Matching:
        current = self._catalog.clusterings.current()
        old = np.full(len(room.keys), -1, np.int64)
        old_ids: tuple[int, ...] = ()
        if current is not None:
            contents, clusters, _ = self._catalog.assignments.of(current.id)
            rows = np.searchsorted(room.keys, contents)
            rows[rows == len(room.keys)] = 0
            known = room.keys[rows] == contents
            old[rows[known]] = clusters[known]
            old_ids = current.cluster_ids
        return match(
            old,
            done.assigned,
            k=done.k,
            next_id=self._catalog.clusterings.next_cluster_id(),
            weights=room.counts,
            old_ids=old_ids,
        )

    def _sizes(
        self, room: Space, done: Fit, matching: Matching, number: int | None
    ) -> dict[int, int]:
        if number is not None:
            return self._catalog.assignments.sizes(number)
        counts = np.bincount(done.assigned, weights=room.counts, minlength=done.k)
        return {cluster: int(count) for cluster, count in zip(matching.ids, counts, strict=True)}

    def _result(
        self,
        number: int | None,
        done: Fit,
        matching: Matching,
        chosen_by: str,
        sentence: str,
        room: Space,
        sizes: dict[int, int],
        provisional: bool,
    ) -> ClusterResult:
        told = lineage(matching, self._catalog.clusterings.names())
        return ClusterResult(
            clustering=number,
            k=done.k,
            chosen_by=chosen_by,
            sentence=sentence,
            space=room.name,
            inertia=done.inertia,
            sizes=dict(sorted(sizes.items())),
            provisional=provisional,
            notes=(*room.notes, *done.notes),
            **lineage_fields(told),
        )
