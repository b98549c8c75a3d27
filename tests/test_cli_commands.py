"""Every command: what it says, its JSON document, what it changes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from imgclust.cli import context, watch_output
from imgclust.collection import Event, embedder
from imgclust.terminal.screen import Screen
from tests.command_line import Run, make
from tests.conftest import write_picture

COUNTS = [
    *("seen", "ingested", "reused", "unchanged", "skipped", "quarantined", "missing", "seconds"),
    *("held", "offline", "suggestions", "removed", "pending", "excluded", "taken_out"),
    "still_quarantined",
]
FACTS = ["taken", "taken_from", "camera", "damage"]
LINKS = [
    *("links", "created", "removed", "missing", "stale", "foreign", "moved", "dangling"),
    *("corrected", "waiting", "unread"),
]
CLUSTER_ROW = [
    *("id", "name", "size", "coherence", "medoid", "outliers", "arrivals", "drift", "drift_high"),
    *("frozen", "folder", "medoid_path"),
]
CLUSTER = [
    *("clustering", "k", "chosen_by", "space", "inertia", "sizes", "kept", "split", "merged"),
    *("new", "gone", "moved", "returned", "frozen", "continued", "sentence", "notes"),
    *("corrections", "corrected"),
]


# Images


def test_a_pass_says_what_became_of_every_file(run: Run, drop: Path) -> None:
    write_picture(drop / "again.png", 3, hue=0)
    (drop / "notes.xmp").write_text("no picture")
    (drop / "clip.MOV").write_bytes(b"no picture")
    (drop / "broken.jpg").write_text("no picture either")
    said = run("watch", "--once", drop)
    assert said.code == 0
    assert said.out.startswith(
        "28 files: 24 ingested, 1 reused, 2 skipped (1 .mov, 1 .xmp), 1 quarantined; "
    )
    assert "imgclust quarantine" in said.out
    assert said.err == ""


def test_watch_once_and_add_as_json(run: Run, drop: Path, tmp_path: Path) -> None:
    said = run("watch", "--once", drop, "--json")
    assert said.code == 0
    assert list(said.document) == COUNTS
    assert said.document["ingested"] == said.document["seen"] == 24
    write_picture(tmp_path / "other" / "new.png", 50)
    said = run("add", "--json", tmp_path / "other")
    assert list(said.document) == COUNTS
    assert said.document["ingested"] == 1


def test_a_watcher_prints_one_event_a_line(
    run: Run, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = watch_output.Listener.__call__

    def hear(self: watch_output.Listener, event: Event) -> None:
        heard(self, event)
        if event.kind == "clustered":
            self._call.stop.set()

    monkeypatch.setattr(watch_output.Listener, "__call__", hear)
    said = run("watch", drop, "--json")
    assert said.code == 0
    events = [json.loads(line) for line in said.out.splitlines()]
    assert {tuple(event) for event in events} == {
        ("event", "time", "path", "id", "cluster", "cluster_name", "message")
    }
    paths = [event["path"] for event in events if event["event"] == "ingested"]
    assert sorted(paths) == sorted(str(path) for path in drop.iterdir())
    assert events[-1]["event"] == "clustered"


def test_status(run: Run, ready: Path) -> None:
    said = run("status")
    assert "images      24" in said.out
    assert "1 .xmp" in said.out
    document = run("status", "--json").document
    assert list(document) == [
        *("collection", "recipe", "images", "distinct", "quarantined", "skipped", "pending"),
        *("missing", "held", "clusters", "clustering", "unassigned", "roots", "links", "watching"),
        *("drift", "removed", "offline", "damaged", "corrections", "paused", "hours"),
        *("outside_hours", "unreadable", "suggestions"),
    ]
    assert list(document["clustering"]) == [
        *("id", "k", "space", "inertia", "created", "provisional")
    ]
    assert (document["images"], document["quarantined"]) == (24, 1)
    assert document["skipped"] == {".xmp": 1}
    assert document["roots"] == [str(ready / "drop")]
    assert document["links"].keys() == {"mode", "path"}
    assert document["watching"] is False


def test_status_says_which_engine_and_why(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\nengine" not in run("status").out
    said = run("status", "-v")
    assert "the first image decides" in said.out
    assert "the newest: 24 embeddings by fake float32" in said.out
    monkeypatch.setattr(
        embedder, "why_engine", lambda recipe, **settings: f"tensorflow, {settings['precision']}"
    )
    assert "tensorflow, auto\n" in run("status", "-v").out


def test_query(run: Run, ready: Path) -> None:
    picture = ready / "drop" / "picture-05.png"
    document = run("--json", "query", picture, "-n", "3", "--include-self").document
    assert list(document) == ["query", "neighbours", "queries", "sheet", "order", "lacking"]
    keys = ["id", "path", "score", "cluster", "name", "missing", *FACTS, "copies"]
    keys += ["similarity", "rarity"]
    assert [list(row) for row in document["neighbours"]] == [keys] * 3
    assert document["neighbours"][0]["path"] == str(picture)
    assert document["neighbours"][0]["score"] == pytest.approx(1, abs=1e-3)
    said = run("query", picture, "--include-self")
    assert len(said.out.splitlines()) == 13  # the root, titles, ten images, what rarity is
    assert said.out.splitlines()[2].endswith(f"  {picture.name}")
    quiet = run("query", picture, "-q", "--include-self").out
    assert quiet.splitlines() == said.out.splitlines()[:-1]
    assert "no image is that similar" in run("query", picture, "--min-score", "1").out


def test_names_that_are_no_utf8(run: Run, tmp_path: Path) -> None:
    name = b"caf\xe9\x1b[31m.png"
    os.rename(
        write_picture(tmp_path / "drop" / "one.png", 1),
        os.fsencode(tmp_path / "drop") + b"/" + name,
    )
    path = os.fsdecode(os.fsencode(tmp_path / "drop") + b"/" + name)
    assert run("watch", "--once", tmp_path / "drop").code == 0
    row = run("--json", "query", path, "--include-self").document["neighbours"][0]
    assert row["path"].endswith("caf\ufffd\x1b[31m.png")
    assert base64.b64decode(row["path_bytes"]) == os.fsencode(path)
    assert run("query", "1", "--include-self").out.splitlines()[2].endswith("caf\\xe9\\x1b[31m.png")
    assert "caf\\xe9" in run("query", path + "x").refused(3)


def test_view(run: Run, ready: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    document = run("view", "--method", "pca", "--out", out, "--json").document
    keys = ["chart", "method", "dims", "n", "placed", "refitted", "page", "missing", "corrected"]
    assert list(document) == keys
    assert document["chart"] == str(out)
    assert out.read_bytes().startswith(b"\x89PNG")
    said = run("view", "--method", "pca", "--out", out)
    assert said.out == f"24 distinct images by PCA in 2 dimensions\nmap: {out}\n"


def test_remove(run: Run, ready: Path) -> None:
    picture = ready / "drop" / "picture-05.png"
    said = run("remove", picture, "--dry-run")
    assert said.out.endswith(f" would be taken out; its file stays: {picture}\n")
    document = run("remove", picture, "--dry-run", "--json").document
    assert run("--json", "status").document["images"] == 24
    assert run("remove", picture).refused(2).endswith("; pass -y when not running interactively\n")
    assert run("remove", picture, "-y", "--json").document == document
    assert document["path"] == str(picture)
    assert picture.exists()
    assert run("--json", "status").document["images"] == 23
    assert run("links", "--check").code == 0


def test_remove_says_which_copies_stay(run: Run, tmp_path: Path) -> None:
    ready = make(tmp_path)
    picture = ready / "drop" / "picture-05.png"
    for name in ("copy-1.png", "copy-2.png"):
        (ready / "drop" / name).write_bytes(picture.read_bytes())
    run("watch", "--once", "-q")
    said = run("remove", picture, "-y")
    assert said.out.endswith(
        "2 other images with the same bytes stay; --copies takes out all of them\n"
    )
    document = run("--json", "status").document
    assert (document["images"], document["removed"], document["pending"]) == (25, 1, 0)
    assert "1 file taken out; imgclust add brings" in run("status").out
    picture.rename(picture.with_name("renamed.png"))
    assert run("watch", "--once", "--json").document["ingested"] == 0
    assert run("--json", "status").document["removed"] == 1
    said = run("remove", ready / "drop" / "copy-1.png", "--copies", "-y")
    assert "1 other image with the same bytes taken out too" in said.out
    document = run("--json", "status").document
    assert (document["images"], document["removed"]) == (23, 3)
    run("collections", "rename", "default", "other")
    place = ("--collection", "other")
    assert run(*place, "watch", "--once", "--json").document["ingested"] == 0
    assert run(*place, "doctor").code == 0
    assert run(*place, "add", ready / "drop" / "copy-2.png").code == 0
    document = run(*place, "--json", "status").document
    assert (document["images"], document["removed"]) == (24, 2)


def test_why_a_file_is_no_image(run: Run, ready: Path, tmp_path: Path) -> None:
    """A file that is known is no riddle: the line names what to do."""
    drop = ready / "drop"
    shutil.copy(drop / "picture-00.png", tmp_path / "new.png")
    assert run("remove", drop / "picture-01.png", "-y").code == 0
    for path, why in (
        (drop / "picture-01.png", "it was taken out: imgclust add brings it back"),
        (drop / "broken.jpg", "it could not be read: see imgclust quarantine"),
        (drop / "notes.xmp", "it is not of a kind that is supported"),
        (tmp_path / "new.png", "imgclust add takes it in"),
    ):
        for command in (["remove", path, "-y"], ["clusters", "move", path, "--to", "1"]):
            assert run(*command).refused(3).endswith(f" is {path}; {why}\n")
    nowhere = tmp_path / "nowhere.png"
    assert run("remove", nowhere, "-y").refused(3).endswith(f" is {nowhere}\n")


def test_quiet_says_nothing_when_all_goes_well(run: Run, drop: Path) -> None:
    assert run("watch", "--once", drop, "-q").code == 0
    for command in (
        "cluster -k 4 -y",
        "clusters name 1 Beach",
        "clusters move 1 2 3 --to 2 --similar",
        "clusters new Others 4 5",
        "clusters exclude 6 7 --from 3",
        "clusters corrections --remove 1",
        "clusters split 2 -k 2 -y",
        "clusters merge 2 4 -y",
        "cluster --undo -y",
        f"remove {drop}/picture-1* 9 -y",
        f"add {drop}/picture-11.png",
        "pause",
        "resume",
        "links",
    ):
        said = run(*command.split(), "-q")
        assert (said.code, said.out) == (0, ""), command
    for path in sorted(drop.glob("picture-2*")):
        path.unlink()
    run("watch", "--once", "-q")
    assert run("missing", "accept", "-y", "-q").out == ""
    drop.rename(drop.with_name("moved"))
    assert run("roots", "move", drop, drop.with_name("moved"), "-q").out == ""
    assert run("roots", "remove", drop.with_name("moved"), "-q").out == ""


def test_remove_asks_a_person(run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "can_ask", True)
    asked: list[str] = []

    def ask(self: Screen, question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(Screen, "ask", ask)
    assert run("remove", "5").out == ""
    assert asked[0].startswith("Take image 5 out, /")
    assert run("--json", "status").document["images"] == 24
    assert run("remove", "5", "-y").code == 0
    assert len(asked) == 1


def test_quarantine(run: Run, ready: Path) -> None:
    document = run("quarantine", "--json").document
    assert [list(row) for row in document["quarantined"]] == [["path", "reason", "tries", "since"]]
    lines = run("quarantine").out.splitlines()
    assert lines[0] == f"paths below {ready / 'drop'}"
    assert lines[2].startswith("broken.jpg ")
    assert str(ready / "drop" / "broken.jpg") in run("quarantine", "--full-path").out
    said = run("quarantine", "retry", "--json")
    assert list(said.document) == COUNTS
    assert said.document["quarantined"] == 1


def test_missing(run: Run, tmp_path: Path, drop: Path) -> None:
    assert run("watch", "--once", drop, "-q").code == 0
    assert run("missing").out == "no image is missing\n"
    for path in drop.glob("picture-1*"):
        path.unlink()
    assert "held" in run("watch", "--once").out
    document = run("missing", "--json").document
    assert [list(row) for row in document["missing"]] == [
        ["id", "path", "scans", "held", *FACTS]
    ] * 10
    dry = run("missing", "accept", "--dry-run", "--json").document
    assert [list(row) for row in dry["accepted"]] == [["id", "path"]] * 10
    assert run("--json", "status").document["images"] == 24
    assert "10 missing images would leave the collection" in run("missing", "accept").refused(2)
    assert run("--json", "status").document["images"] == 24
    assert "10" in run("missing", "accept", "-y").out
    assert run("missing", "accept").code == 0  # there is nothing to ask about
    assert run("--json", "status").document["images"] == 14


def test_export(run: Run, ready: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    said = run("export", "--format", "csv", "--out", out)
    assert said.out == f"24 images as csv\nexport: {out}\n"
    assert len(out.read_text().splitlines()) == 25
    document = run("export", "--format", "csv", "--out", out, "--embeddings", "--json").document
    assert document == {
        "format": "csv",
        "path": str(out),
        "map": None,
        "images": 24,
        "of": 24,
        "embeddings": True,
    }
    said = run("export", "--format", "classic", "--out", "-")
    assert (said.code, said.err) == (0, "")
    assert len(json.loads(said.out)["data"]) == 24
    assert (
        "output"
        in json.loads(run("export", "--format", "csv", "--out", "-", "--json").out)["error"][
            "message"
        ]
    )
    run("export", "--format", "csv", "--out", ready / "drop" / "out.csv").refused(2)
    run("export", "--format", "excel", "--out", out).refused(2)
    run("export", "--format", "csv").refused(2)


@pytest.mark.parametrize("suffix", ["csv", "JSON", "parquet"])
def test_the_name_of_the_file_tells_the_format(
    run: Run, ready: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    assert run("export", "--out", out, "--json").document["format"] == suffix.lower()
    told = run("export", "--format", "classic", "--out", out, "--json").document
    assert told["format"] == "classic"
    assert "--format is needed" in run("export", "--out", tmp_path / "out.xyz").refused(2)
    assert "--format is needed" in run("export", "--out", "-").refused(2)


def test_names_that_tables_show_are_understood(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = ready / "drop"
    monkeypatch.chdir(tmp_path)
    name = Path("picture-10.png")
    long, short = drop / name, str(Path("drop") / name)
    by_path = run("query", long, "--json").document["neighbours"]
    for shown in (name, short, f"./{name}"):
        assert run("query", shown, "--json").document["neighbours"] == by_path
        assert run("clusters", "move", shown, "--to", "1", "--json").code == 0
        assert "no image of the collection" in run("remove", shown, "-y").refused(3)
    assert "another.png" in run("clusters", "move", "another.png", "--to", "1").refused(3)
    (tmp_path / name).write_bytes(b"another file of that name")  # which is meant, then
    assert "no image of the collection" in run("clusters", "move", name, "--to", "1").refused(3)


def test_within_a_root_a_name_means_the_file_there(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the name of a file that is away would mean its namesake in another folder."""
    folder = ready / "drop" / "sub"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "there is no file" in run("query", "picture-10.png").refused(3)
    assert "no image of the collection" in run(
        "clusters", "move", "picture-10.png", "--to", "1"
    ).refused(3)
    folder.rmdir()


