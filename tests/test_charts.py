"""Pictures: written whole, the same twice, coloured and laid out as said."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust.charts import figure, scatter
from imgclust.charts.elbow_curve import elbow
from imgclust.charts.figure import (
    EDGE_PX,
    PLOT_PX,
    Box,
    Points,
    by_turns,
    centres_of,
    colour,
    legible,
    new_figure,
    number_boxes,
    plot_px,
    save,
    shape,
    to_pixels,
    without_gaps,
)
from imgclust.charts.image_sheet import contact_sheet
from imgclust.charts.interactive_map import draw_interactive_map
from imgclust.charts.scatter import _on_page, map_2d, map_3d
from imgclust.errors import StorageError

NAMES = {1: "cats $and$ dogs", 2: "海の写真", 3: "a name\nof two lines", 4: "x" * 200}


def clustered(k: int, dims: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = np.random.default_rng(0)
    member = np.repeat(np.arange(k), 12)
    centres = random.standard_normal((k, dims)) * 20
    return centres[member] + random.standard_normal((12 * k, dims)), member + 1


def picture(row: int) -> bytes:
    stream = io.BytesIO()
    shade = (row * 37 % 256, row * 91 % 256, 128)
    Image.new("RGB", (160, 100 + row % 60), shade).save(stream, "WEBP")
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("k", [5, 100])
def test_a_map_is_the_same_twice(tmp_path: Path, k: int, suffix: str) -> None:
    coordinates, clusters = clustered(k, 2)
    written = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}{suffix}"
        found = map_2d(
            path,
            Points(coordinates=coordinates, clusters=clusters, names=NAMES),
            thumbnails=picture,
            title="a $map$",
        )
        assert found == path
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"one{suffix}", f"two{suffix}"]
    if suffix == ".png":
        with Image.open(tmp_path / "one.png") as image:
            assert image.width * image.height > 1200 * 1000


def test_a_map_of_three_dimensions_is_the_same_twice(tmp_path: Path) -> None:
    coordinates, clusters = clustered(8, 3)
    written = []
    for name in ("one.png", "two.png"):
        map_3d(
            tmp_path / name,
            Points(coordinates=coordinates, clusters=clusters, names=NAMES),
            title="t",
        )
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_points_have_the_colour_of_their_cluster(tmp_path: Path) -> None:
    coordinates = np.array([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [10.1, 0.0]])
    map_2d(
        tmp_path / "m.png",
        Points(coordinates=coordinates, clusters=np.array([3, 3, 8, 8]), names={}),
    )
    with Image.open(tmp_path / "m.png") as image:
        seen = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(float) / 255
    for cluster in (3, 8):
        assert np.abs(seen - np.array(colour(cluster))).max(axis=1).min() < 0.02


def test_odd_maps_are_drawn(tmp_path: Path) -> None:
    map_2d(
        tmp_path / "a.png", Points(coordinates=np.zeros((1, 2)), clusters=np.array([-1]), names={})
    )
    map_2d(
        tmp_path / "b.png", Points(coordinates=np.zeros((9, 2)), clusters=np.arange(9), names={})
    )
    map_3d(
        tmp_path / "c.png", Points(coordinates=np.zeros((1, 3)), clusters=np.array([4]), names={})
    )
    map_2d(
        tmp_path / "d.png",
        Points(coordinates=np.eye(2), clusters=np.array([1, 2]), names={}),
        thumbnails=lambda row: b"no picture" if row else None,
    )
    assert len(list(tmp_path.iterdir())) == 4


def test_no_more_pictures_are_read_than_may_be_shown(tmp_path: Path) -> None:
    coordinates, clusters = clustered(30, 2)
    asked: list[int] = []

    def counted(row: int) -> bytes:
        asked.append(row)
        return picture(row)

    map_2d(
        tmp_path / "m.png",
        Points(coordinates=coordinates, clusters=clusters, names={}),
        thumbnails=counted,
        max_thumbnails=7,
    )
    assert len(asked) == 7
    assert len({int(clusters[row]) for row in asked}) == 7


@pytest.mark.parametrize("k", [1, 100])
def test_no_picture_is_cut_off_at_the_edge(
    tmp_path: Path, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates, clusters = clustered(k, 2)
    drawn: list[Box] = []

    def kept(*arguments: Any, **options: Any) -> Box | None:
        room = figure.free_box(*arguments, **options)
        if room is not None:
            drawn.append(room)
        return room

    monkeypatch.setattr(scatter, "free_box", kept)
    path = map_2d(
        tmp_path / "m.png",
        Points(coordinates=coordinates, clusters=clusters, names={}),
        thumbnails=picture,
    )
    with Image.open(path) as whole:
        page = Box(0, 0, *whole.size)
    assert drawn
    assert all(page.holds(box) for box in drawn)


def test_a_thumbnail_tells_whether_its_image_was_placed(tmp_path: Path) -> None:
    """White dashes on the frame, and nothing else that differs."""
    pictures = []
    for late in (False, True):
        path = map_2d(
            tmp_path / f"{late}.png",
            Points(
                coordinates=np.array([[0.0, 0.0], [4.0, 4.0], [9.0, 0.0]]),
                clusters=np.array([1, 2, 3]),
                names={},
                placed=np.array([True, late, False]),
            ),
            thumbnails=lambda row: picture(row) if row == 1 else None,
        )
        with Image.open(path) as drawn:
            pictures.append(np.asarray(drawn.convert("RGB"))[:, : PLOT_PX[0] - 40].astype(int))
    apart = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
    assert 20 < apart.sum() < 2000
    assert (pictures[1][apart] > 200).all(axis=1).mean() > 0.4


def test_numbers_do_not_overlap_even_where_centres_coincide() -> None:
    random = np.random.default_rng(0)
    centres = {one: random.uniform(300, 700, 2) for one in range(90)}
    centres |= {one: np.array([500.0, 500.0]) for one in range(90, 100)}
    centres |= {100: np.array([2.0, 2.0]), 101: np.array([998.0, 600.0])}
    page = Box(0, 0, 1000, 1000)
    boxes = [box for _, box, _ in number_boxes(centres, page)]
    assert len(boxes) == 102
    assert all(page.holds(box) for box in boxes)
    assert not any(
        one.meets(other) for index, one in enumerate(boxes) for other in boxes[index + 1 :]
    )


def test_boxes_that_touch_do_not_meet() -> None:
    assert not Box(0, 0, 1, 1).meets(Box(1, 0, 2, 1))
    assert Box(0, 0, 1, 1).meets(Box(0.9, 0.9, 2, 2))


def test_layout_keeps_proportions_and_takes_turns() -> None:
    place = to_pixels(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0]]), PLOT_PX)
    wide, tall = place[1] - place[0], place[2] - place[1]
    assert wide[0] == pytest.approx(4 * tall[1])
    ids = np.array([5, 5, 5, 9, -1])
    points = np.array([[0.0, 0], [1, 0], [8, 0], [3, 3], [7, 7]])
    centres = centres_of(points, ids)
    np.testing.assert_array_equal(centres[5], [1, 0])
    assert list(by_turns(points, ids, centres)) == [1, 3, 4, 0, 2]


@pytest.mark.parametrize("shape", [0.5, 0.8, 1.0, 1.7, 2.0])
def test_points_fill_the_picture(shape: float) -> None:
    points = np.random.default_rng(0).uniform(0, 1, (400, 2)) * [shape, 1]
    points[:2] = np.array([[0.0, 0.0], [shape, 1.0]])
    plot = plot_px(points)
    assert plot[0] / plot[1] == pytest.approx(shape, rel=0.01)
    assert plot[0] * plot[1] == pytest.approx(PLOT_PX[0] * PLOT_PX[1], rel=0.01)
    place = to_pixels(points, plot)
    np.testing.assert_allclose(place.min(axis=0), EDGE_PX, atol=2)
    np.testing.assert_allclose(place.max(axis=0), np.add(plot, EDGE_PX), atol=2)


def test_a_line_of_points_still_gets_a_picture() -> None:
    for points in (np.zeros((3, 2)), np.array([[0.0, 0.0], [5.0, 0.0]])):
        assert plot_px(points)[0] == plot_px(points)[1]
    wide, tall = plot_px(np.array([[0.0, 0.0], [1000.0, 1.0]]))
    assert wide / tall == pytest.approx(2, rel=0.01)


def test_a_cluster_keeps_its_colour_and_neighbours_differ() -> None:
    assert colour(7) == colour(7)
    assert len({(colour(one), shape(one)) for one in range(1, 321)}) == 320
    for one in range(1, 100):
        assert np.abs(np.subtract(colour(one), colour(one + 1))).max() > 0.1
        assert shape(one) != shape(one + 1)


@pytest.mark.parametrize("first", [1, 40, 1000])
def test_forty_clusters_have_colours_that_can_be_told_apart(first: int) -> None:
    """People see a difference from a CIE76 distance of 2.3 on; ten is clear."""
    colours = np.array([colour(one) for one in range(first, first + 40)])
    lab = in_lab(colours)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[np.triu_indices(40, 1)]
    assert apart.min() > 10
    assert (lab[:, 0] < 85).all()  # on white


def in_lab(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of sRGB colours (n, 3), by the formulas of IEC 61966-2-1 and CIE 15."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = (linear @ to_xyz.T / [0.9505, 1.0, 1.089]).T
    x, y, z = (np.where(v > 0.008856, np.cbrt(v), 7.787 * v + 16 / 116) for v in (x, y, z))
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("where", [(900.0, 0.0), (0.0, -5000.0), (700.0, 700.0), (-90.0, 60.0)])
def test_a_far_cluster_leaves_no_third_of_the_page_blank(
    tmp_path: Path, where: tuple[float, float]
) -> None:
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(-10, 10, (600, 2)), random.normal(where, 0.5, (30, 2))])
    path = map_2d(
        tmp_path / "far.png",
        Points(coordinates=points, clusters=np.repeat([1, 2], [600, 30]), names={}),
    )
    with Image.open(path) as picture:
        drawn = np.asarray(picture.convert("RGB")).min(axis=2) < 200
    plot = drawn[80:, :-160]  # without title and legend
    for blank in (~plot.any(axis=0), ~plot.any(axis=1)):
        assert longest_run(blank) < len(blank) / 6
    # Where nothing is cut, the far cluster takes most of the page.
    assert plot.any(axis=0).mean() > 0.6


def longest_run(values: NDArray[np.bool_]) -> int:
    """How many true values follow each other at most."""
    longest = current = 0
    for one in values:
        current = current + 1 if one else 0
        longest = max(longest, current)
    return longest


def test_only_wide_bands_are_cut_and_no_point_changes_its_order() -> None:
    random = np.random.default_rng(1)
    near = random.uniform(0, 10, (300, 2))
    np.testing.assert_allclose(*[np.ptp(one, axis=0) for one in (without_gaps(near)[0], near)])
    assert without_gaps(near)[1] == []
    far = np.concatenate([near, np.add(near[:50], (100, 0)), np.add(near[:50], (0, -300))])
    closer, cuts = without_gaps(far)
    assert sorted(axis for axis, _ in cuts) == [0, 1]
    for axis in (0, 1):
        order = np.argsort(far[:, axis], kind="stable")
        assert (np.diff(closer[order, axis]) >= 0).all()
    inside = closer[:300] - closer[0]
    np.testing.assert_allclose(inside, near - near[0], atol=1e-9)  # distances within stay true
    few = far[:19] * [1, 0]
    np.testing.assert_array_equal(without_gaps(few)[0], few)
    same = np.repeat([[0.0, 0.0], [9.0, 9.0]], 20, axis=0)
    np.testing.assert_array_equal(without_gaps(same)[0], same)  # not moved onto each other


@pytest.mark.parametrize("dims", [2, 3])
def test_a_legend_counts_images_with_separators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dims: int
) -> None:
    said = texts_of(monkeypatch)
    draw = map_2d if dims == 2 else map_3d
    coordinates, clusters = clustered(4, dims)
    sizes = {1: 12_345, 2: 7, 3: 1_000_000, 4: 12}
    draw(
        tmp_path / "m.png",
        Points(coordinates=coordinates, clusters=clusters, names={}, sizes=sizes),
    )
    assert [one for one in said if one in {"12,345", "7", "1,000,000", "12"}] == [
        "12,345",
        "7",
        "1,000,000",
        "12",
    ]
    said.clear()
    draw(tmp_path / "m.png", Points(coordinates=coordinates, clusters=clusters, names={}))
    assert said.count("12") == 4


def test_a_legend_of_too_many_clusters_has_the_named_and_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = texts_of(monkeypatch)
    coordinates, clusters = clustered(100, 2)
    sizes = {one: one for one in range(1, 101)}
    names = {3: "three", 5: "five"}
    map_2d(
        tmp_path / "m.png",
        Points(coordinates=coordinates, clusters=clusters, names=names, sizes=sizes),
    )
    assert {"three", "five", "more clusters", "53"} <= set(said)
    assert said.count("100") == 3  # its number on the map; its id and count in the legend
    assert said.count("30") == 1  # its number only


def texts_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on axes from now on."""
    from matplotlib.axes import Axes

    said: list[str] = []
    write = Axes.text

    def noted(self: Axes, x: float, y: float, text: str, *rest: Any, **options: Any) -> object:
        said.append(text)
        return write(self, x, y, text, *rest, **options)

    monkeypatch.setattr(Axes, "text", noted)
    return said


