"""Numbers on the command line, in files and in variables: one clear line before anything opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Run

NO_NUMBERS = ["²", "٣", "1_000", " 5", "5 ", "", "many", "nan", "0x5", "9" * 5000]
NO_COUNTS = [*NO_NUMBERS, "0", "-1", "1e3", "auto ", "AUTO", "9" * 20, "2.0"]
# Options that take N|auto, then whole numbers, then numbers with a fraction.
COUNTS = ["cluster -k", "clusters split 1 -k"]
WHOLE = [
    *("sweep --k-min", "sweep --k-max", "cluster --pca-dims", "cluster --seed"),
    *("view --dims", "query 1 -n"),
]
DECIMAL = ["query 1 --min-score", "duplicates --min-score", "watch --settle-s", "watch --rescan-s"]


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


@pytest.mark.parametrize("option", COUNTS)
@pytest.mark.parametrize("text", NO_COUNTS)
def test_n_or_auto(option: str, text: str, run: Run) -> None:
    said = run(*option.split(), text).refused(2)  # of a collection that is not there: not opened
    assert "is neither auto nor a whole number from" in said or "-k is empty" in said
    assert len(said) < 200


@pytest.mark.parametrize("option", WHOLE)
@pytest.mark.parametrize("text", [*NO_NUMBERS, "1e3", "-1", "9" * 19, "2.0"])
def test_whole_numbers(option: str, text: str, run: Run) -> None:
    said = run(*option.split(), text).refused(2)
    assert option.split()[-1] in said
    assert len(said) < 200


@pytest.mark.parametrize("option", DECIMAL)
@pytest.mark.parametrize("text", [*NO_NUMBERS, "inf", "-inf", "1e999", "1,5"])
def test_numbers(option: str, text: str, run: Run) -> None:
    said = run(*option.split(), text).refused(2)
    assert option.split()[-1] in said
    assert len(said) < 200


@pytest.mark.parametrize(
    "text", ["1_0,2,3,4", "٣,2,3,4", "nan,0,1,1", "0,0,inf,1", "1,2,3", "1,2,3,4,5", "1,,3,4", "²"]
)
def test_regions(text: str, run: Run) -> None:
    assert f"--region {text}" in run("query", "1", "--region", text).refused(2)


@pytest.mark.parametrize("text", ["²", "٣", "1_0", " 5", "many", "9" * 20])
def test_ids_of_images(text: str, run: Run) -> None:
    assert "'ID'" in run("duplicates", "dismiss", "1", text).refused(2)


@pytest.mark.parametrize("text", [text for text in NO_COUNTS if text])
def test_k_in_a_file_and_in_a_variable(
    text: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "k.toml"
    file.write_text(f'[clustering]\nk = "{text}"\n', "utf-8")
    expected = "is neither auto nor a whole number from 1 to 999,999,999"
    assert expected in run("cluster", "--config", file).refused(2)
    monkeypatch.setenv("IMGCLUST_CLUSTERING_K", text)
    said = run("cluster").refused(2)
    assert "IMGCLUST_CLUSTERING_K" in said
    assert expected in said


@pytest.mark.parametrize("text", ["²", "٣", "1_000", " 5", "nan", "inf", "1e999", "5 s"])
@pytest.mark.parametrize(
    "setting", ["CLUSTERING_K_MAX", "WATCH_SETTLE_S", "WATCH_RETRY_S", "CLUSTERING_RECLUSTER_EVERY"]
)
def test_variables(setting: str, text: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"IMGCLUST_{setting}", text)
    assert f"IMGCLUST_{setting}" in run("config", "show").refused(2)


@pytest.mark.parametrize("text", ["٣", "²", "03²"])
def test_a_file_whose_name_is_no_ascii_digits_is_a_file(
    text: str, made: Path, run: Run, tmp_path: Path
) -> None:
    index = ["--index", made / "index"]
    assert f"there is no file {Path(text).absolute()}" in run("query", text, *index).refused(3)
    assert f"is {text}" in run("remove", text, "-y", *index).refused(3)


@pytest.mark.parametrize("text", ["²", "٣", "-5", "80x"])
def test_the_width_of_the_terminal_may_be_nonsense(
    text: str, made: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", text)
    monkeypatch.setenv("LINES", text)
    said = run("status", "--index", made / "index")
    assert (said.code, said.err) == (0, "")
