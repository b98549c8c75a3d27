"""Names of cluster folders and of the entries in them, as bytes, at most 255 each.

As they should be and as they are; which images go where.
"""

from __future__ import annotations

import itertools
import os
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from imgclust.catalog.catalog import Catalog
from imgclust.config import Links, check_template
from imgclust.links.ledger import Wanted

_LIMIT = 255
# The setting with the clusters that are gone, by the folders that people had moved links into.
_LEFT = "left_link_folders"
# Some file systems stop earlier (eCryptfs: 143 bytes), so a plain name stays well below.
_PLAIN_LIMIT = 120
_LONGEST_SUFFIX = 32
# What Windows and the FAT family refuse in a name, and what nobody wants in one.
_REFUSED = frozenset('/\\<>:"|?*')
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
)


def _plain(text: str) -> str:
    return "".join(
        "_" if c in _REFUSED or unicodedata.category(c) in _REFUSED_CATEGORIES else c
        for c in unicodedata.normalize("NFC", text)
    )


def cut(name: bytes, limit: int) -> bytes:
    """Shorten `name` to `limit` bytes without cutting a UTF-8 character in two."""
    if len(name) <= limit:
        return name
    end = limit
    while end > max(0, limit - 3) and 0x80 <= name[end] < 0xC0:
        end -= 1
    return name[:end]


def folder_name(template: str, *, id: int, name: str | None, count: int) -> bytes:
    """Name the folder of a cluster.

    Parameters
    ----------
    template
        With the fields `{id}` (required), `{name}` and `{count}`, each with a format if wanted:
        `{id:03d}`, `{id}_{count}`. Without `{name}`, a cluster that has a name gets `-{name}`
        at the end.
    id, name, count
        The cluster's id, its name if it has one, and how many images it holds.

    Returns
    -------
    bytes
        One path component of at most 255 bytes: no separator, control character, leading dot or
        dash, trailing dot or space, and no device name of Windows. A name that is too long is
        cut, not the id.

    Raises
    ------
    UsageError
        When the template cannot be read, lacks `{id}`, or has a field that is not there.
    """
    check_template(template)
    if name and all(field != "name" for _, field, _, _ in string.Formatter().parse(template)):
        template += "-{name}"

    def render(shown: str) -> str:
        text = template.format(id=id, name=shown, count=count)
        return _plain(text).lstrip(".- ").rstrip(". " if shown else ".-_ ")

    room = max(0, _LIMIT - len(render("").encode()) - 1)
    shown = cut(_plain(name or "").strip(". ").encode(), room).decode()
    text = render(shown)
    if text.split(".")[0].lower() in _DEVICES:
        text += "_"
    # The format of a field can still make it longer than any name may be.
    return cut(text.encode(), _LIMIT).rstrip(b". ") or b"%d" % id


def entry_names(name: bytes, image: int) -> Iterator[bytes]:
    """The names that the link of `image` may have, best first: `a.jpg`, `a~7.jpg`, `a~7-2.jpg`."""
    stem, suffix = os.path.splitext(name)
    if len(suffix) > _LONGEST_SUFFIX:
        stem, suffix = name, b""
    yield cut(name, _LIMIT)
    for n in itertools.count(1):
        mark = b"~%d" % image if n == 1 else b"~%d-%d" % (image, n)
        yield cut(stem, _LIMIT - len(mark) - len(suffix)) + mark + suffix


def plain_name(name: bytes) -> bytes:
    """What to call an entry where the file system refuses its name (FAT: `12:30.png`)."""
    stem, suffix = os.path.splitext(_plain(name.decode(errors="replace")).rstrip(". "))
    ending = suffix.encode()
    if len(ending) > _LONGEST_SUFFIX:
        ending = b""
    return cut(stem.encode(), _PLAIN_LIMIT - len(ending)) + ending or b"image"


def entry_name(name: bytes, image: int, taken: Callable[[bytes], bool]) -> bytes:
    """Name the link of an image: its base name where that is free.

    Parameters
    ----------
    name
        The original's base name; any legal Linux name, so not always UTF-8.
    image
        Id of the image; makes the name unique where it must be, and the same each time.
    taken
        Says whether a name is in use in the folder. Asking the disk makes names that differ only
        in case right where the file system folds case.

    Returns
    -------
    bytes
        `name`, else `stem~<image>.suffix`, else the same with a number; at most 255 bytes.
    """
    return next(candidate for candidate in entry_names(name, image) if not taken(candidate))


def is_name_of(entry: bytes, name: bytes, image: int) -> bool:
    """Whether `entry` is one of the names that the link of `image`, called `name`, may have."""
    if entry == name:
        return True
    return any(
        entry in itertools.islice(entry_names(base, image), 64) for base in (name, plain_name(name))
    )


# Every cluster's folder has its id in its name, so that none is called this.
OUTLIERS = b"outliers"


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