def test_no_name_of_a_legend_leaves_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []

    def kept(figure: Any, path: Path) -> Path:
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(scatter, "save", kept)
    coordinates, clusters = clustered(4, 2)
    names = {1: "W" * 100, 2: "海" * 100, 3: "i" * 100, 4: "short"}
    map_2d(tmp_path / "m.png", Points(coordinates=coordinates, clusters=clusters, names=names))
    (figure,) = figures
    right = figure.bbox.x1
    (axes,) = figure.axes
    assert any("W…W" in text.get_text() for text in axes.texts)
    assert all(text.get_window_extent().x1 < right for text in axes.texts)


def test_long_text_is_cut() -> None:
    assert legible("x" * 80, most=10) == "x" * 9 + "…"


def test_an_interactive_map_holds_every_point_and_escapes_every_name(tmp_path: Path) -> None:
    coordinates, clusters = clustered(5, 3)
    hostile = "</script><script>alert(1)</script>&'\""
    path = draw_interactive_map(
        tmp_path / "m.html",
        Points(
            coordinates=coordinates,
            clusters=clusters,
            names={1: hostile},
            sizes={one: 1000 * one for one in range(1, 6)},
        ),
        labels=lambda row: f"{hostile} {row}",
        thumbnails=picture,
        title=hostile,
        max_thumbnails=7,
    )
    text = path.read_text("utf-8")
    assert "alert(1)</script>" not in text
    assert text.count("</script>") == 2
    assert "http" not in text.replace("http-equiv", "")
    found = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    place = np.frombuffer(base64.b64decode(found["points"]), "<f4").reshape(-1, 3)
    of = np.frombuffer(base64.b64decode(found["of"]), "<i4")
    assert len(place) == len(of) == 60
    assert np.abs(place).max() == pytest.approx(1)
    # No band is cut within a cluster.
    near, far = np.linalg.norm(place[0] - place[1]), np.linalg.norm(place[0] - place[11])
    true = [np.linalg.norm(coordinates[0] - coordinates[one]) for one in (1, 11)]
    assert near / far == pytest.approx(true[0] / true[1], rel=1e-4)
    assert [found["clusters"][one]["id"] for one in of] == [str(one) for one in clusters]
    assert [one["count"] for one in found["clusters"]] == [f"{one},000" for one in range(1, 6)]
    assert found["clusters"][0]["name"] == found["title"] == hostile
    assert found["labels"][59] == f"{hostile} 59"
    assert len(found["pictures"]) == 7
    assert len({of[int(one)] for one in found["pictures"]}) == 5


