"""The pages: escaped by themselves, and used in a browser, where there is one."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from imgclust.catalog.catalog import Catalog
from imgclust.errors import CatalogError, LockedError
from imgclust.server.security import Access
from tests.browsing import Visit
from tests.command_line import Run
from tests.conftest import write_picture
from tests.served import HERE, client, finished, service, until

STATIC = Path(__file__).parents[1] / "imgclust" / "server" / "static"
PAGE = {"accept": "text/html"}
EVIL = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


def test_every_page_is_html_of_our_own(api: TestClient) -> None:
    start = api.get("/", headers=PAGE, follow_redirects=False)
    assert (start.status_code, start.headers["location"]) == (303, "/c/default/")
    for path in (
        "",
        "clusters/1",
        "clusters/1?order=newest&since=2001&until=",
        "images/3",
        *("search", "review", "k", "duplicates", "map", "activity", "settings"),
    ):
        answer = api.get(f"/c/default/{path}", headers=PAGE)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        for inline in ("<style", "style=", "<script>", "onclick", "javascript:"):
            assert inline not in answer.text, (path, inline)
    for name, kind in (("gallery.js", "text/javascript"), ("gallery.css", "text/css")):
        assert api.get(f"/static/{name}").headers["content-type"].startswith(kind)
    for name in ("../site.py", "..%2fsite.py", "nothing.js", "gallery.js/x"):
        assert api.get(f"/static/{name}").status_code == 404


def test_failures_of_pages_are_pages(api: TestClient) -> None:
    for path, status, said in (
        ("/c/nowhere/", 404, "nowhere"),
        ("/c/default/clusters/999", 404, "999"),
        ("/c/default/clusters/<script>", 404, "&lt;script&gt;"),
        ("/c/default/clusters/%00%ff", 404, "cluster"),
        ("/c/default/images/999", 404, "999"),
        ("/c/default/images/cat", 422, "image: "),
        ("/c/default/clusters/1?order=size", 422, "order: "),
        ("/c/default/duplicates?offset=-1", 422, "offset: "),
        ("/c/default/clusters/1?since=May", 400, "May"),
        ("/static/nothing.js", 404, "nothing.js"),
        ("/c/default/clusters/0999", 404, "there is no cluster 999"),
        ("/nowhere", 404, "there is nothing at this address"),
    ):
        answer = api.get(path, headers=PAGE)
        shown = "<h1>" in answer.text and 'href="/"' in answer.text and said in answer.text
        assert (answer.status_code, shown) == (status, True), (path, answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "<script>" not in answer.text.split("</head>")[1]
        assert "error" in api.get(path).json(), path
    assert api.get("/c/default/clusters/999").json()["error"]["code"] == "nothing"
    assert api.get("/c/default/clusters/01", headers=PAGE).status_code == 200
    assert api.get(f"{HERE}/clusters/999", headers=PAGE).json()["error"]["code"] == "nothing"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (LockedError("the catalog is locked by another process"), 409, "another process"),
        (CatalogError("the catalog is damaged"), 500, "damaged"),
        (OSError(28, "No space left on device"), 507, "space"),
        (KeyError("secret"), 500, "internal error: KeyError"),
    ],
)
def test_faults_of_pages_are_pages(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("imgclust.server.site.Site.open", fails)
    for path in ("", "clusters/1", "map", "activity"):
        answer = api.get(f"/c/default/{path}", headers=PAGE)
        assert (answer.status_code, "<h1>" in answer.text) == (status, True), path
        assert said in answer.text
        assert "secret" not in answer.text
    assert said in api.get(f"{HERE}/clusters", headers=PAGE).json()["error"]["message"]


def test_refusals_of_pages_are_pages(api: TestClient, index: Path) -> None:
    other = api.get("/c/default/", headers={**PAGE, "host": "evil.example"})
    assert (other.status_code, "host name is not known" in other.text) == (403, True)
    assert other.headers["content-type"].startswith("text/html")
    with client(index, access=Access("0.0.0.0", 8765, "t" * 20)) as private:
        answer = private.get("/c/default/", headers=PAGE)
        assert (answer.status_code, "<h1>" in answer.text) == (401, True)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert private.get(f"{HERE}/status", headers=PAGE).json()["error"]["code"] == "token"


def test_names_are_escaped(api: TestClient, tmp_path: Path) -> None:
    odd = write_picture(tmp_path / "odd" / "plain.png", 90, hue=1)
    odd = odd.rename(odd.with_name(f"{EVIL.replace('/', '')}.png"))
    raw = write_picture(tmp_path / "odd" / "raw.png", 91, hue=1)
    os.rename(raw, os.fsencode(raw.parent) + b"/bad\xff\n.png")
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(odd.parent)]}))
    assert api.post(f"{HERE}/clusters/1/name", json={"name": EVIL}).status_code == 200
    found = api.get(f"{HERE}/query?image=1&n=100").json()["neighbours"]
    (image,) = [row["id"] for row in found if row["path"] == str(odd)]
    cluster = api.get(f"{HERE}/images/{image}").json()["cluster"]
    for path in ("", f"clusters/{cluster}", "clusters/1", f"images/{image}"):
        text = api.get(f"/c/default/{path}", headers=PAGE).text
        assert "<img src=x" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text, path
        assert "{{7*7}}" in text


def test_the_wall_waits_for_few_clusters(
    ready: Path, index: Path, api: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where representatives are still to be chosen, a page chooses some, and shows near images."""
    monkeypatch.setattr("imgclust.collection.service._CHOSEN", 1)
    assert run("cluster", "-k", "5", "-y").code == 0
    with Catalog(index / "default" / "catalog.sqlite3") as catalog, catalog.transaction():
        catalog._connection.execute("DELETE FROM representatives")
    kept = []
    for _ in range(6):
        text = api.get("/c/default/", headers=PAGE).text
        for row in api.get(f"{HERE}/clusters").json()["clusters"]:
            card = text.split(f'data-cluster="{row["id"]}"')[1].split("</li>")[0]
            shown = [int(one) for one in re.findall(r"/images/(\d+)/thumbnail", card)]
            assert len(set(shown)) == min(4, row["size"])
            ids = {
                one["id"] for one in api.get(f"{HERE}/clusters/{row['id']}/images").json()["images"]
            }
            assert ids.issuperset(shown)
        with Catalog(index / "default" / "catalog.sqlite3") as catalog:
            counted = "SELECT count(DISTINCT cluster) FROM representatives"
            kept.append(catalog._connection.execute(counted).get)
    assert kept == [1, 2, 3, 4, 5, 5]


