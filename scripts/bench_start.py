"""How long the commands that need no network take to start and answer, on 100,000 images.

Each is run as a user runs it, in a process of its own, in turn, several times; medians of wall
time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthetic_collection import make

COMMANDS = (
    ("--help",),
    ("status",),
    ("clusters",),
    ("clusters", "show", "7"),
    ("query", "4711"),
    ("quarantine",),
    ("missing",),
)


def seconds(index: Path, command: tuple[str, ...]) -> float:
    """Wall time of one run."""
    code = "from imgclust.cli import main; main()"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--index", str(index), "--json"]
        if command != ("--help",)
        else [sys.executable, "-c", code, "--help"],
        capture_output=True,
        check=False,
        text=True,
    )
    taken = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return taken


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
        taken: dict[str, list[float]] = {" ".join(command): [] for command in COMMANDS}
        bare: list[float] = []
        for _ in range(chosen.rounds):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            bare.append(time.perf_counter() - began)
            for command in COMMANDS:
                taken[" ".join(command)].append(seconds(index, command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(f"{chosen.n} images, {chosen.rounds} rounds; asked: each under 1 s")
    print(f"{'(an empty Python)':<20}{statistics.median(bare):8.2f} s")
    for name, median in medians.items():
        print(f"{name:<20}{median:8.2f} s")
    if chosen.out:
        chosen.out.write_text(json.dumps({"n": chosen.n, **medians}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
