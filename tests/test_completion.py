"""Completion as a shell asks for it: by environment variables, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.paths import CATALOG
from tests.command_line import make

HEAVY = {"numpy", "apsw", "PIL", "tensorflow", "faiss", "sklearn", "matplotlib"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the collections `default` (3 clusters or so, one named) and `empty`."""
    top = make(tmp_path_factory.mktemp("made"))
    (top / "index" / "empty").mkdir()
    Catalog(top / "index" / "empty" / CATALOG).close()
    with Catalog(top / "index" / "default" / CATALOG) as catalog, catalog.transaction():
        catalog.clusterings.name(1, "red: things")
    return top / "index"


def ids(index: Path) -> list[str]:
    with Catalog(index / "default" / CATALOG) as catalog:
        current = catalog.clusterings.current_id()
        assert current is not None
        return [str(one) for one in sorted(catalog.clusterings.cluster_ids(current))]


def asked(shell: str, line: str, index: Path | None) -> list[str]:
    """What the shell is told for a line whose cursor stands at its end."""
    words = line.split(" ")
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMGCLUST_")}
    place = {} if index is None else {"IMGCLUST_INDEX": str(index)}
    code = (
        "import sys\n"
        "from imgclust.cli import app\n"
        "try: app()\n"
        "finally: print(*{n.split('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | variables | place | {"_IMGCLUST_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not HEAVY & set(done.stderr.split())
    return [line for line in done.stdout.splitlines() if line]


def test_commands(index: Path) -> None:
    assert asked("bash", "imgclust collections ", index) == ["list", "create", "rename", "delete"]
    assert "query" in asked("bash", "imgclust q", index)
    assert "--cluster" in asked("bash", "imgclust query --cl", index)
    assert "query" in asked("bash", "imgclust --config '' q", index)  # a value still to be typed


@pytest.mark.parametrize(
    "line",
    [
        "imgclust --collection ",
        "imgclust status --collection ",
        "imgclust collections delete ",
        "imgclust collections rename ",
    ],
)
def test_collections(index: Path, line: str) -> None:
    assert asked("bash", line, index) == ["default", "empty"]
    assert asked("bash", line + "em", index) == ["empty"]
    assert asked("bash", line + "x", index) == []


def test_a_new_collections_name_is_not_completed(index: Path) -> None:
    assert asked("bash", "imgclust collections create ", index) == []


@pytest.mark.parametrize(
    "line",
    [
        "imgclust clusters show ",
        "imgclust clusters name ",
        "imgclust clusters split ",
        "imgclust clusters merge ",
        "imgclust clusters history ",
        "imgclust query 1 --cluster ",
    ],
)
def test_clusters(index: Path, line: str) -> None:
    assert asked("bash", line, index) == ids(index)
    assert asked("bash", line + "1", index) == [one for one in ids(index) if one[0] == "1"]


def test_ids_of_images_are_not_completed_as_those_of_clusters(index: Path) -> None:
    assert asked("bash", "imgclust duplicates dismiss ", index) == []


def test_clusters_of_the_collection_that_was_chosen_before(index: Path) -> None:
    assert asked("bash", "imgclust --collection empty clusters show ", index) == []
    assert asked("bash", "imgclust clusters show --collection empty ", index) == []
    assert asked("bash", "imgclust --collection default clusters show ", index) == ids(index)
    assert asked("bash", f"imgclust --index {index} clusters show ", None) == ids(index)
    assert asked("bash", "imgclust --collection ../x clusters show ", index) == []
    assert asked("bash", "imgclust clusters show ", index / "nowhere") == []


def test_names_stand_beside_ids_in_zsh_and_fish(index: Path) -> None:
    assert "1\tred: things" in asked("fish", "imgclust clusters show ", index)
    assert '"red\\\\: things"' in "".join(asked("zsh", "imgclust clusters show ", index))


def test_configurations(index: Path) -> None:
    assert asked("bash", "imgclust status --config c", index) == ["classic"]


def test_a_damaged_catalog_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / CATALOG).write_bytes(b"no database")
    assert asked("bash", "imgclust clusters show ", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from imgclust.cli import app; app()", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"complete_{shell}" in done.stdout
    assert "_IMGCLUST_COMPLETE" in done.stdout
