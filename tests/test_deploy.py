"""What scripts/deploy offers, held against the tools that would read it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imgclust.cli import main

CHECKOUT = Path(__file__).parents[1]
DEPLOY = CHECKOUT / "scripts" / "deploy"
UNITS = {"imgclust-watch@.service": "imgclust watch", "imgclust-serve@.service": "imgclust serve"}
every_unit = pytest.mark.parametrize("unit", UNITS)


def unit_complaints(unit: str, text: str, folder: Path) -> str:
    """What systemd says of a unit, for an instance of it whose program exists."""
    path = folder / unit.replace("@", "@default")
    path.write_text(text.replace("%h/.local/bin/imgclust", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", path],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@every_unit
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    text = (DEPLOY / unit).read_text("utf-8")
    assert unit_complaints(unit, text, tmp_path) == ""
    assert "Nicer" in unit_complaints(unit, text.replace("Nice=", "Nicer="), tmp_path)


@every_unit
def test_the_unit_calls_a_command_that_there_is(
    unit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (DEPLOY / unit).read_text("utf-8").splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert main([*start.replace("%i", "default").split()[1:], "--help"]) == 0
    assert UNITS[unit] in capsys.readouterr().out


def test_the_dockerfile_is_clean() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_what_docker_is_sent_makes_the_wheel(tmp_path: Path) -> None:
    kept = [
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    for name in kept:
        source = CHECKOUT / name
        if source.is_dir():
            leave = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / "source" / name, ignore=leave)
        else:
            (tmp_path / "source").mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / "source" / name)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", tmp_path / "wheels", tmp_path / "source"),
        ],
        check=True,
        capture_output=True,
    )
    assert len(list((tmp_path / "wheels").glob("imgclust-*.whl"))) == 1


def test_compose_watches_read_only_at_the_same_path(capsys: pytest.CaptureFixture[str]) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    assert set(services) == {"watch", "watch-gpu", "serve"}
    assert services["serve"]["read_only"] is True
    assert "/readyz" in services["serve"]["healthcheck"]["test"][-1]
    for service in services.values():
        assert "${IMAGES}:${IMAGES}:ro" in service["volumes"]
        assert (CHECKOUT / service["build"]["dockerfile"]).is_file()
        assert (DEPLOY / service["build"]["context"]).resolve() == CHECKOUT
        assert main([*service["command"], "--help"]) == 0
    assert services["watch-gpu"]["build"]["args"] == {"EXTRAS": "gpu,server"}
    capsys.readouterr()
