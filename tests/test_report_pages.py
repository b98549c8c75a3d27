"""The link folder in a browser: every link and picture of every page leads somewhere."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from imgclust.collection import Collection
from imgclust.report import link_pages
from tests.conftest import Open, write_picture

PAGES = {"links.pages": True}


class Page(HTMLParser):
    """Links and pictures of a page on disk, as paths."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[Path] = []
        self.pictures: list[Path] = []
        self._folder = path.parent
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value is not None:
                path = Path(os.path.normpath(self._folder / unquote(value)))
                (self.links if name == "href" else self.pictures).append(path)


def folders(root: Path) -> dict[str, list[Path]]:
    """Entries of the cluster folders, hidden ones aside."""
    return {
        one.name: sorted(one.iterdir())
        for one in root.iterdir()
        if one.is_dir() and not one.name.startswith(".")
    }


@pytest.fixture
def collection(open_collection: Open, drop: Path) -> Collection:
    one = open_collection(flags=PAGES)
    one.add([drop])
    one.cluster(k=3)
    return one


def shown(collection: Collection) -> dict[Path, Page]:
    """All pages by path, from the first one on."""
    found: dict[Path, Page] = {}
    waiting = [collection.link_folder / "index.html"]
    while waiting:
        path = waiting.pop()
        found[path] = Page(path)
        waiting += [one for one in found[path].links if one.suffix == ".html" and one not in found]
    return found


def assert_in_step(collection: Collection) -> None:
    """The pages show every entry once, and nothing else; all that they name exists."""
    found = shown(collection)
    for page in found.values():
        assert all(os.path.exists(path) for path in [*page.links, *page.pictures])
    entries = [
        path
        for page in found.values()
        for path in page.links
        if path.suffix != ".html" and "thumbnails" not in path.parts  # previews
    ]
    there = [path for paths in folders(collection.link_folder).values() for path in paths]
    assert sorted(entries) == sorted(there)
    begin = found[collection.link_folder / "index.html"]
    assert len(begin.pictures) >= len(folders(collection.link_folder))
    written = set((collection.link_folder / ".pages").iterdir())
    assert written == set(found) - {collection.link_folder / "index.html"}


def test_every_image_is_on_a_page(collection: Collection) -> None:
    assert len(folders(collection.link_folder)) == 3
    assert_in_step(collection)
    assert collection.links(check=True).foreign == ()


def test_pages_follow_arrivals_removals_names_and_clusterings(
    collection: Collection, drop: Path
) -> None:
    write_picture(drop / "späte 100%#1.png", 77, hue=1)
    collection.add([drop])
    assert_in_step(collection)
    collection.remove(drop / "picture-03.png")
    assert_in_step(collection)
    cluster = collection.clusters()[0].id
    collection.name_cluster(cluster, "<b>cats & dogs")
    assert_in_step(collection)
    text = (collection.link_folder / "index.html").read_text("utf-8")
    assert "&lt;b&gt;cats &amp; dogs" in text
    assert "<b>cats" not in text
    collection.cluster(k=5)
    assert len(folders(collection.link_folder)) == 5
    assert_in_step(collection)
    collection.undo()
    assert_in_step(collection)


def test_only_pages_of_changed_folders_are_written(collection: Collection, drop: Path) -> None:
    before = {one: one.stat().st_mtime_ns for one in shown(collection)}
    write_picture(drop / "late.png", 78, hue=2)
    collection.add([drop])
    after = {one: one.stat().st_mtime_ns for one in shown(collection)}
    changed = {one.parent.name for one in before if before[one] != after[one]}
    assert len([one for one in before if before[one] != after[one]]) == 2
    assert changed == {".pages", "links"}


def test_large_folders_have_several_pages(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_pages, "_A_PAGE", 3)
    collection.cluster(k=2)
    sizes = {len(entries) for entries in folders(collection.link_folder).values()}
    assert max(sizes) > 3
    assert_in_step(collection)


def test_a_page_of_the_persons_own_is_left_alone(collection: Collection) -> None:
    mine = collection.link_folder / "index.html"
    mine.unlink()
    mine.write_text("mine")
    collection.cluster(k=2)
    assert mine.read_text() == "mine"
    assert collection.links(check=True).foreign == (b"index.html",)


