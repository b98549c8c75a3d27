"""The link folder in a browser: a page to begin at, and pages of each folder, as files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.corrections import KnownCopy
from imgclust.catalog.details import Facts
from imgclust.catalog.links import Entry
from imgclust.clusters.model import all_representatives, representatives_of
from imgclust.clusters.similarity import likeness_to, similarity_of
from imgclust.fs import open_to_read
from imgclust.images.headers import PREVIEWED_FORMATS
from imgclust.images.thumbnails import ThumbnailStore
from imgclust.links.inspect import INDEX, PAGE_MARK, PAGES, is_our_page, is_ours_whole
from imgclust.progress import Progress, StopFlag, silent
from imgclust.report import html
from imgclust.wording import counted, day, likeness, path_text, printable

# Thumbnails on one page: a browser shows so many at once, and an arrival changes two pages.
_A_PAGE = 500
# Groups of duplicates on one page.
_GROUPS = 200
_DUPLICATES = "duplicates"
# What all pages are made by: another number has them made again.
_VERSION = 3
_STYLE = ".cards { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }"
_ROOTS = 20
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
    order
        "date": the images of a folder, the oldest first, so that those which arrive change its
        last page; "name": as the entries of the folder are sorted.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        root: Path,
        thumbnails: Path,
        collection: str,
        order: str = "date",
    ) -> None:
        self._catalog = catalog
        self._root = os.path.realpath(os.fsencode(root))
        self._pages = os.path.join(self._root, PAGES)
        self._thumbnails = ThumbnailStore(Path(os.path.realpath(thumbnails)))
        self._collection = collection
        self._order = order

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
        known = self._catalog.setting("pages") or {"made_by": None, "beside": {}}
        made_by = [_VERSION, self._order, self._collection, *map(path_text, self._roots())]
        ledger = self._catalog.ledger
        due = ledger.queued_pages() or known["made_by"] != made_by
        if not due and is_ours_whole(self._root, INDEX):
            return True
        sizes = ledger.sizes()
        beside = self._queue_others(shown, sizes, known, made_by)
        queued = ledger.queued_pages()
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
                self._write_folder(by_folder[folder], *beside[by_folder[folder].stem])
                self._choose(by_folder[folder])
            with self._catalog.transaction():
                self._catalog.ledger.unqueue_page(folder)
        groups = self._write_duplicates()
        self._write_index(shown, sizes, groups)
        self._drop_old(shown, sizes, groups)
        progress("writing pages", len(queued), len(queued))
        return True

    def clear(self) -> None:
        """Remove the pages; what is not ours stays, also in the folder of the pages."""
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

    def _queue_others(
        self,
        shown: Sequence[PageFolder],
        sizes: Mapping[bytes, int],
        known: Mapping[str, Any],
        made_by: Sequence[object],
    ) -> dict[str, tuple[str | None, str | None]]:
        """Queue pages that show what has changed elsewhere; what comes before and after each.

        That is the folders before and after, what the images of a cluster are compared with, and,
        for all pages, the roots and how they are made.
        """
        there = [one.stem for one in shown if sizes.get(one.folder)]
        beside: dict[str, tuple[str | None, str | None]] = {one.stem: (None, None) for one in shown}
        for before, stem, after in zip([None, *there], there, [*there[1:], None], strict=False):
            beside[stem] = (before, after)
        compared = self._compared()
        others = {
            one.stem: [*beside[one.stem], *compared.get(one.cluster, ())]
            for one in shown
            if sizes.get(one.folder)
        }
        state = {"made_by": made_by, "beside": others}
        if state == known:
            return beside
        ledger = self._catalog.ledger
        if known["made_by"] != made_by:
            due = ledger.folders()
        else:
            earlier = known["beside"]
            due = [one.folder for one in shown if earlier.get(one.stem) != others.get(one.stem)]
        with self._catalog.transaction():
            ledger.queue_pages(due)
            self._catalog.store("pages", state)
        return beside

    def _compared(self) -> dict[int | None, tuple[int, int | None]]:
        """By cluster what the similarities of its images depend on: the medoid, the projection."""
        current = self._catalog.clusterings.current()
        described = () if current is None else current.described
        similarity = None if current is None else current.similarity
        return {one.cluster: (one.medoid, similarity) for one in described}

    def _roots(self) -> list[bytes]:
        roots = self._catalog.roots.all()
        return [root.path for root in roots if root.kind == "watched"] or [
            root.path for root in roots
        ]

    def _title(self, what: str) -> str:
        """What a page shows, of which collection, from where."""
        roots = self._roots()
        words = [what, self._collection] if what else [self._collection]
        if roots:
            more = f" and {len(roots) - 1:,} more" if len(roots) > 1 else ""
            words.append(path_text(roots[0]) + more)
        return " · ".join(words)

    def _sorted(self, entries: list[Entry]) -> tuple[list[Entry], dict[int, Facts]]:
        """The entries of a folder in the order of its pages, and their facts by image."""
        facts = self._catalog.details.of_images([one.image for one in entries])
        if self._order == "date":
            # By the camera's clock: what zone it was set to is known of few.
            taken = {image: (one.taken or "9999")[:19] for image, one in facts.items()}
            entries = sorted(entries, key=lambda one: (taken.get(one.image, "9999"), one.name))
        return entries, facts

    def _write_folder(self, shown: PageFolder, before: str | None, after: str | None) -> None:
        entries, facts = self._sorted(self._catalog.ledger.entries(shown.folder))
        last, compared = _pages_of(len(entries)), self._compared()
        corrected = self._catalog.corrections.among(one.content for one in entries)
        for number in range(1, last + 1):
            first = (number - 1) * _A_PAGE
            part = entries[first : first + _A_PAGE]
            told = f"{first + 1:,} to {first + len(part):,}" if number > 1 else ""
            if number == 1:
                sorting = "the oldest first" if self._order == "date" else "by name"
                told = f"{counted(len(entries), 'image')}, {sorting}"
                counts = {
                    "missing": sum(one.missing for one in entries),
                    "corrected": sum(one.content in corrected for one in entries),
                }
                told += "".join(f" · {count:,} {word}" for word, count in counts.items() if count)
            pages = [f"page {number:,} of {last:,}"] if last > 1 else []
            path = os.path.join(self._pages, _page(shown.stem, number).encode())
            # The rest of a page costs more than to see that it is as before.
            said = [one.image for one in part if one.content in corrected]
            made_of = self._made_of(
                part,
                facts,
                *(shown.title, pages, told, before, after, compared.get(shown.cluster), said),
            )
            if _fingerprint(path) == made_of:
                continue
            alike = self._likenesses(shown, [one.content for one in part])
            similar = ["the first number: similarity to the most central image"] if alike else []
            body = [
                _links([(f"../{os.fsdecode(INDEX)}", "all clusters"),
                        (before and f"{before}-1.html", "previous cluster"),
                        (after and f"{after}-1.html", "next cluster")]),
                f"<h1>{html.escaped(shown.title)}</h1>\n",
                f'<p class="soft">{html.escaped(self._title(""))}</p>\n',
                f'<p class="soft">{" · ".join([*pages, told, *similar])}</p>\n',
                turning := _turning(shown.stem, number, last),
                *html.cards(
                    self._card(
                        one,
                        one.name,
                        os.path.join(b"..", shown.folder, one.name),
                        facts.get(one.image),
                        corrected=one.content in corrected,
                        first=[likeness(*alike[one.content])] if one.content in alike else (),
                    )
                    for one in part
                ),
                turning,
                html.VIEWER,
            ]  # fmt: skip
            self._put(
                path,
                self._title(shown.title),
                body,
                style=_STYLE + html.VIEWER_STYLE,
                made_of=made_of,
            )

    def _made_of(self, part: Sequence[Entry], facts: Mapping[int, Facts], *others: object) -> str:
        """What a page of these entries is made of, in short."""
        shown = [(one, facts.get(one.image), self._instead(one)) for one in part]
        everything = (_VERSION, self._title(""), others, shown)
        return hashlib.sha1(repr(everything).encode(), usedforsecurity=False).hexdigest()

    def _write_duplicates(self) -> int:
        """The pages of the copies that the last search found; how many groups they show."""
        groups = self._catalog.duplicates.groups()
        when = self._catalog.setting("duplicates_found")
        told = counted(len(groups), "group")
        told += f", found {day(when)}; imgclust duplicates brings them up to date" if when else ""
        last = -(-len(groups) // _GROUPS)
        for number in range(1, last + 1):
            first = (number - 1) * _GROUPS
            part = groups[first : first + _GROUPS]
            images = [copy.image for group in part for copy in group]
            facts = self._catalog.details.of_images(images)
            corrected = self._catalog.corrections.among(
                copy.content for group in part for copy in group
            )
            links = {
                row[2]: os.path.join(b"..", row[0], row[1])
                for row in self._catalog.ledger.of_images(images)
            }
            body = [
                _links([(f"../{os.fsdecode(INDEX)}", "all clusters")]),
                "<h1>Duplicates</h1>\n",
                f'<p class="soft">{html.escaped(self._title(""))}</p>\n',
                f'<p class="soft">{told}. The best copy comes first.</p>\n',
                turning := _turning(_DUPLICATES, number, last),
            ]
            for group in part:
                body.append(f'<div class="box cluster"><div class="head">{_kind(group)}</div>\n')
                body += html.cards(
                    self._card(
                        copy,
                        os.path.basename(copy.path),
                        links.get(copy.image),
                        facts.get(copy.image),
                        corrected=copy.content in corrected,
                        first=[copy.relation],
                    )
                    for copy in group
                )
                body.append("</div>\n")
            body += [turning, html.VIEWER]
            path = os.path.join(self._pages, _page(_DUPLICATES, number).encode())
            self._put(path, self._title("Duplicates"), body, style=_STYLE + html.VIEWER_STYLE)
        return len(groups)

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

    def _write_index(
        self, shown: Sequence[PageFolder], sizes: Mapping[bytes, int], groups: int
    ) -> None:
        path = os.path.join(self._root, INDEX)
        if _is_foreign(path):
            return  # a page of the person's own has that name
        contents: dict[int, list[int]] = {}
        current = self._catalog.clusterings.current()
        if current is not None:
            clusters = [one.cluster for one in shown if one.cluster in current.cluster_ids]
            known = [cluster for cluster in clusters if cluster is not None]
            contents = all_representatives(self._catalog, current.id, known, current.recipe)
        there = [one for one in shown if sizes.get(one.folder)]
        told = f"{counted(sum(sizes.values()), 'image')} in {counted(len(there), 'folder')}"
        if missing := self._catalog.images.count_missing():
            told += f" · {missing:,} missing"
        if said := sum(self._catalog.corrections.counts().values()):
            told += f" · {counted(said, 'correction')}"
        roots = "<br>".join(map(html.escaped, self._roots()[:_ROOTS]))
        more = len(self._roots()) - _ROOTS
        roots += f"<br>and {more:,} more" if more > 0 else ""
        body = [
            f"<h1>{html.escaped(self._collection)}</h1>\n",
            f'<p class="soft">{roots}</p>\n',
            f'<p class="soft">{told}</p>\n',
        ]
        if groups:
            address = f"{os.fsdecode(PAGES)}/{_page(_DUPLICATES, 1)}"
            body.append(_links([(address, f"{counted(groups, 'group')} of duplicates")]))
        for one in there:
            target = f"{os.fsdecode(PAGES)}/{_page(one.stem, 1)}"
            link = f'<a href="{target}">{html.escaped(one.title)}</a>'
            size = f'<span class="soft">{counted(sizes[one.folder], "image")}</span>'
            body.append(f'<div class="box cluster"><div class="head"><h3>{link}</h3>{size}</div>\n')
            body += html.cards(
                html.card(self._thumbnail(content, INDEX), "", href=target, lazy=True)
                for content in contents.get(one.cluster or 0, [])
            )
            body.append("</div>\n")
        self._put(path, self._title(""), body)

    def _drop_old(
        self, shown: Sequence[PageFolder], sizes: Mapping[bytes, int], groups: int
    ) -> None:
        counts = {one.stem: _pages_of(sizes.get(one.folder, 0)) for one in shown}
        counts[_DUPLICATES] = -(-groups // _GROUPS)
        self._drop_but(
            {
                _page(stem, number).encode()
                for stem, count in counts.items()
                for number in range(1, count + 1)
            }
        )

    def _drop_but(self, wanted: set[bytes]) -> None:
        for name in set(os.listdir(self._pages)) - wanted:
            path = os.path.join(self._pages, name)
            if is_our_page(path) or (name == _NEW and _is_empty(path)):
                os.unlink(path)

    def _card(
        self,
        shown: Entry | KnownCopy,
        name: bytes,
        link: bytes | None,
        facts: Facts | None,
        *,
        corrected: bool,
        first: Sequence[str] = (),
    ) -> str:
        """The card of an image; `link` is its entry, seen from a page; `first` is said first."""
        thumbnail = self._thumbnail(shown.content, os.path.join(PAGES, b"page"))
        file = None if link is None else quote(link)
        instead = self._instead(shown) or (None if file else thumbnail)
        marks = ["missing"] if shown.missing else []
        marks += ["corrected"] if corrected else []
        if facts is not None and facts.damage:
            marks.append("damaged")
        return html.card(
            thumbnail,
            name,
            facts=[*first, *html.facts_of(shown.image, facts)],
            marks=marks,
            title=shown.path,
            href=instead or file,
            original=file if instead else None,
            lazy=True,
            image=shown.image,
        )

    def _instead(self, shown: Entry | KnownCopy) -> str | None:
        """What a browser can show, of a file that it cannot show or that is not there."""
        if not shown.missing and shown.format not in PREVIEWED_FORMATS:
            return None
        path = os.fsencode(self._thumbnails.preview_path(shown.content))
        if os.path.exists(path):
            return quote(os.path.relpath(path, self._pages))
        return self._thumbnail(shown.content, os.path.join(PAGES, b"page"))

    def _thumbnail(self, content: int, page: bytes) -> str:
        """Where a thumbnail is, seen from a page given by its path below the link folder."""
        here = os.path.dirname(os.path.join(self._root, page))
        path = os.fsencode(self._thumbnails.path(content))
        return quote(os.path.relpath(path, here))

    def _put(
        self, path: bytes, title: str, body: Sequence[str], *, style: str = "", made_of: str = ""
    ) -> None:
        """Write a page, unless it is so already, or something that is not ours has its name."""
        if _is_foreign(path):
            return
        mark = f"<!-- {made_of} -->\n" if made_of else ""
        content = PAGE_MARK + ("".join(html.page(title, body, style=style)) + mark).encode()
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


def _fingerprint(path: bytes) -> str:
    """What a page of ours says at its end that it was made of; empty where there is none."""
    with contextlib.suppress(OSError), open_to_read(path) as page:
        if page.read(len(PAGE_MARK)) == PAGE_MARK:
            page.seek(-len(f"{'0' * 40} -->\n"), os.SEEK_END)
            return page.read(40).decode("ascii", "replace")
    return ""


def _page(stem: str, number: int) -> str:
    return f"{stem}-{number}.html"


def _kind(group: Sequence[KnownCopy]) -> str:
    near = any(copy.relation == "near" for copy in group)
    return f"<h3>{'near duplicates' if near else 'exact copies'}</h3>"


def _links(targets: Sequence[tuple[str | None, str]]) -> str:
    """Links side by side, those that lead somewhere."""
    found = [f'<a href="{address}">{words}</a>' for address, words in targets if address]
    return f"<nav>{' '.join(found)}</nav>\n"


def _turning(stem: str, number: int, last: int) -> str:
    """Links to the other pages of a folder; nothing where there is one page."""
    if last < 2:
        return ""
    previous = _page(stem, number - 1) if number > 1 else None
    following = _page(stem, number + 1) if number < last else None
    others = [(None if one == number else _page(stem, one), f"{one}") for one in range(1, last + 1)]
    return _links([(previous, "previous"), *others, (following, "next")])


def _pages_of(entries: int) -> int:
    return -(-entries // _A_PAGE)
