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
_JOINING = {
    *("\u200c", "\u200d"),
    *map(chr, range(0xFE00, 0xFE10)),
    *map(chr, range(0xE0020, 0xE0080)),  # they spell the region of a flag
}
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

    def place(self, group: str) -> int | None:
        """Which font draws a character with its marks, or an emoji of several characters."""
        codes = {ord(one) for one in group if one not in _JOINING}
        return next((at for at, has in enumerate(self.characters) if codes <= has), None)

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Parts of a text, each with the file of the font that draws it; see `drawable`."""
        found: list[tuple[str, str]] = []
        for group in _groups(text):
            whole = self.place(group)
            for part in group if whole is None else [group]:
                path = self.paths[(self.place(part) if whole is None else whole) or 0]
                if found and found[-1][1] == path:
                    found[-1] = (found[-1][0] + part, path)
                else:
                    found.append((part, path))
        return found

    def drawable(self, text: str) -> str:
        """The text on one line, composed, with a box for each character that no font draws."""
        shown = ""
        for group in _groups(unicodedata.normalize("NFC", text)):
            place = self.place(group) if all(map(_shows, group)) else None
            for one in group:
                if one in _JOINING:  # joins nothing where the font does not know it
                    shown += one if place is not None and ord(one) in self.characters[place] else ""
                elif place is None:
                    shown += _BOX if not _shows(one) or self.place(one) is None else one
                else:
                    shown += one
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
    left = {code for code in codes if _shows(chr(code))} - characters[0]
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
        if _shows(one) and one not in _JOINING and fonts.place(one) is None
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


def _groups(text: str) -> list[str]:
    """Characters, each with what joins it: marks, and what a joiner puts together with it."""
    found: list[str] = []
    for character in text:
        if found and (_joins(character) or found[-1].endswith("\u200d")):
            found[-1] += character
        else:
            found.append(character)
    return found


def _shows(character: str) -> bool:
    """Whether it has a shape: also one that is newer than the tables of this Python."""
    return (
        character.isprintable()
        or character in _JOINING
        or (unicodedata.category(character) == "Cn" and ord(character) & 0xFFFE != 0xFFFE)
    )


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
    if unicodedata.category(character) == "Cn":
        return "new characters"
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
