"""Who may ask the service: hosts, origins, the token; and requests that mean harm."""

from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from imgclust.errors import StorageError, UsageError
from imgclust.server.security import Access, token_in
from tests.command_line import Run
from tests.hostile import storm
from tests.served import ADDRESS, HERE, client, service, until

TOKEN = "a token that nobody guesses"


@pytest.fixture
def private(index: Path) -> Iterator[TestClient]:
    """A service that other machines reach."""
    with client(index, access=Access("0.0.0.0", 8765, TOKEN, ("photos.example.org",))) as made:
        made.follow_redirects = False
        yield made


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.org",
        "evil.example.org:8765",
        "127.0.0.1:8766",
        "127.0.0.1",
        "localhost:80",
        "127.0.0.1.evil.example.org:8765",
        "localhost.evil.example.org:8765",
        "127.0.0.1:8765@evil.example.org",
        "evil.example.org/127.0.0.1:8765",
        "[::1",
        "[::1]:99999999",
        "[::2]:8765",
        "192.168.0.7:8765",
        "0.0.0.0:8765",
        "",
        " ",
        ":8765",
    ],
)
def test_other_hosts_are_refused_on_loopback(api: TestClient, host: str) -> None:
    answer = api.get(f"{HERE}/status", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765", "127.8.0.1:8765"]
)
def test_loopback_has_several_names(api: TestClient, host: str) -> None:
    assert api.get(f"{HERE}/status", headers={"host": host}).status_code == 200


