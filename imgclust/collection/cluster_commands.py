"""What a person does with clusters: sweep, make, split, merge, show, name, draw, look back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgclust import collection
from imgclust.collection.context import Opened
from imgclust.config import whole_number
from imgclust.errors import UsageError


class ClusterCommands(Opened):
    """Commands about clusters."""

    def sweep(
        self,
        *,
        k_min: int | None = None,
        k_max: int | None = None,
        space: str | None = None,
        seed: int | None = None,
    ) -> collection.SweepResult:
        """Inertia of every k, the knee, and the elbow picture; the fits are kept."""
        rules = self.settings.clustering
        low = rules.k_min if k_min is None else k_min
        high = (rules.k_max or None) if k_max is None else k_max
        if low < 1 or (high is not None and high < low):
            raise UsageError(f"k from {low} to {high} is not a range; use 1 <= k-min <= k-max")
        with self._with_links() as recluster:
            return recluster.sweep(
                k_min=low,
                k_max=high,
                space=_space(space or rules.space),
                seed=rules.seed if seed is None else seed,
            )

    def cluster(
        self,
        *,
        k: int | str | None = None,
        space: str | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> collection.ClusterResult:
        """Cluster now; named clusters stay, the others keep id and folder where they continue.

        Parameters
        ----------
        k
            A number, "auto", or None for what the settings say; named clusters count.
        dry_run
            Say what would change, and change nothing.
        """
        rules = self.settings.clustering
        if k is not None and str(k) != "auto" and whole_number(str(k)) is None:
            raise UsageError(f"k = {str(k)[:40]} is neither a number of clusters nor auto")
        if seed is not None and not 0 <= seed < 1 << 31:
            raise UsageError(f"seed = {seed}: use a number from 0 to {(1 << 31) - 1}")
        with self._with_links(keep=not dry_run) as recluster:
            return recluster.cluster(
                k=str(rules.k if k is None else k),
                space=_space(space or rules.space),
                seed=rules.seed if seed is None else seed,
                chosen_by="config" if k is None else "user",
                dry_run=dry_run,
            )

    def undo(self) -> collection.ClusterResult:
        """Go back to the clustering before the current one."""
        with self._with_links() as recluster:
            return recluster.undo()

    def split_cluster(
        self, cluster: int, *, k: int | str = "auto", dry_run: bool = False
    ) -> collection.ClusterResult:
        """Divide one cluster into `k` parts ("auto": its own knee); all others stay."""
        with self._with_links() as recluster:
            return recluster.split(cluster, k=str(k), dry_run=dry_run)

    def merge_clusters(
        self, clusters: Sequence[int], *, name: str | None = None, dry_run: bool = False
    ) -> collection.ClusterResult:
        """Put clusters together into the largest of them; all others stay.

        The whole is called `name`, or as the largest of them that has a name.
        """
        from imgclust.collection import clusters as clusters_module

        chosen = None if name is None else clusters_module.cluster_name(name)
        if chosen == "":
            raise UsageError("the name is empty; give one, or omit --name")
        with self._with_links() as recluster:
            return recluster.merge(clusters, name=chosen, dry_run=dry_run)

    def history(self) -> tuple[collection.PastClustering, ...]:
        """All clusterings, newest first, and what happened to the clusters before each."""
        from imgclust.clusters import history

        return history(self.catalog)

    def cluster_life(self, cluster: int) -> collection.ClusterLife:
        """What happened to one cluster, from its beginning."""
        from imgclust.clusters import life

        return life(self.catalog, cluster)

    def clusters(self) -> tuple[collection.ClusterRow, ...]:
        """All clusters of the current clustering, by id."""
        from imgclust.collection import clusters

        return clusters.rows(self)

    def cluster_details(
        self,
        cluster: int,
        *,
        selection: collection.Selection | None = None,
        sheet: Path | None = None,
    ) -> collection.ClusterDetails:
        """One cluster with representatives, neighbours and members; draws a contact sheet.

        With `selection` only the members that were taken then, by that camera.
        """
        from imgclust.collection import clusters

        return clusters.details(self, cluster, selection=selection, sheet=sheet)

    def name_cluster(
        self, cluster: int, name: str | None, *, release: bool = False
    ) -> collection.ClusterRow:
        """Name a cluster, which freezes it: its images stay in it, and so do those that join it.

        None or "" takes the name away and releases the cluster; with None `release` keeps the
        name. The clusters are not provisional any more, and the folder follows.
        """
        from imgclust.collection import clusters, link_folder

        row = clusters.name(self, cluster, name, release=release)
        link_folder.finish_links(self)
        return row

    def view(
        self,
        *,
        method: str | None = None,
        dims: int | None = None,
        out: Path | None = None,
        refit: bool = False,
    ) -> collection.MapResult:
        """Draw the map of the collection."""
        from imgclust.collection import exports
        from imgclust.maps import draw, make_map

        chosen = method or self.settings.views.method
        size = dims or self.settings.views.dims
        if chosen not in {"pca", "tsne"} or size not in {2, 3}:
            raise UsageError(
                f"{chosen} in {size} dimensions is not supported; use pca or tsne, 2 or 3"
            )
        path = out or self.folders.charts / f"map-{chosen}-{size}d.png"
        if path.suffix.lower() not in {".png", ".svg"}:
            raise UsageError(f"{path.name}: a map is a .png or .svg file")
        if out is not None:
            exports.require_file(out)
            exports.keep_out(self, out)
        drawn = make_map(
            self.catalog,
            recipe=self.recipe,
            settings=self.settings,
            method=chosen,
            dims=size,
            refit=refit,
            progress=self.progress,
            stop=self.stop,
        )
        return draw(
            self.catalog,
            drawn,
            path.absolute(),
            method=chosen,
            thumbnail=self.thumbnail,
            most_thumbnails=self.settings.views.thumbnails,
            collection=self.name,
        )

    @contextlib.contextmanager
    def _with_links(self, *, keep: bool = False) -> Iterator[collection.Recluster]:
        """A recluster whose result is in the link folder when the block ends."""
        from imgclust.collection import link_folder

        yield self.recluster(progress=self.progress)
        if keep:
            self.keep()
        if keep and "links.outliers" in self._changing:
            with self.catalog.transaction():
                far = self.catalog.assignments.all_outlying(self.current().id)
                self.catalog.ledger.queue_links_of(far)
        link_folder.finish_links(self)
        link_folder.finish_space(self)


def _space(name: str) -> str:
    if name not in {"embedding", "pca", "tsne"}:
        raise UsageError(f"there is no space {name!r}; use embedding, pca or tsne")
    return name
