"""Fonts for names in pictures: DejaVu first, then whatever is installed that draws the rest."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import ImageFont

_BOX = "\N{WHITE SQUARE}"
# Packages that hold nothing but fonts: the extra "fonts".
_PACKAGES = ("manimgx_fonts", "manimgx_fonts_cjk")
# They draw every character as a box, or as a coloured bitmap that cannot be scaled.
_USELESS = re.compile(r"lastresort|adobe-?blank|apple color emoji", re.IGNORECASE)
# Of several fonts that draw a character, an upright one of ordinary weight is taken.
_ODD = re.compile(
    r"bold|italic|oblique|light|thin|black|heavy|medium|semi|condensed|narrow|mono|serif|math",
    re.IGNORECASE,
)
# They change how their neighbours are drawn, and have no shape of their own.
_JOINING = {"\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10))}
_SCRIPTS = {
    "CJK": "Chinese or Japanese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "REGIONAL": "emoji",
}


@dataclass(frozen=True)
class Fonts:
    """Files of fonts, the first before the others, and the characters that each of them draws."""

    paths: tuple[str, ...]
    characters: tuple[frozenset[int], ...]

    def place(self, character: str, before: int = 0) -> int | None:
        """Which font draws a character; that of its neighbour (`before`) where it joins it."""
        code = ord(character)
        if _joins(character) and code in self.characters[before]:
            return before
        return next((at for at, has in enumerate(self.characters) if code in has), None)

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Parts of a text, each with the file of the font that draws it; see `drawable`."""
        found: list[tuple[str, str]] = []
        before = 0
        for character in text:
            place = self.place(character, before)
            path = self.paths[0 if place is None else place]
            if found and found[-1][1] == path:
                found[-1] = (found[-1][0] + character, path)
            else:
                found.append((character, path))
            before = before if place is None else place
        return found

    def drawable(self, text: str) -> str:
        """The text on one line, composed, with a box for each character that no font draws."""
        shown = ""
        before: int | None = 0
        for character in unicodedata.normalize("NFC", text):
            place = self.place(character, before or 0)
            if character in _JOINING:  # joins nothing where the font does not know it
                shown += character if place is not None and place == before else ""
                continue
            before = place if character.isprintable() else None
            shown += _BOX if before is None else character
        return shown

    def length(self, text: str, size_px: float) -> float:
        """How many pixels a text is wide; see `drawable`."""
        return sum(opened(path, size_px).getlength(part) for part, path in self.runs(text))

    def fitted(self, text: str, size_px: float, width_px: float) -> str:
        """The text as it can be drawn, what is too much for this width left out of its middle."""
        whole = shown = self.drawable(text)
        kept = len(whole)
        while kept and self.length(shown, size_px) > width_px:
            # The end of a name tells a file from its neighbours, and its kind.
            kept -= 1
            shown = f"{whole[: kept - kept // 3]}…{whole[len(whole) - kept // 3 :]}"
        return shown


@lru_cache(maxsize=64)
def opened(path: str, size_px: float) -> ImageFont.FreeTypeFont:
    """A font of this size, of ordinary weight."""
    font = ImageFont.truetype(path, size_px)
    with contextlib.suppress(OSError):  # it has but one weight
        font.set_variation_by_name("Regular")
    return font


def fonts_for(texts: Iterable[str]) -> Fonts:
    """The fonts that draw these texts, as far as there are any; the same each time."""
    wanted = {ord(one) for text in texts for one in unicodedata.normalize("NFC", text)}
    return _fonts_for(frozenset(code for code in wanted if code > 0x7E))


@lru_cache(maxsize=8)
def _fonts_for(codes: frozenset[int]) -> Fonts:
    base = _base()
    paths, characters = [base], [_drawn_by(base)]
    left = {code for code in codes if chr(code).isprintable()} - characters[0]
    for path in _installed() if left - set(map(ord, _JOINING)) else ():
        found = _drawn_by(path)
        if left & found:
            paths.append(path)
            characters.append(found)
            left -= found
        if not left:
            break
    return Fonts(tuple(paths), tuple(characters))


def undrawable(texts: Iterable[str]) -> str | None:
    """What no font here draws, and what to do; None when all can be drawn."""
    texts = list(texts)
    fonts = fonts_for(texts)
    lacking = {
        one
        for text in texts
        for one in unicodedata.normalize("NFC", text)
        if one.isprintable() and one not in _JOINING and fonts.place(one) is None
    }
    if not lacking:
        return None
    kinds = {_script(one) for one in lacking}
    if "Chinese or Japanese" in kinds:
        kinds.discard("Japanese")
    bare = sorted(one for one in lacking if not _joins(one))
    some = "".join(bare[:6]) + ("..." if len(bare) > 6 else "")
    return (
        f"no font draws {', '.join(sorted(kinds))} ({some}): the picture shows boxes; install one, "
        'for example with pip install "imgclust[fonts]"'
    )


def matplotlib_families(fonts: Fonts) -> list[str]:
    """The names by which matplotlib knows these fonts from now on; it tries them in this order."""
    from matplotlib.font_manager import FontEntry, fontManager

    names = []
    for path in fonts.paths:
        # Named by its file: matplotlib's own list may be older than the font, or know several
        # fonts of one name and say that none has the weight it wants.
        name = f"imgclust {path}"
        if not any(one.name == name for one in fontManager.ttflist):
            fontManager.ttflist.append(FontEntry(fname=path, name=name, weight=400))
        names.append(name)
    return names


def _joins(character: str) -> bool:
    """True for marks, joiners and what changes the colour of a face."""
    return (
        character in _JOINING
        or unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or 0x1F3FB <= ord(character) <= 0x1F3FF
    )


def _script(character: str) -> str:
    word = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    if word in _SCRIPTS:
        return _SCRIPTS[word]
    return "emoji" if unicodedata.category(character) in {"So", "Sk", "Co"} else word.capitalize()


def _base() -> str:
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@lru_cache(maxsize=64)
def _drawn_by(path: str) -> frozenset[int]:
    """The characters of a font whose shapes can be scaled; none for other files."""
    from matplotlib import ft2font

    try:
        font: Any = ft2font.FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _installed() -> list[str]:
    """Files of fonts, those of the extra first, then those of the system."""
    from matplotlib.font_manager import findSystemFonts

    ours = []
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            ours += findSystemFonts([os.path.dirname(found.origin)])
    return [
        path
        for group in (ours, findSystemFonts())
        for path in sorted(group, key=_rank)
        if not _USELESS.search(os.path.basename(path))
    ]


def _rank(path: str) -> tuple[int, str]:
    name = os.path.basename(path)
    return len(_ODD.findall(re.sub("sans-?serif", "", name, flags=re.IGNORECASE))), name
