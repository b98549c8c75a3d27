"""Every command where nobody reads, on a narrow terminal without colours, and in the C locale."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import QUICK, make
from tests.conftest import write_picture
from tests.test_walk import recording

CHECKOUT = Path(__file__).parents[1]
# An ordinary call of each command, in this order: 24 images and two with odd names, one broken.
CALLS = """
--help
status
status -v
quarantine
missing
clusters
clusters show 1
clusters history
clusters history 1
query 2 -n 5
query drop/é.png -n 3 --images off
duplicates
duplicates --similar
duplicates dismiss 3 4
sweep --k-max 4
links --check
links --dry-run
links
view --method pca
report
export --format csv --out images.csv
config show
collections
collections list
weights
weights list
weights verify weights.h5
cluster -k 4 --dry-run
cluster -k 4 -y
clusters name 3 seaside
clusters split 2 -k 2 --dry-run
clusters split 2 -k 2 -y
clusters merge 2 5 --dry-run
clusters merge 2 5 -y
clusters move 4 --to seaside --dry-run
clusters move 4 5 --to 1
clusters exclude 6 --from seaside
clusters new dunes 7 8
clusters together 9 10 --dry-run
clusters together 9 10
clusters apart 9 11
clusters review --dry-run
clusters review -n 2
clusters corrections
clusters corrections --remove 1
cluster --undo
reembed --dry-run
reembed --raw -y
quarantine retry
add new
pause
pause
resume
resume
watch --once
missing accept --dry-run
missing accept -y
remove 3 --dry-run
remove 3 -y
doctor
doctor --repair
roots
roots list
roots move nowhere new
roots remove nowhere
serve --watch nowhere
backup photos.imgclust
restore photos.imgclust --dry-run --collection copy
restore photos.imgclust --to elsewhere
collections create other
collections rename other third
collections delete third --dry-run
collections delete third -y
""".strip().splitlines()
# Those that end on purpose with another code.
CODES = {
    "serve --watch nowhere": 2,
    "weights verify weights.h5": 1,
    "roots move nowhere new": 3,
    "roots remove nowhere": 3,
}
# It needs the network, and says so at once; elsewhere it is tested with a server.
OFFLINE = {"weights download"}


@dataclass(frozen=True)
class Outcome:
    """What a call left: its exit code, and its output as it was written."""

    code: int
    said: str


def outcomes(top: Path, *, terminal: bool, **environment: str) -> dict[str, Outcome]:
    """Run all calls in a folder made for them."""
    make(top)
    write_picture(top / "drop" / "é.png", 40)
    write_picture(Path(os.fsdecode(os.fsencode(top / "drop") + b"/bad\xff.png")), 41)
    write_picture(top / "new" / "later.png", 42)
    (top / "weights.h5").write_bytes(b"no weights")
    kept = {name: value for name, value in os.environ.items() if "IMGCLUST" not in name}
    kept |= {
        **QUICK,
        "COLUMNS": "80",
        "HOME": str(top),
        "OMP_NUM_THREADS": "1",  # no threads that a fork would lose
        "OPENBLAS_NUM_THREADS": "1",
        "IMGCLUST_CACHE": str(top / "cache"),
        "IMGCLUST_INDEX": str(top / "index"),
        "PYTHONPATH": str(CHECKOUT),
        "TERM": "xterm-256color",
    }
    for name in ("NO_COLOR", "LC_ALL", "LINES"):
        kept.pop(name, None)
    calls = ["watch --once -q", *CALLS, "status --json"]
    if not terminal:
        calls += [f"{name} --help" for name in commands()]
    asked = top / "asked" / "cases.json"
    asked.parent.mkdir()
    asked.write_text(
        json.dumps({"terminal": terminal, "cases": [*map(shlex.split, calls)]}), "utf-8"
    )
    subprocess.run(
        [sys.executable, "-m", "tests.each_command", str(asked)],
        env=kept | environment,
        cwd=top,
        check=True,
        timeout=600,
    )
    found = json.loads((asked.parent / "results.json").read_text("utf-8"))
    return {call: Outcome(*one) for call, one in zip(calls, found, strict=True)}


def commands() -> list[str]:
    """All commands, as docs/commands.md has them."""
    text = (CHECKOUT / "docs" / "commands.md").read_text("utf-8")
    return re.findall(r"^## imgclust (.+)$", text, re.MULTILINE)


def shown(said: str, columns: int) -> Any:
    terminal = recording.Terminal(columns=columns, rows=24)
    terminal.feed(said.encode("latin-1").decode("utf-8"))
    return terminal


def test_each_command_is_called() -> None:
    for name in commands():
        assert any(f"{call} ".startswith(f"{name} ") for call in CALLS) or name in OFFLINE, name


@pytest.fixture(scope="module")
def unread(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return outcomes(tmp_path_factory.mktemp("unread"), terminal=False)


@pytest.fixture(scope="module")
def narrow() -> Iterator[tuple[Path, dict[str, Outcome]]]:
    # Of one length, so that lines break alike.
    top = Path(tempfile.gettempdir(), f"narrow{os.getpid():07}")
    top.mkdir()
    try:
        yield top, outcomes(top, terminal=True, COLUMNS="40", NO_COLOR="1", LC_ALL="C.UTF-8")
    finally:
        shutil.rmtree(top)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return outcomes(tmp_path_factory.mktemp("plain"), terminal=True, LC_ALL="C")


@pytest.mark.slow
def test_a_reader_that_has_gone_away(unread: dict[str, Outcome]) -> None:
    for call, outcome in unread.items():
        assert outcome.code in {0, CODES.get(call)}, (call, outcome)
        for word in ("Traceback", "Exception ignored", "BrokenPipe", "fault of imgclust"):
            assert word not in outcome.said, (call, outcome)


@pytest.mark.slow
def test_a_narrow_terminal_without_colours(narrow: tuple[Path, dict[str, Outcome]]) -> None:
    top, found = narrow
    for call, outcome in found.items():
        assert outcome.code == CODES.get(call, 0), (call, outcome)
        assert "Traceback" not in outcome.said
        for codes in re.findall(r"\x1b\[([\d;]*)m", outcome.said):
            assert not re.search(r"\b([34][0-7]|[34]8|9\d|10\d)\b", codes), (call, codes)
        wide = [line for line in shown(outcome.said, 40).shown if recording.cell_len(line) > 40]
        if "--json" not in call:
            # Only a path that can be pasted is longer: it is there whole, at the end of its line.
            assert all(re.search(rf" (file://)?{top}/\S+$", line) for line in wide), (call, wide)


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_only(plain: dict[str, Outcome]) -> None:
    for call, outcome in plain.items():
        assert outcome.code == CODES.get(call, 0), (call, outcome)
        assert "Traceback" not in outcome.said
        assert "UnicodeEncodeError" not in outcome.said
        if "--json" not in call:
            assert outcome.said.isascii(), (call, outcome)
    shown_with = [call for call, outcome in plain.items() if "bad" in outcome.said]
    assert shown_with, "the name that no ASCII can write was shown nowhere"
