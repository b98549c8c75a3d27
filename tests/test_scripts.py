"""The shell scripts: what they refuse, what they say, when they install; all without a network."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"
SHELL = ["run", "test", "lint", "bench", "check_gpu"]

PYTHON = """#!/bin/sh
case "$*" in
    *"import pip"*) ;;
    *version_info*) echo {version} ;;
    *ensurepip*) exit {venv} ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-V") echo "Python {version}" ;;
    *"-m pip install"*) echo "$*" >> "$PIP_CALLS"; : > "$(dirname "$0")/../pip.log"; exit {pip} ;;
esac
"""
NO_PYTHON = "#!/bin/sh\nexit 127\n"
NAMES = ["python3.13", "python3.12", "python3.11", "python3", "python"]


class Machine:
    """A copy of environment.sh in a checkout of its own, on a machine whose programs are fakes."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        (self.checkout / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPTS / "environment.sh", self.checkout / "scripts")
        (self.checkout / "pyproject.toml").write_text("[project]\n")
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.calls = folder / "pip-calls"
        for name in NAMES:
            self.program(name, NO_PYTHON)
        self.program("df", "#!/bin/sh\nprintf 'head\\n/dev/x 9 9 50000 0%% /\\n'\n")
        self.program("apt-get", "#!/bin/sh\nexit 1\n")

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str, version: str, *, venv: bool = True, pip: bool = True) -> None:
        self.program(name, PYTHON.format(version=version, venv=int(not venv), pip=int(not pip)))

    def bash(self, code: str) -> subprocess.CompletedProcess[str]:
        script = self.checkout / "scripts" / "tried"
        script.write_text(f'source "$(dirname -- "${{BASH_SOURCE[0]}}")/environment.sh"\n{code}\n')
        return subprocess.run(
            ["bash", script],
            env={"PATH": f"{self.programs}:/usr/bin:/bin", "PIP_CALLS": str(self.calls)},
            cwd="/",
            capture_output=True,
            text=True,
        )

    def installs(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def script(name: str, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / name, *arguments],
        cwd="/",
        env={**os.environ, **({"PATH": path} if path else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", [*SHELL, "environment.sh", "../.ci/run"])
def test_they_parse(name: str) -> None:
    subprocess.run(["bash", "-n", SCRIPTS / name], check=True)


@pytest.mark.parametrize("name", SHELL)
def test_help_shows_how_to_call_them(name: str) -> None:
    shown = script(name, "--help")
    assert shown.returncode == 0
    assert f"scripts/{name}" in shown.stdout
    assert "source" not in shown.stdout


def test_every_script_has_its_line_in_the_readme() -> None:
    lines = (SCRIPTS / "README.md").read_text("utf-8").splitlines()
    listed = {line[3:].split("`")[0].split()[0].rstrip("/") for line in lines if line[:3] == "- `"}
    there = {path.name for path in SCRIPTS.iterdir()} - {"README.md", "__pycache__"}
    there -= {name for name in there if name.startswith(("bench_", "__"))}
    assert listed == there


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/no/such/folder"], "the folder /no/such/folder does not exist"),
        (["--fast"], "unknown option --fast"),
        (["/", "/tmp"], "one folder at a time"),
    ],
)
def test_run_refuses_wrong_usage_before_it_installs(arguments: list[str], words: str) -> None:
    ended = script("run", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout


def test_bench_lists_its_names() -> None:
    names = [path.stem.removeprefix("bench_") for path in sorted(SCRIPTS.glob("bench_*.py"))]
    listed = script("bench")
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == names
    unknown = script("bench", "no-such-benchmark")
    assert unknown.returncode == 2
    assert "no benchmark is called no-such-benchmark" in unknown.stderr


def test_check_gpu_without_a_gpu(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 9\n")
    smi.chmod(0o755)
    ended = script("check_gpu", path=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 1
    assert ended.stderr == "scripts/check_gpu: no GPU is seen: nvidia-smi lists none\n"


def test_the_newest_python_that_can_make_a_venv(machine: Machine) -> None:
    machine.python("python3.13", "3.13", venv=False)
    machine.python("python3.11", "3.11")
    machine.python("python3", "3.12")
    machine.python("python", "3.14")
    assert machine.bash('find_python; echo "$python"').stdout == "python3\n"


def test_no_python(machine: Machine) -> None:
    machine.python("python3", "3.10")
    ended = machine.bash("prepare cpu")
    assert ended.returncode == 1
    assert "no Python of 3.11 to 3.13 is there; install one" in ended.stderr
    assert not (machine.checkout / ".venv").exists()


def test_no_venv_module(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    ended = machine.bash("prepare cpu")
    assert ended.returncode == 1
    assert "python3.11-venv" in ended.stdout + ended.stderr


def test_no_disk_space(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.program("df", "#!/bin/sh\nprintf 'head\\n/dev/x 9 9 800 99%% /\\n'\n")
    ended = machine.bash("prepare cpu")
    assert ended.returncode == 1
    assert "800 MB are free" in ended.stderr
    assert "about 3000 MB are needed" in ended.stderr


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo")
def test_a_processor_without_avx(machine: Machine) -> None:
    machine.program("uname", "#!/bin/sh\necho x86_64\n")
    machine.program("grep", "#!/bin/sh\nexit 1\n")
    ended = machine.bash("check_processor")
    assert ended.returncode == 1
    assert "this processor has no AVX" in ended.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError('<urllib3 ...> Failed to establish', retry)", "cannot reach"),
        ("[Errno -3] Temporary failure in name resolution", "cannot reach the package index"),
        ("ERROR: ResolutionImpossible", "pip failed; its reason stands above"),
    ],
)
def test_why_pip_failed(machine: Machine, line: str, words: str) -> None:
    (machine.checkout / ".venv").mkdir()
    (machine.checkout / ".venv" / "pip.log").write_text(f"2026-01-01 {line}\n")
    ended = machine.bash("explain_pip")
    assert ended.returncode == 1
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_sizes_of_downloads(machine: Machine) -> None:
    (machine.checkout / ".venv").mkdir()
    (machine.checkout / ".venv" / "pip.log").write_text(
        "  Downloading tensorflow_cpu-2.21.0-cp311.whl (230.1 MB)\n"
        "  Downloading rich-15.0.0-py3-none-any.whl (900 kB)\n"
        "  Using cached numpy-2.4.6.whl (16.1 MB)\n"
        "  Downloading nvidia_cudnn.whl (1.2 GB)\n"
    )
    assert machine.bash("downloaded_mb").stdout == "1431"


def test_installed_once_and_again_when_something_changed(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    assert machine.bash("prepare cpu").returncode == 0
    assert len(machine.installs()) == 1
    assert machine.installs()[0].endswith("/a checkout[cpu,server]")

    again = machine.bash("prepare cpu")
    assert again.stdout == "imgclust is installed in .venv (cpu)\n"
    assert len(machine.installs()) == 1

    assert machine.bash("prepare cpu dev").returncode == 0
    assert machine.installs()[1].endswith("[cpu,server,dev]")

    assert machine.bash("prepare cpu").returncode == 0
    assert len(machine.installs()) == 2

    (machine.checkout / "pyproject.toml").write_text("[project]\n# another\n")
    assert machine.bash("prepare cpu").returncode == 0
    assert machine.installs()[2].endswith("[cpu,server,dev]")


@pytest.mark.parametrize("name", ["lint", "test", "bench"])
def test_a_bare_clone_is_set_up(machine: Machine, name: str) -> None:
    machine.python("python3", "3.12")
    shutil.copy(SCRIPTS / name, machine.checkout / "scripts")
    shutil.copy(SCRIPTS / "bench_commit.py", machine.checkout / "scripts")
    subprocess.run(
        ["bash", machine.checkout / "scripts" / name, *(["commit"] if name == "bench" else [])],
        env={"PATH": f"{machine.programs}:/usr/bin:/bin", "PIP_CALLS": str(machine.calls)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert len(machine.installs()) == 1
    assert (machine.checkout / ".venv" / "installed").exists()


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    machine.python("python3.12", "3.12", pip=False)
    assert machine.bash("prepare cpu").returncode != 0
    machine.python("python3.12", "3.12")
    (machine.checkout / ".venv" / "bin" / "python").unlink()
    ended = machine.bash("prepare cpu")
    assert ended.returncode == 0
    assert "removing .venv: its Python is gone" in ended.stdout
    assert len(machine.installs()) == 2


def test_the_other_engine_and_a_moved_checkout_make_a_new_venv(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    machine.bash("prepare cpu")
    packages = machine.checkout / ".venv" / "lib" / "python3.12" / "site-packages"
    (packages / "faiss_cpu-1.15.1.dist-info").mkdir(parents=True)
    assert machine.bash("engine_here").stdout == "cpu\n"
    ended = machine.bash("prepare gpu")
    assert "removing .venv: it holds the cpu packages" in ended.stdout
    assert not packages.exists()

    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))
    ended = machine.bash("prepare gpu")
    assert "removing .venv: the checkout was moved" in ended.stdout
    assert machine.installs()[-1].endswith("/moved[gpu,server]")


@pytest.mark.parametrize(
    ("listed", "there"), [("GPU 0: NVIDIA H100 (UUID: GPU-1)", "yes"), ("", "no")]
)
def test_the_driver_decides(machine: Machine, listed: str, there: str) -> None:
    machine.program("nvidia-smi", f"#!/bin/sh\necho '{listed}'\n")
    assert machine.bash("has_nvidia_driver && echo yes || echo no").stdout == f"{there}\n"


@pytest.mark.parametrize(
    ("licence", "answer"),
    [
        ("MIT", False),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        ("LGPL-3.0-or-later", False),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("BSD-3-Clause OR GPL-2.0-only", False),
        ("GPL-2.0-only", True),
        ("MIT AND AGPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
    ],
)
def test_which_licences_are_refused(licence: str, answer: bool) -> None:
    script = runpy.run_path(str(SCRIPTS / "licences.py"), run_name="licences")
    assert script["refused"](licence) is answer


SOAKED = [(images, 400.0, 21, 11) for images in range(1500, 21_500, 500)]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (SOAKED, []),
        (SOAKED[:-3], ["too short to judge: 19,500 images came in, 20,000 are needed"]),
        ([], ["too short to judge: 0 images came in, 20,000 are needed"]),
        (
            [(images, 400 + images / 150, 21, 11) for images, *_ in SOAKED],
            ["MB beside the index: more in the second half"],
        ),
        ([*SOAKED[:-1], (21_000, 460.0, 21, 11)], ["MB beside the index: more in the second half"]),
        (
            [(images, 400.0, 21 + images // 2000, 11) for images, *_ in SOAKED],
            ["open files: more in the second half"],
        ),
        (
            [(images, 400.0, 21, 11 + images // 2000) for images, *_ in SOAKED],
            ["threads: more in the second half"],
        ),
        (
            [(images, 2600.0, 21, 11) for images, *_ in SOAKED],
            ["more than 2500 MB beside the index"],
        ),
    ],
    ids=["flat", "short", "nothing", "grows", "one peak", "files", "threads", "large"],
)
def test_what_a_soak_is_judged_by(
    samples: list[tuple[int, float, int, int]], words: list[str]
) -> None:
    torture = runpy.run_path(str(SCRIPTS / "torture.py"))
    used = torture["Used"](0)
    used._samples = [torture["Sample"](*one) for one in samples]
    assert used.judge(least=20_000) == words