def test_an_interactive_map_of_too_many_points_says_so(tmp_path: Path) -> None:
    coordinates, clusters = clustered(5, 3)
    path = draw_interactive_map(
        tmp_path / "m.html",
        Points(coordinates=coordinates, clusters=np.where(clusters == 5, -1, clusters), names={}),
        most_points=30,
    )
    text = path.read_text("utf-8")
    found = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert found["note"].endswith("; 30 of 60 are drawn")
    assert [one["name"] for one in found["clusters"]] == ["no cluster", "", "", "", ""]
    assert len(base64.b64decode(found["of"])) == 30 * 4


def test_a_browser_draws_an_interactive_map(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser is installed")
    coordinates, clusters = clustered(5, 3)
    path = draw_interactive_map(
        tmp_path / "m.html", Points(coordinates=coordinates, clusters=clusters, names={2: "<b>two"})
    )
    options = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path}/profile"]
    shot = tmp_path / "shot.png"
    for asked in ("--dump-dom", f"--screenshot={shot}"):
        done = subprocess.run(
            [chromium, *options, "--window-size=900,700", asked, path.as_uri()],
            capture_output=True,
            timeout=120,
            check=True,
        )
        if asked == "--dump-dom":
            assert b'data-drawn="60"' in done.stdout
            assert b"2 &lt;b&gt;two" in done.stdout
    with Image.open(shot) as drawn:
        seen = np.asarray(drawn.convert("RGB")).reshape(-1, 3).astype(float) / 255
    for cluster in range(1, 6):
        assert np.abs(seen - np.array(colour(cluster))).max(axis=1).min() < 0.1


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_elbow_is_the_same_twice(tmp_path: Path, suffix: str) -> None:
    k = list(range(1, 61))
    inertia = [100 / one for one in k]
    second = [float("nan"), *(1 / one for one in k[1:])]
    written = []
    for name in ("one", "two"):
        path = elbow(
            tmp_path / f"{name}{suffix}",
            k=k,
            inertia=inertia,
            suggested=7,
            second=second,
            second_name="silhouette",
            title="Curve",
        )
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_an_elbow_says_what_it_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    said: list[str] = []
    shown = Axes.set_title

    def noted(self: Axes, label: str, **rest: Any) -> object:
        said.append(label)
        return shown(self, label, **rest)

    monkeypatch.setattr(Axes, "set_title", noted)
    elbow(tmp_path / "a.png", k=[1, 2, 3], inertia=[3, 2, 1], suggested=2, title="T")
    elbow(tmp_path / "b.png", k=[1], inertia=[3.0], suggested=None, title="T")
    assert said == ["T: the knee is at k = 2", "T: no clear knee"]


