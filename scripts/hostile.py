"""Hostile requests to a service of its own: see scripts/hostile."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.hostile import storm
from tests.served import Served

_SETTLE_S = 20.0


def described(served: Served, folder: Path, *, examples: int, number: int) -> None:
    """Send requests that are made from the description of the API, and say what came back."""
    from tests.schema_cases import findings

    (folder / "in").mkdir()
    found = findings(served.address, folder=str(folder / "in"), examples=examples, number=number)
    for operation, statuses in found.statuses.items():
        print(f"{operation:64}", ", ".join(f"{one} {n:,}" for one, n in sorted(statuses.items())))
    print(f"{found.requests:,} requests, seed {number}")
    if found.faults:
        raise SystemExit("\n".join(f"{where}\n{what}" for where, what in found.faults.items()))


def main() -> None:
    """Send them, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000, help="how many")
    parser.add_argument(
        "--schema", type=int, metavar="N", help="instead N requests for each operation of the API"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the choice of requests")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="imgclust-hostile-"))
    drop = folder / "drop"
    samples = sorted((Path(__file__).parent / "samples" / "photos").iterdir())
    drop.mkdir()
    for photo in samples[:20]:
        shutil.copy(photo, drop)
    with Served(folder / "index", drop) as served:
        served.wait_for(20)
        if chosen.schema:
            described(served, folder, examples=chosen.schema, number=chosen.seed)
            shutil.rmtree(folder)
            return
        process = psutil.Process(served.pid)
        before = process.num_fds(), process.num_threads(), process.memory_info().rss >> 20
        began = time.monotonic()
        found = storm(served.address, chosen.requests, seed=chosen.seed)
        seconds = time.monotonic() - began
        shutil.copy(samples[20], drop)
        served.wait_for(21)
        time.sleep(_SETTLE_S)
        after = process.num_fds(), process.num_threads(), process.memory_info().rss >> 20
    print(f"{sum(found.kinds.values()):,} requests in {seconds:.0f} s, seed {chosen.seed}")
    print("kinds    ", ", ".join(f"{name} {n:,}" for name, n in found.kinds.most_common()))
    print("answers  ", ", ".join(f"{name} {n:,}" for name, n in found.statuses.most_common()))
    print(f"longest   {found.longest_s:.1f} s")
    print(f"before    {before[0]} files, {before[1]} threads, {before[2]:,} MB")
    print(f"after     {after[0]} files, {after[1]} threads, {after[2]:,} MB")
    print("a file that was dropped afterwards came in")
    shutil.rmtree(folder)
    if found.faults:
        raise SystemExit("\n".join(["faults:", *found.faults[:20]]))


if __name__ == "__main__":
    main()
