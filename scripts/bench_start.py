"""How long the commands that need no network take to start and answer, on 100,000 images.

Each is run as a user runs it, in a process of its own, in turn, several times: the median of the
wall time, and the least processor time, which other work on the machine changes little. Bytecode
is kept, as on any machine where imgclust is installed, and made before the first round. Commands
that go through the whole collection are run on a terminal, and ended at their first sign of life.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthetic_collection import make

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("status",),
    ("clusters",),
    ("clusters", "show", "7"),
    ("clusters", "history"),
    ("query", "4711"),
    ("quarantine",),
    ("missing",),
    ("collections",),
    ("config", "show"),
    ("weights",),
    ("remove", "4711", "--dry-run"),
    ("clusters", "name", "7", "lake"),
)
# These go through the whole collection: what counts is how soon they show that they work.
WHOLE: tuple[tuple[str, ...], ...] = (
    ("duplicates",),
    ("doctor",),
    ("export", "--format", "csv", "--out", "-"),
    ("report",),
    ("links", "--check"),
)
_RUN = "from imgclust.cli import app; app()"
# What the completion of a shell asks for.
COMPLETION = ("imgclust clusters show ", "3")


def environment(bytecode: Path) -> dict[str, str]:
    """The variables of a process that keeps its bytecode in a folder."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}


def times(arguments: list[str], variables: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env=variables,
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[1:])} failed: {done.stderr}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def first_sign(arguments: list[str], variables: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one run until it shows something on its terminal."""
    leader, follower = pty.openpty()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=variables,
        start_new_session=True,
    )
    os.close(follower)
    shown = os.read(leader, 4096)
    wall = time.perf_counter() - began
    process.kill()
    process.wait()
    os.close(leader)
    if b"imgclust:" in shown:
        raise SystemExit(f"{' '.join(arguments[1:])} failed: {shown.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def arms(index: Path, bytecode: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What is run, by name: arguments of Python, and variables."""
    variables = environment(bytecode)
    found = {"(an empty Python)": (["pass"], variables)}
    for command in COMMANDS:
        more = [] if command == ("--help",) else ["--index", str(index), "--json"]
        found[" ".join(command)] = ([_RUN, *command, *more], variables)
    for command in WHOLE:
        found[f"{command[0]} (first sign)"] = ([_RUN, *command, "--index", str(index)], variables)
    words, position = COMPLETION
    asked = {
        "_IMGCLUST_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": position,
        "IMGCLUST_INDEX": str(index),
    }
    found["(completion)"] = ([_RUN], variables | asked)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="images of the collection")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--index", type=Path, help="an index folder to use instead of a new one")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        index = chosen.index or Path(name) / "index"
        if chosen.index is None:
            make(index, chosen.n)
            times([_RUN, "links", "-q", "--index", str(index)], environment(Path(name)))
        measured = arms(index, Path(name) / "bytecode")
        taken: dict[str, list[tuple[float, float]]] = {arm: [] for arm in measured}
        for number in range(chosen.rounds + 1):
            for arm, (arguments, variables) in measured.items():
                measure = first_sign if arm.endswith("(first sign)") else times
                found = measure(arguments, variables)
                if number:  # the first makes the bytecode
                    taken[arm].append(found)
    figures = {
        arm: {
            "wall_s": statistics.median(wall for wall, _ in all_of),
            "processor_s": min(processor for _, processor in all_of),
        }
        for arm, all_of in taken.items()
    }
    print(f"{chosen.n} images, {chosen.rounds} rounds; asked: each under 1 s")
    print(f"{'':<28}{'wall':>10}{'processor':>12}")
    for arm, figure in figures.items():
        print(f"{arm:<28}{figure['wall_s']:8.2f} s{figure['processor_s']:10.2f} s")
    if chosen.out:
        chosen.out.write_text(
            json.dumps({"n": chosen.n, "commands": figures}, indent=2) + "\n", "utf-8"
        )


if __name__ == "__main__":
    main()