# Clusters


def test_sweep(run: Run, ready: Path) -> None:
    document = run("sweep", "--k-max", "6", "--json").document
    criteria = ["simplified_silhouette", "calinski_harabasz", "bic"]
    promised = ["space", "n", "k", "inertia", "knee", "chart"]
    assert list(document) == [*promised, *criteria, "preferred", "seconds", "complete"]
    assert document["k"] == [1, 2, 3, 4, 5, 6]
    assert len(document["inertia"]) == 6
    assert document["complete"] is True
    assert document["seconds"] > 0
    for name in criteria[:2]:
        assert document[name][0] is None, "one cluster has none"
        assert all(isinstance(value, float) for value in document[name][1:])
    assert Path(document["chart"]).is_file()
    said = run("sweep", "--k-max", "6")
    assert said.out.startswith("k from 1 to 6, 24 distinct images in the space smoothed: ")
    best = max(range(1, 4), key=lambda place: document["calinski_harabasz"][place]) + 1
    assert document["preferred"]["calinski_harabasz"] == best
    assert "of k up to 4, other criteria prefer: simplified silhouette" in said.out
    assert f"Calinski-Harabasz {best}" in said.out
    assert re.search(r"^took [\d.]+ s$", said.out, re.MULTILINE)


def test_cluster(run: Run, ready: Path) -> None:
    before = run("status", "--json").document["clustering"]["id"]
    dry = run("cluster", "-k", "4", "--dry-run", "--json").document
    assert list(dry) == CLUSTER
    assert dry["clustering"] is None
    assert run("status", "--json").document["clustering"]["id"] == before
    done = run("cluster", "-k", "4", "--json").document
    assert list(done) == CLUSTER
    assert (done["k"], done["chosen_by"], sum(done["sizes"].values())) == (4, "user", 24)
    assert {"id", "images", "jaccard"} == set(done["kept"][0])
    undone = run("cluster", "--undo", "--json").document
    assert list(undone) == CLUSTER
    assert undone["clustering"] == before
    assert "space smoothed" in run("cluster", "-k", "2").out
    assert run("links", "--check").code == 0


