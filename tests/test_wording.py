"""Paths, numbers and shared sentences as people read them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgclust.wording import (
    counted,
    duration,
    in_base64,
    joined,
    listed,
    loses,
    no_room,
    one_line,
    path_text,
    printable,
    size,
    suffixes,
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("Été 写真.jpg", "Été 写真.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        ("a\nb\x1b[0m.jpg", "a\\nb\\x1b[0m.jpg"),
        (Path("a b"), "a b"),
        ("👩🏿\u200d🚀 🇩🇪 1\ufe0f\u20e3.jpg", "👩🏿\u200d🚀 🇩🇪 1\ufe0f\u20e3.jpg"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs the joiner
        ("\U0001fae8", "\U0001fae8"),  # newer than the tables of Python 3.11
        ("a\u200db\u202e.jpg", "a\\u200db\\u202e.jpg"),
        ("\u200d", "\\u200d"),
    ],
)
def test_printable(given: str | bytes | Path, shown: str) -> None:
    assert printable(given) == shown
    assert printable(shown) == shown


def test_a_message_is_one_line() -> None:
    assert one_line("one\n  two\x07") == "one two\\x07"


def test_numbers() -> None:
    assert counted(1, "image") == "1 image"
    assert counted(12345, "image") == "12,345 images"
    assert counted(2, "entry", "entries") == "2 entries"
    assert [duration(one) for one in (0.44, 12, 65, 7800)] == [
        "0.4 s",
        "12 s",
        "1 min 05 s",
        "2 h 10 min",
    ]
    assert [size(one) for one in (1, 999, 1500, 10_808_468, 2_000_000_000)] == [
        "1 byte",
        "999 bytes",
        "1.5 kB",
        "11 MB",
        "2.0 GB",
    ]
    assert suffixes({".xmp": 1, ".mov": 2, "": 1}) == "2 .mov, 1 without suffix, 1 .xmp"


@pytest.mark.parametrize(
    ("path", "text", "lossy"),
    [
        (b"/a/b.jpg", "/a/b.jpg", False),
        ("/\u00c9t\u00e9".encode(), "/\u00c9t\u00e9", False),
        (b"/caf\xe9", "/caf\ufffd", True),
        (b"/a\nb", "/a\nb", False),
        ("/\ufffd".encode(), "/\ufffd", False),
    ],
)
def test_paths_in_documents(path: bytes, text: str, lossy: bool) -> None:
    assert path_text(path) == path_text(Path(os.fsdecode(path))) == text
    assert loses(path) is lossy
    assert base64.b64decode(in_base64(path)) == path


def test_lists() -> None:
    assert listed([]) == joined([]) == ""
    assert joined([3]) == "3"
    assert joined([1, 2, 3]) == "1, 2 and 3"
    assert listed(range(13)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 1 more"
    assert joined(range(13)) == listed(range(13))


def test_no_room() -> None:
    said = no_room("the copy", 2_500_000, Path("/mnt"), 999)
    assert said == "the copy needs 2.5 MB in /mnt, and 999 bytes are free"


def test_an_error_about_an_odd_name_says_which_one_in_words_and_in_json(tmp_path: Path) -> None:
    """The bytes of a name survive in a message, whoever shows it."""
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n.jpg")
    environment = {**os.environ, "IMGCLUST_INDEX": str(tmp_path / "index")}
    code = "import sys; from imgclust.cli import main; sys.exit(main(sys.argv[1:]))"
    for json in ("--quiet", "--json"):
        said = subprocess.run(
            [sys.executable, "-c", code, "add", odd, json],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert said.returncode == 2
        assert b"\\xe9\\" in said.stdout + said.stderr
