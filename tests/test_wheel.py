"""The built wheel, installed outside of the checkout, does the main job."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PHOTOS = sorted((ROOT / "scripts" / "samples" / "photos").glob("*.jpg"))[::40]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel, in a folder of its own."""

    folder: Path
    wheel: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("IMGCLUST")}
        # No network in tests: the trunk comes with the wheel.
        kept |= {"HOME": str(self.folder), "IMGCLUST_EMBEDDING_WEIGHTS": "trunk"}
        kept.pop("PYTHONPATH", None)
        return subprocess.run(
            [self.folder / "venv" / "bin" / program, *arguments],
            cwd=self.folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def python(self, code: str) -> str:
        ended = self.run("python", "-c", code)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def imgclust(self, *arguments: str) -> dict[str, Any]:
        ended = self.run("imgclust", "--index", str(self.folder / "index"), "--json", *arguments)
        assert ended.returncode == 0, ended.stderr
        document: dict[str, Any] = json.loads(ended.stdout)
        return document


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel and install it into an empty environment.

    Its dependencies (2 GB) are not installed again: a .pth line appends the site-packages of this
    environment to the path. Python does not read the .pth files of a folder that is added so,
    and that is how an editable installation makes the checkout importable; a test below makes
    sure that it is not.
    """
    folder = tmp_path_factory.mktemp("outside")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("imgclust-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([python, "-m", "pip", "install", *offline, wheel], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    photos = folder / "photos"
    photos.mkdir()
    for photo in PHOTOS:
        shutil.copy(photo, photos)
    return Installed(folder, wheel)


def test_the_wheel_holds_configurations_weights_and_licences(installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    assert {
        "imgclust/configs/classic.toml",
        "imgclust/configs/default.toml",
        "imgclust/trunk/trunk.npz",
        "imgclust/trunk/LICENSE",
        "imgclust/py.typed",
    } <= names
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"imgclust"}
    assert sum(name.endswith("LICENSE") and ".dist-info/" in name for name in names) == 2


def test_the_checkout_is_not_importable_there(installed: Installed) -> None:
    code = "import sys, imgclust; print(imgclust.__file__, *sys.path, sep='\\n')"
    where, *path = installed.python(code).splitlines()
    assert Path(where).is_relative_to(installed.folder)
    assert str(ROOT) not in path


def test_configurations_are_found_by_name(installed: Installed) -> None:
    found = installed.python("from imgclust.config import find_file; print(find_file('classic'))")
    assert Path(found).is_relative_to(installed.folder / "venv")
    unknown = installed.run("imgclust", "--config", "clasic", "status")
    assert unknown.returncode == 2
    assert "there are classic, default" in unknown.stderr


def test_watch_query_cluster(installed: Installed) -> None:
    photos = installed.folder / "photos"
    seen = installed.imgclust("watch", str(photos), "--once")
    assert (seen["ingested"], seen["quarantined"]) == (len(PHOTOS), 0)

    first = photos / PHOTOS[0].name
    best = installed.imgclust("query", str(first), "-n", "3", "--include-self")["neighbours"][0]
    assert best["path"] == str(first)
    assert best["score"] == pytest.approx(1.0, abs=1e-3)

    made = installed.imgclust("cluster", "-k", "2", "--yes")
    assert (made["k"], made["chosen_by"]) == (2, "user")
    assert sum(made["sizes"].values()) == len(PHOTOS)

    links = Path(installed.imgclust("status")["links"]["path"])
    targets = {entry.resolve() for entry in links.glob("[0-9]*/*")}
    assert targets == set(photos.iterdir())
