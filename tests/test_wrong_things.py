"""Wrong things that a new user does: each a good answer, word for word.

The answers stand in tests/golden/wrong-things.txt, with `~` for the folder of the test. After a
wanted change: WRITE_GOLDEN=1 pytest tests/test_wrong_things.py, and read the difference.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from imgclust.collection import create_collection
from tests.command_line import QUICK, Run, make, runner

GOLDEN = Path(__file__).parent / "golden" / "wrong-things.txt"
# Each is tried on a collection of 24 images in `drop`; `empty` is a collection without images.
CASES = """
watch nowhere
watch drop/picture-01.png --once
watch index --once
watch drop nowhere --once
add
add nowhere
add drop/notes.xmp
add index/default/catalog.sqlite3
query nowhere.jpg
query drop
query drop/notes.xmp
query drop/broken.jpg
query hollow.jpg
query /dev/null
query 999
query -5
query 1 nowhere.jpg
query 1 --region 0,0,9
query 1 --region 900,900,5,5
query 1 2 --region 0,0,1,1
query 1 --cluster 99
query 1 --min-score 7
query 1 -n none
query 1 --sheet drop/sheet.png
query 1 --sheet sheet.gif
remove nowhere
remove 999
remove 1
export --out x.txt
export --out drop --format csv
export --out drop/x.csv --format csv
export --format xml --out x
report --out drop/report.html
view --out map
view --out drop/map.png
view --dims 7
serve --name a,b
view --method umap
sweep --k-min 30 --k-max 20
sweep --space cube
cluster -k 1000000 --dry-run
cluster -k -3
cluster -k 2.5
cluster -k 5 --seed x
clusters show
clusters show 999
clusters show x
clusters show 1 --sheet drop/sheet.png
clusters name 999 x
clusters name 1
clusters split 1 -k 1000
clusters split 1 -k 1
clusters merge 1
clusters merge 1 999
clusters history 999
clusters frob
links --folder somewhere
quarantine retry nowhere
duplicates --min-score 5
duplicates dismiss 1
duplicates dismiss 999 1
status --index nowhere
status --index drop/picture-01.png
status --collection nosuch
status --collection ..
status --config nosuch
status --config drop/broken.jpg
status --config folder.toml
status --config typed.toml
status --config broken.toml
status extra
status --index odd --collection newer
watch drop --once --index odd --collection newer
doctor --index odd --collection newer
clusters --index odd --collection text
collections delete text -y --index odd
status --index odd --collection other
status --collection=
status --index=
status --config=
clusters show 1 --sheet=
add ''
query ''
clusters name 1 '' extra
collections delete default
collections create ''
weights verify nowhere
weights verify drop
weights verify drop/broken.jpg
collections create default
collections create a/b
collections rename nosuch x
collections delete nosuch
config frob
reembed --weights nowhere.h5
missing accept
wach
--frob
--json
query 1 --collection empty
duplicates --collection empty
sweep --collection empty
cluster --collection empty
clusters --collection empty
clusters show 1 --collection empty
view --collection empty
export --format csv --out x.csv --collection empty
report --collection empty
links --check --collection empty
cluster --undo --collection empty
remove 1 --collection empty
watch --once --collection empty
reembed --collection empty
""".strip().splitlines()


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop`, its ingested `index`, an empty collection and wrong files."""
    top = make(tmp_path_factory.mktemp("wrong"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        create_collection("empty", top / "index")
    for name in ("newer", "text", "other"):
        (top / "odd" / name).mkdir(parents=True)
    newer = top / "odd" / "newer" / "catalog.sqlite3"
    shutil.copy(top / "index" / "empty" / "catalog.sqlite3", newer)
    for path, version in ((newer, 99), (top / "odd" / "other" / "catalog.sqlite3", 0)):
        with contextlib.closing(sqlite3.connect(path)) as catalog:
            catalog.execute("CREATE TABLE music (title TEXT)")
            catalog.execute(f"PRAGMA user_version = {version}")
            catalog.commit()
    (top / "odd" / "text" / "catalog.sqlite3").write_text("no catalog\n" * 100)
    (top / "hollow.jpg").touch()
    (top / "folder.toml").mkdir()
    (top / "typed.toml").write_text("[watch]\nsettle_s = 'soon'\n")
    (top / "broken.toml").write_text("[watch\n")
    return top


@pytest.fixture
def run(top: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in `top`, where no wrong thing may change anything."""
    monkeypatch.chdir(top)
    return runner(top, capsys, monkeypatch)


def golden() -> dict[str, str]:
    """What is to be said, by command."""
    parts = re.split(r"^\$ (.*)\n", GOLDEN.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {
        command: said.rstrip("\n") for command, said in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case: str, run: Run, top: Path) -> None:
    said = run(*shlex.split(case))
    text = f"{said.out}{said.err}[exit code {said.code}]".replace(str(top), "~")
    text = re.sub(r"; [\d.]+ s$", "; N s", text, flags=re.MULTILINE)
    text = re.sub(r"inertia \d[\d.e-]*", "inertia N", text)
    assert "Traceback" not in text
    assert "fault of imgclust" not in text
    if os.environ.get("WRITE_GOLDEN"):
        known = golden() if GOLDEN.is_file() else {}
        known[case] = text
        GOLDEN.write_text(
            "\n\n".join(f"$ {one}\n{known[one]}" for one in CASES if one in known) + "\n", "utf-8"
        )
    assert text == golden()[case]


def test_every_answer_is_of_a_case() -> None:
    assert list(golden()) == CASES


# The world outside


def outside(
    top: Path, command: str, *, shell: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a real process on the index of `top`; `shell` goes behind the command."""
    kept = {name: value for name, value in os.environ.items() if "IMGCLUST" not in name}
    kept |= {"IMGCLUST_INDEX": str(top / "index"), "IMGCLUST_CACHE": str(top / "cache"), **QUICK}
    imgclust = f"{shlex.quote(sys.executable)} -c 'from imgclust.cli import app; app()'"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{imgclust} {command} {shell}"],
        env=kept | environment,
        cwd=top,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "command", ["clusters", "config show", "query 2 --images blocks", "status", "--help"]
)
def test_a_reader_that_goes_away_and_no_input(command: str, top: Path) -> None:
    done = outside(top, command, shell="<&- | head -1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_no_output_at_all(top: Path) -> None:
    assert outside(top, "status", shell=">&- 2>&-").returncode == 0
    assert outside(top, "wach", shell=">&- 2>&-").returncode == 2


def test_a_locale_without_utf_8_and_no_colour(top: Path) -> None:
    done = outside(
        top, "query drop/é.png -n 1", LC_ALL="C", NO_COLOR="1", TERM="dumb", COLUMNS="60"
    )
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"\x1b" not in done.stderr
    assert done.stderr.startswith(b"imgclust: there is no file ")
