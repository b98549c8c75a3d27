"""The recorded walk: what is committed, the terminal that records it, and a part of it anew."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imgclust.terminal.table import cells

CHECKOUT = Path(__file__).parents[1]
CAPTURES = CHECKOUT / "docs" / "walk"


def _script(name: str) -> ModuleType:
    path = CHECKOUT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


recording: Any = _script("recording")
walk: Any = _script("walk")


def terminal(text: str, *, columns: int = 20, rows: int = 5) -> Any:
    one = recording.Terminal(columns=columns, rows=rows)
    one.feed(text)
    return one


@pytest.mark.parametrize("size", walk.SIZES, ids=str)
def test_no_line_of_the_captures_is_wider_than_its_terminal(size: tuple[int, int]) -> None:
    lines = (CAPTURES / f"{size[0]}x{size[1]}.txt").read_text("utf-8").splitlines()
    assert len(lines) > 100
    assert [line for line in lines if cells(line) > size[0]] == []


@pytest.mark.parametrize("size", walk.SIZES, ids=str)
def test_the_captures_show_every_command(size: tuple[int, int]) -> None:
    shown = (CAPTURES / f"{size[0]}x{size[1]}.txt").read_text("utf-8")
    commands = (CHECKOUT / "docs" / "commands.md").read_text("utf-8")
    for name in re.findall(r"^## imgclust (\w+)$", commands, re.MULTILINE):
        assert f"$ imgclust {name}" in shown


def test_the_captures_are_small() -> None:
    assert sum(file.stat().st_size for file in CAPTURES.iterdir()) < 300_000


def test_what_is_written_over_is_gone() -> None:
    shown = terminal("one\r\ntwo\r\x1b[1A\x1b[2Kbar 1/2\r\n\x1b[2Kend\x1b[?25h\r\n")
    assert shown.shown == ["bar 1/2", "end"]
    assert shown.widest == 7


def test_a_line_too_long_is_not_wrapped_but_seen() -> None:
    assert terminal("x" * 21).widest == 21
    assert terminal("写真").widest == 4
    assert terminal("写真").shown == ["写真"]


def test_a_sequence_may_come_in_pieces() -> None:
    one = terminal("plain \x1b[3")
    one.feed("1mred\x1b")
    one.feed("[0m")
    assert one.shown == ["plain red"]
    assert [cell.rendition for cell in one.lines[0]] == [*[""] * 6, *["\x1b[31m"] * 3]


@pytest.mark.parametrize("text", ["\x1b[5B", "\x08", "a\r\nb\r\n\x1b[9A"])
def test_what_a_terminal_must_not_be_sent(text: str) -> None:
    with pytest.raises(ValueError, match=r"known|sent|above"):
        terminal(text)


def test_colours_that_cannot_be_read() -> None:
    lines = terminal("\x1b[33myellow\x1b[0m plain \x1b[34mblue\x1b[0m \x1b[31mred\x1b[0m").texts()
    assert [piece.split()[0] for piece in recording.faint(lines, theme="light")] == ["'yellow'"]
    assert [piece.split()[0] for piece in recording.faint(lines, theme="dark")] == ["'blue'"]


def test_pictures_hold_the_text() -> None:
    lines = terminal("\x1b[31ma & b\x1b[0m").texts()
    drawn = recording.picture("title", lines, columns=20, theme="dark")
    assert "a&#160;&amp;&#160;b" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.slow
def test_a_part_of_the_walk_anew() -> None:
    # The line that ends a pass has a whole path, to be pasted: only a short one has room.
    with tempfile.TemporaryDirectory(prefix="walk-") as short:
        _walk_anew(walk.Place(Path(short) / "ada", photos=22))


def _walk_anew(place: walk.Place) -> None:
    part = {"nothing", "first", "status", "query", "duplicates", "cluster", "clusters", "no-file"}
    scenes = [scene for scene in place.scenes() if scene.name in part]
    for scene, _, wrong in walk.walk(place, scenes, columns=80, rows=24):
        assert not wrong, scene.command
