"""Sweep, cluster, publish, undo: everything that makes or changes a clustering."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.clustering.choose_k import Suggestion, largest_compared, preferred
from imgclust.clustering.group_count import GroupCount
from imgclust.clustering.id_map import Matching
from imgclust.clustering.k_sweep import Sweep
from imgclust.clustering.kmeans import Fit
from imgclust.clusters import burst_store, split_merge, stored_sweeps
from imgclust.clusters.cluster_count import (
    clear_count,
    continued_count,
    counted_groups,
    most_clusters,
    requested_count,
    suggested_count,
    with_steps,
)
from imgclust.clusters.clustering_history import undo
from imgclust.clusters.correction_conflicts import TooFewClustersError
from imgclust.clusters.correction_demands import corrected, idle_count, idle_notes
from imgclust.clusters.feature_space import SPACES, Space, build
from imgclust.clusters.model import (
    ArrivalAssigner,
    ChangedMeanwhileError,
    ClusterResult,
    SweepResult,
)
from imgclust.clusters.publish import drop_unpublished, publish
from imgclust.clusters.space_fit import (
    CurrentClusters,
    continue_in_space,
    count_sentence,
    current_clusters,
    fit_space,
    match_ids,
    result_of,
    step_from,
)
from imgclust.clusters.stored_sweeps import draw_elbow, stored_sweep, sweep_and_store
from imgclust.config import Settings
from imgclust.errors import LockedError, NothingThereError, RecipeError, UsageError
from imgclust.locks import FileLock, is_locked
from imgclust.numbers import count_or_auto
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import NO_CLUSTERS


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
            feature_space = self._space(space, seed, keep=True)
            found, suggestion = self._sweep(feature_space, k_min, k_max, seed)
            n = len(feature_space.keys)
            compared_to = largest_compared(n)
            path = self._charts / self._settings.views.elbow.format(
                dims=feature_space.points.shape[1]
            )
            if chart:
                draw_elbow(path, found, suggestion, space, compared_to=compared_to)
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
            compared_to=compared_to,
            notes=(*feature_space.notes, *found.notes),
        )

    def cluster(
        self,
        *,
        k: int | str,
        space: str | None = None,
        seed: int,
        chosen_by: str = "user",
        provisional: bool = False,
        automatic: bool = False,
        fresh: bool = False,
        step: str | None = None,
        dry_run: bool = False,
        also: Callable[[], None] = lambda: None,
    ) -> ClusterResult:
        """Cluster now and publish; arrivals meanwhile are assigned in the publishing transaction.

        It starts from the current clusters, where there are any, but in the space `tsne`, which is
        another plane each time.

        Parameters
        ----------
        k
            A number, or "auto": that of the groups or the knee, without one the largest simplified
            silhouette, failing that 1. Clusters that continue others are as many as these, unless
            another number is better by more than chance.
        space
            None: that of the settings.
        chosen_by
            Who gave a number: "user" or "config". Fewer than there are named clusters is an error
            of the user; other numbers are raised.
        automatic
            Nobody has asked for it now: a number is raised whoever gave it, and nothing is made in
            place of a provisional clustering that a person has made final meanwhile.
        fresh
            Start from nothing; named clusters stay.
        step
            "finer" or "coarser": one step by splits or unions alone, `k` has no say.
        also
            Called in the publishing transaction.

        Raises
        ------
        LockedError
            When another process clusters this collection.
        NothingThereError
            When there is nothing to cluster, or nothing to take a step from.
        RecipeError
            When the collection has changed to another recipe meanwhile.
        StoppedError
            When it was asked to stop, or an automatic one came too late.
        UsageError
            For a k below 1, or a user's below the number of named clusters, or when the clusters
            cannot be coarser.
        """
        strict = chosen_by == "user" and not automatic
        wanted = count_or_auto(k, name="k")
        space = space or self._settings.clustering.space

        def make() -> ClusterResult:
            if step is not None and self._catalog.clusterings.current_id() is None:
                raise NothingThereError(NO_CLUSTERS)
            if wanted is not None and step is None:  # before anything takes long
                frozen = self._catalog.clusterings.frozen()
                lasting = set(
                    self._catalog.corrections.kept(self._catalog.clusterings.current_id())
                ) - set(frozen)
                requested_count(wanted, len(frozen), strict=strict, lasting=len(lasting))
            feature_space = self._space(space, seed, keep=not dry_run)
            self._stop.check()
            standing = current_clusters(self._catalog, feature_space)
            continues = bool(standing.before.max(initial=-1) >= 0) and not fresh
            continues &= step is not None or space != "tsne"
            if step is not None:
                number_before = len(standing.ids)
                done, matching = self._continue(
                    feature_space, standing, step_from(standing, step), step
                )
                if done.k == number_before:
                    raise UsageError(
                        f"the clusters cannot be {step}: named ones stay as they are, and no "
                        f"other {'holds images that differ' if step == 'finer' else 'is left'}"
                    )
                by, sentence = "user", f"k = {done.k:,}: one step {step} than {number_before:,}"
            else:
                done, matching, by, sentence = self._fit(
                    feature_space, standing, wanted, seed, chosen_by, strict, continues
                )
                if wanted is None and not automatic:
                    least = len(standing.constraints.kept) + max(1, len(standing.lasting))
                    most = most_clusters(feature_space, standing.constraints)
                    sentence = with_steps(sentence, done.k, least=least, most=most)
            self._stop.check()
            try:
                done, matching, decided = corrected(
                    self._catalog, feature_space, standing, done, matching
                )
            except TooFewClustersError as error:
                if step is not None or (wanted is not None and strict):
                    raise
                done, matching, by, _ = self._fit(
                    feature_space, standing, error.needed, seed, by, False, continues
                )
                sentence = f"k = {done.k:,}: as few as what people said allows"
                done, matching, decided = corrected(
                    self._catalog, feature_space, standing, done, matching
                )
            number = None
            if not dry_run:
                number = publish(
                    self._catalog,
                    feature_space,
                    done,
                    matching,
                    standing=standing,
                    recipe=self._recipe,
                    chosen_by=by,
                    seed=seed,
                    provisional=provisional,
                    automatic=automatic,
                    progress=self._progress,
                    stop=self._stop,
                    also=also,
                )
            result = result_of(
                self._catalog,
                feature_space,
                standing,
                done,
                matching,
                number=number,
                chosen_by=by,
                sentence=sentence,
                provisional=provisional,
                continues=continues,
            )
            waits = idle_notes(self._catalog, matching.ids)
            return replace(
                result,
                corrections=len(standing.corrections) - idle_count(standing, matching.ids),
                corrected=decided,
                notes=(*result.notes, *waits),
            )

        return self._changing(make, dry_run=dry_run)

    def split(self, cluster: int | str, *, k: int | str, dry_run: bool = False) -> ClusterResult:
        """Divide one cluster, see `split_merge.split`; all others stay as they are."""
        return self._changing(
            lambda: split_merge.split(
                self._catalog,
                cluster,
                k=k,
                recipe=self._recipe,
                settings=self._settings,
                gpu=self._gpu,
                dry_run=dry_run,
                progress=self._progress,
                stop=self._stop,
            ),
            dry_run=dry_run,
        )

    def merge(
        self, clusters: Sequence[int | str], *, name: str | None = None, dry_run: bool = False
    ) -> ClusterResult:
        """Put clusters together, see `split_merge.merge`; all others stay as they are."""
        return self._changing(
            lambda: split_merge.merge(
                self._catalog,
                clusters,
                name=name,
                recipe=self._recipe,
                dry_run=dry_run,
                progress=self._progress,
            ),
            dry_run=dry_run,
        )

    def undo(self) -> ClusterResult:
        """Go back to the clustering before the current one, with its ids, names and folders.

        Newer images are assigned to its clusters; named clusters keep their members.
        """
        return self._changing(lambda: undo(self._catalog, recipe=self._recipe), dry_run=False)

    def _changing(self, change: Callable[[], ClusterResult], *, dry_run: bool) -> ClusterResult:
        """Carry out a change of clusters, again where a person names clusters meanwhile."""
        with self._locked():
            while True:
                self._catalog_cleanup()
                current = self._catalog.clusterings.current()
                if not dry_run and current is not None and self._catalog.clusterings.frozen():
                    # What joins a frozen cluster later is followed, change by change.
                    ArrivalAssigner(self._catalog).catch_up(current.recipe)
                try:
                    return change()
                except ChangedMeanwhileError:
                    self._stop.check()

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
        burst_store.drop_old(self._catalog)
        stored_sweeps.trim(self._catalog)
        with self._catalog.transaction():
            self._catalog.projections.drop_unused_spaces()

    def _space(self, name: str, seed: int, *, keep: bool) -> Space:
        if name not in SPACES:
            raise UsageError(f"there is no space {name!r}; use {', '.join(SPACES)}")
        if not 0 <= seed < 1 << 31:
            raise UsageError(f"seed = {seed}: use a number from 0 to {(1 << 31) - 1}")
        if not self._catalog.contents.count(self._recipe):
            raise NothingThereError("the collection has no images to cluster; add some first")
        self._progress("reading embeddings", 0, None)
        return build(
            self._catalog,
            name,
            recipe=self._recipe,
            settings=self._settings,
            seed=seed,
            keep=keep,
            progress=self._progress,
            stop=self._stop,
        )

    @property
    def _gpu(self) -> bool:
        device = self._settings.clustering.device
        return device != "cpu" and devices.choose(device, devices.faiss_gpus()) == "gpu"

    def _counted(self, feature_space: Space, seed: int) -> GroupCount:
        return counted_groups(
            self._catalog,
            feature_space,
            recipe=self._recipe,
            seed=seed,
            progress=self._progress,
            stop=self._stop,
        )

    def _sweep(
        self,
        feature_space: Space,
        k_min: int,
        k_max: int | None,
        seed: int,
        counted: GroupCount | None = None,
    ) -> tuple[Sweep, Suggestion]:
        return sweep_and_store(
            self._catalog,
            feature_space,
            recipe=self._recipe,
            k_min=k_min,
            k_max=k_max,
            seed=seed,
            gpu=self._gpu,
            counted=counted,
            progress=self._progress,
            stop=self._stop,
        )

    def _fit(
        self,
        feature_space: Space,
        standing: CurrentClusters,
        k: int | None,
        seed: int,
        chosen_by: str,
        strict: bool,
        continues: bool,
    ) -> tuple[Fit, Matching, str, str]:
        named, lasting = len(standing.constraints.kept), len(standing.lasting)
        parting = any(one.kind in {"not_in", "apart"} for one in standing.corrections)
        least = max(named + lasting, 2 if parting else 1)
        k_min = self._settings.clustering.k_min
        k_max = self._settings.clustering.k_max or None
        if k is None and continues:
            chosen = continued_count(
                self._catalog,
                feature_space,
                len(standing.ids),
                least=max(least, k_min),
                k_max=k_max,
                recipe=self._recipe,
                seed=seed,
                progress=self._progress,
                stop=self._stop,
            )
            if chosen is not None:
                self._stop.check()
                number, chosen_by, sentence = chosen
                return *self._continue(feature_space, standing, number, None), chosen_by, sentence
        stored = stored_sweep(self._catalog, feature_space, recipe=self._recipe, seed=seed)
        if k is None:
            asked = [k_min, k_max]
            chosen = None
            if stored is None or not stored.summary["complete"] or stored.summary["asked"] != asked:
                counted = None
                if feature_space.leaders is not None:
                    counted = self._counted(feature_space, seed)
                    # With clear groups a sweep would have no say, and take several times as long.
                    n = len(feature_space.weighing()[0])
                    chosen = clear_count(counted, n, named, k_min=k_min, k_max=k_max)
                if chosen is None:
                    self._sweep(feature_space, k_min, k_max, seed, counted)
                    self._stop.check()  # half a sweep decides nothing
                    stored = stored_sweep(
                        self._catalog, feature_space, recipe=self._recipe, seed=seed
                    )
            if chosen is None:
                assert stored is not None
                chosen = suggested_count(stored, named)
            number, chosen_by, sentence = chosen
            number = max(number, least)
        else:
            number, sentence = requested_count(k, named, strict=strict, lasting=lasting)
        if continues:
            done, matching = self._continue(feature_space, standing, number, None)
            return done, matching, chosen_by, sentence or count_sentence(done, named, feature_space)
        done = fit_space(
            self._catalog,
            feature_space,
            standing,
            number,
            recipe=self._recipe,
            stored=stored,
            seed=seed,
            gpu=self._gpu,
            progress=self._progress,
            stop=self._stop,
        )
        self._stop.check()
        matching = match_ids(self._catalog, feature_space, standing, done)
        return done, matching, chosen_by, sentence or count_sentence(done, named, feature_space)

    def _continue(
        self, feature_space: Space, standing: CurrentClusters, k: int, step: str | None
    ) -> tuple[Fit, Matching]:
        return continue_in_space(
            self._catalog,
            feature_space,
            standing,
            k,
            recipe=self._recipe,
            step=step is not None,
            progress=self._progress,
            stop=self._stop,
        )
