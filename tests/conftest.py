"""Collections for tests: real parts, but for the network, which a fast stand-in replaces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

from imgclust import config
from imgclust.collection import Collection
from imgclust.collection import embedder as embedder_module
from imgclust.collection.context import Context
from tests.fakes import FakeEmbedder

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from starlette.testclient import TestClient

    from tests.command_line import Run

# The same examples in every run: what passed here passes elsewhere. To look for new ones:
# pytest --hypothesis-seed=N with HYPOTHESIS_PROFILE=default, or scripts/torture.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
if "HYPOTHESIS_PROFILE" not in os.environ:
    hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="write golden files from what the tests find; read the diff before you commit it",
    )


DIMENSIONS = 2048  # of the trunk's recipe, which the stand-in takes the place of

Open = Callable[..., Collection]


def inside(collection: Collection) -> Context:
    """What the methods of a collection work with: its catalog, settings, links and clusterings."""
    return collection._context


def write_picture(path: Path, seed: int, *, hue: int | None = None) -> Path:
    """A small picture: smooth random blobs around a colour, different for every seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 90, (5, 5, 3))
    if hue is not None:
        coarse[..., hue % 3] += 160 - 20 * (hue // 3)
    picture = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((80, 60))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> FakeEmbedder:
    """The stand-in that every collection of the test uses; it counts its calls."""
    fake = FakeEmbedder(DIMENSIONS)
    monkeypatch.setattr(embedder_module, "open_embedder", lambda *_, **__: fake)
    return fake


@pytest.fixture
def open_collection(
    tmp_path: Path, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Opens collections in `tmp_path / "index"`; quick settings, all closed at the end."""
    monkeypatch.setenv("IMGCLUST_CACHE", str(tmp_path / "cache"))
    opened: list[Collection] = []

    def open_one(*, flags: dict[str, Any] | None = None, **options: Any) -> Collection:
        settings = {
            "embedding.weights": "trunk",
            "watch.settle_s": 0.02,
            "watch.young_s": 0.0,
            "clustering.pca_dims": 8,
            "decode.workers": 1,
            "links.pages": False,
        }
        options.setdefault("index", tmp_path / "index")
        options.setdefault("create_for", [os.fsencode(tmp_path / "drop")])
        one = Collection.open(effective=config.load(flags=settings | (flags or {})), **options)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A folder of 24 pictures in three plain groups."""
    folder = tmp_path / "drop"
    for number in range(24):
        write_picture(folder / f"picture-{number:02d}.png", number, hue=number % 3)
    return folder


# The command line


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, with a stand-in for the network."""
    from tests.command_line import runner

    return runner(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="module")
def started_browser() -> Iterator[Browser]:
    """A browser for all tests of a module: it takes seconds to start."""
    from tests.browsing import started

    yield from started()


@pytest.fixture
def browser(started_browser: Browser) -> Iterator[Browser]:
    """The browser; a test fails for an error in the console of any of its pages."""
    from tests.browsing import Visit

    Visit.every.clear()
    yield started_browser
    assert [fault for visit in Visit.every for fault in visit.faults] == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop` and its ingested `index`."""
    from tests.command_line import make

    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As `made`, shared by all modules whose tests change no file in it."""
    from tests.command_line import make

    top = make(tmp_path_factory.mktemp("once"))
    before = files_in(top / "drop")
    yield top
    assert files_in(top / "drop") == before, "a test changed the pictures that others share"


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of a folder."""
    found = {entry.name: entry.stat() for entry in os.scandir(folder)}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.fixture
def ready(made: Path, run: Run, tmp_path: Path) -> Path:
    """A copy of the ingested index of `made`, in the index folder of `run`."""
    shutil.copytree(made / "index", tmp_path / "index", symlinks=True)
    assert run("links").code == 0  # relative links do not survive the copying
    return made


@pytest.fixture
def index(ready: Path, tmp_path: Path) -> Path:
    """An index folder with the ingested collection `default`."""
    return tmp_path / "index"


@pytest.fixture
def api(index: Path) -> Iterator[TestClient]:
    """A client of a service of this index folder, without a watcher."""
    from tests.served import client

    with client(index) as served:
        yield served
