"""Copies of one picture: what the last search found, the list for the shell, and the page."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.browsing import Visit
from tests.served import HERE, finished, service, until

PAGE = {"accept": "text/html"}
NAMES = ["it's a <b>copy<b>.png", "line\nbreak $(touch owned).png", "-rf *.png"]


@pytest.fixture
def copies(api: TestClient, ready: Path, tmp_path: Path) -> list[Path]:
    """Copies of three pictures, with names that are a trap; found by a job."""
    folder = tmp_path / "copies"
    folder.mkdir()
    made = [folder / name for name in NAMES]
    for number, path in enumerate(made):
        shutil.copy(ready / "drop" / f"picture-0{number}.png", path)
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(folder)]}))
    assert finished(api, api.post(f"{HERE}/duplicates", json={}))["state"] == "done"
    return made


def test_before_a_search_there_is_nothing(api: TestClient) -> None:
    for path in ("duplicates/found", "duplicates/list"):
        assert api.get(f"{HERE}/{path}").status_code == 404
    assert "Look for duplicates" in api.get("/c/default/duplicates", headers=PAGE).text


def test_groups_have_a_best_one_with_its_reason(api: TestClient, copies: list[Path]) -> None:
    found = api.get(f"{HERE}/duplicates/found").json()
    assert (found["total"], found["copies"], len(found["groups"])) == (3, 3, 3)
    assert found["freed"] == sum(path.stat().st_size for path in copies)
    for group in found["groups"]:
        best, other = group["images"]
        assert (best["relation"], other["relation"], group["kind"]) == ("best", "exact", "exact")
        assert group["reason"]
        assert os.path.basename(best["path"]).startswith("picture-0")
    page = api.get(f"{HERE}/duplicates/found?offset=1&limit=1").json()
    assert (page["total"], page["groups"]) == (3, found["groups"][1:2])
    text = api.get("/c/default/duplicates", headers=PAGE).text
    assert "<b>copy" not in text
    assert text.count("★ best:") == 3


def test_the_list_is_safe_in_a_shell(api: TestClient, copies: list[Path], tmp_path: Path) -> None:
    command = api.get(f"{HERE}/duplicates/list").text
    shown = command.replace("ls -ld --", "printf '%s\\0'", 1)
    done = subprocess.run(
        ["bash", "-c", shown], capture_output=True, check=True, cwd=tmp_path, timeout=30
    )
    assert {os.fsdecode(one) for one in done.stdout.split(b"\0") if one} == set(map(str, copies))
    assert not (tmp_path / "owned").exists()
    assert all(path.exists() for path in copies)


def test_what_is_not_true_any_more_is_left_out(api: TestClient, copies: list[Path]) -> None:
    groups = api.get(f"{HERE}/duplicates/found").json()["groups"]
    ids = [[one["id"] for one in group["images"]] for group in groups]
    api.post(f"{HERE}/duplicates/dismiss", json={"images": ids[0]})
    assert api.get(f"{HERE}/duplicates/found").json()["total"] == 2
    api.post(f"{HERE}/duplicates/dismiss", json={"images": ids[0], "undo": True})
    assert api.get(f"{HERE}/duplicates/found").json()["total"] == 3
    api.post(f"{HERE}/remove", json={"images": [ids[1][1]]})
    assert api.get(f"{HERE}/duplicates/found").json()["total"] == 2
    api.post(f"{HERE}/remove", json={"images": [ids[2][0]]})  # the best one
    left = api.get(f"{HERE}/duplicates/found").json()
    assert [[one["id"] for one in group["images"]] for group in left["groups"]] == [ids[0]]
    listed = api.get(f"{HERE}/duplicates/list").text
    assert listed.count("\\\n") == 1


@pytest.mark.slow
def test_the_page_finds_dismisses_and_lists(browser: Browser, index: Path, ready: Path) -> None:
    twin = ready / "drop" / "twin.png"
    shutil.copy(ready / "drop" / "picture-05.png", twin)
    try:
        with service(index) as (address, events, _):
            until(lambda: any(event.kind == "scanned" for event in events))
            visit = Visit(browser, address, viewport={"width": 1280, "height": 900})
            page = visit.page
            visit.go("duplicates")
            assert visit.accessible() == []
            with page.expect_navigation():
                page.click("text=Look for duplicates")
            assert page.locator(".group").count() == 1
            assert (page.locator(".best .kind").text_content() or "").startswith("★ best:")
            assert visit.accessible() == []
            page.keyboard.press("l")
            until(lambda: str(twin) in page.locator("#list textarea").input_value())
            assert visit.accessible() == []
            page.locator(".group a").first.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("d")
            page.wait_for_selector(".group", state="detached")
            found = f"{address}{HERE}/duplicates/found"
            assert httpx2.get(found).json()["total"] == 0
            page.locator("#status button").click()
            page.wait_for_selector(".group")
            assert httpx2.get(found).json()["total"] == 1
            assert page.locator("#groups").text_content() == "1"
            assert visit.faults == []
    finally:
        twin.unlink()
