"""The default space, and collections of before it that keep `pca` without anybody's choice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from imgclust.config import Settings, default_toml
from tests.command_line import Run
from tests.test_earlier_catalogs import EARLIER, unpacked

HOW_TO_STAY = "imgclust cluster --space pca"
GIVEN = ["-k", "4", "-y", "--json"]


# Version 4 was the first whose default is the smoothed space.
@pytest.fixture(params=[version for version in EARLIER if version < 4])
def old(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Run:
    """The command line beside a collection of an earlier version, whose space nobody has chosen."""
    unpacked(request.param, tmp_path / "index")
    pytest.MonkeyPatch().delenv("IMGCLUST_CLUSTERING_PCA_DIMS")
    return run


def space_of(run: Run, *options: str | Path) -> str:
    """The space of the current clustering."""
    return str(run("status", "--json", *options).document["clustering"]["space"])


def kept_space(run: Run, *options: str | Path) -> str:
    rows = run("config", "show", "--json", *options).document["settings"]
    return str(next(row["value"] for row in rows if row["key"] == "clustering.space"))


def said_so(notes: list[str]) -> bool:
    return sum(HOW_TO_STAY in note for note in notes) == 1


def test_a_new_collection_is_clustered_in_the_smoothed_space(run: Run, ready: Path) -> None:
    assert Settings().clustering.space == "smoothed"
    assert 'space = "smoothed"' in default_toml()
    assert space_of(run) == "smoothed"  # by the clustering that nobody asked for
    done = run("cluster", *GIVEN).document
    assert done["space"] == "smoothed"
    assert not said_so(done["notes"])


def test_a_space_that_nobody_chose_changes_at_the_next_cluster(old: Run) -> None:
    assert (space_of(old), kept_space(old)) == ("pca", "pca")
    assert old("query", "1", "--json").code == 0
    seen = old("cluster", *GIVEN, "--dry-run").document
    assert seen["space"] == "smoothed"
    assert said_so(seen["notes"])
    assert (space_of(old), kept_space(old)) == ("pca", "pca")  # a dry run changes nothing
    done = old("cluster", *GIVEN).document
    assert (done["space"], done["continued"]) == ("smoothed", True)
    assert said_so(done["notes"])
    assert (space_of(old), kept_space(old)) == ("smoothed", "smoothed")
    again = old("cluster", *GIVEN).document
    assert (again["space"], again["notes"]) == ("smoothed", [])


def test_people_are_told_in_one_line(old: Run) -> None:
    said = old("cluster", "-k", "4", "-y").out.splitlines()
    assert sum(HOW_TO_STAY in line for line in said) == 1


def test_who_says_pca_keeps_it(old: Run) -> None:
    done = old("cluster", *GIVEN, "--space", "pca").document
    assert (done["space"], done["notes"]) == ("pca", [])
    assert old("cluster", *GIVEN).document["space"] == "pca"
    assert kept_space(old) == "pca"


@pytest.mark.parametrize("by", ["file", "variable"])
def test_a_configuration_that_says_pca_keeps_it(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    options: list[str | Path] = []
    if by == "file":
        (tmp_path / "own.toml").write_text("[clustering]\nspace = 'pca'\n")
        options = ["--config", tmp_path / "own.toml"]
    else:
        monkeypatch.setenv("IMGCLUST_CLUSTERING_SPACE", "pca")
    done = old("cluster", *GIVEN, *options).document
    assert (done["space"], done["notes"]) == ("pca", [])
    monkeypatch.delenv("IMGCLUST_CLUSTERING_SPACE", raising=False)
    assert old("cluster", *GIVEN).document["space"] == "pca"  # it is known to be a choice now


def test_the_new_defaults_as_a_file_are_no_contradiction(old: Run, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[clustering]\nspace = 'smoothed'\n")
    options: list[str | Path] = ["--config", tmp_path / "own.toml"]
    assert space_of(old, *options) == "pca"
    done = old("cluster", *GIVEN, *options).document
    assert done["space"] == "smoothed"
    assert said_so(done["notes"])
    (tmp_path / "own.toml").write_text("[clustering]\nspace = 'pca'\n")
    assert "imgclust cluster --space SPACE" in old("status", *options).refused(2)


def test_a_new_collection_whose_configuration_says_pca_stays(
    run: Run, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_CLUSTERING_SPACE", "pca")
    assert run("watch", drop, "--once").code == 0
    monkeypatch.delenv("IMGCLUST_CLUSTERING_SPACE")
    done = run("cluster", *GIVEN).document
    assert (done["space"], done["notes"]) == ("pca", [])


def test_a_sweep_looks_at_the_space_that_is_next(old: Run) -> None:
    assert old("sweep", "--k-max", "6", "--json").document["space"] == "smoothed"
    assert old("sweep", "--k-max", "6", "--space", "pca", "--json").document["space"] == "pca"
    assert kept_space(old) == "pca"


@pytest.mark.parametrize("space", ["smoothed", "pca", "embedding"])
def test_a_split_and_a_merge_stay_in_the_space_of_the_clusters(old: Run, space: str) -> None:
    done = old("cluster", *GIVEN, "--space", space).document
    largest, *others = sorted(done["sizes"], key=lambda one: -done["sizes"][one])
    split = old("clusters", "split", largest, "-k", "2", "-y", "--json").document
    merged = old("clusters", "merge", *others[:2], "-y", "--json").document
    assert (split["space"], merged["space"], space_of(old)) == (space, space, space)


def test_what_nobody_asked_for_stays_in_the_space_that_is_kept(
    old: Run, tmp_path: Path, drop: Path
) -> None:
    # `serve` and a watcher, too, follow the change: what is kept is read when they cluster.
    assert old("watch", drop, "--once", "--recluster-every", "5").code == 0
    assert (space_of(old), kept_space(old)) == ("pca", "pca")
    assert old("cluster", *GIVEN).document["space"] == "smoothed"
    with sqlite3.connect(tmp_path / "index" / "default" / "catalog.sqlite3") as database:
        (count,) = database.execute("SELECT count(*) FROM clusterings").fetchone()
    database.close()
    assert count >= 3


@pytest.mark.parametrize("space", [None, "smoothed", "embedding"])
def test_dimensions_of_pca_go_with_pca(
    run: Run, ready: Path, space: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMGCLUST_CLUSTERING_PCA_DIMS")
    options = [] if space is None else ["--space", space]
    said = run("cluster", "--pca-dims", "5", *options).refused(2)
    assert "--space pca" in said
    assert run("cluster", "-y", "--pca-dims", "5", "--space", "pca").code == 0
    assert run("cluster", "-y", "--pca-dims", "6").code == 0