def test_small_clusters_show_the_same_pictures_from_the_first_page_on(
    ready: Path, index: Path, api: TestClient, run: Run
) -> None:
    assert run("cluster", "-k", "6", "-y").code == 0
    with Catalog(index / "default" / "catalog.sqlite3") as catalog, catalog.transaction():
        catalog._connection.execute("DELETE FROM representatives")
    first, second = (
        re.findall(r"/images/(\d+)/thumbnail", api.get("/c/default/", headers=PAGE).text)
        for _ in range(2)
    )
    assert len(first) > 6
    assert first == second


@pytest.mark.parametrize(
    ("images", "pending", "words"),
    [
        (19, 0, "They are made when 20 images are in;"),
        (20, 5, "They are made as soon as all files are read"),
        (20, 0, "They are about to be made;"),
    ],
)
def test_the_first_page_says_when_clusters_are_made(
    images: int, pending: int, words: str, monkeypatch: pytest.MonkeyPatch, api: TestClient
) -> None:
    shown = SimpleNamespace(images=images, pending=pending)
    monkeypatch.setattr("imgclust.collection.Collection.standing", lambda _: shown)
    monkeypatch.setattr("imgclust.collection.service.Service.wall", lambda _: ())
    text = api.get("/c/default/", headers=PAGE).text
    assert f"{images} images in 0 clusters" in text
    assert f"No clusters yet. {words}" in text


