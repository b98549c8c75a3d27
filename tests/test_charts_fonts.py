"""Names of any script in pictures: which font draws them, and what is done where none does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust.charts import fonts
from imgclust.charts.figure import Points
from imgclust.charts.fonts import fonts_for, undrawable
from imgclust.charts.image_sheet import contact_sheet
from imgclust.charts.scatter import map_2d

BOX = "\N{WHITE SQUARE}"
DEJAVU = "DejaVuSans.ttf"
NAMES = ["Собака на снегу", "海の写真", "강아지", "🐶", "สวัสดี"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The fonts that the system has: what the test puts there."""
    found: list[str] = []

    def listed(folders: list[str] | None = None) -> list[str]:
        return [] if folders else list(found)

    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", listed)
    fonts._fonts_for.cache_clear()
    yield found
    fonts._fonts_for.cache_clear()


def made_font(path: Path, characters: str) -> str:
    """A font whose every glyph is a filled square, as high and wide as the font's size."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    empty = TTGlyphPen(None).glyph()
    names = [".notdef", *(f"u{ord(one):X}" for one in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf({name: empty if name == ".notdef" else pen.glyph() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=1000, sTypoDescender=0)
    builder.setupPost()
    builder.save(path)
    return str(path)


def names_of(texts: list[str]) -> list[str]:
    return [Path(path).name for path in fonts_for(texts).paths]


def ink(path: Path) -> NDArray[np.bool_]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")) < 128


def test_cyrillic_greek_and_accents_need_no_other_font(installed: list[str]) -> None:
    texts = ["Собака на снегу", "Ωμέγα", "Fête à Zürich", "naïve — “quoted”"]
    assert undrawable(texts) is None
    assert names_of(texts) == [DEJAVU]
    assert fonts_for(texts).drawable(texts[0]) == texts[0]
    # As macOS writes file names.
    assert fonts_for(["e\u0301"]).drawable("e\u0301") == "é"


def test_what_no_font_draws_is_a_box_and_is_said(installed: list[str]) -> None:
    found = fonts_for(NAMES)
    shown = [found.drawable(one) for one in NAMES]
    assert shown == [NAMES[0], BOX * 4, BOX * 3, BOX, BOX * 6]
    said = undrawable(NAMES)
    assert said is not None
    assert said.startswith("no font draws Chinese or Japanese, Korean, Thai, emoji (")
    assert 'pip install "imgclust[fonts]"' in said
    assert undrawable(["かな"]) is not None
    assert "Japanese" in (undrawable(["かな"]) or "")
    assert undrawable([*"abc", "a\nb"]) is None
    # Joiners and variation selectors stand for nothing by themselves.
    assert fonts_for(["👨\u200d👩\ufe0f"]).drawable("👨\u200d👩\ufe0f") == BOX * 2
    assert fonts_for([""]).drawable("a\nb\tc\u202e") == f"a{BOX}b{BOX}c{BOX}"


def test_a_font_of_the_system_is_found(installed: list[str], tmp_path: Path) -> None:
    installed += [
        made_font(tmp_path / "Some-Bold.ttf", "海の"),
        made_font(tmp_path / "Some-Regular.ttf", "海の"),
        made_font(tmp_path / "Other.ttf", "🐶\u200d"),
        made_font(tmp_path / "Unused.ttf", "강"),
        made_font(tmp_path / "LastResort.ttf", "写真지"),
    ]
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    installed.append(str(tmp_path / "broken.ttf"))
    assert names_of(["海の🐶写"]) == [DEJAVU, "Other.ttf", "Some-Regular.ttf"]
    found = fonts_for(["a海の🐶\u200d🐶b"])
    runs = [(text, Path(path).name) for text, path in found.runs("a海の🐶\u200d🐶b")]
    assert runs == [
        ("a", DEJAVU),
        ("海の", "Some-Regular.ttf"),
        ("🐶\u200d🐶", "Other.ttf"),
        ("b", DEJAVU),
    ]
    assert "写" in (undrawable(["海の写"]) or "")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a 1\ufe0f\u20e3 b", ["a ", "1\ufe0f\u20e3", " b"]),  # a keycap
        ("🏴\U000e0067\U000e0062\U000e007f", ["🏴\U000e0067\U000e0062\U000e007f"]),  # a region
        ("👩🏿\u200d🚀", ["👩🏿\u200d🚀"]),
        ("x🇩🇪y", ["x", "🇩🇪", "y"]),
        ("\U0001fae8", ["\U0001fae8"]),  # newer than this Python
    ],
)
def test_the_parts_of_an_emoji_are_drawn_by_one_font(
    installed: list[str], tmp_path: Path, text: str, parts: list[str]
) -> None:
    drawn = "1\u20e3\ufe0f🏴\U000e0067\U000e0062\U000e007f👩🏿\u200d🚀🇩🇪\U0001fae8"
    installed.append(made_font(tmp_path / "Emoji.ttf", drawn))
    fonts._fonts_for.cache_clear()
    found = fonts_for([text])
    assert undrawable([text]) is None
    assert found.drawable(text) == text
    assert [part for part, _ in found.runs(text)] == parts
    assert {Path(path).name for _, path in found.runs(text)} <= {DEJAVU, "Emoji.ttf"}


def test_emoji_of_several_parts_without_a_font_for_them(
    installed: list[str], tmp_path: Path
) -> None:
    """What joins them draws nothing by itself; what is not there is a box, and is said."""
    installed.append(made_font(tmp_path / "Some.ttf", "👩🏴"))
    fonts._fonts_for.cache_clear()
    texts = ["🏴\U000e0067\U000e007f", "👩\u200d🚀", "\U0001fae9", "1\ufe0f\u20e3"]
    found = fonts_for(texts)
    assert [found.drawable(one) for one in texts] == ["🏴", f"👩{BOX}", BOX, f"1{BOX}"]
    assert "🚀" in (undrawable(texts[1:2]) or "")
    assert "new characters" in (undrawable(texts[2:3]) or "")


def test_fonts_that_are_installed_later_are_found(installed: list[str], tmp_path: Path) -> None:
    """Another process; matplotlib's list of fonts may be older."""
    assert undrawable(["海"]) is not None
    installed.append(made_font(tmp_path / "New.ttf", "海"))
    fonts._fonts_for.cache_clear()
    assert undrawable(["海"]) is None


