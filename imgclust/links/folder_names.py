"""Names of the cluster folders, as they should be and as they are; which images go where."""

from __future__ import annotations

import os
from collections.abc import Sequence

from imgclust.catalog import Catalog
from imgclust.config import Links
from imgclust.links.ledger import Wanted
from imgclust.links.names import folder_name

# Every cluster's folder has its id in its name, so that none is called this.
OUTLIERS = b"outliers"
# The setting with the clusters that are gone, by the folders that people had moved links into.
_LEFT = "left_link_folders"


class FolderNames:
    """The folder name of each cluster, by the templates of the collection.

    Where a template has `{count}`, the names hold the images as they were counted last, so that
    not every arrival renames a folder with all its entries.
    """

    def __init__(self, catalog: Catalog, templates: Links) -> None:
        self._catalog = catalog
        self._templates = templates

    @property
    def counted(self) -> bool:
        """True when the names hold numbers of images."""
        return "{count" in self._templates.folder + self._templates.named_folder

    def wanted(self) -> tuple[int | None, dict[int, bytes]]:
        """The current clustering and the folder name of each of its clusters."""
        current = self._catalog.clusterings.current_id()
        if current is None:
            return None, {}
        names = self._catalog.clusterings.names()
        counts = self._counts(current)
        folders: dict[int, bytes] = {}
        for cluster in self._catalog.clusterings.cluster_ids(current):
            name = names.get(cluster)
            folders[cluster] = folder_name(
                self._templates.named_folder if name else self._templates.folder,
                id=cluster,
                name=name,
                count=counts.get(cluster, 0),
            )
        return current, folders

    def count(self, *, again: bool) -> None:
        """Count the images of each cluster: `again`, or when the clustering is another one now."""
        if not self.counted:
            return
        with self._catalog.transaction():
            current = self._catalog.clusterings.current_id()
            stored = self._catalog.setting("link_counts")
            if current is None or not (again or stored is None or stored["of"] != current):
                return
            counts = self._catalog.assignments.sizes(current)
            self._catalog.store("link_counts", {"of": current, "counts": counts})

    def renamed(self, wanted: dict[int, bytes]) -> list[tuple[int, bytes, bytes]]:
        """Clusters whose folder has another name on disk: id, that name, the one wanted."""
        stored = self._catalog.setting("link_folders") or {}
        found = []
        for cluster, folder in wanted.items():
            old = stored.get(str(cluster))
            if old is not None and bytes.fromhex(old) != folder:
                found.append((cluster, bytes.fromhex(old), folder))
        return found

    def clusters(self) -> dict[bytes, int]:
        """The cluster of each folder, as it is on disk."""
        stored = self._catalog.setting("link_folders") or {}
        found = {folder: cluster for cluster, folder in self.wanted()[1].items()}
        found |= {bytes.fromhex(name): int(cluster) for cluster, name in stored.items()}
        return found

    def note(self, cluster: int, folder: bytes) -> None:
        """The folder of a cluster has this name on disk now."""
        with self._catalog.transaction():
            stored = self._catalog.setting("link_folders") or {}
            self._catalog.store("link_folders", {**stored, str(cluster): folder.hex()})

    def note_all(self, folders: dict[int, bytes]) -> None:
        """These clusters have folders, of these names; what others had is forgotten.

        A folder with links that people moved there is remembered until it is known what of them.
        """
        stored = self._catalog.setting("link_folders") or {}
        left = self._catalog.setting(_LEFT) or {}
        same = stored.keys() == {str(cluster) for cluster in folders}
        if same and not left:
            return
        gone = {name: int(one) for one, name in stored.items() if int(one) not in folders}
        with self._catalog.transaction():
            moved = {one.folder.hex() for one in self._catalog.link_tree.moves()}
            still = {name: cluster for name, cluster in (left | gone).items() if name in moved}
            if still != left:
                self._catalog.store(_LEFT, still)
            if not same:
                self._catalog.store(
                    "link_folders", {str(cluster): name.hex() for cluster, name in folders.items()}
                )

    def left(self, folder: bytes) -> int | None:
        """The cluster that this folder was of, if that is gone and links were moved there."""
        found: int | None = (self._catalog.setting(_LEFT) or {}).get(folder.hex())
        return found

    def _counts(self, current: int) -> dict[int, int]:
        if not self.counted:
            return {}
        stored = self._catalog.setting("link_counts")
        if stored is None or stored["of"] != current:
            return self._catalog.assignments.sizes(current)
        return {int(cluster): count for cluster, count in stored["counts"].items()}


class LinkTargets:
    """The links that images should have, by a clustering and the rules of the collection.

    Attributes
    ----------
    central_first
        True when the names of the links begin with how central the image is in its cluster.
    """

    def __init__(self, catalog: Catalog, rules: Links) -> None:
        self._catalog = catalog
        self._outliers = rules.outliers
        self.central_first = rules.order == "central"

    def of(
        self, images: Sequence[int], current: int | None, folders: dict[int, bytes]
    ) -> tuple[list[Wanted], list[int]]:
        """The links that these images should have, and those of them that should have none."""
        wanted: list[Wanted] = []
        gone: list[int] = []
        rows = self._catalog.images.some(images)
        outlying: set[int] = set()
        clusters: dict[int, int] = {}
        ranks: dict[int, int] = {}
        waiting = {one.image: one for one in self._catalog.link_tree.moves("waiting")}
        if current is not None:
            contents = {row.content for row in rows.values()}
            clusters = self._catalog.assignments.clusters_of(current, contents)
            if self.central_first:
                ranks = self._catalog.assignments.centralities(current, contents)
            if self._outliers:
                outlying = self._catalog.assignments.outlying(current, contents)
        for image in dict.fromkeys(images):
            row = rows.get(image)
            cluster = None if row is None else clusters.get(row.content)
            if row is None or cluster is None:
                gone.append(image)
                continue
            if image in waiting:  # it stays where a person has moved it, until they say more
                held = waiting[image]
                wanted.append(Wanted(image, held.folder, held.entry, row.path))
                continue
            name = os.path.basename(row.path)
            if row.content in ranks:
                name = b"%03d %s" % (ranks[row.content], name)
            folder = OUTLIERS if row.content in outlying else folders[cluster]
            wanted.append(Wanted(image, folder, name, row.path))
        return wanted, gone
