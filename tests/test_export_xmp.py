"""XMP sidecars: keywords by the specification, and no file of others is ever touched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from imgclust.export.xmp import is_ours, sidecar
from tests.command_line import Run
from tests.conftest import write_picture

# As Adobe's XMP specification (ISO 16684-1) and Lightroom write them.
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
HIERARCHICAL = "{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject"


def keywords(content: bytes) -> dict[str, list[str | None]]:
    """What a reader finds in the one description, each property an unordered array."""
    top = ElementTree.fromstring(content)
    assert top.tag == "{adobe:ns:meta/}xmpmeta"
    (graph,) = top
    assert graph.tag == f"{RDF}RDF"
    (about,) = graph
    assert (about.tag, about.attrib) == (f"{RDF}Description", {f"{RDF}about": ""})
    found = {}
    for element in about:
        (bag,) = element
        assert bag.tag == f"{RDF}Bag"
        assert {item.tag for item in bag} == {f"{RDF}li"}
        found[element.tag] = [item.text for item in bag]
    return found


@pytest.mark.parametrize(
    ("name", "flat", "below"),
    [
        ("the sea", "the sea", "imgclust|the sea"),
        ("Été 海 😀", "Été 海 😀", "imgclust|Été 海 😀"),
        ("a < b & \"c\" 'd' ]]>", "a < b & \"c\" 'd' ]]>", "imgclust|a < b & \"c\" 'd' ]]>"),
        ("a|b", "a|b", "imgclust|a/b"),
        ("x\x07y\ud800z\uffff", "x\ufffdy\ufffdz\ufffd", "imgclust|x\ufffdy\ufffdz\ufffd"),
        ("-->", "-->", "imgclust|-->"),
    ],
)
def test_a_name_is_a_keyword(name: str, flat: str, below: str) -> None:
    content = sidecar(name)
    assert keywords(content) == {SUBJECT: [flat], HIERARCHICAL: [below]}
    assert is_ours(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b"\n",
        lambda content: content.replace(b"the sea", b"the lake"),
        lambda content: content.replace(b"</rdf:Bag>", b"<rdf:li>mine</rdf:li></rdf:Bag>", 1),
        lambda content: content[: content.index(b"<!--")],
        lambda content: re.sub(rb"[0-9a-f]{64}", b"0" * 64, content),
        lambda content: b"",
        lambda content: content[:-10],
    ],
)
def test_what_others_have_changed_is_not_ours(change: Any) -> None:
    assert not is_ours(change(sidecar("the sea")))


@pytest.fixture
def clustered(run: Run, tmp_path: Path) -> Path:
    """24 images in three clusters, the first called "the sea"; one has a name that is no UTF-8."""
    drop = tmp_path / "pictures" / "drop"
    for number in range(24):
        write_picture(drop / f"{number % 2}" / f"{number:02d}.png", number, hue=number % 3)
    assert run("watch", "--once", drop, "-q").code == 0
    assert run("cluster", "-k", "3", "-y", "-q").code == 0
    assert run("clusters", "name", "1", "the sea", "-q").code == 0
    return drop


def members(run: Run, cluster: str) -> list[str]:
    document = run("clusters", "show", cluster, "--json").document
    return sorted(row["path"] for row in document["images"])


def sidecars(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.xmp"))


def test_sidecars_in_a_folder(run: Run, clustered: Path, tmp_path: Path) -> None:
    out = tmp_path / "sidecars"
    said = run("export", "--format", "xmp", "--out", out)
    mine = members(run, "the sea")
    assert said.out.splitlines()[0] == f"{len(mine)} images as xmp"
    assert f"{24 - len(mine)} images without: their clusters have no name" in said.out
    wanted = [str(out / "drop" / Path(one).relative_to(clustered)) + ".xmp" for one in mine]
    assert [str(one) for one in sidecars(out)] == wanted
    assert {one.read_bytes() for one in sidecars(out)} == {sidecar("the sea")}
    assert not sidecars(clustered)
    # Again: nothing is written that is right already; others' files stay; a new name is written.
    first, second, *others = sidecars(out)
    first.write_text("mine")
    second.unlink()
    second.symlink_to(tmp_path / "nowhere")
    before = {one: one.stat().st_mtime_ns for one in others}
    said = run("export", "--format", "xmp", "--out", out)
    assert "2 sidecars not ours, or changed since: left alone" in said.out
    assert {one: one.stat().st_mtime_ns for one in others} == before
    assert run("clusters", "name", "1", "the lake", "-q").code == 0
    assert run("export", "--format", "xmp", "--out", out, "-q").code == 0
    assert {one.read_bytes() for one in others} == {sidecar("the lake")}
    assert first.read_text() == "mine"
    assert second.is_symlink()
    # Without a name ours go, and only ours.
    assert run("clusters", "name", "1", "", "-q").code == 0
    said = run("export", "--format", "xmp", "--out", out)
    assert f"{len(others)} sidecars of ours removed: no name any more" in said.out
    assert "2 sidecars not ours, or changed since: left alone" in said.out
    assert sidecars(out) == [first, second]


def test_beside_the_originals_only_when_asked_twice(
    run: Run, clustered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("export", "--format", "xmp", "--beside-originals")
    assert "pass -y" in run(*arguments, "--json").document["error"]["message"]
    assert not sidecars(clustered)
    mine = members(run, "the sea")
    foreign = Path(mine[0] + ".xmp")
    foreign.write_text("a photo manager's")
    before = {one: one.read_bytes() for one in clustered.rglob("*") if one.is_file()}
    assert run(*arguments, "-y", "--json").document["images"] == len(mine) - 1
    assert [str(one) for one in sidecars(clustered)] == [f"{one}.xmp" for one in mine]
    assert {one: one.read_bytes() for one in before} == before
    # They are no images, and change none.
    document = run("watch", "--once", "--json").document
    assert (document["unchanged"], document["skipped"]) == (24, len(mine))


def test_what_does_not_go_together(run: Run, clustered: Path, tmp_path: Path) -> None:
    export = ("export", "--format", "xmp")
    assert "name a place" in run(*export).refused(2)
    assert "lies among the images" in run(*export, "--out", clustered / "x").refused(2)
    assert "instead of --out" in run(
        *export, "--out", tmp_path / "x", "--beside-originals", "-y"
    ).refused(2)
    assert "goes with --format xmp" in run(
        "export", "--format", "csv", "--beside-originals", "-y"
    ).refused(2)
    assert "no embeddings" in run(*export, "--out", tmp_path / "x", "--embeddings").refused(2)
    assert "standard output" in run(*export, "--out", "-").refused(2)
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in run(*export, "--out", tmp_path / "file").refused(2)
    assert "does not exist" in run(*export, "--out", tmp_path / "no" / "x").refused(2)


def test_two_roots_of_one_name_are_two_folders(run: Run, clustered: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "drop"
    write_picture(other / "0" / "00.png", 100, hue=0)
    assert run("add", other, "-q").code == 0
    for row in run("clusters", "--json").document["clusters"]:
        assert run("clusters", "name", str(row["id"]), f"name {row['id']}", "-q").code == 0
    assert run("export", "--format", "xmp", "--out", tmp_path / "out", "-q").code == 0
    assert (tmp_path / "out" / "drop-2" / "0" / "00.png.xmp").is_file()
    assert len(sidecars(tmp_path / "out" / "drop")) == 24