def test_a_sheet_draws_with_the_font_that_knows_the_character(
    installed: list[str], tmp_path: Path
) -> None:
    installed.append(made_font(tmp_path / "Squares.ttf", "海"))
    path = contact_sheet(tmp_path / "s.png", [None], [["海海海"]])
    caption = ink(path)[12 + 160 :, 12:]
    rows, columns = np.flatnonzero(caption.any(axis=1)), np.flatnonzero(caption.any(axis=0))
    assert len(rows) == 11  # three squares of the caption's size, side by side
    assert len(columns) == 33
    assert caption[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.9


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_map_draws_with_the_font_that_knows_the_character(
    installed: list[str], tmp_path: Path, suffix: str
) -> None:
    installed.append(made_font(tmp_path / "Squares.ttf", "海"))

    def drawn(name: str, path: Path) -> Path:
        return map_2d(
            path,
            Points(coordinates=np.eye(2), clusters=np.array([1, 2]), names={1: name}),
            title=name,
        )

    known = drawn("海海海海", tmp_path / f"known{suffix}")
    unknown = drawn("真真真真", tmp_path / f"unknown{suffix}")
    if suffix == ".png":
        title = ink(known)[:50, :200].sum()
        assert title == pytest.approx(4 * (13 * 120 / 72) ** 2, rel=0.1)  # four squares of 13 pt
        assert ink(unknown)[:50, :200].sum() < title / 2  # four outlines
    else:
        assert known.read_text() != unknown.read_text()


def test_captions_do_not_run_into_each_other(installed: list[str], tmp_path: Path) -> None:
    """Each line is below the other, and within the width of its picture."""
    captions = [["W" * 80, "0.961 · id 1,234,567 · and 4,999 copies · one more number"]] * 4
    path = contact_sheet(tmp_path / "s.png", [None] * 4, captions, title="t", subtitle="u")
    drawn = ink(path)
    top = 12 + 30 + 20
    below = drawn[top + 161 : top + 160 + 40]
    assert not below[:, 12 + 160 : 24 + 160].any()  # the gap between two columns
    lines = np.flatnonzero(np.diff(below.any(axis=1).astype(int)) == 1)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("width", "text", "shown"),
    [
        (1000, "short.jpg", "short.jpg"),
        (80, "IMG_20240501_120000_holiday.jpg", None),
        (5, "anything", "…"),
    ],
)
def test_long_names_keep_their_end(width: int, text: str, shown: str | None) -> None:
    found = fonts_for([text])
    fitted = found.fitted(text, 11, width)
    assert found.length(fitted, 11) <= max(width, found.length("…", 11))
    if shown is None:
        assert fitted.startswith("IMG_")
        assert fitted.endswith("jpg")
    else:
        assert fitted == shown


def test_the_fonts_of_the_extra_draw_every_name(tmp_path: Path) -> None:
    pytest.importorskip("manimgx_fonts")
    pytest.importorskip("manimgx_fonts_cjk")
    fonts._fonts_for.cache_clear()
    assert undrawable(NAMES) is None
    written: list[NDArray[np.bool_]] = []
    for caption in (*NAMES, BOX * 4):
        path = contact_sheet(tmp_path / f"{len(written)}.png", [None], [[caption]])
        written.append(ink(path)[12 + 160 :])
    assert all(one.any() for one in written)
    boxes = written.pop()
    assert all((one != boxes).any() for one in written)


def test_no_sheet_of_plain_names_looks_for_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> list[str]:
        raise AssertionError("looked for fonts")

    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", refused)
    fonts._fonts_for.cache_clear()
    assert undrawable(["holiday 2024.jpg", "Собака.jpg"]) is None
