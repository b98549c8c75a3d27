"""Which processor does what: the GPUs that TensorFlow and FAISS see, and CPU thread counts."""

from __future__ import annotations

import contextlib
import importlib.util
import os

from imgclust.errors import MissingPackageError, UsageError

_INSTALL = (
    'install one of the extras: pip install "imgclust[cpu]", '
    'or pip install "imgclust[gpu]" on a machine with an NVIDIA card'
)


def require(package: str) -> None:
    """Raise `MissingPackageError` with the extra to install when `package` is not there."""
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(f"{package} is not installed; {_INSTALL}")


def cpu_count() -> int:
    """Processors that this process may use (affinity respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
