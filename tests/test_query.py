"""Queries: by several images, by a region, within a cluster; sheets, paths, pictures, opening."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust.collection import Collection, Region
from imgclust.errors import ImgclustError, NothingThereError, UsageError
from imgclust.terminal.screen import Screen
from tests.command_line import QUICK, Run
from tests.conftest import DIMENSIONS, Open, write_picture
from tests.fakes import FakeEmbedder


@pytest.fixture
def ready(made: Path, run: Run, tmp_path: Path) -> Path:
    shutil.copytree(made / "index", tmp_path / "index", symlinks=True)
    return made


@pytest.fixture
def collection(ready: Path, tmp_path: Path) -> Collection:
    return Collection.open(tmp_path / "index")


def nearest(
    collection: Collection, vector: NDArray[np.float32], among: set[int], n: int
) -> list[float]:
    """Scores of the nearest images by a plain comparison with all, the greatest first."""
    ids, embeddings = collection.embeddings()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = unit @ (vector / np.linalg.norm(vector))
    return sorted((float(s) for s, one in zip(scores, ids, strict=True) if one in among))[
        : -n - 1 : -1
    ]


# What is asked for


def test_several_images_are_asked_for_by_the_mean_of_their_unit_vectors(
    collection: Collection, tmp_path: Path
) -> None:
    ids, embeddings = collection.embeddings()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = collection.query([1, 2, 7], n=24, include_self=True, copies=True)
    everything = set(ids.tolist())
    rows = [list(ids).index(one) for one in (1, 2, 7)]
    scores = sorted((row.score for row in found.neighbours), reverse=True)
    expected = nearest(collection, unit[rows].mean(0), everything, 24)
    assert scores == pytest.approx(expected, abs=1e-3)
    assert (found.query, found.queries, found.image) == ("1 + 2 + 7", ("1", "2", "7"), None)
    new = write_picture(tmp_path / "new.png", 77, hue=1)
    both = collection.query([new, 1], n=24, include_self=True, copies=True)
    mixed = sorted((row.score for row in both.neighbours), reverse=True)
    square = Image.open(new).resize((299, 299), Image.Resampling.BILINEAR)
    vector = FakeEmbedder(DIMENSIONS).embed(np.asarray(square)[None])[0]
    mean = vector / np.linalg.norm(vector) + unit[list(ids).index(1)]
    assert mixed == pytest.approx(nearest(collection, mean, everything, 24), abs=1e-3)


def test_one_image_in_a_list_is_that_image(collection: Collection) -> None:
    assert collection.query([5]) == collection.query(5) == collection.query("5")


def test_images_that_cancel_out(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    from imgclust.search.similar_images import Subject, mean_subject

    vector = np.ones(4, np.float32)
    with pytest.raises(ImgclustError, match="nothing in common"):
        mean_subject([Subject(vector, 1, 1), Subject(-3 * vector, 2, 2)])


def test_a_cluster_is_searched_whole(collection: Collection) -> None:
    """Also when the nearest of all images are in other clusters."""
    ids, embeddings = collection.embeddings()
    for cluster in collection.clusters():
        members = {one.id for one in collection.cluster_details(cluster.id).members}
        for image in (1, 2, 3):
            vector = embeddings[list(ids).index(image)]
            expected = nearest(collection, vector, members - {image}, 24)
            found = collection.query(
                image, n=24, cluster=cluster.id, include_self=True, copies=True
            )
            others = [row for row in found.neighbours if row.id != image]
            if image in members:
                assert found.neighbours[0].id == image
            scores = sorted((row.score for row in others), reverse=True)
            assert scores == pytest.approx(expected, abs=1e-3)
            few = collection.query(image, n=3, cluster=cluster.id, copies=True).neighbours
            assert [row.id for row in few] == [row.id for row in others[:3]]
            assert {row.cluster for row in found.neighbours} == {cluster.id}
        everything = collection.query(
            1, n=100, cluster=cluster.id, include_self=True, copies=True
        ).neighbours
        assert {row.id for row in everything} == members
    plain = {row.id: row.score for row in collection.query(1, n=100, include_self=True).neighbours}
    assert all(row.score == pytest.approx(plain[row.id], abs=1e-5) for row in everything)
    with pytest.raises(NothingThereError, match=r"no cluster 99; there are [0-9]+ clusters: 1, "):
        collection.query(1, cluster=99)


def test_a_region_is_asked_for_as_that_part_alone(
    collection: Collection, ready: Path, tmp_path: Path
) -> None:
    left, right = (ready / "drop" / f"picture-0{one}.png" for one in (3, 7))
    both = Image.new("RGB", (160, 60))
    both.paste(Image.open(left), (0, 0))
    both.paste(Image.open(right), (80, 0))
    both.save(tmp_path / "both.png")
    for region, wanted in [
        (Region(0, 0, 0.5, 1), left),
        (Region(80, 0, 80, 60), right),
        (Region(80, 0, 8000, 6000), right),
    ]:
        found = collection.query(tmp_path / "both.png", region=region)
        assert found.neighbours[0].path == os.fsencode(wanted)
        assert found.neighbours[0].score > 0.999
    assert collection.query(1, region=Region(0, 0, 1, 1), include_self=True).neighbours[0].id == 1
    with pytest.raises(UsageError, match="no pixel of this picture of 160 x 60"):
        collection.query(tmp_path / "both.png", region=Region(160, 0, 10, 10))
    with pytest.raises(UsageError, match="exactly one image"):
        collection.query([1, 2], region=Region(0, 0, 1, 1))
    with pytest.raises(NothingThereError, match="no image has the id 99"):
        collection.query(99, region=Region(0, 0, 1, 1))


def test_a_link_to_a_picture_is_a_picture(collection: Collection, tmp_path: Path) -> None:
    os.symlink(write_picture(tmp_path / "new.png", 77), tmp_path / "link.png")
    assert collection.query(tmp_path / "link.png").neighbours


# The command line


def test_names_of_clusters_are_in_the_table(run: Run, ready: Path) -> None:
    assert run("clusters", "name", "1", "red things").code == 0
    rows = run("query", "1", "-n", "24", "--json").document["neighbours"]
    assert {(row["cluster"], row["name"]) for row in rows} > {(1, "red things")}
    assert re.search(
        r"^ *-?0\.\d{3}  .*  1 red things +\d+  picture-", run("query", "1", "-n", "24").out, re.M
    )


def test_paths_only(run: Run, tmp_path: Path) -> None:
    name = b"caf\xe9 two\nlines.png"
    picture = write_picture(tmp_path / "drop" / "one.png", 1)
    os.rename(picture, os.fsencode(tmp_path / "drop") + b"/" + name)
    write_picture(tmp_path / "drop" / "two.png", 2)
    assert run("watch", "--once", "-q", tmp_path / "drop").code == 0
    code = "import sys; from imgclust.cli import app; app()"
    told = {**os.environ, **QUICK, "IMGCLUST_INDEX": str(tmp_path / "index")}
    for flag, end in (("-0", b"\0"), ("-f", b"\n")):
        done = subprocess.run(
            [sys.executable, "-c", code, "query", "1", "--include-self", flag],
            capture_output=True,
            env=told,
        )
        one, two = (os.fsencode(tmp_path / "drop") + b"/" + each for each in (name, b"two.png"))
        assert done.stdout in {one + end + two + end, two + end + one + end}
    assert run("query", "1", "-f", "--json").code == 2


def test_a_sheet_says_what_it_shows_of_how_many(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[Sequence[Sequence[str]], str, str]] = []

    def drawn(
        path: Path,
        pictures: object,
        captions: Sequence[Sequence[str]],
        *,
        title: str,
        subtitle: str,
    ) -> None:
        sheets.append((captions, title, subtitle))

    monkeypatch.setattr("imgclust.charts.image_sheet.contact_sheet", drawn)
    rows = run("query", "1", "-n", "4", "--sheet", tmp_path / "a.png", "--json").document[
        "neighbours"
    ]
    region = ("--region", "0.1,0.1,0.5,0.5")
    run("query", "1", "-n", "3", *region, "--sheet", tmp_path / "b.png")
    run("clusters", "show", "1", "--sheet", tmp_path / "c.png")
    captions, title, subtitle = sheets[0]
    count = run("status", "--json").document["images"]
    assert (title, subtitle) == ("most similar to 1", f"4 of {count} images")
    assert [lines[0] for lines in captions] == [os.path.basename(row["path"]) for row in rows]
    for lines, row in zip(captions, rows, strict=True):
        shown = f"{row['score']:.3f}" if row["similarity"] is None else f"{row['similarity']:.2f}"
        number, identity = lines[1].split(" · ")
        assert number.split(",")[0] == shown
        assert identity == f"id {row['id']}"
    assert sheets[1][2] == f"3 of {count} images · region 0.1,0.1,0.5,0.5"
    cluster = run("clusters", "show", "1", "--json").document
    assert sheets[2][1] == "cluster 1"
    some, size = len(cluster["representatives"]), cluster["size"]
    assert sheets[2][2] == f"{some} of {size} images, the most typical first"


def test_a_sheet(run: Run, ready: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    document = run("query", "1", "-n", "4", "--sheet", sheet, "--json").document
    assert document["sheet"] == str(sheet)
    with Image.open(sheet) as drawn:
        assert drawn.size == (3 * 172 + 12, 62 + 2 * 216)
        assert len(drawn.convert("RGB").getcolors(1 << 20) or []) > 500
    shutil.rmtree(tmp_path / "index" / "default" / "thumbnails")
    again = tmp_path / "again.png"
    assert f"contact sheet: {again}" in run("query", "1", "-n", "4", "--sheet", again).out
    with Image.open(again) as redrawn:
        assert len(redrawn.convert("RGB").getcolors(1 << 20) or []) > 500
    assert ".png" in run("query", "1", "--sheet", "sheet.txt").refused(2)


def test_the_sheet_of_a_cluster_needs_no_thumbnails_on_disk(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    sheets = [tmp_path / "with.png", tmp_path / "without.png"]
    assert run("clusters", "show", "1", "--sheet", sheets[0]).code == 0
    shutil.rmtree(tmp_path / "index" / "default" / "thumbnails")
    assert run("clusters", "show", "1", "--sheet", sheets[1]).code == 0
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_a_file_that_has_changed_is_not_shown_for_what_it_held(
    collection: Collection, ready: Path, tmp_path: Path
) -> None:
    one, two = collection.query(1, n=2, include_self=True).neighbours
    shutil.rmtree(tmp_path / "index" / "default" / "thumbnails")
    write_picture(Path(os.fsdecode(one.path)), 500)
    first, second = collection.pictures([one.id, two.id])
    assert first is None
    assert second is not None


def test_limits_of_decoding_hold_for_what_is_asked_about(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    """What `add` would take may be asked about, and nothing else."""
    large = tmp_path / "large.png"
    Image.open(drop / "picture-00.png").resize((1200, 900)).save(large)
    narrow = open_collection(flags={"decode.pixel_cap_mp": 1})
    narrow.add([drop], cluster=False)
    for region in (None, Region(0, 0, 1, 1)):
        with pytest.raises(ImgclustError, match="cannot be used"):
            narrow.query(large, region=region)
    narrow.close()
    wide = open_collection()
    assert wide.query(large, n=1).neighbours[0].score > 0.9


@pytest.mark.parametrize("command", ["query 1 --sheet", "clusters show 1 --sheet", "view --out"])
def test_no_picture_is_drawn_over_an_original_or_beside_it(
    run: Run, ready: Path, tmp_path: Path, command: str
) -> None:
    drop = ready / "drop"
    before = {path: path.read_bytes() for path in drop.iterdir()}
    for path in (drop / "new.png", next(iter(before))):
        assert "lies among the images" in run(*command.split(), path).refused(2)
    assert {path: path.read_bytes() for path in drop.iterdir()} == before
    for name in ("sheet.txt", "sheet.", "sheet"):
        assert f"{name}: a " in run(*command.split(), tmp_path / name).refused(2)


@pytest.mark.parametrize("region", ["1,2,3", "a,b,c,d", "0,0,0,1", "-1,0,1,1", "0,0,nan,1"])
def test_regions_that_are_none(run: Run, ready: Path, region: str) -> None:
    assert "--region" in run("query", "1", f"--region={region}").refused(2)


def test_no_network_is_loaded_for_images_of_the_collection(ready: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from imgclust.cli import main; code = main(sys.argv[1:])\n"
        "print(code, *{name.split('.')[0] for name in sys.modules})"
    )
    for more in ((), ("2", "3"), ("--cluster", "1")):
        done = subprocess.run(
            [sys.executable, "-c", code, "query", "-q", "1", *more],
            capture_output=True,
            text=True,
            env={**os.environ, **QUICK, "IMGCLUST_INDEX": str(tmp_path / "index")},
        )
        code_said, *loaded = done.stdout.splitlines()[-1].split()
        assert code_said == "0", done.stderr
        assert not {"tensorflow", "keras", "sklearn", "matplotlib"} & set(loaded)


# Pictures


def test_a_pipe_gets_no_pictures_unless_it_is_told_to(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "\x1b" not in run("query", "1").out
    shown = run("query", "1", "--images", "blocks").out
    assert "▀" in shown
    assert run("query", "1", "--images", "off").out == run("query", "1").out
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert max(map(len, [line for line in lines if "▀" in line])) <= 80
    assert sum(bool(re.search(r"\d+  \d\.\d{3}", line)) for line in lines[:-11]) == 2


def test_a_picture_of_blocks_has_its_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from imgclust.collection import Neighbour, QueryResult
    from imgclust.terminal import query

    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "red.png")
    rows = tuple(Neighbour(id, b"/a.png", 0.5, 1, None) for id in (1, 2))
    found = QueryResult("1", ("1",), 1, rows)
    query.query(Screen(), found, pictures=[(tmp_path / "red.png").read_bytes(), b"none"])
    out = capsys.readouterr().out
    assert "38;2;255;0;0" in out
    assert "1  0.500        2  0.500" in out
    assert sum("▀" in line for line in out.splitlines()) == 4  # 14 x 7 pixels


# Opening


def test_open_uses_the_desktops_opener(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    best = run("query", "1", "-n", "2", "--json").document["neighbours"][0]["path"]
    said = run("query", "1", "--open")
    assert said.code == 1
    assert said.err == f"imgclust: there is no desktop here to open {best}\n"
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\ntest ! -e {tmp_path}/fail\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{opener.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(sys, "platform", "linux")
    assert run("query", "1", "--open").code == 0
    assert (tmp_path / "opened").read_text() == f"{best}\n"
    (tmp_path / "fail").touch()
    assert "xdg-open cannot open" in run("query", "1", "--open").err
    assert run("query", "1", "-n", "1", "--cluster", "1", "--min-score", "1", "--open").code == 3