def test_a_folder_that_is_away_makes_no_long_page(
    ready: Path, api: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgclust.server.page_routes._ROWS", 10)
    drop = ready / "drop"
    away = drop.rename(ready / "away")
    try:
        run("watch", "--once")
        text = api.get("/c/default/activity", headers=PAGE).text
    finally:
        away.rename(drop)
    missing = text.split('id="missing"')[1].split("</section>")[0]
    assert missing.count("<li>") == 10
    assert "The first 10 of 24 are shown." in missing
    assert 'data-count="24"' in missing


def test_what_is_new_is_counted(api: TestClient, run: Run, tmp_path: Path) -> None:
    news = api.get(f"{HERE}/news").json()
    assert sum(row["images"] for row in news["clusters"]) == 24
    assert run("add", write_picture(tmp_path / "more" / "later.png", 99, hue=1)).code == 0
    later = api.get(f"{HERE}/news", params={"after": news["last"]}).json()
    cluster = api.get(f"{HERE}/images/{later['last']}").json()["cluster"]
    assert later["clusters"] == [{"cluster": cluster, "images": 1}]


def test_the_script_stays_small_and_asks_nobody_else() -> None:
    scripts = {path.name: path.read_text("utf-8") for path in STATIC.glob("*.js")}
    assert sum(len(script.splitlines()) for script in scripts.values()) <= 1500
    for name, script in scripts.items():
        for word in ("http:", "https:", "innerHTML", "eval(", "document.write", "import("):
            assert word not in script, (name, word)
        sources = re.findall(r"^import .* from (.*);$", script, re.MULTILINE)
        assert sources == ([] if name == "gallery.js" else ['"./gallery.js"']), name
        assert script.count("import") == len(sources), name


def test_pages_of_a_collection_without_images(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("watch", "--once", tmp_path / "empty").code in {0, 3}
    with client(tmp_path / "index") as made:
        for path in ("", "search", "review", "k", "duplicates", "map", "activity", "settings"):
            answer = made.get(f"/c/default/{path}", headers=PAGE)
            assert (answer.status_code, "<h1>" in answer.text) == (200, True), path
        for path in ("sweep", "sweep/3", "duplicates/found", "map", "map/points", "review"):
            assert made.get(f"{HERE}/{path}").status_code == 404, path
        assert made.get(f"{HERE}/activity").json()["pending"] == 0


# In a browser


@pytest.fixture
def address(index: Path) -> Iterator[str]:
    with service(index) as (found, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        yield found


PAGES = (
    *("", "clusters/1", "images/3", "search", "review", "k", "duplicates", "map"),
    *("activity", "settings"),
)
SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) sum += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 100);
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_pages_show_without_a_fault(
    browser: Browser, address: str, scheme: Any, width: int
) -> None:
    size = {"width": width, "height": 800}
    visit = Visit(browser, address, color_scheme=scheme, viewport=size)
    for path in PAGES:
        visit.go(path)
        shown = (
            "[...document.images].slice(0, 4).every(one => one.complete && "
            "(one.naturalWidth || !one.getAttribute('src')))"
        )
        until(functools.partial(visit.page.evaluate, shown))
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert visit.faults == []


def ended(place: str) -> bool:
    return bool(httpx2.get(place).json()["state"] == "done")


@pytest.mark.slow
def test_every_page_is_accessible_and_stays_in_place(
    browser: Browser, address: str, ready: Path
) -> None:
    """In both colours and widths, with something to show, and with its list of keys."""
    for command, body in (("view", {"dims": 2}), ("duplicates", {}), ("sweep", {"k_max": 5})):
        job = httpx2.post(f"{address}{HERE}/{command}", json=body)
        place = address + job.headers["location"]
        until(functools.partial(ended, place))
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 380), ("dark", 380)):
        size = {"width": width, "height": 900}
        visit = Visit(browser, address, color_scheme=scheme, viewport=size)
        for path in PAGES:
            visit.go(path)
            visit.page.wait_for_timeout(500)
            assert visit.accessible() == [], (path, scheme, width)
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert visit.page.evaluate(SHIFTS) < 0.05, (path, scheme, width)
            visit.page.keyboard.press("?")
            assert visit.accessible() == [], (path, scheme, width, "keys")
            visit.page.keyboard.press("Escape")
        assert visit.faults == []
        visit.context.close()