def test_what_is_not_ours_in_the_folder_of_pages_stays(
    collection: Collection, tmp_path: Path
) -> None:
    inside = collection.link_folder / ".pages"
    (inside / "notes.txt").write_text("mine")
    (inside / "000-1.html").write_text("mine too")
    (inside / "folder").mkdir()
    kept = tmp_path / "kept.html"
    kept.write_text("kept")
    (inside / ".new").symlink_to(kept)
    taken = next(one for one in inside.glob("*-1.html") if one.read_text().startswith("<!--"))
    taken.unlink()
    taken.write_text("a page of my own")
    with contextlib.suppress(OSError):
        collection.links()
    collection.cluster(k=2)
    (inside / ".new").unlink()
    collection.links()
    collection.move_links(tmp_path / "elsewhere")
    assert (inside / "notes.txt").read_text() == "mine"
    assert (inside / "000-1.html").read_text() == "mine too"
    assert taken.read_text() == "a page of my own"
    assert kept.read_text() == "kept"
    assert sorted(one.name for one in inside.iterdir()) == sorted(
        {"notes.txt", "000-1.html", "folder", taken.name}
    )
    assert_in_step(collection)


def test_a_link_in_place_of_the_folder_of_pages_is_not_followed(
    collection: Collection, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "page.html").write_text("mine")
    shutil.rmtree(collection.link_folder / ".pages")
    (collection.link_folder / ".pages").symlink_to(mine)
    collection.cluster(k=2)
    assert collection.links(check=True).foreign == (b".pages",)
    collection.move_links(tmp_path / "elsewhere")
    assert [one.name for one in mine.iterdir()] == ["page.html"]


def test_the_first_page_as_a_link_stays(collection: Collection, tmp_path: Path) -> None:
    begin = collection.link_folder / "index.html"
    begin.rename(tmp_path / "mine.html")
    begin.symlink_to(tmp_path / "mine.html")
    before = (tmp_path / "mine.html").read_bytes()
    collection.cluster(k=2)
    collection.move_links(tmp_path / "elsewhere")
    assert begin.is_symlink()
    assert (tmp_path / "mine.html").read_bytes() == before


def test_pages_can_be_switched_off(collection: Collection, open_collection: Open) -> None:
    collection.close()
    one = open_collection()
    one.links()
    assert not (one.link_folder / "index.html").exists()
    assert not (one.link_folder / ".pages").exists()
    one.close()
    again = open_collection(flags=PAGES)
    again.links()
    assert_in_step(again)


def test_they_move_with_the_link_folder(collection: Collection, tmp_path: Path) -> None:
    old = collection.link_folder
    collection.move_links(tmp_path / "elsewhere")
    assert not old.exists() or list(old.iterdir()) == []
    assert_in_step(collection)


def test_pages_lost_from_the_disk_are_made_again(collection: Collection) -> None:
    shutil.rmtree(collection.link_folder / ".pages")
    collection.links()
    assert_in_step(collection)


def assert_central_first(collection: Collection) -> None:
    for row in collection.clusters():
        members = collection.cluster_details(row.id).members
        far = {os.path.basename(os.fsdecode(one.path)): one.distance for one in members}
        assert row.folder is not None
        entries = sorted(os.listdir(row.folder))
        assert sorted(name[4:] for name in entries) == sorted(far)
        ordered = [far[name[4:]] for name in entries]
        ranks = [int(name[:3]) for name in entries]
        pairs = list(itertools.pairwise(zip(ranks, ordered, strict=True)))
        assert all(one[0] == two[0] or one[1] < two[1] for one, two in pairs)
        assert len(set(ranks)) > len(ranks) // 2


def test_central_first(collection: Collection, open_collection: Open) -> None:
    collection.close()
    flags = PAGES | {"links.order": "central"}
    one = open_collection(flags=flags, changing=frozenset({"links.order"}))
    one.cluster(k=3, space="pca")  # where distances are all different
    one.links()
    assert_central_first(one)
    one.cluster(k=2, space="pca")
    assert_central_first(one)
    assert one.links(check=True).in_step
    assert_in_step(one)


def test_pages_and_report_mark_and_count_corrected_and_missing_images(
    collection: Collection, drop: Path
) -> None:
    collection.watch([drop], once=True, cluster=False)

    def count(name: str, word: str) -> int:
        pages = [path for path in shown(collection) if path.name == name]
        return sum(path.read_text("utf-8").count(word) for path in pages)

    first, second, _ = sorted(row.id for row in collection.clusters())
    page = f"{second:03d}-1.html"
    image = collection.cluster_details(first).members[0]
    stays = collection.cluster_details(second).members[0]
    assert count(page, ">corrected<") == 0
    collection.corrections.move([image.id], to=second)
    collection.corrections.move([stays.id], to=second)  # it moves nowhere: the mark alone is new
    assert count(page, ">corrected<") == 2
    assert count(page, "2 corrected") == 1
    assert count("index.html", "2 corrections") == 1
    assert ">corrected<" in collection.report().path.read_text("utf-8")
    stays.location.unlink()
    collection.watch(once=True)
    assert count(page, ">missing<") == 1
    assert count(page, "1 missing · 2 corrected") == 1
    assert count("index.html", "1 missing · 2 corrections") == 1
    for row in collection.corrections.rows():
        collection.corrections.remove([row.id])
    assert count(page, "corrected") == 0