def test_a_machine_knows_its_addresses_and_names(private: TestClient) -> None:
    key = {"authorization": f"Bearer {TOKEN}"}
    good = ["192.168.0.7:8765", "[fe80::1]:8765", f"{socket.gethostname()}:8765"]
    good += ["photos.example.org", "photos.example.org:443", "localhost:8765"]
    for host in good:
        answer = private.get(f"{HERE}/status", headers={**key, "host": host})
        assert answer.status_code == 200, host
    for host in ("evil.example.org:8765", "192.168.0.7:80", "photos.example.org.evil:8765"):
        answer = private.get(f"{HERE}/status", headers={**key, "host": host})
        assert answer.status_code == 403, host


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example.org"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8766"},
        {"origin": "http://localhost:8765"},
        {"origin": "file://"},
        {"origin": "http://127.0.0.1:8765.evil.example.org"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_change_nothing(api: TestClient, headers: dict[str, str]) -> None:
    body = {"images": [3]}
    answer = api.post(f"{HERE}/remove", json=body, headers=headers)
    assert answer.status_code == 403
    assert api.get(f"{HERE}/images/3").status_code == 200


def test_other_sites_read_nothing(api: TestClient) -> None:
    for headers in (
        {"origin": "http://evil.example.org"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ):
        answer = api.get(f"{HERE}/images/3/thumbnail", headers=headers)
        assert answer.status_code == 403, headers
        assert "access-control-allow-origin" not in answer.headers
    own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    assert api.post(f"{HERE}/missing/accept", json={}, headers=own).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    link["sec-fetch-dest"] = "document"
    assert api.get(f"{HERE}/status", headers=link).status_code == 200


def test_a_form_of_another_site_is_no_command(api: TestClient) -> None:
    """What a form can send without asking first is not JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = api.post(
            f"{HERE}/remove", content='{"images": [3]}', headers={"content-type": kind}
        )
        assert answer.status_code == 422
    assert api.get(f"{HERE}/images/3").status_code == 200


def test_without_the_token_nothing_is_said(private: TestClient) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer "},
        {"cookie": "imgclust=wrong"},
        {"cookie": f"imgclust={TOKEN}"},
        {"cookie": ";;;=="},
    ]
    for headers in wrong:
        for path in (f"{HERE}/status", "/metrics", "/health", "/", "/api/v1/openapi.json", "/x"):
            answer = private.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token"), path
        assert private.post(f"{HERE}/remove", json={}, headers=headers).status_code == 401
    assert private.get("/livez").status_code == 200
    assert private.get("/readyz").json() == {"ok": True}


def test_the_first_click_becomes_a_cookie(private: TestClient) -> None:
    wrong = private.get(f"{HERE}/status", params={"token": "wrong"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    clicked = private.get(f"{HERE}/clusters", params={"token": TOKEN, "x": "1"})
    assert clicked.status_code == 303
    assert clicked.headers["location"] == f"{HERE}/clusters?x=1"
    said = clicked.headers["set-cookie"]
    assert "HttpOnly" in said
    assert "samesite=strict" in said.lower()
    assert TOKEN not in said
    assert private.get(clicked.headers["location"]).status_code == 200
    private.cookies.clear()
    elsewhere = private.get(f"{ADDRESS}//evil.example.org/", params={"token": TOKEN})
    assert elsewhere.headers["location"].startswith("/evil.example.org")


def test_the_token_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_in(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_in(path) == token
    assert token_in(tmp_path / "other") != token
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        token_in(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(UsageError, match="at least 16"):
        token_in(path)
    with pytest.raises(StorageError):
        token_in(tmp_path / "nowhere" / "token")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UsageError, match="regular"):
        token_in(tmp_path / "pipe")


def test_every_answer_protects_itself(api: TestClient) -> None:
    for path in (f"{HERE}/status", f"{HERE}/images/3/original", "/nowhere", f"{HERE}/clusters/x"):
        headers = api.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    refused = api.get("/", headers={"host": "evil.example.org"}).headers
    assert "default-src 'none'" in refused["content-security-policy"]


def test_bodies_have_a_limit(api: TestClient) -> None:
    big = b'{"images": [' + b"1," * (1 << 20) + b"1]}"
    answer = api.post(f"{HERE}/remove", content=big, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_from_other_machines_only_watched_files_are_added(
    index: Path, ready: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes((ready / "drop" / "picture-00.png").read_bytes())
    link = ready / "drop" / "link.png"
    link.symlink_to(elsewhere)
    watched = ready / "drop" / "picture-01.png"
    try:
        with client(index, remote=True) as made:
            for path in (elsewhere, link, ready / "drop" / ".." / ".." / "x", "/etc/passwd"):
                answer = made.post(f"{HERE}/add", json={"paths": [str(path)]})
                assert answer.status_code == 400, path
            assert made.post(f"{HERE}/add", json={"paths": [str(watched)]}).status_code == 202
    finally:
        link.unlink()


@pytest.mark.slow
def test_hostile_requests_harm_nothing(index: Path, ready: Path, run: Run) -> None:
    """Each is refused, or its connection is closed; the watcher goes on."""
    with service(index) as (address, events, _):
        found = storm(address, 200, seed=1)
        assert not found.faults
        assert len(found.kinds) == 10
        arrival = ready / "drop" / "after.png"
        arrival.write_bytes((ready / "drop" / "picture-00.png").read_bytes() + b" ")
        try:
            until(lambda: any(event.path == os.fsencode(arrival) for event in events))
        finally:
            arrival.unlink()


VALUES: list[object] = [0, 1, -1, 3, 10**25, 1.5, "", "x", "1", "..", "\0", "é\n", "9" * 5000]
VALUES += [True, None, [], [1], ["x"], {}, {"a": 1}, "2024-05", "auto", [1, 2], "/etc/passwd"]


def test_odd_arguments_are_never_a_fault(api: TestClient) -> None:
    """Every route of the API, with odd values in place of its arguments: documented answers."""
    generator = random.Random(7)
    said = api.get("/api/v1/openapi.json").json()
    shapes = said["components"]["schemas"]
    tried = 0
    for path, methods in said["paths"].items():
        if path.endswith("/events"):  # a stream
            continue
        for method, route in methods.items():
            for _ in range(6):
                place, query = path, {}
                for parameter in route.get("parameters", []):
                    odd = generator.choice(VALUES)
                    if parameter["in"] == "path":
                        good = "default" if parameter["name"] == "name" else "1"
                        chosen = good if generator.random() < 0.7 else quote(str(odd), safe="")
                        place = place.replace(f"{{{parameter['name']}}}", chosen or "%20")
                    elif parameter["in"] == "query" and generator.random() < 0.5:
                        query[parameter["name"]] = str(odd)
                body = None
                if "requestBody" in route and "application/json" in route["requestBody"]["content"]:
                    name = route["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                    fields = shapes[name.rpartition("/")[2]].get("properties", {})
                    body = {key: generator.choice(VALUES) for key in fields}
                    body |= {"dry_run": True} if "dry_run" in fields else {"odd": 1}
                answer = api.request(method.upper(), place, params=query, json=body)
                assert answer.status_code < 500, (method, place, query, body, answer.text)
                known = {str(answer.status_code)} & set(route["responses"])
                assert known or answer.status_code in {404, 405, 409, 413, 422}, (method, place)
                tried += 1
    assert tried > 200