def test_the_legend_of_an_elbow_lies_below_its_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    module = sys.modules[
        "imgclust.charts.elbow_curve"
    ]  # `imgclust.charts.elbow_curve` is the function
    monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    curve = [float(one) for one in range(20, 0, -1)]
    elbow(Path("e.png"), k=range(1, 21), inertia=curve, suggested=3, second=curve[::-1])
    figure = figures[0]
    figure.canvas.draw()
    (legend,) = figure.legends
    below = legend.get_window_extent().y1
    assert below > 0
    assert all(below < axes.get_window_extent().y0 for axes in figure.axes)
    assert [one.get_text() for one in legend.get_texts()][-1] == "knee: k = 3"


def test_a_contact_sheet_shows_its_pictures_in_rows(tmp_path: Path) -> None:
    red = Image.new("RGB", (300, 300), "red")
    pictures = [red, None, picture(3), b"no picture", red]
    long = "a very long caption indeed, too long by far"
    captions = [["one", "0.961"], ["two"], [long, "id 3"], ["\\xff"], []]
    path = contact_sheet(tmp_path / "s.png", pictures, captions, title="Cluster 7: cats")
    again = contact_sheet(tmp_path / "t.png", pictures, captions, title="Cluster 7: cats")
    assert path.read_bytes() == again.read_bytes()
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 172 + 12, 42 + 2 * 216)
        assert sheet.getpixel((12 + 80, 42 + 80)) == (255, 0, 0)
        assert sheet.getpixel((12 + 172 + 80, 42 + 80)) == (255, 255, 255)
    assert red.size == (300, 300)
    with pytest.raises(ValueError, match="captions"):
        contact_sheet(tmp_path / "u.png", pictures, captions[:2])
    contact_sheet(tmp_path / "empty.png", [], [])


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "e.png"
    path.write_bytes(b"old")
    for below in (path / "e.png", path / "deeper" / "e.png"):
        with pytest.raises(StorageError, match=f"the picture {below} cannot be written"):
            elbow(below, k=[1, 2], inertia=[2, 1], suggested=None)
    with pytest.raises(ValueError, match="gif"):
        elbow(tmp_path / "e.gif", k=[1, 2], inertia=[2, 1], suggested=None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dims", [2, 3])
def test_placed_rows_are_marked(tmp_path: Path, dims: int) -> None:
    coordinates, clusters = clustered(5, dims)
    draw = map_2d if dims == 2 else map_3d
    written = []
    for name, placed in (("none", None), ("no", False), ("some", True), ("again", True)):
        which = None if placed is None else np.full(60, placed)
        path = tmp_path / f"{name}.png"
        draw(path, Points(coordinates=coordinates, clusters=clusters, names={}, placed=which))
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[2] != written[1]
    assert written[2] == written[3]


def test_numbers_of_a_map_of_three_dimensions_lie_at_their_centres() -> None:
    figure = new_figure(10, 10)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), projection="3d")
    page = figure.add_axes((0, 0, 1, 1))
    page.set_xlim(0, 1000)
    page.set_ylim(0, 1000)
    points = np.random.default_rng(0).random((6, 3))
    shown = axes.scatter(*points.T)
    seen = _on_page(axes, points, page)
    figure.canvas.draw()
    where = axes.transData.transform(np.asarray(shown.get_offsets()))
    order = np.lexsort(page.transData.inverted().transform(where).round(1).T)
    expected = page.transData.inverted().transform(where)[order]
    np.testing.assert_allclose(seen[np.lexsort(seen.round(1).T)], expected, atol=0.5)


