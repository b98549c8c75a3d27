"""Clusters by id and by name, wherever a cluster goes; one message where there is none."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.wording import no_such_cluster
from tests.command_line import Run, Said, make

EVERYWHERE = [
    *("query 1 --cluster {}", "clusters show {}", "clusters split {} -k 2 --dry-run"),
    *("clusters merge {} 1 --dry-run", "clusters merge 1 {} --dry-run", "clusters name {} x"),
    *("clusters name {} --release", "clusters history {}"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop` and its `index`, in four clusters; the second is "red things"."""
    top = tmp_path_factory.mktemp("four")
    return make(top, ["cluster", "-k", "4", "-y"], ["clusters", "name", "2", "red things"])


@pytest.fixture
def ready(made: Path, run: Run, tmp_path: Path) -> Path:
    """The catalog of a copy of it."""
    shutil.copytree(made / "index", tmp_path / "index", symlinks=True)
    assert run("links").code == 0  # relative links do not survive the copying
    return tmp_path / "index" / "default" / "catalog.sqlite3"


def call(run: Run, command: str, cluster: str) -> Said:
    return run(*(one.format(cluster) for one in command.split()))


@pytest.mark.parametrize("command", EVERYWHERE)
def test_a_name_is_as_good_as_an_id(command: str, run: Run, ready: Path) -> None:
    by_name = call(run, f"{command} --json", "red things")
    assert by_name.code == 0
    if "name" not in command:  # which changes what it says the next time
        assert call(run, f"{command} --json", "2").document == by_name.document
        assert call(run, f"{command} --json", "002").document == by_name.document
        assert call(run, f"{command} --json", "  red things ").document == by_name.document


