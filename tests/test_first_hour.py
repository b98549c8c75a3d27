"""What a new user is told: which weights, how many clusters, where to look, what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgclust.collection import Collection
from imgclust.collection.context import MANY_IMAGES
from imgclust.weights import resolver
from imgclust.weights.resolver import DownloadError
from tests.command_line import Run, runner
from tests.conftest import inside, write_picture


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for number in range(4):
        write_picture(tmp_path / "drop" / f"picture-{number}.png", number)
    return runner(tmp_path, capsys, monkeypatch)


def test_the_end_of_an_ingest_says_how_many_clusters_and_where_to_look(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_LINKS_PAGES", "true")
    said = run("watch", "--once", tmp_path / "drop").out.splitlines()
    page = tmp_path / "index" / "default" / "links" / "index.html"
    assert said[-3].endswith("imgclust clusters lists them")
    assert said[-3].split()[0].isdigit()
    assert said[-1] == f"look at them in a browser: {page}"
    assert page.is_file()
    without = run("watch", "--once", "--collection", "plain", "--no-cluster", tmp_path / "drop")
    assert "clusters lists them" not in without.out
    assert "in a browser" not in without.out


def test_words_that_users_do_not_know_are_explained(run: Run, tmp_path: Path) -> None:
    assert run("watch", "--once", "-q", tmp_path / "drop").code == 0
    assert "built-in weights (trunk)" in run("status").out
    assert "medoid: the most central image" in run("clusters").out
    assert "(medoid)" in run("clusters", "show", "1").out


def test_the_next_command_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "drop" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    assert run("watch", "--once", "-q", tmp_path / "drop").code == 0
    assert "imgclust quarantine retry" in run("quarantine").out
    (tmp_path / "drop" / "picture-1.png").unlink()
    assert run("watch", "--once", "-q").code == 0
    assert "imgclust missing accept" in run("missing").out
    assert "accept" not in run("missing", "--json").out


@pytest.mark.parametrize(("many", "told"), [(4, False), (3, True)])
def test_many_images_without_a_network(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, told: bool
) -> None:
    """Where nobody can be asked the work is done, and what that means is said before it."""

    def fail(*_: object, **__: object) -> None:
        raise DownloadError("no network")

    monkeypatch.setattr(resolver, "download", fail)
    for module in ("context", "ingest"):
        monkeypatch.setattr(f"imgclust.collection.{module}.MANY_IMAGES", many)
    monkeypatch.setenv("IMGCLUST_EMBEDDING_WEIGHTS", "auto")
    said = run("watch", "--once", tmp_path / "drop")
    assert said.code == 0
    assert ("less well" in said.err) == told
    assert "imgclust reembed --weights imagenet" in said.err
    assert "built-in weights (trunk)" in run("status").out


def test_a_person_is_asked(tmp_path: Path, run: Run) -> None:
    assert run("watch", "--once", "-q", tmp_path / "drop").code == 0
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return False

    with Collection.open(tmp_path / "index", ask=ask) as collection:
        context = inside(collection)
        assert context.accept_trunk("no network", MANY_IMAGES)
        assert not context.accept_trunk("no network", MANY_IMAGES + 1)
    assert "imgclust reembed --weights imagenet" in questions[0]
