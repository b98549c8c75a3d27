"""The service has what the command line has, and brings the packages that it needs."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import io
import json
import re
import sys
import tomllib
from pathlib import Path

from starlette.testclient import TestClient

from tests.command_line import Run
from tests.served import HERE

ROOT = Path(__file__).parents[1]
# A command, and where the service does the same.
ROUTES = {
    "add": "POST add",
    "backup": "GET backup",
    "cluster": "POST cluster",
    "clusters": "GET clusters",
    "clusters corrections": "GET corrections",
    "clusters exclude": "POST clusters/{cluster}/exclude",
    "clusters history": "GET history",
    "clusters merge": "POST merge",
    "clusters move": "POST clusters/{cluster}/move",
    "clusters name": "POST clusters/{cluster}/name",
    "clusters new": "POST clusters",
    "clusters show": "GET clusters/{cluster}",
    "clusters split": "POST clusters/{cluster}/split",
    "collections": "GET /collections",
    "collections create": "POST /collections",
    "collections list": "GET /collections",
    "config show": "GET config",
    "doctor": "POST doctor",
    "duplicates": "POST duplicates",
    "duplicates dismiss": "POST duplicates/dismiss",
    "export": "GET export",
    "links": "POST links",
    "missing": "GET missing",
    "missing accept": "POST missing/accept",
    "pause": "POST pause",
    "quarantine": "GET quarantine",
    "quarantine retry": "POST quarantine/retry",
    "query": "POST query",
    "reembed": "POST reembed",
    "remove": "POST remove",
    "report": "POST report",
    "resume": "POST resume",
    "roots": "GET roots",
    "roots list": "GET roots",
    "roots move": "POST roots/move",
    "roots remove": "POST roots/remove",
    "status": "GET status",
    "sweep": "POST sweep",
    "view": "POST view",
    "weights": "GET /weights",
    "weights list": "GET /weights",
}
# Commands that the service does not have, and why.
APART = {
    "clusters apart": "POST review says it of two images",
    "clusters together": "POST review says it of two images",
    "clusters review": "the page of that name asks; see the routes of the gallery",
    "collections delete": "there is no way back, and a page of another program could ask for it",
    "collections rename": "the service has the collection open, by its name",
    "config": "a group without a command of its own",
    "restore": "reads any file of the machine into a new collection",
    "serve": "is the service",
    "watch": "the service watches; a folder is added where it is started",
    "weights download": "the network is chosen before the first image, where the service starts",
    "weights verify": "reads any file of the machine",
}


def test_every_command_has_a_route_or_a_reason(api: TestClient) -> None:
    said = api.get("/api/v1/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in said.items() for method in methods}
    lines = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for command in re.findall(r"^## imgclust (.+)$", lines, re.MULTILINE):
        assert (command in ROUTES) != (command in APART), command
    for command, route in ROUTES.items():
        method, _, path = route.partition(" ")
        full = f"/api/v1{path}" if path[0] == "/" else f"/api/v1/collections/{{name}}/{path}"
        assert f"{method} {full}" in there, command


def test_an_export_is_that_of_the_command_line(api: TestClient, run: Run, tmp_path: Path) -> None:
    assert run("view").code == 0
    for kind, more in (("json", {}), ("json", {"embeddings": "true"}), ("csv", {})):
        out = tmp_path / f"out.{kind}"
        options = ["--embeddings"] if more else []
        assert run("export", "--format", kind, "--out", out, *options).code == 0
        answer = api.get(f"{HERE}/export", params={"format": kind, **more})
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].endswith(f"default.{kind}")
        if kind == "json":
            assert answer.json() == json.loads(out.read_bytes())
        else:
            assert answer.content == out.read_bytes()
            assert len(list(csv.reader(io.StringIO(answer.text)))) > 2
    none = api.get(f"{HERE}/export", params={"since": "2099"})
    assert len(list(csv.reader(io.StringIO(none.text)))) == 1
    assert api.get(f"{HERE}/export", params={"format": "xmp"}).status_code == 422


def test_a_cluster_without_images_is_not_exported(run: Run, index: Path, tmp_path: Path) -> None:
    ids = [str(row["id"]) for row in run("clusters", "show", "1", "--json").document["images"]]
    assert run("clusters", "new", "others", *ids).code == 0
    said = run("export", "--cluster", "1", "--format", "csv", "--out", tmp_path / "x.csv")
    assert "cluster 1 has no images" in said.refused(3)


def test_one_cluster_is_exported(api: TestClient, run: Run, tmp_path: Path) -> None:
    assert run("clusters", "name", "1", "a/b c").code == 0
    members = [row["id"] for row in run("clusters", "show", "1", "--json").document["images"]]
    for which in ("1", "a/b c"):
        out = tmp_path / "one.csv"
        assert run("export", "--format", "csv", "--out", out, "--cluster", which).code == 0
        answer = api.get(f"{HERE}/export", params={"cluster": which})
        assert answer.content == out.read_bytes()
        rows = answer.text.splitlines()[1:]
        assert sorted(int(row.split(",")[0]) for row in rows) == sorted(members)
        name = answer.headers["content-disposition"].partition("''")[2]
        assert "/" not in name
    assert run("export", "--format", "csv", "--out", out, "--cluster", "9").code == 3
    assert api.get(f"{HERE}/export?cluster=9").status_code == 404
    old = api.get(f"{HERE}/export", params={"cluster": 1, "until": "1990"})
    assert len(old.text.splitlines()) == 1


def test_a_backup_can_be_restored(api: TestClient, run: Run, tmp_path: Path) -> None:
    answer = api.get(f"{HERE}/backup")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    file = tmp_path / "sent.imgclust"
    file.write_bytes(answer.content)
    assert run("restore", file, "--collection", "again").code == 0
    both = [run("clusters", "--json", "--collection", name) for name in ("default", "again")]
    sizes = [[(row["id"], row["size"]) for row in one.document["clusters"]] for one in both]
    assert sizes[0] == sizes[1]


def test_a_collection_is_made(api: TestClient, run: Run) -> None:
    made = api.post("/api/v1/collections", json={"name": "holidays"})
    assert made.status_code == 200
    assert made.json()["collection"] == "holidays"
    assert api.get("/api/v1/collections/holidays/status").json()["images"] == 0
    for name, status in (("holidays", 400), ("../x", 400), ("a/b", 400), ("", 422), ("\0", 400)):
        assert api.post("/api/v1/collections", json={"name": name}).status_code == status, name
    listed = run("collections", "--json").document["collections"]
    assert {row["name"] for row in listed} == {"default", "holidays"}


def test_the_extra_brings_all_that_the_service_imports() -> None:
    """Each package that the server's modules import is imgclust's own, or is in its extra."""
    imported: set[str] = set()
    for path in (ROOT / "imgclust" / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").partition(".")[0])
    imported -= {"imgclust", *sys.stdlib_module_names}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["server"]
    given = {_normal(re.split(r"[^A-Za-z0-9_.-]", one)[0]) for one in wanted}
    owners = importlib.metadata.packages_distributions()
    for name in imported:
        assert {_normal(one) for one in owners[name]} & given, f"{name} is in no extra"


def _normal(name: str) -> str:
    """The name of a package, as registries compare it."""
    return name.lower().replace("_", "-")