@pytest.mark.parametrize("command", EVERYWHERE)
@pytest.mark.parametrize(
    "wanted", ["99", "9" * 5000, "red", "Red Things", "²", "٣", "1_0", "x" * 500]
)
def test_what_there_is_not(
    command: str, wanted: str, run: Run, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_INDEX", str(made / "index"))  # a refusal changes nothing
    said = call(run, command, wanted).refused(3)
    assert len(said) < 300
    if "history" in command:
        assert "there never was a cluster" in said
    elif wanted.isascii() and wanted.isdigit():
        assert "there is no cluster" in said
        assert said.endswith("; there are 4 clusters: 1, 2, 3, 4\n")
    else:
        assert said.endswith("these have a name: red things\n")


def test_two_clusters_of_one_name(run: Run, ready: Path) -> None:
    with Catalog(ready) as catalog, catalog.transaction():
        catalog.clusterings.name(3, "red things")
    for command in EVERYWHERE:
        said = call(run, command, "red things").refused(2)
        assert said == "imgclust: the clusters 2 and 3 are all called 'red things'; give an id\n"
    assert call(run, "clusters show {}", "2").code == 0


@pytest.mark.parametrize("decision", ["--accept", "--reject"])
def test_status_names_moved_links_that_wait(run: Run, ready: Path, decision: str) -> None:
    first, second, *_ = sorted(path for path in (ready.parent / "links").iterdir() if path.is_dir())
    link = min(first.iterdir())
    assert "waiting" not in run("status").out
    link.rename(second / link.name)
    assert run("links").code == 0
    wait = "1 moved link waits; see imgclust clusters corrections, then --accept or --reject"
    assert f"  {wait}\n" in run("status").out
    assert run("clusters", "corrections", decision).code == 0
    assert "waiting" not in run("status").out


def test_an_undo_says_that_two_clusters_have_one_name(run: Run, ready: Path) -> None:
    assert run("clusters", "merge", "red things", "1", "--name", "both", "-y").code == 0
    left = {row["id"] for row in run("clusters", "--json").document["clusters"]} - {1, 2}
    assert run("clusters", "name", str(min(left)), "red things").code == 0
    said = run("cluster", "--undo", "-y").out
    assert (
        f"clusters 2 and {min(left)} are all called 'red things' now: imgclust clusters name ID "
        "NAME gives one of them another name\n"
    ) in said


def test_an_undo_with_nothing_before_says_how_to_take_corrections_back(
    run: Run, tmp_path: Path, made: Path
) -> None:
    assert run("watch", made / "drop", "--once", "-q").code == 0
    nothing = "imgclust: there is no clustering before the current one"
    assert run("cluster", "--undo", "-y").refused(3) == f"{nothing}\n"
    assert run("clusters", "new", "Solo", "1", "-q").code == 0
    assert run("cluster", "--undo", "-y").refused(3) == (
        f"{nothing}; imgclust clusters corrections --remove takes a correction back\n"
    )


def test_names_of_every_script_and_form(run: Run, ready: Path) -> None:
    for name in ("Köln & Düsseldorf", "猫", "a/b", "-", "1e3", "7 cats"):
        assert run("clusters", "name", "3", "--", name).code == 0
        for form in ("NFC", "NFD"):
            given = unicodedata.normalize(form, name)
            said = run("clusters", "show", "--json", "--", given)
            assert said.document["id"] == 3, name


def test_the_life_of_a_cluster_that_is_gone_by_its_name(run: Run, ready: Path) -> None:
    assert run("clusters", "merge", "red things", "1", "--name", "both", "-y").code == 0
    now = {row["name"] for row in run("clusters", "--json").document["clusters"]}
    assert "both" in now
    gone = run("clusters", "history", "2", "--json").document
    assert run("clusters", "history", "both", "--json").document["alive"]
    assert gone["id"] == 2


def test_the_message_names_what_there_is() -> None:
    many = range(1, 35)
    assert no_such_cluster("77", many, []) == (
        "there is no cluster 77; there are 34 clusters: "
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 22 more"
    )
    assert no_such_cluster("5", [3], []) == "there is no cluster 5; there is 1 cluster: 3"
    assert no_such_cluster("-5", [3], []) == "there is no cluster -5; there is 1 cluster: 3"
    assert no_such_cluster("dgos", [3, 2], ["dogs", "cats"]) == (
        "no cluster is called 'dgos'; these have a name: cats, dogs"
    )
    assert no_such_cluster("dogs", [3, 2], []) == (
        "no cluster is called 'dogs', and none has a name; there are 2 clusters: 2, 3"
    )


def test_the_medoid_is_another_image_once_the_first_is_removed(
    run: Run, tmp_path: Path, drop: Path
) -> None:
    """The next nearest to the centre, again and again, until the cluster has no image."""
    assert run("watch", "--once", drop, "-q").code == 0
    assert run("cluster", "-k", "4", "-y", "-q").code == 0
    assert run("clusters", "name", "1", "the sea", "-q").code == 0
    while True:
        [row] = [one for one in run("clusters", "--json").document["clusters"] if one["id"] == 1]
        shown = run("clusters", "show", "1", "--json").document
        if not row["size"]:
            break
        ids = [one["id"] for one in shown["images"]]
        assert row["medoid"] in ids
        assert row["medoid_path"] in {one["path"] for one in shown["images"]}
        assert run("remove", str(row["medoid"]), "-y", "-q").code == 0
    assert (row["medoid"], row["medoid_path"]) == (None, None)


def test_a_k_of_named_clusters_alone_says_what_that_means(run: Run, drop: Path) -> None:
    assert run("watch", "--once", drop, "-q").code == 0
    assert run("cluster", "-k", "4", "-y", "-q").code == 0
    sizes = {row["id"]: row["size"] for row in run("clusters", "--json").document["clusters"]}
    for cluster in (1, 2):
        assert run("clusters", "name", str(cluster), f"name {cluster}", "-q").code == 0
    others = sum(sizes.values()) - sizes[1] - sizes[2]
    said = f"every cluster has a name: {others} other images joined to these; -k 3 or more"
    assert said in run("cluster", "-k", "2", "--dry-run").out
    assert "every cluster has a name" not in run("cluster", "-k", "3", "--dry-run").out
    assert said in run("cluster", "-k", "2", "-y").out
    # There is no other image any more.
    assert "every cluster has a name" not in run("cluster", "-k", "2", "--dry-run").out


@pytest.mark.parametrize(
    "command", ["clusters name 1 Beach", "clusters move 1 --to 3", "cluster -k 5"]
)
def test_a_link_folder_that_refuses_does_not_undo_the_work(
    command: str, run: Run, ready: Path
) -> None:
    links = ready.parent / "links"
    shutil.rmtree(links)
    links.write_text("a file is in the way")
    said = call(run, command, "").refused(1)
    assert said.startswith(f"imgclust: what was asked for is done, but the link folder {links}")
    links.unlink()
    assert run("links").code == 0
    assert run("doctor").code == 0
    rows = run("clusters", "--json").document["clusters"]
    corrections = run("clusters", "corrections", "--json")
    done = {
        "clusters name 1 Beach": rows[0]["name"] == "Beach",
        "clusters move 1 --to 3": len(corrections.document["corrections"]) == 1,
        "cluster -k 5": len(rows) == 5,
    }
    assert done[command]
