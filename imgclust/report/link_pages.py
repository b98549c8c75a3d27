"""The link folder in a browser: a page to begin at, and pages of each folder, as files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from imgclust.catalog import Catalog
from imgclust.clusters.representatives import all_representatives, representatives_of
from imgclust.clusters.similarity import likeness_to, similarity_of
from imgclust.fs import open_to_read
from imgclust.images import ThumbnailStore
from imgclust.links import INDEX, PAGE_MARK, PAGES, is_our_page, is_ours_whole
from imgclust.progress import Progress, StopFlag, silent
from imgclust.report import html
from imgclust.wording import counted, likeness, printable

# Thumbnails on one page: a browser shows so many at once, and an arrival changes one page.
_A_PAGE = 500
# A page that is not finished.
_NEW = b".new"


@dataclass(frozen=True)
class PageFolder:
    """A folder of the link folder, as its pages show it."""

    folder: bytes
    stem: str
    title: str
    cluster: int | None


class FolderPages:
    """Writes the pages of one link folder; the caller holds the lock of the links.

    Only what has changed since the last time is written: the ledger queues its folders.

    Parameters
    ----------
    root
        The link folder.
    thumbnails
        Folder of the collection's thumbnails.
    """

    def __init__(self, catalog: Catalog, *, root: Path, thumbnails: Path, collection: str) -> None:
        self._catalog = catalog
        self._root = os.path.realpath(os.fsencode(root))
        self._pages = os.path.join(self._root, PAGES)
        self._thumbnails = ThumbnailStore(Path(os.path.realpath(thumbnails)))
        self._collection = collection

    def write(
        self,
        folders: Mapping[int, bytes],
        *,
        outliers: bytes | None,
        budget_s: float | None = None,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> bool:
        """Make the queued pages again, for about `budget_s` seconds; False when some are left.

        Parameters
        ----------
        folders
            Folder name of each cluster of the current clustering.
        outliers
            Name of the folder of outliers, None when there is none.

        Raises
        ------
        OSError
            When the disk refuses; what is not written stays queued.
        StoppedError
            When the person asked to stop.
        """
        until = None if budget_s is None else time.monotonic() + budget_s
        shown = self._shown(folders, outliers)
        queued = self._catalog.ledger.queued_pages()
        if not queued and is_ours_whole(self._root, INDEX):
            return True
        os.makedirs(self._root, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._pages)
        if not _is_folder(self._pages):
            raise FileExistsError(
                errno.EEXIST,
                f"{printable(self._pages)} already exists and was not made by imgclust",
            )
        by_folder = {one.folder: one for one in shown}
        for done, folder in enumerate(queued):
            if stop is not None:
                stop.check()
            if until is not None and done and time.monotonic() >= until:
                return False
            progress("writing pages", done, len(queued))
            if folder in by_folder:
                self._write_folder(by_folder[folder])
                self._choose(by_folder[folder])
            with self._catalog.transaction():
                self._catalog.ledger.unqueue_page(folder)
        self._write_index(shown)
        self._drop_old(shown)
        progress("writing pages", len(queued), len(queued))
        return True

    def clear(self) -> None:
        """Take the pages away; what is not ours stays, also in the folder of the pages."""
        if is_ours_whole(self._root, INDEX):
            os.unlink(os.path.join(self._root, INDEX))
        if _is_folder(self._pages):
            self._drop_but(set())
            with contextlib.suppress(OSError):  # something foreign is in it
                os.rmdir(self._pages)

    def _shown(self, folders: Mapping[int, bytes], outliers: bytes | None) -> list[PageFolder]:
        names = self._catalog.clusterings.names()
        shown = []
        for cluster, folder in sorted(folders.items()):
            name = names.get(cluster)
            title = f"{cluster} {name}" if name else f"cluster {cluster}"
            shown.append(PageFolder(folder, f"{cluster:03d}", title, cluster))
        if outliers is not None:
            shown.append(PageFolder(outliers, "outliers", "outliers", None))
        return shown

    def _write_folder(self, shown: PageFolder) -> None:
        entries = self._catalog.ledger.entries(shown.folder)
        numbers = range(1, _pages_of(len(entries)) + 1)
        for number in numbers:
            part = entries[(number - 1) * _A_PAGE : number * _A_PAGE]
            damaged = self._catalog.details.damaged_among(content for _, _, content, _ in part)
            alike = self._likenesses(shown, [content for _, _, content, _ in part])
            others = " ".join(
                str(one) if one == number else f'<a href="{_page(shown, one)}">{one}</a>'
                for one in numbers
            )
            turning = f"<p>pages {others}</p>\n" if len(numbers) > 1 else ""
            body = [
                f'<p><a href="../{os.fsdecode(INDEX)}">all clusters</a></p>\n',
                f"<h1>{html.escaped(shown.title)}</h1>\n",
                f'<p class="soft">{counted(len(entries), "image")}</p>\n{turning}',
                *html.cards(
                    self._card(
                        shown.folder,
                        *entry,
                        damaged=entry[2] in damaged,
                        alike=alike.get(entry[2], (None, None)),
                    )
                    for entry in part
                ),
                turning,
            ]
            path = os.path.join(self._pages, _page(shown, number).encode())
            self._put(path, f"{shown.title}, {self._collection}", body)

    def _likenesses(
        self, shown: PageFolder, contents: Sequence[int]
    ) -> dict[int, tuple[float, int]]:
        """Similarity to the cluster's most central image, and its rarity, by content."""
        current = self._catalog.clusterings.current()
        if current is None or shown.cluster not in current.cluster_ids:
            return {}
        medoid = current.described[current.cluster_ids.index(shown.cluster)].medoid
        medoid = self._catalog.assignments.central(current.id, shown.cluster, medoid) or medoid
        similarity = similarity_of(self._catalog, current, current.recipe)
        unique = list(dict.fromkeys(contents))
        return likeness_to(self._catalog, similarity, current.recipe, medoid, unique)

    def _choose(self, shown: PageFolder) -> None:
        """Have the representatives chosen now, a cluster at a time: the first page needs all."""
        current = self._catalog.clusterings.current()
        if current is not None and shown.cluster in current.cluster_ids:
            representatives_of(self._catalog, current.id, shown.cluster, current.recipe)

    def _write_index(self, shown: Sequence[PageFolder]) -> None:
        path = os.path.join(self._root, INDEX)
        if _is_foreign(path):
            return  # a page of the person's own has that name
        sizes = self._catalog.ledger.sizes()
        contents: dict[int, list[int]] = {}
        current = self._catalog.clusterings.current()
        if current is not None:
            clusters = [one.cluster for one in shown if one.cluster in current.cluster_ids]
            known = [cluster for cluster in clusters if cluster is not None]
            contents = all_representatives(self._catalog, current.id, known, current.recipe)
        body = [
            f"<h1>{html.escaped(self._collection)}</h1>\n",
            f'<p class="soft">{counted(sum(sizes.values()), "image")}</p>\n',
        ]
        for one in shown:
            if not sizes.get(one.folder):
                continue
            target = f"{os.fsdecode(PAGES)}/{_page(one, 1)}"
            link = f'<a href="{target}">{html.escaped(one.title)}</a>'
            size = f'<span class="soft">{counted(sizes[one.folder], "image")}</span>'
            body.append(f'<div class="box cluster"><div class="head"><h3>{link}</h3>{size}</div>\n')
            body += html.cards(
                html.card(self._thumbnail(content, INDEX), "", href=target, lazy=True)
                for content in contents.get(one.cluster or 0, [])
            )
            body.append("</div>\n")
        self._put(path, self._collection, body)

    def _drop_old(self, shown: Sequence[PageFolder]) -> None:
        sizes = self._catalog.ledger.sizes()
        wanted = {
            _page(one, number).encode()
            for one in shown
            for number in range(1, _pages_of(sizes.get(one.folder, 0)) + 1)
        }
        self._drop_but(wanted)

    def _drop_but(self, wanted: set[bytes]) -> None:
        for name in set(os.listdir(self._pages)) - wanted:
            path = os.path.join(self._pages, name)
            if is_our_page(path) or (name == _NEW and _is_empty(path)):
                os.unlink(path)

    def _card(
        self,
        folder: bytes,
        entry: bytes,
        path: bytes,
        content: int,
        missing: bool,
        *,
        damaged: bool,
        alike: tuple[float | None, int | None],
    ) -> str:
        words = (b"missing: " if missing else b"") + (b"damaged: " if damaged else b"")
        return html.card(
            self._thumbnail(content, os.path.join(PAGES, b"page")),
            words + entry,
            title=path + _similar(*alike).encode(),
            href=quote(os.path.join(b"..", folder, entry)),
            lazy=True,
        )

    def _thumbnail(self, content: int, page: bytes) -> str:
        """Where a thumbnail is, seen from a page given by its path below the link folder."""
        here = os.path.dirname(os.path.join(self._root, page))
        path = os.fsencode(self._thumbnails.path(content))
        return quote(os.path.relpath(path, here))

    def _put(self, path: bytes, title: str, body: Sequence[str]) -> None:
        """Write a page, unless it is so already, or something that is not ours has its name."""
        if _is_foreign(path):
            return
        content = PAGE_MARK + "".join(html.page(title, body)).encode()
        with contextlib.suppress(OSError), open_to_read(path) as old:
            if old.read() == content:
                return
        # Not `fs.replacing`, which takes away what has the temporary name: it may be a person's.
        temporary = os.path.join(self._pages, _NEW)
        if is_our_page(temporary) or _is_empty(temporary):  # what a crash has left
            os.unlink(temporary)
        with open(temporary, "xb") as page:
            page.write(content)
        os.replace(temporary, path)


def _similar(similarity: float | None, rarity: int | None) -> str:
    if similarity is None:
        return ""
    return f", similarity to the most central image: {likeness(similarity, rarity)}"


def _is_folder(path: bytes) -> bool:
    """True for a folder that is not a symbolic link."""
    return os.path.isdir(path) and not os.path.islink(path)


def _is_foreign(path: bytes) -> bool:
    """True when something exists there that is not a page of ours."""
    return os.path.lexists(path) and not is_our_page(path)


def _is_empty(path: bytes) -> bool:
    """True for a file with nothing in it."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


def _page(shown: PageFolder, number: int) -> str:
    return f"{shown.stem}-{number}.html"


def _pages_of(entries: int) -> int:
    return -(-entries // _A_PAGE)
