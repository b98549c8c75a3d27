"""A decoder that misbehaves when asked to; light, because workers import it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import numpy as np

from imgclust.images.reader import Again, Outcome, claim


def misbehaving(path: bytes) -> Outcome:
    """Claim `path`, unless its name asks for something else."""
    name = os.path.basename(path)
    if name.startswith(b"segfault"):
        ctypes.string_at(0)
    if name.startswith(b"loop"):
        while True:
            pass
    if name.startswith(b"allocate"):
        bytearray(2**40)
    if name.startswith(b"grow"):
        kept = []
        while True:
            kept.append(np.ones(2**24, np.uint8))
    if name.startswith(b"exit"):
        os._exit(3)
    if name.startswith(b"kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith(b"fault"):
        raise IndexError("a fault of ours\nover two lines")
    if name.startswith(b"pid"):
        return Again(path, str(os.getpid()))
    if name.startswith(b"modules"):
        return Again(path, ",".join(sys.modules))
    return claim(path)
