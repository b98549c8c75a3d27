"""The report, read by the parser of HTML pages of the standard library."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust import config
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import DescribedCluster
from imgclust.catalog.contents import Content, key_of
from imgclust.collection import Collection, embedder
from imgclust.config import Settings
from imgclust.embedding.recipe import recipe_of
from imgclust.errors import NothingThereError, StoppedError, StorageError, UsageError
from imgclust.report import html
from imgclust.report.html_report import MOST_BYTES, ReportResult, report
from imgclust.weights.loader import trunk
from tests.command_line import make, runner
from tests.conftest import DIMENSIONS, Open, inside, write_picture
from tests.fakes import FakeEmbedder
from tests.test_report_html import Seen

QUICK = {
    "embedding.weights": "trunk",
    "watch.settle_s": 0.02,
    "watch.young_s": 0.0,
    "clustering.pca_dims": 8,
    "decode.workers": 1,
    "views.method": "pca",
}
SCRIPT = "<script>alert(1)<|script>.png"
NASTY = b"caf\xe9 & \x1b.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop` and its `index`: a cluster with a name, copies, names that are nasty."""
    top = make(tmp_path_factory.mktemp("made"))
    drop = top / "drop"
    shutil.copy(drop / "picture-00.png", drop / SCRIPT)
    os.rename(write_picture(top / "nasty.png", 70, hue=1), os.fsencode(drop) + b"/" + NASTY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "open_embedder", lambda *_, **__: FakeEmbedder(DIMENSIONS))
        with Collection.open(top / "index", effective=config.load(flags=QUICK)) as one:
            one.add([drop])
            one.cluster(k=3)
            one.name_cluster(one.clusters()[0].id, "</style><b>\u00fcber")
            one.sweep(k_max=6)
    return top


@pytest.fixture
def collection(made: Path, tmp_path: Path) -> Iterator[Collection]:
    """A copy of it, opened."""
    shutil.copytree(made / "index", tmp_path / "index", ignore=shutil.ignore_patterns("links"))
    with Collection.open(tmp_path / "index", effective=config.load(flags=QUICK)) as one:
        yield one


def read(result: ReportResult) -> Seen:
    """The page; it says its own size."""
    found = result.path.read_bytes()
    assert result.bytes == len(found) <= MOST_BYTES
    return Seen(found.decode("utf-8"))


def pictures(seen: Seen) -> list[tuple[str, bytes]]:
    """Kind and bytes of every picture; each is in the page itself."""
    found = []
    for attributes in seen.of("img"):
        address = attributes["src"] or ""
        match = re.fullmatch(r"data:image/(png|webp|svg\+xml);base64,([\w+/=]+)", address)
        assert match, address[:60]
        found.append((match[1], base64.b64decode(match[2])))
    return found


def test_everything_is_in_the_page(collection: Collection, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):  # no folder is made unasked
        collection.report(tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()
    result = collection.report(tmp_path / "report.html")
    seen = read(result)
    kinds = [kind for kind, _ in pictures(seen)]
    shown = sum(min(9, row.size) for row in collection.clusters())
    assert kinds[:2] == ["png", "svg+xml"]  # the map and the elbow curve
    assert kinds[2:].count("webp") == len(kinds[2:])
    assert shown - 1 <= len(kinds[2:]) <= shown  # a copy is shown once
    for kind, picture in pictures(seen):
        if kind != "svg+xml":
            Image.open(io.BytesIO(picture)).load()
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "iframe", "object"}
    for _, attributes in seen.tags:
        assert not {name for name in attributes if name.startswith("on")}
        assert "http" not in (attributes.get("href") or "") + (attributes.get("style") or "")
    assert "url(" not in html.STYLE
    assert "@import" not in html.STYLE
    assert (result.clusters, result.pictured, result.pictures) == (3, 3, 9)


