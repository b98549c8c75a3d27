"""Precision and recall of near duplicates on copies and on pictures that only look like it.

The pictures are those of `duplicate_samples`: copies in many encodings and sizes, and families
of hard negatives, such as screenshots that differ in one digit. All of it goes through imgclust
as a person's folder would. A pair of files is found when both are in one group of duplicates.
The hashes of imagededup judge the same pairs. With `--scale N` the time and memory of a search in
a made-up collection of N images instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from duplicate_samples import Family, make

# As in imagededup (`find_duplicates`): hashes of 64 bits that differ in so many are duplicates.
_BITS = 10
_HASHES = ("PHash", "DHash", "AHash", "WHash")

Found = Callable[[Path, Path], bool]


@dataclass(frozen=True)
class Score:
    """What a method found of labelled pairs of files; `half` is "held out" or "all"."""

    method: str
    half: str
    copies: int
    found: int
    negatives: int
    wrong: int

    @property
    def recall(self) -> float:
        """Share of the pairs of copies that were found."""
        return self.found / max(self.copies, 1)

    @property
    def precision(self) -> float:
        """Share of the found pairs that are copies."""
        return self.found / max(self.found + self.wrong, 1)


@dataclass(frozen=True)
class Figures:
    """What a run found; `kinds` is per kind of family: pairs, and those found by imgclust."""

    files: int
    scores: tuple[Score, ...]
    kinds: dict[str, tuple[int, int]]
    strangers: int
    seconds: float


def pairs_of(family: Family) -> Iterable[tuple[Path, Path]]:
    """An original with each of its copies; every two of a family that looks alike."""
    if family.copies:
        return ((family.files[0], copy) for copy in family.files[1:])
    return family.pairs()


def scored(method: str, families: Sequence[Family], found: Found) -> list[Score]:
    """The scores of a method on the half that is held out, and on all."""
    scores = []
    for half in ("held out", "all"):
        counts = {True: [0, 0], False: [0, 0]}
        for family in families:
            if half == "all" or family.held_out:
                for one, other in pairs_of(family):
                    counts[family.copies][0] += 1
                    counts[family.copies][1] += found(one, other)
        scores.append(Score(method, half, *counts[True], *counts[False]))
    return scores


def hashes(path: Path) -> dict[str, np.ndarray]:
    """The 64 bits of each hash, as imagededup 0.3 defines them (imagededup/methods/hashing.py).

    Written again from that definition: the package itself needs PyTorch.
    """
    from PIL import Image
    from scipy.fft import dct

    with Image.open(path) as opened:
        picture = opened.convert("RGBA").convert("RGB") if opened.mode != "RGB" else opened.copy()

    def grey(width: int, height: int) -> np.ndarray:
        small = picture.resize((width, height), Image.Resampling.LANCZOS).convert("L")
        return np.asarray(small, np.float64)

    spectrum = dct(dct(grey(32, 32), axis=0), axis=1)[:8, :8]
    # Haar's approximation at level 5 is the mean of 32 x 32 pixels, but for a factor.
    waves = grey(256, 256).reshape(8, 32, 8, 32).mean(axis=(1, 3))
    steps, small = grey(9, 8), grey(8, 8)
    return {
        "PHash": spectrum >= np.median(spectrum.reshape(-1)[1:]),
        "DHash": steps[:, 1:] > steps[:, :-1],
        "AHash": small >= small.mean(),
        "WHash": waves >= np.median(waves),
    }


def measure(folder: Path, *, photos: int) -> Figures:
    """Make the files in `folder`, ingest them with the trunk, ask for duplicates."""
    from imgclust import config
    from imgclust.collection import Collection

    drop = folder / "drop"
    families = make(drop, photos=photos)
    effective = config.load(flags={"embedding.weights": "trunk", "watch.settle_s": 0.1})
    with Collection.open(
        folder / "index", effective=effective, create_for=[os.fsencode(drop)]
    ) as collection:
        collection.watch([drop], once=True, cluster=False)
        began = time.perf_counter()
        result = collection.duplicates()
        seconds = time.perf_counter() - began
    group_of = {
        Path(os.fsdecode(image.path)): number
        for number, group in enumerate(result.groups)
        for image in group.images
    }

    def found(one: Path, other: Path) -> bool:
        return one in group_of and group_of[one] == group_of.get(other)

    bits = {path: hashes(path) for family in families for path in family.files}

    def close(kind: str) -> Found:
        return lambda one, other: bool((bits[one][kind] != bits[other][kind]).sum() <= _BITS)

    scores = scored("imgclust", families, found)
    for kind in _HASHES:
        scores += scored(f"imagededup {kind}", families, close(kind))
    kinds: dict[str, tuple[int, int]] = {}
    for family in families:
        name = f"{'copies: ' if family.copies else ''}{family.kind}"
        judged = [found(one, other) for one, other in pairs_of(family)]
        before = kinds.get(name, (0, 0))
        kinds[name] = before[0] + len(judged), before[1] + sum(judged)
    return Figures(
        files=result.images,
        scores=tuple(scores),
        kinds=kinds,
        strangers=_strangers(families, group_of),
        seconds=seconds,
    )


def _strangers(families: Sequence[Family], group_of: dict[Path, int]) -> int:
    """Pairs in one group whose files come from different drawings or photos.

    Families of the same photo share its plain picture, and drawn ones can agree by chance: only
    files of copies are counted, as each such family has a source of its own.
    """
    source = {
        path: number
        for number, family in enumerate(families)
        if family.copies
        for path in family.files
    }
    grouped: dict[int, list[int]] = {}
    for path, group in group_of.items():
        if path in source:
            grouped.setdefault(group, []).append(source[path])
    return sum(
        one != other
        for group in grouped.values()
        for one, other in itertools.combinations(group, 2)
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=80, help="how many of the sample photos")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--scale", type=int, metavar="N", help="images of a made-up collection")
    parser.add_argument("--folder", type=Path, help="keep the made-up collection here")
    chosen = parser.parse_args()
    if chosen.scale:
        import duplicates_at_scale

        with tempfile.TemporaryDirectory() as folder:
            scaled = duplicates_at_scale.measure(chosen.folder or Path(folder), chosen.scale)
        print(json.dumps(asdict(scaled)) if chosen.json else scaled)
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(chosen.folder or Path(folder), photos=chosen.photos)
    if chosen.json:
        print(json.dumps(asdict(figures)))
        return
    print(f"{figures.files} files; the search took {figures.seconds:.1f} s")
    print(
        f"{'method':18} {'pairs':9} {'copies':>7} {'recall':>7} {'negatives':>9} {'wrong':>6}",
        end="",
    )
    print(f" {'precision':>9}")
    for one in figures.scores:
        print(
            f"{one.method:18} {one.half:9} {one.copies:7,} {one.recall:7.4f} {one.negatives:9,} "
            f"{one.wrong:6,} {one.precision:9.4f}"
        )
    for kind, (pairs, found) in figures.kinds.items():
        print(f"{kind:30} {found:5,} of {pairs:5,} pairs in one group")
    print(f"pairs of different sources in one group: {figures.strangers}")


if __name__ == "__main__":
    main()
