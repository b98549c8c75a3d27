"""Runs command lines one after another, each as a process with standard output elsewhere.

`python -m tests.each_command CASES.json` writes RESULTS beside it. The processes are forks of this
one, which has loaded what they need, with a stand-in for the network; they end as any process of
the program does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import sys
import termios
from pathlib import Path

from imgclust.cli import app
from imgclust.cli import main as command_line
from imgclust.collection import embedder
from tests.conftest import DIMENSIONS
from tests.fakes import FakeEmbedder


def _closed() -> tuple[int, int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return -1, writer


def _terminal() -> tuple[int, int]:
    leader, follower = pty.openpty()
    size = struct.pack("HHHH", 24, int(os.environ["COLUMNS"]), 0, 0)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, size)
    return leader, follower


def _load() -> None:
    """Load here, once, what the commands load when they are used."""
    here, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    for arguments in (["status"], ["clusters", "show", "1"], ["query", "2"], ["view"], ["--help"]):
        command_line(arguments)
    sys.stdout.flush()
    os.dup2(here, 1)


def _begin() -> None:
    """Streams as Python makes them at its start, of what is open now."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        stream = open(  # noqa: SIM115
            number,
            "r" if number == 0 else "w",
            buffering=1 if number == 2 or os.isatty(number) else -1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
        setattr(sys, name, stream)


def main() -> None:
    """Run every case; leaves what each said and its exit code."""
    file = Path(sys.argv[1])
    asked = json.loads(file.read_text("utf-8"))
    setattr(embedder, "open_embedder", lambda *_, **__: FakeEmbedder(DIMENSIONS))  # noqa: B010
    _load()
    results = []
    for number, arguments in enumerate(asked["cases"]):
        errors = file.parent / f"errors-{number}"
        leader, follower = _terminal() if asked["terminal"] else _closed()
        child = os.fork()
        if child == 0:
            if leader >= 0:
                os.close(leader)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(follower, 1)
            kept = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(follower if asked["terminal"] else kept, 2)
            os.close(follower)
            _begin()
            sys.argv = ["imgclust", *arguments]
            app()
        os.close(follower)
        said = bytearray()
        with contextlib.suppress(OSError):  # the other side is closed
            while leader >= 0 and (part := os.read(leader, 65536)):
                said += part
        if leader >= 0:
            os.close(leader)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said += errors.read_bytes()
        results.append([code, said.decode("latin-1")])
    (file.parent / "results.json").write_text(json.dumps(results), "utf-8")


if __name__ == "__main__":
    main()
