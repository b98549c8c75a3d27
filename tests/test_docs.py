"""The documents run: every block of README.md and docs/, unless it says why not."""

from __future__ import annotations

import itertools
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(<!-- not run: [^>]+ -->\n)?^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(document: Path) -> list[tuple[str, str]]:
    """Language and text of the blocks of a document that are to run."""
    return [
        (language, text)
        for reason, language, text in BLOCK.findall(document.read_text("utf-8"))
        if not reason
    ]


def test_every_block_has_a_language_or_no_promise() -> None:
    for document in DOCUMENTS:
        fences = re.findall(r"^```(\S*)$", document.read_text("utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= {"sh", "python", "text", "toml", "json"}, document.name
        assert set(fences[1::2]) <= {""}, document.name


def test_the_readme_is_short_and_runs_something() -> None:
    assert len((CHECKOUT / "README.md").read_text("utf-8").splitlines()) < 250
    assert {language for language, _ in blocks(CHECKOUT / "README.md")} == {"sh", "python"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize(
    "document", [one for one in DOCUMENTS if blocks(one)], ids=lambda path: path.name
)
def test_blocks_run(document: Path, tmp_path: Path) -> None:
    # README's commands begin in a clone after scripts/run, those of the others beside some photos.
    photos = tmp_path / "photos"
    if document.name == "README.md":
        photos = tmp_path / "scripts" / "samples" / "photos"
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "activate").touch()
    photos.mkdir(parents=True)
    for photo in sorted((CHECKOUT / "scripts" / "samples" / "photos").iterdir())[:60]:
        shutil.copy(photo, photos)
    kept = {name: value for name, value in os.environ.items() if "IMGCLUST" not in name}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "IMGCLUST_INDEX": str(tmp_path / "index"),
        "IMGCLUST_CACHE": str(tmp_path / "cache"),
        "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
    }
    for language, text in blocks(document):
        command = ["bash", "-eo", "pipefail"] if language == "sh" else [sys.executable]
        done = subprocess.run(
            [*command, "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=1200,  # against hanging; a minute when the machine is free
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        assert b"b'/" not in done.stdout  # paths are printed as paths


def test_the_tables_of_the_api_are_current() -> None:
    script = runpy.run_path(str(CHECKOUT / "scripts" / "document_api.py"))
    assert (CHECKOUT / "docs" / "api.md").read_text("utf-8") == script["document"]()


def test_every_test_that_survive_names_is_there() -> None:
    text = (CHECKOUT / "docs" / "survive.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 30
    for file, test in named:
        source = (CHECKOUT / "tests" / file).read_text("utf-8")
        assert f"def {test}(" in source, f"{file}::{test}"


def test_every_setting_and_command_is_documented() -> None:
    commands = (CHECKOUT / "docs" / "commands.md").read_text("utf-8")
    written = set(re.findall(r"^## imgclust (.+)$", commands, re.MULTILINE))
    assert {"watch", "add", "query", "clusters name", "quarantine retry"} <= written
    for section in commands.split("\n## ")[1:]:
        assert "Example" in section, section.splitlines()[0]
    settings = (CHECKOUT / "configs" / "default.toml").read_text("utf-8").splitlines()
    for before, line in itertools.pairwise(settings):
        if re.match(r"\w+ = ", line):
            assert before.startswith("# "), line