def test_what_it_says(collection: Collection, made: Path, tmp_path: Path) -> None:
    source = (report_of(collection, tmp_path)).path.read_text("utf-8")
    text = Seen(source).text
    assert "26, 25 distinct" in text
    assert str(made / "drop") in text
    assert "inception_v3 mixed6+mixed8" in text
    first, *others = collection.clusters()
    assert f"{first.id} </style><b>\u00fcber" in text
    for row in others:
        noun = "image" if row.size == 1 else "images"
        assert f"{row.id}{row.size} {noun} · coherence {row.coherence:.2f}" in text
    assert "broken.jpg" in text
    assert collection.quarantine()[0].reason in text
    assert "Exact duplicates (1)" in text
    assert f"{made / 'drop' / 'picture-00.png'}{made / 'drop' / SCRIPT}" in text
    assert "caf\ufffd & \ufffd.png" in source.replace("&amp;", "&")
    assert "\x1b" not in source


def report_of(collection: Collection, tmp_path: Path) -> ReportResult:
    return collection.report(tmp_path / "report.html")


def test_without_clusters_it_says_how_to_get_them(open_collection: Open, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "one.png", 1)
    one = open_collection(flags=QUICK)
    one.watch([tmp_path / "drop"], once=True, cluster=False)
    seen = read(report_of(one, tmp_path))
    assert "There are no clusters yet" in seen.text
    assert "imgclust sweep" in seen.text


