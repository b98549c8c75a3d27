"""What the pages of the link folder show of each image: whole, dated, in order, and in full."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import subprocess
import time
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from imgclust.catalog.links import Entry
from imgclust.collection import Collection
from imgclust.images.decoder import Picture, decode
from imgclust.images.headers import PREVIEWED_FORMATS
from imgclust.images.thumbnails import ThumbnailStore
from imgclust.report import html, link_pages
from tests import pictures
from tests.conftest import Open, inside, write_picture
from tests.test_report_pages import PAGES, Page, assert_in_step, shown

CARD = re.compile(
    r'<figure id="i(\d+)" title="([^"]*)"><a href="([^"]*)">.*?<figcaption>(.*?)</figcaption>'
)


@pytest.fixture
def collection(open_collection: Open, drop: Path) -> Collection:
    for number, path in enumerate(sorted(drop.iterdir())):
        at = time.mktime((2000 + (7 * number) % 24, 5, 17, 12, 30, 0, 0, 0, -1))
        os.utime(path, (at, at))
    one = open_collection(flags=PAGES)
    one.watch([drop], once=True)
    one.cluster(k=2)
    return one


def pages(collection: Collection) -> dict[str, str]:
    """The pages of the folders by name."""
    folder = collection.link_folder / ".pages"
    return {one.name: one.read_text("utf-8") for one in sorted(folder.iterdir())}


def cards(text: str) -> list[tuple[int, str, str, str]]:
    """Id, path, address and caption of every card of a page, in its order."""
    return [(int(i), unescape(p), unquote(unescape(h)), c) for i, p, h, c in CARD.findall(text)]


def card_of(collection: Collection, path: Path) -> tuple[int, str, str, str]:
    (found,) = [
        card for text in pages(collection).values() for card in cards(text) if card[1] == str(path)
    ]
    return found


def seen_from(collection: Collection, address: str) -> Path:
    return Path(os.path.normpath(collection.link_folder / ".pages" / address))


def test_images_are_sorted_by_date_and_their_ids_are_shown(collection: Collection) -> None:
    ids = {os.fsdecode(one.path): one.image for one in members(collection)}
    for text in pages(collection).values():
        found = cards(text)
        dates = [re.search(r"(\d{4}-\d\d-\d\d) 12:30 \(file\)", one[3]) for one in found]
        assert all(dates)
        years = [one[1] for one in dates if one is not None]
        assert years == sorted(years)
        assert [one[1] for one in found] != sorted(one[1] for one in found)
        assert all(one[0] == ids[one[1]] and f"id {one[0]}" in one[3] for one in found)


def members(collection: Collection) -> list[Entry]:
    ledger = inside(collection).catalog.ledger
    return [entry for folder in ledger.folders() for entry in ledger.entries(folder)]


def test_capture_time_comes_before_the_time_of_the_file(collection: Collection, drop: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "1999:12:31 23:59:58"
    Image.new("RGB", (80, 60), "red").save(drop / "old.jpg", exif=exif)
    collection.add([drop / "old.jpg"])
    (text,) = [one for one in pages(collection).values() if "old.jpg" in one]
    assert cards(text)[0][1] == str(drop / "old.jpg")
    assert "<span>1999-12-31 23:59</span>" in cards(text)[0][3]


def test_pages_in_the_order_of_names(collection: Collection, open_collection: Open) -> None:
    collection.close()
    one = open_collection(flags=PAGES | {"links.page_order": "name"})
    one.sync_links()
    write_picture(Path(os.fsdecode(members(one)[0].path)).parent / "zz.png", 99)
    one.add([Path(os.fsdecode(members(one)[0].path)).parent])
    for text in pages(one).values():
        assert [card[1] for card in cards(text)] == sorted(card[1] for card in cards(text))
        assert "by name" in text


def test_titles_name_the_collection_and_its_root(collection: Collection, drop: Path) -> None:
    for name, text in pages(collection).items():
        number = int(name[:3])
        assert f"<title>cluster {number} · default · {drop}</title>" in text
    index = (collection.link_folder / "index.html").read_text("utf-8")
    assert f"<title>default · {drop}</title>" in index
    assert "24 images in 2 folders" in index


def test_pages_lead_to_the_clusters_before_and_after(collection: Collection) -> None:
    for k in (2, 4, 3):
        collection.cluster(k=k, fresh=True)
        assert_in_step(collection)
        found = pages(collection)
        for before, after in itertools.pairwise(found):
            assert f'<a href="{after}">next cluster</a>' in found[before]
            assert f'<a href="{before}">previous cluster</a>' in found[after]
        first, *_, last = found.values()
        assert "previous cluster" not in first
        assert "next cluster" not in last


def test_an_arrival_in_a_large_folder_changes_two_pages_and_the_first(
    collection: Collection, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_pages, "_A_PAGE", 4)
    collection.cluster(k=1, fresh=True)
    collection.links()
    assert len(pages(collection)) == 6
    write_picture(drop / "a first by name.png", 78, hue=2)
    collection.add([drop])
    before = {one: one.stat().st_mtime_ns for one in shown(collection)}
    assert len(pages(collection)) == 7
    write_picture(drop / "a second by name.png", 79, hue=2)
    collection.add([drop])
    after = {one: one.stat().st_mtime_ns for one in shown(collection)}
    changed = sorted(one.name for one in before if before[one] != after[one])
    (stem,) = {name.rpartition("-")[0] for name in pages(collection)}
    assert changed == [f"{stem}-1.html", f"{stem}-7.html", "index.html"]
    middle = pages(collection)[f"{stem}-3.html"]
    assert "page 3 of 7 · 9 to 12" in middle
    assert f'<a href="{stem}-2.html">previous</a>' in middle
    assert f'<a href="{stem}-4.html">next</a>' in middle


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scan.tiff", "TIFF"),
        ("phone.heic", pictures.HEIC),
        ("phone without its suffix.jpg", pictures.HEIC),
        ("camera.dng", "DNG"),
    ],
)
def test_a_page_shows_a_preview_of_what_no_browser_shows(
    collection: Collection, drop: Path, name: str, content: bytes | str
) -> None:
    if content == "DNG":
        pytest.importorskip("rawpy")
    path = drop / name
    path.write_bytes(made(content) if isinstance(content, str) else content)
    collection.add([path])
    image, _, address, caption = card_of(collection, path)
    there = seen_from(collection, address)
    with Image.open(there) as preview:
        assert preview.format == "WEBP"
        assert max(preview.size) <= 1024
        entry = next(one for one in members(collection) if one.image == image)
        known = inside(collection).catalog.contents.get(entry.content)
        assert known is not None
        assert known.format in PREVIEWED_FORMATS
        assert preview.width / preview.height == pytest.approx(known.width / known.height, rel=0.02)
    original = re.search(r'<a href="([^"]*)">', caption)
    assert original is not None
    link = seen_from(collection, unquote(original[1]))
    assert link.is_symlink()
    assert os.path.realpath(link) == str(path)
    assert_in_step(collection)
    collection.remove(path)
    assert not there.exists()


def made(kind: str) -> bytes:
    """A picture of 2,000 by 500 pixels as a TIFF, or as the preview of a DNG."""
    stream = io.BytesIO()
    wide = Image.linear_gradient("L").resize((2000, 500)).convert("RGB")
    wide.save(stream, "JPEG" if kind == "DNG" else "TIFF")
    if kind == "TIFF":
        return stream.getvalue()
    return pictures.dng(stream.getvalue(), width=2000, height=500)


def test_a_preview_is_upright_and_whole() -> None:
    stream = io.BytesIO()
    wide = Image.new("RGB", (2000, 500), "blue")
    wide.paste("red", (0, 0, 1000, 500))
    wide.save(stream, "TIFF", tiffinfo={274: 6})  # turned by 90 degrees: red comes to the top
    found = decode(stream.getvalue(), suffix=".tif", preview_px=800)
    assert isinstance(found, Picture)
    assert found.preview is not None
    with Image.open(io.BytesIO(found.preview)) as preview:
        assert preview.size == (200, 800)
        top, bottom = (preview.convert("RGB").getpixel((100, at)) for at in (100, 700))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] > 200 > 100 > top[2]
    assert bottom[2] > 200 > 100 > bottom[0]


def test_previews_change_no_embedding() -> None:
    """The pixels that the network sees are the same with and without."""
    pytest.importorskip("rawpy")
    for content, suffix in (
        (made("TIFF"), ".tif"),
        (pictures.HEIC, ".heic"),
        (made("DNG"), ".dng"),
    ):
        one, other = (decode(content, suffix=suffix, preview_px=px) for px in (0, 1024))
        assert isinstance(one, Picture)
        assert isinstance(other, Picture)
        assert one.preview is None
        assert other.preview is not None
        assert (one.pixels == other.pixels).all()
        assert one.thumbnail == other.thumbnail


def test_lost_pictures_are_made_again_by_links(collection: Collection, drop: Path) -> None:
    """As in a collection that was restored, or made before there were previews."""
    (drop / "scan.tiff").write_bytes(made("TIFF"))
    collection.add([drop / "scan.tiff"])
    folder = inside(collection).folders.thumbnails
    shutil.rmtree(folder)
    collection.links()
    assert_in_step(collection)
    address = card_of(collection, drop / "scan.tiff")[2]
    assert address.endswith("-preview.webp")
    assert seen_from(collection, address).exists()
    store, previews = ThumbnailStore(folder), list(folder.glob("*/*-preview.webp"))
    assert len(previews) == 1
    assert all(store.path(one.content).exists() for one in members(collection))


def test_previews_can_be_switched_off(open_collection: Open, drop: Path) -> None:
    (drop / "scan.tiff").write_bytes(made("TIFF"))
    one = open_collection(flags=PAGES | {"decode.preview_px": 0})
    one.watch([drop], once=True)
    assert list(inside(one).folders.thumbnails.glob("*/*-preview.webp")) == []
    assert card_of(one, drop / "scan.tiff")[2].endswith(".webp")  # its thumbnail
    assert_in_step(one)


def test_a_missing_image_is_marked_and_shown_nevertheless(
    collection: Collection, drop: Path
) -> None:
    path = drop / "picture-03.png"
    kept = path.read_bytes()
    path.unlink()
    collection.watch([drop], once=True)
    _, _, address, caption = card_of(collection, path)
    assert '<b class="mark">missing</b>' in caption
    assert seen_from(collection, address).exists()
    path.write_bytes(kept)
    collection.watch([drop], once=True)
    assert "missing" not in card_of(collection, path)[3]


def test_duplicates_are_shown_with_their_pictures(collection: Collection, drop: Path) -> None:
    assert "duplicates-1.html" not in pages(collection)
    for name in ("<copy> & co.png", "copy 2.png"):
        shutil.copy(drop / "picture-05.png", drop / name)
    collection.add([drop])
    found = collection.duplicates(min_score=0.9)
    assert "duplicates-1.html" not in pages(collection)  # by a bound of the person's own
    catalog = inside(collection).catalog
    with catalog.transaction():
        catalog.duplicates.put(
            [[(copy.id, content_of(collection, copy.id), copy.relation) for copy in group.images]
             for group in found.groups]
        )  # fmt: skip
    collection.links()
    text = pages(collection)["duplicates-1.html"]
    shown_paths = [one[1] for one in cards(text)]
    assert set(shown_paths) >= {
        str(drop / name) for name in ("picture-05.png", "<copy> & co.png", "copy 2.png")
    }
    assert "<copy>" not in text
    assert all(os.path.exists(seen_from(collection, one[2])) for one in cards(text))
    assert "exact copies" in text
    index = (collection.link_folder / "index.html").read_text("utf-8")
    assert '<a href=".pages/duplicates-1.html">' in index
    (group,) = [one for one in found.groups if any(b"copy 2" in copy.path for copy in one.images)]
    collection.dismiss_duplicates([copy.id for copy in group.images])
    left = pages(collection).get("duplicates-1.html", "")
    assert "copy 2.png" not in left


def content_of(collection: Collection, image: int) -> int:
    known = inside(collection).catalog.images.get(image)
    assert known is not None
    return known.content


def test_pages_of_an_older_version_are_made_again(collection: Collection) -> None:
    old = {}
    for path in (collection.link_folder / ".pages").iterdir():
        old[path] = path.read_bytes()
        path.write_bytes(path.read_bytes()[:200])
    catalog = inside(collection).catalog
    with catalog.transaction():
        catalog.store("pages", {"made_by": [1], "beside": {}})
    collection.add([next(iter(members(collection))).path.decode()])
    assert {path: path.read_bytes() for path in old} == old


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.png", "a'b\"c&d.png", "100%#1?.png"])
def test_every_name_is_escaped(collection: Collection, drop: Path, name: str) -> None:
    write_picture(drop / name.replace("/", ""), 81)
    collection.add([drop])
    assert_in_step(collection)
    for page in shown(collection):
        text = page.read_text("utf-8")
        assert text.count("<script>") == (0 if page.name == "index.html" else 1)
        assert Page(page).links


def test_the_viewer_shows_one_picture_after_the_other(collection: Collection) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser is installed")
    folder = collection.link_folder / ".pages"
    name, text = next(iter(pages(collection).items()))
    (one, _, address, _), (two, *_) = cards(text)[:2]

    def dom(fragment: str, script: str = "") -> str:
        # What a person does, as a script at the end of the page.
        page = folder.parent / "try.html"
        page.write_text(text.replace('"../', '"').replace("</body>", f"<script>{script}</script>"))
        options = ["--headless", "--no-sandbox", f"--user-data-dir={folder.parent}/.profile"]
        done = subprocess.run(
            [chromium, *options, "--dump-dom", page.as_uri() + fragment],
            capture_output=True,
            timeout=120,
            check=True,
        )
        return done.stdout.decode()

    assert name.endswith("-1.html")
    assert "<dialog open" not in dom("")
    opened = dom(f"#i{one}")
    assert '<dialog open=""><img' in opened
    dialog = opened[opened.index("<dialog") :]
    assert os.path.basename(address) in unquote(dialog)
    assert f"id {one}" in dialog
    press = 'document.onkeydown({ key: "ArrowRight" })'
    following = dom(f"#i{one}", press)
    assert f"id {two}" in following[following.index("<dialog") :]
    clicked = dom("", f'document.querySelector("#i{two} a").click()')
    assert f"id {two}" in clicked[clicked.index("<dialog") :]


def test_a_card_has_room_for_more_numbers() -> None:
    card = html.card(
        "a.webp", "zebra.png", facts=["0.961", "id 7", "rarity 0.41"], marks=["missing"]
    )
    assert (
        '<b class="mark">missing</b> · <span>0.961</span> · <span>id 7</span> · '
        "<span>rarity 0.41</span>" in card
    )