def test_steps_and_a_fresh_start(run: Run, ready: Path) -> None:
    before = run("status", "--json").document["clustering"]["k"]
    again = run("cluster", "-k", str(before), "--json").document
    assert (again["continued"], again["new"], again["gone"]) == (True, [], [])
    finer = run("cluster", "--finer", "--json").document
    assert finer["k"] > before
    assert len(finer["new"]) == finer["k"] - before
    coarser = run("cluster", "--coarser", "--json").document
    assert coarser["k"] < finer["k"]
    assert coarser["new"] == []
    fresh = run("cluster", "--fresh", "-k", str(before), "--json").document
    assert not fresh["continued"]
    shown = run("cluster", "--finer", "--dry-run").out
    assert f"one step finer than {fresh['k']}" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--finer", "--coarser"], "--finer cannot be combined with --coarser"),
        (["-k", "4", "--finer"], "-k cannot be combined with --finer"),
        (["-k", "auto", "--coarser"], "-k cannot be combined with --coarser"),
        (["--fresh", "--coarser"], "--fresh cannot be combined with --coarser"),
        (["--undo", "--finer"], "--undo cannot be combined with other options"),
        (["--undo", "--coarser"], "--undo cannot be combined with other options"),
    ],
)
def test_steps_stand_alone(run: Run, ready: Path, options: list[str], said: str) -> None:
    before = run("status", "--json").document["clustering"]
    assert said in run("cluster", *options).refused(2)
    assert run("status", "--json").document["clustering"] == before


