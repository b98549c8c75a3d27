"""Pages and representatives: what both the report and the pages of the link folder build on."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imgclust.clusters.model import all_representatives, representatives_of
from imgclust.collection import Collection
from imgclust.errors import StoppedError
from imgclust.progress import StopFlag
from imgclust.report import html
from tests.conftest import Open, inside
from tests.fakes import FakeEmbedder


class Seen(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all tags of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a & b", "'x'"]
)
def test_text_stays_text(nasty: str) -> None:
    source = "".join(html.page(nasty, [html.card("a.webp", nasty, title=nasty, href=nasty)]))
    seen = Seen(source)
    assert seen.text.count(nasty) == 2
    assert [tag for tag, _ in seen.tags if tag in {"script", "img"}] == ["img"]
    assert seen.of("img") == [{"src": "a.webp", "alt": nasty}]
    assert seen.of("figure") == [{"title": nasty}]
    assert seen.of("a") == [{"href": nasty}]


def test_what_is_no_text_is_shown_as_such() -> None:
    assert html.shown(b"caf\xe9.png") == "caf\ufffd.png"
    assert html.shown("caf\udce9.png") == "caf\ufffd.png"
    assert html.shown("a\nb\x00c\u202egpj.exe") == "a\ufffdb\ufffdc\ufffdgpj.exe"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u00fcber \u65e5\u672c"
    assert html.shown(family) == family


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"RIFF1234WEBP", "image/webp"),
        (b"<?xml version", "image/svg+xml"),
    ],
)
def test_a_picture_is_the_address_of_itself(start: bytes, kind: str) -> None:
    head, _, body = html.data_uri(start + b"rest").partition(",")
    assert head == f"data:{kind};base64"
    assert base64.b64decode(body) == start + b"rest"


def test_only_a_self_contained_page_forbids_other_files() -> None:
    assert "Content-Security-Policy" not in "".join(html.page("a", []))
    assert "default-src 'none'" in "".join(html.page("a", [], self_contained=True))


# Representatives


@pytest.fixture
def collection(open_collection: Open, drop: Path) -> Collection:
    """24 pictures in three clusters."""
    one = open_collection()
    one.watch([drop], once=True)
    one.cluster(k=3)
    return one


def chosen(collection: Collection, cluster: int) -> list[int]:
    current = inside(collection).current()
    return representatives_of(inside(collection).catalog, current.id, cluster, current.recipe)


def test_representatives_are_chosen_once(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = inside(collection).current()
    members: dict[int, set[int]] = {}
    contents, clusters, _ = inside(collection).catalog.assignments.of(current.id)
    for content, cluster in zip(contents.tolist(), clusters.tolist(), strict=True):
        members.setdefault(cluster, set()).add(content)
    first = {cluster: chosen(collection, cluster) for cluster in current.cluster_ids}
    for cluster, found in first.items():
        assert len(found) == len(set(found)) == min(9, len(members[cluster]))
        assert set(found) <= members[cluster]
    described = {one.cluster: one.medoid for one in current.described}
    assert {cluster: found[0] for cluster, found in first.items()} == described
    monkeypatch.setattr("imgclust.clusters.model.representatives", None)
    assert {cluster: chosen(collection, cluster) for cluster in current.cluster_ids} == first
    assert first == all_representatives(
        inside(collection).catalog, current.id, current.cluster_ids, current.recipe
    )


def test_what_has_left_is_not_shown(collection: Collection) -> None:
    cluster = inside(collection).current().cluster_ids[0]
    first = chosen(collection, cluster)
    for content in first[:2]:
        collection.remove(str(inside(collection).catalog.images.with_content(content)[0].id))
    assert chosen(collection, cluster) == first[2:]
    for content in first[2:]:
        collection.remove(str(inside(collection).catalog.images.with_content(content)[0].id))
    assert chosen(collection, cluster) == []


def test_representatives_leave_with_their_clustering(
    collection: Collection, embedder: FakeEmbedder
) -> None:
    current = inside(collection).current()
    chosen(collection, current.cluster_ids[0])
    catalog = inside(collection).catalog
    execute = catalog._connection.execute
    assert execute("SELECT count(*) FROM representatives").get > 0
    with catalog.transaction():
        execute("DELETE FROM clusterings WHERE id = ?", (current.id,))
        catalog.assignments.keep_representatives(current.id, {1: [2]})  # deleted meanwhile
    assert execute("SELECT count(*) FROM representatives").get == 0


def test_a_stop_is_obeyed(collection: Collection) -> None:
    stop = StopFlag()
    stop.set()
    current = inside(collection).current()
    with pytest.raises(StoppedError):
        all_representatives(
            inside(collection).catalog, current.id, current.cluster_ids, current.recipe, stop=stop
        )
