"""What it costs to link 100 arrivals in a tree of 100,000 links, against building the tree anew.

A: 100 new images in the catalog, then a sync of what is queued. B: a sync of the whole tree into
an empty folder. Real SQLite catalog, symbolic links, both on the same disk; A before and after
each B, the median of the paired ratios counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from synthetic_collection import CLUSTERS, fill, made_up, path_of, see, vectors_of

from imgclust.catalog.catalog import Catalog
from imgclust.config import Links
from imgclust.links.syncer import LinkSyncer

RECIPE = '{"bench":1}'
ARRIVALS = 100


def arrive(catalog: Catalog, numbers: range) -> None:
    """What the ingest commits of new images."""
    contents = [made_up(number) for number in numbers]
    current = catalog.clusterings.current_id()
    assert current is not None
    root = catalog.roots.all()[0].id
    with catalog.transaction():
        see(catalog, numbers, root)
        pairs = list(zip(contents, vectors_of(numbers[0], len(contents)), strict=True))
        catalog.contents.put_embedded(pairs, RECIPE, "synthetic")
        rows = [
            (path_of(number), root, one.key) for number, one in zip(numbers, contents, strict=True)
        ]
        catalog.ledger.queue_links(catalog.images.insert_all(rows))
        catalog.assignments.assign(
            current,
            [
                (one.key, 1 + number % CLUSTERS, 0.5)
                for number, one in zip(numbers, contents, strict=True)
            ],
            arrived=True,
        )


def linking_of(catalog: Catalog, folder: Path, name: str) -> LinkSyncer:
    """The keeper of a link folder."""
    return LinkSyncer(
        catalog,
        root=lambda: folder / name,
        mode="symlink",
        names=Links(),
        lock=folder / "links.lock",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="images there before")
    parser.add_argument("--rounds", type=int, default=3, help="trees built anew")
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    whole: list[float] = []
    some: list[float] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        with fill(folder, chosen.n, recipe=RECIPE) as catalog:
            arrived = chosen.n
            for round_ in range(chosen.rounds):
                linking = linking_of(catalog, folder, f"links-{round_}")
                began = time.perf_counter()
                made = linking.sync(whole=True)
                whole.append(time.perf_counter() - began)
                assert made.links == arrived, made
                for _ in range(2):
                    arrive(catalog, range(arrived, arrived + ARRIVALS))
                    arrived += ARRIVALS
                    began = time.perf_counter()
                    made = linking.sync()
                    some.append(time.perf_counter() - began)
                    assert (made.created, made.links) == (ARRIVALS, arrived), made
                linking.clear()
    ratios = [whole[at // 2] / seconds for at, seconds in enumerate(some)]
    figures = {
        "n": chosen.n,
        "arrivals": ARRIVALS,
        "whole_s": statistics.median(whole),
        "arrivals_ms": 1000 * statistics.median(some),
        "ratio": statistics.median(ratios),
    }
    print(f"{chosen.n} links in {CLUSTERS} folders, {ARRIVALS} arrivals, {chosen.rounds} rounds")
    print(f"tree built anew        {figures['whole_s']:10.2f} s")
    print(f"sync after arrivals    {figures['arrivals_ms']:10.1f} ms")
    print(f"ratio (median of pairs) {figures['ratio']:9.0f} x   (asked: 100 x)")
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