def test_an_empty_collection_has_no_report(open_collection: Open, tmp_path: Path) -> None:
    one = open_collection()
    with pytest.raises(NothingThereError):
        one.report(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_dismissed_copies_are_not_listed(collection: Collection, tmp_path: Path) -> None:
    copies = [
        image.id
        for image in inside(collection).catalog.images.all()
        if os.path.basename(image.path) in {b"picture-00.png", SCRIPT.encode()}
    ]
    collection.dismiss_duplicates(copies)
    assert "No two images have the same bytes." in read(report_of(collection, tmp_path)).text


# Where it goes


def test_it_goes_to_no_place_of_the_images(
    collection: Collection, made: Path, tmp_path: Path
) -> None:
    for place in (made / "drop" / "report.html", made / "drop" / "." / "second.html"):
        with pytest.raises(UsageError, match="among the images"):
            collection.report(place)
        assert not place.exists()
    with pytest.raises(UsageError, match="our own folder"):
        collection.report(tmp_path / "index" / "default" / "report.html")
    with pytest.raises(UsageError, match="is a folder"):
        collection.report(tmp_path)


def test_what_stood_there_stays_when_it_is_stopped_or_refused(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "report.html"
    path.parent.mkdir()
    path.write_text("before")
    inside(collection).stop.set()
    with pytest.raises(StoppedError):
        collection.report(path)
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    assert path.read_text() == "before"
    with pytest.raises(StorageError):
        report(
            inside(collection).catalog,
            Path("/proc/no/report.html"),
            collection="default",
            recipe=collection.recipe,
            settings=collection.settings,
            thumbnail=lambda key: None,
        )


def test_the_command(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runner(tmp_path, capsys, monkeypatch)
    shutil.copytree(made / "index", tmp_path / "index", ignore=shutil.ignore_patterns("links"))
    said = run("report")
    place = tmp_path / "index" / "default" / "charts" / "report.html"
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"report: {place}"
    document = run("report", "--json", "--out", tmp_path / "r.html").document
    assert document == {
        "report": str(tmp_path / "r.html"),
        "bytes": (tmp_path / "r.html").stat().st_size,
        "clusters": 3,
    }
    assert "among the images" in run("report", "--out", made / "drop" / "r.html").refused(2)
    assert run("report", "-q", "--out", tmp_path / "r.html").out == ""


# Its size


def filled(folder: Path, *, clusters: int, members: int = 9) -> tuple[Catalog, str]:
    """A catalog of so many clusters of made-up images with long names."""
    catalog = Catalog(folder / "catalog.sqlite3")
    recipe = recipe_of(trunk()).name
    generator = np.random.default_rng(0)
    with catalog.transaction():
        root = catalog.roots.put(b"/photos", "watched").id
        number = catalog.clusterings.begin(
            provisional=False,
            space="embedding",
            chosen_by="user",
            inertia=1.0,
            mean_distance=0.5,
            seed=0,
            recipe=catalog.contents.recipe_id(recipe),
            projection=None,
            sequence=0,
            contents=clusters * members,
            centroids=np.zeros((clusters, 4), np.float32),
        )
        described = []
        for cluster in range(1, clusters + 1):
            digests = [generator.bytes(32) for _ in range(members)]
            vectors = generator.random((members, 4), np.float32)
            contents = [Content(key_of(one), one, 9, 8, 8, "PNG", 0.0) for one in digests]
            catalog.contents.put_embedded(list(zip(contents, vectors, strict=True)), recipe, "-")
            for place, one in enumerate(contents):
                path = b"/photos/%05d-%d-" % (cluster, place) + 100 * b"&"
                catalog.images.insert(path, root, one.key)
            described.append(DescribedCluster(cluster, 0.5, 0.8, contents[0].key, members))
            catalog.assignments.assign(
                number, [(one.key, cluster, 0.5) for one in contents], arrived=False
            )
        catalog.clusterings.set_clusters(number, described)
        catalog.clusterings.publish(number, {})
        for cluster in (1, clusters):
            catalog.clusterings.name(cluster, 100 * '"')
    return catalog, recipe


@pytest.mark.parametrize(
    ("room", "pictured", "each"),
    [
        (3_000_000, range(40, 41), range(9, 10)),
        (1_000_000, range(40, 41), range(2, 5)),
        (420_000, range(10, 35), range(1, 2)),
    ],
)
def test_it_keeps_within_its_size(tmp_path: Path, room: int, pictured: range, each: range) -> None:
    catalog, recipe = filled(tmp_path, clusters=40)
    result = report(
        catalog,
        tmp_path / "report.html",
        collection="many",
        recipe=recipe,
        settings=Settings(),
        thumbnail=lambda key: 3000 * b"x",
        most_bytes=room,
    )
    seen = read(result)
    assert result.bytes <= room
    assert seen.text.count("coherence 0.80") == result.pictured
    assert len(seen.of("figure")) == result.pictured * result.pictures
    assert len(seen.of("td")) == 4 * (40 - result.pictured)
    assert result.pictured in pictured
    assert result.pictures in each


def test_near_duplicates_have_their_pictures(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a search found last; that of a report of a small collection is left out here.
    monkeypatch.setattr("imgclust.collection.duplicates.renew_quickly", lambda _: None)
    catalog = inside(collection).catalog
    assert "is found by imgclust duplicates" in read(report_of(collection, tmp_path)).text
    images = list(catalog.images.all())
    groups = [
        [(one.id, one.content, "best"), (other.id, other.content, relation)]
        for one, other, relation in (
            (images[1], images[2], "near"),
            (images[3], images[4], "exact"),
            (images[5], images[6], "near"),
        )
    ]
    with catalog.transaction():
        catalog.duplicates.put(groups)
        catalog.store("duplicates_found", 0.0)
    before = len(pictures(read(report_of(collection, tmp_path))))
    seen = read(report_of(collection, tmp_path))
    assert "Near duplicates (2)" in seen.text
    titles = [one["title"] for one in seen.of("figure")[-4:]]
    assert titles == [html.shown(images[at].path) for at in (1, 2, 5, 6)]
    collection.remove(str(images[2].id))
    seen = read(report_of(collection, tmp_path))
    assert "Near duplicates (1)" in seen.text
    assert len(pictures(seen)) < before


def test_cards_of_a_report_have_ids_dates_and_whole_pictures(
    collection: Collection, made: Path, tmp_path: Path
) -> None:
    source = report_of(collection, tmp_path).path.read_text("utf-8")
    assert f"<title>default: report · {made / 'drop'}</title>" in source
    captions = re.findall(r'<span class="facts">(.*?)</span></figcaption>', source)
    assert captions
    dated = re.compile(r"<span>id \d+</span> · <span>\d{4}-\d\d-\d\d \d\d:\d\d( \(file\))?</span>")
    assert all(dated.search(one) for one in captions)
    assert "object-fit: contain" in html.STYLE
    assert "object-fit: cover" not in html.STYLE
