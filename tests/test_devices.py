from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import imgclust
from imgclust import devices
from imgclust.errors import MissingPackageError, UsageError


@pytest.mark.parametrize(
    ("wanted", "gpus", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "gpu"),
        ("auto", 8, "gpu"),
        ("cpu", 0, "cpu"),
        ("cpu", 1, "cpu"),
        ("gpu", 1, "gpu"),
    ],
)
def test_choice(wanted: str, gpus: int, chosen: str) -> None:
    assert devices.choose(wanted, gpus) == chosen


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UsageError, match="no GPU is seen here; use device = auto or cpu"):
        devices.choose("gpu", 0)


@pytest.mark.parametrize("gpus", [0, 1])
def test_other_words_are_refused(gpus: int) -> None:
    with pytest.raises(UsageError, match="'tpu' is unknown; use auto, cpu or gpu"):
        devices.choose("tpu", gpus)


@pytest.mark.parametrize(
    ("faiss", "gpus"),
    [(SimpleNamespace(), 0), (SimpleNamespace(get_num_gpus=lambda: 2), 2)],
    ids=["faiss-cpu", "faiss-gpu"],
)
def test_gpus_of_faiss(monkeypatch: pytest.MonkeyPatch, faiss: object, gpus: int) -> None:
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    assert devices.faiss_gpus() == gpus


@pytest.mark.parametrize("in_use", [False, True], ids=["fresh", "in use already"])
def test_gpus_of_tensorflow_get_memory_growth(
    monkeypatch: pytest.MonkeyPatch, in_use: bool
) -> None:
    grown = []

    def grow(card: object, wanted: bool) -> None:
        if in_use:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grown.append((card, wanted))

    cards = [SimpleNamespace(name="/physical_device:GPU:0")]
    config = SimpleNamespace(
        list_physical_devices=lambda kind: cards if kind == "GPU" else [],
        experimental=SimpleNamespace(set_memory_growth=grow),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert devices.tensorflow_gpus() == ["/physical_device:GPU:0"]
    assert grown == ([] if in_use else [(cards[0], True)])


def test_a_missing_package_names_both_extras() -> None:
    devices.require("numpy")
    with pytest.raises(MissingPackageError) as caught:
        devices.require("no_such_package")
    assert "no_such_package is not installed" in str(caught.value)
    assert "imgclust[cpu]" in str(caught.value)
    assert "imgclust[gpu]" in str(caught.value)


def test_processors_respect_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7})
    assert devices.cpu_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert devices.cpu_count() == 1


def test_flags_of_the_processor() -> None:
    flags = devices.cpu_flags()
    assert all(flag == flag.strip() and flag for flag in flags)
    if os.uname().machine == "x86_64":
        assert "sse2" in flags


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000\n", 3),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("900000 100000\n", 3),
        ("", 3),
        (None, 3),
    ],
)
def test_processors_respect_the_quota_of_a_container(
    quota: str | None, processors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    monkeypatch.setattr(devices, "_CPU_QUOTA", str(path))
    monkeypatch.setattr(devices, "cpu_count", lambda: 3)
    assert devices.processors() == processors


@pytest.mark.parametrize(
    ("processors", "cpu", "gpu"),
    [(1, 2, 1), (2, 2, 1), (4, 2, 3), (8, 4, 7), (16, 8, 15), (128, 16, 127)],
)
def test_decode_workers(
    processors: int, cpu: int, gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "processors", lambda: processors)
    assert devices.decode_workers(device="cpu", engine="auto") == cpu
    assert devices.decode_workers(device="gpu", engine="auto") == gpu


@pytest.mark.parametrize(
    ("driver", "device", "engine", "expected"),
    [
        (True, "auto", "auto", True),
        (True, "auto", "tensorflow", True),
        (True, "auto", "openvino", False),
        (True, "cpu", "auto", False),
        (False, "auto", "auto", False),
        (False, "gpu", "auto", True),  # the error comes when it is opened
    ],
)
def test_a_gpu_is_expected(
    driver: bool,
    device: str,
    engine: str,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "version"
    if driver:
        path.write_text("")
    monkeypatch.setattr(devices, "_NVIDIA_DRIVER", str(path))
    assert devices.expects_gpu(device=device, engine=engine) is expected
    assert devices.batch_images(device=device, engine=engine) == (64 if expected else 32)


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        ("sys.platform = 'win32'", "does not run on Windows"),
        ("sys.platform = 'cygwin'", "install WSL"),
        ("sys.modules['fcntl'] = None", "this Python lacks fcntl; use Linux or macOS"),
        ("sys.modules['resource'] = sys.modules['fcntl'] = None", "lacks fcntl and resource"),
        ("sys.maxsize = 2**31 - 1", "needs a 64-bit Python"),
    ],
)
@pytest.mark.parametrize("arguments", [("--help",), ("watch", "--once", "."), ()])
def test_where_it_cannot_run_it_says_so_in_one_line(
    tmp_path: Path, fake: str, said: str, arguments: tuple[str, ...]
) -> None:
    code = f"import sys; {fake}; from imgclust.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(imgclust.__file__).parents[1])},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("imgclust: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_library_says_so_too() -> None:
    code = "import sys, imgclust; sys.platform = 'win32'; imgclust.Collection"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImgclustError: imgclust does not run on Windows" in done.stderr


def test_it_runs_on_linux_and_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        assert devices.unsupported() is None


def test_openblas_that_is_loaded_later_is_held_to_one_thread_too() -> None:
    code = """
import numpy, scipy, threadpoolctl
from imgclust import devices
with devices.one_blas_thread:
    pass
import scipy.linalg
with devices.one_blas_thread:
    rows = threadpoolctl.threadpool_info()
print([one["num_threads"] for one in rows if "scipy" in one["filepath"] + one["prefix"]])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": "3",
            "PYTHONPATH": str(Path(imgclust.__file__).parents[1]),
        },
    )
    found = [int(one) for one in done.stdout.strip("[] \n").split(",")]
    assert found, done.stderr
    assert set(found) == {1}, done.stdout
