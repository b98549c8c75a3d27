"""The API: the documents of the command line, jobs, pictures, failures."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from imgclust.collection import Collection
from tests.command_line import Run
from tests.conftest import inside as inside_of
from tests.conftest import write_picture
from tests.served import HERE, client, finished

# A command line, and where the service has its document.
READING = {
    "status": "status",
    "clusters": "clusters",
    "clusters history": "history",
    "clusters history 1": "clusters/1/history",
    "query 3 -n 4": "query?image=3&n=4",
    "query 3 5 -n 3": "query?image=3&image=5&n=3",
    "query 3 -n 3 --cluster 1": "query?image=3&n=3&cluster=1",
    "query 3 --copies --include-self": "query?image=3&copies=true&include_self=true",
    "query 3 --since 2001 --until 2099-12": "query?image=3&since=2001&until=2099-12",
    "query 3 --min-score 0.99": "query?image=3&min_score=0.99",
    "query 3 --min-similarity 0.9": "query?image=3&min_similarity=0.9",
    "duplicates": "duplicates",
    "duplicates --min-score 0.5": "duplicates?min_score=0.5",
    "quarantine": "quarantine",
    "quarantine --damaged": "damaged",
    "missing": "missing",
    "roots": "roots",
    "links --check": "links",
    "config show": "config",
}
# Commands that fail, with the status of their answer.
FAILING = {
    "query 999": ("query?image=999", 404),
    "query 3 --cluster 999": ("query?image=3&cluster=999", 404),
    "clusters show 999": ("clusters/999", 404),
    "clusters show seven": ("clusters/seven", 404),
    "clusters history 999": ("clusters/999/history", 404),
    "query 3 --since May": ("query?image=3&since=May", 400),
    "clusters show 1 --since 2024 --until 2023": ("clusters/1?since=2024&until=2023", 400),
}


def test_documents_are_those_of_the_command_line(api: TestClient, run: Run) -> None:
    for command, path in READING.items():
        answer = api.get(f"{HERE}/{path}")
        assert answer.status_code == 200, (command, answer.text)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == run(*command.split(), "--json").document, command
    assert api.get("/api/v1/weights").json() == run("weights", "--json").document
    shown = run("clusters", "show", "1", "--json").document
    assert api.get(f"{HERE}/clusters/1").json() == shown | {"sheet": None}
    listed = api.get("/api/v1/collections").json()
    for one in (listed, expected := run("collections", "--json").document):
        for row in one["collections"]:
            row["bytes"] = 0  # of the log of the catalog
    assert listed == expected


def test_failures_are_those_of_the_command_line(api: TestClient, run: Run) -> None:
    for command, (path, status) in FAILING.items():
        answer = api.get(f"{HERE}/{path}")
        assert answer.status_code == status, command
        assert answer.json() == run(*command.split(), "--json").document
    for path in ("nowhere/status", "nowhere/events", "nowhere/images/1/thumbnail"):
        answer = api.get(f"/api/v1/collections/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing")
    assert api.get("/api/v1/collections/..%2f..%2fetc/status").status_code == 404
    assert api.get("/api/v1/collections/.hidden/status").status_code == 400
    assert api.get("/nowhere").json()["error"]["code"] == "nothing"
    assert api.delete(f"{HERE}/status").status_code == 405
    for path in ("query", "query?image=a", "query?image=3&n=0", "clusters/1/images?order=x"):
        answer = api.get(f"{HERE}/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "usage"), path
    big = api.get(f"{HERE}/images/{10**30}")
    assert big.status_code == 404


def test_short_commands_answer_at_once(api: TestClient, run: Run) -> None:
    named = api.post(f"{HERE}/clusters/1/name", json={"name": "red things"})
    assert named.status_code == 200
    assert named.json()["name"] == "red things"
    rows = run("clusters", "--json").document["clusters"]
    assert named.json() == next(row for row in rows if row["id"] == 1)
    assert api.get(f"{HERE}/clusters/red things").status_code == 200
    assert api.post(f"{HERE}/clusters/1/name", json={}).status_code == 400
    assert api.post(f"{HERE}/clusters/2/name", json={"name": "red things"}).status_code == 400
    assert api.post(f"{HERE}/clusters/2/name", json={"name": "17"}).status_code == 400

    dismissed = api.post(f"{HERE}/duplicates/dismiss", json={"images": [4, 5]})
    assert dismissed.json() == {"images": [4, 5], "dismissed": True}
    assert api.post(f"{HERE}/duplicates/dismiss", json={"images": [4, 4]}).status_code == 400

    would = api.post(f"{HERE}/remove", json={"images": [3], "dry_run": True}).json()
    assert would == run("remove", "3", "--dry-run", "--json").document
    assert api.get(f"{HERE}/images/3").status_code == 200
    assert api.post(f"{HERE}/remove", json={"images": [3]}).json() == would
    assert api.get(f"{HERE}/images/3").status_code == 404
    assert api.post(f"{HERE}/remove", json={"images": [3]}).status_code == 404
    assert api.post(f"{HERE}/remove", json={"images": ["drop"]}).status_code == 400
    assert api.post(f"{HERE}/missing/accept", json={}).json() == {"accepted": []}

    (root,) = api.get(f"{HERE}/roots").json()["roots"]
    gone = api.post(f"{HERE}/roots/remove", json={"folder": root["path"], "dry_run": True})
    assert gone.json() == run("roots", "remove", root["path"], "--dry-run", "--json").document
    moved = {"old": root["path"], "new": "/nowhere"}
    assert api.post(f"{HERE}/roots/move", json=moved).status_code == 400


def test_corrections_are_those_of_the_command_line(api: TestClient, run: Run) -> None:
    """The same calls, in turn: each first as a trial by the command line."""
    steps: list[tuple[str, dict[str, Any], str]] = [
        ("clusters/1/move", {"images": [2, 3]}, "clusters move 2 3 --to 1"),
        ("clusters", {"name": "beach", "images": [4, 5]}, "clusters new beach 4 5"),
    ]
    (last,) = [row["id"] for row in api.get(f"{HERE}/clusters/1/images?limit=1").json()["images"]]
    steps.append(("clusters/1/exclude", {"images": [last]}, f"clusters exclude {last} --from 1"))
    start = api.get(f"{HERE}/changes").json()["last"]
    for path, body, command in steps:
        expected = run(*command.split(), "--dry-run", "--json").document
        assert api.post(f"{HERE}/{path}", json=body | {"dry_run": True}).json() == expected
        done = api.post(f"{HERE}/{path}", json=body)
        assert done.status_code == 200, done.text
        assert done.json()["moved"] == expected["moved"]
    listed = run("clusters", "corrections", "--json").document
    assert api.get(f"{HERE}/corrections").json() == listed
    assert len(listed["corrections"]) >= 4
    assert {one["made_by"] for one in listed["corrections"]} == {"gallery"}
    assert api.get(f"{HERE}/images/4").json()["name"] == "beach"
    events = api.get(f"{HERE}/changes", params={"after": start}).json()["events"]
    assert any(one["event"] == "corrections_changed" for one in events)
    number = listed["corrections"][0]["id"]
    back = api.post(f"{HERE}/corrections/remove", json={"corrections": [number]}).json()
    assert [row["id"] for row in back["taken_back"]] == [number]
    assert api.post(f"{HERE}/corrections/remove", json={"corrections": [999]}).status_code == 404
    paused = api.post(f"{HERE}/pause", json={}).json()
    assert (paused["paused"], paused["changed"]) == (True, True)
    assert run("pause", "--json").document == paused | {"changed": False}
    assert api.post(f"{HERE}/resume", json={}).status_code == 200


def test_an_undo_puts_images_and_what_was_said_of_them_back(api: TestClient) -> None:
    def homes() -> list[int]:
        return [api.get(f"{HERE}/images/{one}").json()["cluster"] for one in images]

    def said() -> list[tuple[int, str, int]]:
        rows = api.get(f"{HERE}/corrections").json()["corrections"]
        return [(row["image"], row["kind"], row["cluster"]) for row in rows]

    images = [row["id"] for row in api.get(f"{HERE}/clusters/1/images").json()["images"]][:3]
    api.post(f"{HERE}/clusters/1/move", json={"images": images[:1]})
    for path, body in (
        ("clusters/2/move", {"images": images}),
        ("clusters/1/exclude", {"images": images[1:]}),
        ("clusters", {"name": "beach", "images": images}),
    ):
        done = api.post(f"{HERE}/{path}", json=body).json()
        assert homes() != [1, 1, 1]
        wanted = {name: done[name] for name in ("kind", "cluster", "images", "corrections")}
        wanted["unname"] = done["name"] if path == "clusters" else None
        answer = api.post(f"{HERE}/corrections/undo", json=wanted)
        assert answer.status_code == 200, answer.text
        assert api.post(f"{HERE}/corrections/undo", json=wanted).status_code == 404
        assert homes() == [1, 1, 1], path
        assert said() == [(images[0], "in", 1)], path
    assert "beach" not in [row["name"] for row in api.get(f"{HERE}/clusters").json()["clusters"]]
    unknown = {"kind": "in", "cluster": 1, "images": [], "corrections": []}
    assert api.post(f"{HERE}/corrections/undo", json=unknown).status_code == 422


def test_an_undo_that_is_too_late_changes_nothing(api: TestClient) -> None:
    def state() -> object:
        found = [api.get(f"{HERE}/images/{one}").json()["cluster"] for one in (*images, there)]
        return found, api.get(f"{HERE}/corrections").json(), api.get(f"{HERE}/clusters").json()

    def undo(**changed: object) -> tuple[int, str]:
        known = {name: done[name] for name in ("kind", "cluster", "images", "corrections")}
        answer = api.post(f"{HERE}/corrections/undo", json=known | changed)
        return answer.status_code, answer.json().get("error", {}).get("message", "")

    images = [row["id"] for row in api.get(f"{HERE}/clusters/1/images").json()["images"]][:2]
    there = api.get(f"{HERE}/clusters/2/images").json()["images"][0]["id"]
    done = api.post(f"{HERE}/clusters/2/move", json={"images": [*images, there]}).json()
    before = state()
    gone = [{**row, "before": 888} if row["id"] == images[1] else row for row in done["images"]]
    for changed, why in (
        ({"images": gone}, "cluster 888, where image"),
        ({"corrections": [*done["corrections"], 10**9]}, "is not of that command"),
        ({"kind": "not_in"}, "is not of that command"),
        ({"cluster": 1}, "is not of that command"),
    ):
        code, message = undo(**changed)
        assert (code, why in message) == (404, True), message
        assert state() == before
    later = api.post(f"{HERE}/clusters", json={"name": "beach", "images": images[:1]}).json()
    before = state()
    code, message = undo()
    assert (code, "has ended" in message) == (404, True), message
    assert state() == before

    api.post(f"{HERE}/clusters/{later['cluster']}/name", json={"name": "holiday"})
    done = later
    assert undo(unname="beach")[0] == 200
    assert "holiday" in [row["name"] for row in api.get(f"{HERE}/clusters").json()["clusters"]]


def test_an_undo_ends_what_was_said_of_images_that_were_there_already(api: TestClient) -> None:
    one = api.get(f"{HERE}/clusters/1/images").json()["images"][0]["id"]
    there = api.get(f"{HERE}/clusters/2/images").json()["images"][0]["id"]
    done = api.post(f"{HERE}/clusters/2/move", json={"images": [one, there]}).json()
    assert len(api.get(f"{HERE}/corrections").json()["corrections"]) == 2
    known = {name: done[name] for name in ("kind", "cluster", "images", "corrections")}
    assert api.post(f"{HERE}/corrections/undo", json=known).status_code == 200
    assert api.get(f"{HERE}/corrections").json()["corrections"] == []
    homes = [api.get(f"{HERE}/images/{each}").json()["cluster"] for each in (one, there)]
    assert homes == [1, 2]


@pytest.mark.parametrize(
    ("path", "body", "command"),
    [
        ("cluster", {"k": 4, "dry_run": True}, "cluster -k 4 --dry-run"),
        ("sweep", {"k_max": 5}, "sweep --k-max 5"),
        ("clusters/1/split", {"k": 2, "dry_run": True}, "clusters split 1 -k 2 --dry-run"),
        ("merge", {"clusters": [1, 2], "dry_run": True}, "clusters merge 1 2 --dry-run"),
        ("links", {"dry_run": True}, "links --dry-run"),
        ("duplicates", {}, "duplicates"),
        ("doctor", {}, "doctor"),
        ("reembed", {"dry_run": True}, "reembed --dry-run"),
        ("view", {"method": "pca"}, "view --method pca"),
        ("quarantine/retry", {}, "quarantine retry"),
    ],
)
def test_long_commands_are_jobs(
    api: TestClient, run: Run, path: str, body: dict[str, Any], command: str
) -> None:
    job = finished(api, api.post(f"{HERE}/{path}", json=body))
    assert job["state"] == "done", job
    assert job["arguments"] == body
    assert api.get(f"{HERE}/jobs").json() == {"jobs": [job]}
    expected = run(*command.split(), "--json").document
    for one in (job["result"], expected):
        for key in ("seconds", "refitted"):
            one.pop(key, None)
    assert job["result"] == expected


def test_jobs_that_change_something(api: TestClient, run: Run, tmp_path: Path) -> None:
    before = run("clusters", "--json").document["clusters"]
    job = finished(api, api.post(f"{HERE}/cluster", json={"k": 5, "space": "embedding"}))
    assert (job["state"], job["result"]["k"], job["result"]["space"]) == ("done", 5, "embedding")
    assert len(run("clusters", "--json").document["clusters"]) == 5
    kept = run("config", "show", "--json").document["settings"]
    space = next(row for row in kept if row["key"] == "clustering.space")
    assert (space["value"], space["from"]) == ("embedding", "the collection")
    assert finished(api, api.post(f"{HERE}/undo", json={}))["state"] == "done"
    assert len(run("clusters", "--json").document["clusters"]) == len(before)
    wrong = finished(api, api.post(f"{HERE}/clusters/999/split", json={}))
    assert (wrong["state"], wrong["result"]["error"]["code"]) == ("failed", "nothing")
    later = write_picture(tmp_path / "more" / "later.png", 77)
    added = finished(api, api.post(f"{HERE}/add", json={"paths": [str(later)]}))
    assert (added["state"], added["result"]["ingested"]) == ("done", 1)
    assert api.post(f"{HERE}/add", json={"paths": ["more"]}).status_code == 400


def test_one_job_at_a_time_and_it_can_be_cancelled(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, seen = threading.Event(), []

    def sweep(self: Collection, **_: Any) -> None:
        stop = inside_of(self).stop
        inside_of(self).progress("sweeping", 3, 9)
        inside.set()
        seen.append(stop.wait(30))
        stop.check()

    monkeypatch.setattr(Collection, "sweep", sweep)
    started = api.post(f"{HERE}/sweep", json={})
    assert inside.wait(30)
    running = api.get(started.headers["location"]).json()
    assert (running["state"], running["result"]) == ("running", None)
    assert running["progress"] == {"step": "sweeping", "done": 3, "total": 9}
    other = api.post(f"{HERE}/cluster", json={})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "locked")
    assert api.get(f"{HERE}/clusters").status_code == 200  # reading goes on
    cancelled = api.post(f"{started.headers['location']}/cancel")
    assert cancelled.status_code == 202
    job = finished(api, started)
    assert seen == [True]
    assert (job["state"], job["result"]["error"]["code"]) == ("cancelled", "interrupted")
    assert api.post(f"{HERE}/jobs/999/cancel").status_code == 404
    assert api.post(f"{started.headers['location']}/cancel").json() == job


def test_results_of_jobs_outlive_the_service(index: Path) -> None:
    with client(index) as first:
        job = finished(first, first.post(f"{HERE}/sweep", json={"k_max": 3}))
    with client(index) as second:
        assert second.get(f"{HERE}/jobs/{job['id']}").json() == job
        assert second.get(f"{HERE}/jobs").json() == {"jobs": [job]}


def test_a_job_whose_service_has_died_has_failed(index: Path, api: TestClient) -> None:
    with Collection.open(index) as collection:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        number = collection.service.begin_job("sweep", {}, process=f"{child}-gone")
    job = api.get(f"{HERE}/jobs/{number}").json()
    assert (job["state"], job["result"]["error"]["code"]) == ("failed", "interrupted")


# Pictures


def test_pictures_are_served(api: TestClient, ready: Path) -> None:
    facts = api.get(f"{HERE}/images/3").json()
    original = api.get(f"{HERE}/images/3/original")
    assert original.content == Path(facts["path"]).read_bytes()
    assert original.headers["content-type"] == "image/png"
    assert (facts["width"], facts["height"], facts["format"]) == (80, 60, "PNG")
    for kind in ("thumbnail", "preview"):
        answer = api.get(f"{HERE}/images/3/{kind}")
        assert answer.headers["content-type"] == "image/webp"
        again = api.get(
            f"{HERE}/images/3/{kind}", headers={"if-none-match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


def test_only_what_was_ingested_is_served(api: TestClient) -> None:
    """A file that was replaced by another, or by a link to one, is not sent."""
    path = Path(api.get(f"{HERE}/images/3").json()["path"])
    kept = path.read_bytes()
    try:
        for replacement in ("other bytes", "link", "nothing"):
            path.unlink(missing_ok=True)
            if replacement == "other bytes":
                path.write_bytes(b"secret")
            elif replacement == "link":
                path.symlink_to("/etc/passwd")
            for kind in ("original", "preview"):
                answer = api.get(f"{HERE}/images/3/{kind}")
                assert answer.status_code == 404, (replacement, kind)
                assert b"secret" not in answer.content
                assert b"root:" not in answer.content
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
    assert api.get(f"{HERE}/images/3/original").status_code == 200


def test_names_of_files_are_escaped_in_headers(api: TestClient, tmp_path: Path) -> None:
    name = 'a";\r\nset-cookie: x=1\n<script>é.png'
    path = write_picture(tmp_path / "odd" / "plain.png", 90)
    odd = path.rename(path.with_name(name))
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(odd)]}))
    found = api.get(f"{HERE}/query?image=1&n=100").json()["neighbours"]
    (image,) = [row["id"] for row in found if row["path"] == str(odd)]
    answer = api.get(f"{HERE}/images/{image}/original")
    assert answer.status_code == 200
    said = answer.headers["content-disposition"]
    assert said.startswith("inline; filename*=UTF-8''a%22%3B%0D%0Aset-cookie")
    assert "set-cookie" not in answer.headers


def test_a_picture_that_is_sent_is_found(api: TestClient, run: Run, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "asked.png", 5, hue=2)
    sent = api.post(f"{HERE}/query?n=3", content=path.read_bytes())
    assert sent.status_code == 200, sent.text
    expected = run("query", str(path), "-n", "3", "--json").document
    assert sent.json()["neighbours"] == expected["neighbours"]
    assert sent.json()["query"] == "upload"
    changed = Image.open(path).rotate(90, expand=True)
    changed.save(tmp_path / "turned.png")
    body = (tmp_path / "turned.png").read_bytes()
    whole = api.post(f"{HERE}/query?n=3", content=body).json()
    part = api.post(f"{HERE}/query?n=3&region=0,0,0.5,0.5", content=body).json()
    asked = run(
        "query", str(tmp_path / "turned.png"), "-n", "3", "--region", "0,0,0.5,0.5", "--json"
    )
    assert part["neighbours"] == asked.document["neighbours"]
    assert len(whole["neighbours"]) == 3


def test_pictures_that_cannot_be_used_are_refused(api: TestClient) -> None:
    refused = {
        b"": 400,
        b"no picture": 422,
        b"\xff\xd8\xff\xe0 broken": 422,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": 422,
        b"http://127.0.0.1/secret": 422,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100: 422,
    }
    for body, status in refused.items():
        answer = api.post(f"{HERE}/query", content=body)
        assert answer.status_code == status, body
        assert "/tmp" not in answer.text
    assert api.post(f"{HERE}/query", content=b"0" * (65 << 20)).status_code == 413
    answer = api.post(f"{HERE}/query?region=1,2", content=b"x")
    assert answer.status_code == 400


def test_several_pictures_are_searched_by_together(
    api: TestClient, run: Run, tmp_path: Path
) -> None:
    """As `imgclust query FILE FILE`; what does not fit together is refused with a reason."""
    paths = [write_picture(tmp_path / f"asked {one}.png", one, hue=one) for one in (2, 5, 7)]
    bodies = [path.read_bytes() for path in paths]
    sizes = ",".join(str(len(one)) for one in bodies)
    sent = api.post(f"{HERE}/query?n=7&sizes={sizes}", content=b"".join(bodies)).json()
    expected = run("query", *map(str, paths), "-n", "7", "--json").document
    assert sent["neighbours"] == expected["neighbours"]
    assert sent["queries"] == ["upload 1", "upload 2", "upload 3"]
    one = api.post(f"{HERE}/query?n=7&sizes={len(bodies[0])}", content=bodies[0]).json()
    assert one == api.post(f"{HERE}/query?n=7", content=bodies[0]).json()
    assert one["neighbours"] != sent["neighbours"]
    for wrong in ("", "x", "0", "-5,5", "1,2", f"{sizes},1", "1e3", "9" * 30, ",".join("1" * 30)):
        answer = api.post(f"{HERE}/query?sizes={wrong}", content=b"".join(bodies))
        assert answer.status_code == 400, wrong
    mixed = [bodies[0], b"no picture"]
    answer = api.post(
        f"{HERE}/query?sizes={','.join(str(len(each)) for each in mixed)}", content=b"".join(mixed)
    )
    assert answer.status_code == 422
    assert "picture 2" in answer.json()["error"]["message"]
    region = api.post(f"{HERE}/query?sizes={sizes}&region=0,0,1,1", content=b"".join(bodies))
    assert region.status_code == 400


def test_a_thousand_images_are_searched_by(api: TestClient) -> None:
    asked = "&".join(f"image={one}" for one in [1, 2] * 500)
    found = api.get(f"{HERE}/query?{asked}&n=3")
    assert found.status_code == 200
    page = api.get(f"/c/default/search?{asked}&of=2600")
    assert page.status_code == 200
    assert "and 994 more" in page.text
    assert "By 1,000 of the 2,600 selected images" in page.text
    assert "selected images" not in api.get("/c/default/search?image=1&image=2&of=2").text
    assert api.get(f"{HERE}/query?{asked}&image=1").status_code == 422


def test_a_picture_of_too_many_pixels_is_refused(api: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 6_000)).save(path)
    assert path.stat().st_size < 100_000
    answer = api.post(f"{HERE}/query", content=path.read_bytes())
    assert answer.status_code == 422
    assert "over the limit of 100 million" in answer.json()["error"]["message"]


def test_pages_of_a_cluster(api: TestClient, run: Run) -> None:
    shown = run("clusters", "show", "1", "--json").document["images"]
    first = api.get(f"{HERE}/clusters/1/images?limit=2").json()
    rest = api.get(f"{HERE}/clusters/1/images?offset=2").json()
    assert first["total"] == rest["total"] == len(shown)
    assert first["images"] + rest["images"] == shown
    newest = api.get(f"{HERE}/clusters/1/images?order=newest").json()["images"]
    assert [row["id"] for row in newest] == sorted((row["id"] for row in shown), reverse=True)
    by_name = api.get(f"{HERE}/clusters/1/images?order=name").json()["images"]
    assert [row["path"] for row in by_name] == sorted(row["path"] for row in shown)
    assert api.get(f"{HERE}/clusters/1/images?until=1999").json()["total"] == 0


def test_the_api_describes_itself(api: TestClient) -> None:
    said = api.get("/api/v1/openapi.json").json()
    for path, methods in said["paths"].items():
        for method, route in methods.items():
            assert route["description"], (path, method)
            for parameter in route.get("parameters", []):
                assert parameter["description"], (path, parameter)
            if method == "post" and "requestBody" in route:
                (body,) = route["requestBody"]["content"].values()
                kind = body["schema"].get("$ref", "").rpartition("/")[2]
                for field in said["components"]["schemas"].get(kind, {}).get("properties", {}):
                    shape = said["components"]["schemas"][kind]["properties"][field]
                    assert shape["description"], (path, field)
    assert (
        "application/json"
        in (
            said["paths"]["/api/v1/collections/{name}/clusters"]["get"]["responses"]["200"][
                "content"
            ]
        )
    )
