"""Keeping the greetings of libraries away from standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_GREETINGS = (b"I0000 ", b"WARNING: All log messages before absl::")


@contextmanager
def without_greetings() -> Iterator[None]:
    """Hold back what libraries write to standard error, and then leave out the greetings.

    TensorFlow greets before its log level counts, and only the file descriptor sees that.
    Python's own `sys.stderr` goes on to where it went, for a progress bar in another thread.
    """
    before = sys.stderr
    before.flush()
    kept = os.dup(2)
    with TemporaryFile() as held, open(os.dup(2), "w", buffering=1) as direct:
        if before is sys.__stderr__:
            sys.stderr = direct
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            before.flush()
            os.dup2(kept, 2)
            os.close(kept)
            sys.stderr = before
            held.seek(0)
            for line in held:
                if not line.startswith(_GREETINGS):
                    os.write(2, line)
