"""What this machine can do: whether imgclust runs on it, its GPUs, and CPU thread counts."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import threading
from typing import Any

from imgclust.errors import MissingPackageError, UsageError

_INSTALL = (
    'install one of the extras: pip install "imgclust[cpu]", '
    'or pip install "imgclust[gpu]" on a machine with an NVIDIA card'
)


_CPU_QUOTA = "/sys/fs/cgroup/cpu.max"
# A module of C is listed once its libraries are loaded.
_WITH_BLAS = frozenset({"numpy", "scipy.linalg._fblas", "faiss"})
_NVIDIA_DRIVER = "/proc/driver/nvidia/version"


def unsupported() -> str | None:
    """Why imgclust cannot run on this machine, and what to do; None where it can."""
    if sys.platform in {"win32", "cygwin"}:
        return (
            "imgclust does not run on Windows (it needs POSIX file locks and byte paths); "
            "install WSL (wsl --install) and run it there, as on Linux"
        )
    lacking = [name for name in ("fcntl", "resource") if not _has(name)]
    if os.name != "posix" or lacking:
        return (
            f"imgclust does not run on {sys.platform}: this Python lacks "
            f"{' and '.join(lacking) or 'POSIX calls'}; use Linux or macOS"
        )
    if sys.maxsize < 1 << 32:
        return "imgclust needs a 64-bit Python; this one has 32 bits"
    return None


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # None was put there instead
        return False


def require(package: str) -> None:
    """Raise `MissingPackageError` with the extra to install when `package` is not there."""
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(f"{package} is not installed; {_INSTALL}")


class _OneBlasThread:
    """Holds OpenBLAS to one thread while anybody is within it; the number is one of the process.

    threadpoolctl's own limits, set by two threads at a time, would leave it at one for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                loaded = frozenset(_WITH_BLAS & sys.modules.keys())
                self._limit = _thread_pools(loaded).limit(limits=1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                self._limit.restore_original_limits()


one_blas_thread = _OneBlasThread()


@functools.lru_cache(maxsize=1)
def _thread_pools(loaded: frozenset[str]) -> Any:
    """The libraries with threads that are loaded now; finding them takes milliseconds.

    `loaded` are the modules of `_WITH_BLAS` that are: another one brings an OpenBLAS of its own.
    """
    from threadpoolctl import ThreadpoolController  # comes with scikit-learn

    return ThreadpoolController()


def cpu_count() -> int:
    """Processors that this process may use (affinity respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processors() -> int:
    """Processors' worth of time that this process may use: `cpu_count`, less in a container.

    A limit such as `docker run --cpus 2` is a quota (cgroup v2, cpu.max), which no affinity shows.
    """
    count = cpu_count()
    try:
        with open(_CPU_QUOTA, encoding="ascii") as lines:
            quota, period = lines.read().split()
        return max(1, min(count, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return count


def nvidia_driver() -> bool:
    """Whether this machine has an NVIDIA driver; asks neither TensorFlow nor FAISS."""
    return os.path.exists(_NVIDIA_DRIVER)


def expects_gpu(*, device: str, engine: str) -> bool:
    """Whether the network is to run on a GPU, as far as is known without loading anything."""
    return engine != "openvino" and (device == "gpu" or (device == "auto" and nvidia_driver()))


def batch_images(*, device: str, engine: str) -> int:
    """Most images in one batch; on a CPU the rate is the same from 1 on, and each is a commit."""
    return 64 if expects_gpu(device=device, engine=engine) else 32


def decode_workers(*, device: str, engine: str) -> int:
    """How many processes decode for one network.

    On a CPU an image costs the network some 10 times what decoding a web-size JPEG costs, and
    2 to 3 times what a 12-megapixel one does: half as many workers as processors keep ahead, and
    two let one read while the other decodes. A GPU is faster than all processors decode.
    """
    count = processors()
    if expects_gpu(device=device, engine=engine):
        return max(1, count - 1)
    return max(2, min(16, count // 2))


def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the processor (Linux); empty where they cannot be read."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def faiss_gpus() -> int:
    """Number of GPUs that the installed FAISS can use (0 for faiss-cpu or without a card)."""
    import faiss

    count = getattr(faiss, "get_num_gpus", None)
    return int(count()) if count is not None else 0


def tensorflow_gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees, memory growth switched on for each.

    Growth lets FAISS share the card; it has to be set before TensorFlow first uses it.
    """
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    for card in cards:
        # Of a card in use already, growth was set before or cannot be any more.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(card, True)
    return [card.name for card in cards]


def choose(wanted: str, gpus: int) -> str:
    """Resolve the setting `device` (auto, cpu, gpu) to "cpu" or "gpu".

    Raises
    ------
    UsageError
        For another word, or for "gpu" where none is seen.
    """
    if wanted == "auto":
        return "gpu" if gpus else "cpu"
    if wanted == "gpu" and not gpus:
        raise UsageError("device = gpu, but no GPU is seen here; use device = auto or cpu")
    if wanted not in {"cpu", "gpu"}:
        raise UsageError(f"device = {wanted!r} is unknown; use auto, cpu or gpu")
    return wanted


def give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps some 60 MB of a clustering."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