def test_an_elbow_draws_a_criterion_where_it_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    module = sys.modules["imgclust.charts.elbow_curve"]
    monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    k = list(range(1, 31))
    rising = [float("nan"), 0.2, 0.3, 0.3, *(0.3 + 0.02 * one for one in range(-5, 21))]
    elbow(
        Path("e.png"),
        k=k,
        inertia=[100 / one for one in k],
        suggested=9,
        second=rising,
        second_name="simplified silhouette",
        second_to=5,
    )
    (figure,) = figures
    curve, best = figure.axes[1].lines
    drawn = np.isfinite(curve.get_ydata())
    np.testing.assert_array_equal(np.array(k)[drawn], [2, 3, 4, 5])
    assert list(best.get_xdata()) == [3]  # the first of equals, as `preferred` has it
    words = figure.legends[0].get_texts()[1].get_text()
    assert words == "simplified silhouette, k up to 5 (right axis), largest at k = 3"


@pytest.mark.parametrize("dims", [2, 3])
def test_corrected_and_missing_images_have_marks_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dims: int
) -> None:
    said = texts_of(monkeypatch)
    draw = map_2d if dims == 2 else map_3d
    coordinates, clusters = clustered(4, dims)
    draw(tmp_path / "plain.png", Points(coordinates=coordinates, clusters=clusters, names={}))
    assert not {"corrected by a person", "files that are missing"} & set(said)
    corrected, missing = np.zeros((2, len(clusters)), np.int64)
    corrected[[0, 20]], missing[[1, 20]] = 1, 1700
    for first, second in ((corrected, None), (None, missing), (corrected, missing)):
        said.clear()
        draw(
            tmp_path / "m.png",
            Points(
                coordinates=coordinates,
                clusters=clusters,
                names={},
                corrected=first,
                missing=second,
            ),
        )
        assert ("corrected by a person" in said) == (first is not None)
        assert ("files that are missing" in said) == (second is not None)
        assert ("3,400" in said) == (second is not None)
    assert (tmp_path / "m.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_a_mark_is_not_hidden_by_a_thumbnail(tmp_path: Path) -> None:
    def dark(missing: list[int]) -> int:
        path = map_2d(
            tmp_path / "m.png",
            Points(
                coordinates=np.array([[0.0, 0.0], [9.0, 9.0]]),
                clusters=np.array([1, 1]),
                names={},
                missing=np.array(missing),
                corrected=np.zeros(2, bool),
            ),
            thumbnails=lambda row: Image.new("RGB", (90, 90), (255, 230, 230)),
        )
        with Image.open(path) as drawn:
            pixels = np.asarray(drawn.convert("RGB")).astype(int)
        # Black among the pixels of the thumbnails alone: the legend is elsewhere.
        thumbnail = (np.abs(pixels - (255, 230, 230)) < 3).all(axis=2)
        rows, columns = np.nonzero(thumbnail)
        seen = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        return int((seen < 40).all(axis=2).sum())

    assert dark([1, 0]) > dark([0, 0]) + 20


def test_a_page_that_turns_has_marks_and_says_what_they_are(tmp_path: Path) -> None:
    coordinates, clusters = clustered(5, 3)
    missing = np.zeros(len(clusters), np.int64)
    missing[[3, 30]] = [2, 1]
    path = draw_interactive_map(
        tmp_path / "m.html",
        Points(
            coordinates=coordinates,
            clusters=clusters,
            names={},
            missing=missing,
            corrected=np.zeros(len(clusters), bool),
        ),
    )
    text = path.read_text("utf-8")
    found = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert [(one["name"], one["count"], one["rows"]) for one in found["marks"]] == [
        ("files that are missing", "3", [3, 30])
    ]
