"""The link folder in a real file manager, where one is installed; scripts/file_manager runs it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def _missing() -> list[str]:
    spec = importlib.util.spec_from_file_location("virtual_screen", SCRIPTS / "virtual_screen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.absent([*module.PROGRAMS, "pcmanfm"]))


STEPS = ("drag_one", "rename_folder", "new_folder", "delete")


@pytest.mark.slow
def test_a_person_corrects_clusters_with_a_file_manager() -> None:
    """What people do most; all steps, in every link mode, are done by scripts/file_manager."""
    if missing := _missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    command = [sys.executable, str(SCRIPTS / "file_manager.py"), "--mode", "symlink"]
    for step in STEPS:
        command += ["--step", step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok ") + done.stdout.startswith("ok ") == len(STEPS)