def test_another_space_is_kept(run: Run, ready: Path) -> None:
    assert run("cluster", "-k", "3", "--space", "embedding", "--dry-run").code == 0
    assert run("cluster", "-k", "3", "--json").document["space"] == "smoothed"
    assert run("cluster", "-k", "3", "--space", "embedding").code == 0
    assert run("cluster", "-k", "3", "--json").document["space"] == "embedding"


def test_a_person_is_shown_the_changes_and_asked(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []
    answers = [False, True]

    def ask(self: context.Call, question: str) -> bool:
        questions.append(question)
        return answers.pop(0)

    monkeypatch.setattr("imgclust.terminal.screen.Screen.can_ask", True)
    monkeypatch.setattr(context.Call, "ask", ask)
    before = run("status", "--json").document["clustering"]["id"]
    assert "would be" in run("cluster", "-k", "5").out
    assert run("status", "--json").document["clustering"]["id"] == before
    said = run("cluster", "-k", "5").out
    assert said.count("would be") == 1
    assert said.count("inertia") == 1  # the plan is not printed a second time
    assert said.endswith("done as shown: 5 clusters\n")
    assert run("status", "--json").document["clusters"] == 5
    assert run("cluster", "-k", "3", "-y").code == 0
    assert len(questions) == 2


def test_clusters(run: Run, ready: Path, tmp_path: Path) -> None:
    rows = run("clusters", "--json").document["clusters"]
    assert {tuple(row) for row in rows} == {(*CLUSTER_ROW,)}
    one = str(rows[0]["id"])
    assert len(run("clusters").out.splitlines()) == len(rows) + 3
    shown = run("clusters", "--json", "show", one, "--sheet", tmp_path / "one.png").document
    assert list(shown) == [
        *CLUSTER_ROW,
        *("representatives", "nearest", "images", "sheet"),
    ]
    assert len(shown["images"]) == rows[0]["size"]
    assert run("clusters", "show", one).out.split()[:2] == ["cluster", one]
    named = run("clusters", "name", one, "red things", "--json").document
    assert named["name"] == "red things"
    assert "red things" in run("clusters").out
    assert "has no name now" in run("clusters", "name", one, "").out


def test_links(run: Run, ready: Path, tmp_path: Path) -> None:
    document = run("links", "--json").document
    assert list(document) == LINKS
    assert document["links"] == 24
    folder = tmp_path / "index" / "default" / "links"
    entry = next(path for path in folder.rglob("*.png"))
    entry.unlink()
    assert run("links", "--check").code == 1
    assert run("links", "--check", "--json").document["missing"] == 1
    assert "1 link made" in run("links", "--dry-run").out
    assert not entry.is_symlink()
    assert "1 link made" in run("links").out
    assert entry.is_symlink()
    assert run("links", "-q").out == ""


def test_links_change_what_is_kept(run: Run, ready: Path, tmp_path: Path) -> None:
    assert run("links", "--link-mode", "copy").code == 0
    folder = tmp_path / "index" / "default" / "links"
    assert not any(path.is_symlink() for path in folder.rglob("*.png"))
    assert "24 moved" in run("links", "--folder", "{id}_{count}").out
    assert run("links", "--folder", "{id:04d}", "--json").document["moved"] == 24
    assert run("links", "--folder", "{id}_{count}").code == 0
    assert all("_" in path.name for path in folder.iterdir() if path.is_dir())
    assert run("links", "--links", tmp_path / "elsewhere").code == 0
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == 24
    document = run("status", "--json").document
    assert document["links"] == {"mode": "copy", "path": str(tmp_path / "elsewhere")}
    assert run("watch", "--once", "--link-mode", "symlink").refused(2)


def test_a_new_collection_takes_link_folder_and_mode(run: Run, drop: Path, tmp_path: Path) -> None:
    options = ("--links", tmp_path / "tree", "--link-mode", "hardlink")
    assert run("watch", "--once", drop, *options).code == 0
    made = list((tmp_path / "tree").rglob("*.png"))
    assert len(made) == 24
    assert all(path.stat().st_nlink == 2 for path in made)


def test_doctor(run: Run, ready: Path, tmp_path: Path) -> None:
    said = run("doctor")
    assert said.code == 0, said.out
    document = run("doctor", "--json").document
    assert list(document) == ["ok", "checks", "advisories"]
    assert {tuple(one) for one in document["checks"]} == {("name", "ok", "message", "repaired")}
    assert {tuple(one) for one in document["advisories"]} == {("name", "ok", "message")}
    next((tmp_path / "index" / "default" / "links").rglob("*.png")).unlink()
    said = run("doctor")
    assert said.code == 1
    assert "WRONG  links" in said.out
    assert "--repair" in said.out
    assert run("doctor", "--repair").code == 0
    assert run("doctor", "-q").out == ""


# Weights


def test_weights(run: Run, tmp_path: Path) -> None:
    for arguments in (["weights"], ["weights", "list"]):
        rows = run("--json", *arguments).document["weights"]
        assert [list(row) for row in rows] == [["name", "path", "state", "sha256", "bytes"]] * 2
    trunk = rows[1]["path"]
    assert "trunk" in run("weights").out
    document = run("weights", "verify", trunk, "--json").document
    assert list(document) == ["name", "structure", "sha256", "path"]
    (tmp_path / "wrong.npz").write_bytes(b"wrong")
    assert run("weights", "verify", tmp_path / "wrong.npz").refused(1)


# Global options


def test_global_options_count_before_and_after_commands_and_groups(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_INDEX", str(tmp_path / "nowhere"))
    index = ("--index", tmp_path / "index")
    expected = run(*index, "--json", "clusters").out
    assert expected.startswith("{")
    assert run("--json", "clusters", *index).out == expected
    assert run("clusters", "--json", *index).out == expected
    one = ("show", "1")
    assert run(*index, "clusters", "--json", *one).code == 0
    assert run("clusters", *index, *one, "--json").code == 0
    assert run("--index", tmp_path / "wrong", "clusters", *index).code == 0
    assert run("clusters", "--", *index).code == 2


def test_later_configuration_wins_and_flags_win_over_it(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    for name, k in (("one", 3), ("two", 6)):
        (tmp_path / f"{name}.toml").write_text(f"[clustering]\nk = {k}\n")
    first, second = ("--config", tmp_path / "one.toml"), ("--config", tmp_path / "two.toml")
    assert run(*first, "cluster", *second, "--json").document["k"] == 6
    said = run("cluster", *second, *first, "--json")
    assert (said.document["k"], said.document["chosen_by"]) == (3, "config")
    assert run("cluster", *first, "-k", "4", "--json").document["k"] == 4


def test_outliers_into_a_folder_and_back(run: Run, ready: Path) -> None:
    assert "--no-outliers" in run("watch", "--once", "--outliers").refused(2)
    assert run("links", "--outliers").code == 0
    assert run("links", "--check").code == 0
    assert "cannot be combined with --dry-run" in run(
        "cluster", "--no-outliers", "--dry-run"
    ).refused(2)
    assert run("cluster", "-k", "3", "--no-outliers").code == 0
    assert run("links", "--check").code == 0


def test_a_wrong_recurrence_is_refused(run: Run, ready: Path) -> None:
    said = run("watch", "--once", "--recluster-every", "weekly").refused(2)
    assert "neither a number of images (5000), a time (12h, 7d) nor off" in said
    assert run("watch", "--once", "--recluster-every", "7d").code == 0


@pytest.mark.parametrize("command", ["move - --to 1", "new trip -", "exclude - --from 1"])
def test_a_list_of_paths_with_zero_bytes_needs_its_option(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    class Standard:
        buffer = io.BytesIO(os.fsencode(ready / "drop" / "picture-01.png") + b"\0")

    monkeypatch.setattr("sys.stdin", Standard)
    said = run("clusters", *command.split())
    assert "-0 reads such lists" in said.refused(2)
    lines = io.BytesIO(os.fsencode(ready / "drop" / "picture-01.png") + b"\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines))
    assert "leave -0 out" in run("clusters", "move", "-", "-0", "--to", "1").refused(2)