def test_an_arrival_appears_on_an_open_page(browser: Browser, address: str, ready: Path) -> None:
    visit = Visit(browser, address)
    wall = visit.open()
    visit.go("clusters/1")
    wall.goto(f"{address}/c/default/")
    wall.wait_for_timeout(500)
    hue = (
        int(
            os.path.basename(
                httpx2.get(f"{address}{HERE}/clusters/1/images?limit=1").json()["images"][0]["path"]
            )[8:10]
        )
        % 3
    )
    arrival = write_picture(ready / "drop" / "arrival.png", 300, hue=hue)
    try:
        visit.page.wait_for_selector("li.arrived img[alt='arrival.png']", timeout=30_000)
        wall.wait_for_selector(".new:text('1 new')", timeout=30_000)  # by the other tab's stream
    finally:
        arrival.unlink()
    assert visit.faults == []


def test_a_picture_is_dragged_to_another_cluster(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport={"width": 1200, "height": 900})
    visit.go("clusters/1")
    item = visit.page.locator("#grid li").first
    image = int(item.get_attribute("data-image") or 0)
    target = visit.page.locator("#targets li").first
    cluster = int(target.get_attribute("data-target") or 0)
    # A drop counts only where the page has answered that it may be dropped there.
    item.locator("img").hover()
    visit.page.mouse.down()
    target.hover()
    visit.page.wait_for_selector("body.dragging")
    target.hover(position={"x": 5, "y": 5})
    visit.page.wait_for_selector("#targets li.over")
    visit.page.mouse.up()
    until(lambda: httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"] == cluster)
    visit.page.wait_for_selector(f"#grid li[data-image='{image}']", state="detached")
    job = httpx2.post(f"{address}{HERE}/cluster", json={"k": 5})
    place = address + job.headers["location"]
    until(lambda: httpx2.get(place).json()["state"] != "running")
    assert httpx2.get(place).json()["state"] == "done", httpx2.get(place).text
    listed = httpx2.get(f"{address}{HERE}/corrections").json()["corrections"]
    assert [(row["image"], row["kind"]) for row in listed] == [(image, "in")]
    assert httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"] == cluster
    assert visit.faults == []


def test_everything_by_keys(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport={"width": 1200, "height": 900})
    visit.go("")
    keys = visit.page.keyboard
    keys.press("ArrowRight")
    keys.press("Enter")
    visit.page.wait_for_url("**/clusters/*")
    cluster = visit.page.locator("#grid").get_attribute("data-cluster")
    keys.press("ArrowRight")
    keys.press("x")
    keys.press("ArrowRight")
    keys.press("Shift+X")
    assert visit.page.locator("#count").text_content() == "2 selected"
    images = [
        int(one.get_attribute("data-image") or 0)
        for one in visit.page.locator("#grid li.selected").all()
    ]
    keys.press("n")
    keys.type("by keys")
    keys.press("Enter")
    until(
        lambda: all(
            httpx2.get(f"{address}{HERE}/images/{image}").json()["name"] == "by keys"
            for image in images
        )
    )
    visit.page.wait_for_selector("#ask", state="hidden")
    keys.press("r")
    keys.type("renamed")
    keys.press("Enter")
    until(lambda: visit.page.locator("#title").text_content() == "renamed")
    assert httpx2.get(f"{address}{HERE}/clusters/renamed").json()["id"] == int(cluster or 0)
    keys.press("?")
    assert visit.page.locator("#keys").is_visible()
    keys.press("Escape")
    keys.press("/")
    visit.page.wait_for_url("**/search")
    assert visit.faults == []


def test_one_image_is_corrected_on_its_page(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport={"width": 1200, "height": 900})
    image = httpx2.get(f"{address}{HERE}/clusters/1/images").json()["images"][2]["id"]
    visit.go(f"images/{image}")
    assert "most similar images" in visit.page.locator(".facts").inner_text()
    keys = visit.page.keyboard
    keys.press("m")
    visit.page.locator("#ask-which input[type=radio]").first.check()
    visit.page.get_by_role("button", name="OK").click()
    visit.page.wait_for_selector("text=A person put it into")
    cluster = httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"]
    assert cluster != 1
    assert visit.page.locator("#cluster").get_attribute("data-cluster") == str(cluster)
    visit.page.wait_for_load_state("load")
    visit.page.get_by_role("button", name="Take that back").click()
    visit.page.wait_for_selector("text=A person put it into", state="detached")
    assert httpx2.get(f"{address}{HERE}/corrections").json()["corrections"] == []
    visit.page.wait_for_load_state("load")
    before = httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"]
    keys.press("e")
    visit.page.wait_for_selector("text=A person took it out of")
    assert httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"] != before
    assert visit.faults == []


def test_more_like_several_and_back(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport={"width": 1200, "height": 900})
    visit.go("clusters/1")
    boxes = visit.page.locator("#grid input[type=checkbox]")
    for place in (0, 2, 3):
        boxes.nth(place).check()
    chosen = [
        int(one.get_attribute("data-image") or 0)
        for one in visit.page.locator("#grid li.selected").all()
    ]
    visit.page.get_by_role("button", name="More like these").click()
    visit.page.wait_for_url("**/search?*")
    shown = [
        int(one.get_attribute("data-image") or 0) for one in visit.page.locator("#grid li").all()
    ]
    asked = "&".join(f"image={one}" for one in chosen)
    found = httpx2.get(f"{address}{HERE}/query?{asked}&n=40").json()["neighbours"]
    assert shown == [row["id"] for row in found]
    visit.page.go_back()
    until(lambda: visit.page.locator("#grid li.selected").count() == 3)
    assert visit.page.locator("#count").text_content() == "3 selected"
    with visit.page.expect_download() as got:
        visit.page.get_by_role("link", name="Export list (CSV)").click()
    rows = Path(got.value.path()).read_text("utf-8").splitlines()
    assert len(rows) == 1 + httpx2.get(f"{address}{HERE}/clusters/1").json()["size"]
    visit.page.keyboard.press("j")
    visit.page.wait_for_url(lambda url: "clusters/" in url and not url.endswith("/1"))
    visit.page.keyboard.press("k")
    visit.page.wait_for_url("**/clusters/1")
    assert visit.faults == []


def test_a_picture_is_searched_by(browser: Browser, address: str, tmp_path: Path) -> None:
    asked = write_picture(tmp_path / "asked.png", 5, hue=2)
    visit = Visit(browser, address)
    visit.go("search")
    visit.page.set_input_files("#file", asked)
    visit.page.wait_for_selector("#grid li img")
    shown = [one.get_attribute("data-image") for one in visit.page.locator("#grid li").all()]
    found = httpx2.post(f"{address}{HERE}/query?n=40", content=asked.read_bytes()).json()
    assert shown == [str(row["id"]) for row in found["neighbours"]]
    assert visit.faults == []


def test_several_pictures_are_searched_by_together(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    asked = [write_picture(tmp_path / f"{one} 'odd' <b>.png", one, hue=one) for one in (2, 5)]
    visit = Visit(browser, address)
    visit.go("search")
    visit.page.set_input_files("#file", asked)
    visit.page.wait_for_selector("#grid li img")
    shown = [one.get_attribute("data-image") for one in visit.page.locator("#grid li").all()]
    bodies = [path.read_bytes() for path in asked]
    sizes = ",".join(str(len(one)) for one in bodies)
    found = httpx2.post(f"{address}{HERE}/query?n=40&sizes={sizes}", content=b"".join(bodies))
    assert shown == [str(row["id"]) for row in found.json()["neighbours"]]
    assert visit.page.locator("#together img").count() == 2
    assert not visit.page.locator("#asked").is_visible()
    visit.page.set_input_files("#file", asked[:1])  # a single one takes their place
    until(lambda: visit.page.locator("#asked").is_visible())
    assert not visit.page.locator("#together").is_visible()
    assert visit.faults == []


def test_a_part_of_a_picture_is_searched_by(browser: Browser, address: str, tmp_path: Path) -> None:
    asked = write_picture(tmp_path / "asked.png", 5, hue=2)
    visit = Visit(browser, address)
    page = visit.page
    visit.go("search")
    page.set_input_files("#file", asked)
    page.wait_for_selector("#grid li img")
    box = page.locator("#shown").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + box["height"])
    drawn = page.locator("#region").bounding_box()
    assert drawn is not None
    assert drawn["width"] == pytest.approx(box["width"] / 2, abs=4)
    with page.expect_response(lambda answer: "region=" in answer.url) as got:
        page.mouse.up()
    region = re.search(r"region=([\d.%C]+)", got.value.url)
    assert region is not None
    parts = [float(one) for one in region[1].split("%2C")]
    assert parts == pytest.approx([0.25, 0.25, 0.5, 0.75], abs=0.03)
    assert got.value.status == 200
    found = [str(row["id"]) for row in got.value.json()["neighbours"]]
    shown = "[...document.querySelectorAll('#grid li')].map(one => one.dataset.image)"
    until(lambda: page.evaluate(shown) == found)


# Names of a custom element that are names of every element too, which they would hide.
SHADOWS = """() => [...document.querySelectorAll("*")].filter((one) => one.localName.includes("-"))
  .flatMap((one) => [...Object.getOwnPropertyNames(one),
                     ...Object.getOwnPropertyNames(Object.getPrototypeOf(one))]
    .filter((name) => name !== "constructor" && name in HTMLElement.prototype)
    .map((name) => `${one.localName}.${name}`))"""


def test_elements_of_our_own_hide_nothing(browser: Browser, address: str) -> None:
    scripts = "".join(path.read_text("utf-8") for path in STATIC.glob("*.js"))
    kinds = re.findall(r'customElements.define\("([a-z-]+)"', scripts)
    for command, body in (("view", {"dims": 2}), ("sweep", {"k_max": 5})):
        job = httpx2.post(f"{address}{HERE}/{command}", json=body)
        until(functools.partial(ended, address + job.headers["location"]))
    visit = Visit(browser, address)
    seen = set()
    for path in ("search", "review", "k", "map"):
        visit.go(path)
        defined = "[...document.querySelectorAll(':defined')].map(one => one.localName)"
        seen |= {name for name in visit.page.evaluate(defined) if "-" in name}
        assert visit.page.evaluate(SHADOWS) == [], path
    assert seen == set(kinds)
    # Fields that are made later are found in the text.
    fields = set(re.findall(r"this\.(\w+) (?:\?\?)?= ", scripts))
    hidden = f"{sorted(fields)}.filter((name) => name in HTMLElement.prototype)"
    assert visit.page.evaluate(hidden) == []


def test_six_tabs_stay_alive_and_the_service_ends(browser: Browser, index: Path) -> None:
    """A browser opens six connections to one place: tabs must not take them all."""
    with service(index) as (address, _, stop):
        visit = Visit(browser, address)
        pages = [visit.page, *(visit.open() for _ in range(6))]
        for page in pages:
            page.goto(f"{address}/c/default/")
        pages[-1].wait_for_timeout(500)
        assert "imgclust_streams 1.0" in httpx2.get(f"{address}/metrics").text
        stop.set()
    visit.context.close()
    visit.faults.clear()  # requests that nobody answers any more
